
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/; -levent_openssl -levent -lssl -lcrypto */

/*
 * A plain server and clients that are bare sockets, on one loop.  TLS and
 * hostile bytes are in t/identity.
 */

#include <mesh_addr.h>
#include <mesh_httpd.h>
#include <mesh_log.h>

#include <event2/event.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "unit.h"


static struct event_base     *base;
static mesh_httpd_t          *httpd;
static mesh_err_t             err;
static char                   reply[65536];
static size_t                 reply_len;
static mesh_httpd_request_t  *waiting;      /* for its answer */
static int                    closed;


static void
echo(mesh_httpd_request_t *r, void *data)
{
    char         text[512];
    size_t       len;
    const char  *body, *query, *header;

    body = mesh_httpd_body(r, &len);
    query = mesh_httpd_query(r);
    header = mesh_httpd_header(r, "x-a");

    (void) snprintf(text, sizeof(text), "%s %s %s %s %zu:%s",
                    mesh_httpd_method(r), mesh_httpd_path(r),
                    query ? query : "-", header ? header : "-", len, body);

    mesh_httpd_answer_header(r, "X-B", "good");
    mesh_httpd_answer_header(r, "X-C", "bad\r\nX-D: split");
    mesh_httpd_answer(r, 200, "text/plain", text, strlen(text));
}


static void
gone(void *data)
{
    waiting = NULL;
    closed++;
}


static void
later(mesh_httpd_request_t *r, void *data)
{
    waiting = r;
    mesh_httpd_on_close(r, gone, NULL);
}


static const mesh_httpd_route_t  routes[] = {
    { "GET", "/echo", echo },
    { "POST", "/echo", echo },
    { "GET", "/later", later },
    { NULL, NULL, NULL }
};


static void
start(int connections, int request_ms, int idle_ms)
{
    mesh_httpd_conf_t  conf;

    base = event_base_new();
    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.routes = routes;
    conf.connections_max = connections;
    conf.request_ms = request_ms;
    conf.idle_ms = idle_ms;
    conf.body_max_bytes = 100;

    httpd = mesh_httpd_new(&conf, &err);
    (void) mesh_httpd_listen(httpd, "127.0.0.1:0", &err);
}


static void
stop(void)
{
    mesh_httpd_free(httpd);
    event_base_free(base);
    httpd = NULL;
}


static int
dial(void)
{
    int          fd;
    char         text[32];
    mesh_addr_t  addr;

    (void) snprintf(text, sizeof(text), "127.0.0.1:%d",
                    mesh_httpd_port(httpd));
    (void) mesh_addr_parse(text, &addr, &err);

    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, &addr.sa, addr.len) == -1) {
        (void) close(fd);
        return -1;
    }

    (void) fcntl(fd, F_SETFL, O_NONBLOCK);

    return fd;
}


/* turns the loop until fd ends, "end" has come, or ms have passed */

static int
hear(int fd, const char *end, int ms)
{
    ssize_t         n;
    struct timeval  tv = { 0, 5000 };

    reply_len = 0;
    reply[0] = '\0';

    for ( /* void */ ; ms > 0; ms -= 5) {
        (void) event_base_loopexit(base, &tv);
        (void) event_base_dispatch(base);

        n = read(fd, reply + reply_len, sizeof(reply) - reply_len - 1);

        if (n == 0 || (n == -1 && errno != EAGAIN)) {
            return MESH_DONE;
        }

        if (n > 0) {
            reply_len += n;
            reply[reply_len] = '\0';
        }

        if (end != NULL && strstr(reply, end) != NULL) {
            return MESH_OK;
        }
    }

    return MESH_AGAIN;
}


static void
say(int fd, const char *text)
{
    UNIT_EQ(write(fd, text, strlen(text)), strlen(text));
}


