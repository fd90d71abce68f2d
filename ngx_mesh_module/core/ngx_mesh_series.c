
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Interning of label sets without a lock.  A new series is written out in
 * full and only then published by one compare-and-swap of a hash slot, so a
 * process that dies in between leaves an entry that nobody sees; two that
 * race for the same labels cost one entry.  Cells are published the same way.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>


static uint64_t ngx_mesh_series_hash(uint64_t seed, const u_char *p,
    size_t len);
static ngx_mesh_series_t *ngx_mesh_series_intern(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *want, u_char *text, ngx_uint_t reserved);
static ngx_uint_t ngx_mesh_series_equal(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *series, ngx_mesh_series_t *want, u_char *text);
static uint32_t ngx_mesh_series_new(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *want, u_char *text, ngx_uint_t reserved);
static ngx_uint_t ngx_mesh_arena_take(ngx_mesh_zone_t *zone,
    ngx_atomic_t *used, size_t len, ngx_uint_t reserved,
    ngx_atomic_uint_t *old);
static uint32_t ngx_mesh_arena_text(ngx_mesh_zone_t *zone, size_t len,
    ngx_uint_t reserved);
static uint32_t ngx_mesh_arena_cells(ngx_mesh_zone_t *zone, size_t len,
    ngx_uint_t reserved);


static const uint32_t  ngx_mesh_series_ncells[] = {
    0,
    NGX_MESH_HTTP_CELLS,
    NGX_MESH_TCP_CELLS,
    NGX_MESH_RESPONSE_CELLS,
    NGX_MESH_CLOSE_CELLS
};


ngx_mesh_series_t *
ngx_mesh_series_text(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind,
    u_char *text, size_t len, ngx_uint_t reserved)
{
    ngx_mesh_series_t  want;

    ngx_memzero(&want, sizeof(ngx_mesh_series_t));

    want.kind = kind;
    want.text_len = len;
    want.hash = ngx_mesh_series_hash(kind, text, len);

    return ngx_mesh_series_intern(zone, &want, text, reserved);
}


ngx_mesh_series_t *
ngx_mesh_series_child(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind,
    ngx_mesh_series_t *parent, uint32_t code, ngx_uint_t reserved)
{
    uint32_t           id[2];
    ngx_mesh_series_t  want, *series;

    series = ngx_mesh_zone_at(zone, zone->series);

    ngx_memzero(&want, sizeof(ngx_mesh_series_t));

    want.kind = kind;
    want.parent = parent - series;
    want.code = code;

    id[0] = want.parent;
    id[1] = code;

    want.hash = ngx_mesh_series_hash(kind, (u_char *) id, sizeof(id));

    return ngx_mesh_series_intern(zone, &want, NULL, reserved);
}


ngx_atomic_t *
ngx_mesh_series_add(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    ngx_uint_t proc)
{
    uint32_t  offset;

    offset = ngx_mesh_arena_cells(zone,
                                  ngx_mesh_series_ncells[series->kind]
                                  * sizeof(ngx_atomic_t),
                                  series->reserved);
    if (offset == 0) {
        return NULL;
    }

    /* only the shared process slot can lose this */

    (void) __sync_bool_compare_and_swap(&series->cells[proc], 0, offset);

    return ngx_mesh_series_peek(zone, series, proc);
}


/* FNV-1a, 64 bits, and a last mix: the low bits choose the hash slot */

static uint64_t
ngx_mesh_series_hash(uint64_t seed, const u_char *p, size_t len)
{
    size_t    i;
    uint64_t  h;

    h = 0xcbf29ce484222325 ^ seed;

    for (i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3;
    }

    return h ^ (h >> 32);
}


