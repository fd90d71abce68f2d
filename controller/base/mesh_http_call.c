
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * One request and its answer.  The request is put together at the start and
 * sent only when the peer's certificate has been checked: a token never goes
 * to a server that is not the one.
 */

#include <mesh_http_call.h>
#include <mesh_addr.h>
#include <mesh_x509.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/dns.h>

#include <openssl/err.h>


#define MESH_HTTP_CALL_HEAD_MAX    16384
#define MESH_HTTP_CALL_BODY_MAX    (1024 * 1024)
#define MESH_HTTP_CALL_TIMEOUT_MS  10000


struct mesh_http_call_s {
    struct bufferevent   *bev;
    struct evdns_base    *dns;
    struct event         *timer;
    struct evbuffer      *request;
    mesh_http_call_pt     handler;
    void                 *data;
    char                 *server;
    char                 *server_id;
    int                   timeout_ms;
    int                   connected;
    int                   in_body;
    size_t                scanned;
    size_t                max_bytes;
    mesh_http_head_t      head;
    mesh_http_body_t      body;
};


static int mesh_http_call_request(mesh_http_call_t *call,
    const mesh_http_call_conf_t *conf, mesh_err_t *err);
static int mesh_http_call_connect(mesh_http_call_t *call,
    const mesh_http_call_conf_t *conf, mesh_err_t *err);
static int mesh_http_call_bev(mesh_http_call_t *call,
    const mesh_http_call_conf_t *conf, mesh_err_t *err);
static void mesh_http_call_readable(struct bufferevent *bev, void *data);
static int mesh_http_call_read_head(mesh_http_call_t *call, mesh_err_t *err);
static void mesh_http_call_event(struct bufferevent *bev, short what,
    void *data);
static int mesh_http_call_check_peer(mesh_http_call_t *call,
    mesh_err_t *err);
static void mesh_http_call_failure(mesh_http_call_t *call, int number,
    mesh_err_t *err);
static void mesh_http_call_timeout(evutil_socket_t fd, short what,
    void *data);
static void mesh_http_call_done(mesh_http_call_t *call, int rc,
    mesh_err_t *err);


mesh_http_call_t *
mesh_http_call_start(const mesh_http_call_conf_t *conf,
    mesh_http_call_pt handler, void *data, mesh_err_t *err)
{
    struct timeval     tv;
    mesh_http_call_t  *call;

    if (conf->ssl != NULL && conf->server_id == NULL) {
        (void) mesh_err(err, "no identity to expect of the server");
        return NULL;
    }

    call = calloc(1, sizeof(mesh_http_call_t));

    if (call == NULL) {
        (void) mesh_err(err, "no memory for a call");
        return NULL;
    }

    call->handler = handler;
    call->data = data;
    call->server = strdup(conf->server);
    call->server_id = (conf->server_id != NULL) ? strdup(conf->server_id)
                                                : NULL;
    call->max_bytes = conf->max_bytes ? conf->max_bytes
                                      : MESH_HTTP_CALL_BODY_MAX;
    call->timeout_ms = conf->timeout_ms ? conf->timeout_ms
                                        : MESH_HTTP_CALL_TIMEOUT_MS;
    call->request = evbuffer_new();
    call->timer = evtimer_new(conf->base, mesh_http_call_timeout, call);

    if (call->server == NULL || call->request == NULL || call->timer == NULL
        || (conf->server_id != NULL && call->server_id == NULL))
    {
        (void) mesh_err(err, "no memory for a call");
        goto failed;
    }

    if (mesh_http_call_request(call, conf, err) != MESH_OK
        || mesh_http_call_connect(call, conf, err) != MESH_OK)
    {
        goto failed;
    }

    tv.tv_sec = call->timeout_ms / 1000;
    tv.tv_usec = call->timeout_ms % 1000 * 1000;

    (void) evtimer_add(call->timer, &tv);

    return call;

failed:

    mesh_http_call_cancel(call);

    return NULL;
}


