
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The stream side of the mesh: which servers belong to it (mesh_direction,
 * mesh_tls), which are twins, the context of a session, and who may go on
 * (PREREAD, the first phase after the TLS handshake).
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_stream_ssl_module.h>

#include <ngx_stream_mesh.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_tls.h>


#if (nginx_version >= 1025005)
typedef ngx_stream_ssl_srv_conf_t  ngx_stream_mesh_ssl_conf_t;
#else
typedef ngx_stream_ssl_conf_t      ngx_stream_mesh_ssl_conf_t;
#endif


extern ngx_module_t  ngx_stream_proxy_module;


typedef ngx_int_t (*ngx_stream_mesh_value_pt)(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);


static ngx_int_t ngx_stream_mesh_preread_handler(ngx_stream_session_t *s);

static ngx_int_t ngx_stream_mesh_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_mesh_client_id(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_server_id(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_direction(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_endpoint(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_tls_text(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_dst_addr(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_stream_mesh_reason(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value);

static char *ngx_stream_mesh_set_tls(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_mesh_set_fixed(ngx_conf_t *cf,
    ngx_stream_mesh_srv_conf_t *mscf, ngx_str_t *identity,
    ngx_str_t *endpoint);
static ngx_int_t ngx_stream_mesh_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_mesh_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_mesh_secure(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);
static ngx_int_t ngx_stream_mesh_client_side(
    ngx_stream_core_srv_conf_t *cscf);
static ngx_flag_t *ngx_stream_mesh_proxy_flag(
    ngx_stream_core_srv_conf_t *cscf, const char *name);
static void ngx_stream_mesh_twins(ngx_stream_core_srv_conf_t **cscfp,
    ngx_uint_t n, ngx_uint_t direction);
static void *ngx_stream_mesh_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_mesh_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_conf_enum_t  ngx_stream_mesh_directions[] = {
    { ngx_string("outbound"), NGX_MESH_OUTBOUND },
    { ngx_string("inbound"), NGX_MESH_INBOUND },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_stream_mesh_commands[] = {

    { ngx_string("mesh_direction"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mesh_srv_conf_t, direction),
      &ngx_stream_mesh_directions },

    { ngx_string("mesh_tls"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1|NGX_CONF_TAKE3,
      ngx_stream_mesh_set_tls,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_mesh_module_ctx = {
    ngx_stream_mesh_preconfiguration,      /* preconfiguration */
    ngx_stream_mesh_postconfiguration,     /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_mesh_create_srv_conf,       /* create server configuration */
    ngx_stream_mesh_merge_srv_conf         /* merge server configuration */
};


ngx_module_t  ngx_stream_mesh_module = {
    NGX_MODULE_V1,
    &ngx_stream_mesh_module_ctx,           /* module context */
    ngx_stream_mesh_commands,              /* module directives */
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


/* the value of data points to one of these */

static ngx_stream_mesh_value_pt  ngx_stream_mesh_values[] = {
    ngx_stream_mesh_client_id,
    ngx_stream_mesh_server_id,
    ngx_stream_mesh_direction,
    ngx_stream_mesh_service_text,
    ngx_stream_mesh_endpoint,
    ngx_stream_mesh_tls_text,
    ngx_stream_mesh_dst_addr,
    ngx_stream_mesh_reason
};


static ngx_stream_variable_t  ngx_stream_mesh_variables[] = {

    { ngx_string("mesh_client_id"), NULL, ngx_stream_mesh_variable,
      0, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_server_id"), NULL, ngx_stream_mesh_variable,
      1, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_direction"), NULL, ngx_stream_mesh_variable,
      2, 0, 0 },

    { ngx_string("mesh_service"), NULL, ngx_stream_mesh_variable,
      3, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_endpoint"), NULL, ngx_stream_mesh_variable,
      4, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_tls"), NULL, ngx_stream_mesh_variable,
      5, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("mesh_dst_addr"), NULL, ngx_stream_mesh_variable,
      6, 0, 0 },

    { ngx_string("mesh_reason"), NULL, ngx_stream_mesh_variable,
      7, NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


ngx_stream_mesh_ctx_t *
ngx_stream_mesh_get_ctx(ngx_stream_session_t *s)
{
    ngx_stream_mesh_ctx_t       *ctx;
    ngx_stream_mesh_srv_conf_t  *mscf;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_mesh_module);
    if (ctx) {
        return ctx;
    }

    mscf = ngx_stream_get_module_srv_conf(s, ngx_stream_mesh_module);

    if (mscf->direction == NGX_STREAM_MESH_OFF) {
        return NULL;
    }

    ctx = ngx_pcalloc(s->connection->pool, sizeof(ngx_stream_mesh_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->direction = mscf->direction;
    ctx->flow.start_us = ngx_mesh_now_us();

    if (mscf->fixed == NULL) {
        ctx->flow.conn = ngx_mesh_conn_get(s->connection);
    }

    ngx_stream_set_ctx(s, ctx, ngx_stream_mesh_module);

    return ctx;
}


ngx_mesh_flow_t *
ngx_stream_mesh_get_flow(ngx_stream_session_t *s)
{
    ngx_stream_mesh_ctx_t  *ctx;

    ctx = ngx_stream_mesh_get_ctx(s);

    return ctx ? &ctx->flow : NULL;
}


void
ngx_stream_mesh_refuse(ngx_stream_session_t *s, ngx_stream_mesh_ctx_t *ctx,
    const char *code)
{
    ngx_str_t                to;
    const ngx_mesh_error_t  *e;

    e = ngx_mesh_error(code);

    ctx->flow.reason = e->code;

    if (ctx->flow.conn) {
        to = ctx->flow.conn->dst_text;

    } else {
        ngx_str_set(&to, "its endpoint");
    }

    ngx_log_error(NGX_LOG_ERR, s->connection->log, 0,
                  "mesh refused a session to %V: %s, %s", &to, e->code,
                  e->sentence);

    ngx_stream_mesh_end_reset(s->connection);
}


/* nothing of the client was read yet; nothing of it goes on unless it may */

static ngx_int_t
ngx_stream_mesh_preread_handler(ngx_stream_session_t *s)
{
    const char                  *code;
    ngx_connection_t            *c;
    ngx_mesh_peer_t             *peer;
    ngx_stream_mesh_ctx_t       *ctx;
    ngx_stream_mesh_srv_conf_t  *mscf;

    mscf = ngx_stream_get_module_srv_conf(s, ngx_stream_mesh_module);

    if (mscf->direction == NGX_STREAM_MESH_OFF) {
        return NGX_DECLINED;
    }

    ctx = ngx_stream_mesh_get_ctx(s);
    if (ctx == NULL) {
        return NGX_STREAM_INTERNAL_SERVER_ERROR;
    }

    c = s->connection;

    ngx_stream_mesh_end_watch(s, ctx, c);

    if (ctx->direction == NGX_MESH_OUTBOUND
        || (c->ssl == NULL && !mscf->tls))
    {
        return NGX_DECLINED;
    }

    peer = ngx_mesh_tls_peer(c);
    code = "peer-missing";

    if (peer == NULL
        || ngx_mesh_tls_peer_check(c, peer, ngx_time(), &code) != NGX_OK)
    {
        ngx_stream_mesh_refuse(s, ctx, code);
        return NGX_STREAM_FORBIDDEN;
    }

    if (ctx->flow.conn) {
        ctx->flow.conn->peer = peer;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_stream_mesh_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_str_t               value;
    ngx_stream_mesh_ctx_t  *ctx;

    ctx = ngx_stream_mesh_get_ctx(s);

    ngx_str_null(&value);

    if (ctx && ngx_stream_mesh_values[data](s, ctx, &value) != NGX_OK) {
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


static ngx_int_t
ngx_stream_mesh_client_id(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    ngx_mesh_peer_t  *peer;

    if (ctx->direction == NGX_MESH_INBOUND) {
        peer = ngx_mesh_tls_peer(s->connection);

        if (peer) {
            *value = peer->id;
        }

    } else if (ctx->flow.endpoint && ctx->flow.tls == NGX_MESH_TLS_MTLS) {
        *value = *ngx_mesh_tls_identity();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_server_id(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->direction == NGX_MESH_INBOUND) {

        if (ngx_mesh_tls_peer(s->connection)) {
            *value = *ngx_mesh_tls_identity();
        }

    } else if (ctx->flow.endpoint && ctx->flow.tls == NGX_MESH_TLS_MTLS) {
        *value = ctx->flow.endpoint->identity;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_direction(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    *value = ngx_stream_mesh_directions[ctx->direction].name;

    return NGX_OK;
}


ngx_int_t
ngx_stream_mesh_service_text(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    const mesh_state_view_t     *view;
    const mesh_state_service_t  *service;

    service = ctx->flow.service;

    if (service == NULL) {
        *value = ctx->service;
        return NGX_OK;
    }

    view = &ctx->flow.state->view;

    value->data = ngx_pnalloc(s->connection->pool, service->namespace_.len
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
ngx_stream_mesh_endpoint(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->flow.endpoint) {
        *value = ctx->flow.endpoint->name;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_tls_text(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    value->data = (u_char *) ngx_mesh_target_tls(&ctx->flow, ctx->direction,
                                           ngx_mesh_tls_peer(s->connection));
    value->len = ngx_strlen(value->data);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_dst_addr(ngx_stream_session_t *s,
    ngx_stream_mesh_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->flow.conn) {
        *value = ctx->flow.conn->dst_text;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_reason(ngx_stream_session_t *s, ngx_stream_mesh_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->flow.reason) {
        value->data = (u_char *) ctx->flow.reason;
        value->len = ngx_strlen(value->data);
    }

    return NGX_OK;
}


/* mesh_tls mtls [identity=spiffe://.. endpoint=ADDRESS:PORT] */

static char *
ngx_stream_mesh_set_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_mesh_srv_conf_t  *mscf = conf;

    ngx_str_t                   *value, identity, endpoint;
    ngx_uint_t                   i;
    ngx_stream_mesh_ssl_conf_t  *sscf;

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

    ngx_str_null(&identity);
    ngx_str_null(&endpoint);

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "identity=", 9) == 0) {
            identity.data = value[i].data + 9;
            identity.len = value[i].len - 9;
            continue;
        }

        if (ngx_strncmp(value[i].data, "endpoint=", 9) == 0) {
            endpoint.data = value[i].data + 9;
            endpoint.len = value[i].len - 9;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (identity.len || endpoint.len) {
        return ngx_stream_mesh_set_fixed(cf, mscf, &identity, &endpoint);
    }

    if (mscf->direction == NGX_MESH_OUTBOUND) {
        return NGX_CONF_OK;                /* the client side: proxy_ssl */
    }

    /* before ngx_stream_ssl_module merges: as if ssl_certificate was typed */

    sscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_ssl_module);

    return ngx_mesh_tls_files(cf, &sscf->certificates,
                              &sscf->certificate_keys);
}


static char *
ngx_stream_mesh_set_fixed(ngx_conf_t *cf, ngx_stream_mesh_srv_conf_t *mscf,
    ngx_str_t *identity, ngx_str_t *endpoint)
{
    ngx_url_t             u;
    const char           *err;
    mesh_identity_t       id;
    ngx_mesh_endpoint_t  *fixed;

    if (identity->len == 0 || endpoint->len == 0) {
        return "needs \"identity=\" and \"endpoint=\" together";
    }

    err = mesh_identity_parse((char *) identity->data, identity->len, &id);

    if (err) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "identity \"%V\" %s",
                           identity, err);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *endpoint;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.no_port
        || u.naddrs != 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in endpoint \"%V\", expected ADDRESS:PORT",
                           u.err ? u.err : "no single address", endpoint);
        return NGX_CONF_ERROR;
    }

    fixed = ngx_pcalloc(cf->pool, sizeof(ngx_mesh_endpoint_t));
    if (fixed == NULL) {
        return NGX_CONF_ERROR;
    }

    fixed->sockaddr = u.addrs[0].sockaddr;
    fixed->socklen = u.addrs[0].socklen;
    fixed->name = u.addrs[0].name;
    fixed->identity = *identity;

    mscf->fixed = fixed;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_mesh_preconfiguration(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_mesh_variables; v->name.len; v++) {

        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_stream_handler_pt         *h;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        if (ngx_stream_mesh_secure(cf, cscfp[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_stream_mesh_twins(cscfp, cmcf->servers.nelts, NGX_MESH_OUTBOUND);
    ngx_stream_mesh_twins(cscfp, cmcf->servers.nelts, NGX_MESH_INBOUND);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_mesh_preread_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mesh_secure(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_stream_mesh_ssl_conf_t  *sscf;
    ngx_stream_mesh_srv_conf_t  *mscf;

    mscf = cscf->ctx->srv_conf[ngx_stream_mesh_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    if (!mscf->tls) {
        return NGX_OK;
    }

    if (mscf->direction == NGX_MESH_OUTBOUND) {

        if (ngx_stream_mesh_client_side(cscf) == NGX_OK) {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mesh_tls\" of an outbound server needs "
                      "\"proxy_ssl on\" in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (sscf->ssl.ctx == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mesh_tls\" of an inbound server needs "
                      "\"listen ... ssl\" in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    return ngx_mesh_tls_server(cf, &sscf->ssl);
}


/*
 * A twin that does not encrypt, or whose proxy module never calls
 * set_session, would connect to a meshed endpoint without proof.
 */

static ngx_int_t
ngx_stream_mesh_client_side(ngx_stream_core_srv_conf_t *cscf)
{
    ngx_flag_t  *ssl, *reuse;

    ssl = ngx_stream_mesh_proxy_flag(cscf, "proxy_ssl");
    reuse = ngx_stream_mesh_proxy_flag(cscf, "proxy_ssl_session_reuse");

    return (ssl && *ssl && reuse && *reuse) ? NGX_OK : NGX_DECLINED;
}


/* the proxy module's configuration is its own, but its directives are not */

static ngx_flag_t *
ngx_stream_mesh_proxy_flag(ngx_stream_core_srv_conf_t *cscf,
    const char *name)
{
    u_char         *conf;
    ngx_command_t  *cmd;

    conf = cscf->ctx->srv_conf[ngx_stream_proxy_module.ctx_index];

    for (cmd = ngx_stream_proxy_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            return (ngx_flag_t *) (conf + cmd->offset);
        }
    }

    return NULL;
}


static void
ngx_stream_mesh_twins(ngx_stream_core_srv_conf_t **cscfp, ngx_uint_t n,
    ngx_uint_t direction)
{
    void                        **plain, **mtls;
    ngx_uint_t                    i;
    ngx_stream_mesh_srv_conf_t   *mscf;

    plain = NULL;
    mtls = NULL;

    for (i = 0; i < n; i++) {
        mscf = cscfp[i]->ctx->srv_conf[ngx_stream_mesh_module.ctx_index];

        if (mscf->direction != direction || mscf->fixed) {
            continue;
        }

        if (direction == NGX_MESH_OUTBOUND && mscf->tls) {
            mtls = mtls ? mtls : cscfp[i]->ctx->srv_conf;

        } else {
            plain = plain ? plain : cscfp[i]->ctx->srv_conf;
        }
    }

    for (i = 0; i < n; i++) {
        mscf = cscfp[i]->ctx->srv_conf[ngx_stream_mesh_module.ctx_index];

        if (mscf->fixed) {
            mscf->mtls = cscfp[i]->ctx->srv_conf;

        } else if (mscf->direction == direction) {

            mscf->plain = plain;
            mscf->mtls = mtls;

            if (!mscf->tls || direction == NGX_MESH_INBOUND) {
                mscf->plain = cscfp[i]->ctx->srv_conf;
            }
        }
    }
}


static void *
ngx_stream_mesh_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_mesh_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_mesh_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->fixed = NULL;
     *     conf->plain = NULL;
     *     conf->mtls = NULL;
     */

    conf->direction = NGX_CONF_UNSET_UINT;
    conf->tls = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_stream_mesh_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_stream_mesh_srv_conf_t  *prev = parent;
    ngx_stream_mesh_srv_conf_t  *conf = child;

    if (conf->fixed && conf->direction == NGX_CONF_UNSET_UINT) {
        conf->direction = NGX_MESH_OUTBOUND;
    }

    ngx_conf_merge_uint_value(conf->direction, prev->direction,
                              NGX_STREAM_MESH_OFF);
    ngx_conf_merge_value(conf->tls, prev->tls, 0);

    return NGX_CONF_OK;
}
