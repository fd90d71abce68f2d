
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * mesh_balancer in an http upstream{}: hooks proxy_pass.  One try is one
 * get() .. free(); everything is decided there and in set_session(), never
 * by looking at u->peer.data from outside, which on 1.29.7 and later may be
 * another module's.  TLS is switched on per endpoint (u->ssl), with a copy
 * of the location's upstream configuration that carries our context.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_http_mesh_dial.h>
#include <ngx_http_mesh_h2.h>
#include <ngx_mesh_link.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_pool.h>
#include <ngx_mesh_tls.h>


#define NGX_HTTP_UPSTREAM_MESH_MISHEARD  3


/* the copy is made by each worker at its first request of the location */

typedef struct {
    ngx_http_upstream_conf_t   *original;
    ngx_http_upstream_conf_t    upstream;
    ngx_http_upstream_conf_t    again;   /* sends anything once more */
} ngx_http_upstream_mesh_loc_conf_t;


typedef struct {
    ngx_http_request_t         *request;
    ngx_http_mesh_ctx_t        *ctx;
    ngx_mesh_target_t           target;
    ngx_http_mesh_dial_t       *dial;        /* NULL: it had no need to */
    ngx_mesh_peer_t            *peer;        /* of a pooled connection */
    ngx_mesh_link_t            *link;        /* of the try's connection */
    uint64_t                    generation;  /* of the try's connection */
    ngx_uint_t                  http_version;   /* of the client */
    ngx_int_t                 (*process_header)(ngx_http_request_t *r);
    ngx_int_t                 (*reinit_request)(ngx_http_request_t *r);
    void                      (*finalize_request)(ngx_http_request_t *r,
                                                  ngx_int_t rc);
    unsigned                    fresh:1;     /* no pooled connection again */
    unsigned                    interim:1;   /* a 1xx may come yet */
    unsigned                    unreached:1; /* its application, this try */
    unsigned                    unsent:1;    /* as good as, this try */
    unsigned                    http2:1;     /* grpc_pass */
    unsigned                    misheard:2;  /* how often tried again */
} ngx_http_upstream_mesh_peer_t;


