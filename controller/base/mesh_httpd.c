
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The server: listeners, and how many connections there are.  Not evhttp,
 * because that has no limit on connections or on the time of a whole request,
 * and falls back to plaintext when a TLS connection cannot be made.
 */

#include <mesh_httpd.h>
#include <mesh_httpd_conn.h>
#include <mesh_addr.h>
#include <mesh_log.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>


#define MESH_HTTPD_BACKLOG     511
#define MESH_HTTPD_RESUME_MS   250    /* after accept() failed, or when full */
#define MESH_HTTPD_GRACE_MS    1000   /* idle so long: closed for another */


static int mesh_httpd_add_listener(mesh_httpd_t *httpd,
    struct evconnlistener *listener, mesh_err_t *err);
static void mesh_httpd_accept(struct evconnlistener *listener,
    evutil_socket_t fd, struct sockaddr *sa, int len, void *data);
static void mesh_httpd_accept_error(struct evconnlistener *listener,
    void *data);
static void mesh_httpd_resume(evutil_socket_t fd, short what, void *data);
static void mesh_httpd_pause(mesh_httpd_t *httpd);
static int mesh_httpd_room(mesh_httpd_t *httpd);
static mesh_httpd_conn_t *mesh_httpd_idle(mesh_httpd_t *httpd);


mesh_httpd_t *
mesh_httpd_new(const mesh_httpd_conf_t *conf, mesh_err_t *err)
{
    mesh_httpd_t  *httpd;

    httpd = calloc(1, sizeof(mesh_httpd_t));

    if (httpd == NULL) {
        (void) mesh_err(err, "no memory for a server");
        return NULL;
    }

    httpd->conf = *conf;
    TAILQ_INIT(&httpd->conns);

    if (conf->ssl != NULL) {
        SSL_CTX_up_ref(conf->ssl);
    }

    if (conf->head_max_bytes == 0) {
        httpd->conf.head_max_bytes = 16384;
    }

    if (conf->body_max_bytes == 0) {
        httpd->conf.body_max_bytes = 16384;
    }

    if (conf->connections_max == 0) {
        httpd->conf.connections_max = 512;
    }

    if (conf->request_ms == 0) {
        httpd->conf.request_ms = 10000;
    }

    if (conf->idle_ms == 0) {
        httpd->conf.idle_ms = 30000;
    }

    httpd->resume = evtimer_new(conf->base, mesh_httpd_resume, httpd);

    if (httpd->resume == NULL) {
        (void) mesh_err(err, "no memory for a server");
        mesh_httpd_free(httpd);
        return NULL;
    }

    return httpd;
}


void
mesh_httpd_free(mesh_httpd_t *httpd)
{
    int                 i;
    mesh_httpd_conn_t  *c;

    if (httpd == NULL) {
        return;
    }

    for (i = 0; i < httpd->nlisteners; i++) {
        evconnlistener_free(httpd->listeners[i]);
    }

    httpd->nlisteners = 0;

    while ((c = TAILQ_FIRST(&httpd->conns)) != NULL) {
        mesh_httpd_conn_close(c);
    }

    if (httpd->unix_path != NULL) {
        (void) unlink(httpd->unix_path);
        free(httpd->unix_path);
    }

    if (httpd->resume != NULL) {
        event_free(httpd->resume);
    }

    SSL_CTX_free(httpd->conf.ssl);
    free(httpd);
}


int
mesh_httpd_listen(mesh_httpd_t *httpd, const char *address, mesh_err_t *err)
{
    int                      fd, on;
    socklen_t                len;
    mesh_addr_t              addr;
    struct evconnlistener   *listener;
    struct sockaddr_storage  bound;

    if (mesh_addr_parse(address, &addr, err) != MESH_OK) {
        return MESH_ERROR;
    }

    fd = socket(addr.sa.sa_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return mesh_err_sys(err, errno, "socket for \"%s\" failed", address);
    }

    on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || (addr.sa.sa_family == AF_INET6
            && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))
               == -1)
        || bind(fd, &addr.sa, addr.len) == -1
        || listen(fd, MESH_HTTPD_BACKLOG) == -1)
    {
        (void) mesh_err_sys(err, errno, "cannot listen on \"%s\"", address);
        (void) close(fd);
        return MESH_ERROR;
    }

    len = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *) &bound, &len) == 0) {
        httpd->port = ntohs(((struct sockaddr_in *) &bound)->sin_port);
    }

    listener = evconnlistener_new(httpd->conf.base, mesh_httpd_accept, httpd,
                                  LEV_OPT_CLOSE_ON_FREE|LEV_OPT_CLOSE_ON_EXEC,
                                  0, fd);

    if (listener == NULL) {
        (void) close(fd);
    }

    return mesh_httpd_add_listener(httpd, listener, err);
}


