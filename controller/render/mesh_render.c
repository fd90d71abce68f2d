
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * A template is copied line by line; ${name} is replaced by one quoted word
 * and may stand only where a whole word can stand, so nothing that a value
 * holds can end a directive or open a block.  nginx cannot quote "$": such a
 * value is refused.
 */

#include <mesh_core.h>

#include <mesh_lex.h>
#include <mesh_names.h>
#include <mesh_render.h>


typedef struct {
    const char                 *file;
    unsigned                    line;
    const mesh_render_value_t  *values;
    FILE                       *out;
    mesh_err_t                 *err;
    int                         skip;      /* inside an "#if" without value */
    unsigned                    opened;    /* line of the open "#if", or 0 */
} mesh_render_t;


static int mesh_render_line(mesh_render_t *r, const char *p, size_t len);
static int mesh_render_mark(mesh_render_t *r, const char *p, size_t len);
static const mesh_render_value_t *mesh_render_find(mesh_render_t *r,
    const char *name, size_t len);
static int mesh_render_words(mesh_render_t *r, const char *p, size_t len,
    size_t item, size_t *items);
static int mesh_render_word(mesh_render_t *r, const char *text);


int
mesh_render_template(const char *file, const char *text, size_t len,
    const mesh_render_value_t *values, char **out, size_t *out_len,
    mesh_err_t *err)
{
    int             rc;
    size_t          n;
    const char     *p, *end, *eol;
    mesh_render_t   r;

    memset(&r, 0, sizeof(mesh_render_t));

    r.file = file;
    r.values = values;
    r.err = err;

    r.out = open_memstream(out, out_len);
    if (r.out == NULL) {
        return mesh_err_sys(err, errno, "open_memstream() failed");
    }

    rc = MESH_OK;
    end = text + len;

    for (p = text; p < end && rc == MESH_OK; p += n + 1) {

        eol = memchr(p, '\n', end - p);
        n = eol ? (size_t) (eol - p) : (size_t) (end - p);

        r.line++;
        rc = mesh_render_line(&r, p, n);
    }

    if (rc == MESH_OK && r.opened) {
        rc = mesh_err(err, "%.128s:%u: \"#if\" has no end, expected \"#end\"",
                      file, r.opened);
    }

    if (fclose(r.out) != 0 && rc == MESH_OK) {
        rc = mesh_err_sys(err, errno, "%.128s: out of memory", file);
    }

    if (rc != MESH_OK) {
        free(*out);
        *out = NULL;
    }

    return rc;
}


static int
mesh_render_line(mesh_render_t *r, const char *p, size_t len)
{
    size_t  i, items;

    if (len >= 3 && p[0] == '#' && (memcmp(p, "#if", 3) == 0
                                    || memcmp(p, "#en", 3) == 0))
    {
        return mesh_render_mark(r, p, len);
    }

    if (r->skip) {
        return MESH_OK;
    }

    /* comments of the template are for its readers: names stay in them */

    i = 0;

    while (i < len && (p[i] == ' ' || p[i] == '\t')) {
        i++;
    }

    if (i < len && p[i] == '#') {
        fprintf(r->out, "%.*s\n", (int) len, p);
        return MESH_OK;
    }

    items = 1;

    for (i = 0; i < items; i++) {

        if (mesh_render_words(r, p, len, i, &items) != MESH_OK) {
            return MESH_ERROR;
        }
    }

    return MESH_OK;
}


/* "#if name" and "#end" */

static int
mesh_render_mark(mesh_render_t *r, const char *p, size_t len)
{
    const mesh_render_value_t  *value;

    if (len > 4 && memcmp(p, "#if ", 4) == 0) {

        if (r->opened) {
            return mesh_err(r->err, "%.128s:%u: \"#if\" inside the one of "
                            "line %u, expected \"#end\"", r->file, r->line,
                            r->opened);
        }

        value = mesh_render_find(r, p + 4, len - 4);
        if (value == NULL) {
            return MESH_ERROR;
        }

        r->opened = r->line;
        r->skip = (value->n == 0);

        return MESH_OK;
    }

    if (len == 4 && memcmp(p, "#end", 4) == 0 && r->opened) {
        r->opened = 0;
        r->skip = 0;

        return MESH_OK;
    }

    return mesh_err(r->err, "%.128s:%u: unexpected \"%.*s\", expected \"#if "
                    "name\" or the \"#end\" of one", r->file, r->line,
                    (int) mesh_min(len, 64), p);
}


