
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * mesh_balancer in a stream upstream{}: hooks proxy_pass.  nginx switches TLS
 * to an upstream per server{}, so get() moves the session to the twin that
 * fits the endpoint; the proxy module looks its configuration up again after
 * it.  notify() comes when the connection stands, before the first byte of
 * the application: the last check that a promise of mTLS was kept.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include <ngx_stream_mesh.h>
#include <ngx_mesh_ewma.h>
#include <ngx_mesh_link.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_state.h>
#include <ngx_mesh_tls.h>


typedef struct {
    ngx_stream_session_t       *session;
    ngx_stream_mesh_ctx_t      *ctx;
    ngx_stream_mesh_srv_conf_t *conf;
    ngx_mesh_target_t           target;
    ngx_mesh_link_t            *link;      /* the connection stands */
} ngx_stream_upstream_mesh_peer_t;


static ngx_int_t ngx_stream_upstream_mesh_init(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_upstream_mesh_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_upstream_mesh_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_stream_upstream_mesh_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_stream_upstream_mesh_save_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_upstream_mesh_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static void ngx_stream_upstream_mesh_let_go(
    ngx_stream_upstream_mesh_peer_t *mp);
static ngx_int_t ngx_stream_upstream_mesh_copy(ngx_pool_t *pool,
    ngx_str_t *text);
static void ngx_stream_upstream_mesh_free(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_stream_upstream_mesh_failed(
    ngx_stream_upstream_mesh_peer_t *mp, ngx_peer_connection_t *pc);
static char *ngx_stream_upstream_mesh_balancer(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


static ngx_command_t  ngx_stream_upstream_mesh_commands[] = {

    { ngx_string("mesh_balancer"),
      NGX_STREAM_UPS_CONF|NGX_CONF_NOARGS,
      ngx_stream_upstream_mesh_balancer,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_upstream_mesh_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_stream_upstream_mesh_module = {
    NGX_MODULE_V1,
    &ngx_stream_upstream_mesh_module_ctx,  /* module context */
    ngx_stream_upstream_mesh_commands,     /* module directives */
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
ngx_stream_upstream_mesh_init(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_stream_upstream_mesh_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_upstream_mesh_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us)
{
    const char                       *code;
    ngx_stream_upstream_t            *u;
    ngx_stream_mesh_ctx_t            *ctx;
    ngx_stream_mesh_srv_conf_t       *mscf;
    ngx_stream_upstream_mesh_peer_t  *mp;

    u = s->upstream;
    ctx = ngx_stream_mesh_get_ctx(s);

    if (ctx == NULL) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0,
                      "\"mesh_balancer\" was used in a server without "
                      "\"mesh_direction\"");
        return NGX_ERROR;
    }

    mscf = ngx_stream_get_module_srv_conf(s, ngx_stream_mesh_module);

    mp = ngx_pcalloc(s->connection->pool,
                     sizeof(ngx_stream_upstream_mesh_peer_t));
    if (mp == NULL) {
        return NGX_ERROR;
    }

    if (mscf->fixed) {
        ngx_mesh_target_fixed(&mp->target, &ctx->flow, mscf->fixed);

    } else {
        code = ngx_mesh_target_init(&mp->target, &ctx->flow,
                                    s->connection->pool);
        if (code) {
            ngx_stream_mesh_refuse(s, ctx, code);
            return NGX_ERROR;
        }
    }

    mp->session = s;
    mp->ctx = ctx;
    mp->conf = mscf;

    u->peer.data = mp;
    u->peer.get = ngx_stream_upstream_mesh_get;
    u->peer.free = ngx_stream_upstream_mesh_free;
    u->peer.notify = ngx_stream_upstream_mesh_notify;
    u->peer.tries = ngx_mesh_target_tries(&mp->target);
    u->peer.set_session = ngx_stream_upstream_mesh_set_session;
    u->peer.save_session = ngx_stream_upstream_mesh_save_session;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_upstream_mesh_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_upstream_mesh_peer_t *mp = data;

    void             **srv_conf;
    ngx_uint_t         meshed;
    ngx_mesh_flow_t   *flow;

    pc->cached = 0;
    pc->connection = NULL;

    flow = &mp->ctx->flow;

    if (ngx_mesh_target_next(&mp->target, ngx_mesh_now_us(), ngx_random())
        != NGX_OK)
    {
        ngx_stream_mesh_end_reset(mp->session->connection);
        return NGX_BUSY;
    }

    pc->sockaddr = flow->endpoint->sockaddr;
    pc->socklen = flow->endpoint->socklen;
    pc->name = &flow->endpoint->name;

    meshed = (flow->tls == NGX_MESH_TLS_MTLS);
    srv_conf = meshed ? mp->conf->mtls : mp->conf->plain;

    if (meshed
        && (ngx_mesh_tls_client() == NULL
            || flow->endpoint->identity.len == 0))
    {
        flow->reason = ngx_mesh_tls_client() ? "no-identity"
                                             : "no-certificate";
        return NGX_DECLINED;
    }

    if (srv_conf == NULL) {
        ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                      "no stream server %s \"mesh_tls\" for this direction",
                      meshed ? "with" : "without");

        flow->reason = "internal";
        return NGX_DECLINED;
    }

    mp->session->srv_conf = srv_conf;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_upstream_mesh_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_upstream_mesh_peer_t *mp = data;

    return ngx_mesh_tls_expect(pc->connection,
                               &mp->ctx->flow.endpoint->identity,
                               MESH_ALPN_TCP);
}


static void
ngx_stream_upstream_mesh_save_session(ngx_peer_connection_t *pc, void *data)
{
    /* no resumption: it would not verify the peer again */
}


static void
ngx_stream_upstream_mesh_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_stream_upstream_mesh_peer_t *mp = data;

    uint64_t           now_us;
    ngx_connection_t  *c;

    if (type != NGX_STREAM_UPSTREAM_NOTIFY_CONNECT) {
        return;
    }

    c = pc->connection;

    if (mp->ctx->flow.tls == NGX_MESH_TLS_MTLS
        && ngx_mesh_tls_peer(c) == NULL)
    {
        ngx_stream_mesh_refuse(mp->session, mp->ctx, "tls-refused");

        /* no way to say no from here: nothing gets out of this socket */

        if (ngx_shutdown_socket(c->fd, SHUT_RDWR) == -1) {
            ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                          ngx_shutdown_socket_n " failed");
        }

        return;
    }

    now_us = ngx_mesh_now_us();

    mp->ctx->flow.reason = NULL;
    mp->link = ngx_mesh_link_open(c->pool, &mp->ctx->flow);

    ngx_stream_mesh_end_watch(mp->session, mp->ctx, c);

    if (mp->target.slot) {
        ngx_mesh_ewma_add(mp->target.slot, now_us - mp->target.start_us,
                          now_us);
    }

    if (mp->ctx->flow.state) {
        ngx_stream_upstream_mesh_let_go(mp);
    }
}


/*
 * A session may last for days and a snapshot weighs hundreds of kilobytes, so
 * what may still be asked is copied and the snapshot goes.  Without memory it
 * stays until the session ends.
 */

static void
ngx_stream_upstream_mesh_let_go(ngx_stream_upstream_mesh_peer_t *mp)
{
    ngx_str_t                    service, *name;
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    struct sockaddr             *sockaddr;
    ngx_mesh_flow_t             *flow;
    ngx_mesh_endpoint_t         *endpoint;
    ngx_stream_upstream_t       *u;
    ngx_stream_upstream_state_t  *states;

    flow = &mp->ctx->flow;
    u = mp->session->upstream;
    pool = mp->session->connection->pool;
    states = mp->session->upstream_states->elts;

    ngx_str_null(&service);

    /* the last one of these is the endpoint's */

    for (i = 0; i < mp->session->upstream_states->nelts; i++) {

        name = ngx_palloc(pool, sizeof(ngx_str_t));
        if (name == NULL) {
            return;
        }

        *name = *states[i].peer;

        if (ngx_stream_upstream_mesh_copy(pool, name) != NGX_OK) {
            return;
        }

        states[i].peer = name;
    }

    endpoint = ngx_palloc(pool, sizeof(ngx_mesh_endpoint_t));
    sockaddr = ngx_palloc(pool, flow->endpoint->socklen);

    if (endpoint == NULL || sockaddr == NULL) {
        return;
    }

    ngx_memcpy(sockaddr, flow->endpoint->sockaddr, flow->endpoint->socklen);

    *endpoint = *flow->endpoint;
    endpoint->record = NULL;
    endpoint->sockaddr = sockaddr;

    if (ngx_stream_upstream_mesh_copy(pool, &endpoint->name) != NGX_OK
        || ngx_stream_upstream_mesh_copy(pool, &endpoint->identity) != NGX_OK
        || ngx_stream_mesh_service_text(mp->session, mp->ctx, &service)
           != NGX_OK)
    {
        return;
    }

    u->peer.name = &endpoint->name;
    u->peer.sockaddr = endpoint->sockaddr;

    mp->target.own = endpoint;
    mp->target.endpoints = NULL;

    mp->ctx->service = service;

    flow->endpoint = endpoint;
    flow->service = NULL;

    ngx_mesh_state_unpin(pool, flow->state);

    flow->state = NULL;
}


static ngx_int_t
ngx_stream_upstream_mesh_copy(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char  *p;

    if (text->len == 0) {
        return NGX_OK;
    }

    p = ngx_pstrdup(pool, text);

    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    return NGX_OK;
}


static void
ngx_stream_upstream_mesh_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_stream_upstream_mesh_peer_t *mp = data;

    uint64_t           now_us;
    ngx_mesh_try_e     result;
    ngx_connection_t  *c;

    c = pc->connection;
    now_us = ngx_mesh_now_us();
    result = NGX_MESH_TRY_UNKNOWN;

    if (mp->link && c) {
        mp->link->received = mp->session->upstream->received;
        mp->link->sent = c->sent;

        if (c->read->timedout || c->write->timedout) {
            mp->link->err = NGX_ETIMEDOUT;

        } else if (c->error || c->read->error || c->write->error) {
            mp->link->err = NGX_ECONNRESET;
        }
    }

    if (state & NGX_PEER_FAILED) {
        ngx_stream_upstream_mesh_failed(mp, pc);
        result = NGX_MESH_TRY_FAILED;
    }

    ngx_mesh_target_done(&mp->target, result,
                         now_us - mp->target.start_us, now_us);

    if (pc->tries) {
        pc->tries--;
    }
}


