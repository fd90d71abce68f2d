
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_learned.c */

/* Learned ports: how much proof, for how long, and what gives way. */

#include <ngx_mesh_learned.h>
#include <ngx_mesh_zone.h>

#include "unit.h"


static ngx_atomic_t     learned_words[NGX_MESH_LEARNED_PORTS];
static ngx_mesh_zone_t  learned_zone;
static ngx_mesh_zone_t *learned_in;
static uint64_t         learned_now_us;


/* what the file needs of others */

uint64_t
ngx_mesh_now_us(void)
{
    return learned_now_us;
}


ngx_mesh_zone_here_t  ngx_mesh_zone_here;


ngx_mesh_zone_t *
ngx_mesh_zone_first(void)
{
    return learned_in;
}


static ngx_mesh_addr_t *
addr(unsigned n)
{
    static ngx_mesh_addr_t  a;

    memset(&a, 0, sizeof(ngx_mesh_addr_t));
    a.ip[10] = 0xff;
    a.ip[11] = 0xff;
    a.ip[12] = 10;
    a.ip[13] = (u_char) (n >> 16);
    a.ip[14] = (u_char) (n >> 8);
    a.ip[15] = (u_char) n;
    a.port = 90;

    return &a;
}


static void
proof_adds_up(void)
{
    memset((void *) learned_words, 0, sizeof(learned_words));

    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 100), 0);

    ngx_mesh_learned_add(learned_words, addr(1), NGX_MESH_LEARNED_BYTES, 100);
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 100), 1);
    ngx_mesh_learned_add(learned_words, addr(1), NGX_MESH_LEARNED_BYTES, 101);
    ngx_mesh_learned_add(learned_words, addr(1), NGX_MESH_LEARNED_BYTES, 102);
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 102), 3);
    ngx_mesh_learned_add(learned_words, addr(1), NGX_MESH_LEARNED_FIRST, 103);
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 103), 3);

    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(2), 103), 0);

    ngx_mesh_learned_drop(learned_words, addr(2));
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 103), 3);
    ngx_mesh_learned_drop(learned_words, addr(1));
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), 103), 0);
}


static void
proof_ages(void)
{
    ngx_uint_t  minute;

    memset((void *) learned_words, 0, sizeof(learned_words));

    /* the clock of a word wraps: 22 bits */

    for (minute = 0x3ffffe; minute < 0x400002; minute++) {
        ngx_mesh_learned_add(learned_words, addr(1), 3, minute);
        UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), minute + 9), 3);
        UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), minute + 10), 0);
    }

    /* what is too old does not count for what comes */

    ngx_mesh_learned_add(learned_words, addr(1), 1, minute + 20);
    UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(1), minute + 20), 1);
}


static void
the_oldest_gives_way(void)
{
    unsigned    n, known;

    memset((void *) learned_words, 0, sizeof(learned_words));

    for (n = 0; n < 100 * NGX_MESH_LEARNED_PORTS; n++) {
        ngx_mesh_learned_add(learned_words, addr(n), 3, 100);
        UNIT_EQ(ngx_mesh_learned_get(learned_words, addr(n), 100), 3);
    }

    for (n = 0, known = 0; n < 100 * NGX_MESH_LEARNED_PORTS; n++) {
        known += ngx_mesh_learned_get(learned_words, addr(n), 100) == 3;
    }

    UNIT_EQ(known, NGX_MESH_LEARNED_PORTS);

    /* new ones outlive old ones */

    for (n = 0; n < 100; n++) {
        ngx_mesh_learned_add(learned_words, addr(n), 3, 101);
        ngx_mesh_learned_add(learned_words, addr(1000000 + n), 3, 101);
    }

    for (n = 0, known = 0; n < 100; n++) {
        known += ngx_mesh_learned_get(learned_words, addr(n), 101) == 3;
    }

    UNIT_OK(known > 90);
}


static void
words_are_the_zones(void)
{
    learned_in = &learned_zone;
    learned_now_us = 60000000 * 7ULL;

    ngx_mesh_learned_raw(addr(5), NGX_MESH_LEARNED_FIRST);
    UNIT_EQ(ngx_mesh_learned(addr(5)), 1);
    UNIT_EQ(ngx_mesh_learned_get(learned_zone.learned, addr(5), 7), 3);

    learned_in = NULL;
    UNIT_EQ(ngx_mesh_learned(addr(5)), 0);
    ngx_mesh_learned_raw(addr(5), NGX_MESH_LEARNED_BYTES);
    UNIT_EQ(ngx_mesh_learned(addr(5)), 0);
    ngx_mesh_learned_raw(addr(5), NGX_MESH_LEARNED_FIRST);
    UNIT_EQ(ngx_mesh_learned(addr(5)), 1);

    learned_now_us += 60000000ULL * NGX_MESH_LEARNED_MIN;
    UNIT_EQ(ngx_mesh_learned(addr(5)), 0);

    ngx_mesh_learned_raw(addr(5), NGX_MESH_LEARNED_FIRST);
    ngx_mesh_learned_forget(addr(5));
    UNIT_EQ(ngx_mesh_learned(addr(5)), 0);
}


UNIT_TESTS = {
    UNIT(proof_adds_up),
    UNIT(proof_ages),
    UNIT(the_oldest_gives_way),
    UNIT(words_are_the_zones),
    UNIT_END
};
