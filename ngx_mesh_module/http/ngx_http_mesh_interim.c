
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Interim responses: 100, 102 and 103 go on to the client before the final
 * response is looked at.  nginx would answer "Expect: 100-continue" itself,
 * before it knows whether anybody wants the body; here the application does.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_interim.h>


static ngx_int_t ngx_http_mesh_interim_send(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, u_char *p, u_char *end);
static void ngx_http_mesh_interim_writer(ngx_http_request_t *r);


/*
 * With r->expect_tested nginx neither answers nor waits; transparent.conf
 * passes the header on.
 */

void
ngx_http_mesh_interim_request(ngx_http_request_t *r)
{
    if (r->headers_in.expect) {
        r->expect_tested = 1;
    }
}


ngx_int_t
ngx_http_mesh_interim_response(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx)
{
    u_char     *begin, *after;
    ngx_buf_t  *b;
    ngx_int_t   rc;

    b = &r->upstream->buffer;
    begin = b->pos;

    for ( ;; ) {
        rc = ngx_mesh_interim_find(b->pos, b->last, &after);

        if (rc != NGX_OK) {
            break;
        }

        if (ngx_http_mesh_interim_send(r, ctx, b->pos, after) != NGX_OK) {
            return NGX_ERROR;
        }

        b->pos = after;
    }

    /* the buffer is the limit of one response's header, not of all */

    if (b->pos != begin) {
        b->last = ngx_movemem(begin, b->pos, b->last - b->pos);
        b->pos = begin;
    }

    return rc;
}


/*
 * HTTP/1.0 knows no interim responses.  A client that does not read gets none
 * until it does: they may be many, and none of them must be kept.
 */

static ngx_int_t
ngx_http_mesh_interim_send(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    u_char *p, u_char *end)
{
    size_t             room;
    ngx_buf_t         *b;
    ngx_chain_t        out;
    ngx_connection_t  *c;

    c = r->connection;

    if (ngx_strncmp(p + sizeof("HTTP/1.1 ") - 1, "100", 3) == 0) {
        ctx->continued = 1;
    }

    if (r->http_version != NGX_HTTP_VERSION_11
        || r != r->main
        || r->header_sent
        || c->buffered)
    {
        return NGX_OK;
    }

    room = NGX_MESH_INTERIM_ROOM(end - p);
    b = ctx->interim;

    if (b == NULL || (size_t) (b->end - b->start) < room) {
        b = ngx_create_temp_buf(r->pool, ngx_max(room, 1024));
        if (b == NULL) {
            return NGX_ERROR;
        }

        ctx->interim = b;
    }

    b->pos = b->start;
    b->last = b->start + ngx_mesh_interim_copy(b->start, p, end);
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "mesh interim response: %*s", (size_t) 12, b->pos);

    if (ngx_http_write_filter(r, &out) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (c->buffered && r->write_event_handler != ngx_http_mesh_interim_writer)
    {
        ctx->write_handler = r->write_event_handler;
        r->write_event_handler = ngx_http_mesh_interim_writer;

        return ngx_handle_write_event(c->write, 0);
    }

    return NGX_OK;
}


/* the socket was full; the final response brings its own handler */

static void
ngx_http_mesh_interim_writer(ngx_http_request_t *r)
{
    ngx_connection_t     *c;
    ngx_http_mesh_ctx_t  *ctx;

    c = r->connection;
    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx == NULL
        || c->write->timedout
        || ngx_http_write_filter(r, NULL) == NGX_ERROR)
    {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!c->buffered) {
        r->write_event_handler = ctx->write_handler;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}
