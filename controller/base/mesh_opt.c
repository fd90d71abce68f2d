
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The option table's two readers: the parser and the usage text.  Presets
 * and the environment go through the same setter as the command line, so a
 * wrong MESH_REDIS is refused with the same sentence as a wrong --redis.
 */

#include <mesh_opt.h>


#define MESH_OPT_MAX       64     /* options of one table */
#define MESH_OPT_NAME_MAX  64     /* bytes of "MESH_NAME" or "--name" */


typedef struct {
    const mesh_opt_t  *table;
    void              *conf;
    mesh_err_t        *err;
    uint8_t            given[MESH_OPT_MAX];
} mesh_opt_ctx_t;

typedef int (*mesh_opt_set_pt)(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);


static int mesh_opt_word(mesh_opt_ctx_t *ctx, int argc, char **argv, int *i);
static const mesh_opt_t *mesh_opt_find(const mesh_opt_t *table,
    const char *name, size_t len);
static int mesh_opt_defaults(mesh_opt_ctx_t *ctx);
static void mesh_opt_env_name(const mesh_opt_t *opt, char *buf, size_t size);
static int mesh_opt_set_string(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);
static int mesh_opt_set_number(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);
static int mesh_opt_set_flag(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);
static int mesh_opt_set_list(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);
static int mesh_opt_set_words(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);
static int mesh_opt_set_choice(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin);


static const mesh_opt_set_pt  mesh_opt_setters[] = {
    mesh_opt_set_string,
    mesh_opt_set_number,
    mesh_opt_set_flag,
    mesh_opt_set_list,
    mesh_opt_set_choice
};


int
mesh_opt_parse(const mesh_opt_t *table, int argc, char **argv, void *conf,
    int *rest, mesh_err_t *err)
{
    int             i, n, rc;
    mesh_opt_ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));
    ctx.table = table;
    ctx.conf = conf;
    ctx.err = err;

    n = 0;                        /* words that are no options */

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }

        rc = mesh_opt_word(&ctx, argc, argv, &i);

        if (rc == MESH_DECLINED) {

            if (rest == NULL) {
                return mesh_err(err, "unexpected word \"%s\", options start "
                                "with \"--\"", argv[i]);
            }

            argv[++n] = argv[i];  /* n < i: that word is done with */
            continue;
        }

        if (rc != MESH_OK) {
            return rc;
        }
    }

    for ( /* void */ ; i < argc; i++) {

        if (rest == NULL) {
            return mesh_err(err, "unexpected word \"%s\"", argv[i]);
        }

        argv[++n] = argv[i];
    }

    if (rest != NULL) {
        memmove(&argv[argc - n], &argv[1], n * sizeof(char *));
        *rest = argc - n;
    }

    return mesh_opt_defaults(&ctx);
}


static int
mesh_opt_word(mesh_opt_ctx_t *ctx, int argc, char **argv, int *i)
{
    size_t             len;
    const char        *name, *value;
    const mesh_opt_t  *opt;

    if (strcmp(argv[*i], "-h") == 0 || strcmp(argv[*i], "--help") == 0) {
        return MESH_DONE;
    }

    if (strncmp(argv[*i], "--", 2) != 0) {
        return MESH_DECLINED;
    }

    name = argv[*i] + 2;
    len = strcspn(name, "=");

    opt = mesh_opt_find(ctx->table, name, len);

    if (opt == NULL) {
        return mesh_err(ctx->err, "unknown option \"--%.*s\"", (int) len,
                        name);
    }

    ctx->given[opt - ctx->table] = 1;

    if (name[len] == '=') {
        value = name + len + 1;

    } else if (opt->type == MESH_OPT_FLAG) {
        value = "on";

    } else if (*i + 1 < argc) {
        value = argv[++*i];

    } else {
        return mesh_err(ctx->err, "option \"--%s\" needs a value, "
                        "expected %s", opt->name, opt->arg);
    }

    return mesh_opt_setters[opt->type](ctx, opt, value, "option --");
}


static const mesh_opt_t *
mesh_opt_find(const mesh_opt_t *table, const char *name, size_t len)
{
    const mesh_opt_t  *opt;

    for (opt = table; opt->name != NULL; opt++) {

        if (strlen(opt->name) == len && memcmp(opt->name, name, len) == 0) {
            return opt;
        }
    }

    return NULL;
}


/* what the command line left open: the environment, then the preset */

static int
mesh_opt_defaults(mesh_opt_ctx_t *ctx)
{
    char               name[MESH_OPT_NAME_MAX];
    const char        *value, *origin;
    mesh_opt_set_pt    set;
    const mesh_opt_t  *opt;

    for (opt = ctx->table; opt->name != NULL; opt++) {

        if (ctx->given[opt - ctx->table]) {
            continue;
        }

        mesh_opt_env_name(opt, name, sizeof(name));

        origin = "environment of --";
        value = getenv(name);

        if (value == NULL || value[0] == '\0') {
            origin = "default of --";
            value = opt->preset;
        }

        if (value == NULL) {

            if (opt->flags & MESH_OPT_REQUIRED) {
                return mesh_err(ctx->err, "option \"--%s=%s\" is required "
                                "(or %s in the environment)", opt->name,
                                opt->arg, name);
            }

            continue;
        }

        set = mesh_opt_setters[opt->type];

        if (opt->type == MESH_OPT_LIST) {
            set = mesh_opt_set_words;
        }

        if (set(ctx, opt, value, origin) != MESH_OK) {
            return MESH_ERROR;
        }
    }

    return MESH_OK;
}


