
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Counts the TCP sessions of the mesh on the side of the client: who it is,
 * known after the handshake, and its bytes, known at the end.  Connections
 * are opened and closed in the counters by the listener and by the pool.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_stream_mesh.h>
#include <ngx_mesh_metrics.h>


static ngx_int_t ngx_stream_mesh_metrics_begin(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_mesh_metrics_log(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_mesh_metrics_init(ngx_conf_t *cf);


static ngx_stream_module_t  ngx_stream_mesh_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_stream_mesh_metrics_init,          /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_stream_mesh_metrics_module = {
    NGX_MODULE_V1,
    &ngx_stream_mesh_metrics_module_ctx,   /* module context */
    NULL,                                  /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_stream_mesh_metrics_begin(ngx_stream_session_t *s)
{
    ngx_mesh_flow_t  *flow;

    flow = ngx_stream_mesh_get_flow(s);

    if (flow && flow->conn) {
        ngx_mesh_metrics_identified(flow->conn);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_stream_mesh_metrics_log(ngx_stream_session_t *s)
{
    ngx_mesh_flow_t  *flow;

    flow = ngx_stream_mesh_get_flow(s);

    if (flow && flow->conn) {
        ngx_mesh_metrics_transferred(flow->conn, s->received,
                                     s->connection->sent);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_metrics_init(ngx_conf_t *cf)
{
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_mesh_metrics_begin;

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_mesh_metrics_log;

    return NGX_OK;
}
