
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * An intercepted connection from accept() on: its original destination, and
 * whether it may go there.  Either it is refused with a reset, or waits until
 * the state knows the address, or goes on to ngx_mesh_pass.c.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_accept.h>
#include <ngx_mesh_hold.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_pass.h>
#include <ngx_mesh_state.h>


/* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of the kernel's netfilter */

#define NGX_MESH_ORIGINAL_DST     80


static ngx_mesh_accepted_t *ngx_mesh_accept_create(ngx_connection_t *c);
static void ngx_mesh_accept_cleanup(void *data);
static ngx_int_t ngx_mesh_accept_original_dst(ngx_mesh_accepted_t *a);
static ngx_int_t ngx_mesh_accept_own(ngx_mesh_accepted_t *a);
static ngx_uint_t ngx_mesh_accept_probe(ngx_mesh_accepted_t *a);
static void ngx_mesh_accept_outbound(ngx_mesh_accepted_t *a);
static void ngx_mesh_accept_hold(ngx_mesh_accepted_t *a);
static void ngx_mesh_accept_held(ngx_event_t *rev);
static void ngx_mesh_accept_inbound(ngx_mesh_accepted_t *a);
static ngx_uint_t ngx_mesh_accept_protocol(ngx_mesh_accepted_t *a,
    ngx_mesh_state_t *state, const mesh_state_addr_t *entry);
static void ngx_mesh_accept_refuse(ngx_mesh_accepted_t *a,
    ngx_mesh_counter_e counter, const char *why);
static u_char *ngx_mesh_accept_log(ngx_log_t *log, u_char *buf, size_t len);


static const in_port_t  ngx_mesh_opaque_ports[] = MESH_OPAQUE_PORTS;


void
ngx_mesh_accept(ngx_connection_t *c)
{
    ngx_int_t             rc;
    ngx_mesh_accepted_t  *a;

    a = ngx_mesh_accept_create(c);

    if (a == NULL) {
        ngx_mesh_accept_close(c);
        return;
    }

    rc = ngx_mesh_accept_original_dst(a);

    if (rc == NGX_OK && ngx_mesh_accept_probe(a)) {
        ngx_mesh_accept_close(c);
        return;
    }

    if (rc == NGX_OK && a->conn.direction == NGX_MESH_INBOUND) {
        rc = ngx_mesh_accept_own(a);
    }

    if (rc == NGX_DECLINED) {
        ngx_mesh_accept_refuse(a, NGX_MESH_C_connections_refused_direct,
                               "it was not redirected here");
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_mesh_accept_close(c);
        return;
    }

    if (a->conn.direction == NGX_MESH_OUTBOUND) {
        ngx_mesh_accept_outbound(a);

    } else {
        ngx_mesh_accept_inbound(a);
    }
}


/*
 * The cleanup is registered here, before anything else can be, and is how
 * ngx_mesh_conn_get() finds the context again.
 */

static ngx_mesh_accepted_t *
ngx_mesh_accept_create(ngx_connection_t *c)
{
    ngx_pool_cleanup_t   *cln;
    ngx_mesh_accepted_t  *a;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_mesh_accepted_t));
    if (cln == NULL) {
        return NULL;
    }

    a = cln->data;
    ngx_memzero(a, sizeof(ngx_mesh_accepted_t));

    cln->handler = ngx_mesh_accept_cleanup;

    a->port = c->listening->servers;
    a->conn.connection = c;
    a->conn.direction = a->port->direction;
    a->conn.start_ms = ngx_current_msec;

    c->data = a;
    c->log_error = NGX_ERROR_INFO;

    c->log->connection = c->number;
    c->log->handler = ngx_mesh_accept_log;
    c->log->data = a;
    c->log->action = "accepting a redirected connection";

    if (ngx_mesh_addr_set(&a->conn.src, c->sockaddr) != NGX_OK) {
        return NULL;
    }

    return a;
}


