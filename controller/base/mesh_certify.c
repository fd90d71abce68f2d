
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Getting a certificate: the request goes out over a connection that the
 * bundle in hand verifies, so what comes back may name a new bundle.  The
 * chain is checked against the new one: during a rotation the issuer may
 * already hang on a root that the old bundle does not have.
 */

#include <mesh_certify.h>
#include <mesh_http_call.h>
#include <mesh_json.h>
#include <mesh_x509.h>


#define MESH_CERTIFY_PATH        "/v1/certificate"
#define MESH_CERTIFY_TOKEN_MAX   8192
#define MESH_CERTIFY_ANSWER_MAX  (256 * 1024)


struct mesh_certify_s {
    mesh_http_call_t  *call;
    mesh_certify_pt    handler;
    void              *data;
    EVP_PKEY          *key;
    char              *key_pem;
    char              *server;
    char              *id;
};


static int mesh_certify_token_check(const char *token, mesh_err_t *err);
static char *mesh_certify_body_new(mesh_certify_t *certify, mesh_err_t *err);
static int mesh_certify_send(mesh_certify_t *certify,
    const mesh_certify_conf_t *conf, const char *body, mesh_err_t *err);
static void mesh_certify_answered(void *data, int rc,
    const mesh_http_answer_t *answer, const mesh_err_t *failure);
static int mesh_certify_refused(mesh_certify_t *certify,
    const mesh_http_answer_t *answer, mesh_err_t *err);
static int mesh_certify_read(mesh_certify_t *certify, json_t *json,
    mesh_certified_t *got, mesh_err_t *err);
static int mesh_certify_verify(mesh_certify_t *certify,
    mesh_certified_t *got, time_t now, mesh_err_t *err);
static int mesh_certify_verify_leaf(mesh_certify_t *certify, X509 *leaf,
    mesh_certified_t *got, mesh_err_t *err);


mesh_certify_t *
mesh_certify_start(const mesh_certify_conf_t *conf, mesh_certify_pt handler,
    void *data, mesh_err_t *err)
{
    int              rc;
    char            *body;
    mesh_certify_t  *certify;

    if (mesh_certify_token_check(conf->token, err) != MESH_OK) {
        return NULL;
    }

    certify = calloc(1, sizeof(mesh_certify_t));

    if (certify == NULL) {
        (void) mesh_err(err, "no memory for a certificate request");
        return NULL;
    }

    certify->handler = handler;
    certify->data = data;
    certify->server = strdup(conf->server);
    certify->id = strdup(conf->id);
    certify->key = mesh_x509_key_new(err);

    if (certify->key == NULL) {
        goto failed;
    }

    if (certify->server == NULL || certify->id == NULL) {
        (void) mesh_err(err, "no memory for a certificate request");
        goto failed;
    }

    certify->key_pem = mesh_x509_key_pem_new(certify->key, err);
    body = (certify->key_pem != NULL) ? mesh_certify_body_new(certify, err)
                                      : NULL;
    if (body == NULL) {
        goto failed;
    }

    rc = mesh_certify_send(certify, conf, body, err);

    free(body);

    if (rc != MESH_OK) {
        goto failed;
    }

    return certify;

failed:

    mesh_certify_cancel(certify);

    return NULL;
}


void
mesh_certify_cancel(mesh_certify_t *certify)
{
    if (certify == NULL) {
        return;
    }

    mesh_http_call_cancel(certify->call);
    EVP_PKEY_free(certify->key);
    mesh_x509_pem_free(certify->key_pem);
    free(certify->server);
    free(certify->id);
    free(certify);
}


static int
mesh_certify_token_check(const char *token, mesh_err_t *err)
{
    size_t       len;
    const char  *p;

    len = strlen(token);

    if (len == 0 || len > MESH_CERTIFY_TOKEN_MAX) {
        return mesh_err(err, "token has %zu bytes, expected 1 .. %d", len,
                        MESH_CERTIFY_TOKEN_MAX);
    }

    for (p = token; *p; p++) {

        if (*p <= 0x20 || *p >= 0x7f) {
            return mesh_err(err, "token has a character that no token has");
        }
    }

    return MESH_OK;
}


static char *
mesh_certify_body_new(mesh_certify_t *certify, mesh_err_t *err)
{
    char    *csr, *body;
    json_t  *json;

    csr = mesh_x509_csr_new(certify->key, certify->id, err);

    if (csr == NULL) {
        return NULL;
    }

    body = NULL;
    json = json_pack("{s:s}", "csr", csr);

    if (json != NULL) {
        body = json_dumps(json, JSON_COMPACT);
        json_decref(json);
    }

    if (body == NULL) {
        (void) mesh_err(err, "cannot write the request as JSON");
    }

    free(csr);

    return body;
}


static int
mesh_certify_send(mesh_certify_t *certify, const mesh_certify_conf_t *conf,
    const char *body, mesh_err_t *err)
{
    char                   bearer[MESH_CERTIFY_TOKEN_MAX + 8];
    SSL_CTX               *ssl;
    mesh_http_header_t     headers[2];
    mesh_http_call_conf_t  call;

    ssl = mesh_http_call_ssl_new(conf->trust, err);

    if (ssl == NULL) {
        return MESH_ERROR;
    }

    (void) snprintf(bearer, sizeof(bearer), "Bearer %s", conf->token);

    headers[0].name = "Authorization";
    headers[0].value = bearer;
    headers[1].name = "Content-Type";
    headers[1].value = "application/json";

    memset(&call, 0, sizeof(call));
    call.base = conf->base;
    call.server = conf->server;
    call.ssl = ssl;
    call.server_id = conf->server_id;
    call.method = "POST";
    call.path = MESH_CERTIFY_PATH;
    call.headers = headers;
    call.nheaders = mesh_nelts(headers);
    call.body = body;
    call.len = strlen(body);
    call.max_bytes = MESH_CERTIFY_ANSWER_MAX;
    call.timeout_ms = conf->timeout_ms;

    certify->call = mesh_http_call_start(&call, mesh_certify_answered,
                                         certify, err);

    OPENSSL_cleanse(bearer, sizeof(bearer));
    SSL_CTX_free(ssl);

    return (certify->call != NULL) ? MESH_OK : MESH_ERROR;
}