static void
mesh_opt_env_name(const mesh_opt_t *opt, char *buf, size_t size)
{
    char  *p;

    (void) snprintf(buf, size, "MESH_%s", opt->name);

    for (p = buf; *p; p++) {

        if (*p == '-') {
            *p = '_';

        } else if (*p >= 'a' && *p <= 'z') {
            *p -= 'a' - 'A';
        }
    }
}


static int
mesh_opt_set_string(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    if (value[0] == '\0') {
        return mesh_err(ctx->err, "%s%s is empty, expected %s", origin,
                        opt->name, opt->arg);
    }

    *(const char **) ((char *) ctx->conf + opt->offset) = value;

    return MESH_OK;
}


static int
mesh_opt_set_number(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    char     *end;
    int64_t   n, min, max;

    min = opt->min;
    max = opt->max;

    if (min == 0 && max == 0) {
        min = INT64_MIN;
        max = INT64_MAX;
    }

    errno = 0;
    n = strtoll(value, &end, 10);

    if (end == value || *end != '\0' || errno != 0 || n < min || n > max) {
        return mesh_err(ctx->err, "%s%s is \"%s\", expected a number of %"
                        PRId64 " .. %" PRId64, origin, opt->name, value, min,
                        max);
    }

    *(int64_t *) ((char *) ctx->conf + opt->offset) = n;

    return MESH_OK;
}


static int
mesh_opt_set_flag(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    int  *flag;

    flag = (int *) ((char *) ctx->conf + opt->offset);

    if (strcmp(value, "on") == 0) {
        *flag = 1;
        return MESH_OK;
    }

    if (strcmp(value, "off") == 0) {
        *flag = 0;
        return MESH_OK;
    }

    return mesh_err(ctx->err, "%s%s is \"%s\", expected on or off", origin,
                    opt->name, value);
}


static int
mesh_opt_set_list(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    mesh_opt_list_t  *list;

    list = (mesh_opt_list_t *) ((char *) ctx->conf + opt->offset);

    if (value[0] == '\0') {
        return mesh_err(ctx->err, "%s%s is empty, expected %s", origin,
                        opt->name, opt->arg);
    }

    if (list->n == MESH_OPT_LIST_MAX) {
        return mesh_err(ctx->err, "%s%s is given more than %d times", origin,
                        opt->name, MESH_OPT_LIST_MAX);
    }

    list->value[list->n++] = value;

    return MESH_OK;
}


static int
mesh_opt_set_words(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    char             *word, *save;
    mesh_opt_list_t  *list;

    list = (mesh_opt_list_t *) ((char *) ctx->conf + opt->offset);

    if (strlen(value) >= sizeof(list->words)) {
        return mesh_err(ctx->err, "%s%s is longer than %zu bytes", origin,
                        opt->name, sizeof(list->words) - 1);
    }

    (void) snprintf(list->words, sizeof(list->words), "%s", value);

    for (word = strtok_r(list->words, " ", &save);
         word != NULL;
         word = strtok_r(NULL, " ", &save))
    {
        if (mesh_opt_set_list(ctx, opt, word, origin) != MESH_OK) {
            return MESH_ERROR;
        }
    }

    return MESH_OK;
}


static int
mesh_opt_set_choice(mesh_opt_ctx_t *ctx, const mesh_opt_t *opt,
    const char *value, const char *origin)
{
    size_t       n, len;
    const char  *word;

    len = strlen(value);

    for (word = opt->arg; *word; word += n + (word[n] == '|')) {
        n = strcspn(word, "|");

        if (n == len && memcmp(word, value, n) == 0) {
            *(const char **) ((char *) ctx->conf + opt->offset) = value;
            return MESH_OK;
        }
    }

    return mesh_err(ctx->err, "%s%s is \"%s\", expected one of %s", origin,
                    opt->name, value, opt->arg);
}


void
mesh_opt_usage(FILE *out, const mesh_opt_t *table, const char *command)
{
    const mesh_opt_t  *opt;

    fprintf(out, "usage: %s OPTIONS\n\n", command);

    for (opt = table; opt->name != NULL; opt++) {

        fprintf(out, "  --%s%s%s\n        %s", opt->name,
                opt->arg ? "=" : "", opt->arg ? opt->arg : "", opt->help);

        if (opt->flags & MESH_OPT_REQUIRED) {
            fprintf(out, " (required)");
        }

        if (opt->preset != NULL) {
            fprintf(out, " (default: %s)", opt->preset);
        }

        fprintf(out, "\n");
    }

    fprintf(out, "\nEach option may stand in the environment instead: "
            "MESH_NAME for --name.\n");
}
