
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/; -levent_openssl -levent -ljansson -lssl -lcrypto */

/*
 * A server that signs, and in each row does one thing wrong; both ends on
 * one loop.  The real one is in t/identity.
 */

#include <mesh_certify.h>
#include <mesh_httpd.h>
#include <mesh_json.h>
#include <mesh_x509.h>

#include <signal.h>

#include "unit.h"


#define ID      "spiffe://cluster.local/ns/shop/sa/web"
#define SERVER  "spiffe://cluster.local/ns/ngx-mesh/sa/mesh-identity"


typedef struct {
    EVP_PKEY        *key;
    X509            *cert;
    char            *pem;
} ca_t;


static struct event_base  *base;
static mesh_httpd_t       *httpd;
static ca_t                ca, foreign;
static EVP_PKEY           *other_key;
static mesh_err_t          err;

/* what the server does */

static int                 answer_status;
static const char         *answer_body;
static const char         *leaf_id;
static int                 leaf_ttl;
static ca_t               *leaf_ca, *leaf_trust;
static int                 leaf_other_key;
static int                 asked;

/* what came back */

static int                 rc;
static mesh_err_t          failure;
static time_t              not_after;


static char *
pem_of(X509 *cert)
{
    char            *pem;
    STACK_OF(X509)  *one;

    one = sk_X509_new_null();
    (void) sk_X509_push(one, cert);
    pem = mesh_x509_chain_pem_new(one, &err);
    sk_X509_free(one);

    return pem;
}


static X509 *
make(ca_t *from, EVP_PKEY *key, const char *id, int is_ca, int ttl)
{
    mesh_x509_want_t  want;

    memset(&want, 0, sizeof(want));
    want.id = id;
    want.ca = is_ca;
    want.name = is_ca ? "a root" : NULL;
    want.pathlen = -1;
    want.not_before = time(NULL) - 60;
    want.not_after = time(NULL) + ttl;

    return mesh_x509_sign(key, &want, from->cert,
                          from->cert ? from->key : key, &err);
}


static void
ca_make(ca_t *one)
{
    ca_t  none = { NULL, NULL, NULL };

    one->key = mesh_x509_key_new(&err);
    one->cert = make(&none, one->key, NULL, 1, 1000);
    one->pem = pem_of(one->cert);
}


static void
ca_done(ca_t *one)
{
    EVP_PKEY_free(one->key);
    X509_free(one->cert);
    free(one->pem);
}


static void
certificate(mesh_httpd_request_t *r, void *data)
{
    char          id[MESH_X509_ID_MAX + 1], *pem, *text;
    X509         *leaf;
    json_t       *json, *answer;
    size_t        len;
    X509_REQ     *csr;
    const char   *body;
    mesh_json_t   root;

    asked++;

    if (answer_body != NULL) {
        mesh_httpd_answer(r, answer_status, "application/json", answer_body,
                          strlen(answer_body));
        return;
    }

    UNIT_STR(mesh_httpd_header(r, "authorization"), "Bearer a-token");

    body = mesh_httpd_body(r, &len);
    json = mesh_json_parse(body, len, &err);
    mesh_json_root(&root, json);
    (void) mesh_json_string(&root, "csr", &body, &err);
    csr = mesh_x509_csr_parse(body, strlen(body), &err);
    UNIT_EQ(mesh_x509_csr_check(csr, id, &err), MESH_OK);
    UNIT_STR(id, ID);

    leaf = make(leaf_ca, leaf_other_key ? other_key
                                        : X509_REQ_get0_pubkey(csr),
                leaf_id, 0, leaf_ttl);
    pem = pem_of(leaf);
    answer = json_pack("{s:s,s:s}", "chain", pem, "trust", leaf_trust->pem);
    text = json_dumps(answer, 0);
    mesh_httpd_answer(r, 200, "application/json", text, strlen(text));

    free(text);
    free(pem);
    json_decref(answer);
    json_decref(json);
    X509_REQ_free(csr);
    X509_free(leaf);
}


static const mesh_httpd_route_t  routes[] = {
    { "POST", "/v1/certificate", certificate },
    { NULL, NULL, NULL }
};