static const mesh_render_value_t *
mesh_render_find(mesh_render_t *r, const char *name, size_t len)
{
    const mesh_render_value_t  *value;

    for (value = r->values; value->name; value++) {

        if (strlen(value->name) == len && memcmp(value->name, name, len) == 0)
        {
            return value;
        }
    }

    (void) mesh_err(r->err, "%.128s:%u: unknown name \"%.*s\"", r->file,
                    r->line, (int) mesh_min(len, 64), name);

    return NULL;
}


static int
mesh_render_ends_word(char ch)
{
    return ch == ' ' || ch == '\t' || ch == ';' || ch == '{';
}


/*
 * One line with the item-th value of its list; what has one value is the
 * same in every turn.  *items becomes the length of the list that stands in
 * it; two lists in a line have to be equally long.
 */

static int
mesh_render_words(mesh_render_t *r, const char *p, size_t len, size_t item,
    size_t *items)
{
    size_t                      i;
    const char                 *end;
    const mesh_render_value_t  *value;

    for (i = 0; i < len; i++) {

        if (len - i < 2 || p[i] != '$' || p[i + 1] != '{') {
            fputc(p[i], r->out);
            continue;
        }

        end = memchr(p + i, '}', len - i);

        if (end == NULL
            || (i > 0 && p[i - 1] != ' ' && p[i - 1] != '\t')
            || (end + 1 < p + len && !mesh_render_ends_word(end[1])))
        {
            return mesh_err(r->err, "%.128s:%u: \"%.*s\" is not a whole word, "
                            "expected spaces or \";\" around \"${name}\"",
                            r->file, r->line, (int) mesh_min(len - i, 64),
                            p + i);
        }

        value = mesh_render_find(r, p + i + 2, end - (p + i + 2));
        if (value == NULL) {
            return MESH_ERROR;
        }

        if (value->n == 0) {
            return mesh_err(r->err, "%.128s:%u: \"%s\" has no value, expected "
                            "the line inside \"#if %s\"", r->file, r->line,
                            value->name, value->name);
        }

        if (value->n > 1 && *items > 1 && *items != value->n) {
            return mesh_err(r->err, "%.128s:%u: \"%s\" has %zu values, "
                            "expected %zu as the other list of the line",
                            r->file, r->line, value->name, value->n, *items);
        }

        *items = mesh_max(*items, value->n);

        if (mesh_render_word(r, value->items[value->n == 1 ? 0 : item])
            != MESH_OK)
        {
            return mesh_err_prefix(r->err, "%.128s:%u: value of \"%s\"",
                                   r->file, r->line, value->name);
        }

        i = end - p;
    }

    fputc('\n', r->out);

    return MESH_OK;
}


static int
mesh_render_word(mesh_render_t *r, const char *text)
{
    char    buf[2 * MESH_RENDER_WORD_MAX + 4];
    size_t  i, len;

    len = strlen(text);

    if (len > MESH_RENDER_WORD_MAX) {
        return mesh_err(r->err, "is longer than %d bytes",
                        MESH_RENDER_WORD_MAX);
    }

    for (i = 0; i < len; i++) {

        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f) {
            return mesh_err(r->err, "holds the control byte 0x%02x",
                            (unsigned char) text[i]);
        }

        if (text[i] == '$') {
            return mesh_err(r->err, "holds a \"$\", which nginx cannot quote");
        }
    }

    if (mesh_lex_quote(buf, sizeof(buf), text, len) < 0) {
        return mesh_err(r->err, "cannot be quoted");
    }

    fputs(buf, r->out);

    return MESH_OK;
}


/* a name with one value that is printed into buf */

