
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_HTTPD_H_INCLUDED_
#define _MESH_HTTPD_H_INCLUDED_

/*
 * A small HTTP/1.1 server on libevent, plain, over TLS, or on a unix socket:
 * routes as a table, small bodies, limits on everything that a stranger can
 * make large or slow.  The process ignores SIGPIPE.
 */

#include <mesh_core.h>

#include <event2/event.h>
#include <openssl/ssl.h>


typedef struct mesh_httpd_s          mesh_httpd_t;
typedef struct mesh_httpd_request_s  mesh_httpd_request_t;

/*
 * Answers by mesh_httpd_answer(), now or later from the loop.  A client may
 * go before a later answer: keep what mesh_httpd_on_close() tells.
 */
typedef void (*mesh_httpd_handler_pt)(mesh_httpd_request_t *r, void *data);


typedef struct {
    const char             *method;       /* "GET" (HEAD too), "POST" */
    const char             *path;         /* exact, without the query */
    mesh_httpd_handler_pt   handler;
} mesh_httpd_route_t;                     /* ends with a NULL path */


/*
 * What the server itself refuses (400 404 405 408 413 431 ..) is shown to
 * refused, if that is set, which answers in the house's format; else the
 * answer is "text\n" as text/plain.
 */
typedef void (*mesh_httpd_refused_pt)(mesh_httpd_request_t *r, int status,
    const char *text, void *data);


typedef struct {
    struct event_base         *base;
    SSL_CTX                   *ssl;       /* NULL: plain; a reference is kept */
    const mesh_httpd_route_t  *routes;
    mesh_httpd_refused_pt      refused;
    void                      *data;      /* for handlers and refused */
    size_t                     head_max_bytes;   /* 0: 16384 */
    size_t                     body_max_bytes;   /* 0: 16384 */
    int                        connections_max;  /* 0: 512 */
    int                        request_ms;  /* 0: 10000; handshake, or first
                                               byte to last of a request */
    int                        idle_ms;     /* 0: 30000; between requests */
} mesh_httpd_conf_t;


mesh_httpd_t *mesh_httpd_new(const mesh_httpd_conf_t *conf, mesh_err_t *err);
void mesh_httpd_free(mesh_httpd_t *httpd);

/* "127.0.0.1:8443", "[::]:8443" (v6 only), port 0: any free one */
int mesh_httpd_listen(mesh_httpd_t *httpd, const char *address,
    mesh_err_t *err);

/* replaces a socket that is there */
int mesh_httpd_listen_unix(mesh_httpd_t *httpd, const char *path,
    mode_t mode, mesh_err_t *err);

/* the port of the last mesh_httpd_listen() */
int mesh_httpd_port(const mesh_httpd_t *httpd);

/* for connections from now on; takes a reference */
void mesh_httpd_ssl_set(mesh_httpd_t *httpd, SSL_CTX *ssl);


/* the request, while it is not answered */

const char *mesh_httpd_method(const mesh_httpd_request_t *r);
const char *mesh_httpd_path(const mesh_httpd_request_t *r);
const char *mesh_httpd_query(const mesh_httpd_request_t *r);   /* or NULL */
const char *mesh_httpd_header(const mesh_httpd_request_t *r,
    const char *name);                                         /* or NULL */
const char *mesh_httpd_body(const mesh_httpd_request_t *r, size_t *len);
const char *mesh_httpd_client(const mesh_httpd_request_t *r);  /* "[::1]:99" */

/* handler is called if the client goes before the answer */
void mesh_httpd_on_close(mesh_httpd_request_t *r, void (*handler)(void *data),
    void *data);


/* a header of the answer, before it; CR and LF in value are not sent */
void mesh_httpd_answer_header(mesh_httpd_request_t *r, const char *name,
    const char *value);

/* answers; r is gone when this returns */
void mesh_httpd_answer(mesh_httpd_request_t *r, int status, const char *type,
    const char *body, size_t len);


#endif /* _MESH_HTTPD_H_INCLUDED_ */