static SSL_CTX *
context(ca_t *from, const char *id, int ttl)
{
    X509      *cert;
    SSL_CTX   *ctx;
    EVP_PKEY  *key;

    key = mesh_x509_key_new(&err);
    cert = make(from, key, id, 0, ttl);
    ctx = SSL_CTX_new(TLS_server_method());
    (void) SSL_CTX_use_certificate(ctx, cert);
    (void) SSL_CTX_use_PrivateKey(ctx, key);
    X509_free(cert);
    EVP_PKEY_free(key);

    return ctx;
}


static void
serve_as(ca_t *from, const char *id, int ttl)
{
    SSL_CTX  *ctx;

    ctx = context(from, id, ttl);
    mesh_httpd_ssl_set(httpd, ctx);
    SSL_CTX_free(ctx);
}


static void
behave(void)
{
    answer_status = 200;
    answer_body = NULL;
    leaf_id = ID;
    leaf_ttl = 100;
    leaf_ca = &ca;
    leaf_trust = &ca;
    leaf_other_key = 0;
    asked = 0;
}


static void
certified(void *data, int result, const mesh_certified_t *got,
    const mesh_err_t *why)
{
    EVP_PKEY        *key;
    STACK_OF(X509)  *chain;

    rc = result;
    failure.text[0] = '\0';

    if (result == MESH_OK) {
        key = mesh_x509_key_parse(got->key, strlen(got->key), &err);
        chain = mesh_x509_chain_parse(got->chain, strlen(got->chain), 8,
                                      &err);
        UNIT_OK(mesh_x509_fits(sk_X509_value(chain, 0), key));
        UNIT_STR(got->trust, leaf_trust->pem);
        not_after = got->not_after;
        mesh_x509_chain_free(chain);
        EVP_PKEY_free(key);

    } else {
        failure = *why;
    }

    (void) event_base_loopbreak(base);
}


static mesh_certify_t *
start(const char *token)
{
    char                  server[32];
    mesh_certify_conf_t   conf;

    (void) snprintf(server, sizeof(server), "127.0.0.1:%d",
                    mesh_httpd_port(httpd));

    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.server = server;
    conf.server_id = SERVER;
    conf.id = ID;
    conf.token = token;
    conf.trust = ca.pem;
    conf.timeout_ms = 3000;

    rc = MESH_AGAIN;

    return mesh_certify_start(&conf, certified, NULL, &failure);
}


static void
run(void)
{
    struct timeval  tv = { 10, 0 };

    if (start("a-token") == NULL) {
        rc = MESH_AGAIN;
        return;
    }

    (void) event_base_loopexit(base, &tv);
    (void) event_base_dispatch(base);
}


static void
a_good_answer_is_taken(void)
{
    SSL_CTX            *ctx;
    mesh_httpd_conf_t   conf;

    (void) signal(SIGPIPE, SIG_IGN);

    ca_make(&ca);
    ca_make(&foreign);
    other_key = mesh_x509_key_new(&err);
    base = event_base_new();

    ctx = context(&ca, SERVER, 100);
    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.routes = routes;
    conf.ssl = ctx;
    httpd = mesh_httpd_new(&conf, &err);
    SSL_CTX_free(ctx);
    UNIT_NEED(httpd != NULL);
    UNIT_NEED(mesh_httpd_listen(httpd, "127.0.0.1:0", &err) == MESH_OK);

    behave();
    run();
    UNIT_EQ(rc, MESH_OK);
    UNIT_STR(failure.text, "");
    UNIT_OK(not_after > time(NULL) + 80);
    UNIT_EQ(asked, 1);

    /* a rotation: leaf and bundle of a root that we have not seen yet */

    leaf_ca = &foreign;
    leaf_trust = &foreign;
    run();
    UNIT_EQ(rc, MESH_OK);
}


