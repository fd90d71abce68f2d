
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The application of the bench: answers each request with the same 1 KB.
 *
 *     app [--close] [--tls CERT KEY TRUST] ADDRESS:PORT
 *
 * Requests for /hold are answered on SIGUSR1, all at once; /held answers at
 * once with their number.  --close ends each connection after one answer;
 * with --tls it plays an inbound sidecar.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bench_sock.h"


#define APP_EVENTS     512
#define APP_REQUEST    4096
#define APP_BODY       1024


typedef struct app_conn_s  app_conn_t;

struct app_conn_s {
    bench_sock_t   sock;
    char           request[APP_REQUEST];
    size_t         request_len;
    const char    *rest;              /* of the answer */
    size_t         rest_len;
    unsigned       held:1;
    app_conn_t    *prev;              /* of those held */
    app_conn_t    *next;
};


static void app_answers(void);
static int app_signals(int ep);
static void app_open(int listener, int ep);
static void app_event(app_conn_t *c);
static int app_read(app_conn_t *c);
static int app_request(app_conn_t *c);
static int app_flush(app_conn_t *c);
static void app_hold(app_conn_t *c);
static void app_release(app_conn_t *c);
static void app_close(app_conn_t *c);


static SSL_CTX    *app_ctx;
static int         app_once;
static app_conn_t  app_held;          /* head of a ring */
static unsigned    app_nheld;
static char        app_answer[APP_BODY + 256];
static size_t      app_answer_len;
static char        app_count[256];


int
main(int argc, char **argv)
{
    int                  i, n, ep, listener, signals;
    app_conn_t          *c;
    bench_tls_t          tls;
    struct epoll_event   ev, events[APP_EVENTS];
    struct sockaddr_in   sa;

    i = 1;

    if (i < argc && strcmp(argv[i], "--close") == 0) {
        app_once = 1;
        i++;
    }

    if (i + 3 < argc && strcmp(argv[i], "--tls") == 0) {
        memset(&tls, 0, sizeof(bench_tls_t));
        tls.cert = argv[i + 1];
        tls.key = argv[i + 2];
        tls.trust = argv[i + 3];
        app_ctx = bench_tls_new(&tls, 1);
        i += 4;
    }

    if (i != argc - 1) {
        (void) fprintf(stderr, "usage: app [--close] [--tls CERT KEY TRUST] "
                               "ADDRESS:PORT\n");
        return 2;
    }

    (void) signal(SIGPIPE, SIG_IGN);

    app_held.next = &app_held;
    app_held.prev = &app_held;

    app_answers();
    bench_addr(&sa, argv[i]);

    ep = epoll_create1(EPOLL_CLOEXEC);
    listener = bench_listen(&sa);

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (ep == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) == -1) {
        bench_die("epoll");
    }

    signals = app_signals(ep);

    for ( ;; ) {
        n = epoll_wait(ep, events, APP_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == &app_held) {
                struct signalfd_siginfo  info;

                (void) read(signals, &info, sizeof(info));

                while (app_held.next != &app_held) {
                    app_release(app_held.next);
                }

            } else if (c) {
                app_event(c);

            } else {
                app_open(listener, ep);
            }
        }
    }
}


static void
app_answers(void)
{
    char  body[APP_BODY + 1];

    memset(body, 'x', APP_BODY);
    body[APP_BODY] = '\0';

    app_answer_len = snprintf(app_answer, sizeof(app_answer),
                              "HTTP/1.1 200 OK\r\n"
                              "Server: app\r\n"
                              "Content-Type: text/plain\r\n"
                              "Content-Length: %d\r\n"
                              "%s"
                              "\r\n"
                              "%s",
                              APP_BODY,
                              app_once ? "Connection: close\r\n" : "", body);
}


static int
app_signals(int ep)
{
    int                 fd;
    sigset_t            set;
    struct epoll_event  ev;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGUSR1);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);

    fd = signalfd(-1, &set, SFD_CLOEXEC);

    ev.events = EPOLLIN;
    ev.data.ptr = &app_held;

    if (fd == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        bench_die("signalfd");
    }

    return fd;
}


static void
app_open(int listener, int ep)
{
    app_conn_t  *c;

    c = calloc(1, sizeof(app_conn_t));
    if (c == NULL) {
        bench_die("memory");
    }

    if (bench_accept(&c->sock, listener, ep, c, app_ctx) == BENCH_ERROR) {
        free(c);
    }
}


static void
app_event(app_conn_t *c)
{
    unsigned  events;

    if (app_flush(c) == BENCH_ERROR || app_read(c) == BENCH_ERROR) {
        app_close(c);
        return;
    }

    events = EPOLLIN | (c->sock.blocked ? EPOLLOUT : 0);

    if (bench_want(&c->sock, events, c) == -1) {
        app_close(c);
    }
}


static int
app_read(app_conn_t *c)
{
    ssize_t  n;

    do {
        if (c->request_len == APP_REQUEST - 1) {
            return BENCH_ERROR;
        }

        n = bench_recv(&c->sock, c->request + c->request_len,
                       APP_REQUEST - 1 - c->request_len);

        if (n == BENCH_AGAIN) {
            return 0;
        }

        if (n <= 0) {
            return BENCH_ERROR;
        }

        c->request_len += n;
        c->request[c->request_len] = '\0';

        if (app_request(c) == BENCH_ERROR) {
            return BENCH_ERROR;
        }

    } while (bench_pending(&c->sock));

    return 0;
}


/* requests have no body, and the next one comes after the answer */

static int
app_request(app_conn_t *c)
{
    char  *end;

    end = strstr(c->request, "\r\n\r\n");

    if (end == NULL) {
        return 0;
    }

    if (end + 4 != c->request + c->request_len || c->held || c->rest_len) {
        return BENCH_ERROR;
    }

    c->request_len = 0;

    if (strncmp(c->request, "GET /hold ", 10) == 0) {
        app_hold(c);
        return 0;
    }

    c->rest = app_answer;
    c->rest_len = app_answer_len;

    if (strncmp(c->request, "GET /held ", 10) == 0) {
        c->rest = app_count;
        c->rest_len = snprintf(app_count, sizeof(app_count),
                               "HTTP/1.1 200 OK\r\n"
                               "Content-Length: 10\r\n"
                               "\r\n"
                               "%10u", app_nheld);
    }

    return app_flush(c);
}


static int
app_flush(app_conn_t *c)
{
    ssize_t  n;

    while (c->rest_len) {
        n = bench_send(&c->sock, c->rest, c->rest_len);

        if (n == BENCH_AGAIN) {
            return 0;
        }

        if (n == BENCH_ERROR) {
            return BENCH_ERROR;
        }

        c->rest += n;
        c->rest_len -= n;

        if (c->rest_len == 0 && app_once) {
            bench_shutdown(&c->sock);
        }
    }

    return 0;
}


static void
app_hold(app_conn_t *c)
{
    c->held = 1;
    c->next = &app_held;
    c->prev = app_held.prev;
    c->prev->next = c;
    app_held.prev = c;

    app_nheld++;
}


static void
app_release(app_conn_t *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->held = 0;

    app_nheld--;

    c->rest = app_answer;
    c->rest_len = app_answer_len;

    /* 1 KB always fits into an empty socket; else epoll tells */

    (void) app_flush(c);
}


static void
app_close(app_conn_t *c)
{
    if (c->held) {
        c->prev->next = c->next;
        c->next->prev = c->prev;
        app_nheld--;
    }

    bench_close(&c->sock);
    free(c);
}
