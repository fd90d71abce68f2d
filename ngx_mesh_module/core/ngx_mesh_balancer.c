
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Which endpoint of a service is tried next.  Weights divide the cost: with
 * equal latencies an endpoint of weight 2 wins until it has twice as many
 * requests on the way.
 */

#include <ngx_mesh_balancer.h>
#include <ngx_mesh_ewma.h>


static ngx_uint_t ngx_mesh_balancer_untried(const ngx_mesh_tried_t *tried,
    ngx_uint_t k);
static uint64_t ngx_mesh_balancer_cost(ngx_mesh_endpoint_t *ep,
    uint64_t now_us);


ngx_int_t
ngx_mesh_balancer_pick(ngx_mesh_endpoint_t *endpoints, ngx_uint_t n,
    const ngx_mesh_tried_t *tried, uint64_t now_us, uint32_t rnd)
{
    ngx_uint_t  a, b, left;

    if (n <= tried->n) {
        return -1;
    }

    left = n - tried->n;

    if (n == 1) {
        return 0;
    }

    a = rnd % left;

    if (left == 1) {
        return ngx_mesh_balancer_untried(tried, a);
    }

    /* another one, by other bits: Fibonacci hashing of the same number */

    b = (ngx_uint_t) ((rnd * 0x9e3779b97f4a7c15ULL) >> 33) % (left - 1);

    if (b >= a) {
        b++;
    }

    a = ngx_mesh_balancer_untried(tried, a);
    b = ngx_mesh_balancer_untried(tried, b);

    if (ngx_mesh_balancer_cost(&endpoints[b], now_us)
        < ngx_mesh_balancer_cost(&endpoints[a], now_us))
    {
        return b;
    }

    return a;
}


ngx_int_t
ngx_mesh_tried_add(ngx_mesh_tried_t *tried, ngx_uint_t index)
{
    ngx_uint_t  i;

    if (tried->n == NGX_MESH_BALANCER_TRIES) {
        return NGX_DECLINED;
    }

    for (i = tried->n; i > 0 && tried->index[i - 1] > index; i--) {
        tried->index[i] = tried->index[i - 1];
    }

    tried->index[i] = index;
    tried->n++;

    return NGX_OK;
}


void
ngx_mesh_tried_remove(ngx_mesh_tried_t *tried, ngx_uint_t index)
{
    ngx_uint_t  i, k;

    for (i = 0, k = 0; i < tried->n; i++) {
        if (tried->index[i] != index) {
            tried->index[k++] = tried->index[i];
        }
    }

    tried->n = k;
}


/* the index of the k-th endpoint that was not tried */

static ngx_uint_t
ngx_mesh_balancer_untried(const ngx_mesh_tried_t *tried, ngx_uint_t k)
{
    ngx_uint_t  i;

    for (i = 0; i < tried->n && tried->index[i] <= k; i++) {
        k++;
    }

    return k;
}


static uint64_t
ngx_mesh_balancer_cost(ngx_mesh_endpoint_t *ep, uint64_t now_us)
{
    ngx_mesh_addr_t  addr;

    if (ep->slot == NULL) {
        ngx_memcpy(addr.ip, ep->record->ip, 16);
        addr.port = ep->record->port;

        ep->slot = ngx_mesh_ewma_local(&addr);
    }

    return ngx_mesh_ewma_cost(ep->slot, ep->record->weight, now_us);
}
