
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_dial.c */

/* Handshakes under way: limits, order, and that nobody is left waiting. */

#include <ngx_mesh_dial.h>

#include "unit.h"


#define DIALS  200

static ngx_mesh_dial_t  dials[DIALS];
static ngx_uint_t       woken[DIALS];
static ngx_uint_t       nwoken;


static void
wake(ngx_mesh_dial_t *dial)
{
    woken[nwoken++] = dial - dials;
}


static struct sockaddr *
endpoint(ngx_uint_t n)
{
    static struct sockaddr_in  sin;

    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(0x0af40100 + n);
    sin.sin_port = htons(8080);

    return (struct sockaddr *) &sin;
}


static void
reset(void)
{
    ngx_uint_t  i;

    for (i = 0; i < DIALS; i++) {
        ngx_mesh_dial_end(&dials[i]);
    }

    ngx_memzero(dials, sizeof(dials));
    nwoken = 0;
}


/* begins n dials to endpoint, from number first on; returns how many may */

static ngx_uint_t
begin(ngx_uint_t first, ngx_uint_t n, ngx_uint_t to)
{
    ngx_uint_t  i, may;

    may = 0;

    for (i = first; i < first + n; i++) {
        may += (ngx_mesh_dial_begin(&dials[i], endpoint(to), wake) == NGX_OK);
    }

    return may;
}


static void
an_endpoint_has_a_limit(void)
{
    reset();

    UNIT_EQ(begin(0, 20, 1), NGX_MESH_DIAL_LANE_MAX);
    UNIT_EQ(nwoken, 0);

    /* in the order of their coming */

    ngx_mesh_dial_end(&dials[3]);
    UNIT_EQ(nwoken, 1);
    UNIT_EQ(woken[0], 16);
    UNIT_EQ(ngx_mesh_dial_again(&dials[16]), NGX_OK);

    ngx_mesh_dial_end(&dials[4]);
    UNIT_EQ(woken[1], 17);
}


static void
all_have_a_limit(void)
{
    ngx_uint_t  to, may;

    reset();

    for (may = 0, to = 1; to <= 10; to++) {
        may += begin(to * 10, 10, to * 37);
    }

    UNIT_EQ(may, NGX_MESH_DIAL_MAX);

    /* a place is for whoever waits, wherever to */

    ngx_mesh_dial_end(&dials[10]);
    UNIT_EQ(nwoken, 1);
    UNIT_OK(woken[0] > 64);
    UNIT_EQ(ngx_mesh_dial_again(&dials[woken[0]]), NGX_OK);
}


static void
newcomers_stand_behind(void)
{
    reset();

    (void) begin(0, 18, 1);

    ngx_mesh_dial_end(&dials[0]);
    UNIT_EQ(woken[0], 16);

    /* there is room, but somebody waits */

    UNIT_EQ(begin(18, 1, 1), 0);
    UNIT_EQ(ngx_mesh_dial_again(&dials[16]), NGX_OK);

    ngx_mesh_dial_end(&dials[1]);
    UNIT_EQ(woken[1], 17);
}


static void
who_is_woken_in_vain_keeps_its_place(void)
{
    reset();

    (void) begin(0, 19, 1);

    ngx_mesh_dial_parked(endpoint(1));
    UNIT_EQ(woken[0], 16);
    UNIT_EQ(ngx_mesh_dial_again(&dials[16]), NGX_AGAIN);

    ngx_mesh_dial_parked(endpoint(1));
    UNIT_EQ(woken[1], 16);

    /* served: by an idle connection */

    ngx_mesh_dial_end(&dials[16]);

    ngx_mesh_dial_parked(endpoint(1));
    UNIT_EQ(woken[2], 17);
}


static void
each_end_wakes_one(void)
{
    ngx_uint_t  i, done;

    reset();

    (void) begin(0, DIALS, 1);

    for (i = 0; i < NGX_MESH_DIAL_LANE_MAX; i++) {
        ngx_mesh_dial_end(&dials[i]);
    }

    /* every third gives up when it is woken, the others dial and end */

    for (done = 0; done < nwoken; done++) {

        if (done % 3) {
            UNIT_EQ(ngx_mesh_dial_again(&dials[woken[done]]), NGX_OK);
        }

        ngx_mesh_dial_end(&dials[woken[done]]);
    }

    UNIT_EQ(nwoken, DIALS - NGX_MESH_DIAL_LANE_MAX);
}


static void
ends_are_harmless(void)
{
    ngx_mesh_dial_t  dial;

    reset();

    ngx_memzero(&dial, sizeof(ngx_mesh_dial_t));

    ngx_mesh_dial_end(&dial);
    ngx_mesh_dial_parked(endpoint(1));
    UNIT_EQ(nwoken, 0);

    UNIT_EQ(ngx_mesh_dial_begin(&dial, endpoint(1), wake), NGX_OK);
    ngx_mesh_dial_end(&dial);
    ngx_mesh_dial_end(&dial);

    /* one that waits is forgotten */

    (void) begin(0, 17, 1);
    ngx_mesh_dial_end(&dials[16]);
    ngx_mesh_dial_end(&dials[0]);
    UNIT_EQ(nwoken, 0);
}


UNIT_TESTS = {
    UNIT(an_endpoint_has_a_limit),
    UNIT(all_have_a_limit),
    UNIT(newcomers_stand_behind),
    UNIT(who_is_woken_in_vain_keeps_its_place),
    UNIT(each_end_wakes_one),
    UNIT(ends_are_harmless),
    UNIT_END
};
