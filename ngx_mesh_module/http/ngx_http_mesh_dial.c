
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * nginx asks peer.get() for a connection and may be told that it is on its
 * way.  So a request that waits has one that is not connected yet: when its
 * turn comes it is, as ngx_event_connect_peer() would have done; when another
 * request gives one back first, that takes its place.
 */

#include <ngx_http_mesh_dial.h>
#include <ngx_mesh_metrics.h>


static ngx_int_t ngx_http_mesh_dial_connection(ngx_peer_connection_t *pc);
static void ngx_http_mesh_dial_wake(ngx_mesh_dial_t *dial);
static void ngx_http_mesh_dial_handler(ngx_event_t *ev);
static void ngx_http_mesh_dial_connect(ngx_http_mesh_dial_t *d);
static void ngx_http_mesh_dial_replace(ngx_http_mesh_dial_t *d,
    ngx_connection_t *c);


ngx_int_t
ngx_http_mesh_dial_begin(ngx_http_mesh_dial_t *d, ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_http_mesh_dial_take_pt take)
{
    if (ngx_mesh_dial_begin(&d->dial, pc->sockaddr, ngx_http_mesh_dial_wake)
        == NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_mesh_dial_connection(pc) != NGX_OK) {
        ngx_mesh_dial_end(&d->dial);
        return NGX_ERROR;
    }

    ngx_mesh_count(NGX_MESH_C_dial_waited, 1);

    d->request = r;
    d->take = take;
    d->armed = 0;

    d->event.data = d;
    d->event.handler = ngx_http_mesh_dial_handler;
    d->event.log = pc->log;

    /* nginx sets its timer when we have returned */

    ngx_post_event(&d->event, &ngx_posted_events);

    return NGX_AGAIN;
}


void
ngx_http_mesh_dial_end(ngx_http_mesh_dial_t *d)
{
    if (d->event.posted) {
        ngx_delete_posted_event(&d->event);
    }

    ngx_mesh_dial_end(&d->dial);
}


/* the first half of ngx_event_connect_peer(), for TCP */

static ngx_int_t
ngx_http_mesh_dial_connection(ngx_peer_connection_t *pc)
{
    int                value;
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(pc->sockaddr->sa_family, SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {

        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NGX_ERROR;
    }

    value = 1;

    if (pc->so_keepalive
        && setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, (const void *) &value,
                      sizeof(int))
           == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      "setsockopt(SO_KEEPALIVE) failed, ignored");
    }

    if (ngx_nonblocking(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_nonblocking_n " failed");
        ngx_close_connection(c);
        return NGX_ERROR;
    }

    c->type = SOCK_STREAM;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;
    c->sendfile = 1;
    c->log_error = pc->log_error;

    c->read->log = pc->log;
    c->write->log = pc->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    pc->connection = c;

    return NGX_OK;
}


static void
ngx_http_mesh_dial_wake(ngx_mesh_dial_t *dial)
{
    ngx_http_mesh_dial_t  *d = (ngx_http_mesh_dial_t *) dial;

    ngx_post_event(&d->event, &ngx_posted_events);
}


static void
ngx_http_mesh_dial_handler(ngx_event_t *ev)
{
    ngx_event_t           *wev;
    ngx_connection_t      *c;
    ngx_http_mesh_dial_t  *d;

    d = ev->data;

    if (!d->dial.waiting) {

        c = d->take(d->request);

        if (c) {
            ngx_http_mesh_dial_replace(d, c);
            return;
        }

        if (ngx_mesh_dial_again(&d->dial) == NGX_OK) {
            ngx_http_mesh_dial_connect(d);
            return;
        }
    }

    if (!d->armed) {
        d->armed = 1;

        wev = d->request->upstream->peer.connection->write;

        if (wev->timer_set) {
            ngx_del_timer(wev);
        }

        ngx_add_timer(wev, NGX_MESH_DIAL_WAIT_MS);
    }
}


/* the second half; what cannot even be tried is told as a time-out */

static void
ngx_http_mesh_dial_connect(ngx_http_mesh_dial_t *d)
{
    int                     rc;
    ngx_event_t            *wev;
    ngx_connection_t       *c;
    ngx_http_upstream_t    *u;
    ngx_peer_connection_t  *pc;

    u = d->request->upstream;
    pc = &u->peer;
    c = pc->connection;
    wev = c->write;

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (ngx_add_conn) {

        if (ngx_add_conn(c) == NGX_ERROR) {
            goto failed;
        }

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK
               || ngx_handle_write_event(wev, 0) != NGX_OK)
    {
        goto failed;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pc->log, 0,
                   "mesh connect to %V, fd:%d #%uA", pc->name, c->fd,
                   c->number);

    rc = connect(c->fd, pc->sockaddr, pc->socklen);

    if (rc == 0) {
        wev->ready = 1;
        wev->handler(wev);
        return;
    }

    if (ngx_socket_errno == NGX_EINPROGRESS) {
        ngx_add_timer(wev, u->conf->connect_timeout);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                  "connect() to %V failed", pc->name);

failed:

    wev->timedout = 1;
    wev->handler(wev);
}


/* c stands where nginx has the connection that was never made */

static void
ngx_http_mesh_dial_replace(ngx_http_mesh_dial_t *d, ngx_connection_t *c)
{
    ngx_log_t            *log;
    ngx_connection_t     *old;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = d->request;
    u = r->upstream;
    old = u->peer.connection;
    log = r->connection->log;

    ngx_mesh_dial_end(&d->dial);

    c->requests++;
    c->data = r;
    c->write->handler = old->write->handler;
    c->read->handler = old->read->handler;

    c->sendfile &= r->connection->sendfile;
    u->output.sendfile = c->sendfile;

    if (old->tcp_nopush == NGX_TCP_NOPUSH_DISABLED) {
        c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    }

    c->log = log;
    c->pool->log = log;
    c->read->log = log;
    c->write->log = log;

    u->peer.connection = c;
    u->peer.cached = 1;
    u->writer.connection = c;

    ngx_destroy_pool(old->pool);
    ngx_close_connection(old);

    c->write->handler(c->write);
}