static ngx_int_t ngx_http_upstream_mesh_init(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_upstream_mesh_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_http_upstream_conf_t *ngx_http_upstream_mesh_conf(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_upstream_mesh_get(ngx_peer_connection_t *pc,
    void *data);
static uint64_t ngx_http_upstream_mesh_now(
    ngx_http_upstream_mesh_peer_t *mp);
static ngx_int_t ngx_http_upstream_mesh_dial(
    ngx_http_upstream_mesh_peer_t *mp, ngx_peer_connection_t *pc);
static ngx_connection_t *ngx_http_upstream_mesh_take(ngx_http_request_t *r);
static ngx_connection_t *ngx_http_upstream_mesh_pooled(
    ngx_http_upstream_mesh_peer_t *mp, ngx_peer_connection_t *pc);
static void ngx_http_upstream_mesh_free(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_http_upstream_mesh_count(ngx_http_upstream_mesh_peer_t *mp,
    ngx_connection_t *c);
static void ngx_http_upstream_mesh_ended(ngx_http_upstream_mesh_peer_t *mp);
static ngx_mesh_try_e ngx_http_upstream_mesh_failed(
    ngx_http_upstream_mesh_peer_t *mp, ngx_peer_connection_t *pc,
    ngx_uint_t sent);
static ngx_uint_t ngx_http_upstream_mesh_misheard(
    ngx_http_upstream_mesh_peer_t *mp, ngx_connection_t *c);
static ngx_uint_t ngx_http_upstream_mesh_early(ngx_connection_t *c);
static const char *ngx_http_upstream_mesh_why(
    ngx_http_upstream_mesh_peer_t *mp, ngx_connection_t *c,
    ngx_uint_t sent);
static void ngx_http_upstream_mesh_park(ngx_http_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc);
static void ngx_http_upstream_mesh_key(ngx_http_upstream_mesh_peer_t *mp,
    ngx_mesh_pool_key_t *key);
static uint64_t ngx_http_upstream_mesh_latency(
    ngx_http_upstream_mesh_peer_t *mp, uint64_t now_us);
static ngx_int_t ngx_http_upstream_mesh_process_header(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_upstream_mesh_process_response(
    ngx_http_request_t *r, ngx_http_upstream_mesh_peer_t *mp);
static void ngx_http_upstream_mesh_refused(ngx_http_request_t *r,
    ngx_http_upstream_mesh_peer_t *mp);
static void ngx_http_upstream_mesh_again(ngx_http_request_t *r,
    ngx_http_upstream_mesh_peer_t *mp);
static ngx_int_t ngx_http_upstream_mesh_reinit_request(
    ngx_http_request_t *r);
static void ngx_http_upstream_mesh_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_int_t ngx_http_upstream_mesh_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_upstream_mesh_connected(void *data);
static void ngx_http_upstream_mesh_save_session(ngx_peer_connection_t *pc,
    void *data);

static char *ngx_http_upstream_mesh_balancer(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_upstream_mesh_init_main_conf(ngx_conf_t *cf,
    void *conf);
static void *ngx_http_upstream_mesh_create_loc_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_http_upstream_mesh_commands[] = {

    { ngx_string("mesh_balancer"),
      NGX_HTTP_UPS_CONF|NGX_CONF_NOARGS,
      ngx_http_upstream_mesh_balancer,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_upstream_mesh_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    ngx_http_upstream_mesh_init_main_conf, /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_upstream_mesh_create_loc_conf, /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_upstream_mesh_module = {
    NGX_MODULE_V1,
    &ngx_http_upstream_mesh_module_ctx,    /* module context */
    ngx_http_upstream_mesh_commands,       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
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
ngx_http_upstream_mesh_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_http_upstream_mesh_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_upstream_mesh_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t            *u;
    ngx_http_mesh_ctx_t            *ctx;
    ngx_http_upstream_conf_t       *conf;
    ngx_http_upstream_mesh_peer_t  *mp;

    u = r->upstream;
    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx == NULL || !ctx->located) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "\"mesh_balancer\" was used for a request that has no "
                      "destination of the mesh");
        return NGX_ERROR;
    }

    ngx_http_mesh_trailer_hook(r, ctx);

    conf = ngx_http_upstream_mesh_conf(r);
    mp = ngx_pcalloc(r->pool, sizeof(ngx_http_upstream_mesh_peer_t));

    if (conf == NULL || mp == NULL) {
        return NGX_ERROR;
    }

    mp->request = r;
    mp->ctx = ctx;
    mp->target = ctx->target;
    mp->process_header = u->process_header;
    mp->reinit_request = u->reinit_request;
    mp->finalize_request = u->finalize_request;
    mp->http2 = (u->schema.len && u->schema.data[0] == 'g');  /* grpc:// */
    mp->interim = !mp->http2;
    mp->http_version = r->http_version;

    ngx_http_mesh_hop_version(r);

    ngx_http_set_ctx(r, mp, ngx_http_upstream_mesh_module);

    u->conf = conf;
    u->process_header = ngx_http_upstream_mesh_process_header;
    u->reinit_request = ngx_http_upstream_mesh_reinit_request;

    if (mp->http2) {
        u->finalize_request = ngx_http_upstream_mesh_finalize_request;
    }

    u->peer.data = mp;
    u->peer.get = ngx_http_upstream_mesh_get;
    u->peer.free = ngx_http_upstream_mesh_free;
    u->peer.tries = ngx_mesh_target_tries(&mp->target);
    u->peer.set_session = ngx_http_upstream_mesh_set_session;
    u->peer.save_session = ngx_http_upstream_mesh_save_session;

    return NGX_OK;
}


/*
 * next_upstream only lets the core ask again; whether there is another try is
 * decided in free().  ssl_session_reuse is what makes it call set_session.
 */

static ngx_http_upstream_conf_t *
ngx_http_upstream_mesh_conf(ngx_http_request_t *r)
{
    ngx_ssl_t                          *ssl;
    ngx_http_upstream_conf_t           *conf;
    ngx_http_upstream_mesh_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_upstream_mesh_module);
    conf = &mlcf->upstream;
    ssl = ngx_mesh_tls_client();

    if (mlcf->original == r->upstream->conf && conf->ssl == ssl) {
        return conf;
    }

    mlcf->original = r->upstream->conf;

    *conf = *r->upstream->conf;

    conf->next_upstream = NGX_HTTP_UPSTREAM_FT_ERROR
                          |NGX_HTTP_UPSTREAM_FT_TIMEOUT;
    conf->next_upstream_tries = 0;
    conf->next_upstream_timeout = 0;

    conf->ssl = ssl;
    conf->ssl_session_reuse = 1;
    conf->ssl_verify = 0;
    conf->ssl_server_name = 0;
    conf->ssl_certificate = NULL;

    conf->pass_trailers = 1;               /* those that we find */

    mlcf->again = *conf;
    mlcf->again.next_upstream |= NGX_HTTP_UPSTREAM_FT_INVALID_HEADER
                                 |NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;

    return conf;
}


static ngx_int_t
ngx_http_upstream_mesh_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_upstream_mesh_peer_t *mp = data;

    uint32_t                            rnd;
    ngx_uint_t                          meshed;
    ngx_mesh_flow_t                    *flow;
    ngx_http_upstream_t                *u;
    ngx_http_upstream_mesh_loc_conf_t  *mlcf;

    pc->cached = 0;
    pc->connection = NULL;

    flow = &mp->ctx->flow;
    u = mp->request->upstream;

    mlcf = ngx_http_get_module_loc_conf(mp->request,
                                        ngx_http_upstream_mesh_module);
    u->conf = &mlcf->upstream;
    mp->unreached = 0;
    mp->unsent = 0;

    rnd = (mp->target.n > 1) ? (uint32_t) ngx_random() : 0;

    if (ngx_mesh_target_next(&mp->target, ngx_http_upstream_mesh_now(mp), rnd)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    pc->sockaddr = flow->endpoint->sockaddr;
    pc->socklen = flow->endpoint->socklen;
    pc->name = &flow->endpoint->name;

    meshed = (flow->tls == NGX_MESH_TLS_MTLS);

    if (meshed && (u->conf->ssl == NULL || flow->endpoint->identity.len == 0))
    {
        flow->reason = u->conf->ssl ? "no-identity" : "no-certificate";
        return NGX_DECLINED;
    }

    u->ssl = meshed;

    pc->connection = ngx_http_upstream_mesh_take(mp->request);

    if (pc->connection) {
        pc->cached = 1;
        return NGX_DONE;
    }

    return meshed ? ngx_http_upstream_mesh_dial(mp, pc) : NGX_OK;
}


/* the first try of a request without a body begins with the request */

static uint64_t
ngx_http_upstream_mesh_now(ngx_http_upstream_mesh_peer_t *mp)
{
    ngx_http_headers_in_t  *in;

    in = &mp->request->headers_in;

    if (mp->target.tried.n == 0 && in->content_length_n <= 0 && !in->chunked) {
        return mp->ctx->flow.start_us;
    }

    return ngx_mesh_now_us();
}


/* most requests find a pooled connection and do without */

static ngx_int_t
ngx_http_upstream_mesh_dial(ngx_http_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc)
{
    if (mp->dial == NULL) {
        mp->dial = ngx_pcalloc(mp->request->pool,
                               sizeof(ngx_http_mesh_dial_t));
        if (mp->dial == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_mesh_dial_begin(mp->dial, mp->request, pc,
                                    ngx_http_upstream_mesh_take);
}


static ngx_connection_t *
ngx_http_upstream_mesh_take(ngx_http_request_t *r)
{
    ngx_connection_t               *c;
    ngx_http_upstream_mesh_peer_t  *mp;

    mp = ngx_http_get_module_ctx(r, ngx_http_upstream_mesh_module);

    mp->peer = NULL;
    mp->link = NULL;
    mp->generation = (mp->ctx->flow.tls == NGX_MESH_TLS_MTLS)
                     ? ngx_mesh_tls_generation() : 0;

    if (mp->fresh) {
        return NULL;
    }

    c = ngx_http_upstream_mesh_pooled(mp, &r->upstream->peer);

    if (c) {
        ngx_mesh_count(NGX_MESH_C_pool_reused, 1);

        if (mp->http2) {
            ngx_http_mesh_h2_next(c);
        }
    }

    return c;
}


static ngx_connection_t *
ngx_http_upstream_mesh_pooled(ngx_http_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc)
{
    ngx_uint_t            once;
    const char           *code;
    ngx_mesh_peer_t      *peer;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_mesh_pool_key_t   key;

    r = mp->request;

    /* what ngx_http_upstream_next() would not send again */

    once = (r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK|NGX_HTTP_PATCH))
           || r->request_body_no_buffering;

    ngx_http_upstream_mesh_key(mp, &key);

    for ( ;; ) {
        c = ngx_mesh_pool_take(&key, once, pc->log);

        if (c == NULL || key.identity.len == 0) {
            return c;
        }

        peer = ngx_mesh_tls_peer(c);

        if (peer && ngx_mesh_tls_peer_check(c, peer, ngx_time(), &code)
                    == NGX_OK)
        {
            mp->peer = peer;
            return c;
        }

        ngx_mesh_pool_close(c);
    }
}


static void
ngx_http_upstream_mesh_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_upstream_mesh_peer_t *mp = data;

    uint64_t              now_us;
    ngx_uint_t            sent;
    ngx_mesh_try_e        result;
    ngx_http_upstream_t  *u;

    u = mp->request->upstream;
    sent = pc->connection && u->request_sent;
    now_us = ngx_mesh_now_us();

    if (mp->dial) {
        ngx_http_mesh_dial_end(mp->dial);
    }

    result = NGX_MESH_TRY_UNKNOWN;

    if (sent) {
        mp->ctx->sent = 1;
        ngx_http_upstream_mesh_count(mp, pc->connection);
        ngx_http_upstream_mesh_ended(mp);
    }

    if (state & NGX_PEER_FAILED) {
        result = ngx_http_upstream_mesh_failed(mp, pc, sent);

    } else if (u->state && u->state->header_time != (ngx_msec_t) -1) {
        result = NGX_MESH_TRY_ANSWERED;

        if (!mp->ctx->broken) {
            mp->ctx->flow.reason = NULL;
        }
    }

    ngx_mesh_target_done(&mp->target, result,
                         ngx_http_upstream_mesh_latency(mp, now_us), now_us);

    if (result == NGX_MESH_TRY_ANSWERED) {
        ngx_http_upstream_mesh_park(mp, pc);
    }

    if (pc->tries) {
        pc->tries--;
    }
}


/* what the request added to its connection */

static void
ngx_http_upstream_mesh_count(ngx_http_upstream_mesh_peer_t *mp,
    ngx_connection_t *c)
{
    ngx_mesh_link_t  *link;

    link = mp->link ? mp->link : ngx_mesh_link_open(c->pool, &mp->ctx->flow);

    if (link == NULL) {
        return;
    }

    link->sent += c->sent;
    link->received += mp->request->upstream->state->bytes_received;

    ngx_mesh_link_count(link, link->received, link->sent);

    if (c->read->timedout || c->write->timedout) {
        link->err = NGX_ETIMEDOUT;

    } else if (c->read->error || c->write->error) {
        link->err = NGX_ECONNRESET;
    }
}


/*
 * u->length is what the endpoint's body still owes: 0 when it ended well, -1
 * when its end is the end of the connection.  Before a chunked body's last
 * chunk it is at least the length of "0" LF LF; of HTTP/2 it is 1 until the
 * stream's end.
 */

static void
ngx_http_upstream_mesh_ended(ngx_http_upstream_mesh_peer_t *mp)
{
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = mp->request;
    u = r->upstream;

    if (u->header_sent && (u->length <= 0 || r->header_only)) {
        return;
    }

    if (r->connection->error) {
        mp->ctx->aborted = 1;

    } else if (u->header_sent) {
        mp->ctx->broken = 1;
        mp->ctx->flow.reason = ngx_http_upstream_mesh_why(mp,
                                                    u->peer.connection, 1);
    }
}


/*
 * Another endpoint may be tried as long as nothing was sent.  A pooled
 * connection that ended before a byte came back had been closed by the peer:
 * the core sends the request again if it may (tries++ for pc->cached), over a
 * new connection.
 */

static ngx_mesh_try_e
ngx_http_upstream_mesh_failed(ngx_http_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc, ngx_uint_t sent)
{
    const char           *why;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    c = pc->connection;
    u = mp->request->upstream;

    if (c == NULL && mp->ctx->flow.reason) {
        return NGX_MESH_TRY_UNKNOWN;       /* get() said why */
    }

    if (mp->unreached) {
        sent = 0;

    } else if (pc->cached
               && u->state->bytes_received == 0
               && !c->read->timedout
               && !c->write->timedout)
    {
        mp->fresh = 1;
        ngx_mesh_target_again(&mp->target);

        mp->ctx->flow.reason = "upstream-closed";

        return NGX_MESH_TRY_UNKNOWN;
    }

    why = ngx_http_upstream_mesh_why(mp, c, sent);
    mp->ctx->flow.reason = why;

    if (ngx_http_upstream_mesh_misheard(mp, c)) {
        ngx_mesh_target_again(&mp->target);
        pc->tries++;

        ngx_log_error(NGX_LOG_WARN, pc->log, 0,
                      "mesh endpoint %V was too busy for our handshake, "
                      "trying again", pc->name);

        return NGX_MESH_TRY_UNKNOWN;
    }

    ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                  "mesh endpoint %V failed: %s%s", pc->name, why,
                  sent || pc->tries < 2 ? "" : ", trying another one");

    if (mp->unsent && !mp->unreached && pc->cached) {

        /* it was going away: the endpoint itself may be well */

        mp->fresh = 1;
        ngx_mesh_target_again(&mp->target);
        pc->tries++;

        return NGX_MESH_TRY_UNKNOWN;
    }

    if (sent && !mp->unsent) {
        pc->tries = 0;
        pc->cached = 0;
    }

    return NGX_MESH_TRY_FAILED;
}


/*
 * A sidecar that saw no byte of ours within its time of detection took us for
 * somebody who waits for the application to speak.  That spoke before our
 * handshake, or answered it in its own way.  Again, then: nothing was sent.
 */

static ngx_uint_t
ngx_http_upstream_mesh_misheard(ngx_http_upstream_mesh_peer_t *mp,
    ngx_connection_t *c)
{
    if (mp->misheard == NGX_HTTP_UPSTREAM_MESH_MISHEARD
        || c == NULL
        || mp->ctx->flow.tls != NGX_MESH_TLS_MTLS)
    {
        return 0;
    }

    if (c->ssl ? !ngx_mesh_tls_silent(c) : !ngx_http_upstream_mesh_early(c)) {
        return 0;
    }

    mp->misheard++;

    return 1;
}


/*
 * c failed before its handshake began, but is not refused: nginx has read
 * what came, and takes it for an error (from 1.29.5 on, and in Debian).
 */

static ngx_uint_t
ngx_http_upstream_mesh_early(ngx_connection_t *c)
{
    ssize_t  n;
    u_char   buf[1];

    if (c->read->timedout || c->write->timedout) {
        return 0;
    }

    n = recv(c->fd, buf, 1, MSG_PEEK);

    return n > 0 || (n == -1 && ngx_socket_errno == NGX_EAGAIN);
}


static const char *
ngx_http_upstream_mesh_why(ngx_http_upstream_mesh_peer_t *mp,
    ngx_connection_t *c, ngx_uint_t sent)
{
    const char           *why;
    ngx_uint_t            timedout;
    ngx_http_upstream_t  *u;

    if (ngx_mesh_tls_refused(c)) {
        return "tls-refused";
    }

    timedout = c && (c->read->timedout || c->write->timedout);

    if (!sent) {
        return timedout ? "connect-timeout" : "connect-failed";
    }

    if (timedout) {
        return "upstream-timeout";
    }

    why = mp->http2 ? ngx_http_mesh_h2_reason(c) : NULL;

    if (why) {
        return why;
    }

    u = mp->request->upstream;

    if ((mp->http2 || u->header_sent) && (c->read->eof || c->read->error)) {
        return "upstream-closed";          /* after its settings, perhaps */
    }

    return u->state->bytes_received ? "upstream-invalid" : "upstream-closed";
}


static void
ngx_http_upstream_mesh_park(ngx_http_upstream_mesh_peer_t *mp,
    ngx_peer_connection_t *pc)
{
    ngx_connection_t     *c;
    ngx_mesh_peer_t      *peer;
    ngx_http_upstream_t  *u;
    ngx_mesh_pool_key_t   key;

    c = pc->connection;
    u = mp->request->upstream;

    if (c == NULL
        || !u->keepalive
        || !u->request_body_sent
        || mp->request->http_version < NGX_HTTP_VERSION_11)
    {
        return;
    }

    ngx_http_upstream_mesh_key(mp, &key);

    if (key.identity.len) {
        peer = mp->peer ? mp->peer : ngx_mesh_tls_peer(c);

        if (peer == NULL || mp->generation != ngx_mesh_tls_generation()) {
            return;
        }

        key.identity = peer->id;           /* lives as long as c */
    }

    if (ngx_mesh_pool_park(&key, c) == NGX_OK) {
        pc->connection = NULL;
        ngx_mesh_dial_parked(key.sockaddr);
    }
}


static void
ngx_http_upstream_mesh_key(ngx_http_upstream_mesh_peer_t *mp,
    ngx_mesh_pool_key_t *key)
{
    ngx_mesh_endpoint_t  *endpoint;

    endpoint = mp->ctx->flow.endpoint;

    key->sockaddr = endpoint->sockaddr;
    key->socklen = endpoint->socklen;
    key->generation = mp->generation;
    key->protocol = mp->http2 ? MESH_PROTO_HTTP2 : MESH_PROTO_HTTP1;
    key->idle = mp->http2 ? ngx_http_mesh_h2_idle : NULL;

    ngx_str_null(&key->identity);

    if (mp->ctx->flow.tls == NGX_MESH_TLS_MTLS) {
        key->identity = endpoint->identity;
    }
}


/*
 * From get() to the response's header, which the core knows to the
 * millisecond: a response that ended within it is known better.
 */

static uint64_t
ngx_http_upstream_mesh_latency(ngx_http_upstream_mesh_peer_t *mp,
    uint64_t now_us)
{
    uint64_t              us, header_us;
    ngx_http_upstream_t  *u;

    u = mp->request->upstream;
    us = now_us - mp->target.start_us;

    if (u->state && u->state->header_time != (ngx_msec_t) -1) {
        header_us = ((uint64_t) u->state->header_time + 1) * 1000;
        us = ngx_min(us, header_us);
    }

    return us;
}


/*
 * The proxy module changes its handler from the status line to the fields:
 * ours is put back in front of it after each call.
 */

static ngx_int_t
ngx_http_upstream_mesh_process_header(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_upstream_mesh_peer_t  *mp;

    u = r->upstream;
    mp = ngx_http_get_module_ctx(r, ngx_http_upstream_mesh_module);

    /* the first bytes of an answer: the connection stands, count it */

    if (mp->link == NULL && ngx_mesh_zone_get()) {
        mp->link = ngx_mesh_link_open(u->peer.connection->pool,
                                      &mp->ctx->flow);
    }

    if (mp->http2) {
        rc = ngx_http_mesh_h2_attach(u->peer.connection, &u->buffer);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (mp->interim) {
        rc = ngx_http_mesh_interim_response(r, mp->ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        mp->interim = 0;
    }

    u->process_header = mp->process_header;

    rc = u->process_header(r);

    mp->process_header = u->process_header;
    u->process_header = ngx_http_upstream_mesh_process_header;

    if (rc == NGX_OK) {
        return ngx_http_upstream_mesh_process_response(r, mp);
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER && mp->http2) {
        ngx_http_upstream_mesh_refused(r, mp);
    }

    return rc;
}


/* what the endpoint did not look at may go to another one */

static void
ngx_http_upstream_mesh_refused(ngx_http_request_t *r,
    ngx_http_upstream_mesh_peer_t *mp)
{
    const char  *why;

    why = ngx_http_mesh_h2_reason(r->upstream->peer.connection);

    if (why && ngx_strcmp(why, "upstream-refused") == 0) {
        ngx_http_upstream_mesh_again(r, mp);
    }
}


/* lets the core ask for another endpoint, whatever was sent to this one */

static void
ngx_http_upstream_mesh_again(ngx_http_request_t *r,
    ngx_http_upstream_mesh_peer_t *mp)
{
    ngx_http_upstream_mesh_loc_conf_t  *mlcf;

#if (nginx_version < 1029005)

    if (mp->http2) {
        return;              /* grpc_pass would send frames of this one, too */
    }

#endif

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_upstream_mesh_module);

    r->upstream->conf = &mlcf->again;
    mp->unsent = 1;
}


/* the whole header is there */

static ngx_int_t
ngx_http_upstream_mesh_process_response(ngx_http_request_t *r,
    ngx_http_upstream_mesh_peer_t *mp)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (r->http_version != mp->http_version) {

        /* not HTTP: nginx takes it for HTTP/0.9, whose end nobody would see */

        r->http_version = mp->http_version;
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    if (ngx_http_mesh_hop_ambiguous(r)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "upstream sent several \"Content-Length\" headers");
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    if (u->headers_in.status_n == NGX_HTTP_SWITCHING_PROTOCOLS
        && mp->ctx->upgrade.len == 0)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "upstream switched to a protocol that nobody asked for");
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    if (!ngx_http_mesh_unreached(r, mp->ctx)) {
        return NGX_OK;
    }

    /* as if this endpoint had refused the connection */

    mp->unreached = 1;
    ngx_http_upstream_mesh_again(r, mp);

    return NGX_HTTP_UPSTREAM_INVALID_HEADER;
}


static ngx_int_t
ngx_http_upstream_mesh_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_upstream_mesh_peer_t  *mp;

    u = r->upstream;
    mp = ngx_http_get_module_ctx(r, ngx_http_upstream_mesh_module);

    rc = mp->reinit_request(r);

    if (u->process_header != ngx_http_upstream_mesh_process_header) {
        mp->process_header = u->process_header;
        u->process_header = ngx_http_upstream_mesh_process_header;
    }

    mp->interim = !mp->http2;

    return rc;
}


/* the last moment at which something can be said to the client */

static void
ngx_http_upstream_mesh_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t               *c;
    ngx_http_upstream_t            *u;
    ngx_http_upstream_mesh_peer_t  *mp;

    u = r->upstream;
    mp = ngx_http_get_module_ctx(r, ngx_http_upstream_mesh_module);
    c = u->peer.connection;

    mp->finalize_request(r, rc);

    if (c
        && u->header_sent
        && u->length > 0
        && !r->header_only
        && !r->connection->error)
    {
        ngx_http_mesh_grpc_broken(r, ngx_http_upstream_mesh_why(mp, c, 1));
    }
}


