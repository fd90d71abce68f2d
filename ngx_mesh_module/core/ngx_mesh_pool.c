
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The pool of idle upstream connections: a hash of short chains, and a queue
 * by age.  Whatever arrives on an idle connection, bytes or an end, closes
 * it; an end that epoll has not told yet is found by a look into the socket
 * when the connection is taken.
 */

#include <ngx_mesh_pool.h>
#include <ngx_mesh_metrics.h>
#include <ngx_event_openssl.h>


#define NGX_MESH_POOL_BUCKETS     256    /* a power of two */


typedef struct {
    ngx_queue_t               chain;     /* of its bucket, newest first */
    ngx_queue_t               age;       /* of all, newest first */
    ngx_connection_t         *connection;
    uint32_t                  hash;
    ngx_uint_t                buffered;  /* its TLS buffer was not freed */
    ngx_msec_t                parked_ms;
    ngx_str_t                 identity;
    uint64_t                  generation;
    ngx_uint_t                protocol;
    ngx_int_t               (*idle)(ngx_connection_t *c);
    socklen_t                 socklen;
    ngx_sockaddr_t            sockaddr;
} ngx_mesh_pool_item_t;


static void ngx_mesh_pool_init(void);
static uint32_t ngx_mesh_pool_hash(const ngx_mesh_pool_key_t *key);
static ngx_uint_t ngx_mesh_pool_equal(ngx_mesh_pool_item_t *item,
    const ngx_mesh_pool_key_t *key, uint32_t hash);
static ngx_mesh_pool_item_t *ngx_mesh_pool_room(
    const ngx_mesh_pool_key_t *key, uint32_t hash);
static void ngx_mesh_pool_unlink(ngx_mesh_pool_item_t *item);
static ngx_uint_t ngx_mesh_pool_safe(ngx_mesh_pool_item_t *item);
static ngx_uint_t ngx_mesh_pool_sound(ngx_connection_t *c);
static ngx_uint_t ngx_mesh_pool_quiet(ngx_connection_t *c);
static ngx_uint_t ngx_mesh_pool_heard(ngx_connection_t *c,
    ngx_int_t (*idle)(ngx_connection_t *c));
static void ngx_mesh_pool_read_handler(ngx_event_t *rev);
static void ngx_mesh_pool_dummy_handler(ngx_event_t *wev);


static ngx_mesh_pool_item_t  ngx_mesh_pool_items[NGX_MESH_POOL_MAX];
static ngx_queue_t           ngx_mesh_pool_buckets[NGX_MESH_POOL_BUCKETS];
static ngx_queue_t           ngx_mesh_pool_ages;
static ngx_queue_t           ngx_mesh_pool_free;
static ngx_uint_t            ngx_mesh_pool_nidle;


ngx_connection_t *
ngx_mesh_pool_take(const ngx_mesh_pool_key_t *key, ngx_uint_t once,
    ngx_log_t *log)
{
    uint32_t               hash;
    ngx_queue_t           *q, *next, *bucket;
    ngx_connection_t      *c;
    ngx_mesh_pool_item_t  *item;

    ngx_mesh_pool_init();

    hash = ngx_mesh_pool_hash(key);
    bucket = &ngx_mesh_pool_buckets[hash & (NGX_MESH_POOL_BUCKETS - 1)];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_mesh_pool_item_t, chain);

        if (!ngx_mesh_pool_equal(item, key, hash)
            || (once && !ngx_mesh_pool_safe(item)))
        {
            continue;
        }

        c = item->connection;
        ngx_mesh_pool_unlink(item);

        if (!ngx_mesh_pool_sound(c)
            || !(ngx_mesh_pool_quiet(c)
                 || ngx_mesh_pool_heard(c, item->idle)))
        {
            ngx_mesh_pool_close(c);
            continue;
        }

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        c->idle = 0;
        c->sent = 0;
        c->data = NULL;
        c->log = log;
        c->read->log = log;
        c->write->log = log;
        c->pool->log = log;

        return c;
    }

    return NULL;
}