static void
requests_are_answered_and_kept_alive(void)
{
    int  fd;

    start(0, 0, 0);
    fd = dial();

    say(fd, "GET /echo?q HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n");
    UNIT_EQ(hear(fd, "GET /echo q 1 0:", 2000), MESH_OK);
    UNIT_HAS(reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
             "Content-Length: 16\r\nX-B: good\r\n\r\n");
    UNIT_OK(strstr(reply, "X-D") == NULL);

    say(fd, "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(fd, "\r\n\r\n", 2000), MESH_OK);
    UNIT_HAS(reply, "Content-Length: 17\r\n");
    UNIT_OK(strcmp(reply + reply_len - 4, "\r\n\r\n") == 0);

    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
    UNIT_EQ(hear(fd, "HTTP", 50), MESH_AGAIN);
    say(fd, "lloPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
        "GET /echo HTTP/1.0\r\n\r\n");
    UNIT_EQ(hear(fd, NULL, 2000), MESH_DONE);
    UNIT_HAS(reply, "POST /echo - - 5:hello");
    UNIT_HAS(reply, "POST /echo - - 1:x");
    UNIT_HAS(reply, "Connection: close\r\n");
    UNIT_HAS(reply, "GET /echo - - 0:");
    (void) close(fd);

    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        "Expect: 100-continue\r\n\r\n");
    UNIT_EQ(hear(fd, "HTTP/1.1 100 Continue\r\n\r\n", 2000), MESH_OK);
    say(fd, "ok");
    UNIT_EQ(hear(fd, "2:ok", 2000), MESH_OK);
    (void) close(fd);

    stop();
}


static void
refusals_close(void)
{
    int     fd;
    size_t  i;

    static const struct {
        const char  *request;
        const char  *answer;
    } rows[] = {
        { "GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found" },
        { "PUT /echo HTTP/1.1\r\nHost: x\r\n\r\n",
          "Allow: GET\r\nAllow: POST\r\n\r\nmethod is not allowed" },
        { "GET /echo\r\n\r\n", "HTTP/1.1 400 Bad Request" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n",
          "HTTP/1.1 413 Content Too Large" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\n"
          "Transfer-Encoding: chunked\r\n\r\nzz", "HTTP/1.1 400" },
    };

    start(0, 0, 0);

    for (i = 0; i < mesh_nelts(rows); i++) {
        fd = dial();
        say(fd, rows[i].request);
        UNIT_EQ(hear(fd, NULL, 2000), MESH_DONE);
        UNIT_HAS(reply, rows[i].answer);
        UNIT_HAS(reply, "Connection: close\r\n");
        (void) close(fd);
    }

    fd = dial();
    memset(reply, 'a', 20000);
    reply[20000] = '\0';
    say(fd, "GET /");
    say(fd, reply);
    UNIT_EQ(hear(fd, NULL, 2000), MESH_DONE);
    UNIT_HAS(reply, "HTTP/1.1 431");
    (void) close(fd);

    stop();
}


static void
answers_may_come_later(void)
{
    int  fd;

    start(0, 0, 0);
    closed = 0;

    fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(fd, "HTTP", 50), MESH_AGAIN);
    UNIT_NEED(waiting != NULL);
    mesh_httpd_answer(waiting, 503, "text/plain", "not yet\n", 8);
    UNIT_EQ(hear(fd, "GET /echo", 2000), MESH_OK);
    UNIT_HAS(reply, "HTTP/1.1 503 Service Unavailable");
    UNIT_EQ(closed, 0);

    say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(fd, "HTTP", 50), MESH_AGAIN);
    UNIT_NEED(waiting != NULL);
    (void) close(fd);

    fd = dial();                          /* turns the loop */
    UNIT_EQ(hear(fd, NULL, 50), MESH_AGAIN);
    UNIT_EQ(closed, 1);
    UNIT_OK(waiting == NULL);

    say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(fd, "HTTP", 50), MESH_AGAIN);
    stop();                               /* with a request in hand */
    UNIT_EQ(closed, 2);
    (void) close(fd);
}


