
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_backoff.c */

/* Delays: growth, bounds, jitter at both ends of the dice. */

#include <mesh_backoff.h>

#include "unit.h"


static void
next_doubles_up_to_the_maximum(void)
{
    size_t          i;
    mesh_backoff_t  backoff;

    static const uint32_t  want[] = { 100, 200, 400, 800, 1000, 1000 };

    mesh_backoff_init(&backoff, 100, 1000);

    for (i = 0; i < mesh_nelts(want); i++) {
        UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), want[i]);
    }

    for (i = 0; i < 100; i++) {
        UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), 1000);
    }

    mesh_backoff_reset(&backoff);
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), 100);
}


static void
next_keeps_half_certain(void)
{
    mesh_backoff_t  backoff;

    mesh_backoff_init(&backoff, 100, 1000);
    UNIT_EQ(mesh_backoff_next(&backoff, 0), 50);
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX / 2), 150);
    UNIT_EQ(mesh_backoff_next(&backoff, 0), 200);
}


static void
next_takes_odd_ranges(void)
{
    mesh_backoff_t  backoff;

    mesh_backoff_init(&backoff, 1, UINT32_MAX);
    backoff.tries = 31;
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), 1u << 31);

    mesh_backoff_init(&backoff, UINT32_MAX, UINT32_MAX);
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), UINT32_MAX);
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), UINT32_MAX);

    mesh_backoff_init(&backoff, 0, 0);
    UNIT_EQ(mesh_backoff_next(&backoff, UINT32_MAX), 0);
}


static void
jitter_is_symmetric(void)
{
    UNIT_EQ(mesh_backoff_jitter(1000, 10, 0), 900);
    UNIT_EQ(mesh_backoff_jitter(1000, 10, UINT32_MAX), 1100);
    UNIT_EQ(mesh_backoff_jitter(1000, 0, 12345), 1000);
    UNIT_OK(mesh_backoff_jitter(60480000, 10, UINT32_MAX / 2) > 60470000);
}


UNIT_TESTS = {
    UNIT(next_doubles_up_to_the_maximum),
    UNIT(next_keeps_half_certain),
    UNIT(next_takes_odd_ranges),
    UNIT(jitter_is_symmetric),
    UNIT_END
};
