
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_ERROR_H_INCLUDED_
#define _NGX_MESH_ERROR_H_INCLUDED_

/*
 * Every answer that the mesh makes itself, once: the code of the header
 * mesh-error, $mesh_reason and the metrics; the HTTP status; the sentence.
 */

#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    const char               *code;
    ngx_uint_t                status;
    const char               *sentence;
} ngx_mesh_error_t;


/* never NULL: an unknown code is the mesh's own fault */
const ngx_mesh_error_t *ngx_mesh_error(const char *code);

/* for an answer that nginx made by itself: "too-large" for 413 .. */
const ngx_mesh_error_t *ngx_mesh_error_status(ngx_uint_t status);


#endif /* _NGX_MESH_ERROR_H_INCLUDED_ */
