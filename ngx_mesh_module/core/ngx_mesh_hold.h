
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_HOLD_H_INCLUDED_
#define _NGX_MESH_HOLD_H_INCLUDED_

/*
 * What a worker tells the agent about addresses: "want" while connections
 * wait for one, "used" while connections use one.  The nodes live in the
 * accepted connection (ngx_mesh_listen.c), which takes them out when it ends.
 */

#include <ngx_mesh.h>


/* limits of one worker; past them a connection is not held but refused */

#define NGX_MESH_HOLD_CONNECTIONS  1024
#define NGX_MESH_HOLD_ADDRESSES    256

#define NGX_MESH_HOLD_MS           500   /* how long a connection waits */
#define NGX_MESH_WANT_MS           100   /* how often an address is asked */
#define NGX_MESH_USED_MS           60000 /* how often use is reported */


typedef struct ngx_mesh_wanted_s  ngx_mesh_wanted_t;


typedef struct {                         /* zero it before the first call */
    ngx_queue_t               queue;     /* of wanted */
    ngx_mesh_wanted_t        *wanted;    /* NULL: not held */
    ngx_event_t              *event;     /* posted when the state knows */
} ngx_mesh_held_t;


typedef struct {                         /* zero it before the first call */
    ngx_queue_t               queue;
    ngx_mesh_addr_t          *addr;      /* NULL: not in the queue */
    ngx_msec_t                sent_ms;   /* 0: not yet */
} ngx_mesh_used_t;


/*
 * Holds what event belongs to until a snapshot knows addr; the caller has
 * the timer.  NGX_BUSY: a limit is reached (counted).
 */
ngx_int_t ngx_mesh_hold_add(ngx_mesh_held_t *held, ngx_mesh_addr_t *addr,
    ngx_event_t *event);

/* harmless if it is not held */
void ngx_mesh_hold_remove(ngx_mesh_held_t *held);

/* a new snapshot: posts the event of each connection that may now go on */
void ngx_mesh_hold_wake(ngx_mesh_state_t *state);

/* addr, which lives as long as used, is in use from now on */
void ngx_mesh_used_add(ngx_mesh_used_t *used, ngx_mesh_addr_t *addr);
void ngx_mesh_used_remove(ngx_mesh_used_t *used);


#endif /* _NGX_MESH_HOLD_H_INCLUDED_ */
