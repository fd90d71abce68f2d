
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * One connection: a state machine.  At any moment exactly one timer runs,
 * except while a handler thinks, so no state can last for ever.
 */

#include <mesh_httpd.h>
#include <mesh_httpd_conn.h>

#include <sys/socket.h>

#include <event2/bufferevent_ssl.h>


#define MESH_HTTPD_LINGER_MS   2000


static void mesh_httpd_request_done(mesh_httpd_request_t *r);
static void mesh_httpd_state(mesh_httpd_conn_t *c, int state);
static void mesh_httpd_timeout(evutil_socket_t fd, short what, void *data);
static void mesh_httpd_readable(struct bufferevent *bev, void *data);
static void mesh_httpd_written(struct bufferevent *bev, void *data);
static void mesh_httpd_event(struct bufferevent *bev, short what, void *data);
static void mesh_httpd_read(mesh_httpd_conn_t *c);
static int mesh_httpd_read_head(mesh_httpd_conn_t *c);
static int mesh_httpd_read_body(mesh_httpd_conn_t *c);
static void mesh_httpd_route(mesh_httpd_conn_t *c);
static void mesh_httpd_refuse(mesh_httpd_conn_t *c, int status,
    const char *text);
static void mesh_httpd_linger(mesh_httpd_conn_t *c);


mesh_httpd_conn_t *
mesh_httpd_conn_new(mesh_httpd_t *httpd, evutil_socket_t fd)
{
    SSL                *ssl;
    mesh_httpd_conn_t  *c;

    c = calloc(1, sizeof(mesh_httpd_conn_t));

    if (c == NULL) {
        (void) close(fd);
        return NULL;
    }

    c->httpd = httpd;
    TAILQ_INSERT_TAIL(&httpd->conns, c, link);
    httpd->nconns++;

    if (httpd->conf.ssl != NULL) {
        ssl = SSL_new(httpd->conf.ssl);

        if (ssl != NULL) {
            c->bev = bufferevent_openssl_socket_new(httpd->conf.base, fd, ssl,
                                        BUFFEREVENT_SSL_ACCEPTING,
                                        BEV_OPT_CLOSE_ON_FREE
                                        |BEV_OPT_DEFER_CALLBACKS);
        }

        /* without memory for it, libevent has freed ssl or not, by version */

    } else {
        c->bev = bufferevent_socket_new(httpd->conf.base, fd,
                                        BEV_OPT_CLOSE_ON_FREE
                                        |BEV_OPT_DEFER_CALLBACKS);
    }

    if (c->bev == NULL) {
        (void) close(fd);
        goto failed;
    }

    c->timer = evtimer_new(httpd->conf.base, mesh_httpd_timeout, c);

    if (c->timer == NULL) {
        goto failed;
    }

    bufferevent_setcb(c->bev, mesh_httpd_readable, mesh_httpd_written,
                      mesh_httpd_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0,
                             httpd->conf.head_max_bytes + 4096);

    mesh_httpd_state(c, httpd->conf.ssl != NULL ? MESH_HTTPD_HANDSHAKE
                                                : MESH_HTTPD_IDLE);

    if (bufferevent_enable(c->bev, EV_READ|EV_WRITE) != 0) {
        goto failed;
    }

    return c;

failed:

    mesh_httpd_conn_close(c);

    return NULL;
}


void
mesh_httpd_conn_close(mesh_httpd_conn_t *c)
{
    mesh_httpd_t  *httpd;

    httpd = c->httpd;

    if (c->state == MESH_HTTPD_HANDLER && c->request.on_close != NULL) {
        c->request.on_close(c->request.on_close_data);
    }

    mesh_httpd_request_done(&c->request);

    if (c->timer != NULL) {
        event_free(c->timer);
    }

    if (c->bev != NULL) {
        bufferevent_free(c->bev);
    }

    TAILQ_REMOVE(&httpd->conns, c, link);
    httpd->nconns--;
    free(c);

    mesh_httpd_unpause(httpd);
}


