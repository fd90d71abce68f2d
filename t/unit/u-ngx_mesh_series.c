
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_series.c; -lpthread
 */

/* Interning of label sets, alone, full, and from several threads at once. */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <pthread.h>
#include <stdlib.h>
#include "unit.h"


#define SERIES_N      64
#define SERIES_ARENA  16384
#define SERIES_TEXTS  40
#define SERIES_ROUNDS 2000


/* a zone with series only, as ngx_mesh_zone_format() would lay it out */

static ngx_mesh_zone_t *
zone_new(uint32_t arena_bytes)
{
    ngx_mesh_zone_t  *zone;

    zone = calloc(1, 65536 + arena_bytes);

    if (zone == NULL) {
        return NULL;
    }

    zone->nseries = SERIES_N;
    zone->nindex = 2 * SERIES_N;
    zone->series = 4096;
    zone->index = 32768;
    zone->arena = 65536;
    zone->arena_bytes = arena_bytes;

    return zone;
}


static ngx_mesh_series_t *
make(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind, const char *text,
    ngx_uint_t reserved)
{
    return ngx_mesh_series_text(zone, kind, (u_char *) text, strlen(text),
                                reserved);
}


static void
same_labels_are_one_series(void)
{
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"1\"", 0);

    UNIT_NEED(a);
    UNIT_OK(make(zone, NGX_MESH_SERIES_HTTP, "a=\"1\"", 0) == a);
    UNIT_OK(make(zone, NGX_MESH_SERIES_HTTP, "a=\"2\"", 0) != a);
    UNIT_OK(make(zone, NGX_MESH_SERIES_TCP, "a=\"1\"", 0) != a);
    UNIT_EQ(zone->series_used, 3);
    UNIT_STRN(ngx_mesh_zone_at(zone, a->text), a->text_len, "a=\"1\"");

    free(zone);
}


/* the index is by hash: a text with a hash that is taken gets its own */

static void
equal_hash_is_not_equal_text(void)
{
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"1\"", 0);
    UNIT_NEED(a);

    *(u_char *) ngx_mesh_zone_at(zone, a->text + 3) = '2';

    UNIT_OK(make(zone, NGX_MESH_SERIES_HTTP, "a=\"1\"", 0) != a);

    free(zone);
}


static void
children_are_by_parent_and_code(void)
{
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a, *b, *child;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"1\"", 0);
    b = make(zone, NGX_MESH_SERIES_HTTP, "a=\"2\"", 0);
    UNIT_NEED(a && b);

    child = ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, a, 200, 0);

    UNIT_NEED(child);
    UNIT_OK(ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, a, 200, 0)
            == child);
    UNIT_OK(ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, a, 503, 0)
            != child);
    UNIT_OK(ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, b, 200, 0)
            != child);
    UNIT_EQ(child->code, 200);

    free(zone);
}


static void
cells_are_made_once_for_each_process(void)
{
    ngx_atomic_t       *one, *two;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    a = make(zone, NGX_MESH_SERIES_TCP, "a=\"1\"", 0);
    UNIT_NEED(a);

    UNIT_OK(ngx_mesh_series_peek(zone, a, 0) == NULL);

    one = ngx_mesh_series_cells(zone, a, 0);
    two = ngx_mesh_series_cells(zone, a, 1);

    UNIT_NEED(one && two);
    UNIT_OK(ngx_mesh_series_cells(zone, a, 0) == one);
    UNIT_OK(ngx_mesh_series_peek(zone, a, 1) == two);

    /* different cache lines */

    UNIT_OK(labs((u_char *) one - (u_char *) two) >= 64);

    free(zone);
}


