
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_IDENTITY_SERVE_H_INCLUDED_
#define _MESH_IDENTITY_SERVE_H_INCLUDED_

/* The requests of `meshd identity`: who asks, for what, and the answer. */

#include <mesh_core.h>
#include <mesh_httpd.h>

#include <mesh_issuer.h>
#include <mesh_token.h>


typedef struct {
    mesh_issuer_t  *issuer;
    mesh_token_t   *tokens;
    const char     *trust_domain;
} mesh_identity_serve_t;


/* routes and refusals for mesh_httpd_conf_t; its data is the struct above */
extern const mesh_httpd_route_t  mesh_identity_routes[];

void mesh_identity_refused(mesh_httpd_request_t *r, int status,
    const char *text, void *data);


#endif /* _MESH_IDENTITY_SERVE_H_INCLUDED_ */
