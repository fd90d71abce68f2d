
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Peak EWMA.  Two workers may write one slot at the same time: average and
 * time stamp are then of different samples, which moves the average by less
 * than one sample would.
 */

#include <ngx_mesh_ewma.h>


#define NGX_MESH_EWMA_LOCAL_SLOTS  256     /* a power of two */


static double ngx_mesh_ewma_weight(uint64_t age_us);


static ngx_mesh_slot_t  ngx_mesh_ewma_slots[NGX_MESH_EWMA_LOCAL_SLOTS];


void
ngx_mesh_ewma_add(ngx_mesh_slot_t *slot, uint64_t sample_us, uint64_t now_us)
{
    double    w;
    uint64_t  ewma;

    ewma = slot->ewma_us;

    if (slot->stamp_us == 0 || sample_us >= ewma) {
        ewma = sample_us;

    } else {
        w = ngx_mesh_ewma_weight(now_us > slot->stamp_us
                                 ? now_us - slot->stamp_us : 0);

        ewma = (uint64_t) (ewma * w + sample_us * (1 - w));
    }

    slot->ewma_us = ewma;
    slot->stamp_us = now_us ? now_us : 1;
}


void
ngx_mesh_ewma_fail(ngx_mesh_slot_t *slot, uint64_t sample_us, uint64_t now_us)
{
    uint64_t  again_us;

    /*
     * a connection refused in no time must not look like a fast endpoint, and
     * one that refuses again not like those that are slower than the first
     */

    again_us = slot->stamp_us ? 2 * ngx_mesh_ewma_get(slot, now_us) : 0;
    again_us = ngx_min(again_us, NGX_MESH_EWMA_REPEATED_US);

    sample_us = ngx_max(sample_us, again_us);

    ngx_mesh_ewma_add(slot, ngx_max(sample_us, NGX_MESH_EWMA_FAILED_US),
                      now_us);
}


uint64_t
ngx_mesh_ewma_get(ngx_mesh_slot_t *slot, uint64_t now_us)
{
    uint64_t  stamp;

    stamp = slot->stamp_us;

    if (stamp == 0) {
        return NGX_MESH_EWMA_START_US;
    }

    if (now_us <= stamp) {
        return slot->ewma_us;
    }

    return (uint64_t) (slot->ewma_us * ngx_mesh_ewma_weight(now_us - stamp));
}


void
ngx_mesh_ewma_outstanding(ngx_mesh_slot_t *slot, ngx_uint_t proc, ngx_int_t n)
{
    /* a slot may have been claimed anew in between: never below zero */

    if (n < 0 && slot->outstanding[proc] == 0) {
        return;
    }

    (void) ngx_atomic_fetch_add(&slot->outstanding[proc], n);
}


uint64_t
ngx_mesh_ewma_cost(ngx_mesh_slot_t *slot, uint32_t weight, uint64_t now_us)
{
    uint64_t    n, ewma;
    ngx_uint_t  i;

    n = 1;

    for (i = 0; i < NGX_MESH_ZONE_PROCS; i++) {
        n += slot->outstanding[i];
    }

    /*
     * one more microsecond, so that many requests to an idle endpoint count;
     * 2^20 keeps the fraction at the greatest weight, and at a minute a
     * hundred thousand requests on the way still fit into 64 bits
     */

    ewma = ngx_mesh_ewma_get(slot, now_us) + 1;
    ewma = ngx_min(ewma, NGX_MESH_EWMA_MAX_US);

    return ewma * n * 1048576 / (weight ? weight : 1);
}


ngx_mesh_slot_t *
ngx_mesh_ewma_local(const ngx_mesh_addr_t *addr)
{
    uint64_t          key;
    ngx_uint_t        i;
    ngx_mesh_slot_t  *slot;

    key = 14695981039346656037ULL;              /* FNV-1a, 64 bit */

    for (i = 0; i < 16; i++) {
        key = (key ^ addr->ip[i]) * 1099511628211ULL;
    }

    key = (key ^ (addr->port >> 8)) * 1099511628211ULL;
    key = (key ^ (addr->port & 0xff)) * 1099511628211ULL;

    slot = &ngx_mesh_ewma_slots[(key ^ (key >> 32))
                                & (NGX_MESH_EWMA_LOCAL_SLOTS - 1)];

    if (key == 0) {
        key = 1;
    }

    if (slot->key != (ngx_atomic_uint_t) key) {
        ngx_memzero(slot, sizeof(ngx_mesh_slot_t));
        slot->key = (ngx_atomic_uint_t) key;
    }

    return slot;
}


/*
 * exp(-age / decay) as (1 - x / 1024) ^ 1024, good to one percent up to
 * x = 4: no libm in the module.  1 - x is nearer to it while x is less than
 * 1 / 1024, which on a busy endpoint it is.
 */

static double
ngx_mesh_ewma_weight(uint64_t age_us)
{
    double      x;
    ngx_uint_t  i;

    if (age_us >= 16 * (uint64_t) NGX_MESH_EWMA_DECAY_US) {
        return 0;
    }

    if (age_us < NGX_MESH_EWMA_DECAY_US / 1024) {
        return 1 - (double) age_us / NGX_MESH_EWMA_DECAY_US;
    }

    x = 1 - (double) age_us / NGX_MESH_EWMA_DECAY_US / 1024;

    for (i = 0; i < 10; i++) {
        x *= x;
    }

    return x;
}