void
mesh_http_call_cancel(mesh_http_call_t *call)
{
    if (call == NULL) {
        return;
    }

    if (call->bev != NULL) {
        bufferevent_free(call->bev);
    }

    if (call->dns != NULL) {
        evdns_base_free(call->dns, 0);
    }

    if (call->timer != NULL) {
        event_free(call->timer);
    }

    if (call->request != NULL) {
        evbuffer_free(call->request);
    }

    mesh_http_head_done(&call->head);
    mesh_http_body_done(&call->body);
    free(call->server_id);
    free(call->server);
    free(call);
}


static int
mesh_http_call_request(mesh_http_call_t *call,
    const mesh_http_call_conf_t *conf, mesh_err_t *err)
{
    size_t                     i;
    const mesh_http_header_t  *header;

    (void) evbuffer_add_printf(call->request, "%s %s HTTP/1.1\r\n"
                               "Host: %s\r\n"
                               "Connection: close\r\n",
                               conf->method, conf->path, conf->server);

    if (conf->len > 0) {
        (void) evbuffer_add_printf(call->request, "Content-Length: %zu\r\n",
                                   conf->len);
    }

    for (i = 0; i < conf->nheaders; i++) {
        header = &conf->headers[i];

        if (header->value[strcspn(header->value, "\r\n")] != '\0') {
            return mesh_err(err, "header \"%s\" has a line end in its value",
                            header->name);
        }

        (void) evbuffer_add_printf(call->request, "%s: %s\r\n", header->name,
                                   header->value);
    }

    (void) evbuffer_add(call->request, "\r\n", 2);

    if (evbuffer_add(call->request, conf->body, conf->len) != 0) {
        return mesh_err(err, "no memory for a request");
    }

    return MESH_OK;
}


