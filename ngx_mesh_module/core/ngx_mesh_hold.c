
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Two lists: addresses that connections wait for, each asked again every
 * 100 ms because a datagram may be lost, and connections that are open to
 * known addresses, reported once a minute so that the agent keeps what they
 * use.  Both are bounded; a held connection ends by its own timer.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_agent.h>
#include <ngx_mesh_hold.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_state.h>


#define NGX_MESH_USED_SLOTS       512      /* power of two */


struct ngx_mesh_wanted_s {
    ngx_queue_t               queue;       /* active or free */
    ngx_queue_t               held;        /* ngx_mesh_held_t */
    ngx_mesh_addr_t           addr;
};


typedef struct {                           /* when addr was last reported */
    ngx_mesh_addr_t           addr;
    ngx_msec_t                sent_ms;     /* 0: never */
} ngx_mesh_sent_t;


static void ngx_mesh_hold_init(void);
static ngx_mesh_wanted_t *ngx_mesh_hold_wanted(ngx_mesh_addr_t *addr);
static void ngx_mesh_hold_want(ngx_mesh_wanted_t *wanted);
static void ngx_mesh_hold_timer(ngx_event_t *ev);
static ngx_int_t ngx_mesh_used_send(ngx_mesh_used_t *used, ngx_msec_t now);
static void ngx_mesh_used_timer(ngx_event_t *ev);


static ngx_mesh_wanted_t  ngx_mesh_wanteds[NGX_MESH_HOLD_ADDRESSES];
static ngx_queue_t        ngx_mesh_hold_active;
static ngx_queue_t        ngx_mesh_hold_free;
static ngx_uint_t         ngx_mesh_nheld;

static ngx_queue_t        ngx_mesh_used_list;
static ngx_mesh_sent_t    ngx_mesh_used_sent[NGX_MESH_USED_SLOTS];

static ngx_event_t        ngx_mesh_hold_event;
static ngx_event_t        ngx_mesh_used_event;
static ngx_connection_t   ngx_mesh_hold_dummy;


static void
ngx_mesh_hold_init(void)
{
    ngx_uint_t  i;

    if (ngx_mesh_hold_event.handler) {
        return;
    }

    ngx_mesh_hold_dummy.fd = (ngx_socket_t) -1;

    ngx_mesh_hold_event.handler = ngx_mesh_hold_timer;
    ngx_mesh_hold_event.data = &ngx_mesh_hold_dummy;
    ngx_mesh_hold_event.log = ngx_cycle->log;
    ngx_mesh_hold_event.cancelable = 1;

    ngx_mesh_used_event.handler = ngx_mesh_used_timer;
    ngx_mesh_used_event.data = &ngx_mesh_hold_dummy;
    ngx_mesh_used_event.log = ngx_cycle->log;
    ngx_mesh_used_event.cancelable = 1;

    ngx_queue_init(&ngx_mesh_hold_active);
    ngx_queue_init(&ngx_mesh_hold_free);
    ngx_queue_init(&ngx_mesh_used_list);

    for (i = 0; i < NGX_MESH_HOLD_ADDRESSES; i++) {
        ngx_queue_init(&ngx_mesh_wanteds[i].held);
        ngx_queue_insert_tail(&ngx_mesh_hold_free, &ngx_mesh_wanteds[i].queue);
    }
}


ngx_int_t
ngx_mesh_hold_add(ngx_mesh_held_t *held, ngx_mesh_addr_t *addr,
    ngx_event_t *event)
{
    ngx_mesh_wanted_t  *wanted;

    ngx_mesh_hold_init();

    if (ngx_mesh_nheld == NGX_MESH_HOLD_CONNECTIONS) {
        ngx_mesh_count(NGX_MESH_C_held_overflow, 1);
        return NGX_BUSY;
    }

    wanted = ngx_mesh_hold_wanted(addr);

    if (wanted == NULL) {
        ngx_mesh_count(NGX_MESH_C_held_overflow, 1);
        return NGX_BUSY;
    }

    held->wanted = wanted;
    held->event = event;
    ngx_queue_insert_tail(&wanted->held, &held->queue);

    ngx_mesh_nheld++;
    ngx_mesh_count(NGX_MESH_C_connections_held, 1);

    return NGX_OK;
}


/* the entry of addr, made and asked for if it is new; NULL: none is free */

static ngx_mesh_wanted_t *
ngx_mesh_hold_wanted(ngx_mesh_addr_t *addr)
{
    ngx_queue_t        *q;
    ngx_mesh_wanted_t  *wanted;

    for (q = ngx_queue_head(&ngx_mesh_hold_active);
         q != ngx_queue_sentinel(&ngx_mesh_hold_active);
         q = ngx_queue_next(q))
    {
        wanted = ngx_queue_data(q, ngx_mesh_wanted_t, queue);

        if (ngx_mesh_addr_equal(&wanted->addr, addr)) {
            return wanted;
        }
    }

    if (ngx_queue_empty(&ngx_mesh_hold_free)) {
        return NULL;
    }

    q = ngx_queue_head(&ngx_mesh_hold_free);
    ngx_queue_remove(q);
    ngx_queue_insert_tail(&ngx_mesh_hold_active, q);

    wanted = ngx_queue_data(q, ngx_mesh_wanted_t, queue);
    wanted->addr = *addr;

    ngx_mesh_count(NGX_MESH_C_want, 1);
    ngx_mesh_hold_want(wanted);

    if (!ngx_mesh_hold_event.timer_set) {
        ngx_add_timer(&ngx_mesh_hold_event, NGX_MESH_WANT_MS);
    }

    return wanted;
}


