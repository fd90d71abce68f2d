
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_ERROR_H_INCLUDED_
#define _NGX_MESH_ERROR_H_INCLUDED_

/*
 * Every answer that the mesh makes itself, once: the code of the header
 * mesh-error, of $mesh_reason and of the label error; the HTTP status; the
 * gRPC status; the sentence.
 */

#include <ngx_config.h>
#include <ngx_core.h>


/* of gRPC (grpc/doc/statuscodes.md) */

#define NGX_MESH_GRPC_OK                  0
#define NGX_MESH_GRPC_CANCELLED           1
#define NGX_MESH_GRPC_UNKNOWN             2
#define NGX_MESH_GRPC_DEADLINE_EXCEEDED   4
#define NGX_MESH_GRPC_PERMISSION_DENIED   7
#define NGX_MESH_GRPC_RESOURCE_EXHAUSTED  8
#define NGX_MESH_GRPC_UNIMPLEMENTED       12
#define NGX_MESH_GRPC_INTERNAL            13
#define NGX_MESH_GRPC_UNAVAILABLE         14
#define NGX_MESH_GRPC_DATA_LOSS           15
#define NGX_MESH_GRPC_MAX                 16


typedef struct {
    const char               *code;
    ngx_uint_t                status;    /* of HTTP */
    ngx_uint_t                grpc;
    const char               *sentence;
} ngx_mesh_error_t;


/* never NULL: an unknown code is the mesh's own fault */
const ngx_mesh_error_t *ngx_mesh_error(const char *code);

/* for an answer that nginx made by itself: "too-large" for 413 .. */
const ngx_mesh_error_t *ngx_mesh_error_status(ngx_uint_t status);

/* for an endpoint's reset with an error code of HTTP/2 (RFC 9113, 7) */
const ngx_mesh_error_t *ngx_mesh_error_reset(ngx_uint_t code);

/* is an answer with this status, and of gRPC (-1: none), a failure? */
ngx_uint_t ngx_mesh_error_failure(ngx_uint_t status, ngx_int_t grpc);

/* the place of e in the table, and e at a place; NULL: there is none */
ngx_uint_t ngx_mesh_error_number(const ngx_mesh_error_t *e);
const ngx_mesh_error_t *ngx_mesh_error_at(ngx_uint_t number);


#endif /* _NGX_MESH_ERROR_H_INCLUDED_ */
