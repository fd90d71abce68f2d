
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_ZONE_H_INCLUDED_
#define _NGX_MESH_ZONE_H_INCLUDED_

/*
 * Shared memory of one sidecar (mesh_zone name:size): endpoint slots, series
 * of counters, plain counters.  Fixed arrays, made once by the zone's init
 * callback and inherited through reload when magic, layout and size fit;
 * atomics only, so that a dead worker holds nothing.  Counters stand once
 * per process slot (ngx_process_slot modulo NGX_MESH_ZONE_PROCS) and are
 * summed by the scraper.
 */

#include <ngx_mesh.h>


#define NGX_MESH_ZONE_PROCS       8


/*
 * What all workers know of one endpoint.  ewma_us and stamp_us are relaxed
 * plain words: a lost sample is harmless.  outstanding is per process and
 * zeroed when a process claims its number, so that a dead worker leaks none.
 */

typedef struct {
    ngx_atomic_t              key;       /* 0: free; else address + identity */
    ngx_atomic_t              ewma_us;
    ngx_atomic_t              stamp_us;  /* monotonic, of ewma_us */
    ngx_atomic_t              seen_s;    /* monotonic; oldest is overwritten */
    ngx_atomic_t              outstanding[NGX_MESH_ZONE_PROCS];
} ngx_mesh_slot_t;


/*
 * The slot of key (not 0), claimed if it is new; NULL without a zone or when
 * all slots that key may stand in are in use (counted: zone_slots_full).
 */
ngx_mesh_slot_t *ngx_mesh_zone_slot(uint64_t key);

/* index of this process in arrays of NGX_MESH_ZONE_PROCS */
ngx_uint_t ngx_mesh_zone_proc(void);


#endif /* _NGX_MESH_ZONE_H_INCLUDED_ */
