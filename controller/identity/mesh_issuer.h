
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_ISSUER_H_INCLUDED_
#define _MESH_ISSUER_H_INCLUDED_

/*
 * The CA: an issuer (certificate, key) and the trust bundle that it chains
 * to, from files that are followed.  What does not fit is not taken.
 */

#include <mesh_core.h>
#include <mesh_x509.h>


#define MESH_ISSUER_FILE_MAX      (256 * 1024)
#define MESH_ISSUER_SKEW          20                  /* s, DESIGN section 3 */
#define MESH_ISSUER_ROOT_TTL      (10 * 365 * 86400L)
#define MESH_ISSUER_TTL           (365 * 86400L)


typedef struct {
    const char   *ca_dir;         /* NULL: the three files */
    const char   *cert;           /* issuer first, then what is above it */
    const char   *key;
    const char   *trust;
    const char   *trust_domain;
    const char   *server_id;      /* SPIFFE ID of our own certificate */
    int64_t       leaf_ttl;       /* s */
} mesh_issuer_conf_t;


typedef struct {
    char         *chain;          /* PEM, leaf first; free() */
    char          serial[65];
    time_t        not_after;
} mesh_issued_t;


typedef struct mesh_issuer_s  mesh_issuer_t;

/*
 * With ca_dir: makes what is missing in it on the first run.  The strings of
 * conf must outlive the issuer.
 */
mesh_issuer_t *mesh_issuer_new(const mesh_issuer_conf_t *conf, time_t now,
    mesh_err_t *err);
void mesh_issuer_free(mesh_issuer_t *issuer);

/* the names of the files, MESH_ISSUER_FILES of them */
#define MESH_ISSUER_FILES  3
const char *const *mesh_issuer_paths(const mesh_issuer_t *issuer);

/*
 * Reads the files again.  MESH_OK: *changed says what was taken, bits of
 * MESH_ISSUER_NEW_..; MESH_ERROR: something was refused and *err says why,
 * *changed what was taken none the less (a bundle can be good for the old
 * issuer when the new issuer is not good for it).
 */
#define MESH_ISSUER_NEW_PAIR   0x01
#define MESH_ISSUER_NEW_TRUST  0x02
int mesh_issuer_reload(mesh_issuer_t *issuer, time_t now, int *changed,
    mesh_err_t *err);

/*
 * With ca_dir and root.key: writes a new certificate for the issuer's key
 * when less than 30 % of its life is left.  MESH_DECLINED: nothing to do.
 */
int mesh_issuer_renew(mesh_issuer_t *issuer, time_t now, mesh_err_t *err);

/*
 * A leaf for key: id as SAN, uid ("" or NULL: none) as the subject's
 * serialNumber, not before now - MESH_ISSUER_SKEW, not after the leaf's
 * life or any certificate above it.
 */
int mesh_issuer_sign(mesh_issuer_t *issuer, EVP_PKEY *key, const char *id,
    const char *uid, time_t now, mesh_issued_t *issued, mesh_err_t *err);

/* the bundle as it is served */
const char *mesh_issuer_trust(const mesh_issuer_t *issuer, size_t *len);

/* MESH_OK if what is signed now can be verified now */
int mesh_issuer_ready(const mesh_issuer_t *issuer, time_t now,
    mesh_err_t *err);

/* for the log: "CN, not after" of the issuer, number of roots */
void mesh_issuer_describe(const mesh_issuer_t *issuer, char *buf,
    size_t size);


#endif /* _MESH_ISSUER_H_INCLUDED_ */
