
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_X509_H_INCLUDED_
#define _MESH_X509_H_INCLUDED_

/*
 * Keys, requests and certificates of the mesh (OpenSSL 3): ECDSA P-256, one
 * SPIFFE ID as URI SAN.  PEM lives in memory, NUL terminated, from malloc.
 * The clock is an argument everywhere.
 */

#include <mesh_core.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>


#define MESH_X509_ID_MAX       2048      /* SPIFFE-ID, 2.3 */
#define MESH_X509_CHAIN_MAX    8         /* certificates of a chain */
#define MESH_X509_BUNDLE_MAX   32        /* of a trust bundle */

/* purposes of mesh_x509_verify() */

#define MESH_X509_SERVER       1
#define MESH_X509_CLIENT       2
#define MESH_X509_ANY          3


/* keys; the caller frees with EVP_PKEY_free() and mesh_x509_pem_free() */

EVP_PKEY *mesh_x509_key_new(mesh_err_t *err);
EVP_PKEY *mesh_x509_key_parse(const char *pem, size_t len, mesh_err_t *err);
char *mesh_x509_key_pem_new(EVP_PKEY *key, mesh_err_t *err);

/* 1: an EC key on P-256 */
int mesh_x509_key_is_p256(EVP_PKEY *key);

/* wipes and frees PEM of a key; NULL is fine */
void mesh_x509_pem_free(char *pem);


/* a request as PEM: empty subject, one URI SAN (id), signed by key */
char *mesh_x509_csr_new(EVP_PKEY *key, const char *id, mesh_err_t *err);

X509_REQ *mesh_x509_csr_parse(const char *pem, size_t len, mesh_err_t *err);

/*
 * Checks that the request is what mesh_x509_csr_new() makes and nothing
 * more: version 1, P-256, its signature, empty subject, no attribute but the
 * extensions, no extension but one SAN with one URI that starts with
 * "spiffe://".  id has MESH_X509_ID_MAX + 1 bytes.
 */
int mesh_x509_csr_check(X509_REQ *req, char *id, mesh_err_t *err);


typedef struct {
    const char   *id;             /* URI SAN; NULL: none (a CA) */
    const char   *name;           /* subject's CN; NULL: none */
    const char   *serial_number;  /* subject's serialNumber; NULL: none */
    time_t        not_before;
    time_t        not_after;
    int           ca;             /* 1: may sign */
    int           pathlen;        /* of a CA; -1: no limit */
} mesh_x509_want_t;

/*
 * A certificate for key, signed by issuer_key in the name of issuer (NULL:
 * self-signed).  Serial: 127 random bits.  X509_free().
 */
X509 *mesh_x509_sign(EVP_PKEY *key, const mesh_x509_want_t *want,
    X509 *issuer, EVP_PKEY *issuer_key, mesh_err_t *err);


/*
 * All certificates of a PEM text, in order; text that is no PEM, PEM that is
 * no certificate, none, or more than max are errors.  Free with
 * mesh_x509_chain_free().
 */
STACK_OF(X509) *mesh_x509_chain_parse(const char *pem, size_t len, int max,
    mesh_err_t *err);
void mesh_x509_chain_free(STACK_OF(X509) *chain);
char *mesh_x509_chain_pem_new(STACK_OF(X509) *chain, mesh_err_t *err);

/*
 * The first certificate of chain, with the others as helpers, chains at the
 * time "at" to a self-signed certificate of bundle and is good for purpose.
 */
int mesh_x509_verify(STACK_OF(X509) *chain, STACK_OF(X509) *bundle,
    time_t at, int purpose, mesh_err_t *err);

/* the SPIFFE ID: exactly one URI SAN; id has MESH_X509_ID_MAX + 1 bytes */
int mesh_x509_id(X509 *cert, char *id, mesh_err_t *err);

/* 1: the certificate's key is the public half of key */
int mesh_x509_fits(X509 *cert, EVP_PKEY *key);

/* seconds of the epoch; MESH_ERROR if a date cannot be read */
int mesh_x509_times(X509 *cert, time_t *not_before, time_t *not_after);

/* the serial number in hex; size of at least 65 bytes is enough */
void mesh_x509_serial(X509 *cert, char *buf, size_t size);

/* a SAN of one URI, or NULL; GENERAL_NAMES_free() */
GENERAL_NAMES *mesh_x509_names_new(const char *id);

/* "what: reason of OpenSSL's error queue", which is emptied; MESH_ERROR */
int mesh_x509_err(mesh_err_t *err, const char *what);


#endif /* _MESH_X509_H_INCLUDED_ */
