
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_TOKEN_H_INCLUDED_
#define _MESH_TOKEN_H_INCLUDED_

/*
 * Who asks: a static token file in kube-apiserver's format
 * (--token-auth-file), one line per token:
 *
 *     token,user,uid,"group1,group2"
 *
 * Service accounts have users "system:serviceaccount:NAMESPACE:NAME"; the
 * uid, if any, goes into the certificate.
 */

#include <mesh_core.h>


#define MESH_TOKEN_FILE_MAX   (16 * 1024 * 1024)
#define MESH_TOKEN_USER_MAX   256
#define MESH_TOKEN_UID_MAX    64      /* X.520, ub-serial-number */
#define MESH_TOKEN_MAX        8192    /* bytes of a token */


typedef struct {
    char      user[MESH_TOKEN_USER_MAX + 1];
    char      uid[MESH_TOKEN_UID_MAX + 1];      /* "" : none */
} mesh_token_who_t;


typedef struct mesh_token_s  mesh_token_t;

/* reads the file; path is copied */
mesh_token_t *mesh_token_new(const char *path, mesh_err_t *err);
void mesh_token_free(mesh_token_t *tokens);

/* reads the file again; MESH_ERROR: what was read before stays */
int mesh_token_reload(mesh_token_t *tokens, mesh_err_t *err);

size_t mesh_token_count(const mesh_token_t *tokens);

/* MESH_DECLINED: nobody's token; *who lives until the next reload */
int mesh_token_find(const mesh_token_t *tokens, const char *token,
    const mesh_token_who_t **who);

/*
 * The SPIFFE ID of a service account's user; size of MESH_X509_ID_MAX + 1 is
 * enough.  MESH_DECLINED: the user is no service account.
 */
int mesh_token_id(const mesh_token_who_t *who, const char *trust_domain,
    char *id, size_t size);


#endif /* _MESH_TOKEN_H_INCLUDED_ */
