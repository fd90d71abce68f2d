
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Who is on the other side of one connection.  Whatever is not proven is
 * refused: the callback says yes only after it has stored who the peer is,
 * and a connection without such a record counts as unverified for everybody
 * who asks.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_tls_conf.h>


/* of one connection, in its pool and at its SSL */

typedef struct {
    ngx_str_t                *expected;  /* client side */
    ngx_mesh_peer_t          *peer;      /* verified */
    void                    (*done)(void *data);
    void                     *data;
    unsigned                  refused:1;
    unsigned                  silent:1;  /* without an alert */
} ngx_mesh_tls_check_t;


static ngx_int_t ngx_mesh_tls_alpn(SSL *ssl, const char *alpn);
static ngx_mesh_tls_check_t *ngx_mesh_tls_check(SSL *ssl,
    ngx_connection_t *c);
static const char *ngx_mesh_tls_admit(ngx_connection_t *c,
    ngx_mesh_tls_check_t *check, X509_STORE_CTX *ctx);


/*
 * The SSL may come from a context that is not ours (stream's proxy_ssl makes
 * its own): everything that matters is set on the SSL itself.
 */

ngx_int_t
ngx_mesh_tls_expect(ngx_connection_t *c, ngx_str_t *identity,
    const char *alpn)
{
    SSL                   *ssl;
    SSL_CTX               *ctx;
    ngx_mesh_tls_check_t  *check;

    if (ngx_mesh_tls_client() == NULL || identity->len == 0) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "no certificate or no identity for a mesh connection");
        return NGX_ERROR;
    }

    ssl = c->ssl->connection;
    ctx = ngx_mesh_tls_conf->client.ctx;

    check = ngx_mesh_tls_check(ssl, c);
    if (check == NULL) {
        return NGX_ERROR;
    }

    check->expected = identity;

    SSL_set_verify(ssl, SSL_VERIFY_PEER, ngx_mesh_tls_verify);

    if (SSL_get_SSL_CTX(ssl) != ctx) {
        SSL_clear_options(ssl, SSL_OP_NO_TLSv1_3);
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_set_info_callback(ssl, ngx_mesh_tls_info);

        if (SSL_set_SSL_CTX(ssl, ctx) == NULL
            || SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1
            || SSL_set_max_proto_version(ssl, TLS1_3_VERSION) != 1
            || (SSL_set1_groups_list(ssl, "X25519MLKEM768:X25519") != 1
                && SSL_set1_groups_list(ssl, "X25519") != 1))
        {
            goto failed;
        }

        ERR_clear_error();
    }

    if (SSL_set1_verify_cert_store(ssl, ngx_mesh_tls_conf->pair.store) != 1
        || ngx_mesh_tls_alpn(ssl, alpn) != NGX_OK)
    {
        goto failed;
    }

    return NGX_OK;

failed:

    ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "mesh TLS cannot be set up");

    return NGX_ERROR;
}


void
ngx_mesh_tls_when_done(ngx_connection_t *c, void (*handler)(void *data),
    void *data)
{
    ngx_mesh_tls_check_t  *check;

    check = SSL_get_ex_data(c->ssl->connection, ngx_mesh_tls_ssl_index);

    check->done = handler;
    check->data = data;
}


static ngx_int_t
ngx_mesh_tls_alpn(SSL *ssl, const char *alpn)
{
    size_t  len;
    u_char  protos[64], *p;

    len = ngx_strlen(alpn);

    if (sizeof(MESH_ALPN) + 1 + len > sizeof(protos)) {
        return NGX_ERROR;
    }

    p = protos;

    *p++ = sizeof(MESH_ALPN) - 1;
    p = ngx_cpymem(p, MESH_ALPN, sizeof(MESH_ALPN) - 1);
    *p++ = (u_char) len;
    p = ngx_cpymem(p, alpn, len);

    return SSL_set_alpn_protos(ssl, protos, p - protos) == 0 ? NGX_OK
                                                             : NGX_ERROR;
}


static ngx_mesh_tls_check_t *
ngx_mesh_tls_check(SSL *ssl, ngx_connection_t *c)
{
    ngx_mesh_tls_check_t  *check;

    check = SSL_get_ex_data(ssl, ngx_mesh_tls_ssl_index);

    if (check || c->pool == NULL) {
        return check;
    }

    check = ngx_pcalloc(c->pool, sizeof(ngx_mesh_tls_check_t));

    if (check == NULL
        || SSL_set_ex_data(ssl, ngx_mesh_tls_ssl_index, check) != 1)
    {
        return NULL;
    }

    return check;
}


/*
 * Called by OpenSSL for each certificate of the chain, the leaf last, once
 * all signatures and dates have been found good.
 */

int
ngx_mesh_tls_verify(int ok, X509_STORE_CTX *ctx)
{
    SSL                   *ssl;
    const char            *err;
    ngx_str_t              none;
    ngx_connection_t      *c;
    ngx_mesh_tls_check_t  *check;

    ngx_str_set(&none, "any");

    ssl = X509_STORE_CTX_get_ex_data(ctx,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());
    c = ngx_ssl_get_connection(ssl);
    check = ngx_mesh_tls_check(ssl, c);

    if (check == NULL) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }

    check->peer = NULL;

    if (ok && X509_STORE_CTX_get_error_depth(ctx) != 0) {
        return 1;
    }

    err = ok ? ngx_mesh_tls_admit(c, check, ctx)
             : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));

    if (err == NULL) {
        return 1;
    }

    if (ok) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    }

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "mesh peer refused: %s, expected \"%V\"", err,
                  check->expected ? check->expected : &none);

    return 0;
}


/* NULL and check->peer, or why not */