int
mesh_httpd_listen_unix(mesh_httpd_t *httpd, const char *path, mode_t mode,
    mesh_err_t *err)
{
    int                     fd;
    struct sockaddr_un      sun;
    struct evconnlistener  *listener;

    if (httpd->unix_path != NULL) {
        return mesh_err(err, "more than one unix socket");
    }

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;

    if (strlen(path) >= sizeof(sun.sun_path)) {
        return mesh_err(err, "name \"%s\" is too long for a socket", path);
    }

    (void) snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return mesh_err_sys(err, errno, "socket for \"%s\" failed", path);
    }

    (void) unlink(path);              /* bind() says what is in the way */

    if (bind(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || chmod(path, mode) == -1
        || listen(fd, MESH_HTTPD_BACKLOG) == -1)
    {
        (void) mesh_err_sys(err, errno, "cannot listen on \"%s\"", path);
        (void) close(fd);
        return MESH_ERROR;
    }

    httpd->unix_path = strdup(path);

    listener = evconnlistener_new(httpd->conf.base, mesh_httpd_accept, httpd,
                                  LEV_OPT_CLOSE_ON_FREE|LEV_OPT_CLOSE_ON_EXEC,
                                  0, fd);

    if (listener == NULL) {
        (void) close(fd);
    }

    return mesh_httpd_add_listener(httpd, listener, err);
}


static int
mesh_httpd_add_listener(mesh_httpd_t *httpd, struct evconnlistener *listener,
    mesh_err_t *err)
{
    if (listener == NULL) {
        return mesh_err(err, "no memory for a listener");
    }

    if (httpd->nlisteners == MESH_HTTPD_LISTEN_MAX) {
        evconnlistener_free(listener);
        return mesh_err(err, "more than %d addresses to listen on",
                        MESH_HTTPD_LISTEN_MAX);
    }

    evconnlistener_set_error_cb(listener, mesh_httpd_accept_error);
    httpd->listeners[httpd->nlisteners++] = listener;

    return MESH_OK;
}


int
mesh_httpd_port(const mesh_httpd_t *httpd)
{
    return httpd->port;
}


void
mesh_httpd_ssl_set(mesh_httpd_t *httpd, SSL_CTX *ssl)
{
    SSL_CTX_up_ref(ssl);
    SSL_CTX_free(httpd->conf.ssl);
    httpd->conf.ssl = ssl;
}


static void
mesh_httpd_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *sa, int len, void *data)
{
    mesh_httpd_t       *httpd = data;
    mesh_httpd_conn_t  *c;

    if (!mesh_httpd_room(httpd)) {
        (void) close(fd);
        return;
    }

    c = mesh_httpd_conn_new(httpd, fd);

    if (c == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "no memory for a connection");
        return;
    }

    mesh_addr_text(sa, c->client, sizeof(c->client));

    if (httpd->nconns >= httpd->conf.connections_max
        && mesh_httpd_idle(httpd) == NULL)
    {
        mesh_httpd_pause(httpd);      /* the others wait in the backlog */
    }
}


/* full: the connection that idled longest makes room */

static int
mesh_httpd_room(mesh_httpd_t *httpd)
{
    mesh_httpd_conn_t  *c;

    if (httpd->nconns < httpd->conf.connections_max) {
        return 1;
    }

    c = mesh_httpd_idle(httpd);

    if (c == NULL) {
        return 0;
    }

    mesh_httpd_conn_close(c);

    return 1;
}


/* not a fresh one: its request may be on the way */

static mesh_httpd_conn_t *
mesh_httpd_idle(mesh_httpd_t *httpd)
{
    uint64_t            now;
    mesh_httpd_conn_t  *c;

    now = mesh_httpd_now_ms();

    TAILQ_FOREACH(c, &httpd->conns, link) {

        if (c->state == MESH_HTTPD_IDLE
            && now - c->since >= MESH_HTTPD_GRACE_MS)
        {
            return c;
        }
    }

    return NULL;
}


/* until a connection goes, or one has idled long enough to be closed */

static void
mesh_httpd_pause(mesh_httpd_t *httpd)
{
    int             i;
    struct timeval  tv = { 0, MESH_HTTPD_RESUME_MS * 1000 };

    if (httpd->paused) {
        return;
    }

    httpd->paused = 1;

    for (i = 0; i < httpd->nlisteners; i++) {
        (void) evconnlistener_disable(httpd->listeners[i]);
    }

    (void) evtimer_add(httpd->resume, &tv);
}


void
mesh_httpd_unpause(mesh_httpd_t *httpd)
{
    int  i;

    if (!httpd->paused || httpd->starved) {
        return;
    }

    httpd->paused = 0;
    (void) evtimer_del(httpd->resume);

    for (i = 0; i < httpd->nlisteners; i++) {
        (void) evconnlistener_enable(httpd->listeners[i]);
    }
}


static void
mesh_httpd_resume(evutil_socket_t fd, short what, void *data)
{
    mesh_httpd_t    *httpd = data;
    struct timeval   tv = { 0, MESH_HTTPD_RESUME_MS * 1000 };

    httpd->starved = 0;

    if (httpd->nconns < httpd->conf.connections_max
        || mesh_httpd_idle(httpd) != NULL)
    {
        mesh_httpd_unpause(httpd);
        return;
    }

    (void) evtimer_add(httpd->resume, &tv);
}


static void
mesh_httpd_accept_error(struct evconnlistener *listener, void *data)
{
    int            error;
    mesh_httpd_t  *httpd = data;

    error = EVUTIL_SOCKET_ERROR();

    mesh_log(MESH_LOG_ERROR, error, "accept failed");

    httpd->starved = 1;
    mesh_httpd_pause(httpd);
}


uint64_t
mesh_httpd_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
