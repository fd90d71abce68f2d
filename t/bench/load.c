
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The client of the bench.
 *
 *     load [--connections N] [--path PATH] [--new]
 *          [--tls CERT KEY TRUST IDENTITY] ADDRESS:PORT
 *
 * Reads commands from stdin, one a line, and answers each with a line of
 * JSON: "count N" sends N requests, "time MS" as many as go in that time,
 * each connection one after the other; "rate R MS" R a second, whether or not
 * the last ones were answered.  Connections are kept from command to command
 * (--new: each is for one request only), and no request is ever broken off,
 * so that whoever is between client and application pays for no handshake
 * that was not asked for.
 *
 * A response that is not 200 with 1024 bytes is an error, and so is a
 * connection that ends in the middle of one.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench_sock.h"


#define LOAD_EVENTS    512
#define LOAD_BODY      1024
#define LOAD_BUFFER    8192
#define LOAD_SAMPLES   (1 << 20)


typedef struct load_conn_s  load_conn_t;

struct load_conn_s {
    bench_sock_t    sock;
    unsigned        open:1;
    unsigned        busy:1;           /* a response is owed */
    unsigned        last:1;           /* the server will close it */
    uint64_t        start_ns;
    size_t          sent;
    size_t          len;
    char            buf[LOAD_BUFFER];
    load_conn_t    *next;             /* of those that are idle */
};


/* of one command */

typedef struct {
    uint64_t        begin_ns;
    uint64_t        end_ns;           /* no request after this; 0: no limit */
    uint64_t        left;             /* requests to begin */
    uint64_t        period_ns;        /* 0: closed loop */
    uint64_t        due_ns;
    unsigned        under_way;
    uint64_t        done;
    uint64_t        errors;
    uint64_t        connects;
    uint64_t        nsamples;
} load_run_t;


static int load_options(int argc, char **argv);
static void load_command(char *line);
static void load_run(void);
static void load_begin(void);
static void load_sleep(void);
static void load_request(load_conn_t *c, uint64_t start_ns);
static void load_event(load_conn_t *c);
static int load_write(load_conn_t *c);
static int load_read(load_conn_t *c);
static int load_response(load_conn_t *c);
static void load_done(load_conn_t *c, int error);
static void load_close(load_conn_t *c);
static void load_report(void);
static double load_percentile(double p);
static int load_compare(const void *a, const void *b);
static uint64_t load_now(void);


static struct sockaddr_in   load_target;
static bench_tls_t          load_tls;
static SSL_CTX             *load_ctx;
static const char          *load_path = "/";
static unsigned             load_nconns = 1;
static int                  load_new;

static char                 load_text[512];
static size_t               load_text_len;

static int                  load_ep;
static int                  load_timer;
static load_conn_t         *load_conns;
static load_conn_t         *load_idle;
static load_run_t           load_r;
static uint32_t             load_samples[LOAD_SAMPLES];


int
main(int argc, char **argv)
{
    char                 line[128];
    unsigned             i;
    struct epoll_event   ev;

    if (load_options(argc, argv) == -1) {
        (void) fprintf(stderr, "usage: load [--connections N] [--path PATH] "
                               "[--new] [--tls CERT KEY TRUST IDENTITY] "
                               "ADDRESS:PORT\n");
        return 2;
    }

    (void) signal(SIGPIPE, SIG_IGN);

    /* the default slack of timers is 50 us, as long as what is measured */

    (void) prctl(PR_SET_TIMERSLACK, 1);

    load_text_len = snprintf(load_text, sizeof(load_text),
                             "GET %s HTTP/1.1\r\n"
                             "Host: cart\r\n"
                             "User-Agent: load\r\n"
                             "Accept: */*\r\n"
                             "%s"
                             "\r\n", load_path,
                             load_new ? "Connection: close\r\n" : "");

    load_ep = epoll_create1(EPOLL_CLOEXEC);
    load_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC|TFD_NONBLOCK);
    load_conns = calloc(load_nconns, sizeof(load_conn_t));

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (load_ep == -1
        || load_timer == -1
        || load_conns == NULL
        || epoll_ctl(load_ep, EPOLL_CTL_ADD, load_timer, &ev) == -1)
    {
        bench_die("start");
    }

    for (i = 0; i < load_nconns; i++) {
        load_conns[i].next = load_idle;
        load_idle = &load_conns[i];
    }

    while (fgets(line, sizeof(line), stdin)) {
        load_command(line);
    }

    return 0;
}


