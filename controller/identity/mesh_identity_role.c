
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * `meshd identity`: the CA over HTTPS.  Its own certificate comes from its
 * own issuer, so a new issuer makes a new context for the connections to
 * come; those that are open finish with what they have.
 */

#include <mesh_core.h>
#include <mesh_log.h>
#include <mesh_opt.h>
#include <mesh_httpd.h>
#include <mesh_watch_file.h>

#include <mesh_identity.h>
#include <mesh_names.h>

#include <mesh_identity_role.h>
#include <mesh_identity_serve.h>

#include <signal.h>
#include <event2/event.h>


#define MESH_IDENTITY_BODY_MAX   16384
#define MESH_IDENTITY_LOOK_MS    250      /* at the files */
#define MESH_IDENTITY_SIGNALS    3


typedef struct {
    mesh_opt_list_t          listen;
    const char              *ca_dir;
    const char              *issuer_cert;
    const char              *issuer_key;
    const char              *trust;
    const char              *token_file;
    const char              *trust_domain;
    const char              *log_level;
    int64_t                  leaf_ttl;
    int64_t                  connections;
    int64_t                  request_timeout;
} mesh_identity_conf_t;


typedef struct {
    mesh_identity_conf_t     conf;
    mesh_identity_serve_t    serve;
    char                     server_id[256];
    struct event_base       *base;
    mesh_httpd_t            *httpd;
    mesh_watch_file_t       *issuer_files;
    mesh_watch_file_t       *token_files;
    struct event            *tick;
    struct event            *signals[MESH_IDENTITY_SIGNALS];
    int                      issuer_changed;   /* files differ, not read */
    int                      tokens_changed;
    time_t                   server_renew;     /* our own certificate */
} mesh_identity_role_t;


static int mesh_identity_options(mesh_identity_role_t *role, int argc,
    char **argv);
static int mesh_identity_options_check(mesh_identity_role_t *role,
    mesh_err_t *err);
static int mesh_identity_start(mesh_identity_role_t *role, mesh_err_t *err);
static int mesh_identity_start_issuer(mesh_identity_role_t *role,
    mesh_err_t *err);
static int mesh_identity_start_httpd(mesh_identity_role_t *role,
    mesh_err_t *err);
static int mesh_identity_start_events(mesh_identity_role_t *role,
    mesh_err_t *err);
static void mesh_identity_stop(mesh_identity_role_t *role);
static SSL_CTX *mesh_identity_ssl_new(mesh_identity_role_t *role, time_t now,
    mesh_err_t *err);
static int mesh_identity_ssl_use(SSL_CTX *ctx, EVP_PKEY *key,
    STACK_OF(X509) *chain, mesh_err_t *err);
static void mesh_identity_ssl_renew(mesh_identity_role_t *role, time_t now);
static void mesh_identity_issuer_changed(void *data);
static void mesh_identity_tokens_changed(void *data);
static void mesh_identity_tick(evutil_socket_t fd, short what, void *data);
static void mesh_identity_issuer_reload(mesh_identity_role_t *role,
    time_t now);
static void mesh_identity_tokens_reload(mesh_identity_role_t *role);
static void mesh_identity_signal(evutil_socket_t number, short what,
    void *data);


static const mesh_opt_t  mesh_identity_opts[] = {

    { "listen", "ADDR:PORT", MESH_OPT_LIST, 0,
      offsetof(mesh_identity_conf_t, listen), "0.0.0.0:8443 [::]:8443", 0, 0,
      "where to serve HTTPS; may be given several times" },

    { "ca-dir", "DIR", MESH_OPT_STRING, 0,
      offsetof(mesh_identity_conf_t, ca_dir), NULL, 0, 0,
      "directory of the CA; root, issuer and bundle are made on first run" },

    { "issuer-cert", "FILE", MESH_OPT_STRING, 0,
      offsetof(mesh_identity_conf_t, issuer_cert), NULL, 0, 0,
      "instead of --ca-dir: certificate of the issuer, PEM; followed" },

    { "issuer-key", "FILE", MESH_OPT_STRING, 0,
      offsetof(mesh_identity_conf_t, issuer_key), NULL, 0, 0,
      "with --issuer-cert: its key, PEM; followed" },

    { "trust", "FILE", MESH_OPT_STRING, 0,
      offsetof(mesh_identity_conf_t, trust), NULL, 0, 0,
      "with --issuer-cert: the trust bundle, PEM; followed" },

    { "token-file", "FILE", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_identity_conf_t, token_file), NULL, 0, 0,
      "tokens: token,user,uid,\"groups\" a line; followed" },

    { "trust-domain", "NAME", MESH_OPT_STRING, 0,
      offsetof(mesh_identity_conf_t, trust_domain), MESH_TRUST_DOMAIN, 0, 0,
      "trust domain of all identities" },

    { "leaf-ttl", "SECONDS", MESH_OPT_NUMBER, 0,
      offsetof(mesh_identity_conf_t, leaf_ttl), "86400", 2, 31536000,
      "life of a certificate" },

    { "connections", "NUMBER", MESH_OPT_NUMBER, 0,
      offsetof(mesh_identity_conf_t, connections), "512", 1, 65536,
      "connections at one time" },

    { "request-timeout", "SECONDS", MESH_OPT_NUMBER, 0,
      offsetof(mesh_identity_conf_t, request_timeout), "10", 1, 3600,
      "for the handshake, and from the first to the last byte of a request" },

    { "log-level", MESH_LOG_LEVELS, MESH_OPT_CHOICE, 0,
      offsetof(mesh_identity_conf_t, log_level), "notice", 0, 0,
      "what is logged" },

    MESH_OPT_END
};