static void
a_wrong_answer_is_refused(void)
{
    size_t  i;

    static const struct {
        int          status;
        const char  *body;
        int          rc;
        const char  *wrong;
    } rows[] = {
        { 403, "{\"error\":\"x\",\"message\":\"not you\"}", MESH_DECLINED,
          "answered 403: not you" },
        { 401, "hello", MESH_DECLINED, "answered 401: Unauthorized" },
        { 429, "{}", MESH_ERROR, "answered 429: Too Many Requests" },
        { 503, "{\"message\":\"later\"}", MESH_ERROR, "503: later" },
        { 204, "", MESH_ERROR, "answered 204" },
        { 200, "hello", MESH_ERROR, "line 1 column" },
        { 200, "{}", MESH_ERROR, "chain is missing" },
        { 200, "{\"chain\":1}", MESH_ERROR, "chain is an integer" },
        { 200, "{\"chain\":\"x\",\"trust\":null}", MESH_ERROR,
          "trust is missing" },
        { 200, "{\"chain\":\"x\",\"trust\":\"y\"}", MESH_ERROR,
          "chain: no certificate in PEM" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        behave();
        answer_status = rows[i].status;
        answer_body = rows[i].body;
        run();
        UNIT_EQ(rc, rows[i].rc);
        UNIT_HAS(failure.text, rows[i].wrong);
    }

    behave();
    leaf_other_key = 1;
    run();
    UNIT_EQ(rc, MESH_ERROR);
    UNIT_HAS(failure.text, "certificate is for another key");

    behave();
    leaf_id = ID "2";
    run();
    UNIT_EQ(rc, MESH_ERROR);
    UNIT_HAS(failure.text, "expected \"" ID "\"");

    behave();
    leaf_trust = &foreign;
    run();
    UNIT_EQ(rc, MESH_ERROR);
    UNIT_HAS(failure.text, "chain does not fit its trust");

    behave();
    leaf_ttl = -10;
    run();
    UNIT_EQ(rc, MESH_ERROR);
    UNIT_HAS(failure.text, "expired");
}


static void
a_wrong_server_gets_no_token(void)
{
    size_t  i;

    const struct {
        ca_t        *from;
        const char  *id;
        int          ttl;
        const char  *wrong;
    } rows[] = {
        { &foreign, SERVER, 100, "is refused: unable to get local issuer" },
        { &ca, ID, 100, "expected \"" SERVER "\"" },
        { &ca, NULL, 100, "has no SAN" },
        { &ca, SERVER, -10, "certificate has expired" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        behave();
        serve_as(rows[i].from, rows[i].id, rows[i].ttl);
        run();
        UNIT_EQ(rc, MESH_ERROR);
        UNIT_HAS(failure.text, rows[i].wrong);
        UNIT_EQ(asked, 0);
    }

    serve_as(&ca, SERVER, 100);
}


static void
a_wrong_token_is_not_sent(void)
{
    size_t  i;

    static const char  *tokens[] = { "", "a\n", "a b", "a\r\nX: y", "\xff" };

    for (i = 0; i < mesh_nelts(tokens); i++) {
        UNIT_OK(start(tokens[i]) == NULL);
        UNIT_HAS(failure.text, "token has");
    }
}


static void
cancelled_ones_are_silent(void)
{
    int              i;
    struct timeval   tv = { 0, 0 };
    mesh_certify_t  *certify;

    behave();

    for (i = 0; i < 6; i++) {
        certify = start("a-token");
        UNIT_NEED(certify != NULL);

        tv.tv_usec = i * 500;
        (void) event_base_loopexit(base, &tv);
        (void) event_base_dispatch(base);

        if (rc == MESH_AGAIN) {           /* else it was quicker */
            mesh_certify_cancel(certify);
            (void) event_base_loop(base, EVLOOP_NONBLOCK);
            UNIT_EQ(rc, MESH_AGAIN);
        }
    }

    mesh_certify_cancel(NULL);

    mesh_httpd_free(httpd);
    event_base_free(base);
    EVP_PKEY_free(other_key);
    ca_done(&ca);
    ca_done(&foreign);
}


UNIT_TESTS = {
    UNIT(a_good_answer_is_taken),
    UNIT(a_wrong_answer_is_refused),
    UNIT(a_wrong_server_gets_no_token),
    UNIT(a_wrong_token_is_not_sent),
    UNIT(cancelled_ones_are_silent),
    UNIT_END
};
