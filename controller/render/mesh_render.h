
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_RENDER_H_INCLUDED_
#define _MESH_RENDER_H_INCLUDED_

/*
 * nginx.conf of a sidecar: conf/nginx.conf.tmpl and the settings of one pod.
 * The text has constant size: what is live stands in state, not here.
 */

#include <mesh_core.h>


#define MESH_RENDER_LIST_MAX   64
#define MESH_RENDER_CONF_MAX   (1024 * 1024)
#define MESH_RENDER_WORD_MAX   2048


/*
 * A name of the template.  items are inserted as they are, each quoted as
 * one nginx word; none: "#if name" leaves its lines out.
 */

typedef struct {
    const char   *name;
    const char   *items[MESH_RENDER_LIST_MAX];
    size_t        n;
} mesh_render_value_t;                     /* a table ends with name NULL */


/* what the template's names are made of; all strings outlive the rendering */

typedef struct {
    const char   *run_dir;
    const char   *conf_dir;
    const char   *modules_dir;             /* ngx_stream_module.so */
    const char   *mesh_module;             /* the file */
    const char   *identity;                /* own SPIFFE ID */
    const char   *trust_domain;
    const char   *redis;                   /* ADDRESS:PORT; NULL: --static */
    const char  **admin_networks;
    size_t        nadmin_networks;
    unsigned      workers;
    unsigned      worker_connections;
    int           ipv6;                    /* the machine has it */
} mesh_render_conf_t;


/*
 * Fills the template (named file in messages) from a table.  The caller
 * frees *out.  MESH_ERROR: a name that is not in the table, a ${name} that
 * is no whole word, a value that no nginx word can hold ("$" and control
 * bytes), all with the template's line.
 */
int mesh_render_template(const char *file, const char *text, size_t len,
    const mesh_render_value_t *values, char **out, size_t *out_len,
    mesh_err_t *err);

/* nginx.conf for conf; the same conf and template give the same bytes */
int mesh_render_nginx(const mesh_render_conf_t *conf, const char *file,
    const char *text, size_t len, char **out, size_t *out_len,
    mesh_err_t *err);


#endif /* _MESH_RENDER_H_INCLUDED_ */