static const char *
ngx_mesh_tls_admit(ngx_connection_t *c, ngx_mesh_tls_check_t *check,
    X509_STORE_CTX *ctx)
{
    char              *text;
    size_t             len;
    ngx_str_t         *own;
    const char        *err;
    mesh_identity_t    id;
    ngx_mesh_peer_t   *peer;

    err = ngx_mesh_tls_cert_id(X509_STORE_CTX_get_current_cert(ctx), &text,
                               &len);
    if (err) {
        return err;
    }

    peer = ngx_pcalloc(c->pool, sizeof(ngx_mesh_peer_t));

    if (peer) {
        peer->id.data = ngx_pnalloc(c->pool, len);
    }

    if (peer == NULL || peer->id.data == NULL) {
        OPENSSL_free(text);
        return "no memory";
    }

    ngx_memcpy(peer->id.data, text, len);
    peer->id.len = len;

    OPENSSL_free(text);

    if (check->expected == NULL && !SSL_is_server(c->ssl->connection)) {
        return "nobody was expected";
    }

    if (check->expected
        && (check->expected->len != len
            || ngx_memcmp(check->expected->data, peer->id.data, len) != 0))
    {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "mesh peer is \"%V\"",
                      &peer->id);
        return "it has another identity";
    }

    own = &ngx_mesh_tls_conf->trust_domain;

    if (mesh_identity_parse((char *) peer->id.data, len, &id) != NULL
        || id.trust_domain_len != own->len
        || ngx_memcmp(id.trust_domain, own->data, own->len) != 0)
    {
        return "it is of another trust domain";
    }

    peer->trust = ngx_mesh_tls_bundle;
    peer->not_after = ngx_mesh_tls_chain_expiry(
                                           X509_STORE_CTX_get0_chain(ctx));

    check->peer = peer;

    return NULL;
}


/* counts each handshake that ends in a fatal alert, once */

void
ngx_mesh_tls_info(const SSL *ssl, int where, int ret)
{
    ngx_connection_t      *c;
    ngx_mesh_tls_check_t  *check;

    if (where & SSL_CB_HANDSHAKE_DONE) {
        check = SSL_get_ex_data(ssl, ngx_mesh_tls_ssl_index);

        if (check && check->done) {
            check->done(check->data);
            check->done = NULL;
        }

        return;
    }

    if (!(where & SSL_CB_ALERT) || (ret >> 8) != SSL3_AL_FATAL) {
        return;
    }

    c = ngx_ssl_get_connection((SSL *) ssl);
    check = ngx_mesh_tls_check((SSL *) ssl, c);

    if (check == NULL || check->refused) {
        return;
    }

    check->refused = 1;
    check->peer = NULL;

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "mesh TLS alert %s: %s",
                  (where & SSL_CB_WRITE) ? "sent" : "received",
                  SSL_alert_desc_string_long(ret));

    ngx_mesh_count(SSL_is_server((SSL *) ssl) ? NGX_MESH_C_tls_refused_server
                                              : NGX_MESH_C_tls_refused_client,
                   1);
}


ngx_uint_t
ngx_mesh_tls_refused(ngx_connection_t *c)
{
    ngx_mesh_tls_check_t  *check;

    if (c == NULL || c->ssl == NULL) {
        return 0;
    }

    check = SSL_get_ex_data(c->ssl->connection, ngx_mesh_tls_ssl_index);

    if (check == NULL) {
        return 0;
    }

    /* what is not TLS at all ends a handshake without an alert */

    if (!check->refused
        && !c->ssl->handshaked
        && (c->read->error || c->read->eof))
    {
        check->refused = 1;
        check->silent = 1;
        ngx_mesh_count(NGX_MESH_C_tls_refused_client, 1);
    }

    return check->refused;
}


ngx_uint_t
ngx_mesh_tls_silent(ngx_connection_t *c)
{
    ngx_mesh_tls_check_t  *check;

    check = SSL_get_ex_data(c->ssl->connection, ngx_mesh_tls_ssl_index);

    return check && check->silent;
}


ngx_mesh_peer_t *
ngx_mesh_tls_peer(ngx_connection_t *c)
{
    ngx_mesh_tls_check_t  *check;

    if (c->ssl == NULL || !c->ssl->handshaked) {
        return NULL;
    }

    check = SSL_get_ex_data(c->ssl->connection, ngx_mesh_tls_ssl_index);

    return check ? check->peer : NULL;
}


ngx_int_t
ngx_mesh_tls_peer_check(ngx_connection_t *c, ngx_mesh_peer_t *peer,
    time_t now, const char **reason)
{
    int              rc, purpose;
    SSL             *ssl;
    X509            *leaf;
    time_t           not_after;

    if (now > peer->not_after) {
        *reason = "peer-expired";
        return NGX_DECLINED;
    }

    if (peer->trust == ngx_mesh_tls_bundle) {
        return NGX_OK;
    }

    ssl = c->ssl->connection;
    leaf = SSL_get1_peer_certificate(ssl);

    purpose = SSL_is_server(ssl) ? X509_PURPOSE_SSL_CLIENT
                                 : X509_PURPOSE_SSL_SERVER;

    rc = leaf ? ngx_mesh_tls_chain_verify(ngx_mesh_tls_conf->pair.store, leaf,
                                          SSL_get_peer_cert_chain(ssl),
                                          purpose, now, &not_after)
              : X509_V_ERR_UNSPECIFIED;

    X509_free(leaf);

    if (rc != X509_V_OK) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "mesh peer \"%V\" no longer trusted: %s", &peer->id,
                      X509_verify_cert_error_string(rc));

        *reason = "peer-untrusted";
        return NGX_DECLINED;
    }

    peer->trust = ngx_mesh_tls_bundle;
    peer->not_after = not_after;

    return NGX_OK;
}
