
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Counts the TCP sessions of the mesh: who the client is, known after the
 * handshake, and the bytes of both sides, once a second while the session
 * lasts and at its end.  Connections are opened and closed in the counters by
 * the listener and by the balancer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_stream_mesh.h>
#include <ngx_mesh_link.h>
#include <ngx_mesh_metrics.h>


#define NGX_STREAM_MESH_METRICS_MS  1000


typedef struct {
    ngx_queue_t               queue;
    ngx_stream_session_t     *session;
    ngx_mesh_conn_t          *conn;      /* NULL: not from mesh_listen */
    off_t                     received;  /* counted so far */
    off_t                     sent;
} ngx_stream_mesh_metrics_ctx_t;


static ngx_int_t ngx_stream_mesh_metrics_begin(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_mesh_metrics_log(ngx_stream_session_t *s);
static void ngx_stream_mesh_metrics_flush(ngx_stream_mesh_metrics_ctx_t *ctx);
static void ngx_stream_mesh_metrics_timer(ngx_event_t *ev);
static void ngx_stream_mesh_metrics_cleanup(void *data);
static ngx_int_t ngx_stream_mesh_metrics_init_process(ngx_cycle_t *cycle);
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
    ngx_stream_mesh_metrics_init_process,  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* sessions of this worker, and the timer that runs while there are any */

static ngx_queue_t       ngx_stream_mesh_metrics_sessions;
static ngx_event_t       ngx_stream_mesh_metrics_event;
static ngx_connection_t  ngx_stream_mesh_metrics_dummy;


static ngx_int_t
ngx_stream_mesh_metrics_begin(ngx_stream_session_t *s)
{
    ngx_mesh_flow_t                *flow;
    ngx_pool_cleanup_t             *cln;
    ngx_stream_mesh_metrics_ctx_t  *ctx;

    flow = ngx_stream_mesh_get_flow(s);

    if (flow == NULL
        || ngx_stream_get_module_ctx(s, ngx_stream_mesh_metrics_module))
    {
        return NGX_DECLINED;
    }

    if (flow->conn) {
        ngx_mesh_metrics_identified(flow->conn);
    }

    cln = ngx_pool_cleanup_add(s->connection->pool,
                               sizeof(ngx_stream_mesh_metrics_ctx_t));
    if (cln == NULL) {
        return NGX_DECLINED;               /* uncounted, but served */
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_stream_mesh_metrics_ctx_t));

    cln->handler = ngx_stream_mesh_metrics_cleanup;

    ctx->session = s;
    ctx->conn = flow->conn;

    ngx_stream_set_ctx(s, ctx, ngx_stream_mesh_metrics_module);

    ngx_queue_insert_tail(&ngx_stream_mesh_metrics_sessions, &ctx->queue);

    if (!ngx_stream_mesh_metrics_event.timer_set) {
        ngx_add_timer(&ngx_stream_mesh_metrics_event,
                      NGX_STREAM_MESH_METRICS_MS);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_stream_mesh_metrics_log(ngx_stream_session_t *s)
{
    ngx_stream_mesh_metrics_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_mesh_metrics_module);

    if (ctx) {
        ngx_stream_mesh_metrics_flush(ctx);
    }

    return NGX_OK;
}


static void
ngx_stream_mesh_metrics_flush(ngx_stream_mesh_metrics_ctx_t *ctx)
{
    off_t                   sent;
    ngx_connection_t       *c;
    ngx_stream_session_t   *s;
    ngx_stream_upstream_t  *u;

    s = ctx->session;
    sent = s->connection->sent;

    if (ctx->conn) {
        ngx_mesh_metrics_transferred(ctx->conn, s->received - ctx->received,
                                     sent - ctx->sent);
    }

    ctx->received = s->received;
    ctx->sent = sent;

    u = s->upstream;
    c = u ? u->peer.connection : NULL;

    if (c && c->pool) {
        ngx_mesh_link_flush(c->pool, u->received, c->sent);
    }
}


static void
ngx_stream_mesh_metrics_timer(ngx_event_t *ev)
{
    ngx_queue_t                    *q;
    ngx_stream_mesh_metrics_ctx_t  *ctx;

    for (q = ngx_queue_head(&ngx_stream_mesh_metrics_sessions);
         q != ngx_queue_sentinel(&ngx_stream_mesh_metrics_sessions);
         q = ngx_queue_next(q))
    {
        ctx = ngx_queue_data(q, ngx_stream_mesh_metrics_ctx_t, queue);
        ngx_stream_mesh_metrics_flush(ctx);
    }

    if (!ngx_queue_empty(&ngx_stream_mesh_metrics_sessions)) {
        ngx_add_timer(ev, NGX_STREAM_MESH_METRICS_MS);
    }
}


static void
ngx_stream_mesh_metrics_cleanup(void *data)
{
    ngx_stream_mesh_metrics_ctx_t  *ctx = data;

    ngx_queue_remove(&ctx->queue);
}


static ngx_int_t
ngx_stream_mesh_metrics_init_process(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_stream_mesh_metrics_sessions);

    ngx_stream_mesh_metrics_dummy.fd = (ngx_socket_t) -1;

    ngx_stream_mesh_metrics_event.handler = ngx_stream_mesh_metrics_timer;
    ngx_stream_mesh_metrics_event.data = &ngx_stream_mesh_metrics_dummy;
    ngx_stream_mesh_metrics_event.log = cycle->log;
    ngx_stream_mesh_metrics_event.cancelable = 1;

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