static int
mesh_http_call_connect(mesh_http_call_t *call,
    const mesh_http_call_conf_t *conf, mesh_err_t *err)
{
    int          rc;
    char         host[256];
    uint16_t     port;
    mesh_addr_t  addr;

    if (mesh_addr_split(conf->server, host, sizeof(host), &port, err)
        != MESH_OK
        || mesh_http_call_bev(call, conf, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (mesh_addr_parse(conf->server, &addr, NULL) == MESH_OK) {
        rc = bufferevent_socket_connect(call->bev, &addr.sa, addr.len);

    } else {
        call->dns = evdns_base_new(conf->base,
                                   EVDNS_BASE_INITIALIZE_NAMESERVERS);

        if (call->dns == NULL) {
            return mesh_err(err, "cannot resolve \"%s\": no name servers",
                            host);
        }

        rc = bufferevent_socket_connect_hostname(call->bev, call->dns,
                                                 AF_UNSPEC, host, port);
    }

    if (rc != 0) {
        return mesh_err_sys(err, errno, "connect to \"%s\" failed",
                            conf->server);
    }

    return MESH_OK;
}


static int
mesh_http_call_bev(mesh_http_call_t *call, const mesh_http_call_conf_t *conf,
    mesh_err_t *err)
{
    SSL  *ssl;

    if (conf->ssl != NULL) {
        ssl = SSL_new(conf->ssl);

        if (ssl == NULL) {
            return mesh_x509_err(err, "cannot make a TLS connection");
        }

        call->bev = bufferevent_openssl_socket_new(conf->base, -1, ssl,
                                                   BUFFEREVENT_SSL_CONNECTING,
                                                   BEV_OPT_CLOSE_ON_FREE
                                                   |BEV_OPT_DEFER_CALLBACKS);

        /* without memory for it, libevent has freed ssl or not, by version */

    } else {
        call->bev = bufferevent_socket_new(conf->base, -1,
                                           BEV_OPT_CLOSE_ON_FREE
                                           |BEV_OPT_DEFER_CALLBACKS);
    }

    if (call->bev == NULL) {
        return mesh_err(err, "no memory for a connection");
    }

    bufferevent_setcb(call->bev, mesh_http_call_readable, NULL,
                      mesh_http_call_event, call);

    if (bufferevent_enable(call->bev, EV_READ|EV_WRITE) != 0) {
        return mesh_err(err, "cannot use a connection");
    }

    return MESH_OK;
}


static void
mesh_http_call_event(struct bufferevent *bev, short what, void *data)
{
    int                number;
    mesh_err_t         err;
    mesh_http_call_t  *call = data;

    number = EVUTIL_SOCKET_ERROR();

    if (what & BEV_EVENT_CONNECTED) {
        call->connected = 1;

        if (mesh_http_call_check_peer(call, &err) != MESH_OK) {
            mesh_http_call_done(call, MESH_ERROR, &err);
            return;
        }

        (void) bufferevent_write_buffer(bev, call->request);
        return;
    }

    /* what is read already; this may end the call */

    if (what & BEV_EVENT_EOF) {

        if (call->in_body && call->body.framing == MESH_HTTP_BODY_CLOSE) {
            mesh_http_call_done(call, MESH_OK, NULL);
            return;
        }

        (void) mesh_err(&err, "\"%s\" closed the connection before the end "
                        "of its answer", call->server);
        mesh_http_call_done(call, MESH_ERROR, &err);
        return;
    }

    mesh_http_call_failure(call, number, &err);
    mesh_http_call_done(call, MESH_ERROR, &err);
}


static int
mesh_http_call_check_peer(mesh_http_call_t *call, mesh_err_t *err)
{
    SSL   *ssl;
    X509  *cert;
    char   id[MESH_X509_ID_MAX + 1];

    ssl = bufferevent_openssl_get_ssl(call->bev);

    if (ssl == NULL) {
        return MESH_OK;
    }

    cert = SSL_get0_peer_certificate(ssl);

    if (cert == NULL || SSL_get_verify_result(ssl) != X509_V_OK) {
        return mesh_err(err, "\"%s\" has no certificate that can be trusted",
                        call->server);
    }

    if (mesh_x509_id(cert, id, err) != MESH_OK) {
        return mesh_err_prefix(err, "\"%s\"", call->server);
    }

    if (strcmp(id, call->server_id) != 0) {
        return mesh_err(err, "\"%s\" is \"%.128s\", expected \"%.128s\"",
                        call->server, id, call->server_id);
    }

    return MESH_OK;
}


/* the first of: name, certificate, TLS, socket, that has a reason */

static void
mesh_http_call_failure(mesh_http_call_t *call, int number, mesh_err_t *err)
{
    int             rc;
    SSL            *ssl;
    long            verify;
    const char     *what, *reason;
    unsigned long   code;

    what = call->connected ? "talking to" : "connect to";

    rc = bufferevent_socket_get_dns_error(call->bev);

    if (rc != 0) {
        (void) mesh_err(err, "cannot resolve \"%s\": %s", call->server,
                        evutil_gai_strerror(rc));
        return;
    }

    ssl = bufferevent_openssl_get_ssl(call->bev);
    verify = (ssl != NULL) ? SSL_get_verify_result(ssl) : X509_V_OK;

    if (verify != X509_V_OK) {
        (void) mesh_err(err, "certificate of \"%s\" is refused: %s",
                        call->server, X509_verify_cert_error_string(verify));
        ERR_clear_error();
        return;
    }

    code = (ssl != NULL) ? bufferevent_get_openssl_error(call->bev) : 0;
    reason = (code != 0) ? ERR_reason_error_string(code) : NULL;

    if (reason != NULL) {
        (void) mesh_err(err, "%s \"%s\" failed: %s", what, call->server,
                        reason);

    } else if (number != 0) {
        (void) mesh_err_sys(err, number, "%s \"%s\" failed", what,
                            call->server);

    } else {
        (void) mesh_err(err, "%s \"%s\" failed: connection is closed", what,
                        call->server);
    }

    ERR_clear_error();
}


static void
mesh_http_call_readable(struct bufferevent *bev, void *data)
{
    int                rc;
    size_t             used;
    mesh_err_t         err;
    struct evbuffer   *in;
    mesh_http_call_t  *call = data;

    in = bufferevent_get_input(bev);

    while (!call->in_body) {
        rc = mesh_http_call_read_head(call, &err);

        if (rc == MESH_AGAIN) {
            return;
        }

        if (rc != MESH_OK) {
            (void) mesh_err_prefix(&err, "answer of \"%s\"", call->server);
            mesh_http_call_done(call, MESH_ERROR, &err);
            return;
        }
    }

    rc = mesh_http_body_read(&call->body, (char *) evbuffer_pullup(in, -1),
                             evbuffer_get_length(in), &used, &err);

    if (rc == MESH_ERROR) {
        (void) mesh_err_prefix(&err, "answer of \"%s\"", call->server);
        mesh_http_call_done(call, MESH_ERROR, &err);
        return;
    }

    (void) evbuffer_drain(in, used);

    if (rc == MESH_OK) {
        mesh_http_call_done(call, MESH_OK, NULL);
    }
}


/* MESH_OK also for an interim answer (1xx), which is dropped */

static int
mesh_http_call_read_head(mesh_http_call_t *call, mesh_err_t *err)
{
    char             *text;
    size_t            len, n;
    struct evbuffer  *in;

    in = bufferevent_get_input(call->bev);
    len = evbuffer_get_length(in);

    if (len == 0) {
        return MESH_AGAIN;
    }

    n = mesh_http_head_bytes((char *) evbuffer_pullup(in, -1), len,
                             &call->scanned);

    if (n > MESH_HTTP_CALL_HEAD_MAX
        || (n == 0 && len > MESH_HTTP_CALL_HEAD_MAX))
    {
        return mesh_err(err, "headers are too long");
    }

    if (n == 0) {
        return MESH_AGAIN;
    }

    call->scanned = 0;

    text = malloc(n + 1);

    if (text == NULL) {
        return mesh_err(err, "no memory for headers");
    }

    (void) evbuffer_remove(in, text, n);
    text[n] = '\0';

    if (mesh_http_response_take(&call->head, text, n, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (call->head.status < 200) {
        mesh_http_head_done(&call->head);
        return MESH_OK;
    }

    call->in_body = 1;

    return mesh_http_body_init(&call->body, &call->head, call->max_bytes,
                               err);
}


static void
mesh_http_call_timeout(evutil_socket_t fd, short what, void *data)
{
    mesh_err_t         err;
    mesh_http_call_t  *call = data;

    (void) mesh_err(&err, "%s \"%s\" took more than %d ms",
                    call->connected ? "talking to" : "connect to",
                    call->server, call->timeout_ms);

    mesh_http_call_done(call, MESH_ERROR, &err);
}


static void
mesh_http_call_done(mesh_http_call_t *call, int rc, mesh_err_t *err)
{
    mesh_http_answer_t  answer;

    (void) evtimer_del(call->timer);

    if (rc == MESH_OK) {
        answer.status = call->head.status;
        answer.head = &call->head;
        answer.body = (call->body.data != NULL) ? call->body.data : "";
        answer.len = call->body.len;

        call->handler(call->data, MESH_OK, &answer, NULL);

    } else {
        call->handler(call->data, rc, NULL, err);
    }

    mesh_http_call_cancel(call);
}


SSL_CTX *
mesh_http_call_ssl_new(const char *trust, mesh_err_t *err)
{
    int              i;
    SSL_CTX         *ctx;
    X509_STORE      *store;
    STACK_OF(X509)  *bundle;

    bundle = mesh_x509_chain_parse(trust, strlen(trust), MESH_X509_BUNDLE_MAX,
                                   err);

    if (bundle == NULL) {
        (void) mesh_err_prefix(err, "trust bundle");
        return NULL;
    }

    ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL
        || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1)
    {
        (void) mesh_x509_err(err, "cannot make a TLS context");
        goto failed;
    }

    store = SSL_CTX_get_cert_store(ctx);

    for (i = 0; i < sk_X509_num(bundle); i++) {

        if (X509_STORE_add_cert(store, sk_X509_value(bundle, i)) != 1) {
            (void) mesh_x509_err(err, "cannot use the trust bundle");
            goto failed;
        }
    }

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);

    mesh_x509_chain_free(bundle);

    return ctx;

failed:

    mesh_x509_chain_free(bundle);
    SSL_CTX_free(ctx);

    return NULL;
}