static void
full_table_keeps_room_for_others(void)
{
    char               text[32];
    ngx_uint_t         i;
    ngx_mesh_zone_t   *zone;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    for (i = 0; i < SERIES_N; i++) {
        (void) snprintf(text, sizeof(text), "a=\"%u\"", (unsigned) i);

        if (make(zone, NGX_MESH_SERIES_HTTP, text, 0) == NULL) {
            break;
        }
    }

    UNIT_EQ(i, SERIES_N - SERIES_N / 16);
    UNIT_OK(make(zone, NGX_MESH_SERIES_HTTP, "a=\"0\"", 0) != NULL);

    for (i = 0; i < SERIES_N; i++) {
        (void) snprintf(text, sizeof(text), "b=\"%u\"", (unsigned) i);

        if (make(zone, NGX_MESH_SERIES_HTTP, text, 1) == NULL) {
            break;
        }
    }

    UNIT_EQ(i, SERIES_N / 16);

    free(zone);
}


static void
full_arena_hands_out_nothing_twice(void)
{
    uint32_t            i, n, low;
    ngx_atomic_t       *cells;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series, *a;

    zone = zone_new(2048);
    UNIT_NEED(zone);

    series = ngx_mesh_zone_at(zone, zone->series);
    n = 0;

    for (i = 0; i < 20; i++) {
        char  text[160];

        memset(text, 'x', sizeof(text));
        text[0] = (char) ('a' + i);

        a = ngx_mesh_series_text(zone, NGX_MESH_SERIES_HTTP, (u_char *) text,
                                 sizeof(text), i > 15);
        if (a == NULL) {
            continue;
        }

        n++;
        cells = ngx_mesh_series_cells(zone, a, 0);

        if (cells) {
            cells[0] = UINT64_MAX;
        }
    }

    UNIT_OK(n >= 4);

    /* cells did not run into text, which grows down from the end */

    low = zone->arena + zone->arena_bytes;

    for (i = 0; i < zone->series_used; i++) {
        low = ngx_min(low, series[i].text);
        UNIT_EQ(*(u_char *) ngx_mesh_zone_at(zone, series[i].text + 1), 'x');
    }

    UNIT_OK(zone->arena + zone->cells_used <= low);

    free(zone);
}


static void *
race(void *data)
{
    char                text[32];
    ngx_uint_t          i;
    ngx_atomic_t       *cells;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series;

    zone = data;

    for (i = 0; i < SERIES_ROUNDS; i++) {
        (void) snprintf(text, sizeof(text), "a=\"%u\"",
                        (unsigned) (i % SERIES_TEXTS));

        series = make(zone, NGX_MESH_SERIES_HTTP, text, 0);
        cells = series ? ngx_mesh_series_cells(zone, series,
                                               NGX_MESH_ZONE_SHARED)
                       : NULL;
        if (cells) {
            ngx_mesh_zone_add(NGX_MESH_ZONE_SHARED, cells, 1);
        }
    }

    return NULL;
}


static void
race_loses_no_count(void)
{
    uint32_t            i, sum;
    pthread_t           thread[2];
    ngx_atomic_t       *cells;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series;

    zone = zone_new(SERIES_ARENA);
    UNIT_NEED(zone);

    for (i = 0; i < 2; i++) {
        UNIT_NEED(pthread_create(&thread[i], NULL, race, zone) == 0);
    }

    for (i = 0; i < 2; i++) {
        UNIT_NEED(pthread_join(thread[i], NULL) == 0);
    }

    series = ngx_mesh_zone_at(zone, zone->series);
    sum = 0;

    for (i = 0; i < zone->series_used; i++) {

        if (series[i].kind == 0) {
            continue;                      /* lost the race for its slot */
        }

        cells = ngx_mesh_series_peek(zone, &series[i], NGX_MESH_ZONE_SHARED);
        UNIT_NEED(cells);
        sum += cells[0];
    }

    UNIT_EQ(sum, 2 * SERIES_ROUNDS);

    free(zone);
}


UNIT_TESTS = {
    UNIT(same_labels_are_one_series),
    UNIT(equal_hash_is_not_equal_text),
    UNIT(children_are_by_parent_and_code),
    UNIT(cells_are_made_once_for_each_process),
    UNIT(full_table_keeps_room_for_others),
    UNIT(full_arena_hands_out_nothing_twice),
    UNIT(race_loses_no_count),
    UNIT_END
};