static void
mesh_httpd_request_done(mesh_httpd_request_t *r)
{
    mesh_http_head_done(&r->head);
    mesh_http_body_done(&r->body);

    if (r->headers != NULL) {
        evbuffer_free(r->headers);
    }

    r->headers = NULL;
    r->on_close = NULL;
}


static void
mesh_httpd_state(mesh_httpd_conn_t *c, int state)
{
    int              ms;
    struct timeval   tv;
    mesh_httpd_t    *httpd;

    httpd = c->httpd;

    switch (state) {

    case MESH_HTTPD_BODY:
        c->state = state;
        return;                       /* the timer of the head runs on */

    case MESH_HTTPD_HANDLER:
        ms = 0;
        break;

    case MESH_HTTPD_IDLE:
        ms = httpd->conf.idle_ms;
        break;

    case MESH_HTTPD_LINGER:
        ms = MESH_HTTPD_LINGER_MS;
        break;

    default: /* HANDSHAKE, HEAD, ANSWER */
        ms = httpd->conf.request_ms;
    }

    c->state = state;
    c->since = mesh_httpd_now_ms();

    TAILQ_REMOVE(&httpd->conns, c, link);
    TAILQ_INSERT_TAIL(&httpd->conns, c, link);

    if (ms == 0) {
        (void) evtimer_del(c->timer);
        return;
    }

    tv.tv_sec = ms / 1000;
    tv.tv_usec = ms % 1000 * 1000;

    (void) evtimer_add(c->timer, &tv);
}


static void
mesh_httpd_timeout(evutil_socket_t fd, short what, void *data)
{
    mesh_httpd_conn_t  *c = data;

    if (c->state == MESH_HTTPD_HEAD || c->state == MESH_HTTPD_BODY) {
        mesh_httpd_refuse(c, 408, "request took too long");
        return;
    }

    mesh_httpd_conn_close(c);
}


static void
mesh_httpd_event(struct bufferevent *bev, short what, void *data)
{
    mesh_httpd_conn_t  *c = data;

    if (what & BEV_EVENT_CONNECTED) {
        mesh_httpd_state(c, MESH_HTTPD_IDLE);
        mesh_httpd_read(c);
        return;
    }

    /* a client that closed its half only still reads the answer */

    if ((what & BEV_EVENT_EOF) && c->state == MESH_HTTPD_ANSWER) {
        c->close = 1;
        return;
    }

    mesh_httpd_conn_close(c);
}


static void
mesh_httpd_readable(struct bufferevent *bev, void *data)
{
    mesh_httpd_read(data);
}


/* a loop, not a recursion: requests may come pipelined */

static void
mesh_httpd_read(mesh_httpd_conn_t *c)
{
    int               rc;
    struct evbuffer  *in;

    in = bufferevent_get_input(c->bev);

    for ( ;; ) {

        switch (c->state) {

        case MESH_HTTPD_IDLE:

            if (evbuffer_get_length(in) == 0) {
                return;
            }

            mesh_httpd_state(c, MESH_HTTPD_HEAD);
            continue;

        case MESH_HTTPD_HEAD:
            rc = mesh_httpd_read_head(c);
            break;

        case MESH_HTTPD_BODY:
            rc = mesh_httpd_read_body(c);
            break;

        case MESH_HTTPD_LINGER:
            (void) evbuffer_drain(in, evbuffer_get_length(in));
            return;

        default: /* HANDSHAKE, HANDLER, ANSWER */
            return;
        }

        if (rc != MESH_OK) {
            return;
        }
    }
}


/* MESH_OK: the state has changed; MESH_DONE: refused */

