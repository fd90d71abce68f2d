
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * How a session ends.  The proxy module turns a reset into an orderly end,
 * ends one direction of TLS without a word (close_notify), and takes such an
 * end for an orderly one.  So recv and send_chain of both connections go
 * through here: an end is an end, a reset is a reset, and a direction of mesh
 * TLS that stops without close_notify was cut off.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include <ngx_stream_mesh.h>
#include <ngx_mesh_learned.h>


static ssize_t ngx_stream_mesh_end_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_stream_mesh_end_learn(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c);
static void ngx_stream_mesh_end_alert(const ngx_ssl_conn_t *ssl, int where,
    int ret);
static ngx_chain_t *ngx_stream_mesh_end_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static void ngx_stream_mesh_end_notify(ngx_connection_t *c,
    ngx_stream_mesh_end_t *end);
static void ngx_stream_mesh_end_spread(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c);


void
ngx_stream_mesh_end_watch(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c)
{
    ngx_ssl_conn_t         *ssl;
    ngx_stream_mesh_end_t  *end;

    end = (c == s->connection) ? &ctx->client : &ctx->server;

    if (end->recv) {
        return;
    }

    end->recv = c->recv;
    end->send_chain = c->send_chain;

    c->recv = ngx_stream_mesh_end_recv;
    c->send_chain = ngx_stream_mesh_end_send_chain;

    if (c->ssl) {
        c->need_last_buf = 1;              /* send_chain sees the end */

        ssl = c->ssl->connection;

        end->info = SSL_get_info_callback(ssl);

        if (end->info == NULL) {
            end->info = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
        }

        SSL_set_info_callback(ssl, ngx_stream_mesh_end_alert);
    }

    if (ctx->reset) {
        ngx_stream_mesh_end_reset(c);      /* the client is gone already */
    }
}


static ssize_t
ngx_stream_mesh_end_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                 n;
    ngx_stream_session_t   *s;
    ngx_stream_mesh_end_t  *end;
    ngx_stream_mesh_ctx_t  *ctx;

    s = c->data;
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_mesh_module);
    end = (c == s->connection) ? &ctx->client : &ctx->server;

    n = end->recv(c, buf, size);

    if (n > 0 && !end->spoke) {
        end->spoke = 1;
        ngx_stream_mesh_end_learn(s, ctx, c);
    }

    if (n == 0 && c->ssl && !end->over) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "TLS was cut off without \"close_notify\"");

        c->read->error = 1;
        n = NGX_ERROR;
    }

    if (n == NGX_ERROR) {
        ngx_stream_mesh_end_spread(s, ctx, c);
    }

    return n;
}


/* the first bytes of c: was it the server that spoke first? */

static void
ngx_stream_mesh_end_learn(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c)
{
    ngx_mesh_conn_t  *conn;

    conn = ctx->flow.conn;

    if (conn && conn->undeclared && c != s->connection && !ctx->client.spoke) {
        ngx_mesh_learned_raw(&conn->dst, NGX_MESH_LEARNED_FIRST);
    }
}


/*
 * nginx tells OpenSSL to take any end for an orderly one, so the alert has to
 * be seen itself.  The callback that was there still counts fatal ones: who
 * refuses a client of TLS 1.3 says so when its handshake has long been done.
 */

static void
ngx_stream_mesh_end_alert(const ngx_ssl_conn_t *ssl, int where, int ret)
{
    ngx_connection_t       *c;
    ngx_stream_session_t   *s;
    ngx_stream_mesh_end_t  *end;
    ngx_stream_mesh_ctx_t  *ctx;

    c = ngx_ssl_get_connection((ngx_ssl_conn_t *) ssl);
    s = c->data;
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_mesh_module);
    end = (c == s->connection) ? &ctx->client : &ctx->server;

    if (end->info) {
        end->info(ssl, where, ret);
    }

    if (where == SSL_CB_READ_ALERT && (ret & 0xff) == SSL_AD_CLOSE_NOTIFY) {
        end->over = 1;
    }
}


static ngx_chain_t *
ngx_stream_mesh_end_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    ngx_chain_t            *cl, *rest;
    ngx_stream_session_t   *s;
    ngx_stream_mesh_end_t  *end;
    ngx_stream_mesh_ctx_t  *ctx;

    s = c->data;
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_mesh_module);
    end = (c == s->connection) ? &ctx->client : &ctx->server;

    for (cl = in; cl; cl = cl->next) {
        if (cl->buf->last_buf) {
            end->last = 1;
        }
    }

    if (end->blocked) {
        end->blocked = 0;
        c->buffered &= ~NGX_SSL_BUFFERED;
    }

    rest = end->send_chain(c, in, limit);

    if (rest == NGX_CHAIN_ERROR) {
        ngx_stream_mesh_end_spread(s, ctx, c);

    } else if (rest == NULL
               && end->last
               && !end->notified
               && c->ssl
               && !(c->buffered & NGX_SSL_BUFFERED))
    {
        ngx_stream_mesh_end_notify(c, end);
    }

    return rest;
}


/*
 * Everything was written: TLS says so before the proxy module ends this
 * direction of TCP, which it does not while c is buffered.
 */

static void
ngx_stream_mesh_end_notify(ngx_connection_t *c, ngx_stream_mesh_end_t *end)
{
    int  n;

    ERR_clear_error();

    n = SSL_shutdown(c->ssl->connection);

    if (n < 0
        && SSL_get_error(c->ssl->connection, n) == SSL_ERROR_WANT_WRITE)
    {
        end->blocked = 1;
        c->buffered |= NGX_SSL_BUFFERED;
        c->write->ready = 0;

        return;
    }

    if (n < 0) {
        ngx_log_error(NGX_LOG_INFO, c->log, ngx_errno,
                      "\"close_notify\" could not be sent");
    }

    end->notified = 1;
}


/* c broke down: so does the other one, once the proxy module touches it */

static void
ngx_stream_mesh_end_spread(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_connection_t *c)
{
    ngx_stream_upstream_t  *u;

    ctx->reset = 1;
    ngx_stream_mesh_end_reset(c);

    if (c != s->connection) {
        ngx_stream_mesh_end_reset(s->connection);
        return;
    }

    u = s->upstream;

    if (u && u->connected) {
        ngx_stream_mesh_end_reset(u->peer.connection);
    }
}


void
ngx_stream_mesh_end_reset(ngx_connection_t *c)
{
    struct linger  linger;

    c->error = 1;                          /* nothing more is sent */

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger,
                   sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}