ngx_int_t
ngx_mesh_pool_park(const ngx_mesh_pool_key_t *key, ngx_connection_t *c)
{
    uint32_t               hash;
    ngx_log_t             *log;
    ngx_mesh_pool_item_t  *item;

    if (ngx_exiting
        || ngx_terminate
        || key->socklen > sizeof(ngx_sockaddr_t)
        || ngx_handle_read_event(c->read, 0) != NGX_OK
        || !ngx_mesh_pool_sound(c)
        || (c->read->ready && !(key->idle ? ngx_mesh_pool_heard(c, key->idle)
                                          : ngx_mesh_pool_quiet(c))))
    {
        return NGX_DECLINED;               /* not ready: epoll will tell */
    }

    ngx_mesh_pool_init();

    hash = ngx_mesh_pool_hash(key);
    item = ngx_mesh_pool_room(key, hash);

    item->connection = c;
    item->hash = hash;
    item->buffered = (c->ssl != NULL);
    item->parked_ms = ngx_current_msec;
    item->identity = key->identity;
    item->generation = key->generation;
    item->protocol = key->protocol;
    item->idle = key->idle;
    item->socklen = key->socklen;
    ngx_memcpy(&item->sockaddr, key->sockaddr, key->socklen);

    ngx_queue_insert_head(
        &ngx_mesh_pool_buckets[hash & (NGX_MESH_POOL_BUCKETS - 1)],
        &item->chain);
    ngx_queue_insert_head(&ngx_mesh_pool_ages, &item->age);

    ngx_mesh_pool_nidle++;

    ngx_mesh_count(NGX_MESH_C_pool_idle, 1);

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->delayed = 0;
    ngx_add_timer(c->read, item->buffered ? NGX_MESH_POOL_BUFFER_MS
                                          : NGX_MESH_POOL_IDLE_MS);

    c->read->handler = ngx_mesh_pool_read_handler;
    c->write->handler = ngx_mesh_pool_dummy_handler;

    log = ngx_cycle->log;

    c->data = item;
    c->idle = 1;
    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->pool->log = log;

    return NGX_OK;
}


void
ngx_mesh_pool_close(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
            c->ssl->handler = ngx_mesh_pool_close;
            return;
        }
    }

    pool = c->pool;

    ngx_destroy_pool(pool);
    ngx_close_connection(c);
}


void
ngx_mesh_pool_expire(uint64_t generation)
{
    ngx_queue_t           *q, *next;
    ngx_mesh_pool_item_t  *item;

    ngx_mesh_pool_init();

    for (q = ngx_queue_head(&ngx_mesh_pool_ages);
         q != ngx_queue_sentinel(&ngx_mesh_pool_ages);
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_mesh_pool_item_t, age);

        if (item->identity.len && item->generation < generation) {
            ngx_mesh_pool_unlink(item);
            ngx_mesh_pool_close(item->connection);
        }
    }
}


static void
ngx_mesh_pool_init(void)
{
    ngx_uint_t  i;

    if (ngx_mesh_pool_ages.next) {
        return;
    }

    ngx_queue_init(&ngx_mesh_pool_ages);
    ngx_queue_init(&ngx_mesh_pool_free);

    for (i = 0; i < NGX_MESH_POOL_BUCKETS; i++) {
        ngx_queue_init(&ngx_mesh_pool_buckets[i]);
    }

    for (i = 0; i < NGX_MESH_POOL_MAX; i++) {
        ngx_queue_insert_tail(&ngx_mesh_pool_free,
                              &ngx_mesh_pool_items[i].chain);
    }
}


/*
 * Not of the identity: an address has one at a time, and the few connections
 * of the one before are gone soon.  By the last 8 bytes of an IPv6 address.
 */

static uint32_t
ngx_mesh_pool_hash(const ngx_mesh_pool_key_t *key)
{
    uint64_t              hash;
    struct sockaddr_in   *sin;
    struct sockaddr_in6  *sin6;

    switch (key->sockaddr->sa_family) {

    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) key->sockaddr;
        ngx_memcpy(&hash, &sin6->sin6_addr.s6_addr[8], sizeof(hash));
        hash += sin6->sin6_port;
        break;

    case AF_INET:
        sin = (struct sockaddr_in *) key->sockaddr;
        hash = ((uint64_t) sin->sin_addr.s_addr << 16) + sin->sin_port;
        break;

    default:
        hash = ngx_crc32_short((u_char *) key->sockaddr, key->socklen);
    }

    hash = (hash ^ (key->generation << 48) ^ key->protocol)
           * 0x9e3779b97f4a7c15ULL;

    return (uint32_t) (hash >> 32);
}


static ngx_uint_t
ngx_mesh_pool_equal(ngx_mesh_pool_item_t *item,
    const ngx_mesh_pool_key_t *key, uint32_t hash)
{
    return item->hash == hash
           && item->generation == key->generation
           && item->protocol == key->protocol
           && item->socklen == key->socklen
           && ngx_memcmp(&item->sockaddr, key->sockaddr, key->socklen) == 0
           && item->identity.len == key->identity.len
           && (key->identity.len == 0
               || ngx_memcmp(item->identity.data, key->identity.data,
                             key->identity.len)
                  == 0);
}


