
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_TLS_PAIR_H_INCLUDED_
#define _NGX_MESH_TLS_PAIR_H_INCLUDED_

/*
 * A pod's certificate chain, key and trust bundle, read and judged as one.
 * C11 and OpenSSL, no nginx: ngx_mesh_tls puts a good pair to use.
 */

#include <stdint.h>
#include <time.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>


#define NGX_MESH_TLS_FILE_MAX     (1024 * 1024)
#define NGX_MESH_TLS_DIGEST       32
#define NGX_MESH_TLS_EPOCH_MAX    64
#define NGX_MESH_TLS_ERR_MAX      256


/*
 * Names are NUL terminated.  With dir the others are names in it: the files
 * are then taken from the directory that dir is or points to at one moment.
 */

typedef struct {
    const char               *dir;       /* NULL: names are whole paths */
    const char               *cert;      /* leaf first, then its issuers */
    const char               *key;
    const char               *trust;
} ngx_mesh_tls_files_t;


typedef struct {
    X509                     *leaf;
    STACK_OF(X509)           *chain;     /* without the leaf; may be empty */
    EVP_PKEY                 *key;
    X509_STORE               *store;     /* the bundle */
    unsigned char             pair_digest[NGX_MESH_TLS_DIGEST];
    unsigned char             trust_digest[NGX_MESH_TLS_DIGEST];
    char                      epoch[NGX_MESH_TLS_EPOCH_MAX];
} ngx_mesh_tls_pair_t;


/*
 * Reads the files.  NULL, or what is wrong, written to err.  *pair is always
 * to be freed; its epoch is set whenever the directory can be told.
 */
const char *ngx_mesh_tls_pair_load(ngx_mesh_tls_pair_t *pair,
    const ngx_mesh_tls_files_t *files, char err[NGX_MESH_TLS_ERR_MAX]);

/*
 * Key fits certificate, certificate has identity (of len bytes) as its only
 * URI, chain verifies against the bundle as client and as server at now.
 * NULL, or what is wrong.
 */
const char *ngx_mesh_tls_pair_check(ngx_mesh_tls_pair_t *pair,
    const char *identity, size_t len, time_t now,
    char err[NGX_MESH_TLS_ERR_MAX]);

void ngx_mesh_tls_pair_free(ngx_mesh_tls_pair_t *pair);

/*
 * The only URI among cert's alternative names, if it is a SPIFFE ID: NULL
 * and *id (of *len bytes, to be given to OPENSSL_free), or what is wrong.
 */
const char *ngx_mesh_tls_cert_id(X509 *cert, char **id, size_t *len);

/* when the first certificate of chain expires; 0: cannot be told */
time_t ngx_mesh_tls_chain_expiry(STACK_OF(X509) *chain);

/*
 * Verifies leaf by store with untrusted in between, for X509_PURPOSE_..; now
 * 0: the present.  X509_V_OK and the earliest expiry in *not_after (which
 * may be NULL), or the error.
 */
int ngx_mesh_tls_chain_verify(X509_STORE *store, X509 *leaf,
    STACK_OF(X509) *untrusted, int purpose, time_t now, time_t *not_after);


#endif /* _NGX_MESH_TLS_PAIR_H_INCLUDED_ */