static int
mesh_httpd_read_head(mesh_httpd_conn_t *c)
{
    char              *text;
    size_t             len, n;
    mesh_err_t         err;
    struct evbuffer   *in;
    mesh_http_head_t  *head;

    head = &c->request.head;
    in = bufferevent_get_input(c->bev);
    len = evbuffer_get_length(in);

    if (len == 0) {
        return MESH_AGAIN;
    }

    n = mesh_http_head_bytes((char *) evbuffer_pullup(in, -1), len,
                             &c->scanned);

    if (n > c->httpd->conf.head_max_bytes
        || (n == 0 && len > c->httpd->conf.head_max_bytes))
    {
        mesh_httpd_refuse(c, 431, "headers are too long");
        return MESH_DONE;
    }

    if (n == 0) {
        return MESH_AGAIN;
    }

    c->scanned = 0;

    text = malloc(n + 1);

    if (text == NULL) {
        mesh_httpd_refuse(c, 503, "no memory for a request");
        return MESH_DONE;
    }

    (void) evbuffer_remove(in, text, n);
    text[n] = '\0';

    if (mesh_http_request_take(head, text, n, &err) != MESH_OK) {
        mesh_httpd_refuse(c, 400, err.text);
        return MESH_DONE;
    }

    if (head->minor == 0 || mesh_http_header_has(head, "connection", "close"))
    {
        c->close = 1;
    }

    if (mesh_http_body_init(&c->request.body, head,
                            c->httpd->conf.body_max_bytes, &err)
        != MESH_OK)
    {
        mesh_httpd_refuse(c, c->request.body.too_large ? 413 : 400, err.text);
        return MESH_DONE;
    }

    if (mesh_http_header_has(head, "expect", "100-continue")) {
        (void) bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }

    mesh_httpd_state(c, MESH_HTTPD_BODY);

    return MESH_OK;
}


static int
mesh_httpd_read_body(mesh_httpd_conn_t *c)
{
    int                rc;
    size_t             len, used;
    mesh_err_t         err;
    struct evbuffer   *in;
    mesh_http_body_t  *body;

    body = &c->request.body;
    in = bufferevent_get_input(c->bev);
    len = evbuffer_get_length(in);

    rc = mesh_http_body_read(body, (char *) evbuffer_pullup(in, -1), len,
                             &used, &err);

    if (rc == MESH_ERROR) {
        mesh_httpd_refuse(c, body->too_large ? 413 : 400, err.text);
        return MESH_DONE;
    }

    (void) evbuffer_drain(in, used);

    if (rc == MESH_AGAIN) {
        return MESH_AGAIN;
    }

    mesh_httpd_state(c, MESH_HTTPD_HANDLER);
    mesh_httpd_route(c);

    return MESH_OK;
}


static void
mesh_httpd_route(mesh_httpd_conn_t *c)
{
    int                        found;
    const char                *method;
    const mesh_httpd_route_t  *route;

    found = 0;
    method = c->request.head.method;

    if (strcmp(method, "HEAD") == 0) {
        method = "GET";
    }

    for (route = c->httpd->conf.routes; route->path != NULL; route++) {

        if (strcmp(route->path, c->request.head.path) != 0) {
            continue;
        }

        if (strcmp(route->method, method) == 0) {
            route->handler(&c->request, c->httpd->conf.data);
            return;
        }

        found = 1;
        mesh_httpd_answer_header(&c->request, "Allow", route->method);
    }

    if (found) {
        mesh_httpd_refuse(c, 405, "method is not allowed for this path");
        return;
    }

    mesh_httpd_refuse(c, 404, "no such path");
}


/* a request that cannot be answered by a handler; its rest is not read */

static void
mesh_httpd_refuse(mesh_httpd_conn_t *c, int status, const char *text)
{
    char                line[sizeof(((mesh_err_t *) 0)->text) + 1];
    mesh_httpd_conf_t  *conf;

    conf = &c->httpd->conf;

    c->close = 1;
    mesh_httpd_state(c, MESH_HTTPD_HANDLER);

    if (conf->refused != NULL) {
        conf->refused(&c->request, status, text, conf->data);
        return;
    }

    (void) snprintf(line, sizeof(line), "%s\n", text);

    mesh_httpd_answer(&c->request, status, "text/plain", line, strlen(line));
}


