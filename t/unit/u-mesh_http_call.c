
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/; -levent_openssl -levent -lssl -lcrypto */

/*
 * Calls to a server that says what a row tells it to, and then closes or
 * not.  TLS is in u-mesh_certify.c.
 */

#include <mesh_http_call.h>
#include <mesh_addr.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "unit.h"


static struct event_base      *base;
static struct evconnlistener  *listener;
static struct bufferevent     *peer;
static char                    server[32];
static const char             *say;         /* the server's answer */
static int                     keep;        /* the connection, after it */
static int                     told;        /* it was said */
static char                    heard[4096];

static int                     rc, status;
static char                    body[256];
static mesh_err_t              err;


static void
written(struct bufferevent *bev, void *data)
{
    if (!keep && told) {                    /* also called before anything */
        bufferevent_free(bev);
        peer = NULL;
    }
}


static void
readable(struct bufferevent *bev, void *data)
{
    size_t  n;

    n = bufferevent_read(bev, heard, sizeof(heard) - 1);
    heard[n] = '\0';
    told = 1;

    if (*say) {
        (void) bufferevent_write(bev, say, strlen(say));

    } else {
        written(bev, NULL);
    }
}


static void
event(struct bufferevent *bev, short what, void *data)
{
    bufferevent_free(bev);
    peer = NULL;
}


static void
accepted(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *data)
{
    peer = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(peer, readable, written, event, NULL);
    (void) bufferevent_enable(peer, EV_READ|EV_WRITE);
}


static void
answered(void *data, int result, const mesh_http_answer_t *answer,
    const mesh_err_t *failure)
{
    rc = result;
    status = 0;
    body[0] = '\0';

    if (result == MESH_OK) {
        status = answer->status;
        (void) snprintf(body, sizeof(body), "%s", answer->body);
        UNIT_EQ(strlen(answer->body), answer->len);

    } else {
        err = *failure;
    }

    (void) event_base_loopbreak(base);
}


static void
open_server(void)
{
    socklen_t     len;
    mesh_addr_t   addr;

    base = event_base_new();
    (void) mesh_addr_parse("127.0.0.1:0", &addr, &err);
    listener = evconnlistener_new_bind(base, accepted, NULL,
                                       LEV_OPT_CLOSE_ON_FREE, 5, &addr.sa,
                                       (int) addr.len);
    len = sizeof(addr.sin6);
    (void) getsockname(evconnlistener_get_fd(listener), &addr.sa, &len);
    mesh_addr_text(&addr.sa, server, sizeof(server));
}


static void
close_server(void)
{
    if (peer != NULL) {
        bufferevent_free(peer);
        peer = NULL;
    }

    evconnlistener_free(listener);
    event_base_free(base);
}


static mesh_http_call_t *
call(const char *to, const char *text, int stay)
{
    mesh_http_call_conf_t   conf;

    static const mesh_http_header_t  headers[] = {
        { "X-A", "1" }, { "X-B", "2" }
    };

    say = text;
    keep = stay;
    told = 0;
    rc = MESH_AGAIN;
    err.text[0] = '\0';

    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.server = to;
    conf.method = "POST";
    conf.path = "/path";
    conf.headers = headers;
    conf.nheaders = 2;
    conf.body = "hello";
    conf.len = 5;
    conf.max_bytes = 20;
    conf.timeout_ms = 300;

    return mesh_http_call_start(&conf, answered, NULL, &err);
}


static void
run(const char *text, int stay)
{
    struct timeval  tv = { 5, 0 };

    if (peer != NULL) {
        bufferevent_free(peer);
        peer = NULL;
    }

    if (call(server, text, stay) == NULL) {
        rc = MESH_ERROR;
        return;
    }

    (void) event_base_loopexit(base, &tv);
    (void) event_base_dispatch(base);
}


