
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Counts the HTTP requests of the mesh, and shows all metrics at mesh_metrics.
 * One request is one count, whatever ends it: it is added when the response's
 * header goes out (by then the endpoint is chosen for good), or in the log
 * phase for a request that never got one; inbound, where the endpoint is
 * known at once, when its header was read.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_mesh.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_prom.h>


static char *ngx_http_mesh_metrics(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_mesh_metrics_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_metrics_begin(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_metrics_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_metrics_log(ngx_http_request_t *r);
static ngx_uint_t ngx_http_mesh_metrics_status(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_metrics_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_mesh_metrics_commands[] = {

    { ngx_string("mesh_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mesh_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mesh_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_mesh_metrics_init,            /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_mesh_metrics_module = {
    NGX_MODULE_V1,
    &ngx_http_mesh_metrics_module_ctx,     /* module context */
    ngx_http_mesh_metrics_commands,        /* module directives */
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


static ngx_int_t
ngx_http_mesh_metrics_handler(ngx_http_request_t *r)
{
    off_t         size;
    ngx_int_t     rc;
    ngx_chain_t  *out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    out = ngx_mesh_prom_text(ngx_mesh_zone_get(), r->pool,
                             ngx_mesh_prom_alive, &size);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, NGX_MESH_PROM_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


/* the first handler of all: makes the context, which starts the clock */

static ngx_int_t
ngx_http_mesh_metrics_begin(ngx_http_request_t *r)
{
    ngx_mesh_flow_t  *flow;

    flow = ngx_http_mesh_get_flow(r);

    if (flow && flow->conn && ngx_mesh_zone_get()) {

        if (flow->conn->series == NULL) {
            ngx_mesh_metrics_identified(flow->conn);
        }

        if (flow->conn->direction == NGX_MESH_INBOUND) {
            ngx_mesh_metrics_request(flow);
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_mesh_metrics_header(ngx_http_request_t *r)
{
    ngx_mesh_flow_t  *flow;

    if (r == r->main && ngx_mesh_zone_get()) {
        flow = ngx_http_mesh_get_flow(r);

        if (flow) {
            ngx_mesh_metrics_request(flow);
        }
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_mesh_metrics_log(ngx_http_request_t *r)
{
    ngx_mesh_flow_t  *flow;

    /* a request whose header is not in order gets its flow only now */

    flow = ngx_http_mesh_get_flow(r);

    if (flow == NULL || ngx_mesh_zone_get() == NULL) {
        return NGX_OK;
    }

    if (flow->conn) {

        if (flow->conn->series == NULL) {
            ngx_mesh_metrics_identified(flow->conn);
        }

        ngx_mesh_metrics_transferred(flow->conn, r->request_length,
                                     r->connection->sent);
    }

    ngx_mesh_metrics_response(flow, ngx_http_mesh_metrics_status(r),
                              ngx_mesh_now_us());

    return NGX_OK;
}


static ngx_uint_t
ngx_http_mesh_metrics_status(ngx_http_request_t *r)
{
    ngx_int_t             grpc;
    ngx_uint_t            status;
    ngx_http_mesh_ctx_t  *ctx;

    status = r->err_status ? r->err_status : r->headers_out.status;

    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx->broken) {
        status |= NGX_MESH_RESPONSE_BROKEN;
    }

    grpc = ngx_http_mesh_grpc_status(r, ctx);

    if (grpc >= 0) {
        status |= NGX_MESH_RESPONSE_GRPC(grpc);
    }

    return status;
}


static char *
ngx_http_mesh_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate or follows another handler of this location";
    }

    clcf->handler = ngx_http_mesh_metrics_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_mesh_metrics_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_mesh_metrics_begin;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_mesh_metrics_log;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_mesh_metrics_header;

    return NGX_OK;
}
