
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The counters of an upstream connection live in its pool, next to what the
 * proxy modules keep there, and go with it, whoever closes it.
 */

#include <ngx_mesh_link.h>
#include <ngx_mesh_metrics.h>


static void ngx_mesh_link_cleanup(void *data);


ngx_mesh_link_t *
ngx_mesh_link_open(ngx_pool_t *pool, ngx_mesh_flow_t *flow)
{
    ngx_mesh_link_t     *link;
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mesh_link_cleanup) {
            return cln->data;
        }
    }

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_mesh_link_t));
    if (cln == NULL) {
        return NULL;
    }

    link = cln->data;
    ngx_memzero(link, sizeof(ngx_mesh_link_t));

    link->series = ngx_mesh_metrics_opened(flow);

    cln->handler = ngx_mesh_link_cleanup;

    return link;
}


static void
ngx_mesh_link_cleanup(void *data)
{
    ngx_mesh_link_t  *link = data;

    ngx_mesh_metrics_peer_closed(link->series, link->received, link->sent,
                                 link->err);
}