static void
ngx_mesh_accept_cleanup(void *data)
{
    ngx_mesh_accepted_t  *a = data;

    ngx_err_t          err;
    ngx_connection_t  *c;

    c = a->conn.connection;

    ngx_mesh_hold_remove(&a->held);
    ngx_mesh_used_remove(&a->used);

    if (a->counted) {
        err = 0;

        if (c->timedout) {
            err = NGX_ETIMEDOUT;

        } else if (c->read->error || c->write->error
                   || (c->error && !c->read->eof))
        {
            err = NGX_ECONNRESET;
        }

        ngx_mesh_metrics_closed(&a->conn, a->conn.read_bytes, c->sent, err);
    }
}


/*
 * A stream of HTTP/2 is a copy of its connection, on some versions with a
 * pool of its own: what both share then is the destination, which for
 * connections of virtual listeners stands inside the context.
 */

ngx_mesh_conn_t *
ngx_mesh_conn_get(ngx_connection_t *c)
{
    u_char              *p;
    ngx_mesh_conf_t     *mcf;
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool ? c->pool->cleanup : NULL; cln; cln = cln->next) {
        if (cln->handler == ngx_mesh_accept_cleanup) {
            return cln->data;
        }
    }

    mcf = (ngx_mesh_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_mesh_module);

    if (c->listening < mcf->virtuals
        || c->listening >= mcf->virtuals + mcf->nvirtuals)
    {
        return NULL;
    }

    p = (u_char *) c->local_sockaddr - offsetof(ngx_mesh_accepted_t, dst);

    return &((ngx_mesh_accepted_t *) p)->conn;
}


/* NGX_DECLINED: nobody redirected the connection, or not to us */