static ngx_int_t
ngx_http_upstream_mesh_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_upstream_mesh_peer_t *mp = data;

    ngx_event_t  *wev;

    if (ngx_mesh_tls_expect(pc->connection, &mp->ctx->flow.endpoint->identity,
                            mp->http2 ? MESH_ALPN_HTTP2 : MESH_ALPN_HTTP1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mesh_tls_when_done(pc->connection, ngx_http_upstream_mesh_connected,
                           mp);

    wev = pc->connection->write;

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    ngx_add_timer(wev, NGX_MESH_DIAL_HANDSHAKE_MS);

    return NGX_OK;
}


static void
ngx_http_upstream_mesh_connected(void *data)
{
    ngx_http_upstream_mesh_peer_t *mp = data;

    if (mp->dial) {
        ngx_http_mesh_dial_end(mp->dial);
    }
}


static void
ngx_http_upstream_mesh_save_session(ngx_peer_connection_t *pc, void *data)
{
    /* no resumption: it would not verify the peer again */
}


static char *
ngx_http_upstream_mesh_balancer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_upstream_server_t    *us;
    ngx_http_upstream_srv_conf_t  *uscf;

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {
        return "is duplicate or follows another balancer";
    }

    uscf->peer.init_upstream = ngx_http_upstream_mesh_init;
    uscf->flags = NGX_HTTP_UPSTREAM_CREATE;

    /* nginx wants a server; this one has no address and is never used */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_http_upstream_server_t));
    ngx_str_set(&us->name, "mesh");
    us->down = 1;

    return NGX_CONF_OK;
}


/* 1.29.7 and later wrap each upstream with keepalive: unwrap ours */

static char *
ngx_http_upstream_mesh_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {
        if (uscfp[i]->peer.init_upstream == ngx_http_upstream_mesh_init) {
            uscfp[i]->peer.init = ngx_http_upstream_mesh_init_peer;
        }
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_upstream_mesh_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->original = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_upstream_mesh_loc_conf_t));
}