static void
answers_of_every_framing(void)
{
    open_server();

    run("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1);
    UNIT_EQ(rc, MESH_OK);
    UNIT_EQ(status, 200);
    UNIT_STR(body, "ok");
    UNIT_HAS(heard, "POST /path HTTP/1.1\r\nHost: 127.0.0.1:");
    UNIT_HAS(heard, "Content-Length: 5\r\nX-A: 1\r\nX-B: 2\r\n\r\nhello");

    run("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nno!\r\n0\r\n\r\n", 1);
    UNIT_EQ(rc, MESH_OK);
    UNIT_EQ(status, 404);
    UNIT_STR(body, "no!");

    run("HTTP/1.1 200 OK\r\n\r\nto the end", 0);
    UNIT_EQ(rc, MESH_OK);
    UNIT_STR(body, "to the end");

    run("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n"
        "Content-Length: 0\r\n\r\n", 1);
    UNIT_EQ(rc, MESH_OK);
    UNIT_EQ(status, 204);

    close_server();
}


static void
answers_that_are_none(void)
{
    size_t  i;

    static const struct {
        const char  *text;
        int          stay;
        const char  *wrong;
    } rows[] = {
        { "", 0, "closed the connection before the end" },
        { "", 1, "took more than 300 ms" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", 0,
          "closed the connection" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", 1,
          "took more than" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n", 1,
          "longer than 20 bytes" },
        { "HTTP/1.1 200 OK\r\n\r\nmore than twenty bytes of it", 0,
          "longer than 20 bytes" },
        { "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 1, "is no number" },
        { "SSH-2.0-x\r\n\r\n", 1, "status line is malformed" },
        { "HTTP/1.1 200 OK\n\n", 1, "malformed" },
    };

    open_server();

    for (i = 0; i < mesh_nelts(rows); i++) {
        run(rows[i].text, rows[i].stay);
        UNIT_EQ(rc, MESH_ERROR);
        UNIT_HAS(err.text, rows[i].wrong);
    }

    close_server();
}


static void
names_are_resolved(void)
{
    char            name[64];
    struct timeval  tv = { 5, 0 };

    open_server();

    (void) snprintf(name, sizeof(name), "localhost%s", strchr(server, ':'));

    if (call(name, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1)
        == NULL)
    {
        UNIT_STR(err.text, "");
        close_server();
        return;
    }

    (void) event_base_loopexit(base, &tv);
    (void) event_base_dispatch(base);
    UNIT_EQ(rc, MESH_OK);

    close_server();
}


static void
failures_before_a_connection(void)
{
    char                    gone[32];
    mesh_http_call_conf_t   conf;

    open_server();
    (void) snprintf(gone, sizeof(gone), "%s", server);
    close_server();
    open_server();

    (void) snprintf(server, sizeof(server), "%s", gone);
    run("", 0);
    UNIT_EQ(rc, MESH_ERROR);
    UNIT_HAS(err.text, "Connection refused");

    UNIT_OK(call("no-port", "", 0) == NULL);
    UNIT_HAS(err.text, "is no address");

    memset(&conf, 0, sizeof(conf));
    conf.ssl = (SSL_CTX *) 1;
    UNIT_OK(mesh_http_call_start(&conf, answered, NULL, &err) == NULL);
    UNIT_HAS(err.text, "no identity to expect");

    close_server();
}


static void
headers_cannot_be_split(void)
{
    mesh_http_header_t     header = { "Authorization", "a\r\nX: y" };
    mesh_http_call_conf_t  conf;

    open_server();

    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.server = server;
    conf.method = "GET";
    conf.path = "/";
    conf.headers = &header;
    conf.nheaders = 1;

    UNIT_OK(mesh_http_call_start(&conf, answered, NULL, &err) == NULL);
    UNIT_HAS(err.text, "line end");

    close_server();
}


static void
cancelled_calls_are_silent(void)
{
    int                i;
    struct timeval     tv = { 0, 5000 };
    mesh_http_call_t  *one;

    open_server();

    for (i = 0; i < 8; i++) {
        one = call(server, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
                   1);
        UNIT_NEED(one != NULL);

        tv.tv_usec = i * 1000;
        (void) event_base_loopexit(base, &tv);
        (void) event_base_dispatch(base);

        mesh_http_call_cancel(one);
        (void) event_base_loop(base, EVLOOP_NONBLOCK);
        UNIT_EQ(rc, MESH_AGAIN);

        if (peer != NULL) {
            bufferevent_free(peer);
            peer = NULL;
        }
    }

    mesh_http_call_cancel(NULL);
    close_server();
}


UNIT_TESTS = {
    UNIT(answers_of_every_framing),
    UNIT(answers_that_are_none),
    UNIT(names_are_resolved),
    UNIT(failures_before_a_connection),
    UNIT(headers_cannot_be_split),
    UNIT(cancelled_calls_are_silent),
    UNIT_END
};
