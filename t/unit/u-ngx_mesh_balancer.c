
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_balancer.c
 *       ngx_mesh_module/core/ngx_mesh_ewma.c
 */

/* Power of two choices with dice from a counter. */

#include <ngx_mesh_balancer.h>
#include <ngx_mesh_ewma.h>

#include "unit.h"


#define SECOND  ((uint64_t) 1000000)
#define MANY    1000


static ngx_mesh_slot_t        slots[MANY];
static ngx_mesh_endpoint_t    endpoints[MANY];
static mesh_state_endpoint_t  records[MANY];


static void
make(ngx_uint_t n)
{
    ngx_uint_t  i;

    memset(slots, 0, sizeof(slots));
    memset(endpoints, 0, sizeof(endpoints));
    memset(records, 0, sizeof(records));

    for (i = 0; i < n; i++) {
        records[i].weight = 1;
        records[i].port = (uint16_t) i;
        endpoints[i].record = &records[i];
        endpoints[i].slot = &slots[i];
    }
}


/* numbers that are well spread, the same in each run */

static uint32_t
dice(void)
{
    static uint64_t  x = 88172645463325252ULL;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;

    return (uint32_t) (x >> 33);
}


static void
tried_stays_in_order(void)
{
    ngx_mesh_tried_t  tried;

    memset(&tried, 0, sizeof(tried));

    UNIT_EQ(ngx_mesh_tried_add(&tried, 5), NGX_OK);
    UNIT_EQ(ngx_mesh_tried_add(&tried, 1), NGX_OK);
    UNIT_EQ(ngx_mesh_tried_add(&tried, 3), NGX_OK);
    UNIT_EQ(ngx_mesh_tried_add(&tried, 4), NGX_DECLINED);

    UNIT_EQ(tried.index[0], 1);
    UNIT_EQ(tried.index[1], 3);
    UNIT_EQ(tried.index[2], 5);

    ngx_mesh_tried_remove(&tried, 3);
    ngx_mesh_tried_remove(&tried, 9);

    UNIT_EQ(tried.n, 2);
    UNIT_EQ(tried.index[1], 5);
}


static void
pick_of_none_and_one(void)
{
    ngx_mesh_tried_t  tried;

    make(1);
    memset(&tried, 0, sizeof(tried));

    UNIT_EQ(ngx_mesh_balancer_pick(endpoints, 0, &tried, SECOND, 7), -1);
    UNIT_EQ(ngx_mesh_balancer_pick(endpoints, 1, &tried, SECOND, 7), 0);

    (void) ngx_mesh_tried_add(&tried, 0);

    UNIT_EQ(ngx_mesh_balancer_pick(endpoints, 1, &tried, SECOND, 7), -1);
}


static void
pick_never_repeats_a_try(void)
{
    ngx_int_t         k;
    ngx_uint_t        i, n, seen[4];
    ngx_mesh_tried_t  tried;

    make(4);

    for (i = 0; i < 1000; i++) {
        memset(&tried, 0, sizeof(tried));
        memset(seen, 0, sizeof(seen));

        for (n = 0; n < 3; n++) {
            k = ngx_mesh_balancer_pick(endpoints, 4, &tried, SECOND, dice());

            UNIT_NEED(k >= 0 && k < 4 && seen[k] == 0);

            seen[k] = 1;
            (void) ngx_mesh_tried_add(&tried, k);
        }
    }
}


static void
pick_takes_the_cheaper_of_two(void)
{
    ngx_uint_t        i;
    ngx_mesh_tried_t  tried;

    make(2);
    memset(&tried, 0, sizeof(tried));

    ngx_mesh_ewma_add(&slots[0], 5000, SECOND);
    ngx_mesh_ewma_add(&slots[1], 1000, SECOND);

    for (i = 0; i < 100; i++) {
        UNIT_EQ(ngx_mesh_balancer_pick(endpoints, 2, &tried, SECOND, dice()),
                1);
    }

    ngx_mesh_ewma_outstanding(&slots[1], 0, 5);

    for (i = 0; i < 100; i++) {
        UNIT_EQ(ngx_mesh_balancer_pick(endpoints, 2, &tried, SECOND, dice()),
                0);
    }
}


/* with requests that stay, outstanding follows the weights */

static void
pick_follows_weights(void)
{
    ngx_int_t         k;
    ngx_uint_t        i, got[2];
    ngx_mesh_tried_t  tried;

    make(2);
    memset(&tried, 0, sizeof(tried));
    memset(got, 0, sizeof(got));

    records[0].weight = 3;

    for (i = 0; i < 400; i++) {
        k = ngx_mesh_balancer_pick(endpoints, 2, &tried, SECOND, dice());
        ngx_mesh_ewma_outstanding(&slots[k], 0, 1);
        got[k]++;
    }

    UNIT_OK(got[0] >= 297 && got[0] <= 303);
}


static void
pick_spreads_over_many(void)
{
    ngx_int_t         k;
    ngx_uint_t        i, max;
    ngx_mesh_tried_t  tried;

    make(MANY);
    memset(&tried, 0, sizeof(tried));

    for (i = 0; i < 10 * MANY; i++) {
        k = ngx_mesh_balancer_pick(endpoints, MANY, &tried, SECOND, dice());

        UNIT_NEED(k >= 0 && k < MANY);

        ngx_mesh_ewma_outstanding(&slots[k], 0, 1);
    }

    /* ten each; of two choices no one gets far more (Mitzenmacher) */

    for (i = 0, max = 0; i < MANY; i++) {
        max = ngx_max(max, slots[i].outstanding[0]);
    }

    UNIT_OK(max <= 14);
}


static void
pick_gives_a_slot_of_its_own(void)
{
    ngx_mesh_tried_t  tried;

    make(2);
    memset(&tried, 0, sizeof(tried));

    endpoints[0].slot = NULL;
    endpoints[1].slot = NULL;

    UNIT_OK(ngx_mesh_balancer_pick(endpoints, 2, &tried, SECOND, 1) >= 0);
    UNIT_OK(endpoints[0].slot != NULL);
    UNIT_OK(endpoints[1].slot != NULL);
}


UNIT_TESTS = {
    UNIT(tried_stays_in_order),
    UNIT(pick_of_none_and_one),
    UNIT(pick_never_repeats_a_try),
    UNIT(pick_takes_the_cheaper_of_two),
    UNIT(pick_follows_weights),
    UNIT(pick_spreads_over_many),
    UNIT(pick_gives_a_slot_of_its_own),
    UNIT_END
};
