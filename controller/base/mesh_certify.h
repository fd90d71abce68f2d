
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_CERTIFY_H_INCLUDED_
#define _MESH_CERTIFY_H_INCLUDED_

/*
 * The client of meshd identity: a new key, its request, a token; back come
 * the chain and the trust bundle, verified.  Asynchronous, on libevent.
 */

#include <mesh_core.h>

#include <event2/event.h>


typedef struct {
    struct event_base  *base;
    const char         *server;      /* HOST:PORT, [V6]:PORT */
    const char         *server_id;   /* SPIFFE ID that the server must have */
    const char         *id;          /* ours */
    const char         *token;       /* without line ends */
    const char         *trust;       /* PEM bundle in hand */
    int                 timeout_ms;  /* for all of it; 0: 10000 */
} mesh_certify_conf_t;


typedef struct {
    const char         *key;         /* PEM, PKCS#8 */
    const char         *chain;       /* PEM, leaf first, then issuer(s) */
    const char         *trust;       /* PEM, the bundle from now on */
    time_t              not_before;  /* of the leaf */
    time_t              not_after;
} mesh_certified_t;


typedef struct mesh_certify_s  mesh_certify_t;

/*
 * Called once, from the loop.  rc MESH_OK: *got, which is freed after the
 * call; MESH_DECLINED: the server said no, and the sentence is its own
 * (asking again with the same token is of little use); MESH_ERROR: no answer
 * that can be trusted.  The handle is gone when the handler returns.
 */
typedef void (*mesh_certify_pt)(void *data, int rc,
    const mesh_certified_t *got, const mesh_err_t *err);

/*
 * Starts; conf and its strings may go when it returns.  The server's
 * certificate must chain to conf->trust and carry conf->server_id before the
 * token is sent.  Of the answer: the leaf must fit the new key, carry
 * conf->id, and chain to the answer's bundle now; the bundle is taken as it
 * came over this verified connection.  NULL: *err.
 */
mesh_certify_t *mesh_certify_start(const mesh_certify_conf_t *conf,
    mesh_certify_pt handler, void *data, mesh_err_t *err);

/* stops; the handler is not called */
void mesh_certify_cancel(mesh_certify_t *certify);


#endif /* _MESH_CERTIFY_H_INCLUDED_ */