int
mesh_identity_role(int argc, char **argv)
{
    int                    rc;
    mesh_err_t             err;
    mesh_identity_role_t   role;

    memset(&role, 0, sizeof(role));

    rc = mesh_identity_options(&role, argc, argv);

    if (rc != MESH_OK) {
        return (rc == MESH_DONE) ? 0 : 2;
    }

    if (mesh_identity_start(&role, &err) != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        mesh_identity_stop(&role);
        return 1;
    }

    rc = event_base_dispatch(role.base);

    mesh_log(MESH_LOG_NOTICE, 0, "exit");
    mesh_identity_stop(&role);

    return (rc == -1) ? 1 : 0;
}


static int
mesh_identity_options(mesh_identity_role_t *role, int argc, char **argv)
{
    int         rc;
    mesh_err_t  err;

    rc = mesh_opt_parse(mesh_identity_opts, argc, argv, &role->conf, NULL,
                        &err);

    if (rc == MESH_DONE) {
        mesh_opt_usage(stdout, mesh_identity_opts, "meshd identity");
        return MESH_DONE;
    }

    if (rc == MESH_OK) {
        rc = mesh_identity_options_check(role, &err);
    }

    if (rc != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        return MESH_ERROR;
    }

    mesh_log_init("meshd", mesh_log_level(role->conf.log_level));

    return MESH_OK;
}


static int
mesh_identity_options_check(mesh_identity_role_t *role, mesh_err_t *err)
{
    int                    n;
    const char            *wrong;
    mesh_identity_t        id;
    mesh_identity_conf_t  *conf;

    conf = &role->conf;

    n = (conf->issuer_cert != NULL) + (conf->issuer_key != NULL)
        + (conf->trust != NULL);

    if ((conf->ca_dir == NULL && n != 3) || (conf->ca_dir != NULL && n != 0))
    {
        return mesh_err(err, "expected either --ca-dir=DIR or all of "
                        "--issuer-cert=FILE --issuer-key=FILE --trust=FILE");
    }

    n = snprintf(role->server_id, sizeof(role->server_id),
                 "spiffe://%s/ns/%s/sa/%s", conf->trust_domain,
                 MESH_SYSTEM_NAMESPACE, MESH_SA_IDENTITY);

    wrong = ((size_t) n >= sizeof(role->server_id))
            ? "is too long"
            : mesh_identity_parse(role->server_id, n, &id);

    if (wrong != NULL || strchr(conf->trust_domain, '/') != NULL) {
        return mesh_err(err, "option --trust-domain is \"%.64s\", expected "
                        "the trust domain of a SPIFFE ID%s%s",
                        conf->trust_domain, wrong ? ": it " : "",
                        wrong ? wrong : "");
    }

    return MESH_OK;
}


