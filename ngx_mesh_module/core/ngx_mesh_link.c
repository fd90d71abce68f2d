
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The counters of an upstream connection live in its pool, next to what the
 * proxy modules keep there, and go with it, whoever closes it.
 */

#include <ngx_mesh_link.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_zone.h>


static ngx_mesh_link_t *ngx_mesh_link_find(ngx_pool_t *pool);
static void ngx_mesh_link_cleanup(void *data);


ngx_mesh_link_t *
ngx_mesh_link_open(ngx_pool_t *pool, ngx_mesh_flow_t *flow)
{
    ngx_mesh_link_t     *link;
    ngx_pool_cleanup_t  *cln;

    if (ngx_mesh_zone_get() == NULL) {
        return NULL;                       /* nothing is counted */
    }

    link = ngx_mesh_link_find(pool);
    if (link) {
        return link;
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


void
ngx_mesh_link_flush(ngx_pool_t *pool, off_t received, off_t sent)
{
    ngx_mesh_link_t  *link;

    link = ngx_mesh_link_find(pool);

    if (link) {
        ngx_mesh_link_count(link, received, sent);
    }
}


void
ngx_mesh_link_count(ngx_mesh_link_t *link, off_t received, off_t sent)
{
    ngx_mesh_metrics_peer_transferred(link->series,
                                      received - link->received_counted,
                                      sent - link->sent_counted);
    link->received_counted = received;
    link->sent_counted = sent;
}


static ngx_mesh_link_t *
ngx_mesh_link_find(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mesh_link_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_mesh_link_cleanup(void *data)
{
    ngx_mesh_link_t  *link = data;

    /* totals stay 0 when a worker ends in the middle of a session */

    ngx_mesh_metrics_peer_closed(link->series,
                        ngx_max(link->received - link->received_counted, 0),
                        ngx_max(link->sent - link->sent_counted, 0),
                        link->err);
}
