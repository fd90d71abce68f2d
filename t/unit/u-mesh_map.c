
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/ ngx_mesh_module/shared/; */

/* The map against a plain array, with many removals. */

#include <mesh_core.h>
#include <mesh_map.h>

#include "unit.h"


#define KEYS  500


static void
an_empty_map_has_nothing(void)
{
    size_t      i;
    mesh_map_t  map;

    memset(&map, 0, sizeof(map));

    i = 0;

    UNIT_OK(mesh_map_get(&map, "a") == NULL);
    UNIT_OK(mesh_map_remove(&map, "a") == NULL);
    UNIT_OK(mesh_map_next(&map, &i, NULL) == NULL);

    mesh_map_free(&map);
}


static void
set_replaces_and_returns_the_old(void)
{
    int         a, b;
    mesh_map_t  map;

    memset(&map, 0, sizeof(map));

    UNIT_OK(mesh_map_set(&map, "k", &a) == NULL);
    UNIT_OK(mesh_map_set(&map, "k", &b) == &a);
    UNIT_OK(mesh_map_get(&map, "k") == &b);
    UNIT_EQ(map.n, 1);
    UNIT_OK(mesh_map_remove(&map, "k") == &b);
    UNIT_EQ(map.n, 0);

    mesh_map_free(&map);
}


static void
random_changes_equal_an_array(void)
{
    int          steps, there[KEYS];
    char         key[16];
    void        *value;
    size_t       i, n, walked;
    uint32_t     rnd;
    mesh_map_t   map;

    memset(&map, 0, sizeof(map));
    memset(there, 0, sizeof(there));

    rnd = 12345;
    n = 0;

    for (steps = 0; steps < 20000; steps++) {
        rnd = rnd * 1664525 + 1013904223;
        i = (rnd >> 8) % KEYS;
        snprintf(key, sizeof(key), "key-%zu", i);

        if (rnd >> 31) {
            value = mesh_map_set(&map, key, &there[i]);
            UNIT_NEED((value != NULL) == there[i]);
            n += !there[i];
            there[i] = 1;

        } else {
            value = mesh_map_remove(&map, key);
            UNIT_NEED((value != NULL) == there[i]);
            n -= (size_t) there[i];
            there[i] = 0;
        }

        UNIT_NEED(map.n == n);
    }

    for (i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "key-%zu", i);
        UNIT_NEED((mesh_map_get(&map, key) == &there[i]) == there[i]);
    }

    walked = 0;

    for (i = 0; mesh_map_next(&map, &i, NULL) != NULL; ) {
        walked++;
    }

    UNIT_EQ(walked, n);

    mesh_map_free(&map);
}


UNIT_TESTS = {
    UNIT(an_empty_map_has_nothing),
    UNIT(set_replaces_and_returns_the_old),
    UNIT(random_changes_equal_an_array),
    UNIT_END
};
