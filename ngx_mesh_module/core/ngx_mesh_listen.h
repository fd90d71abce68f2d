
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_LISTEN_H_INCLUDED_
#define _NGX_MESH_LISTEN_H_INCLUDED_

/*
 * Intercept listeners and the virtual listeners of http{} and stream{} that
 * their connections are handed to.  Owned by ngx_mesh_module; others need
 * only ngx_mesh_listen_http2().
 */

#include <ngx_mesh.h>


/* targets: the rows of the table in ngx_mesh_listen.c */

typedef enum {
    NGX_MESH_TO_OUT_HTTP1 = 0,
    NGX_MESH_TO_OUT_HTTP2,
    NGX_MESH_TO_OUT_RAW,
    NGX_MESH_TO_OUT_RAW_TLS,
    NGX_MESH_TO_IN_HTTP1,
    NGX_MESH_TO_IN_HTTP2,
    NGX_MESH_TO_IN_MESH_HTTP1,
    NGX_MESH_TO_IN_MESH_HTTP2,
    NGX_MESH_TO_IN_RAW,
    NGX_MESH_TO_IN_MESH_RAW,
    NGX_MESH_TO_MAX
} ngx_mesh_to_e;


typedef struct {
    ngx_array_t               ports;     /* ngx_mesh_port_t * */
    ngx_msec_t                detect_ms; /* mesh_detect timeout= */
    ngx_listening_t          *virtuals;  /* all that were taken out */
    ngx_uint_t                nvirtuals;
    ngx_listening_t          *targets[NGX_MESH_TO_MAX][2];  /* v4, v6 */
} ngx_mesh_conf_t;


typedef struct {                         /* one mesh_listen */
    ngx_mesh_conf_t          *conf;
    ngx_mesh_direction_e      direction;
    ngx_uint_t                v6;        /* 0 or 1: index of targets */
    ngx_str_t                 text;      /* of the directive */
} ngx_mesh_port_t;


/* adds the listeners of url; an error text for the directive, or NULL */
char *ngx_mesh_listen_add(ngx_conf_t *cf, ngx_mesh_conf_t *mcf,
    ngx_str_t *url, ngx_mesh_direction_e direction);

/*
 * Takes the virtual listeners out of cycle->listening, so that they are
 * never bound.  NGX_ERROR, logged: one is missing.
 */
ngx_int_t ngx_mesh_listen_strip(ngx_cycle_t *cycle, ngx_mesh_conf_t *mcf);


/* 1: sa is a virtual listener whose connections speak HTTP/2 */
ngx_uint_t ngx_mesh_listen_http2(struct sockaddr *sa);


extern ngx_module_t  ngx_mesh_module;


#endif /* _NGX_MESH_LISTEN_H_INCLUDED_ */
