
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_OPT_H_INCLUDED_
#define _MESH_OPT_H_INCLUDED_

/*
 * Options as a table: usage text, parsing and the environment come from it.
 *
 *     static const mesh_opt_t  options[] = {
 *
 *         { "listen", "ADDR:PORT", MESH_OPT_LIST, MESH_OPT_REQUIRED,
 *           offsetof(conf_t, listen), NULL, 0, 0,
 *           "where to serve HTTPS; may be given several times" },
 *
 *         { "leaf-ttl", "SECONDS", MESH_OPT_NUMBER, 0,
 *           offsetof(conf_t, leaf_ttl), "86400", 10, 31536000,
 *           "life of a certificate" },
 *
 *         MESH_OPT_END
 *     };
 *
 * Every option is taken as --name=value, --name value, or from the
 * environment as MESH_NAME ("-" becomes "_"), the command line going first.
 * Strings point into argv and the environment; nothing is allocated.
 */

#include <mesh_core.h>


#define MESH_OPT_STRING    0      /* const char *  (NULL: not given) */
#define MESH_OPT_NUMBER    1      /* int64_t, within min .. max */
#define MESH_OPT_FLAG      2      /* int; --name, or =on|off */
#define MESH_OPT_LIST      3      /* mesh_opt_list_t; repeated; the environment
                                     and the preset hold words */
#define MESH_OPT_CHOICE    4      /* const char *, one word of arg: "a|b" */

#define MESH_OPT_REQUIRED  0x01

#define MESH_OPT_LIST_MAX  16


typedef struct {
    const char  *name;            /* without the dashes */
    const char  *arg;             /* what usage shows; NULL for a flag */
    int          type;            /* MESH_OPT_STRING .. */
    int          flags;           /* MESH_OPT_REQUIRED */
    size_t       offset;          /* in the settings */
    const char  *preset;          /* default, parsed as if typed; or NULL */
    int64_t      min;
    int64_t      max;             /* 0 and 0: INT64_MIN .. INT64_MAX */
    const char  *help;            /* one line */
} mesh_opt_t;


#define MESH_OPT_END  { NULL, NULL, 0, 0, 0, NULL, 0, 0, NULL }


typedef struct {
    size_t       n;
    const char  *value[MESH_OPT_LIST_MAX];
    char         words[512];      /* copy of the environment's or preset's */
} mesh_opt_list_t;


/*
 * Parses argv[1] .. argv[argc - 1] into conf; argv[0] is skipped.  Words
 * that are no options are moved to the end of argv and *rest is the index of
 * the first of them; with rest == NULL they are errors.  "--" ends options.
 * MESH_DONE: --help was asked for.  MESH_ERROR: *err names the option, the
 * value, and what was expected.
 */
int mesh_opt_parse(const mesh_opt_t *table, int argc, char **argv,
    void *conf, int *rest, mesh_err_t *err);

/* "usage: meshd identity OPTIONS", then a line or two per option */
void mesh_opt_usage(FILE *out, const mesh_opt_t *table, const char *command);


#endif /* _MESH_OPT_H_INCLUDED_ */
