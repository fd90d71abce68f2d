
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * One queue for each lane, and counts.  Whoever is woken leaves its queue and
 * either dials, ends, or goes back to the front; each end wakes one more, so
 * nobody is left waiting while nothing is under way.
 */

#include <ngx_mesh_dial.h>


static void ngx_mesh_dial_init(void);
static uint32_t ngx_mesh_dial_lane(struct sockaddr *sa);
static ngx_uint_t ngx_mesh_dial_room(uint32_t lane);
static void ngx_mesh_dial_start(ngx_mesh_dial_t *dial);
static void ngx_mesh_dial_next(uint32_t lane);
static ngx_uint_t ngx_mesh_dial_wake(uint32_t lane);


static ngx_queue_t  ngx_mesh_dial_queues[NGX_MESH_DIAL_LANES];
static ngx_uint_t   ngx_mesh_dial_counts[NGX_MESH_DIAL_LANES];
static ngx_uint_t   ngx_mesh_dial_count;


ngx_int_t
ngx_mesh_dial_begin(ngx_mesh_dial_t *dial, struct sockaddr *sa,
    ngx_mesh_dial_pt wake)
{
    ngx_mesh_dial_init();

    dial->wake = wake;
    dial->lane = ngx_mesh_dial_lane(sa);

    if (ngx_mesh_dial_room(dial->lane)
        && ngx_queue_empty(&ngx_mesh_dial_queues[dial->lane]))
    {
        ngx_mesh_dial_start(dial);
        return NGX_OK;
    }

    dial->waiting = 1;
    ngx_queue_insert_tail(&ngx_mesh_dial_queues[dial->lane], &dial->queue);

    return NGX_AGAIN;
}


ngx_int_t
ngx_mesh_dial_again(ngx_mesh_dial_t *dial)
{
    if (ngx_mesh_dial_room(dial->lane)) {
        ngx_mesh_dial_start(dial);
        return NGX_OK;
    }

    dial->waiting = 1;
    ngx_queue_insert_head(&ngx_mesh_dial_queues[dial->lane], &dial->queue);

    return NGX_AGAIN;
}


void
ngx_mesh_dial_end(ngx_mesh_dial_t *dial)
{
    if (dial->wake == NULL) {
        return;
    }

    if (dial->waiting) {
        ngx_queue_remove(&dial->queue);
    }

    if (dial->dialing) {
        ngx_mesh_dial_counts[dial->lane]--;
        ngx_mesh_dial_count--;
    }

    dial->waiting = 0;
    dial->dialing = 0;
    dial->wake = NULL;

    ngx_mesh_dial_next(dial->lane);
}


void
ngx_mesh_dial_parked(struct sockaddr *sa)
{
    if (ngx_mesh_dial_count == 0) {
        return;                            /* then nobody waits */
    }

    (void) ngx_mesh_dial_wake(ngx_mesh_dial_lane(sa));
}


static void
ngx_mesh_dial_init(void)
{
    ngx_uint_t  i;

    if (ngx_mesh_dial_queues[0].next) {
        return;
    }

    for (i = 0; i < NGX_MESH_DIAL_LANES; i++) {
        ngx_queue_init(&ngx_mesh_dial_queues[i]);
    }
}


/* endpoints in one lane share its limit, and wake each other in vain */

static uint32_t
ngx_mesh_dial_lane(struct sockaddr *sa)
{
    uint32_t              n;
    struct sockaddr_in   *sin;
    struct sockaddr_in6  *sin6;

    if (sa->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) sa;

        ngx_memcpy(&n, &sin6->sin6_addr.s6_addr[12], sizeof(n));
        n += sin6->sin6_port;

    } else {
        sin = (struct sockaddr_in *) sa;

        n = sin->sin_addr.s_addr + sin->sin_port;
    }

    return (n * 0x9e3779b1u) >> 26;
}


static ngx_uint_t
ngx_mesh_dial_room(uint32_t lane)
{
    return ngx_mesh_dial_count < NGX_MESH_DIAL_MAX
           && ngx_mesh_dial_counts[lane] < NGX_MESH_DIAL_LANE_MAX;
}


static void
ngx_mesh_dial_start(ngx_mesh_dial_t *dial)
{
    dial->dialing = 1;

    ngx_mesh_dial_counts[dial->lane]++;
    ngx_mesh_dial_count++;
}


/* whose turn it is: one of this lane, else of the nearest that has one */

static void
ngx_mesh_dial_next(uint32_t lane)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MESH_DIAL_LANES; i++) {

        if (ngx_mesh_dial_room(lane) && ngx_mesh_dial_wake(lane)) {
            return;
        }

        lane = (lane + 1) & (NGX_MESH_DIAL_LANES - 1);
    }
}


static ngx_uint_t
ngx_mesh_dial_wake(uint32_t lane)
{
    ngx_queue_t      *q;
    ngx_mesh_dial_t  *dial;

    if (ngx_queue_empty(&ngx_mesh_dial_queues[lane])) {
        return 0;
    }

    q = ngx_queue_head(&ngx_mesh_dial_queues[lane]);
    ngx_queue_remove(q);

    dial = ngx_queue_data(q, ngx_mesh_dial_t, queue);
    dial->waiting = 0;

    dial->wake(dial);

    return 1;
}
