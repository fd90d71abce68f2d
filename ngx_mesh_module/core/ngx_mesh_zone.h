
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
 * per process slot and are summed by the scraper.
 *
 * A process has the slot ngx_process_slot, which the master gives to one
 * live child at a time; all processes from number NGX_MESH_ZONE_SHARED on
 * share that last slot and add to it atomically.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_learned.h>


#define NGX_MESH_ZONE_PROCS       8
#define NGX_MESH_ZONE_SHARED      (NGX_MESH_ZONE_PROCS - 1)

#define NGX_MESH_ZONE_MAGIC       "MESHZONE"
#define NGX_MESH_ZONE_LAYOUT      2        /* raise it with any change here */

#define NGX_MESH_ZONE_MIN_BYTES   (64 * 1024)

#define NGX_MESH_ZONE_WAYS        16       /* slots that one key may stand in */
#define NGX_MESH_ZONE_IDLE_S      600      /* after this a slot may be taken */


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


typedef struct {
    ngx_atomic_t              pid;         /* 0: nobody's */
    ngx_atomic_t              generation;  /* of the state in use */
} ngx_mesh_zone_proc_t;


/* offsets count bytes from the start of this head */

typedef struct {
    u_char                    magic[8];
    uint32_t                  layout;
    uint32_t                  head_bytes;
    uint64_t                  size;        /* of the whole, head included */

    uint32_t                  ncounters;   /* NGX_MESH_C_MAX of the writer */
    uint32_t                  nslots;      /* power of two */
    uint32_t                  nseries;
    uint32_t                  nindex;      /* power of two, 2 x nseries */

    uint32_t                  counters;    /* [PROCS][ncounters] */
    uint32_t                  slots;
    uint32_t                  slots_used;  /* a byte per slot: was ever used */
    uint32_t                  series;
    uint32_t                  index;       /* hash: series number + 1 */
    uint32_t                  arena;       /* cells upwards, text downwards */
    uint32_t                  arena_bytes;
    uint32_t                  reserved;

    ngx_atomic_t              series_used;
    ngx_atomic_t              cells_used;  /* bytes of the arena */
    ngx_atomic_t              text_used;   /* bytes of the arena */

    ngx_mesh_zone_proc_t      procs[NGX_MESH_ZONE_PROCS];

    ngx_atomic_t              learned[NGX_MESH_LEARNED_PORTS];
} ngx_mesh_zone_t;


#define ngx_mesh_zone_at(zone, offset)                                        \
    ((void *) ((u_char *) (zone) + (offset)))


/*
 * The slot of key (not 0), claimed if it is new; NULL without a zone or when
 * all slots that key may stand in are in use (counted: zone_slots_full).
 */
ngx_mesh_slot_t *ngx_mesh_zone_slot(uint64_t key);

/* of this process; for the two calls below, which each request makes often */

typedef struct {
    ngx_mesh_zone_t          *zone;
    ngx_atomic_t             *counters;  /* those of proc */
    ngx_uint_t                proc;
    ngx_uint_t                attached;
} ngx_mesh_zone_here_t;

extern ngx_mesh_zone_here_t   ngx_mesh_zone_here;

ngx_mesh_zone_t *ngx_mesh_zone_first(void);

/*
 * The zone of this worker, whose process slot is claimed by the first call;
 * NULL in the master, while configuration is read, and without mesh_zone.
 */
static ngx_inline ngx_mesh_zone_t *
ngx_mesh_zone_get(void)
{
    return ngx_mesh_zone_here.attached ? ngx_mesh_zone_here.zone
                                       : ngx_mesh_zone_first();
}

/* after it: index of this process in arrays of NGX_MESH_ZONE_PROCS */
static ngx_inline ngx_uint_t
ngx_mesh_zone_proc(void)
{
    return ngx_mesh_zone_here.proc;
}

/* the plain counters of process slot proc */
#define ngx_mesh_zone_counters(zone, proc)                                    \
    ((ngx_atomic_t *) ngx_mesh_zone_at(zone, (zone)->counters)                \
     + (proc) * (zone)->ncounters)

/* adds n to *cell, which is a word of process slot proc */
#define ngx_mesh_zone_add(proc, cell, n)                                      \
    if ((proc) == NGX_MESH_ZONE_SHARED) {                                     \
        (void) ngx_atomic_fetch_add(cell, (ngx_atomic_int_t) (n));            \
    } else {                                                                  \
        *(cell) += (ngx_atomic_uint_t) (n);                                   \
    }


/*
 * The mechanism below the calls above, for ngx_mesh_zone.c and tests.
 *
 * format writes the head into size bytes of zeroed memory and shares out the
 * rest; check returns NULL if base is such a zone of exactly size bytes, or a
 * sentence that says what is different.  claim makes proc the slot of process
 * pid and zeroes what only its last owner could have counted down.
 */
void ngx_mesh_zone_format(void *base, size_t size);
const char *ngx_mesh_zone_check(const void *base, size_t size);
void ngx_mesh_zone_claim(ngx_mesh_zone_t *zone, ngx_uint_t proc,
    ngx_pid_t pid);
ngx_mesh_slot_t *ngx_mesh_zone_slot_find(ngx_mesh_zone_t *zone, uint64_t key,
    ngx_uint_t now_s);


#endif /* _NGX_MESH_ZONE_H_INCLUDED_ */