static void
slow_clients_lose_their_connection(void)
{
    int  fd, idle;

    start(0, 100, 200);

    fd = dial();
    say(fd, "GET /echo HTT");
    UNIT_EQ(hear(fd, NULL, 3000), MESH_DONE);
    UNIT_HAS(reply, "HTTP/1.1 408 Request Timeout");
    (void) close(fd);

    idle = dial();
    UNIT_EQ(hear(idle, NULL, 3000), MESH_DONE);
    UNIT_EQ(reply_len, 0);
    (void) close(idle);

    stop();
}


static void
the_number_of_connections_has_a_limit(void)
{
    int  busy, idle, waits;

    start(2, 0, 0);

    busy = dial();
    say(busy, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(busy, "HTTP", 50), MESH_AGAIN);
    idle = dial();
    UNIT_EQ(hear(idle, NULL, 50), MESH_AGAIN);

    waits = dial();
    say(waits, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(waits, "200 OK", 300), MESH_AGAIN);     /* idle is fresh */
    UNIT_EQ(hear(waits, "200 OK", 4000), MESH_OK);       /* idle is not */
    UNIT_EQ(hear(idle, NULL, 50), MESH_DONE);
    (void) close(idle);

    /* both busy: a third waits until one of them goes */

    say(waits, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(waits, "HTTP", 50), MESH_AGAIN);
    idle = dial();
    say(idle, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    UNIT_EQ(hear(idle, "200 OK", 600), MESH_AGAIN);
    (void) close(busy);
    UNIT_EQ(hear(idle, "200 OK", 2000), MESH_OK);

    (void) close(idle);
    (void) close(waits);
    stop();
}


static void
listens_on_a_unix_socket(void)
{
    int                  fd;
    char                 dir[] = "/tmp/u-mesh_httpd.XXXXXX";
    struct stat          st;
    struct sockaddr_un   sun;

    UNIT_NEED(mkdtemp(dir) != NULL);
    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    (void) snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/sock", dir);

    start(0, 0, 0);
    UNIT_EQ(mesh_httpd_listen_unix(httpd, sun.sun_path, 0600, &err), MESH_OK);
    UNIT_EQ(mesh_httpd_listen_unix(httpd, sun.sun_path, 0600, &err),
            MESH_ERROR);
    UNIT_OK(stat(sun.sun_path, &st) == 0 && (st.st_mode & 0777) == 0600);

    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    UNIT_OK(connect(fd, (struct sockaddr *) &sun, sizeof(sun)) == 0);
    (void) fcntl(fd, F_SETFL, O_NONBLOCK);
    say(fd, "GET /echo HTTP/1.0\r\n\r\n");
    UNIT_EQ(hear(fd, NULL, 2000), MESH_DONE);
    UNIT_HAS(reply, "GET /echo - - 0:");
    (void) close(fd);
    stop();

    UNIT_OK(access(sun.sun_path, F_OK) == -1);           /* taken away */
    UNIT_OK(rmdir(dir) == 0);
}


static void
listen_says_what_is_wrong(void)
{
    char  text[32];

    start(0, 0, 0);

    UNIT_EQ(mesh_httpd_listen(httpd, "localhost:80", &err), MESH_ERROR);
    UNIT_HAS(err.text, "is no address");

    (void) snprintf(text, sizeof(text), "127.0.0.1:%d",
                    mesh_httpd_port(httpd));
    UNIT_EQ(mesh_httpd_listen(httpd, text, &err), MESH_ERROR);
    UNIT_HAS(err.text, "Address already in use");

    UNIT_EQ(mesh_httpd_listen_unix(httpd, "/none/x", 0600, &err), MESH_ERROR);
    UNIT_HAS(err.text, "No such file");

    stop();
    mesh_httpd_free(NULL);
}


UNIT_TESTS = {
    UNIT(requests_are_answered_and_kept_alive),
    UNIT(refusals_close),
    UNIT(answers_may_come_later),
    UNIT(slow_clients_lose_their_connection),
    UNIT(the_number_of_connections_has_a_limit),
    UNIT(listens_on_a_unix_socket),
    UNIT(listen_says_what_is_wrong),
    UNIT_END
};
