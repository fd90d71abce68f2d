
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Trailers of HTTP/1 responses.  nginx drops them until 1.27.2, and after
 * that unless proxy_pass_trailers is on: so this looks over each chunked body
 * on its way through the proxy module's own filter, and hands the fields to
 * the core, which knows what to do with them since it learned gRPC.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_chunked.h>
#include <ngx_mesh_field.h>


/* a longer trailer section is dropped */

#define NGX_HTTP_MESH_TRAILER_MAX  16384


struct ngx_http_mesh_trailer_s {
    ngx_mesh_chunked_t          chunked;
    ngx_int_t                 (*filter)(void *data, ssize_t bytes);
    void                       *data;
    ngx_str_t                   section;  /* as far as it came */
    size_t                      size;     /* allocated */
    unsigned                    done:1;
};


static ngx_int_t ngx_http_mesh_trailer_filter_init(void *data);
static ngx_int_t ngx_http_mesh_trailer_filter(void *data, ssize_t bytes);
static ngx_int_t ngx_http_mesh_trailer_read(ngx_http_request_t *r,
    ngx_http_mesh_trailer_t *t, u_char *p, u_char *end);
static ngx_int_t ngx_http_mesh_trailer_keep(ngx_http_request_t *r,
    ngx_http_mesh_trailer_t *t, u_char *from, u_char *to);
static ngx_int_t ngx_http_mesh_trailer_push(ngx_http_request_t *r,
    ngx_http_mesh_trailer_t *t);


void
ngx_http_mesh_trailer_hook(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

#if (nginx_version >= 1027002)
    if (u->conf->pass_trailers) {
        return;                            /* nginx does it */
    }
#endif

    if (u->buffering
        || u->input_filter_init == NULL
        || u->input_filter_ctx != r)
    {
        return;
    }

    ctx->input_filter_init = u->input_filter_init;
    u->input_filter_init = ngx_http_mesh_trailer_filter_init;
}


/* the proxy module has chosen its filter for the body: is it a chunked one? */

static ngx_int_t
ngx_http_mesh_trailer_filter_init(void *data)
{
    ngx_http_request_t *r = data;

    ngx_http_upstream_t      *u;
    ngx_http_mesh_ctx_t      *ctx;
    ngx_http_mesh_trailer_t  *t;

    u = r->upstream;
    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx == NULL || ctx->input_filter_init(data) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!u->headers_in.chunked || u->length == 0) {
        return NGX_OK;
    }

    t = ngx_pcalloc(r->pool, sizeof(ngx_http_mesh_trailer_t));
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->filter = u->input_filter;
    t->data = u->input_filter_ctx;

    u->input_filter = ngx_http_mesh_trailer_filter;

    ctx->trailer = t;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_trailer_filter(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;

    u_char                   *p;
    ngx_http_mesh_ctx_t      *ctx;
    ngx_http_mesh_trailer_t  *t;

    ctx = ngx_http_mesh_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    t = ctx->trailer;
    p = r->upstream->buffer.last;

    if (!t->done && ngx_http_mesh_trailer_read(r, t, p, p + bytes) != NGX_OK) {
        return NGX_ERROR;
    }

    return t->filter(t->data, bytes);
}


static ngx_int_t
ngx_http_mesh_trailer_read(ngx_http_request_t *r, ngx_http_mesh_trailer_t *t,
    u_char *p, u_char *end)
{
    u_char     *from, *to;
    ngx_int_t   rc;

    for ( ;; ) {
        rc = ngx_mesh_chunked_next(&t->chunked, &p, end, &from, &to);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc != NGX_OK) {

            /* malformed: told by the filter that comes after this */

            t->done = 1;

            return (rc == NGX_DONE) ? ngx_http_mesh_trailer_push(r, t)
                                    : NGX_OK;
        }

        rc = ngx_http_mesh_trailer_keep(r, t, from, to);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_OK : NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_mesh_trailer_keep(ngx_http_request_t *r, ngx_http_mesh_trailer_t *t,
    u_char *from, u_char *to)
{
    u_char  *p;
    size_t   len;

    len = t->section.len + (to - from);

    if (len > NGX_HTTP_MESH_TRAILER_MAX) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trailers of a response were dropped: they have more "
                      "than %d bytes", NGX_HTTP_MESH_TRAILER_MAX);

        t->done = 1;

        return NGX_DECLINED;
    }

    if (len > t->size) {
        t->size = ngx_max(len * 2, 256);

        p = ngx_pnalloc(r->pool, t->size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (t->section.len) {
            ngx_memcpy(p, t->section.data, t->section.len);
        }

        t->section.data = p;
    }

    ngx_memcpy(t->section.data + t->section.len, from, to - from);
    t->section.len = len;

    return NGX_OK;
}


/* what may stand in a trailer; the rest would be taken for framing */

static ngx_int_t
ngx_http_mesh_trailer_push(ngx_http_request_t *r, ngx_http_mesh_trailer_t *t)
{
    u_char            *p, *end;
    ngx_int_t          rc;
    ngx_table_elt_t   *h;
    ngx_mesh_field_t   field;

    p = t->section.data;
    end = p + t->section.len;

    while (p < end) {
        rc = ngx_mesh_field_next(&p, end, &field);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK
            || ngx_mesh_field_hop(&field.name)
            || ngx_mesh_field_is(&field.name, "host"))
        {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "a line of the trailers was dropped");
            continue;
        }

        h = ngx_list_push(&r->upstream->headers_in.trailers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->key = field.name;
        h->value = field.value;

        h->lowcase_key = ngx_pnalloc(r->pool, field.name.len);
        if (h->lowcase_key == NULL) {
            h->hash = 0;
            return NGX_ERROR;
        }

        h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);
    }

    return NGX_OK;
}
