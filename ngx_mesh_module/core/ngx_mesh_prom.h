
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_PROM_H_INCLUDED_
#define _NGX_MESH_PROM_H_INCLUDED_

/*
 * The zone as Prometheus text (exposition format 0.0.4), for the content
 * handler of mesh_metrics.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>


#define NGX_MESH_PROM_TYPE        "text/plain; version=0.0.4; charset=utf-8"


/* 1 if process pid runs; what a dead one left in its gauges is not shown */
typedef ngx_uint_t (*ngx_mesh_prom_alive_pt)(ngx_pid_t pid);


/*
 * Writes all metrics of zone (NULL: only those that need none) into buffers
 * from pool.  *size is their length; the last buffer has last_buf set.
 * Returns NULL when there is no memory.
 */
ngx_chain_t *ngx_mesh_prom_text(ngx_mesh_zone_t *zone, ngx_pool_t *pool,
    ngx_mesh_prom_alive_pt alive, off_t *size);

/* asks the kernel */
ngx_uint_t ngx_mesh_prom_alive(ngx_pid_t pid);


#endif /* _NGX_MESH_PROM_H_INCLUDED_ */
