
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Sockets of the bench programs.  Calls and options are those of nginx, so
 * that the relay made of them is what nginx could be at best: one epoll_wait
 * for many events, one read and one write for a message, no call to change
 * what is waited for.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "bench_sock.h"


static int bench_open(bench_sock_t *s, int fd, int ep, unsigned events,
    void *data, SSL_CTX *ctx);
static ssize_t bench_result(ssize_t n);
static ssize_t bench_tls_result(bench_sock_t *s, int n);
static int bench_tls_verify(int ok, X509_STORE_CTX *ctx);
static int bench_tls_same(X509 *cert, const char *identity);


SSL_CTX *
bench_tls_new(const bench_tls_t *tls, int server)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    if (ctx == NULL
        || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_use_certificate_chain_file(ctx, tls->cert) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, tls->key, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_load_verify_locations(ctx, tls->trust, NULL) != 1
        || SSL_CTX_set_app_data(ctx, (void *) tls->identity) != 1)
    {
        ERR_print_errors_fp(stderr);
        bench_die("TLS");
    }

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER|SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       bench_tls_verify);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS
                          |SSL_MODE_NO_AUTO_CHAIN
                          |SSL_MODE_ENABLE_PARTIAL_WRITE
                          |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    return ctx;
}


/* the leaf comes last, when all else has been found good */

static int
bench_tls_verify(int ok, X509_STORE_CTX *ctx)
{
    SSL         *ssl;
    const char  *identity;

    ssl = X509_STORE_CTX_get_ex_data(ctx,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());
    identity = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (!ok
        || identity == NULL
        || X509_STORE_CTX_get_error_depth(ctx) != 0
        || bench_tls_same(X509_STORE_CTX_get_current_cert(ctx), identity))
    {
        return ok;
    }

    X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);

    return 0;
}


static int
bench_tls_same(X509 *cert, const char *identity)
{
    int             i, same, uris;
    size_t          len;
    ASN1_STRING    *uri;
    GENERAL_NAME   *name;
    GENERAL_NAMES  *names;

    same = 0;
    uris = 0;
    len = strlen(identity);

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI) {
            continue;
        }

        uri = name->d.uniformResourceIdentifier;
        uris++;

        same = (size_t) ASN1_STRING_length(uri) == len
               && memcmp(ASN1_STRING_get0_data(uri), identity, len) == 0;
    }

    GENERAL_NAMES_free(names);

    return same && uris == 1;
}


void
bench_addr(struct sockaddr_in *sa, const char *text)
{
    char        *end, host[64];
    long         port;
    size_t       len;
    const char  *colon;

    memset(sa, 0, sizeof(struct sockaddr_in));
    sa->sin_family = AF_INET;

    colon = strrchr(text, ':');
    len = colon ? (size_t) (colon - text) : 0;

    if (len == 0 || len >= sizeof(host)) {
        goto failed;
    }

    memcpy(host, text, len);
    host[len] = '\0';

    port = strtol(colon + 1, &end, 10);

    if (*end != '\0' || port < 1 || port > 65535
        || inet_pton(AF_INET, host, &sa->sin_addr) != 1)
    {
        goto failed;
    }

    sa->sin_port = htons((uint16_t) port);

    return;

failed:

    errno = EINVAL;
    bench_die(text);
}


int
bench_listen(const struct sockaddr_in *sa)
{
    int  fd, one;

    one = 1;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1
        || bind(fd, (struct sockaddr *) sa, sizeof(struct sockaddr_in)) == -1
        || listen(fd, 4096) == -1)
    {
        bench_die("listen");
    }

    return fd;
}


int
bench_accept(bench_sock_t *s, int listener, int ep, void *data, SSL_CTX *ctx)
{
    int  fd;

    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);
    if (fd == -1) {
        return BENCH_ERROR;
    }

    if (bench_open(s, fd, ep, EPOLLIN, data, ctx) == BENCH_ERROR) {
        return BENCH_ERROR;
    }

    if (s->ssl) {
        SSL_set_accept_state(s->ssl);
    }

    return 0;
}


