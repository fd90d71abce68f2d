
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SIGN_H_INCLUDED_
#define _MESH_SIGN_H_INCLUDED_

/*
 * Who may write the mesh: an Ed25519 key per epoch, vouched for by the
 * P-256 leaf of `meshd watch` in the value of mesh:signer.  The writer makes
 * a key and signs with it; an agent takes mesh:signer only if its chain ends
 * in the bundle in hand and names the writer's identity, and from then on
 * verifies each document with the key (RFC 8032).
 */

#include <mesh_core.h>


#define MESH_SIGN_LAYOUT          1
#define MESH_SIGN_BYTES           64       /* of a signature */
#define MESH_SIGN_VALUE_MAX       (64 * 1024)
#define MESH_SIGN_SKEW_S          20       /* clocks may differ by this */


typedef struct mesh_sign_s  mesh_sign_t;


/* a new key pair for epoch; NULL and a sentence in err */
mesh_sign_t *mesh_sign_new(uint64_t epoch, mesh_err_t *err);

void mesh_sign_free(mesh_sign_t *sign);

uint64_t mesh_sign_epoch(const mesh_sign_t *sign);

/* notAfter of the leaf that vouches for an accepted key; 0 for an own key */
time_t mesh_sign_not_after(const mesh_sign_t *sign);

/* 1 if both hold the same public key of the same epoch */
int mesh_sign_same(const mesh_sign_t *a, const mesh_sign_t *b);

/* signs with an own key: 0, or -1 (accepted keys have no private half) */
int mesh_sign_make(const mesh_sign_t *sign, const void *data, size_t len,
    uint8_t signature[MESH_SIGN_BYTES]);

/* 0 if signature is the key's over data, else -1 */
int mesh_sign_verify(const mesh_sign_t *sign, const void *data, size_t len,
    const uint8_t signature[MESH_SIGN_BYTES]);

/*
 * The value of mesh:signer for an own key: leaf_key_pem is the private key
 * of the first certificate of chain_pem (leaf, then issuers).  The caller
 * frees the text; NULL and a sentence in err.
 */
char *mesh_sign_publish(const mesh_sign_t *sign, const char *leaf_key_pem,
    const char *chain_pem, mesh_err_t *err);

/*
 * Checks a value of mesh:signer at time now: layout, chain against
 * trust_pem, exactly one URI SAN equal to identity, signature of the leaf.
 * The caller frees the result; NULL and a sentence in err.
 */
mesh_sign_t *mesh_sign_accept(const char *value, size_t len,
    const char *trust_pem, const char *identity, time_t now, mesh_err_t *err);


#endif /* _MESH_SIGN_H_INCLUDED_ */