void
mesh_httpd_answer_header(mesh_httpd_request_t *r, const char *name,
    const char *value)
{
    if (value[strcspn(value, "\r\n")] != '\0') {
        return;
    }

    if (r->headers == NULL) {
        r->headers = evbuffer_new();
    }

    if (r->headers != NULL) {
        (void) evbuffer_add_printf(r->headers, "%s: %s\r\n", name, value);
    }
}


void
mesh_httpd_answer(mesh_httpd_request_t *r, int status, const char *type,
    const char *body, size_t len)
{
    int                 head_only;
    struct evbuffer    *out;
    mesh_httpd_conn_t  *c;

    c = (mesh_httpd_conn_t *) r;

    head_only = (r->head.method != NULL
                 && strcmp(r->head.method, "HEAD") == 0);

    mesh_httpd_state(c, MESH_HTTPD_ANSWER);

    /* put together first: over TLS each addition would be a record */

    out = evbuffer_new();

    if (out != NULL) {
        (void) evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n"
                                   "Content-Type: %s\r\n"
                                   "Content-Length: %zu\r\n%s",
                                   status, mesh_http_reason(status), type,
                                   len,
                                   c->close ? "Connection: close\r\n" : "");

        if (r->headers != NULL) {
            (void) evbuffer_add_buffer(out, r->headers);
        }

        (void) evbuffer_add(out, "\r\n", 2);

        if (!head_only) {
            (void) evbuffer_add(out, body, len);
        }

        (void) bufferevent_write_buffer(c->bev, out);
        evbuffer_free(out);
    }

    mesh_httpd_request_done(r);
}


static void
mesh_httpd_written(struct bufferevent *bev, void *data)
{
    mesh_httpd_conn_t  *c = data;

    if (c->state != MESH_HTTPD_ANSWER
        || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
    {
        return;
    }

    if (c->close) {
        mesh_httpd_linger(c);
        return;
    }

    mesh_httpd_state(c, MESH_HTTPD_IDLE);
    mesh_httpd_read(c);
}


/*
 * Closing while the client still sends makes the kernel reset, and the reset
 * takes our answer from the client's buffer: so its bytes are read for a
 * while (nginx calls this lingering).
 */

static void
mesh_httpd_linger(mesh_httpd_conn_t *c)
{
    SSL  *ssl;

    ssl = bufferevent_openssl_get_ssl(c->bev);

    if (ssl != NULL) {
        (void) SSL_shutdown(ssl);
    }

    if (shutdown(bufferevent_getfd(c->bev), SHUT_WR) == -1) {
        mesh_httpd_conn_close(c);
        return;
    }

    mesh_httpd_state(c, MESH_HTTPD_LINGER);
    mesh_httpd_read(c);
}


const char *
mesh_httpd_method(const mesh_httpd_request_t *r)
{
    return r->head.method;
}


const char *
mesh_httpd_path(const mesh_httpd_request_t *r)
{
    return r->head.path;
}


const char *
mesh_httpd_query(const mesh_httpd_request_t *r)
{
    return r->head.query;
}


const char *
mesh_httpd_header(const mesh_httpd_request_t *r, const char *name)
{
    return mesh_http_header(&r->head, name, NULL);
}


const char *
mesh_httpd_body(const mesh_httpd_request_t *r, size_t *len)
{
    if (len != NULL) {
        *len = r->body.len;
    }

    return (r->body.data != NULL) ? r->body.data : "";
}


const char *
mesh_httpd_client(const mesh_httpd_request_t *r)
{
    return ((const mesh_httpd_conn_t *) r)->client;
}


void
mesh_httpd_on_close(mesh_httpd_request_t *r, void (*handler)(void *data),
    void *data)
{
    r->on_close = handler;
    r->on_close_data = data;
}