int
bench_connect(bench_sock_t *s, const struct sockaddr_in *sa, int ep,
    void *data, SSL_CTX *ctx)
{
    int  fd;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return BENCH_ERROR;
    }

    if (connect(fd, (struct sockaddr *) sa, sizeof(struct sockaddr_in)) == -1
        && errno != EINPROGRESS)
    {
        (void) close(fd);
        return BENCH_ERROR;
    }

    if (bench_open(s, fd, ep, EPOLLIN|EPOLLOUT, data, ctx) == BENCH_ERROR) {
        return BENCH_ERROR;
    }

    if (s->ssl) {
        SSL_set_connect_state(s->ssl);
    }

    return 0;
}


static int
bench_open(bench_sock_t *s, int fd, int ep, unsigned events, void *data,
    SSL_CTX *ctx)
{
    int                 one;
    struct epoll_event  ev;

    one = 1;

    memset(s, 0, sizeof(bench_sock_t));
    s->fd = fd;
    s->ep = ep;
    s->events = events;

    ev.events = events;
    ev.data.ptr = data;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1)
    {
        goto failed;
    }

    if (ctx == NULL) {
        return 0;
    }

    s->ssl = SSL_new(ctx);

    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1) {
        goto failed;
    }

    return 0;

failed:

    bench_close(s);

    return BENCH_ERROR;
}


int
bench_want(bench_sock_t *s, unsigned events, void *data)
{
    struct epoll_event  ev;

    if (events == s->events) {
        return 0;
    }

    s->events = events;

    ev.events = events;
    ev.data.ptr = data;

    return epoll_ctl(s->ep, EPOLL_CTL_MOD, s->fd, &ev);
}


ssize_t
bench_recv(bench_sock_t *s, void *buf, size_t size)
{
    if (s->ssl) {
        return bench_tls_result(s, SSL_read(s->ssl, buf, size));
    }

    return bench_result(recv(s->fd, buf, size, 0));
}


ssize_t
bench_send(bench_sock_t *s, const void *buf, size_t size)
{
    ssize_t  n;

    s->blocked = 0;

    if (s->ssl) {
        return bench_tls_result(s, SSL_write(s->ssl, buf, size));
    }

    n = bench_result(send(s->fd, buf, size, MSG_NOSIGNAL));
    s->blocked = (n == BENCH_AGAIN);

    return n;
}


static ssize_t
bench_result(ssize_t n)
{
    if (n == -1) {
        return (errno == EAGAIN || errno == EINTR) ? BENCH_AGAIN : BENCH_ERROR;
    }

    return n;
}


static ssize_t
bench_tls_result(bench_sock_t *s, int n)
{
    if (n > 0) {
        return n;
    }

    switch (SSL_get_error(s->ssl, n)) {

    case SSL_ERROR_WANT_READ:
        return BENCH_AGAIN;

    case SSL_ERROR_WANT_WRITE:
        s->blocked = 1;
        return BENCH_AGAIN;

    case SSL_ERROR_ZERO_RETURN:
        return 0;

    default:
        ERR_clear_error();
        return BENCH_ERROR;
    }
}


int
bench_pending(bench_sock_t *s)
{
    return s->ssl && SSL_has_pending(s->ssl);
}


void
bench_shutdown(bench_sock_t *s)
{
    if (s->ssl) {
        (void) SSL_shutdown(s->ssl);
        ERR_clear_error();
    }

    (void) shutdown(s->fd, SHUT_WR);
}


void
bench_close(bench_sock_t *s)
{
    if (s->ssl) {
        SSL_free(s->ssl);
        s->ssl = NULL;
    }

    if (s->fd != -1) {
        (void) close(s->fd);
        s->fd = -1;
    }
}


void
bench_die(const char *what)
{
    (void) fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name,
                   what, strerror(errno));
    exit(1);
}
