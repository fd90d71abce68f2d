
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_ewma.c */

/* Peak EWMA over made-up clocks: up at once, down by age, to nothing. */

#include <ngx_mesh_ewma.h>

#include "unit.h"


#define SECOND  ((uint64_t) 1000000)


static void
starts_at_30_ms(void)
{
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    UNIT_EQ(ngx_mesh_ewma_get(&slot, 5 * SECOND), 30000);

    ngx_mesh_ewma_add(&slot, 700, 5 * SECOND);
    UNIT_EQ(ngx_mesh_ewma_get(&slot, 5 * SECOND), 700);
}


static void
goes_up_at_once(void)
{
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 1000, SECOND);
    ngx_mesh_ewma_add(&slot, 80000, SECOND + 1);

    UNIT_EQ(ngx_mesh_ewma_get(&slot, SECOND + 1), 80000);
}


static void
comes_down_by_age(void)
{
    uint64_t         e;
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 100000, SECOND);

    /* no time has passed: one fast answer says nothing yet */

    ngx_mesh_ewma_add(&slot, 1000, SECOND);
    UNIT_EQ(slot.ewma_us, 100000);

    /* after one decay time 1/e of the old one is left */

    ngx_mesh_ewma_add(&slot, 0, 11 * SECOND);
    UNIT_OK(slot.ewma_us > 36400 && slot.ewma_us < 37200);

    /* not asked for another one */

    e = ngx_mesh_ewma_get(&slot, 21 * SECOND);
    UNIT_OK(e > 13200 && e < 13800);

    UNIT_EQ(ngx_mesh_ewma_get(&slot, 300 * SECOND), 0);
}


static void
bears_a_clock_that_goes_back(void)
{
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 5000, 9 * SECOND);
    ngx_mesh_ewma_add(&slot, 1000, 8 * SECOND);

    UNIT_EQ(slot.ewma_us, 5000);
    UNIT_EQ(ngx_mesh_ewma_get(&slot, 7 * SECOND), 5000);
}


static void
failures_never_look_fast(void)
{
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_fail(&slot, 50, SECOND);
    UNIT_EQ(slot.ewma_us, NGX_MESH_EWMA_FAILED_US);

    ngx_mesh_ewma_fail(&slot, 2 * SECOND, SECOND);
    UNIT_EQ(slot.ewma_us, 2 * SECOND);
}


static void
failures_cost_more_each_time(void)
{
    uint64_t         expected;
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    for (expected = NGX_MESH_EWMA_FAILED_US;
         expected <= NGX_MESH_EWMA_REPEATED_US;
         expected *= 2)
    {
        ngx_mesh_ewma_fail(&slot, 50, SECOND);
        UNIT_EQ(slot.ewma_us, expected);
    }

    ngx_mesh_ewma_fail(&slot, 50, SECOND);
    UNIT_EQ(slot.ewma_us, NGX_MESH_EWMA_REPEATED_US);
}


static void
cost_counts_what_is_on_the_way(void)
{
    uint64_t         one;
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 999, SECOND);
    one = ngx_mesh_ewma_cost(&slot, 1, SECOND);

    ngx_mesh_ewma_outstanding(&slot, 0, 1);
    ngx_mesh_ewma_outstanding(&slot, 3, 2);

    UNIT_EQ(ngx_mesh_ewma_cost(&slot, 1, SECOND), 4 * one);
    UNIT_EQ(ngx_mesh_ewma_cost(&slot, 4, SECOND), one);
    UNIT_EQ(ngx_mesh_ewma_cost(&slot, 0, SECOND), 4 * one);

    ngx_mesh_ewma_outstanding(&slot, 0, -1);
    ngx_mesh_ewma_outstanding(&slot, 0, -1);     /* not its own any more */
    ngx_mesh_ewma_outstanding(&slot, 3, -2);

    UNIT_EQ(slot.outstanding[0], 0);
    UNIT_EQ(ngx_mesh_ewma_cost(&slot, 1, SECOND), one);
}


static void
cost_of_an_idle_endpoint_grows_too(void)
{
    uint64_t         idle;
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 0, SECOND);
    idle = ngx_mesh_ewma_cost(&slot, 1000000, SECOND);

    UNIT_OK(idle > 0);

    ngx_mesh_ewma_outstanding(&slot, 0, 5);
    UNIT_EQ(ngx_mesh_ewma_cost(&slot, 1000000, SECOND), 6 * idle);
}


static void
cost_does_not_overflow(void)
{
    uint64_t         slow;
    ngx_mesh_slot_t  slot;

    memset(&slot, 0, sizeof(slot));

    ngx_mesh_ewma_add(&slot, 86400 * SECOND, SECOND);
    slow = ngx_mesh_ewma_cost(&slot, 1, SECOND);

    ngx_mesh_ewma_outstanding(&slot, 0, 100000);
    UNIT_OK(ngx_mesh_ewma_cost(&slot, 1, SECOND) > slow);
}


static void
local_slots_are_told_apart(void)
{
    ngx_mesh_addr_t   a, b;
    ngx_mesh_slot_t  *slot;

    memset(&a, 0, sizeof(a));
    a.ip[15] = 1;
    a.port = 80;

    b = a;
    b.port = 81;

    slot = ngx_mesh_ewma_local(&a);
    slot->ewma_us = 77;

    UNIT_OK(ngx_mesh_ewma_local(&a) == slot);
    UNIT_OK(ngx_mesh_ewma_local(&b) != slot || slot->ewma_us == 0);
    UNIT_EQ(ngx_mesh_ewma_local(&a)->key == slot->key, 1);
}


UNIT_TESTS = {
    UNIT(starts_at_30_ms),
    UNIT(goes_up_at_once),
    UNIT(comes_down_by_age),
    UNIT(bears_a_clock_that_goes_back),
    UNIT(failures_never_look_fast),
    UNIT(failures_cost_more_each_time),
    UNIT(cost_counts_what_is_on_the_way),
    UNIT(cost_of_an_idle_endpoint_grows_too),
    UNIT(cost_does_not_overflow),
    UNIT(local_slots_are_told_apart),
    UNIT_END
};