static ngx_mesh_series_t *
ngx_mesh_series_intern(ngx_mesh_zone_t *zone, ngx_mesh_series_t *want,
    u_char *text, ngx_uint_t reserved)
{
    uint32_t            i, n, id, made, *index;
    ngx_mesh_series_t  *series;

    index = ngx_mesh_zone_at(zone, zone->index);
    series = ngx_mesh_zone_at(zone, zone->series);

    made = 0;
    i = (uint32_t) want->hash & (zone->nindex - 1);

    /* the index has twice as many slots as there are series: it ends */

    for (n = 0; n < zone->nindex; n++) {

        id = *(volatile uint32_t *) &index[i];

        if (id == 0) {

            if (made == 0) {
                made = ngx_mesh_series_new(zone, want, text, reserved);

                if (made == 0) {
                    return NULL;
                }
            }

            id = __sync_val_compare_and_swap(&index[i], 0, made);

            if (id == 0) {
                series[made - 1].kind = want->kind;
                return &series[made - 1];
            }
        }

        if (ngx_mesh_series_equal(zone, &series[id - 1], want, text)) {
            series[id - 1].kind = want->kind;
            return &series[id - 1];
        }

        i = (i + 1) & (zone->nindex - 1);
    }

    return NULL;
}


/* kind is part of the hash, and not yet set if its maker died just then */

static ngx_uint_t
ngx_mesh_series_equal(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    ngx_mesh_series_t *want, u_char *text)
{
    if (series->hash != want->hash
        || series->text_len != want->text_len
        || series->parent != want->parent
        || series->code != want->code)
    {
        return 0;
    }

    if (text == NULL) {
        return 1;
    }

    return ngx_memcmp(ngx_mesh_zone_at(zone, series->text), text,
                      want->text_len) == 0;
}


/* number + 1 of a series that is written but not published, 0: full */

static uint32_t
ngx_mesh_series_new(ngx_mesh_zone_t *zone, ngx_mesh_series_t *want,
    u_char *text, ngx_uint_t reserved)
{
    uint32_t            offset, limit, n;
    ngx_mesh_series_t  *series;

    limit = reserved ? zone->nseries : zone->nseries - zone->nseries / 16;
    offset = 0;

    if (zone->series_used >= limit) {
        return 0;
    }

    if (text) {
        offset = ngx_mesh_arena_text(zone, want->text_len, reserved);
        if (offset == 0) {
            return 0;
        }

        ngx_memcpy(ngx_mesh_zone_at(zone, offset), text, want->text_len);
    }

    do {
        n = zone->series_used;

        if (n >= limit) {
            return 0;
        }

    } while (!ngx_atomic_cmp_set(&zone->series_used, n, n + 1));

    series = ngx_mesh_zone_at(zone, zone->series);
    series += n;

    series->hash = want->hash;
    series->parent = want->parent;
    series->code = want->code;
    series->text = offset;
    series->text_len = want->text_len;
    series->reserved = reserved;

    ngx_memory_barrier();

    return n + 1;
}


/*
 * Cells grow from the arena's start, text from its end.  A sum that is too
 * large after the swap means that the other end has just taken these bytes:
 * they are given up, and the arena is full.
 */

static ngx_uint_t
ngx_mesh_arena_take(ngx_mesh_zone_t *zone, ngx_atomic_t *used, size_t len,
    ngx_uint_t reserved, ngx_atomic_uint_t *old)
{
    size_t  limit;

    limit = zone->arena_bytes;

    if (!reserved) {
        limit -= limit / 16;
    }

    do {
        *old = *used;

        if (zone->text_used + zone->cells_used + len > limit) {
            return 0;
        }

    } while (!ngx_atomic_cmp_set(used, *old, *old + len));

    return zone->text_used + zone->cells_used <= zone->arena_bytes;
}


static uint32_t
ngx_mesh_arena_text(ngx_mesh_zone_t *zone, size_t len, ngx_uint_t reserved)
{
    ngx_atomic_uint_t  old;

    len = ngx_align(len, 8);

    if (!ngx_mesh_arena_take(zone, &zone->text_used, len, reserved, &old)) {
        return 0;
    }

    return zone->arena + zone->arena_bytes - old - len;
}


/* a cache line at least: no two processes write to the same one */

static uint32_t
ngx_mesh_arena_cells(ngx_mesh_zone_t *zone, size_t len, ngx_uint_t reserved)
{
    ngx_atomic_uint_t  old;

    len = ngx_align(len, 64);

    if (!ngx_mesh_arena_take(zone, &zone->cells_used, len, reserved, &old)) {
        return 0;
    }

    return zone->arena + old;
}
