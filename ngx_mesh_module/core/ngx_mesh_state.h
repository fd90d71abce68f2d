
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_STATE_H_INCLUDED_
#define _NGX_MESH_STATE_H_INCLUDED_

/*
 * The worker's snapshot of the mesh (mesh_state): read into memory, checked,
 * swapped as a whole.  A reader pins it; the memory goes with the last pin.
 * Per worker, so no atomics.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>


/* what a worker adds to an endpoint of the snapshot */

struct ngx_mesh_endpoint_s {
    const mesh_state_endpoint_t  *record;      /* NULL: original destination */
    ngx_mesh_slot_t              *slot;        /* shared EWMA; NULL: no zone */
    ngx_mesh_series_t            *series[2];   /* [http, tcp], made on use */
    struct sockaddr              *sockaddr;
    socklen_t                     socklen;
    ngx_str_t                     name;        /* "10.244.1.9:8080" */
    ngx_str_t                     identity;    /* expected; len 0: plain */
};


struct ngx_mesh_state_s {
    mesh_state_view_t             view;
    ngx_mesh_endpoint_t          *endpoints;   /* view.head->endpoints.count */
    ngx_uint_t                    refs;
    uint64_t                      serial;      /* of this worker, from 1 */
    ngx_pool_t                   *pool;        /* of all that hangs here */
};


/* the current snapshot with one more pin, or NULL: none was loaded yet */
ngx_mesh_state_t *ngx_mesh_state_get(void);

/* takes one pin away */
void ngx_mesh_state_release(ngx_mesh_state_t *state);

/* pins the current snapshot until pool dies; NULL: none, or no memory */
ngx_mesh_state_t *ngx_mesh_state_pin(ngx_pool_t *pool);

/* takes away before that what pin gave; nothing may point into it any more */
void ngx_mesh_state_unpin(ngx_pool_t *pool, ngx_mesh_state_t *state);

/*
 * May a connection to addr go on?  NGX_OK: yes, and *entry is what the
 * address is, NULL if it is nothing of the mesh; NGX_AGAIN: inside the
 * cluster and not known (yet), also when state is NULL; NGX_DECLINED: known
 * to be nobody's.  Who was held in vain on NGX_AGAIN goes on if the state has
 * MESH_STATE_PASS_UNKNOWN; ngx_mesh_conn_t.passed then says so.
 */
ngx_int_t ngx_mesh_state_verdict(ngx_mesh_state_t *state,
    const ngx_mesh_addr_t *addr, const mesh_state_addr_t **entry);


#endif /* _NGX_MESH_STATE_H_INCLUDED_ */
