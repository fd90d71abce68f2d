
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The floor: what one sidecar costs if it does nothing but move bytes in
 * mutual TLS.
 *
 *     relay out|in LISTEN TARGET CERT KEY TRUST [IDENTITY]
 *
 * "out" speaks TLS to the target, which must have the identity, "in" to the
 * client.  One connection there for each one here, no HTTP, no counting.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "bench_sock.h"


#define RELAY_EVENTS   512
#define RELAY_BUFFER   16384


typedef struct relay_side_s  relay_side_t;

struct relay_side_s {
    bench_sock_t    sock;
    relay_side_t   *peer;
    char           *rest;             /* not yet sent to this side */
    size_t          rest_len;
    unsigned        end:1;            /* it will send no more */
    unsigned        dead:1;
    relay_side_t   *next;             /* of those to be freed */
};


static void relay_open(int listener, int ep);
static void relay_event(relay_side_t *side, unsigned events);
static int relay_read(relay_side_t *side);
static int relay_write(relay_side_t *side, char *buf, size_t len);
static int relay_flush(relay_side_t *side);
static int relay_wait(relay_side_t *side);
static void relay_close(relay_side_t *side);
static void relay_free_dead(void);


static struct sockaddr_in   relay_target;
static SSL_CTX             *relay_client_ctx;
static SSL_CTX             *relay_server_ctx;
static relay_side_t        *relay_dead;
static char                 relay_buffer[RELAY_BUFFER];


int
main(int argc, char **argv)
{
    int                 i, n, ep, listener;
    bench_tls_t         tls;
    struct epoll_event  ev, events[RELAY_EVENTS];
    struct sockaddr_in  sa;

    if (argc < 7 || (strcmp(argv[1], "out") && strcmp(argv[1], "in"))) {
        (void) fprintf(stderr, "usage: relay out|in LISTEN TARGET CERT KEY "
                               "TRUST [IDENTITY]\n");
        return 2;
    }

    tls.cert = argv[4];
    tls.key = argv[5];
    tls.trust = argv[6];
    tls.identity = argv[7];

    if (strcmp(argv[1], "out") == 0) {
        relay_client_ctx = bench_tls_new(&tls, 0);

    } else {
        relay_server_ctx = bench_tls_new(&tls, 1);
    }

    (void) signal(SIGPIPE, SIG_IGN);

    bench_addr(&sa, argv[2]);
    bench_addr(&relay_target, argv[3]);

    ep = epoll_create1(EPOLL_CLOEXEC);
    listener = bench_listen(&sa);

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (ep == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) == -1) {
        bench_die("epoll");
    }

    for ( ;; ) {
        n = epoll_wait(ep, events, RELAY_EVENTS, -1);

        if (n == -1 && errno != EINTR) {
            bench_die("epoll_wait");
        }

        for (i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                relay_event(events[i].data.ptr, events[i].events);

            } else {
                relay_open(listener, ep);
            }
        }

        relay_free_dead();
    }
}


static void
relay_open(int listener, int ep)
{
    relay_side_t  *client, *target;

    client = calloc(1, sizeof(relay_side_t));
    target = calloc(1, sizeof(relay_side_t));

    if (client == NULL || target == NULL) {
        bench_die("memory");
    }

    client->peer = target;
    target->peer = client;

    if (bench_accept(&client->sock, listener, ep, client, relay_server_ctx)
        == BENCH_ERROR)
    {
        goto failed;
    }

    if (bench_connect(&target->sock, &relay_target, ep, target,
                      relay_client_ctx)
        == BENCH_ERROR)
    {
        bench_close(&client->sock);
        goto failed;
    }

    return;

failed:

    free(client);
    free(target);
}


/* whatever happened: send what waits for this side, read what it sends */

static void
relay_event(relay_side_t *side, unsigned events)
{
    if (side->dead) {
        return;
    }

    if (side->end && (events & (EPOLLERR|EPOLLHUP))) {
        relay_close(side);
        return;
    }

    if (relay_flush(side) == BENCH_ERROR
        || relay_read(side) == BENCH_ERROR
        || relay_wait(side) == BENCH_ERROR
        || relay_wait(side->peer) == BENCH_ERROR)
    {
        relay_close(side);
    }
}


static int
relay_read(relay_side_t *side)
{
    ssize_t  n;

    while (!side->end && side->peer->rest_len == 0) {

        n = bench_recv(&side->sock, relay_buffer, RELAY_BUFFER);

        if (n == BENCH_AGAIN || n == BENCH_ERROR) {
            return n;
        }

        if (n == 0) {
            side->end = 1;
            bench_shutdown(&side->peer->sock);

            return side->peer->end ? BENCH_ERROR : 0;
        }

        if (relay_write(side->peer, relay_buffer, n) == BENCH_ERROR) {
            return BENCH_ERROR;
        }

        if (!bench_pending(&side->sock)) {
            break;                         /* epoll tells if there is more */
        }
    }

    return 0;
}


/* what cannot be sent now is kept; until it is, the peer is not read */

static int
relay_write(relay_side_t *side, char *buf, size_t len)
{
    ssize_t  n;

    while (len) {
        n = bench_send(&side->sock, buf, len);

        if (n == BENCH_ERROR) {
            return BENCH_ERROR;
        }

        if (n == BENCH_AGAIN) {
            break;
        }

        buf += n;
        len -= n;
    }

    if (len == 0) {
        return 0;
    }

    side->rest = malloc(len);
    if (side->rest == NULL) {
        bench_die("memory");
    }

    memcpy(side->rest, buf, len);
    side->rest_len = len;

    return 0;
}


static int
relay_flush(relay_side_t *side)
{
    int      rc;
    char    *rest;
    size_t   len;

    if (side->rest_len == 0) {
        return 0;
    }

    rest = side->rest;
    len = side->rest_len;

    side->rest = NULL;
    side->rest_len = 0;

    rc = relay_write(side, rest, len);

    free(rest);

    if (rc == BENCH_ERROR || side->rest_len) {
        return rc;
    }

    return relay_read(side->peer);
}


static int
relay_wait(relay_side_t *side)
{
    unsigned  events;

    events = 0;

    if (!side->end && side->peer->rest_len == 0) {
        events |= EPOLLIN;
    }

    if (side->sock.blocked) {
        events |= EPOLLOUT;
    }

    if (side->sock.ssl && side->rest_len) {
        events |= EPOLLIN;                 /* for the handshake */
    }

    return bench_want(&side->sock, events, side);
}


/* the other side may stand in the same batch of events */

static void
relay_close(relay_side_t *side)
{
    bench_close(&side->sock);
    bench_close(&side->peer->sock);

    side->dead = 1;
    side->peer->dead = 1;

    side->next = side->peer;
    side->peer->next = relay_dead;
    relay_dead = side;
}


static void
relay_free_dead(void)
{
    relay_side_t  *side;

    while (relay_dead) {
        side = relay_dead;
        relay_dead = side->next;

        free(side->rest);
        free(side);
    }
}
