
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_BALANCER_H_INCLUDED_
#define _NGX_MESH_BALANCER_H_INCLUDED_

/*
 * Power of two choices (Mitzenmacher 2001) over peak EWMA: of two endpoints
 * taken at random the cheaper one.  O(1) in the number of endpoints.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_state.h>


/* endpoints of one request that were tried, kept in ascending order */

#define NGX_MESH_BALANCER_TRIES   3

typedef struct {
    ngx_uint_t                n;
    ngx_uint_t                index[NGX_MESH_BALANCER_TRIES];
} ngx_mesh_tried_t;


/*
 * The index of one of n endpoints that is not in tried, -1 if none is left.
 * Gives an endpoint without a slot one of this worker alone.  rnd: 31 random
 * bits or more.
 */
ngx_int_t ngx_mesh_balancer_pick(ngx_mesh_endpoint_t *endpoints, ngx_uint_t n,
    const ngx_mesh_tried_t *tried, uint64_t now_us, uint32_t rnd);

/* index was tried, or is to be tried again; NGX_DECLINED: tried is full */
ngx_int_t ngx_mesh_tried_add(ngx_mesh_tried_t *tried, ngx_uint_t index);
void ngx_mesh_tried_remove(ngx_mesh_tried_t *tried, ngx_uint_t index);


#endif /* _NGX_MESH_BALANCER_H_INCLUDED_ */
