
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Which certificate we show, whom we believe.  One client context and the
 * server contexts of all mesh_tls servers follow the files live: a good pair
 * is put into every context between two events, so a handshake sees the old
 * pair or the new one.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_agent.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_pool.h>
#include <ngx_mesh_tls.h>
#include <ngx_mesh_tls_conf.h>
#include <ngx_mesh_watch.h>


static char *ngx_mesh_tls_set_identity(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mesh_tls_set_certificate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mesh_tls_set_trust(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_mesh_tls_create_conf(ngx_cycle_t *cycle);
static char *ngx_mesh_tls_init_conf(ngx_cycle_t *cycle, void *conf);
static ngx_int_t ngx_mesh_tls_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_mesh_tls_names(ngx_mesh_tls_conf_t *tcf,
    ngx_pool_t *pool);
static size_t ngx_mesh_tls_dirname(ngx_str_t *path);
static void ngx_mesh_tls_cleanup(void *data);
static const char *ngx_mesh_tls_read(ngx_mesh_tls_conf_t *tcf,
    ngx_mesh_tls_pair_t *pair, char *err);
static void ngx_mesh_tls_changed(void *data, ngx_log_t *log);
static const char *ngx_mesh_tls_swap(ngx_mesh_tls_conf_t *tcf,
    ngx_mesh_tls_pair_t *pair, ngx_log_t *log);
static ngx_int_t ngx_mesh_tls_use(ngx_mesh_tls_conf_t *tcf,
    ngx_mesh_tls_pair_t *pair, ngx_log_t *log);
static ngx_int_t ngx_mesh_tls_context(SSL_CTX *ctx, ngx_log_t *log);
static ngx_int_t ngx_mesh_tls_groups(SSL_CTX *ctx);


static ngx_command_t  ngx_mesh_tls_commands[] = {

    { ngx_string("mesh_identity"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_tls_set_identity,
      0,
      0,
      NULL },

    { ngx_string("mesh_certificate"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE2,
      ngx_mesh_tls_set_certificate,
      0,
      0,
      NULL },

    { ngx_string("mesh_trust"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_tls_set_trust,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_mesh_tls_module_ctx = {
    ngx_string("mesh_tls"),
    ngx_mesh_tls_create_conf,
    ngx_mesh_tls_init_conf
};


ngx_module_t  ngx_mesh_tls_module = {
    NGX_MODULE_V1,
    &ngx_mesh_tls_module_ctx,              /* module context */
    ngx_mesh_tls_commands,                 /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_mesh_tls_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_mesh_tls_conf_t  *ngx_mesh_tls_conf;
int                   ngx_mesh_tls_ssl_index = -1;
uint64_t              ngx_mesh_tls_bundle = 1;

static uint64_t       ngx_mesh_tls_current = 1;


static void *
ngx_mesh_tls_create_conf(ngx_cycle_t *cycle)
{
    ngx_pool_cleanup_t   *cln;
    ngx_mesh_tls_conf_t  *tcf;

    if (ngx_mesh_tls_ssl_index == -1) {
        ngx_mesh_tls_ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                      NULL);

        if (ngx_mesh_tls_ssl_index == -1) {
            ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0,
                          "SSL_get_ex_new_index() failed");
            return NULL;
        }
    }

    tcf = ngx_pcalloc(cycle->pool, sizeof(ngx_mesh_tls_conf_t));
    if (tcf == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_mesh_tls_cleanup;
    cln->data = tcf;

    return tcf;
}


static void
ngx_mesh_tls_cleanup(void *data)
{
    ngx_mesh_tls_conf_t  *tcf = data;

    ngx_mesh_tls_pair_free(&tcf->pair);

    if (tcf->client.ctx) {
        SSL_CTX_free(tcf->client.ctx);
    }
}


static char *
ngx_mesh_tls_set_identity(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_tls_conf_t  *tcf = conf;

    ngx_str_t        *value;
    const char       *err;
    mesh_identity_t   id;

    if (tcf->identity.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    err = mesh_identity_parse((char *) value[1].data, value[1].len, &id);

    if (err) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "identity \"%V\" %s",
                           &value[1], err);
        return NGX_CONF_ERROR;
    }

    tcf->identity = value[1];
    tcf->trust_domain.data = (u_char *) id.trust_domain;
    tcf->trust_domain.len = id.trust_domain_len;

    return NGX_CONF_OK;
}


static char *
ngx_mesh_tls_set_certificate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_tls_conf_t  *tcf = conf;

    ngx_str_t  *value;

    if (tcf->cert.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    tcf->cert = value[1];
    tcf->key = value[2];

    if (ngx_conf_full_name(cf->cycle, &tcf->cert, 1) != NGX_OK
        || ngx_conf_full_name(cf->cycle, &tcf->key, 1) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_mesh_tls_set_trust(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_tls_conf_t  *tcf = conf;

    ngx_str_t  *value;

    if (tcf->trust.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    tcf->trust = value[1];

    if (ngx_conf_full_name(cf->cycle, &tcf->trust, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* the first pair: without a good one nginx does not start */

static char *
ngx_mesh_tls_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_mesh_tls_conf_t  *tcf = conf;

    char         err[NGX_MESH_TLS_ERR_MAX];
    const char  *text;

    if (tcf->cert.len == 0 && tcf->trust.len == 0) {
        return NGX_CONF_OK;
    }

    if (tcf->cert.len == 0 || tcf->trust.len == 0 || tcf->identity.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mesh_certificate\", \"mesh_trust\" and "
                      "\"mesh_identity\" are needed together");
        return NGX_CONF_ERROR;
    }

    if (ngx_mesh_tls_names(tcf, cycle->pool) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    text = ngx_mesh_tls_read(tcf, &tcf->pair, err);

    if (text) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "mesh identity \"%V\" refused: %s",
                      &tcf->identity, text);
        return NGX_CONF_ERROR;
    }

    tcf->client.log = cycle->log;

    if (ngx_ssl_create(&tcf->client, NGX_SSL_TLSv1_3, NULL) != NGX_OK
        || ngx_mesh_tls_context(tcf->client.ctx, cycle->log) != NGX_OK
        || ngx_mesh_tls_use(tcf, &tcf->pair, cycle->log) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    SSL_CTX_set_verify(tcf->client.ctx, SSL_VERIFY_PEER, ngx_mesh_tls_verify);

    return NGX_CONF_OK;
}


/* if all files lie in one directory, it is that which is opened and watched */

static ngx_int_t
ngx_mesh_tls_names(ngx_mesh_tls_conf_t *tcf, ngx_pool_t *pool)
{
    size_t   n;
    u_char  *dir;

    tcf->files.cert = (char *) tcf->cert.data;
    tcf->files.key = (char *) tcf->key.data;
    tcf->files.trust = (char *) tcf->trust.data;

    n = ngx_mesh_tls_dirname(&tcf->cert);

    if (n < 2
        || ngx_mesh_tls_dirname(&tcf->key) != n
        || ngx_mesh_tls_dirname(&tcf->trust) != n
        || ngx_strncmp(tcf->cert.data, tcf->key.data, n) != 0
        || ngx_strncmp(tcf->cert.data, tcf->trust.data, n) != 0)
    {
        return NGX_OK;
    }

    dir = ngx_pnalloc(pool, n);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dir, tcf->cert.data, n - 1);
    dir[n - 1] = '\0';

    tcf->dir.data = dir;
    tcf->dir.len = n - 1;

    tcf->files.dir = (char *) dir;
    tcf->files.cert += n;
    tcf->files.key += n;
    tcf->files.trust += n;

    return NGX_OK;
}


/* length of the path's directory, with the slash */

static size_t
ngx_mesh_tls_dirname(ngx_str_t *path)
{
    size_t  n;

    for (n = path->len; n > 0 && path->data[n - 1] != '/'; n--) {
        /* void */
    }

    return n;
}


static ngx_int_t
ngx_mesh_tls_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    ngx_str_t            *path[3];
    ngx_mesh_tls_conf_t  *tcf;

    tcf = (ngx_mesh_tls_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                               ngx_mesh_tls_module);
    ngx_mesh_tls_conf = tcf;

    if (tcf->client.ctx == NULL) {
        return NGX_OK;
    }

    if (tcf->dir.len) {
        return ngx_mesh_watch_add(cycle, &tcf->dir, ngx_mesh_tls_changed, tcf);
    }

    path[0] = &tcf->cert;
    path[1] = &tcf->key;
    path[2] = &tcf->trust;

    for (i = 0; i < 3; i++) {
        if (ngx_mesh_watch_add(cycle, path[i], ngx_mesh_tls_changed, tcf)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a good pair from the files, or what is wrong with them */

static const char *
ngx_mesh_tls_read(ngx_mesh_tls_conf_t *tcf, ngx_mesh_tls_pair_t *pair,
    char *err)
{
    const char  *text;

    text = ngx_mesh_tls_pair_load(pair, &tcf->files, err);

    if (text) {
        return text;
    }

    return ngx_mesh_tls_pair_check(pair, (char *) tcf->identity.data,
                                   tcf->identity.len, ngx_time(), err);
}


static void
ngx_mesh_tls_changed(void *data, ngx_log_t *log)
{
    ngx_mesh_tls_conf_t  *tcf = data;

    char                  err[NGX_MESH_TLS_ERR_MAX];
    const char           *text;
    ngx_mesh_tls_pair_t   pair;

    text = ngx_mesh_tls_read(tcf, &pair, err);

    /* contexts keep one certificate of each type: a second would not leave */

    if (text == NULL
        && EVP_PKEY_base_id(pair.key) != EVP_PKEY_base_id(tcf->pair.key))
    {
        text = "key is of another type than the one in use";
    }

    if (text == NULL) {
        text = ngx_mesh_tls_swap(tcf, &pair, log);
    }

    if (text == NULL) {
        (void) ngx_mesh_agent_send("identity %s ok", pair.epoch);
        ngx_mesh_tls_pair_free(&pair);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "mesh identity \"%V\" epoch \"%s\" refused: %s",
                  &tcf->identity, pair.epoch, text);

    ngx_mesh_count(NGX_MESH_C_identity_refused, 1);
    (void) ngx_mesh_agent_send("identity %s refused %s", pair.epoch, text);

    ngx_mesh_tls_pair_free(&pair);
}


/* from here on *pair is the old one, to be freed; or what went wrong */

static const char *
ngx_mesh_tls_swap(ngx_mesh_tls_conf_t *tcf, ngx_mesh_tls_pair_t *pair,
    ngx_log_t *log)
{
    ngx_uint_t            leaf, bundle;
    ngx_mesh_tls_pair_t   old;

    old = tcf->pair;

    leaf = ngx_memcmp(pair->pair_digest, old.pair_digest,
                      NGX_MESH_TLS_DIGEST) != 0;
    bundle = ngx_memcmp(pair->trust_digest, old.trust_digest,
                        NGX_MESH_TLS_DIGEST) != 0;

    if (!leaf && !bundle) {
        return NULL;               /* nginx.conf's, or written once more */
    }

    if (ngx_mesh_tls_use(tcf, pair, log) != NGX_OK) {

        /* undo what was done to some of the contexts */

        (void) ngx_mesh_tls_use(tcf, &old, log);

        return "certificate cannot be used";
    }

    tcf->pair = *pair;

    *pair = old;
    ngx_memcpy(pair->epoch, tcf->pair.epoch, NGX_MESH_TLS_EPOCH_MAX);

    ngx_mesh_tls_current++;
    ngx_mesh_tls_bundle += bundle;

    ngx_mesh_pool_expire(ngx_mesh_tls_current);

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "mesh identity \"%V\" epoch \"%s\" is in use%s",
                  &tcf->identity, pair->epoch,
                  bundle ? ", with a new trust bundle" : "");

    ngx_mesh_count(NGX_MESH_C_identity_loads, 1);

    return NULL;
}


static ngx_int_t
ngx_mesh_tls_use(ngx_mesh_tls_conf_t *tcf, ngx_mesh_tls_pair_t *pair,
    ngx_log_t *log)
{
    SSL_CTX     *ctx;
    ngx_uint_t   i;

    for (i = 0; i <= tcf->nservers; i++) {

        ctx = (i < tcf->nservers) ? tcf->servers[i]->ctx : tcf->client.ctx;

        if (SSL_CTX_use_cert_and_key(ctx, pair->leaf, pair->key, pair->chain,
                                     1)
            != 1
            || SSL_CTX_set1_verify_cert_store(ctx, pair->store) != 1)
        {
            ngx_ssl_error(NGX_LOG_ERR, log, 0,
                          "SSL_CTX_use_cert_and_key() failed");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_mesh_tls_server(ngx_conf_t *cf, ngx_ssl_t *ssl)
{
    ngx_mesh_tls_conf_t  *tcf;

    tcf = (ngx_mesh_tls_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                               ngx_mesh_tls_module);

    if (tcf->nservers == NGX_MESH_TLS_SERVERS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "at most %d servers can have \"mesh_tls\"",
                           NGX_MESH_TLS_SERVERS);
        return NGX_ERROR;
    }

    if (ngx_mesh_tls_context(ssl->ctx, cf->log) != NGX_OK) {
        return NGX_ERROR;
    }

    SSL_CTX_set_verify(ssl->ctx,
                       SSL_VERIFY_PEER|SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       ngx_mesh_tls_verify);

    tcf->servers[tcf->nservers++] = ssl;

    return NGX_OK;
}


/* what client and server contexts have in common, whatever was typed */

static ngx_int_t
ngx_mesh_tls_context(SSL_CTX *ctx, ngx_log_t *log)
{
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TLSv1_3);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(ctx, ngx_mesh_tls_info);

    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_set_num_tickets(ctx, 0) != 1
        || SSL_CTX_set_max_early_data(ctx, 0) != 1
        || ngx_mesh_tls_groups(ctx) != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "TLS 1.3 cannot be set up");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mesh_tls_groups(SSL_CTX *ctx)
{
    if (SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:X25519") == 1) {
        return NGX_OK;
    }

    /* OpenSSL before 3.5 */

    ERR_clear_error();

    return SSL_CTX_set1_groups_list(ctx, "X25519") == 1 ? NGX_OK : NGX_ERROR;
}


char *
ngx_mesh_tls_files(ngx_conf_t *cf, ngx_array_t **certificates,
    ngx_array_t **keys)
{
    ngx_str_t            *file;
    ngx_uint_t            i;
    ngx_array_t         **array;
    ngx_mesh_tls_conf_t  *tcf;

    tcf = (ngx_mesh_tls_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                               ngx_mesh_tls_module);

    if (tcf->cert.len == 0) {
        return "needs \"mesh_certificate\" before it";
    }

    for (i = 0; i < 2; i++) {
        array = (i == 0) ? certificates : keys;

        if (*array != NULL && *array != NGX_CONF_UNSET_PTR) {
            continue;
        }

        *array = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
        if (*array == NULL) {
            return NGX_CONF_ERROR;
        }

        file = ngx_array_push(*array);
        if (file == NULL) {
            return NGX_CONF_ERROR;
        }

        *file = (i == 0) ? tcf->cert : tcf->key;
    }

    return NGX_CONF_OK;
}


uint64_t
ngx_mesh_tls_generation(void)
{
    return ngx_mesh_tls_current;
}


ngx_ssl_t *
ngx_mesh_tls_client(void)
{
    if (ngx_mesh_tls_conf == NULL || ngx_mesh_tls_conf->client.ctx == NULL) {
        return NULL;
    }

    return &ngx_mesh_tls_conf->client;
}


ngx_str_t *
ngx_mesh_tls_identity(void)
{
    static ngx_str_t  none = ngx_null_string;

    return ngx_mesh_tls_conf ? &ngx_mesh_tls_conf->identity : &none;
}