static int
mesh_identity_start(mesh_identity_role_t *role, mesh_err_t *err)
{
    (void) signal(SIGPIPE, SIG_IGN);

    role->serve.trust_domain = role->conf.trust_domain;
    role->base = event_base_new();

    if (role->base == NULL) {
        return mesh_err(err, "cannot make an event loop");
    }

    role->serve.tokens = mesh_token_new(role->conf.token_file, err);

    if (role->serve.tokens == NULL
        || mesh_identity_start_issuer(role, err) != MESH_OK
        || mesh_identity_start_events(role, err) != MESH_OK
        || mesh_identity_start_httpd(role, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    return MESH_OK;
}


static int
mesh_identity_start_issuer(mesh_identity_role_t *role, mesh_err_t *err)
{
    char                 text[256];
    mesh_issuer_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.ca_dir = role->conf.ca_dir;
    conf.cert = role->conf.issuer_cert;
    conf.key = role->conf.issuer_key;
    conf.trust = role->conf.trust;
    conf.trust_domain = role->conf.trust_domain;
    conf.server_id = role->server_id;
    conf.leaf_ttl = role->conf.leaf_ttl;

    role->serve.issuer = mesh_issuer_new(&conf, time(NULL), err);

    if (role->serve.issuer == NULL) {
        return MESH_ERROR;
    }

    mesh_issuer_describe(role->serve.issuer, text, sizeof(text));
    mesh_log(MESH_LOG_NOTICE, 0, "using %s, %zu tokens", text,
             mesh_token_count(role->serve.tokens));

    return MESH_OK;
}


static int
mesh_identity_start_httpd(mesh_identity_role_t *role, mesh_err_t *err)
{
    size_t              i;
    SSL_CTX            *ssl;
    const char         *address;
    mesh_httpd_conf_t   conf;

    ssl = mesh_identity_ssl_new(role, time(NULL), err);

    if (ssl == NULL) {
        return MESH_ERROR;
    }

    memset(&conf, 0, sizeof(conf));
    conf.base = role->base;
    conf.ssl = ssl;
    conf.routes = mesh_identity_routes;
    conf.refused = mesh_identity_refused;
    conf.data = &role->serve;
    conf.body_max_bytes = MESH_IDENTITY_BODY_MAX;
    conf.connections_max = (int) role->conf.connections;
    conf.request_ms = (int) role->conf.request_timeout * 1000;

    role->httpd = mesh_httpd_new(&conf, err);

    SSL_CTX_free(ssl);                    /* the server has its reference */

    if (role->httpd == NULL) {
        return MESH_ERROR;
    }

    for (i = 0; i < role->conf.listen.n; i++) {
        address = role->conf.listen.value[i];

        if (mesh_httpd_listen(role->httpd, address, err) != MESH_OK) {
            return MESH_ERROR;
        }

        mesh_log(MESH_LOG_NOTICE, 0, "listening on %s, port %d", address,
                 mesh_httpd_port(role->httpd));
    }

    return MESH_OK;
}


static int
mesh_identity_start_events(mesh_identity_role_t *role, mesh_err_t *err)
{
    size_t           i;
    struct timeval   tv = { 0, MESH_IDENTITY_LOOK_MS * 1000 };

    static const int  numbers[MESH_IDENTITY_SIGNALS] = {
        SIGTERM, SIGINT, SIGHUP
    };

    role->issuer_files = mesh_watch_file_new(role->base,
                                     mesh_issuer_paths(role->serve.issuer),
                                     MESH_ISSUER_FILES, MESH_IDENTITY_LOOK_MS,
                                     mesh_identity_issuer_changed, role, err);

    role->token_files = mesh_watch_file_new(role->base,
                                     &role->conf.token_file, 1,
                                     MESH_IDENTITY_LOOK_MS,
                                     mesh_identity_tokens_changed, role, err);

    if (role->issuer_files == NULL || role->token_files == NULL) {
        return MESH_ERROR;
    }

    for (i = 0; i < MESH_IDENTITY_SIGNALS; i++) {
        role->signals[i] = evsignal_new(role->base, numbers[i],
                                        mesh_identity_signal, role);

        if (role->signals[i] == NULL
            || event_add(role->signals[i], NULL) != 0)
        {
            return mesh_err(err, "cannot handle signals");
        }
    }

    role->tick = event_new(role->base, -1, EV_PERSIST, mesh_identity_tick,
                           role);

    if (role->tick == NULL || event_add(role->tick, &tv) != 0) {
        return mesh_err(err, "cannot make a timer");
    }

    return MESH_OK;
}


static void
mesh_identity_stop(mesh_identity_role_t *role)
{
    size_t  i;

    mesh_httpd_free(role->httpd);
    mesh_watch_file_free(role->issuer_files);
    mesh_watch_file_free(role->token_files);

    for (i = 0; i < MESH_IDENTITY_SIGNALS; i++) {

        if (role->signals[i] != NULL) {
            event_free(role->signals[i]);
        }
    }

    if (role->tick != NULL) {
        event_free(role->tick);
    }

    mesh_issuer_free(role->serve.issuer);
    mesh_token_free(role->serve.tokens);

    if (role->base != NULL) {
        event_base_free(role->base);
    }
}


static SSL_CTX *
mesh_identity_ssl_new(mesh_identity_role_t *role, time_t now, mesh_err_t *err)
{
    int              rc;
    SSL_CTX         *ctx;
    EVP_PKEY        *key;
    mesh_issued_t    issued;
    STACK_OF(X509)  *chain;

    ctx = NULL;
    chain = NULL;
    memset(&issued, 0, sizeof(issued));

    key = mesh_x509_key_new(err);

    if (key == NULL
        || mesh_issuer_sign(role->serve.issuer, key, role->server_id, NULL,
                            now, &issued, err)
           != MESH_OK)
    {
        goto done;
    }

    chain = mesh_x509_chain_parse(issued.chain, strlen(issued.chain),
                                  MESH_X509_CHAIN_MAX, err);
    if (chain == NULL) {
        goto done;
    }

    ctx = SSL_CTX_new(TLS_server_method());

    rc = (ctx != NULL) ? mesh_identity_ssl_use(ctx, key, chain, err)
                       : mesh_x509_err(err, "no memory for TLS");

    if (rc != MESH_OK) {
        SSL_CTX_free(ctx);
        ctx = NULL;
        goto done;
    }

    role->server_renew = now + (issued.not_after - now) * 7 / 10;

done:

    free(issued.chain);
    mesh_x509_chain_free(chain);
    EVP_PKEY_free(key);

    return ctx;
}


static int
mesh_identity_ssl_use(SSL_CTX *ctx, EVP_PKEY *key, STACK_OF(X509) *chain,
    mesh_err_t *err)
{
    int  i;

    /* no tickets, no cache: a session must not outlive its certificate */

    (void) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    (void) SSL_CTX_set_num_tickets(ctx, 0);
    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void) SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);

    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) != 1
        || SSL_CTX_use_PrivateKey(ctx, key) != 1)
    {
        return mesh_x509_err(err, "cannot use our own certificate");
    }

    for (i = 1; i < sk_X509_num(chain); i++) {

        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1) {
            return mesh_x509_err(err, "cannot use our own chain");
        }
    }

    return MESH_OK;
}


