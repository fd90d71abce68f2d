
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_IDENTITY_H_INCLUDED_
#define _MESH_IDENTITY_H_INCLUDED_

/*
 * Workload identities: spiffe://<trust-domain>/ns/<namespace>/sa/<account>
 * (SPIFFE-ID standard; the path is Linkerd's and Istio's convention).
 * Plain C11, no malloc: parts point into the caller's text.
 */

#include <stddef.h>


typedef struct {
    const char  *trust_domain;
    size_t       trust_domain_len;
    const char  *namespace_;             /* NULL: another path than ours */
    size_t       namespace_len;
    const char  *service_account;
    size_t       service_account_len;
} mesh_identity_t;


/*
 * Checks that text is a SPIFFE ID: scheme spiffe, a trust domain of
 * [a-z0-9._-], a non-empty path without empty, "." or ".." segments, no
 * query, fragment, port or user, at most MESH_ID_MAX_BYTES.  Returns NULL
 * and fills *id, or a sentence that says what is wrong.
 */
const char *mesh_identity_parse(const char *text, size_t len,
    mesh_identity_t *id);


#endif /* _MESH_IDENTITY_H_INCLUDED_ */