static int
load_options(int argc, char **argv)
{
    int  i;

    for (i = 1; i < argc - 1; i++) {

        if (strcmp(argv[i], "--new") == 0) {
            load_new = 1;

        } else if (strcmp(argv[i], "--connections") == 0) {
            load_nconns = strtoul(argv[++i], NULL, 10);

        } else if (strcmp(argv[i], "--path") == 0) {
            load_path = argv[++i];

        } else if (strcmp(argv[i], "--tls") == 0 && i + 5 < argc) {
            load_tls.cert = argv[i + 1];
            load_tls.key = argv[i + 2];
            load_tls.trust = argv[i + 3];
            load_tls.identity = argv[i + 4];
            i += 4;

        } else {
            return -1;
        }
    }

    if (i != argc - 1 || load_nconns == 0) {
        return -1;
    }

    bench_addr(&load_target, argv[i]);

    if (load_tls.cert) {
        load_ctx = bench_tls_new(&load_tls, 0);

        (void) SSL_CTX_set_alpn_protos(load_ctx,
                              (unsigned char *) "\6mesh/1\10http/1.1", 16);
    }

    return 0;
}


static void
load_command(char *line)
{
    unsigned long  a, b;

    memset(&load_r, 0, sizeof(load_run_t));
    load_r.left = UINT64_MAX;
    load_r.begin_ns = load_now();

    if (sscanf(line, "count %lu", &a) == 1) {
        load_r.left = a;

    } else if (sscanf(line, "time %lu", &b) == 1) {
        load_r.end_ns = load_r.begin_ns + b * 1000000;

    } else if (sscanf(line, "rate %lu %lu", &a, &b) == 2 && a > 0) {
        load_r.end_ns = load_r.begin_ns + b * 1000000;
        load_r.period_ns = 1000000000 / a;
        load_r.due_ns = load_r.begin_ns + load_r.period_ns;

    } else {
        errno = EINVAL;
        bench_die(line);
    }

    load_run();
    load_report();
}


static void
load_run(void)
{
    int                  i, n;
    struct epoll_event   events[LOAD_EVENTS];

    for ( ;; ) {
        load_begin();

        if (load_r.under_way == 0 && load_r.left == 0) {
            return;
        }

        n = epoll_wait(load_ep, events, LOAD_EVENTS, -1);

        for (i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                load_event(events[i].data.ptr);

            } else {
                uint64_t  expired;

                (void) read(load_timer, &expired, sizeof(expired));
            }
        }
    }
}


/*
 * At a fixed rate a request starts when it is due if a connection is free
 * then, and is late, from when it was due, if not.
 */

static void
load_begin(void)
{
    uint64_t      now_ns, start_ns;
    load_conn_t  *c;

    while (load_idle && load_r.left) {

        now_ns = load_now();
        start_ns = now_ns;

        if (load_r.period_ns) {

            if (load_r.due_ns >= load_r.end_ns) {
                load_r.left = 0;
                return;
            }

            if (load_r.due_ns > now_ns) {
                load_sleep();
                return;
            }

            if (load_idle->start_ns > load_r.due_ns) {
                start_ns = load_r.due_ns;
            }

            load_r.due_ns += load_r.period_ns;

        } else if (load_r.end_ns && now_ns >= load_r.end_ns) {
            load_r.left = 0;
            return;
        }

        c = load_idle;
        load_idle = c->next;

        load_r.left--;
        load_request(c, start_ns);
    }
}


static void
load_sleep(void)
{
    struct itimerspec  its;

    memset(&its, 0, sizeof(its));
    its.it_value.tv_sec = load_r.due_ns / 1000000000;
    its.it_value.tv_nsec = load_r.due_ns % 1000000000;

    if (timerfd_settime(load_timer, TFD_TIMER_ABSTIME, &its, NULL) == -1) {
        bench_die("timer");
    }
}


static void
load_request(load_conn_t *c, uint64_t start_ns)
{
    c->busy = 1;
    c->start_ns = start_ns;
    c->sent = 0;
    c->len = 0;

    load_r.under_way++;

    if (!c->open) {
        load_r.connects++;

        if (bench_connect(&c->sock, &load_target, load_ep, c, load_ctx)
            == BENCH_ERROR)
        {
            load_done(c, 1);
            return;
        }

        c->open = 1;
        c->last = load_new;

        return;                            /* epoll tells when it stands */
    }

    if (load_write(c) == BENCH_ERROR) {
        load_done(c, 1);
    }
}


