
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_TARGET_H_INCLUDED_
#define _NGX_MESH_TARGET_H_INCLUDED_

/*
 * Where a flow goes: from the original destination to the service, the pod
 * or the address itself, and from try to try to an endpoint.  The same for
 * HTTP requests and TCP sessions; the caller has the clock and the dice.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_balancer.h>
#include <ngx_mesh_state.h>


typedef enum {
    NGX_MESH_TRY_ANSWERED = 0,           /* latency is a sample */
    NGX_MESH_TRY_FAILED,                 /* the endpoint is at fault */
    NGX_MESH_TRY_UNKNOWN                 /* broken off before an answer */
} ngx_mesh_try_e;


typedef struct {
    ngx_mesh_flow_t          *flow;
    ngx_mesh_endpoint_t      *endpoints; /* of the service, in the state */
    ngx_uint_t                n;
    ngx_mesh_endpoint_t      *own;       /* the only one, if not a service */
    ngx_mesh_tls_e            own_tls;
    ngx_mesh_tried_t          tried;

    ngx_uint_t                index;     /* of the current try */
    ngx_mesh_slot_t          *slot;      /* NULL: no try under way */
    ngx_atomic_uint_t         key;       /* of slot, at its start */
    uint64_t                  start_us;
} ngx_mesh_target_t;


/*
 * Looks flow->conn's destination up in the current state, which it pins in
 * pool unless flow->state is set.  NULL, or a code of ngx_mesh_error.
 */
const char *ngx_mesh_target_init(ngx_mesh_target_t *target,
    ngx_mesh_flow_t *flow, ngx_pool_t *pool);

/* one address and identity, whatever the state says (endpoint= of mesh_tls) */
void ngx_mesh_target_fixed(ngx_mesh_target_t *target, ngx_mesh_flow_t *flow,
    ngx_mesh_endpoint_t *endpoint);

/* how many endpoints may be tried, at least 1 */
ngx_uint_t ngx_mesh_target_tries(ngx_mesh_target_t *target);

/*
 * Begins a try: flow->endpoint and flow->tls, where MTLS is a promise (with
 * endpoint->identity or not at all).  NGX_BUSY: none is left.
 */
ngx_int_t ngx_mesh_target_next(ngx_mesh_target_t *target, uint64_t now_us,
    uint32_t rnd);

/* ends it, with the time from its beginning to the answer or the failure */
void ngx_mesh_target_done(ngx_mesh_target_t *target, ngx_mesh_try_e result,
    uint64_t latency_us, uint64_t now_us);

/* the last one may be tried again: its pooled connection was stale */
void ngx_mesh_target_again(ngx_mesh_target_t *target);

/* the text of $mesh_tls for a flow */
const char *ngx_mesh_target_tls(ngx_mesh_flow_t *flow,
    ngx_mesh_direction_e direction, ngx_mesh_peer_t *peer);


#endif /* _NGX_MESH_TARGET_H_INCLUDED_ */
