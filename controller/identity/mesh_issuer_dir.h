
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_ISSUER_DIR_H_INCLUDED_
#define _MESH_ISSUER_DIR_H_INCLUDED_

/*
 * The CA's directory: what --ca-dir holds.  Keys are 0600 in a directory of
 * 0700; root.key may be taken away once the issuer is made.
 */

#include <mesh_core.h>

#include <openssl/evp.h>


#define MESH_ISSUER_ROOT_CERT  "root.crt"
#define MESH_ISSUER_ROOT_KEY   "root.key"
#define MESH_ISSUER_CERT       "issuer.crt"
#define MESH_ISSUER_KEY        "issuer.key"
#define MESH_ISSUER_TRUST      "trust.crt"


/*
 * Makes what is missing, in an order that a crash can interrupt anywhere:
 * the next run goes on.  Never makes a second root where traces of a first
 * one are: that is an error that names the missing file.
 */
int mesh_issuer_dir_make(const char *dir, const char *trust_domain,
    time_t now, mesh_err_t *err);

/* a new issuer.crt for key; MESH_DECLINED: root.key is not there */
int mesh_issuer_dir_renew(const char *dir, const char *trust_domain,
    EVP_PKEY *key, time_t now, mesh_err_t *err);


#endif /* _MESH_ISSUER_DIR_H_INCLUDED_ */
