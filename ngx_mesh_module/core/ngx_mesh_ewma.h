
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_EWMA_H_INCLUDED_
#define _NGX_MESH_EWMA_H_INCLUDED_

/*
 * Peak EWMA of an endpoint's latency (Finagle's, as Linkerd has it): a sample
 * above the average replaces it at once, one below pulls it down by the age
 * of the average, and an endpoint that is not asked decays to nothing, so
 * that it is tried again.  Lock free: a lost sample is harmless.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>


#define NGX_MESH_EWMA_START_US    30000         /* nothing was measured yet */
#define NGX_MESH_EWMA_DECAY_US    10000000
#define NGX_MESH_EWMA_FAILED_US   100000        /* least cost of a failure */
#define NGX_MESH_EWMA_REPEATED_US 1600000       /* of one after others */
#define NGX_MESH_EWMA_MAX_US      60000000      /* slower makes no difference */


/* one answer, or one failure, after sample_us */
void ngx_mesh_ewma_add(ngx_mesh_slot_t *slot, uint64_t sample_us,
    uint64_t now_us);
void ngx_mesh_ewma_fail(ngx_mesh_slot_t *slot, uint64_t sample_us,
    uint64_t now_us);

/* the average at now_us */
uint64_t ngx_mesh_ewma_get(ngx_mesh_slot_t *slot, uint64_t now_us);

/* a request on its way (n 1) or done (n -1), by process proc */
void ngx_mesh_ewma_outstanding(ngx_mesh_slot_t *slot, ngx_uint_t proc,
    ngx_int_t n);

/* average x (outstanding + 1) / weight; the lower the better */
uint64_t ngx_mesh_ewma_cost(ngx_mesh_slot_t *slot, uint32_t weight,
    uint64_t now_us);

/* a slot of this worker alone, for an endpoint that has none in a zone */
ngx_mesh_slot_t *ngx_mesh_ewma_local(const ngx_mesh_addr_t *addr);


#endif /* _NGX_MESH_EWMA_H_INCLUDED_ */