/* an item to fill, at the cost of the oldest with this key or of all */

static ngx_mesh_pool_item_t *
ngx_mesh_pool_room(const ngx_mesh_pool_key_t *key, uint32_t hash)
{
    ngx_uint_t             n;
    ngx_queue_t           *q, *bucket;
    ngx_mesh_pool_item_t  *item, *oldest;

    n = 0;
    oldest = NULL;

    if (ngx_mesh_pool_nidle < NGX_MESH_POOL_KEY_MAX) {
        goto free;                         /* no need to count */
    }

    bucket = &ngx_mesh_pool_buckets[hash & (NGX_MESH_POOL_BUCKETS - 1)];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_mesh_pool_item_t, chain);

        if (ngx_mesh_pool_equal(item, key, hash)) {
            oldest = item;
            n++;
        }
    }

    if (n < NGX_MESH_POOL_KEY_MAX) {
        oldest = NULL;
    }

    if (oldest == NULL && ngx_queue_empty(&ngx_mesh_pool_free)) {
        q = ngx_queue_last(&ngx_mesh_pool_ages);
        oldest = ngx_queue_data(q, ngx_mesh_pool_item_t, age);
    }

    if (oldest) {
        ngx_mesh_pool_unlink(oldest);
        ngx_mesh_pool_close(oldest->connection);
    }

free:

    q = ngx_queue_head(&ngx_mesh_pool_free);
    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_mesh_pool_item_t, chain);
}


static void
ngx_mesh_pool_unlink(ngx_mesh_pool_item_t *item)
{
    ngx_mesh_pool_nidle--;

    ngx_queue_remove(&item->age);
    ngx_queue_remove(&item->chain);
    ngx_queue_insert_head(&ngx_mesh_pool_free, &item->chain);

    ngx_mesh_count(NGX_MESH_C_pool_idle, -1);
}


/* between sidecars a connection is not closed without a reason */

static ngx_uint_t
ngx_mesh_pool_safe(ngx_mesh_pool_item_t *item)
{
    ngx_msec_t  idle_ms;

    if (item->identity.len) {
        return 1;
    }

    idle_ms = ngx_current_msec - item->parked_ms;

    return (idle_ms >= NGX_MESH_POOL_SETTLED_MS
            || item->protocol == MESH_PROTO_HTTP2)
           && idle_ms <= NGX_MESH_POOL_RECENT_MS;
}


static ngx_uint_t
ngx_mesh_pool_sound(ngx_connection_t *c)
{
    return !(c->close
             || c->read->eof || c->read->error || c->read->timedout
             || c->write->error || c->write->timedout);
}


/* nothing has arrived, not even an end that epoll has not told yet */

static ngx_uint_t
ngx_mesh_pool_quiet(ngx_connection_t *c)
{
    int     n;
    u_char  buf[1];

    n = recv(c->fd, buf, 1, MSG_PEEK);

    return n == -1 && ngx_socket_errno == NGX_EAGAIN;
}


/* something has, but nothing that would end the connection */

static ngx_uint_t
ngx_mesh_pool_heard(ngx_connection_t *c,
    ngx_int_t (*idle)(ngx_connection_t *c))
{
    if (idle == NULL) {
        return 0;
    }

    c->read->ready = 1;

#if (NGX_HAVE_EPOLLRDHUP)

    /* 0 would keep ngx_recv() from reading what epoll has not told yet */

    if (c->read->available == 0) {
        c->read->available = -1;
    }

#endif

    return idle(c) == NGX_OK;
}


static void
ngx_mesh_pool_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_mesh_pool_item_t  *item;

    c = rev->data;
    item = c->data;

    if (rev->timedout && item->buffered && !c->close) {

        /* not used soon: give back most of what it costs */

        rev->timedout = 0;
        item->buffered = 0;

        ngx_ssl_free_buffer(c);
        ngx_add_timer(rev, NGX_MESH_POOL_IDLE_MS - NGX_MESH_POOL_BUFFER_MS);

        return;
    }

    if (ngx_mesh_pool_sound(c)
        && (ngx_mesh_pool_quiet(c) || ngx_mesh_pool_heard(c, item->idle)))
    {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) == NGX_OK) {
            return;
        }
    }

    ngx_mesh_pool_unlink(item);
    ngx_mesh_pool_close(c);
}


static void
ngx_mesh_pool_dummy_handler(ngx_event_t *wev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, wev->log, 0,
                   "mesh pool dummy handler");
}
