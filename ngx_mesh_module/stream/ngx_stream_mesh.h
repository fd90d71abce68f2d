
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_STREAM_MESH_H_INCLUDED_
#define _NGX_STREAM_MESH_H_INCLUDED_

/*
 * What the stream modules of the mesh share: one context for each session,
 * in the session's pool.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_target.h>
#include <ngx_stream.h>


/* mesh_direction: OFF is every server that is not of the mesh */

#define NGX_STREAM_MESH_OFF       ((ngx_uint_t) 2)


/*
 * A server for plaintext and its twin with proxy_ssl differ in that alone;
 * the session runs in the one that fits the endpoint.
 */

typedef struct {
    ngx_uint_t                direction; /* NGX_MESH_OUTBOUND .. or OFF */
    ngx_flag_t                tls;       /* mesh_tls mtls */
    ngx_mesh_endpoint_t      *fixed;     /* endpoint= and identity= */
    void                    **plain;     /* srv_conf of the twins; NULL: */
    void                    **mtls;      /* there is no such server */
} ngx_stream_mesh_srv_conf_t;


typedef struct {                         /* of one connection of a session */
    ngx_recv_pt               recv;      /* what c->recv was, and so on */
    ngx_send_chain_pt         send_chain;
    void                    (*info)(const ngx_ssl_conn_t *ssl, int where,
                                    int ret);
    unsigned                  spoke:1;   /* bytes came */
    unsigned                  over:1;    /* close_notify came */
    unsigned                  last:1;    /* all that will be sent is known */
    unsigned                  notified:1;   /* close_notify was sent */
    unsigned                  blocked:1;    /* or waits for the socket */
} ngx_stream_mesh_end_t;


typedef struct {
    ngx_mesh_flow_t           flow;      /* first: read by metrics */
    ngx_mesh_direction_e      direction;
    ngx_stream_mesh_end_t     client;
    ngx_stream_mesh_end_t     server;
    ngx_str_t                 service;   /* once the state is let go */
    unsigned                  reset:1;   /* a connection broke down */
} ngx_stream_mesh_ctx_t;


/*
 * The context of s, made on the first call.  NULL: the server has neither
 * mesh_direction nor endpoint=, or no memory.
 */
ngx_stream_mesh_ctx_t *ngx_stream_mesh_get_ctx(ngx_stream_session_t *s);

/* its flow, for counting; NULL as above */
ngx_mesh_flow_t *ngx_stream_mesh_get_flow(ngx_stream_session_t *s);

/* "shop/redis:6379", len 0: none; NGX_ERROR: no memory */
ngx_int_t ngx_stream_mesh_service_text(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);

/* the mesh resets s itself: keeps and logs a code of ngx_mesh_error.c */
void ngx_stream_mesh_refuse(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, const char *code);

/*
 * ngx_stream_mesh_end.c: c, a connection of s whose handshake is over, passes
 * on how it ends; c is closed with a reset, and nothing is sent any more.
 */
void ngx_stream_mesh_end_watch(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c);
void ngx_stream_mesh_end_reset(ngx_connection_t *c);


extern ngx_module_t  ngx_stream_mesh_module;


#endif /* _NGX_STREAM_MESH_H_INCLUDED_ */
