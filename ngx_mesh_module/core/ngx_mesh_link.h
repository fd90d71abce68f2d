
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_LINK_H_INCLUDED_
#define _NGX_MESH_LINK_H_INCLUDED_

/*
 * Counting of one established connection to an endpoint (peer="dst"): opened
 * when it is made, closed when the pool it hangs on dies, with the bytes of
 * all requests that it carried.
 */

#include <ngx_mesh.h>


typedef struct {
    ngx_mesh_series_t        *series;
    off_t                     received;
    off_t                     sent;
    ngx_err_t                 err;
    off_t                     received_counted;
    off_t                     sent_counted;
} ngx_mesh_link_t;


/* that of pool, opened for flow if it is new; NULL: no zone or no memory */
ngx_mesh_link_t *ngx_mesh_link_open(ngx_pool_t *pool, ngx_mesh_flow_t *flow);

/*
 * Counts now what the connection has moved so far, if it was opened: who
 * lives for hours is not seen at its end only.
 */
void ngx_mesh_link_flush(ngx_pool_t *pool, off_t received, off_t sent);

/* the same, by who has the link at hand */
void ngx_mesh_link_count(ngx_mesh_link_t *link, off_t received, off_t sent);


#endif /* _NGX_MESH_LINK_H_INCLUDED_ */