static ngx_int_t
ngx_mesh_accept_original_dst(ngx_mesh_accepted_t *a)
{
    int                level;
    ngx_err_t          err;
    socklen_t          len;
    ngx_mesh_addr_t    local;
    ngx_connection_t  *c;
    u_char             text[NGX_SOCKADDR_STRLEN];

    c = a->conn.connection;

    level = IN6_IS_ADDR_V4MAPPED((struct in6_addr *) a->conn.src.ip)
            ? IPPROTO_IP : IPPROTO_IPV6;

    len = sizeof(ngx_mesh_dst_t);

    if (getsockopt(c->fd, level, NGX_MESH_ORIGINAL_DST, &a->dst, &len) == -1) {
        err = ngx_socket_errno;

        /* without any rule of nat nothing is tracked: made straight to us */

        if (err != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, c->log, err,
                          "getsockopt(SO_ORIGINAL_DST) failed");
        }

        return NGX_DECLINED;
    }

    if (ngx_mesh_addr_set(&a->conn.dst, &a->dst.sockaddr) != NGX_OK
        || ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK
        || ngx_mesh_addr_set(&local, c->local_sockaddr) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the kernel leaves len as it was, which is more than an address has */

    a->conn.dst_sockaddr = &a->dst.sockaddr;
    a->conn.dst_socklen = (a->dst.sockaddr.sa_family == AF_INET6)
                          ? sizeof(struct sockaddr_in6)
                          : sizeof(struct sockaddr_in);

    a->conn.dst_text.len = ngx_mesh_addr_text(text, &a->conn.dst);
    a->conn.dst_text.data = ngx_pnalloc(c->pool, a->conn.dst_text.len);

    if (a->conn.dst_text.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(a->conn.dst_text.data, text, a->conn.dst_text.len);

    return ngx_mesh_addr_equal(&a->conn.dst, &local) ? NGX_DECLINED : NGX_OK;
}


/*
 * Inbound connections go to this pod and to nobody else, or a neighbour
 * could use us as its proxy.  The redirect keeps the address unless the
 * interface has several; then the kernel is asked whether it is ours, by
 * binding to it.
 */

static ngx_int_t
ngx_mesh_accept_own(ngx_mesh_accepted_t *a)
{
    ngx_int_t        rc;
    socklen_t        len;
    ngx_socket_t     fd;
    ngx_sockaddr_t   sa;
    ngx_mesh_addr_t  local;

    if (ngx_mesh_addr_set(&local, a->conn.connection->local_sockaddr)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (a->conn.dst.port == local.port) {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(a->conn.dst.ip, local.ip, 16) == 0) {
        return NGX_OK;
    }

    len = ngx_mesh_addr_sockaddr(&sa, a->conn.dst.ip, 0);

    if (sa.sockaddr.sa_family == AF_INET6) {
        sa.sockaddr_in6.sin6_scope_id = a->dst.sockaddr_in6.sin6_scope_id;
    }

    fd = ngx_socket(sa.sockaddr.sa_family, SOCK_STREAM, 0);

    if (fd == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, a->conn.connection->log,
                      ngx_socket_errno, ngx_socket_n " failed");
        return NGX_ERROR;
    }

    rc = (bind(fd, &sa.sockaddr, len) == 0) ? NGX_OK : NGX_DECLINED;

    if (ngx_close_socket(fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, a->conn.connection->log,
                      ngx_socket_errno, ngx_close_socket_n " failed");
    }

    return rc;
}


/* 1: it was the agent's probe of its own redirect, and is answered */

static ngx_uint_t
ngx_mesh_accept_probe(ngx_mesh_accepted_t *a)
{
    size_t       len;
    const char  *word;
    u_char       ip[16];

    if (a->dst.sockaddr.sa_family == AF_INET) {
        ngx_memzero(ip, 10);
        ip[10] = 0xff;
        ip[11] = 0xff;

        if (inet_pton(AF_INET, MESH_PROBE_IP4, &ip[12]) != 1) {
            return 0;
        }

    } else if (inet_pton(AF_INET6, MESH_PROBE_IP6, ip) != 1) {
        return 0;
    }

    if (ngx_memcmp(a->conn.dst.ip, ip, 16) != 0) {
        return 0;
    }

    word = (a->conn.direction == NGX_MESH_OUTBOUND) ? MESH_PROBE_OUTBOUND
                                                    : MESH_PROBE_INBOUND;
    len = ngx_strlen(word);

    if (send(a->conn.connection->fd, word, len, MSG_NOSIGNAL)
        != (ssize_t) len)
    {
        ngx_log_error(NGX_LOG_INFO, a->conn.connection->log, ngx_socket_errno,
                      "probe was not answered");
    }

    return 1;
}


static void
ngx_mesh_accept_outbound(ngx_mesh_accepted_t *a)
{
    ngx_int_t                 rc;
    ngx_event_t              *rev;
    ngx_mesh_state_t         *state;
    const mesh_state_addr_t  *entry;

    rev = a->conn.connection->read;

    state = ngx_mesh_state_get();
    rc = ngx_mesh_state_verdict(state, &a->conn.dst, &entry);

    if (rc == NGX_OK) {
        a->known = (entry != NULL);
        a->conn.protocol = ngx_mesh_accept_protocol(a, state, entry);
    }

    if (state) {
        ngx_mesh_state_release(state);
    }

    switch (rc) {

    case NGX_OK:
        ngx_mesh_hold_remove(&a->held);

        if (rev->timer_set) {
            ngx_del_timer(rev);
        }

        if (a->conn.protocol == MESH_PROTO_OPAQUE
            || a->conn.protocol == MESH_PROTO_TLS)
        {
            ngx_mesh_pass_hand_off(a, NGX_MESH_TO_OUT_RAW);
            return;
        }

        ngx_mesh_pass_detect(rev);
        return;

    case NGX_AGAIN:
        ngx_mesh_accept_hold(a);
        return;

    default:
        ngx_mesh_accept_refuse(a, NGX_MESH_C_connections_refused_unknown,
                               "the address is nobody's");
    }
}


static void
ngx_mesh_accept_hold(ngx_mesh_accepted_t *a)
{
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    if (a->held.wanted) {
        return;
    }

    c = a->conn.connection;
    rev = c->read;

    if (ngx_mesh_hold_add(&a->held, &a->conn.dst, rev) != NGX_OK) {
        ngx_mesh_accept_refuse(a, NGX_MESH_C_connections_refused_unknown,
                               "too many wait for an unknown address");
        return;
    }

    c->log->action = "waiting for an unknown address";

    rev->handler = ngx_mesh_accept_held;
    ngx_add_timer(rev, NGX_MESH_HOLD_MS);
    ngx_reusable_connection(c, 1);

    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mesh_accept_close(c);
    }
}