static void
ngx_stream_upstream_mesh_failed(ngx_stream_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc)
{
    const char        *why;
    ngx_connection_t  *c;

    c = pc->connection;
    why = "connect-failed";

    if (c == NULL && mp->ctx->flow.reason) {
        why = mp->ctx->flow.reason;        /* get() said why */

    } else if (ngx_mesh_tls_refused(c)) {
        why = "tls-refused";

    } else if (c && (c->read->timedout || c->write->timedout)) {
        why = "connect-timeout";
    }

    mp->ctx->flow.reason = why;

    ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                  "mesh endpoint %V failed: %s%s", pc->name, why,
                  pc->tries < 2 ? "" : ", trying another one");

    if (pc->tries < 2) {
        ngx_stream_mesh_end_reset(mp->session->connection);
    }
}


static char *
ngx_stream_upstream_mesh_balancer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_stream_upstream_server_t    *us;
    ngx_stream_upstream_srv_conf_t  *uscf;

    uscf = ngx_stream_conf_get_module_srv_conf(cf,
                                               ngx_stream_upstream_module);

    if (uscf->peer.init_upstream) {
        return "is duplicate or follows another balancer";
    }

    uscf->peer.init_upstream = ngx_stream_upstream_mesh_init;
    uscf->flags = NGX_STREAM_UPSTREAM_CREATE;

    /* nginx wants a server; this one has no address and is never used */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_stream_upstream_server_t));
    ngx_str_set(&us->name, "mesh");
    us->down = 1;

    return NGX_CONF_OK;
}
