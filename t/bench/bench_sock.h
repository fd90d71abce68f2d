
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _BENCH_SOCK_H_INCLUDED_
#define _BENCH_SOCK_H_INCLUDED_

/*
 * A non-blocking TCP connection of the bench programs, with TLS or without,
 * and their epoll.  The handshake happens inside of the first calls of recv
 * and send.
 */

#include <stddef.h>
#include <sys/types.h>
#include <netinet/in.h>
#include <openssl/ssl.h>


/* what recv and send return beside a number of bytes; recv: 0 is the end */

#define BENCH_ERROR  -1
#define BENCH_AGAIN  -2


typedef struct {
    int          fd;
    int          ep;                  /* epoll it is registered with */
    unsigned     events;              /* what it is registered for */
    unsigned     blocked:1;           /* waits for room to write */
    SSL         *ssl;
} bench_sock_t;


/* files in PEM; identity: the only URI a peer may have, or NULL */

typedef struct {
    const char  *cert;
    const char  *key;
    const char  *trust;
    const char  *identity;
} bench_tls_t;


/*
 * A context for one side of mutual TLS 1.3, set up as nginx does it (buffers
 * released, read ahead, no tickets); exits with a message on failure.
 */
SSL_CTX *bench_tls_new(const bench_tls_t *tls, int server);

/* "10.96.0.1:80"; exits with a message if it is not an IPv4 address */
void bench_addr(struct sockaddr_in *sa, const char *text);

/* a listening socket; exits with a message on failure */
int bench_listen(const struct sockaddr_in *sa);

/*
 * Fill *s and register it in ep with data, for reading (and writing, as long
 * as it connects).  ctx: TLS.  BENCH_ERROR: nothing is open.
 */
int bench_accept(bench_sock_t *s, int listener, int ep, void *data,
    SSL_CTX *ctx);
int bench_connect(bench_sock_t *s, const struct sockaddr_in *sa, int ep,
    void *data, SSL_CTX *ctx);

/* events of epoll, changed by a system call only if they are others */
int bench_want(bench_sock_t *s, unsigned events, void *data);

ssize_t bench_recv(bench_sock_t *s, void *buf, size_t size);
ssize_t bench_send(bench_sock_t *s, const void *buf, size_t size);

/* bytes that were read from the socket and not by recv yet */
int bench_pending(bench_sock_t *s);

/* no more bytes will be sent */
void bench_shutdown(bench_sock_t *s);

void bench_close(bench_sock_t *s);

/* prints "PROGRAM: what: errno" and exits with 1 */
void bench_die(const char *what);


#endif /* _BENCH_SOCK_H_INCLUDED_ */
