
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_SERIES_H_INCLUDED_
#define _NGX_MESH_SERIES_H_INCLUDED_

/*
 * Series in the zone: a set of labels, interned by hash, and its cells, a few
 * words per process slot that are allocated when that process first counts.
 * Series are never removed; used by ngx_mesh_metrics (which counts) and
 * ngx_mesh_prom (which sums) only.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>


/*
 * A child has no text of its own: it is its parent's labels and a code, the
 * word of a response (ngx_mesh_metrics.h) or the errno of a closed connection.
 */

typedef enum {
    NGX_MESH_SERIES_HTTP = 1,            /* requests */
    NGX_MESH_SERIES_TCP,                 /* connections */
    NGX_MESH_SERIES_RESPONSE,            /* child of HTTP, code: status */
    NGX_MESH_SERIES_CLOSE                /* child of TCP, code: errno */
} ngx_mesh_series_kind_e;


/* cells of each kind */

#define NGX_MESH_HTTP_REQUESTS    0
#define NGX_MESH_HTTP_CELLS       1

#define NGX_MESH_TCP_OPENED       0
#define NGX_MESH_TCP_OPEN         1        /* gauge */
#define NGX_MESH_TCP_READ         2
#define NGX_MESH_TCP_WRITTEN      3
#define NGX_MESH_TCP_CELLS        4

#define NGX_MESH_CLOSE_CLOSED     0
#define NGX_MESH_CLOSE_CELLS      1

#define NGX_MESH_LATENCY_BUCKETS  26       /* the last one is +Inf */

#define NGX_MESH_RESPONSE_SUM_US  0
#define NGX_MESH_RESPONSE_BUCKET  1
#define NGX_MESH_RESPONSE_CELLS   (1 + NGX_MESH_LATENCY_BUCKETS)


/* upper bounds of the buckets, inclusive; the last one is UINT64_MAX */

extern const uint64_t  ngx_mesh_latency_us[NGX_MESH_LATENCY_BUCKETS];


struct ngx_mesh_series_s {               /* 64 bytes */
    uint64_t                  hash;
    uint32_t                  kind;      /* 0: not published */
    uint32_t                  parent;    /* child: number of its parent */
    uint32_t                  code;      /* child */
    uint32_t                  text;      /* offset in the zone */
    uint32_t                  text_len;
    uint32_t                  reserved;  /* one of the "other" series */
    uint32_t                  cells[NGX_MESH_ZONE_PROCS];  /* 0: none yet */
};


/*
 * The series of kind with these labels (name="value",.. as in exposition),
 * made if it is new.  NULL when the zone is full: 1/16 of it is kept for
 * calls with reserved set, which are those for the "other" series.
 */
ngx_mesh_series_t *ngx_mesh_series_text(ngx_mesh_zone_t *zone,
    ngx_mesh_series_kind_e kind, u_char *text, size_t len,
    ngx_uint_t reserved);

/* the child of parent with code, made if it is new; NULL as above */
ngx_mesh_series_t *ngx_mesh_series_child(ngx_mesh_zone_t *zone,
    ngx_mesh_series_kind_e kind, ngx_mesh_series_t *parent, uint32_t code,
    ngx_uint_t reserved);

/* makes the words of process slot proc; NULL when the zone is full */
ngx_atomic_t *ngx_mesh_series_add(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *series, ngx_uint_t proc);

/* these words if they exist, else NULL */
static ngx_inline ngx_atomic_t *
ngx_mesh_series_peek(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    ngx_uint_t proc)
{
    uint32_t  offset;

    offset = *(volatile uint32_t *) &series->cells[proc];

    return offset ? ngx_mesh_zone_at(zone, offset) : NULL;
}

/* these words, NULL when the zone is full */
static ngx_inline ngx_atomic_t *
ngx_mesh_series_cells(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    ngx_uint_t proc)
{
    ngx_atomic_t  *cells;

    cells = ngx_mesh_series_peek(zone, series, proc);

    return cells ? cells : ngx_mesh_series_add(zone, series, proc);
}


#endif /* _NGX_MESH_SERIES_H_INCLUDED_ */