static void
mesh_certify_answered(void *data, int rc, const mesh_http_answer_t *answer,
    const mesh_err_t *failure)
{
    json_t            *json;
    mesh_err_t         err;
    mesh_certify_t    *certify = data;
    mesh_certified_t   got;

    certify->call = NULL;                 /* frees itself after this */

    if (rc != MESH_OK) {
        certify->handler(certify->data, MESH_ERROR, NULL, failure);
        mesh_certify_cancel(certify);
        return;
    }

    json = NULL;

    if (answer->status != 200) {
        rc = mesh_certify_refused(certify, answer, &err);
        goto done;
    }

    json = mesh_json_parse(answer->body, answer->len, &err);

    if (json == NULL) {
        rc = mesh_err_prefix(&err, "answer of \"%s\"", certify->server);
        goto done;
    }

    memset(&got, 0, sizeof(got));
    got.key = certify->key_pem;

    rc = mesh_certify_read(certify, json, &got, &err);

    if (rc == MESH_OK) {
        rc = mesh_certify_verify(certify, &got, time(NULL), &err);
    }

    if (rc != MESH_OK) {
        (void) mesh_err_prefix(&err, "answer of \"%s\"", certify->server);
    }

done:

    certify->handler(certify->data, rc, rc == MESH_OK ? &got : NULL,
                     rc == MESH_OK ? NULL : &err);

    json_decref(json);
    mesh_certify_cancel(certify);
}


/* 4xx: ours to mend, but for 429; the rest passes by itself */

static int
mesh_certify_refused(mesh_certify_t *certify,
    const mesh_http_answer_t *answer, mesh_err_t *err)
{
    json_t       *json;
    const char   *message;
    mesh_json_t   root;

    message = NULL;
    json = mesh_json_parse(answer->body, answer->len, NULL);

    if (json != NULL) {
        mesh_json_root(&root, json);
        (void) mesh_json_string(&root, "message", &message, NULL);
    }

    (void) mesh_err(err, "\"%s\" answered %d: %.256s", certify->server,
                    answer->status,
                    message != NULL ? message
                                    : mesh_http_reason(answer->status));
    json_decref(json);

    return (answer->status >= 400 && answer->status < 500
            && answer->status != 408 && answer->status != 429)
           ? MESH_DECLINED : MESH_ERROR;
}


static int
mesh_certify_read(mesh_certify_t *certify, json_t *json,
    mesh_certified_t *got, mesh_err_t *err)
{
    mesh_json_t  root;

    mesh_json_root(&root, json);

    if (mesh_json_string(&root, "chain", &got->chain, err) != MESH_OK) {
        return mesh_json_missing(&root, "chain", err);
    }

    if (mesh_json_string(&root, "trust", &got->trust, err) != MESH_OK) {
        return mesh_json_missing(&root, "trust", err);
    }

    return MESH_OK;
}


static int
mesh_certify_verify(mesh_certify_t *certify, mesh_certified_t *got,
    time_t now, mesh_err_t *err)
{
    int              rc;
    STACK_OF(X509)  *chain, *bundle;

    rc = MESH_ERROR;
    bundle = NULL;

    chain = mesh_x509_chain_parse(got->chain, strlen(got->chain),
                                  MESH_X509_CHAIN_MAX, err);
    if (chain == NULL) {
        (void) mesh_err_prefix(err, "chain");
        goto done;
    }

    bundle = mesh_x509_chain_parse(got->trust, strlen(got->trust),
                                   MESH_X509_BUNDLE_MAX, err);
    if (bundle == NULL) {
        (void) mesh_err_prefix(err, "trust");
        goto done;
    }

    if (mesh_certify_verify_leaf(certify, sk_X509_value(chain, 0), got, err)
        != MESH_OK)
    {
        goto done;
    }

    /* a certificate serves both ways: it must be good for both */

    if (mesh_x509_verify(chain, bundle, now, MESH_X509_SERVER, err)
        != MESH_OK
        || mesh_x509_verify(chain, bundle, now, MESH_X509_CLIENT, err)
           != MESH_OK)
    {
        (void) mesh_err_prefix(err, "chain does not fit its trust");
        goto done;
    }

    rc = MESH_OK;

done:

    mesh_x509_chain_free(chain);
    mesh_x509_chain_free(bundle);

    return rc;
}


static int
mesh_certify_verify_leaf(mesh_certify_t *certify, X509 *leaf,
    mesh_certified_t *got, mesh_err_t *err)
{
    char  id[MESH_X509_ID_MAX + 1];

    if (!mesh_x509_fits(leaf, certify->key)) {
        return mesh_err(err, "certificate is for another key");
    }

    if (mesh_x509_id(leaf, id, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (strcmp(id, certify->id) != 0) {
        return mesh_err(err, "certificate is for \"%.128s\", expected "
                        "\"%.128s\"", id, certify->id);
    }

    if (mesh_x509_times(leaf, &got->not_before, &got->not_after) != MESH_OK) {
        return mesh_err(err, "certificate has dates that cannot be read");
    }

    return MESH_OK;
}
