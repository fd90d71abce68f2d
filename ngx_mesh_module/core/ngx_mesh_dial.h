
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_DIAL_H_INCLUDED_
#define _NGX_MESH_DIAL_H_INCLUDED_

/*
 * How many handshakes one worker has under way.  A burst of requests that
 * each begin one gets none of them done in time: they share one CPU.  Past
 * the limit a request waits, for its turn or for a connection that another
 * one gives back.  Knows no connection: who calls makes it.
 */

#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MESH_DIAL_MAX         64     /* of a worker */
#define NGX_MESH_DIAL_LANE_MAX    16     /* to one endpoint, by its hash */
#define NGX_MESH_DIAL_LANES       64     /* a power of two */

#define NGX_MESH_DIAL_WAIT_MS     30000  /* the caller gives up then */

/* for the handshake itself, after the time for connecting: CPU may be short */

#define NGX_MESH_DIAL_HANDSHAKE_MS  5000


typedef struct ngx_mesh_dial_s  ngx_mesh_dial_t;

typedef void (*ngx_mesh_dial_pt)(ngx_mesh_dial_t *dial);


struct ngx_mesh_dial_s {                 /* zero it before the first call */
    ngx_queue_t               queue;     /* of its lane, while waiting */
    ngx_mesh_dial_pt          wake;
    uint32_t                  lane;
    unsigned                  waiting:1;
    unsigned                  dialing:1;
};


/*
 * NGX_OK: begin a handshake with sa.  NGX_AGAIN: wake() is called when it may
 * be time; dial must stay where it is until end.
 */
ngx_int_t ngx_mesh_dial_begin(ngx_mesh_dial_t *dial, struct sockaddr *sa,
    ngx_mesh_dial_pt wake);

/* what has to follow wake(), unless it is the end; the place is kept */
ngx_int_t ngx_mesh_dial_again(ngx_mesh_dial_t *dial);

/* done, failed, not needed any more; harmless when nothing was begun */
void ngx_mesh_dial_end(ngx_mesh_dial_t *dial);

/* there is an idle connection to sa: wakes who has waited longest for one */
void ngx_mesh_dial_parked(struct sockaddr *sa);


#endif /* _NGX_MESH_DIAL_H_INCLUDED_ */
