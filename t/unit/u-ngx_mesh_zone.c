
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_zone.c
 *       ngx_mesh_module/core/ngx_mesh_series.c t/unit/unit_ngx.c
 */

/* Sharing out of the zone, what is inherited, slots, claims of processes. */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>
#include <stdlib.h>
#include "unit.h"


#define ZONE_BYTES  (1024 * 1024)


/* what the file calls of nginx and of the module, beyond what is tested */

volatile ngx_cycle_t  *ngx_cycle;
ngx_uint_t             ngx_process;

static ngx_uint_t      counted[NGX_MESH_C_MAX];


void
ngx_mesh_count(ngx_mesh_counter_e counter, ngx_int_t n)
{
    counted[counter] += n;
}


uint64_t
ngx_mesh_now_us(void)
{
    return 1000000;
}


ngx_shm_zone_t *
ngx_shared_memory_add(ngx_conf_t *cf, ngx_str_t *name, size_t size, void *tag)
{
    return NULL;
}


void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    return NULL;
}


ssize_t
ngx_parse_size(ngx_str_t *line)
{
    return NGX_ERROR;
}


void ngx_cdecl
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
}


static ngx_mesh_zone_t *
zone_new(size_t size)
{
    ngx_mesh_zone_t  *zone;

    zone = calloc(1, size);

    if (zone) {
        ngx_mesh_zone_format(zone, size);
    }

    return zone;
}


static void
parts_do_not_overlap(void)
{
    size_t            size;
    ngx_mesh_zone_t  *zone;

    for (size = NGX_MESH_ZONE_MIN_BYTES - 8192; size < 64 * ZONE_BYTES;
         size = size * 3 / 2)
    {
        zone = zone_new(size);
        UNIT_NEED(zone);

        UNIT_OK(zone->counters >= sizeof(ngx_mesh_zone_t));
        UNIT_OK(zone->slots >= zone->counters + NGX_MESH_ZONE_PROCS
                                                * NGX_MESH_C_MAX * 8);
        UNIT_OK(zone->slots_used >= zone->slots
                                  + zone->nslots * sizeof(ngx_mesh_slot_t));
        UNIT_OK(zone->series >= zone->slots_used + zone->nslots);
        UNIT_OK(zone->index >= zone->series
                               + zone->nseries * sizeof(ngx_mesh_series_t));
        UNIT_OK(zone->arena >= zone->index + zone->nindex * 4);
        UNIT_OK(zone->arena + zone->arena_bytes <= size);
        UNIT_OK(zone->arena_bytes >= size / 4);
        UNIT_OK((zone->nslots & (zone->nslots - 1)) == 0);
        UNIT_OK((zone->nindex & (zone->nindex - 1)) == 0);

        free(zone);
    }
}


static void
check_takes_only_its_own_layout(void)
{
    ngx_mesh_zone_t  *zone;

    zone = zone_new(ZONE_BYTES);
    UNIT_NEED(zone);

    UNIT_STR(ngx_mesh_zone_check(zone, ZONE_BYTES), NULL);
    UNIT_HAS(ngx_mesh_zone_check(zone, ZONE_BYTES + 64), "size");

    zone->ncounters++;
    UNIT_HAS(ngx_mesh_zone_check(zone, ZONE_BYTES), "layout");
    zone->ncounters--;

    zone->layout++;
    UNIT_HAS(ngx_mesh_zone_check(zone, ZONE_BYTES), "layout");
    zone->layout--;

    zone->magic[0] ^= 1;
    UNIT_HAS(ngx_mesh_zone_check(zone, ZONE_BYTES), "magic");

    free(zone);
}


static void
slot_is_the_same_for_the_same_key(void)
{
    ngx_mesh_slot_t  *a, *b;
    ngx_mesh_zone_t  *zone;

    zone = zone_new(ZONE_BYTES);
    UNIT_NEED(zone);

    a = ngx_mesh_zone_slot_find(zone, 0x1111222233334444, 1);
    b = ngx_mesh_zone_slot_find(zone, 0x1111222233334445, 1);

    UNIT_NEED(a && b);
    UNIT_OK(a != b);
    UNIT_OK(a == ngx_mesh_zone_slot_find(zone, 0x1111222233334444, 2));
    UNIT_EQ(a->seen_s, 2);

    free(zone);
}


/* keys that all start at slot 0 fill its neighbourhood */

