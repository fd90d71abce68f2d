
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The http side of the mesh: which servers belong to it (mesh_direction,
 * mesh_tls), the context of a request, who may go on (PREACCESS), and the
 * header mesh-error on every answer that the mesh makes itself.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_tls.h>


typedef struct {
    ngx_uint_t                direction;  /* NGX_MESH_OUTBOUND .. or OFF */
    ngx_flag_t                tls;        /* mesh_tls mtls */
} ngx_http_mesh_srv_conf_t;


/* what a variable's handler needs; NULL result: not found */

typedef ngx_int_t (*ngx_http_mesh_value_pt)(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);


static ngx_int_t ngx_http_mesh_preaccess_handler(ngx_http_request_t *r);
static void ngx_http_mesh_last_request(ngx_http_request_t *r);
static const char *ngx_http_mesh_check_peer(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);
static void ngx_http_mesh_cleanup(void *data);
static ngx_int_t ngx_http_mesh_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_mesh_own_answer(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);
static ngx_int_t ngx_http_mesh_error_header(ngx_http_request_t *r,
    const ngx_mesh_error_t *e);

static ngx_int_t ngx_http_mesh_hop_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_mesh_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_mesh_client_id(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_server_id(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_direction(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_service(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_endpoint(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_tls_text(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_dst_addr(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_reason(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_connection_header(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_upgrade_header(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_mesh_te_header(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value);

static char *ngx_http_mesh_set_tls(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_mesh_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_mesh_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_mesh_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_mesh_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_conf_enum_t  ngx_http_mesh_directions[] = {
    { ngx_string("outbound"), NGX_MESH_OUTBOUND },
    { ngx_string("inbound"), NGX_MESH_INBOUND },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_mesh_commands[] = {

    { ngx_string("mesh_direction"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_mesh_srv_conf_t, direction),
      &ngx_http_mesh_directions },

    { ngx_string("mesh_tls"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_http_mesh_set_tls,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mesh_module_ctx = {
    ngx_http_mesh_preconfiguration,        /* preconfiguration */
    ngx_http_mesh_postconfiguration,       /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_mesh_create_srv_conf,         /* create server configuration */
    ngx_http_mesh_merge_srv_conf,          /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_mesh_module = {
    NGX_MODULE_V1,
    &ngx_http_mesh_module_ctx,             /* module context */
    ngx_http_mesh_commands,                /* module directives */
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


/* the value of data points to one of these */

static ngx_http_mesh_value_pt  ngx_http_mesh_values[] = {
    ngx_http_mesh_client_id,
    ngx_http_mesh_server_id,
    ngx_http_mesh_direction,
    ngx_http_mesh_service,
    ngx_http_mesh_endpoint,
    ngx_http_mesh_tls_text,
    ngx_http_mesh_dst_addr,
    ngx_http_mesh_reason,
    ngx_http_mesh_connection_header,
    ngx_http_mesh_upgrade_header,
    ngx_http_mesh_te_header
};


static ngx_http_variable_t  ngx_http_mesh_variables[] = {

    { ngx_string("mesh_client_id"), NULL, ngx_http_mesh_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_server_id"), NULL, ngx_http_mesh_variable,
      1, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_direction"), NULL, ngx_http_mesh_variable,
      2, 0, 0 },

    { ngx_string("mesh_service"), NULL, ngx_http_mesh_variable,
      3, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_endpoint"), NULL, ngx_http_mesh_variable,
      4, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_tls"), NULL, ngx_http_mesh_variable,
      5, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_dst_addr"), NULL, ngx_http_mesh_variable,
      6, 0, 0 },

    { ngx_string("mesh_reason"), NULL, ngx_http_mesh_variable,
      7, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_connection"), NULL, ngx_http_mesh_hop_variable,
      8, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_upgrade"), NULL, ngx_http_mesh_hop_variable,
      9, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_te"), NULL, ngx_http_mesh_hop_variable,
      10, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


ngx_http_mesh_ctx_t *
ngx_http_mesh_make_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_mesh_ctx_t       *ctx;
    ngx_http_mesh_srv_conf_t  *mscf;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_mesh_cleanup) {
            ctx = cln->data;
            goto found;
        }
    }

    mscf = ngx_http_get_module_srv_conf(r, ngx_http_mesh_module);

    if (mscf->direction == NGX_HTTP_MESH_OFF) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_mesh_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_mesh_ctx_t));

    cln->handler = ngx_http_mesh_cleanup;

    ctx->direction = mscf->direction;
    ctx->flow.start_us = ngx_mesh_now_us();
    ctx->flow.conn = ngx_mesh_conn_get(ngx_http_mesh_connection(r));

found:

    ngx_http_set_ctx(r, ctx, ngx_http_mesh_module);

    return ctx;
}


/* its handler is how the context is found again */

static void
ngx_http_mesh_cleanup(void *data)
{
    ngx_http_mesh_ctx_t *ctx = data;

    if (ctx->flow.state) {
        ngx_mesh_state_release(ctx->flow.state);
        ctx->flow.state = NULL;
    }
}


ngx_connection_t *
ngx_http_mesh_connection(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)
    if (r->stream) {
        return r->stream->connection->connection;
    }
#endif

    return r->connection;
}


static ngx_int_t
ngx_http_mesh_preaccess_handler(ngx_http_request_t *r)
{
    const char                *code;
    ngx_http_mesh_ctx_t       *ctx;
    ngx_http_mesh_srv_conf_t  *mscf;

    mscf = ngx_http_get_module_srv_conf(r, ngx_http_mesh_module);

    if (mscf->direction == NGX_HTTP_MESH_OFF || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_mesh_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    code = ngx_http_mesh_check_peer(r, ctx);

    if (code) {
        ngx_http_mesh_last_request(r);
        return ngx_http_mesh_refuse(r, ctx, code);
    }

    if (ctx->located) {
        return NGX_DECLINED;
    }

    if (ctx->flow.state == NULL) {
        ctx->flow.state = ngx_mesh_state_get();
    }

    code = ngx_mesh_target_init(&ctx->target, &ctx->flow, r->pool);

    if (code) {
        return ngx_http_mesh_refuse(r, ctx, code);
    }

    ctx->located = 1;

    ngx_http_mesh_interim_request(r);

    if (ngx_http_mesh_hop_request(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


/* of HTTP/2 it takes one more request until nginx says GOAWAY */

static void
ngx_http_mesh_last_request(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    r->keepalive = 0;

    if (r->http_version == NGX_HTTP_VERSION_20) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        ngx_http_mesh_connection(r)->requests = clcf->keepalive_requests;
    }
}


/* once per request: a connection may outlive its peer's certificate */

static const char *
ngx_http_mesh_check_peer(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    const char                *code;
    ngx_connection_t          *c;
    ngx_mesh_peer_t           *peer;
    ngx_http_mesh_srv_conf_t  *mscf;

    c = ngx_http_mesh_connection(r);
    mscf = ngx_http_get_module_srv_conf(r, ngx_http_mesh_module);

    if (c->ssl == NULL && !mscf->tls) {
        return NULL;                       /* plaintext on a plain listener */
    }

    peer = ngx_mesh_tls_peer(c);

    if (peer == NULL) {
        return "peer-missing";
    }

    if (ngx_mesh_tls_peer_check(c, peer, ngx_time(), &code) != NGX_OK) {
        ngx_mesh_count(NGX_MESH_C_peer_expired, 1);
        return code;
    }

    if (ctx->flow.conn) {
        ctx->flow.conn->peer = peer;
    }

    return NULL;
}


ngx_int_t
ngx_http_mesh_refuse(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    const char *code)
{
    const ngx_mesh_error_t  *e;

    e = ngx_mesh_error(code);

    ctx->flow.reason = e->code;

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "mesh refused a request to \"%V\": %s, %s",
                  ctx->flow.conn ? &ctx->flow.conn->dst_text : &r->uri,
                  e->code, e->sentence);

    return e->status;
}


/*
 * nginx sets r->err_status for pages of its own; what an endpoint answers
 * passes as it is, but for what belongs to the connection to it.
 */

static ngx_int_t
ngx_http_mesh_header_filter(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_mesh_ctx_t  *ctx;

    ctx = (r == r->main) ? ngx_http_mesh_get_ctx(r) : NULL;

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    rc = NGX_OK;

    if (r->err_status >= NGX_HTTP_BAD_REQUEST) {
        rc = ngx_http_mesh_own_answer(r, ctx);

    } else if (r->upstream) {
        ngx_http_mesh_unreached_strip(r);
        rc = ngx_http_mesh_hop_response(r);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    /* whoever waits for 100 and gets this will not send the body */

    if (r->headers_in.expect && r->reading_body && !ctx->continued) {
        r->keepalive = 0;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_mesh_own_answer(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    const ngx_mesh_error_t  *e;

    e = ctx->flow.reason ? ngx_mesh_error(ctx->flow.reason)
                         : ngx_mesh_error_status(r->err_status);

    ctx->flow.reason = e->code;

    if (ngx_http_mesh_error_header(r, e) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_mesh_unreached_mark(r, ctx);
}


static ngx_int_t
ngx_http_mesh_error_header(ngx_http_request_t *r, const ngx_mesh_error_t *e)
{
    u_char           *p;
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(e->code) + 2 + ngx_strlen(e->sentence);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    ngx_str_set(&h->key, "mesh-error");
    h->lowcase_key = h->key.data;
    h->value.data = p;
    h->value.len = ngx_sprintf(p, "%s; %s", e->code, e->sentence) - p;

    return NGX_OK;
}


/* what proxy_set_header asks of each request, and few have */

static ngx_int_t
ngx_http_mesh_hop_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_mesh_ctx_t  *ctx;

    ctx = ngx_http_mesh_get_ctx(r);

    if (ctx == NULL || (ctx->upgrade.len == 0 && !ctx->te)) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_mesh_variable(r, v, data);
}


static ngx_int_t
ngx_http_mesh_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t             value;
    ngx_http_mesh_ctx_t  *ctx;

    ctx = ngx_http_mesh_get_ctx(r);

    ngx_str_null(&value);

    if (ctx && ngx_http_mesh_values[data](r, ctx, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* who calls: proven, or ourselves towards an endpoint that asks for proof */

static ngx_int_t
ngx_http_mesh_client_id(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    ngx_mesh_peer_t  *peer;

    if (ctx->direction == NGX_MESH_INBOUND) {
        peer = ngx_mesh_tls_peer(ngx_http_mesh_connection(r));

        if (peer) {
            *value = peer->id;
        }

    } else if (ctx->flow.endpoint && ctx->flow.tls == NGX_MESH_TLS_MTLS) {
        *value = *ngx_mesh_tls_identity();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_server_id(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->direction == NGX_MESH_INBOUND) {

        if (ngx_mesh_tls_peer(ngx_http_mesh_connection(r))) {
            *value = *ngx_mesh_tls_identity();
        }

    } else if (ctx->flow.endpoint && ctx->flow.tls == NGX_MESH_TLS_MTLS) {
        *value = ctx->flow.endpoint->identity;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_direction(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ngx_http_mesh_directions[ctx->direction].name;

    return NGX_OK;
}


/* "shop/cart:80" */

static ngx_int_t
ngx_http_mesh_service(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    const mesh_state_view_t     *view;
    const mesh_state_service_t  *service;

    service = ctx->flow.service;

    if (service == NULL) {
        return NGX_OK;
    }

    view = &ctx->flow.state->view;

    value->data = ngx_pnalloc(r->pool, service->namespace_.len
                              + service->name.len + sizeof("/:65535"));
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "%s/%s:%ui",
                             mesh_state_text(view, &service->namespace_),
                             mesh_state_text(view, &service->name),
                             (ngx_uint_t) service->port)
                 - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_endpoint(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->flow.endpoint) {
        *value = ctx->flow.endpoint->name;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_tls_text(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    value->data = (u_char *) ngx_mesh_target_tls(&ctx->flow, ctx->direction,
                             ngx_mesh_tls_peer(ngx_http_mesh_connection(r)));
    value->len = ngx_strlen(value->data);

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_dst_addr(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->flow.conn) {
        *value = ctx->flow.conn->dst_text;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_reason(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->flow.reason) {
        value->data = (u_char *) ctx->flow.reason;
        value->len = ngx_strlen(value->data);
    }

    return NGX_OK;
}


/*
 * For proxy_set_header Connection, Upgrade and TE: what this request asks
 * for of the next connection.  Empty leaves the header out.
 */

static ngx_int_t
ngx_http_mesh_connection_header(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->upgrade.len && ctx->te) {
        ngx_str_set(value, "upgrade, te");

    } else if (ctx->upgrade.len) {
        ngx_str_set(value, "upgrade");

    } else if (ctx->te) {
        ngx_str_set(value, "te");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_upgrade_header(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ctx->upgrade;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_te_header(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->te) {
        ngx_str_set(value, "trailers");
    }

    return NGX_OK;
}


/* before ngx_http_ssl_module merges: as if ssl_certificate had been typed */

static char *
ngx_http_mesh_set_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_mesh_srv_conf_t  *mscf = conf;

    ngx_str_t                *value;
    ngx_http_ssl_srv_conf_t  *sscf;

    value = cf->args->elts;

    if (mscf->tls != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "mtls") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", it must be \"mtls\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    mscf->tls = 1;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);

    return ngx_mesh_tls_files(cf, &sscf->certificates,
                              &sscf->certificate_keys);
}


static ngx_int_t
ngx_http_mesh_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_mesh_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mesh_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                   i;
    ngx_http_handler_pt         *h;
    ngx_http_ssl_srv_conf_t     *sscf;
    ngx_http_mesh_srv_conf_t    *mscf;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        mscf = cscfp[i]->ctx->srv_conf[ngx_http_mesh_module.ctx_index];
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

        if (mscf->tls && ngx_mesh_tls_server(cf, &sscf->ssl) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_mesh_preaccess_handler;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_mesh_header_filter;

    return NGX_OK;
}


static void *
ngx_http_mesh_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_mesh_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_mesh_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->direction = NGX_CONF_UNSET_UINT;
    conf->tls = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_mesh_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_mesh_srv_conf_t  *prev = parent;
    ngx_http_mesh_srv_conf_t  *conf = child;

    ngx_conf_merge_uint_value(conf->direction, prev->direction,
                              NGX_HTTP_MESH_OFF);
    ngx_conf_merge_value(conf->tls, prev->tls, 0);

    return NGX_CONF_OK;
}
