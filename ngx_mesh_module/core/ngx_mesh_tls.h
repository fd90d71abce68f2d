
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_TLS_H_INCLUDED_
#define _NGX_MESH_TLS_H_INCLUDED_

/*
 * Mutual TLS between sidecars: certificate, key and trust bundle of this pod
 * (mesh_identity, mesh_certificate, mesh_trust), followed live; verification
 * that fails shut; who the peer is.
 */

#include <ngx_mesh.h>
#include <ngx_event_openssl.h>


/* a verified peer, in the pool of its connection */

struct ngx_mesh_peer_s {
    ngx_str_t                 id;        /* its only URI SAN */
    time_t                    not_after; /* earliest of the chain */
    uint64_t                  trust;     /* bundle generation that held */
};


/*
 * Grows by one whenever the pair or the bundle was swapped: part of the key
 * of a pooled connection.
 */
uint64_t ngx_mesh_tls_generation(void);

/* the client side's ngx_ssl_t, TLS 1.3 only; NULL: no mesh_certificate */
ngx_ssl_t *ngx_mesh_tls_client(void);

/*
 * Before a client handshake (from peer.set_session): trust bundle, verify
 * callback, expected identity (must outlive the handshake), ALPN mesh/1 and
 * alpn (MESH_ALPN_HTTP1 ..).  NGX_ERROR: do not connect.
 */
ngx_int_t ngx_mesh_tls_expect(ngx_connection_t *c, ngx_str_t *identity,
    const char *alpn);

/* calls handler(data) once c's client handshake, set up by expect, is done */
void ngx_mesh_tls_when_done(ngx_connection_t *c,
    void (*handler)(void *data), void *data);

/*
 * At configuration time, once per server with mesh_tls mtls: takes a server
 * context under control (verification, live certificate).
 */
ngx_int_t ngx_mesh_tls_server(ngx_conf_t *cf, ngx_ssl_t *ssl);

/*
 * For the directives mesh_tls of http and stream, before the ssl modules
 * merge: the files of mesh_certificate, as if ssl_certificate and
 * ssl_certificate_key had been typed.  An array that is there already stays.
 * NGX_CONF_OK or what is wrong.
 */
char *ngx_mesh_tls_files(ngx_conf_t *cf, ngx_array_t **certificates,
    ngx_array_t **keys);

/* our own SPIFFE ID (mesh_identity); len 0: none */
ngx_str_t *ngx_mesh_tls_identity(void);

/*
 * Was c's client handshake refused: by our verification, by a fatal alert of
 * the peer (which TLS 1.3 may send after our side was done), or because the
 * other side does not speak TLS?
 */
ngx_uint_t ngx_mesh_tls_refused(ngx_connection_t *c);

/* of a refused one: there was no alert, whoever it is does not speak TLS */
ngx_uint_t ngx_mesh_tls_silent(ngx_connection_t *c);

/* who is on the other side of c's finished handshake, or NULL */
ngx_mesh_peer_t *ngx_mesh_tls_peer(ngx_connection_t *c);

/*
 * Is the peer still good, by now and by the bundle in use?  NGX_OK or
 * NGX_DECLINED with a mesh error code in *reason.  Cheap but after a swap.
 */
ngx_int_t ngx_mesh_tls_peer_check(ngx_connection_t *c, ngx_mesh_peer_t *peer,
    time_t now, const char **reason);


#endif /* _NGX_MESH_TLS_H_INCLUDED_ */