static void
mesh_identity_ssl_renew(mesh_identity_role_t *role, time_t now)
{
    SSL_CTX     *ssl;
    mesh_err_t   err;

    ssl = mesh_identity_ssl_new(role, now, &err);

    if (ssl == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "no new certificate for ourselves: %s",
                 err.text);
        role->server_renew = now + 10;
        return;
    }

    mesh_httpd_ssl_set(role->httpd, ssl);
    SSL_CTX_free(ssl);
}


static void
mesh_identity_issuer_changed(void *data)
{
    mesh_identity_role_t  *role = data;

    role->issuer_changed = 2;
}


static void
mesh_identity_tokens_changed(void *data)
{
    mesh_identity_role_t  *role = data;

    role->tokens_changed = 2;
}


/*
 * Files are read one quiet tick after they changed: issuer, key and bundle
 * are replaced one after another, and between two of them nothing fits.
 */

static void
mesh_identity_tick(evutil_socket_t fd, short what, void *data)
{
    int                    rc;
    time_t                 now;
    mesh_err_t             err;
    mesh_identity_role_t  *role = data;

    now = time(NULL);

    if (role->tokens_changed > 0 && --role->tokens_changed == 0) {
        mesh_identity_tokens_reload(role);
    }

    if (role->issuer_changed > 0 && --role->issuer_changed == 0) {
        mesh_identity_issuer_reload(role, now);
    }

    if (now < role->server_renew) {
        return;
    }

    /* what we renew in the directory comes back as a changed file */

    rc = mesh_issuer_renew(role->serve.issuer, now, &err);

    if (rc == MESH_ERROR) {
        mesh_log(MESH_LOG_ERROR, 0, "no new certificate for the issuer: %s",
                 err.text);
    }

    mesh_identity_ssl_renew(role, now);
}


static void
mesh_identity_issuer_reload(mesh_identity_role_t *role, time_t now)
{
    int         changed;
    char        text[256];
    mesh_err_t  err;

    if (mesh_issuer_reload(role->serve.issuer, now, &changed, &err)
        != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "new issuer or bundle refused, the old "
                 "one stays: %s", err.text);
    }

    if (changed == 0) {
        return;
    }

    mesh_issuer_describe(role->serve.issuer, text, sizeof(text));
    mesh_log(MESH_LOG_NOTICE, 0, "new%s%s: using %s",
             changed & MESH_ISSUER_NEW_PAIR ? " issuer" : "",
             changed & MESH_ISSUER_NEW_TRUST ? " bundle" : "", text);

    if (changed & MESH_ISSUER_NEW_PAIR) {
        mesh_identity_ssl_renew(role, now);
    }
}


static void
mesh_identity_tokens_reload(mesh_identity_role_t *role)
{
    mesh_err_t  err;

    if (mesh_token_reload(role->serve.tokens, &err) != MESH_OK) {
        mesh_log(MESH_LOG_ERROR, 0, "new tokens refused, the old ones stay: "
                 "%s", err.text);
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "using %zu tokens",
             mesh_token_count(role->serve.tokens));
}


static void
mesh_identity_signal(evutil_socket_t number, short what, void *data)
{
    mesh_identity_role_t  *role = data;

    if (number == SIGHUP) {
        mesh_identity_tokens_reload(role);
        mesh_identity_issuer_reload(role, time(NULL));
        return;
    }

    (void) event_base_loopbreak(role->base);
}
