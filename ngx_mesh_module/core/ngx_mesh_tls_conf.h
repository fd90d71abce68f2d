
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_TLS_CONF_H_INCLUDED_
#define _NGX_MESH_TLS_CONF_H_INCLUDED_

/*
 * What ngx_mesh_tls.c (the pair and the contexts) and ngx_mesh_tls_peer.c
 * (one connection) share, and nobody else's business.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_tls.h>
#include <ngx_mesh_tls_pair.h>


#define NGX_MESH_TLS_SERVERS      8


typedef struct {
    ngx_str_t                 identity;
    ngx_str_t                 trust_domain;

    ngx_str_t                 cert;      /* as in nginx.conf, whole paths */
    ngx_str_t                 key;
    ngx_str_t                 trust;
    ngx_str_t                 dir;       /* that all three lie in; len 0: no */
    ngx_mesh_tls_files_t      files;

    ngx_ssl_t                 client;
    ngx_ssl_t                *servers[NGX_MESH_TLS_SERVERS];
    ngx_uint_t                nservers;

    ngx_mesh_tls_pair_t       pair;      /* in use */
} ngx_mesh_tls_conf_t;


/* OpenSSL's callbacks for contexts of ours */
int ngx_mesh_tls_verify(int ok, X509_STORE_CTX *ctx);
void ngx_mesh_tls_info(const SSL *ssl, int where, int ret);


extern ngx_mesh_tls_conf_t  *ngx_mesh_tls_conf;       /* of this worker */
extern int                   ngx_mesh_tls_ssl_index;  /* ex data of an SSL */
extern uint64_t              ngx_mesh_tls_bundle;     /* its generation */


#endif /* _NGX_MESH_TLS_CONF_H_INCLUDED_ */
