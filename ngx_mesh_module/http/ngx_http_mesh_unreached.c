
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The application is down, its sidecar is not.  A sidecar that could not
 * reach its application marks its 502 with the address, and takes that mark
 * off what applications answer; the sidecar that sent the request believes it
 * if it came over mutual TLS and names the very endpoint, and goes on to
 * another one: nothing reached an application.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_tls.h>


static ngx_uint_t ngx_http_mesh_unreached_status(ngx_uint_t status);
static ngx_table_elt_t *ngx_http_mesh_unreached_find(ngx_list_t *list);


/* inbound: on an answer of our own to another sidecar */

ngx_int_t
ngx_http_mesh_unreached_mark(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    if (ctx->direction != NGX_MESH_INBOUND
        || ctx->sent
        || ctx->flow.conn == NULL
        || (ngx_strcmp(ctx->flow.reason, "connect-failed") != 0
            && ngx_strcmp(ctx->flow.reason, "connect-timeout") != 0)
        || ngx_mesh_tls_peer(ngx_http_mesh_connection(r)) == NULL)
    {
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, MESH_HEADER_UNREACHED);
    h->lowcase_key = h->key.data;
    h->value = ctx->flow.conn->dst_text;

    ctx->marked = 1;

    return NGX_OK;
}


/* either direction: what an endpoint answers goes on without the mark */

void
ngx_http_mesh_unreached_strip(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    if (!ngx_http_mesh_unreached_status(r->headers_out.status)) {
        return;
    }

    for ( ;; ) {
        h = ngx_http_mesh_unreached_find(&r->headers_out.headers);

        if (h == NULL) {
            return;
        }

        h->hash = 0;
    }
}


/* outbound: 1 if the endpoint's sidecar did not reach its application */

ngx_uint_t
ngx_http_mesh_unreached(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    ngx_str_t            *name;
    ngx_table_elt_t      *h;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (ctx->direction != NGX_MESH_OUTBOUND
        || ctx->flow.tls != NGX_MESH_TLS_MTLS
        || !ngx_http_mesh_unreached_status(u->headers_in.status_n))
    {
        return 0;
    }

    h = ngx_http_mesh_unreached_find(&u->headers_in.headers);
    name = &ctx->flow.endpoint->name;

    return h
           && h->value.len == name->len
           && ngx_memcmp(h->value.data, name->data, name->len) == 0;
}


static ngx_uint_t
ngx_http_mesh_unreached_status(ngx_uint_t status)
{
    return status == NGX_HTTP_BAD_GATEWAY
           || status == NGX_HTTP_GATEWAY_TIME_OUT;
}


static ngx_table_elt_t *
ngx_http_mesh_unreached_find(ngx_list_t *list)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &list->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash
                && h[i].key.len == sizeof(MESH_HEADER_UNREACHED) - 1
                && ngx_strncasecmp(h[i].key.data,
                                   (u_char *) MESH_HEADER_UNREACHED,
                                   sizeof(MESH_HEADER_UNREACHED) - 1)
                   == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}
