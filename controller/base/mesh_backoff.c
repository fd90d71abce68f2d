
/*
 * Copyright (C) ngx-mesh authors
 */


/* How long to wait after the n-th failure: arithmetic, no clock, no dice. */

#include <mesh_backoff.h>


void
mesh_backoff_init(mesh_backoff_t *backoff, uint32_t min_ms, uint32_t max_ms)
{
    backoff->min_ms = min_ms;
    backoff->max_ms = max_ms;
    backoff->tries = 0;
}


uint32_t
mesh_backoff_next(mesh_backoff_t *backoff, uint32_t random)
{
    uint64_t  delay, half;

    delay = (uint64_t) backoff->min_ms << mesh_min(backoff->tries, 31u);
    delay = mesh_min(delay, backoff->max_ms);

    if (backoff->tries < 31) {
        backoff->tries++;
    }

    half = delay / 2;

    return (uint32_t) (delay - half + (((half + 1) * random) >> 32));
}


void
mesh_backoff_reset(mesh_backoff_t *backoff)
{
    backoff->tries = 0;
}


uint64_t
mesh_backoff_jitter(uint64_t base_ms, uint32_t pct, uint32_t random)
{
    uint64_t  span;

    span = base_ms * pct / 100;

    return base_ms - span + (uint64_t) (2.0 * span * random / UINT32_MAX);
}
