
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * nginx's client of HTTP/2 fails a request on a frame of the stream before,
 * and keepalive pools close a connection on any byte.  Between c->recv and
 * nginx, and in the pool, stands a filter; its state is in the connection's
 * pool, where nginx's client has its own.
 */

#include <ngx_http_mesh_h2.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_h2.h>


/* frames for the next stream: settings and windows, some dozens */

#define NGX_HTTP_MESH_H2_PENDING  1024

#define NGX_HTTP_MESH_H2_BUFFER   4096


typedef struct {
    ngx_mesh_h2_t             h2;
    ngx_recv_pt               recv;
    size_t                    npending;
    u_char                   *pending;   /* NULL: none was ever needed */
} ngx_http_mesh_h2_t;


static ngx_http_mesh_h2_t *ngx_http_mesh_h2_find(ngx_connection_t *c);
static void ngx_http_mesh_h2_cleanup(void *data);
static ssize_t ngx_http_mesh_h2_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_int_t ngx_http_mesh_h2_keep(ngx_connection_t *c,
    ngx_http_mesh_h2_t *h, u_char *p, size_t len);
static ngx_int_t ngx_http_mesh_h2_pong(ngx_connection_t *c,
    ngx_http_mesh_h2_t *h);


ngx_int_t
ngx_http_mesh_h2_attach(ngx_connection_t *c, ngx_buf_t *b)
{
    ngx_pool_cleanup_t  *cln;
    ngx_http_mesh_h2_t  *h;

    if (c->recv == ngx_http_mesh_h2_recv) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_mesh_h2_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    h = cln->data;
    ngx_memzero(h, sizeof(ngx_http_mesh_h2_t));

    cln->handler = ngx_http_mesh_h2_cleanup;

    h->h2.stream = 1;
    h->recv = c->recv;

    c->recv = ngx_http_mesh_h2_recv;

    b->last = b->pos + ngx_mesh_h2_scan(&h->h2, b->pos, b->last - b->pos);

    return (b->last == b->pos) ? NGX_AGAIN : NGX_OK;
}


void
ngx_http_mesh_h2_next(ngx_connection_t *c)
{
    ngx_http_mesh_h2_t  *h;

    h = ngx_http_mesh_h2_find(c);

    if (h) {
        ngx_mesh_h2_next(&h->h2);
    }
}


const char *
ngx_http_mesh_h2_reason(ngx_connection_t *c)
{
    ngx_http_mesh_h2_t  *h;

    h = ngx_http_mesh_h2_find(c);

    if (h == NULL) {
        return NULL;
    }

    if (h->h2.refused) {
        return "upstream-refused";
    }

    return h->h2.reset ? ngx_mesh_error_reset(h->h2.error)->code : NULL;
}


static ngx_http_mesh_h2_t *
ngx_http_mesh_h2_find(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_mesh_h2_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_mesh_h2_cleanup(void *data)
{
    /* only marks the state */
}


/* as ngx_recv(): what is taken out altogether does not count as nothing */

static ssize_t
ngx_http_mesh_h2_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t               held, len;
    ssize_t              n;
    ngx_http_mesh_h2_t  *h;

    h = ngx_http_mesh_h2_find(c);

    if (h->npending) {
        n = ngx_min(size, h->npending);

        ngx_memcpy(buf, h->pending, n);

        h->npending -= n;
        ngx_memmove(h->pending, h->pending + n, h->npending);

        return n;
    }

    for ( ;; ) {
        held = h->h2.nheld;

        if (size <= held) {
            ngx_log_error(NGX_LOG_ERR, c->log, 0,
                          "no room for the head of an http2 frame");
            return NGX_ERROR;
        }

        n = h->recv(c, buf + held, size - held);

        if (n <= 0) {
            return n;
        }

        len = ngx_mesh_h2_scan(&h->h2, buf, n);

        if (len || !c->read->ready) {
            return len ? (ssize_t) len : NGX_AGAIN;
        }
    }
}


ngx_int_t
ngx_http_mesh_h2_idle(ngx_connection_t *c)
{
    size_t               len;
    ssize_t              n;
    ngx_http_mesh_h2_t  *h;

    static u_char  buf[NGX_HTTP_MESH_H2_BUFFER];

    h = ngx_http_mesh_h2_find(c);

    if (h == NULL) {
        return NGX_DECLINED;
    }

    ngx_mesh_h2_end(&h->h2);

    do {
        n = h->recv(c, buf + h->h2.nheld, sizeof(buf) - NGX_MESH_H2_HOLD);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return NGX_DECLINED;
        }

        len = ngx_mesh_h2_scan(&h->h2, buf, n);

        if (h->h2.last
            || ngx_http_mesh_h2_keep(c, h, buf, len) != NGX_OK
            || ngx_http_mesh_h2_pong(c, h) != NGX_OK)
        {
            return NGX_DECLINED;
        }

    } while (c->read->ready);

    return h->h2.last ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_http_mesh_h2_keep(ngx_connection_t *c, ngx_http_mesh_h2_t *h, u_char *p,
    size_t len)
{
    if (len == 0) {
        return NGX_OK;
    }

    if (h->pending == NULL) {
        h->pending = ngx_pnalloc(c->pool, NGX_HTTP_MESH_H2_PENDING);

        if (h->pending == NULL) {
            return NGX_ERROR;
        }
    }

    if (len > NGX_HTTP_MESH_H2_PENDING - h->npending) {
        return NGX_DECLINED;
    }

    ngx_memcpy(h->pending + h->npending, p, len);
    h->npending += len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_h2_pong(ngx_connection_t *c, ngx_http_mesh_h2_t *h)
{
    ngx_uint_t  i;
    u_char      frame[17];

    static const u_char  head[] = { 0, 0, 8, 6, 1, 0, 0, 0, 0 };

    for (i = 0; i < h->h2.npings; i++) {
        ngx_memcpy(frame, head, 9);
        ngx_memcpy(frame + 9, h->h2.pings[i], 8);

        if (c->send(c, frame, sizeof(frame)) != (ssize_t) sizeof(frame)) {
            return NGX_ERROR;
        }
    }

    h->h2.npings = 0;

    return NGX_OK;
}
