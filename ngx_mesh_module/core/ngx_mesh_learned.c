
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * A port is one word: 40 bits of a hash of its address, 22 bits with the
 * minute in which it was seen last, 2 bits of proof.  A word is read and
 * written as a whole, so workers need no lock; who loses a race loses one
 * proof.
 */

#include <ngx_mesh_learned.h>
#include <ngx_mesh_zone.h>


#define NGX_MESH_LEARNED_WAYS     4
#define NGX_MESH_LEARNED_MINUTES  0x3fffff

#define ngx_mesh_learned_tag(word)     ((word) >> 24)
#define ngx_mesh_learned_minute(word)                                         \
    (((word) >> 2) & NGX_MESH_LEARNED_MINUTES)
#define ngx_mesh_learned_proof(word)   ((word) & 3)


static ngx_atomic_t *ngx_mesh_learned_words(ngx_uint_t *minute);
static ngx_atomic_t *ngx_mesh_learned_find(ngx_atomic_t *words, uint64_t key);
static uint64_t ngx_mesh_learned_key(const ngx_mesh_addr_t *addr);
static ngx_uint_t ngx_mesh_learned_age(uint64_t word, ngx_uint_t minute);


static ngx_atomic_t  ngx_mesh_learned_local[NGX_MESH_LEARNED_PORTS];


ngx_uint_t
ngx_mesh_learned(const ngx_mesh_addr_t *addr)
{
    ngx_uint_t     minute;
    ngx_atomic_t  *words;

    words = ngx_mesh_learned_words(&minute);

    return ngx_mesh_learned_get(words, addr, minute)
           >= NGX_MESH_LEARNED_ENOUGH;
}


void
ngx_mesh_learned_raw(const ngx_mesh_addr_t *addr, ngx_uint_t proof)
{
    ngx_uint_t     minute;
    ngx_atomic_t  *words;

    words = ngx_mesh_learned_words(&minute);
    ngx_mesh_learned_add(words, addr, proof, minute);
}


void
ngx_mesh_learned_forget(const ngx_mesh_addr_t *addr)
{
    ngx_uint_t     minute;
    ngx_atomic_t  *words;

    words = ngx_mesh_learned_words(&minute);
    ngx_mesh_learned_drop(words, addr);
}


static ngx_atomic_t *
ngx_mesh_learned_words(ngx_uint_t *minute)
{
    ngx_mesh_zone_t  *zone;

    *minute = (ngx_uint_t) (ngx_mesh_now_us() / 60000000);

    zone = ngx_mesh_zone_get();

    return zone ? zone->learned : ngx_mesh_learned_local;
}


ngx_uint_t
ngx_mesh_learned_get(ngx_atomic_t *words, const ngx_mesh_addr_t *addr,
    ngx_uint_t minute)
{
    uint64_t       word;
    ngx_atomic_t  *cell;

    cell = ngx_mesh_learned_find(words, ngx_mesh_learned_key(addr));

    if (cell == NULL) {
        return 0;
    }

    word = *cell;

    return (ngx_mesh_learned_age(word, minute) < NGX_MESH_LEARNED_MIN)
           ? ngx_mesh_learned_proof(word) : 0;
}


void
ngx_mesh_learned_add(ngx_atomic_t *words, const ngx_mesh_addr_t *addr,
    ngx_uint_t proof, ngx_uint_t minute)
{
    uint64_t       key, word;
    ngx_uint_t     i;
    ngx_atomic_t  *cell, *set;

    key = ngx_mesh_learned_key(addr);
    cell = ngx_mesh_learned_find(words, key);

    if (cell) {
        proof += ngx_mesh_learned_get(words, addr, minute);

    } else {
        set = &words[key % (NGX_MESH_LEARNED_PORTS / NGX_MESH_LEARNED_WAYS)
                     * NGX_MESH_LEARNED_WAYS];
        cell = set;

        /* a free one, or the one that was not seen for longest */

        for (i = 1; i < NGX_MESH_LEARNED_WAYS && *cell; i++) {
            if (set[i] == 0
                || ngx_mesh_learned_age(set[i], minute)
                   > ngx_mesh_learned_age(*cell, minute))
            {
                cell = &set[i];
            }
        }
    }

    word = ngx_mesh_learned_tag(key) << 24;
    word |= (uint64_t) (minute & NGX_MESH_LEARNED_MINUTES) << 2;
    word |= ngx_min(proof, 3);

    *cell = (ngx_atomic_uint_t) word;
}


void
ngx_mesh_learned_drop(ngx_atomic_t *words, const ngx_mesh_addr_t *addr)
{
    ngx_atomic_t  *cell;

    cell = ngx_mesh_learned_find(words, ngx_mesh_learned_key(addr));

    if (cell) {
        *cell = 0;
    }
}


static ngx_atomic_t *
ngx_mesh_learned_find(ngx_atomic_t *words, uint64_t key)
{
    ngx_uint_t     i;
    ngx_atomic_t  *set;

    set = &words[key % (NGX_MESH_LEARNED_PORTS / NGX_MESH_LEARNED_WAYS)
                 * NGX_MESH_LEARNED_WAYS];

    for (i = 0; i < NGX_MESH_LEARNED_WAYS; i++) {
        if (ngx_mesh_learned_tag((uint64_t) set[i])
            == ngx_mesh_learned_tag(key))
        {
            return &set[i];
        }
    }

    return NULL;
}


/* FNV-1a, 64 bit; the tag, its upper part, is never 0 */

static uint64_t
ngx_mesh_learned_key(const ngx_mesh_addr_t *addr)
{
    uint64_t    key;
    ngx_uint_t  i;

    key = 14695981039346656037ULL;

    for (i = 0; i < 16; i++) {
        key = (key ^ addr->ip[i]) * 1099511628211ULL;
    }

    key = (key ^ (addr->port >> 8)) * 1099511628211ULL;
    key = (key ^ (addr->port & 0xff)) * 1099511628211ULL;

    return ngx_mesh_learned_tag(key) ? key : key | 0x1000000;
}


static ngx_uint_t
ngx_mesh_learned_age(uint64_t word, ngx_uint_t minute)
{
    return (minute - ngx_mesh_learned_minute(word))
           & NGX_MESH_LEARNED_MINUTES;
}