/* a new snapshot, the end of its patience, or the client's end */

static void
ngx_mesh_accept_held(ngx_event_t *rev)
{
    u_char                byte;
    ssize_t               n;
    ngx_connection_t     *c;
    ngx_mesh_state_t     *state;
    ngx_mesh_accepted_t  *a;

    c = rev->data;
    a = c->data;

    if (c->close) {
        ngx_mesh_accept_close(c);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_mesh_hold_remove(&a->held);

        state = ngx_mesh_state_get();

        if (state == NULL
            || !(state->view.head->flags & MESH_STATE_PASS_UNKNOWN))
        {
            if (state) {
                ngx_mesh_state_release(state);
            }

            ngx_mesh_accept_refuse(a, NGX_MESH_C_connections_refused_unknown,
                                   "no answer came for an unknown address");
            return;
        }

        a->conn.passed = 1;
        a->conn.protocol = ngx_mesh_accept_protocol(a, state, NULL);
        ngx_mesh_state_release(state);

        ngx_mesh_pass_detect(rev);
        return;
    }

    n = recv(c->fd, &byte, 1, MSG_PEEK);

    if (n == 0 || (n == -1 && ngx_socket_errno != NGX_EAGAIN)) {
        ngx_mesh_accept_close(c);
        return;
    }

    ngx_mesh_accept_outbound(a);
}


static void
ngx_mesh_accept_inbound(ngx_mesh_accepted_t *a)
{
    ngx_mesh_state_t  *state;

    state = ngx_mesh_state_get();
    a->conn.protocol = ngx_mesh_accept_protocol(a, state, NULL);

    if (state) {
        ngx_mesh_state_release(state);
    }

    ngx_mesh_pass_detect(a->conn.connection->read);
}


/* what is declared or known of the port before a byte was seen */

static ngx_uint_t
ngx_mesh_accept_protocol(ngx_mesh_accepted_t *a, ngx_mesh_state_t *state,
    const mesh_state_addr_t *entry)
{
    uint32_t          workload;
    in_port_t         port;
    ngx_uint_t        i, protocol;

    port = a->conn.dst.port;
    protocol = MESH_PROTO_DETECT;

    if (entry && entry->kind == MESH_ADDR_SERVICE) {
        protocol = state->view.services[entry->index].protocol;

    } else if (state) {
        workload = entry ? entry->index : MESH_STATE_NONE;

        if (a->conn.direction == NGX_MESH_INBOUND) {
            workload = state->view.head->self;
        }

        protocol = mesh_state_port_protocol(&state->view, workload, port);
    }

    if (protocol != MESH_PROTO_DETECT) {
        return protocol;
    }

    for (i = 0; ngx_mesh_opaque_ports[i]; i++) {
        if (ngx_mesh_opaque_ports[i] == port) {
            return MESH_PROTO_OPAQUE;
        }
    }

    return MESH_PROTO_DETECT;
}


/* a reset, so that nobody takes it for an answer of the application */

static void
ngx_mesh_accept_refuse(ngx_mesh_accepted_t *a, ngx_mesh_counter_e counter,
    const char *why)
{
    struct linger      linger;
    ngx_connection_t  *c;

    c = a->conn.connection;

    ngx_mesh_count(counter, 1);

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "connection refused: %s", why);

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger,
                   sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }

    ngx_mesh_accept_close(c);
}


void
ngx_mesh_accept_close(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    c->destroyed = 1;

    pool = c->pool;

    ngx_close_connection(c);
    ngx_destroy_pool(pool);
}


static u_char *
ngx_mesh_accept_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char               *p;
    ngx_mesh_accepted_t  *a;

    a = log->data;

    p = ngx_snprintf(buf, len, " while %s, client: %V", log->action,
                     &a->conn.connection->addr_text);

    if (a->conn.dst_text.len) {
        len -= p - buf;
        p = ngx_snprintf(p, len, ", destination: %V", &a->conn.dst_text);
    }

    return p;
}