static int
mesh_render_set(mesh_render_value_t *value, char *buf, size_t size,
    mesh_err_t *err, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

static int
mesh_render_set(mesh_render_value_t *value, char *buf, size_t size,
    mesh_err_t *err, const char *name, const char *fmt, ...)
{
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(buf, size, fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= size) {
        return mesh_err(err, "value of \"%s\" is longer than %zu bytes", name,
                        size - 1);
    }

    value->name = name;
    value->items[0] = buf;
    value->n = 1;

    return MESH_OK;
}


typedef enum {
    MESH_RENDER_ALWAYS = 0,
    MESH_RENDER_REDIS,                     /* only with --redis */
    MESH_RENDER_IPV6
} mesh_render_when_e;


/* the names of the template and what they are made of */

static const struct {
    const char          *name;
    mesh_render_when_e   when;
    size_t               base;             /* a string of the settings */
    const char          *before;
    const char          *after;
} mesh_render_names[] = {

#define MESH_RENDER_OF(field)  offsetof(mesh_render_conf_t, field)

    { "stream_module", MESH_RENDER_ALWAYS, MESH_RENDER_OF(modules_dir),
      "", "/ngx_stream_module.so" },
    { "mesh_module", MESH_RENDER_ALWAYS, MESH_RENDER_OF(mesh_module),
      "", "" },
    { "pid_file", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/nginx.pid" },
    { "identity", MESH_RENDER_ALWAYS, MESH_RENDER_OF(identity),
      "", "" },
    { "certificate", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/" MESH_RUN_IDENTITY "/cert.pem" },
    { "certificate_key", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/" MESH_RUN_IDENTITY "/key.pem" },
    { "trust", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/" MESH_RUN_IDENTITY "/trust.pem" },
    { "state_file", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/" MESH_RUN_STATE },
    { "agent_socket", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "unix:", "/" MESH_RUN_AGENT_SOCK },
    { "transparent_conf", MESH_RENDER_ALWAYS, MESH_RENDER_OF(conf_dir),
      "", "/transparent.conf" },
    { "temp_path", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "", "/temp" },
    { "admin_url", MESH_RENDER_ALWAYS, MESH_RENDER_OF(run_dir),
      "http://unix:", "/" MESH_RUN_ADMIN_SOCK },
    { "ipv6", MESH_RENDER_IPV6, MESH_RENDER_OF(run_dir),
      "", "" },
    { "redis_socket", MESH_RENDER_REDIS, MESH_RENDER_OF(run_dir),
      "unix:", "/" MESH_RUN_REDIS_SOCK },
    { "redis_identity", MESH_RENDER_REDIS, MESH_RENDER_OF(trust_domain),
      "identity=spiffe://",
      "/ns/" MESH_SYSTEM_NAMESPACE "/sa/" MESH_SA_REDIS },
    { "redis_endpoint", MESH_RENDER_REDIS, MESH_RENDER_OF(redis),
      "endpoint=", "" }
};


#define MESH_RENDER_NAMES  mesh_nelts(mesh_render_names)


int
mesh_render_nginx(const mesh_render_conf_t *conf, const char *file,
    const char *text, size_t len, char **out, size_t *out_len,
    mesh_err_t *err)
{
    char                 texts[MESH_RENDER_NAMES + 2][MESH_RENDER_WORD_MAX];
    size_t               i;
    mesh_render_value_t  values[MESH_RENDER_NAMES + 4], *value;

    memset(values, 0, sizeof(values));

    for (i = 0; i < MESH_RENDER_NAMES; i++) {

        value = &values[i];
        value->name = mesh_render_names[i].name;

        if ((mesh_render_names[i].when == MESH_RENDER_REDIS && !conf->redis)
            || (mesh_render_names[i].when == MESH_RENDER_IPV6 && !conf->ipv6))
        {
            continue;
        }

        if (mesh_render_set(value, texts[i], sizeof(texts[i]), err,
                            mesh_render_names[i].name, "%s%s%s",
                            mesh_render_names[i].before,
                            *(const char * const *)
                            ((const char *) conf + mesh_render_names[i].base),
                            mesh_render_names[i].after)
            != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    if (mesh_render_set(&values[i], texts[i], sizeof(texts[i]), err,
                        "workers", "%u", conf->workers)
        != MESH_OK
        || mesh_render_set(&values[i + 1], texts[i + 1], sizeof(texts[i + 1]),
                           err, "worker_connections", "%u",
                           conf->worker_connections)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    value = &values[i + 2];
    value->name = "admin_networks";

    if (conf->nadmin_networks > MESH_RENDER_LIST_MAX) {
        return mesh_err(err, "more than %d admin networks",
                        MESH_RENDER_LIST_MAX);
    }

    for (i = 0; i < conf->nadmin_networks; i++) {
        value->items[value->n++] = conf->admin_networks[i];
    }

    return mesh_render_template(file, text, len, values, out, out_len, err);
}