static void
slot_is_taken_over_when_idle(void)
{
    uint64_t          key;
    ngx_uint_t        i;
    ngx_mesh_slot_t  *first, *slot;
    ngx_mesh_zone_t  *zone;

    zone = zone_new(ZONE_BYTES);
    UNIT_NEED(zone);

    first = NULL;

    for (i = 0; i < NGX_MESH_ZONE_WAYS; i++) {
        key = (uint64_t) zone->nslots * (i + 1);
        slot = ngx_mesh_zone_slot_find(zone, key, 100 + i);
        UNIT_NEED(slot);

        if (i == 0) {
            first = slot;
        }
    }

    key = (uint64_t) zone->nslots * 100;

    UNIT_OK(ngx_mesh_zone_slot_find(zone, key, 200) == NULL);

    first->ewma_us = 7;
    first->outstanding[3] = 1;
    UNIT_OK(ngx_mesh_zone_slot_find(zone, key, 100 + NGX_MESH_ZONE_IDLE_S)
            == NULL);

    first->outstanding[3] = 0;
    UNIT_OK(ngx_mesh_zone_slot_find(zone, key, 100 + NGX_MESH_ZONE_IDLE_S)
            == first);
    UNIT_EQ(first->key, key);
    UNIT_EQ(first->ewma_us, 0);

    free(zone);
}


static void
claim_zeroes_what_the_dead_left_open(void)
{
    u_char              text[] = "direction=\"inbound\"";
    ngx_atomic_t       *mine, *other, *counters;
    ngx_mesh_slot_t    *slot;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series;

    zone = zone_new(ZONE_BYTES);
    UNIT_NEED(zone);

    slot = ngx_mesh_zone_slot_find(zone, 42, 1);
    series = ngx_mesh_series_text(zone, NGX_MESH_SERIES_TCP, text,
                                  sizeof(text) - 1, 0);
    UNIT_NEED(slot && series);

    mine = ngx_mesh_series_cells(zone, series, 2);
    other = ngx_mesh_series_cells(zone, series, 3);
    UNIT_NEED(mine && other);

    mine[NGX_MESH_TCP_OPENED] = 5;
    mine[NGX_MESH_TCP_OPEN] = 4;
    other[NGX_MESH_TCP_OPEN] = 1;
    slot->outstanding[2] = 9;
    slot->outstanding[3] = 8;

    counters = ngx_mesh_zone_at(zone, zone->counters);
    counters += 2 * zone->ncounters;
    counters[NGX_MESH_C_pool_idle] = 3;
    counters[NGX_MESH_C_pool_reused] = 6;

    zone->procs[2].generation = 17;

    ngx_mesh_zone_claim(zone, 2, 4711);

    UNIT_EQ(zone->procs[2].pid, 4711);
    UNIT_EQ(zone->procs[2].generation, 0);
    UNIT_EQ(mine[NGX_MESH_TCP_OPENED], 5);
    UNIT_EQ(mine[NGX_MESH_TCP_OPEN], 0);
    UNIT_EQ(other[NGX_MESH_TCP_OPEN], 1);
    UNIT_EQ(slot->outstanding[2], 0);
    UNIT_EQ(slot->outstanding[3], 8);
    UNIT_EQ(counters[NGX_MESH_C_pool_idle], 0);
    UNIT_EQ(counters[NGX_MESH_C_pool_reused], 6);

    free(zone);
}


/* others may be alive in it */

static void
claim_of_the_shared_slot_zeroes_nothing(void)
{
    ngx_mesh_slot_t  *slot;
    ngx_mesh_zone_t  *zone;

    zone = zone_new(ZONE_BYTES);
    UNIT_NEED(zone);

    slot = ngx_mesh_zone_slot_find(zone, 42, 1);
    UNIT_NEED(slot);

    slot->outstanding[NGX_MESH_ZONE_SHARED] = 9;
    ngx_mesh_zone_claim(zone, NGX_MESH_ZONE_SHARED, 4711);

    UNIT_EQ(slot->outstanding[NGX_MESH_ZONE_SHARED], 9);

    free(zone);
}


/* outside of a worker, and without mesh_zone, everything is harmless */

static void
no_zone_is_harmless(void)
{
    ngx_process = NGX_PROCESS_MASTER;

    UNIT_OK(ngx_mesh_zone_get() == NULL);
    UNIT_OK(ngx_mesh_zone_slot(42) == NULL);
    UNIT_EQ(counted[NGX_MESH_C_zone_slots_full], 0);
}


UNIT_TESTS = {
    UNIT(parts_do_not_overlap),
    UNIT(check_takes_only_its_own_layout),
    UNIT(slot_is_the_same_for_the_same_key),
    UNIT(slot_is_taken_over_when_idle),
    UNIT(claim_zeroes_what_the_dead_left_open),
    UNIT(claim_of_the_shared_slot_zeroes_nothing),
    UNIT(no_zone_is_harmless),
    UNIT_END
};