static void
load_event(load_conn_t *c)
{
    if (!c->open) {
        return;
    }

    if (!c->busy) {
        load_close(c);                     /* its idle time was over */
        return;
    }

    if (load_write(c) == BENCH_ERROR || load_read(c) == BENCH_ERROR) {
        load_done(c, 1);
        return;
    }

    if (c->open && c->sent == load_text_len
        && bench_want(&c->sock, EPOLLIN, c) == -1)
    {
        bench_die("epoll");
    }
}


static int
load_write(load_conn_t *c)
{
    ssize_t   n;
    unsigned  events;

    if (c->sent == load_text_len) {
        return 0;
    }

    n = bench_send(&c->sock, load_text + c->sent, load_text_len - c->sent);

    if (n == BENCH_ERROR) {
        return BENCH_ERROR;
    }

    if (n > 0) {
        c->sent += n;
    }

    events = EPOLLIN | (c->sock.blocked ? EPOLLOUT : 0);

    return bench_want(&c->sock, events, c);
}


static int
load_read(load_conn_t *c)
{
    ssize_t  n;

    while (c->busy && c->sent == load_text_len) {

        n = bench_recv(&c->sock, c->buf + c->len, LOAD_BUFFER - 1 - c->len);

        if (n == BENCH_AGAIN) {
            return 0;
        }

        if (n <= 0) {
            return BENCH_ERROR;
        }

        c->len += n;
        c->buf[c->len] = '\0';

        switch (load_response(c)) {

        case BENCH_AGAIN:
            break;

        case BENCH_ERROR:
            return BENCH_ERROR;

        default:
            load_done(c, 0);
        }
    }

    return 0;
}


static int
load_response(load_conn_t *c)
{
    char  *body;

    body = strstr(c->buf, "\r\n\r\n");

    if (body == NULL) {
        return c->len == LOAD_BUFFER - 1 ? BENCH_ERROR : BENCH_AGAIN;
    }

    body += 4;

    if (c->buf + c->len < body + LOAD_BODY) {
        return BENCH_AGAIN;
    }

    if (strncmp(c->buf, "HTTP/1.1 200 ", 13) != 0
        || c->buf + c->len != body + LOAD_BODY
        || strspn(body, "x") != LOAD_BODY)
    {
        return BENCH_ERROR;
    }

    *body = '\0';

    if (strcasestr(c->buf, "\nconnection: close")) {
        c->last = 1;
    }

    return 0;
}


static void
load_done(load_conn_t *c, int error)
{
    uint64_t  ns;

    ns = load_now() - c->start_ns;

    c->busy = 0;

    load_r.under_way--;
    load_r.done++;
    load_r.errors += error;

    if (load_r.nsamples < LOAD_SAMPLES) {
        load_samples[load_r.nsamples++] = ns > UINT32_MAX ? UINT32_MAX
                                                          : (uint32_t) ns;
    }

    if (error || c->last) {
        load_close(c);
    }

    c->start_ns += ns;                     /* is free since then */
    c->next = load_idle;
    load_idle = c;
}


static void
load_close(load_conn_t *c)
{
    if (c->open) {
        bench_close(&c->sock);
        c->open = 0;
        c->last = 0;
    }
}


static void
load_report(void)
{
    double  seconds;

    seconds = (load_now() - load_r.begin_ns) / 1e9;

    qsort(load_samples, load_r.nsamples, sizeof(uint32_t), load_compare);

    (void) printf("{\"requests\": %lu, \"errors\": %lu, \"connects\": %lu, "
                  "\"seconds\": %.6f, \"p50_us\": %.2f, \"p90_us\": %.2f, "
                  "\"p99_us\": %.2f, \"p999_us\": %.2f}\n",
                  (unsigned long) load_r.done, (unsigned long) load_r.errors,
                  (unsigned long) load_r.connects, seconds,
                  load_percentile(0.5), load_percentile(0.9),
                  load_percentile(0.99), load_percentile(0.999));

    (void) fflush(stdout);
}


static double
load_percentile(double p)
{
    if (load_r.nsamples == 0) {
        return 0;
    }

    return load_samples[(uint64_t) (p * (load_r.nsamples - 1))] / 1e3;
}


static int
load_compare(const void *a, const void *b)
{
    uint32_t  x, y;

    x = *(const uint32_t *) a;
    y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static uint64_t
load_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}
