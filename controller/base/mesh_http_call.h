
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_HTTP_CALL_H_INCLUDED_
#define _MESH_HTTP_CALL_H_INCLUDED_

/*
 * One small request over HTTP or HTTPS, one connection, asynchronous: what
 * programs without libcurl use.  Names are resolved by evdns, which reads
 * resolv.conf and hosts anew for each call.  The process ignores SIGPIPE.
 */

#include <mesh_core.h>
#include <mesh_http.h>

#include <event2/event.h>
#include <openssl/ssl.h>


typedef struct {
    struct event_base         *base;
    const char                *server;    /* HOST:PORT, [V6]:PORT */
    SSL_CTX                   *ssl;       /* NULL: plain; verifies the chain */
    const char                *server_id; /* its SPIFFE ID, checked before a
                                             byte of the request is sent;
                                             required with ssl */
    const char                *method;
    const char                *path;
    const mesh_http_header_t  *headers;
    size_t                     nheaders;
    const char                *body;
    size_t                     len;
    size_t                     max_bytes; /* of the answer's body; 0: 1 MB */
    int                        timeout_ms;  /* for all of it; 0: 10000 */
} mesh_http_call_conf_t;


typedef struct {
    int                        status;
    const char                *body;      /* NUL terminated */
    size_t                     len;
    const mesh_http_head_t    *head;
} mesh_http_answer_t;


typedef struct mesh_http_call_s  mesh_http_call_t;

/*
 * Called once, from the loop: MESH_OK and a whole answer of any status,
 * freed after the call, or MESH_ERROR and why.  The handle is gone then.
 */
typedef void (*mesh_http_call_pt)(void *data, int rc,
    const mesh_http_answer_t *answer, const mesh_err_t *err);

/* conf and what it points to may go when this returns; NULL: *err */
mesh_http_call_t *mesh_http_call_start(const mesh_http_call_conf_t *conf,
    mesh_http_call_pt handler, void *data, mesh_err_t *err);

/* stops; the handler is not called */
void mesh_http_call_cancel(mesh_http_call_t *call);

/*
 * A client's context: TLS 1.3, the server's chain must end in the PEM
 * bundle.  SSL_CTX_free().
 */
SSL_CTX *mesh_http_call_ssl_new(const char *trust, mesh_err_t *err);


#endif /* _MESH_HTTP_CALL_H_INCLUDED_ */
