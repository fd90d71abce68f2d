
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_BACKOFF_H_INCLUDED_
#define _MESH_BACKOFF_H_INCLUDED_

/*
 * Exponential back-off with "equal jitter" (M. Brooker, "Exponential Backoff
 * And Jitter", 2015): the delay grows from min to max, doubling; half of it
 * is certain, half is random, so that many clients that lost one server do
 * not come back in one moment.
 */

#include <mesh_core.h>


typedef struct {
    uint32_t  min_ms;
    uint32_t  max_ms;
    uint32_t  tries;              /* failures in a row so far */
} mesh_backoff_t;


void mesh_backoff_init(mesh_backoff_t *backoff, uint32_t min_ms,
    uint32_t max_ms);

/* after a failure: how long to wait, ms; random: 32 random bits */
uint32_t mesh_backoff_next(mesh_backoff_t *backoff, uint32_t random);

/* after a success */
void mesh_backoff_reset(mesh_backoff_t *backoff);

/* base_ms +- pct percent, e.g. a renewal at 70 % of life with 10 % jitter */
uint64_t mesh_backoff_jitter(uint64_t base_ms, uint32_t pct, uint32_t random);


#endif /* _MESH_BACKOFF_H_INCLUDED_ */