void
ngx_mesh_hold_remove(ngx_mesh_held_t *held)
{
    ngx_mesh_wanted_t  *wanted;

    wanted = held->wanted;

    if (wanted == NULL) {
        return;
    }

    held->wanted = NULL;
    ngx_queue_remove(&held->queue);

    ngx_mesh_nheld--;
    ngx_mesh_count(NGX_MESH_C_connections_held, -1);

    if (ngx_queue_empty(&wanted->held)) {
        ngx_queue_remove(&wanted->queue);
        ngx_queue_insert_tail(&ngx_mesh_hold_free, &wanted->queue);
    }
}


/*
 * Events are posted, not run: what runs may close connections that stand
 * further down in the list.
 */

void
ngx_mesh_hold_wake(ngx_mesh_state_t *state)
{
    ngx_queue_t              *q, *h;
    ngx_mesh_held_t          *held;
    ngx_mesh_wanted_t        *wanted;
    const mesh_state_addr_t  *entry;

    ngx_mesh_hold_init();

    for (q = ngx_queue_head(&ngx_mesh_hold_active);
         q != ngx_queue_sentinel(&ngx_mesh_hold_active);
         q = ngx_queue_next(q))
    {
        wanted = ngx_queue_data(q, ngx_mesh_wanted_t, queue);

        if (ngx_mesh_state_verdict(state, &wanted->addr, &entry) == NGX_AGAIN)
        {
            continue;
        }

        for (h = ngx_queue_head(&wanted->held);
             h != ngx_queue_sentinel(&wanted->held);
             h = ngx_queue_next(h))
        {
            held = ngx_queue_data(h, ngx_mesh_held_t, queue);

            ngx_post_event(held->event, &ngx_posted_events);
        }
    }
}


static void
ngx_mesh_hold_want(ngx_mesh_wanted_t *wanted)
{
    ngx_str_t  text;
    u_char     buf[NGX_SOCKADDR_STRLEN];

    text.data = buf;
    text.len = ngx_mesh_addr_text(buf, &wanted->addr);

    /* lost ones are counted there, and the timer asks again */

    (void) ngx_mesh_agent_send("want %V", &text);
}


static void
ngx_mesh_hold_timer(ngx_event_t *ev)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&ngx_mesh_hold_active);
         q != ngx_queue_sentinel(&ngx_mesh_hold_active);
         q = ngx_queue_next(q))
    {
        ngx_mesh_hold_want(ngx_queue_data(q, ngx_mesh_wanted_t, queue));
    }

    if (!ngx_queue_empty(&ngx_mesh_hold_active)) {
        ngx_add_timer(ev, NGX_MESH_WANT_MS);
    }
}


void
ngx_mesh_used_add(ngx_mesh_used_t *used, ngx_mesh_addr_t *addr)
{
    ngx_mesh_hold_init();

    used->addr = addr;
    used->sent_ms = 0;
    ngx_queue_insert_tail(&ngx_mesh_used_list, &used->queue);

    (void) ngx_mesh_used_send(used, ngx_current_msec);

    if (!ngx_mesh_used_event.timer_set) {
        ngx_add_timer(&ngx_mesh_used_event, NGX_MESH_USED_MS);
    }
}


void
ngx_mesh_used_remove(ngx_mesh_used_t *used)
{
    if (used->addr) {
        used->addr = NULL;
        ngx_queue_remove(&used->queue);
    }
}


/*
 * Reports once a minute per address, however many connections it has: the
 * table remembers by hash, a collision costs a datagram.  NGX_ERROR: try
 * again soon.
 */

static ngx_int_t
ngx_mesh_used_send(ngx_mesh_used_t *used, ngx_msec_t now)
{
    ngx_str_t         text;
    ngx_uint_t        i;
    ngx_mesh_sent_t  *sent;
    u_char            buf[NGX_SOCKADDR_STRLEN];

    if (used->sent_ms && now - used->sent_ms < NGX_MESH_USED_MS) {
        return NGX_OK;
    }

    i = mesh_state_hash(used->addr->ip, used->addr->port);
    sent = &ngx_mesh_used_sent[i & (NGX_MESH_USED_SLOTS - 1)];

    if (sent->sent_ms
        && now - sent->sent_ms < NGX_MESH_USED_MS
        && ngx_mesh_addr_equal(&sent->addr, used->addr))
    {
        used->sent_ms = sent->sent_ms;
        return NGX_OK;
    }

    text.data = buf;
    text.len = ngx_mesh_addr_text(buf, used->addr);

    if (ngx_mesh_agent_send("used %V", &text) == NGX_ERROR) {
        return NGX_ERROR;
    }

    used->sent_ms = now ? now : 1;

    sent->addr = *used->addr;
    sent->sent_ms = used->sent_ms;

    return NGX_OK;
}


static void
ngx_mesh_used_timer(ngx_event_t *ev)
{
    ngx_msec_t        now, next;
    ngx_queue_t      *q;

    now = ngx_current_msec;
    next = NGX_MESH_USED_MS;

    for (q = ngx_queue_head(&ngx_mesh_used_list);
         q != ngx_queue_sentinel(&ngx_mesh_used_list);
         q = ngx_queue_next(q))
    {
        /* a full socket: the agent reads on, the rest goes out later */

        if (ngx_mesh_used_send(ngx_queue_data(q, ngx_mesh_used_t, queue), now)
            != NGX_OK)
        {
            next = NGX_MESH_WANT_MS;
            break;
        }
    }

    if (!ngx_queue_empty(&ngx_mesh_used_list)) {
        ngx_add_timer(ev, next);
    }
}
