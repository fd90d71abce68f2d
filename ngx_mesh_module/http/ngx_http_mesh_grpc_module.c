
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * HTTP/2 and gRPC: the virtual listeners of HTTP/2 speak it, in whatever way
 * this version of nginx wants to be told; an answer that the mesh makes itself
 * to gRPC is "trailers only"; and which status a call ended with.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_listen.h>


static ngx_int_t ngx_http_mesh_grpc_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_grpc_answer(ngx_http_request_t *r,
    const ngx_mesh_error_t *e);
static ngx_int_t ngx_http_mesh_grpc_fields(ngx_http_request_t *r,
    ngx_list_t *list, const ngx_mesh_error_t *e);
static ngx_int_t ngx_http_mesh_grpc_push(ngx_list_t *list, const char *name,
    const char *value);
static void ngx_http_mesh_grpc_as_it_came(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_grpc_find(ngx_list_t *list);
static ngx_int_t ngx_http_mesh_grpc_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_mesh_grpc_listen(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_mesh_grpc_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_mesh_grpc_init,               /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_mesh_grpc_module = {
    NGX_MODULE_V1,
    &ngx_http_mesh_grpc_module_ctx,        /* module context */
    NULL,                                  /* module directives */
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


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* for headers that nginx would add: they are "there", and not sent */

static ngx_table_elt_t  ngx_http_mesh_grpc_no_header;


ngx_uint_t
ngx_http_mesh_grpc(ngx_http_request_t *r)
{
    u_char            c;
    ngx_str_t        *value;
    ngx_table_elt_t  *h;

    static const ngx_str_t  type = ngx_string("application/grpc");

    h = r->headers_in.content_type;

    if (r->http_version != NGX_HTTP_VERSION_20 || h == NULL) {
        return 0;
    }

    value = &h->value;

    if (value->len < type.len
        || ngx_strncasecmp(value->data, type.data, type.len) != 0)
    {
        return 0;
    }

    c = (value->len == type.len) ? '\0' : value->data[type.len];

    return c == '\0' || c == '+' || c == ';' || c == ' ';
}


static ngx_int_t
ngx_http_mesh_grpc_header_filter(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_mesh_ctx_t  *ctx;

    if (r->http_version != NGX_HTTP_VERSION_20 || r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (r->err_status == 0) {
        ngx_http_mesh_grpc_as_it_came(r);

    } else if (ctx->flow.reason && !ctx->marked && ngx_http_mesh_grpc(r)) {

        /* the mark is for another sidecar, which answers in our stead */

        rc = ngx_http_mesh_grpc_answer(r, ngx_mesh_error(ctx->flow.reason));

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_next_header_filter(r);
}


/*
 * 200 without a body, whatever went wrong: the status of gRPC is a trailer,
 * and the header block is the trailers (gRPC over HTTP/2, "Trailers-Only").
 */

static ngx_int_t
ngx_http_mesh_grpc_answer(ngx_http_request_t *r, const ngx_mesh_error_t *e)
{
    if (ngx_http_mesh_grpc_fields(r, &r->headers_out.headers, e) != NGX_OK) {
        return NGX_ERROR;
    }

    r->err_status = 0;
    r->header_only = 1;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_null(&r->headers_out.status_line);

    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);

    return NGX_OK;
}


/*
 * nginx itself would reset the stream with INTERNAL_ERROR.  What cannot be
 * sent at once is reset all the same: the request ends with this call.
 */

void
ngx_http_mesh_grpc_broken(ngx_http_request_t *r, const char *code)
{
    ngx_http_upstream_t     *u;
    const ngx_mesh_error_t  *e;

    u = r->upstream;
    e = ngx_mesh_error(code);

    if (!ngx_http_mesh_grpc(r)
        || ngx_http_mesh_grpc_fields(r, &r->headers_out.trailers, e) != NGX_OK
        || ngx_http_mesh_grpc_push(&r->headers_out.trailers, "mesh-error",
                                   e->code)
           != NGX_OK)
    {
        return;
    }

    if (u->out_bufs && ngx_http_output_filter(r, u->out_bufs) == NGX_ERROR) {
        return;
    }

    (void) ngx_http_send_special(r, NGX_HTTP_LAST);
}


/* no sentence has a byte that would have to be encoded */

static ngx_int_t
ngx_http_mesh_grpc_fields(ngx_http_request_t *r, ngx_list_t *list,
    const ngx_mesh_error_t *e)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *ngx_sprintf(p, "%ui", e->grpc) = '\0';

    if (ngx_http_mesh_grpc_push(list, "grpc-status", (char *) p) != NGX_OK
        || ngx_http_mesh_grpc_push(list, "grpc-message", e->sentence)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_grpc_push(ngx_list_t *list, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(list);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->lowcase_key = h->key.data;
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


/*
 * What the endpoint did not send, the client does not get: "server", "date",
 * and the length of a response that ended with its header.
 */

static void
ngx_http_mesh_grpc_as_it_came(ngx_http_request_t *r)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u == NULL || u->headers_in.status_n == 0) {
        return;
    }

    if (r->headers_out.server == NULL) {
        r->headers_out.server = &ngx_http_mesh_grpc_no_header;
    }

    if (r->headers_out.date == NULL) {
        r->headers_out.date = &ngx_http_mesh_grpc_no_header;
    }

    if (r->headers_out.content_length_n == 0
        && u->headers_in.content_length == NULL)
    {
        r->header_only = 1;
        r->headers_out.content_length_n = -1;
    }
}


/*
 * A call that ended without a status: the client broke it off, or it got a
 * reset of the stream from nginx, or an answer that is not of gRPC.
 */

ngx_int_t
ngx_http_mesh_grpc_status(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    ngx_int_t  status;

    if (!ngx_http_mesh_grpc(r)) {
        return -1;
    }

    status = ngx_http_mesh_grpc_find(&r->headers_out.trailers);

    if (status < 0) {
        status = ngx_http_mesh_grpc_find(&r->headers_out.headers);
    }

    if (status >= 0) {
        return status;
    }

    if (ctx->aborted) {
        return NGX_MESH_GRPC_CANCELLED;
    }

    return ctx->broken ? NGX_MESH_GRPC_INTERNAL : NGX_MESH_GRPC_UNKNOWN;
}


/* a number that gRPC does not know means UNKNOWN */

static ngx_int_t
ngx_http_mesh_grpc_find(ngx_list_t *list)
{
    ngx_int_t         n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const ngx_str_t  name = ngx_string("grpc-status");

    for (part = &list->part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash == 0
                || h[i].key.len != name.len
                || ngx_strncasecmp(h[i].key.data, name.data, name.len) != 0)
            {
                continue;
            }

            n = ngx_atoi(h[i].value.data, h[i].value.len);

            return (n < 0 || n > NGX_MESH_GRPC_MAX) ? NGX_MESH_GRPC_UNKNOWN
                                                    : n;
        }
    }

    return -1;
}


static ngx_int_t
ngx_http_mesh_grpc_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_mesh_grpc_header_filter;

    return ngx_http_mesh_grpc_listen(cf);
}


/*
 * What the parameter http2 of "listen" sets (with a warning from 1.25.1 on);
 * the directive http2, which came then, is not needed any more.
 */

static ngx_int_t
ngx_http_mesh_grpc_listen(ngx_conf_t *cf)
{
#if (NGX_HTTP_V2)

    ngx_uint_t                  i, n;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_OK;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {

        addr = port[i].addrs.elts;

        for (n = 0; n < port[i].addrs.nelts; n++) {
            if (ngx_mesh_listen_http2(addr[n].opt.sockaddr)) {
                addr[n].opt.http2 = 1;
            }
        }
    }

#endif

    return NGX_OK;
}
