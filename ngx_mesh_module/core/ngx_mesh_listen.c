
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * An intercepted connection's way from accept() to nginx's own code: original
 * destination, may it go on, what does it speak, hand-off to a virtual
 * listener.  Bytes are only ever peeked at: they stay in the kernel, and
 * whoever gets the connection reads them as if it had accepted it.  Nothing
 * is kept between two peeks, so one buffer serves all connections.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_detect.h>
#include <ngx_mesh_hold.h>
#include <ngx_mesh_listen.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_state.h>


/* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of the kernel's netfilter */

#define NGX_MESH_ORIGINAL_DST     80

/* who began to speak gets this many times the time of who said nothing */

#define NGX_MESH_DETECT_PATIENCE  10

#define NGX_MESH_BACKLOG          4096


typedef struct {
    in_port_t                 port;
    ngx_mesh_direction_e      direction;
    ngx_uint_t                required;
    const char               *block;
    const char               *what;
} ngx_mesh_target_t;


typedef struct {
    ngx_mesh_conn_t           conn;        /* first */
    ngx_mesh_port_t          *port;
    ngx_mesh_held_t           held;
    ngx_mesh_used_t           used;
    ngx_sockaddr_t            dst;
    unsigned                  known:1;     /* the state knows the address */
    unsigned                  spoke:1;     /* bytes came, not enough */
    unsigned                  counted:1;   /* ngx_mesh_metrics_accepted() */
} ngx_mesh_accepted_t;


static ngx_uint_t ngx_mesh_listen_is_virtual(struct sockaddr *sa,
    ngx_uint_t *target, ngx_uint_t *v6);
static ngx_int_t ngx_mesh_listen_missing(ngx_cycle_t *cycle,
    ngx_mesh_port_t *port);

static void ngx_mesh_listen_accept(ngx_connection_t *c);
static ngx_mesh_accepted_t *ngx_mesh_listen_create(ngx_connection_t *c);
static void ngx_mesh_listen_cleanup(void *data);
static ngx_int_t ngx_mesh_listen_original_dst(ngx_mesh_accepted_t *a);
static ngx_int_t ngx_mesh_listen_own(ngx_mesh_accepted_t *a,
    ngx_mesh_addr_t *local);
static ngx_uint_t ngx_mesh_listen_probe(ngx_mesh_accepted_t *a);
static void ngx_mesh_listen_outbound(ngx_mesh_accepted_t *a);
static void ngx_mesh_listen_hold(ngx_mesh_accepted_t *a);
static void ngx_mesh_listen_held(ngx_event_t *rev);
static void ngx_mesh_listen_inbound(ngx_mesh_accepted_t *a);
static ngx_uint_t ngx_mesh_listen_protocol(ngx_mesh_accepted_t *a,
    ngx_mesh_state_t *state, const mesh_state_addr_t *entry);

static void ngx_mesh_listen_detect(ngx_event_t *rev);
static void ngx_mesh_listen_wait(ngx_mesh_accepted_t *a, ngx_uint_t spoke);
static ngx_uint_t ngx_mesh_listen_is_http(ngx_mesh_accepted_t *a);
static void ngx_mesh_listen_timeout(ngx_mesh_accepted_t *a);
static void ngx_mesh_listen_pass(ngx_mesh_accepted_t *a,
    ngx_mesh_detect_e kind, ngx_mesh_hello_t *hello);
static ngx_mesh_to_e ngx_mesh_listen_target(ngx_mesh_accepted_t *a,
    ngx_mesh_detect_e kind, ngx_mesh_hello_t *hello);
static void ngx_mesh_listen_hand_off(ngx_mesh_accepted_t *a,
    ngx_mesh_to_e to);

static void ngx_mesh_listen_refuse(ngx_mesh_accepted_t *a,
    ngx_mesh_counter_e counter, const char *why);
static void ngx_mesh_listen_close(ngx_connection_t *c);
static u_char *ngx_mesh_listen_log(ngx_log_t *log, u_char *buf, size_t len);


/* by ngx_mesh_to_e; what is not required is used when it is there */

static const ngx_mesh_target_t  ngx_mesh_targets[NGX_MESH_TO_MAX] = {
    { 65001, NGX_MESH_OUTBOUND, 1, "http", "HTTP/1 of applications" },
    { 65002, NGX_MESH_OUTBOUND, 0, "http", "HTTP/2 of applications" },
    { 65003, NGX_MESH_OUTBOUND, 1, "stream", "raw TCP of applications" },
    { 65004, NGX_MESH_OUTBOUND, 0, "stream", "its twin with proxy_ssl" },
    { 65011, NGX_MESH_INBOUND, 1, "http", "HTTP/1 in plaintext" },
    { 65013, NGX_MESH_INBOUND, 1, "http", "HTTP over mesh TLS" },
    { 65015, NGX_MESH_INBOUND, 1, "stream", "raw TCP in plaintext" },
    { 65016, NGX_MESH_INBOUND, 1, "stream", "raw TCP over mesh TLS" }
};

static const in_port_t  ngx_mesh_opaque_ports[] = MESH_OPAQUE_PORTS;

static u_char  ngx_mesh_peek[NGX_MESH_DETECT_MAX_BYTES];


char *
ngx_mesh_listen_add(ngx_conf_t *cf, ngx_mesh_conf_t *mcf, ngx_str_t *url,
    ngx_mesh_direction_e direction)
{
    ngx_url_t          u;
    ngx_uint_t         i, n;
    ngx_listening_t   *ls;
    ngx_mesh_port_t   *port, **pp;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *url;
    u.listen = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        if (u.err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"", u.err,
                               url);
        }

        return NGX_CONF_ERROR;
    }

    for (n = 0; n < u.naddrs; n++) {

        if (u.addrs[n].sockaddr->sa_family != AF_INET
            && u.addrs[n].sockaddr->sa_family != AF_INET6)
        {
            return "takes addresses with ports only";
        }

        ls = cf->cycle->listening.elts;

        for (i = 0; i < cf->cycle->listening.nelts; i++) {
            if (ngx_cmp_sockaddr(ls[i].sockaddr, ls[i].socklen,
                                 u.addrs[n].sockaddr, u.addrs[n].socklen, 1)
                == NGX_OK)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate \"%V\"", url);
                return NGX_CONF_ERROR;
            }
        }

        port = ngx_pcalloc(cf->pool, sizeof(ngx_mesh_port_t));
        if (port == NULL) {
            return NGX_CONF_ERROR;
        }

        port->conf = mcf;
        port->direction = direction;
        port->v6 = (u.addrs[n].sockaddr->sa_family == AF_INET6);
        port->text = *url;

        pp = ngx_array_push(&mcf->ports);
        if (pp == NULL) {
            return NGX_CONF_ERROR;
        }

        *pp = port;

        ls = ngx_create_listening(cf, u.addrs[n].sockaddr, u.addrs[n].socklen);
        if (ls == NULL) {
            return NGX_CONF_ERROR;
        }

        ls->addr_ntop = 1;
        ls->handler = ngx_mesh_listen_accept;
        ls->pool_size = 1024;
        ls->backlog = NGX_MESH_BACKLOG;
        ls->keepalive = 1;
        ls->logp = &cf->cycle->new_log;
        ls->log.data = &ls->addr_text;
        ls->log.handler = ngx_accept_log_error;
        ls->servers = port;
#if (NGX_HAVE_INET6)
        ls->ipv6only = 1;
#endif
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mesh_listen_strip(ngx_cycle_t *cycle, ngx_mesh_conf_t *mcf)
{
    ngx_uint_t         i, n, target, v6;
    ngx_listening_t   *ls, *virt;
    ngx_mesh_port_t  **ports;

    ls = cycle->listening.elts;

    mcf->virtuals = ngx_palloc(cycle->pool, cycle->listening.nelts
                                            * sizeof(ngx_listening_t));
    if (mcf->virtuals == NULL) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < cycle->listening.nelts; i++) {

        if (!ngx_mesh_listen_is_virtual(ls[i].sockaddr, &target, &v6)) {
            ls[n++] = ls[i];
            continue;
        }

        virt = &mcf->virtuals[mcf->nvirtuals++];
        *virt = ls[i];

        mcf->targets[target][v6] = virt;
    }

    cycle->listening.nelts = n;

    ports = mcf->ports.elts;

    for (i = 0; i < mcf->ports.nelts; i++) {
        if (ngx_mesh_listen_missing(cycle, ports[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mesh_listen_is_virtual(struct sockaddr *sa, ngx_uint_t *target,
    ngx_uint_t *v6)
{
    ngx_uint_t       i;
    ngx_mesh_addr_t  addr;

    if (ngx_mesh_addr_set(&addr, sa) != NGX_OK
        || !ngx_mesh_addr_loopback(&addr))
    {
        return 0;
    }

    for (i = 0; i < NGX_MESH_TO_MAX; i++) {
        if (ngx_mesh_targets[i].port == addr.port) {
            *target = i;
            *v6 = (sa->sa_family == AF_INET6);

            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_mesh_listen_missing(ngx_cycle_t *cycle, ngx_mesh_port_t *port)
{
    ngx_uint_t                i;
    const ngx_mesh_target_t  *t;

    for (i = 0; i < NGX_MESH_TO_MAX; i++) {
        t = &ngx_mesh_targets[i];

        if (!t->required
            || t->direction != port->direction
            || port->conf->targets[i][port->v6])
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mesh_listen %V\" needs a server with "
                      "\"listen %s:%d\" in the %s block (%s)", &port->text,
                      port->v6 ? "[::1]" : "127.0.0.1", (int) t->port,
                      t->block, t->what);

        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mesh_listen_accept(ngx_connection_t *c)
{
    ngx_int_t             rc;
    ngx_mesh_accepted_t  *a;

    a = ngx_mesh_listen_create(c);

    if (a == NULL) {
        ngx_mesh_listen_close(c);
        return;
    }

    rc = ngx_mesh_listen_original_dst(a);

    if (rc == NGX_DECLINED) {
        ngx_mesh_listen_refuse(a, NGX_MESH_C_connections_refused_direct,
                               "it was not redirected here");
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_mesh_listen_close(c);
        return;
    }

    if (ngx_mesh_listen_probe(a)) {
        ngx_mesh_listen_close(c);
        return;
    }

    if (a->conn.direction == NGX_MESH_OUTBOUND) {
        ngx_mesh_listen_outbound(a);

    } else {
        ngx_mesh_listen_inbound(a);
    }
}


/*
 * The cleanup is registered here, before anything else can be, and is how
 * ngx_mesh_conn_get() finds the context again.
 */

static ngx_mesh_accepted_t *
ngx_mesh_listen_create(ngx_connection_t *c)
{
    ngx_pool_cleanup_t   *cln;
    ngx_mesh_accepted_t  *a;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_mesh_accepted_t));
    if (cln == NULL) {
        return NULL;
    }

    a = cln->data;
    ngx_memzero(a, sizeof(ngx_mesh_accepted_t));

    cln->handler = ngx_mesh_listen_cleanup;

    a->port = c->listening->servers;
    a->conn.connection = c;
    a->conn.direction = a->port->direction;
    a->conn.start_ms = ngx_current_msec;

    c->data = a;
    c->log_error = NGX_ERROR_INFO;

    c->log->connection = c->number;
    c->log->handler = ngx_mesh_listen_log;
    c->log->data = a;
    c->log->action = "accepting a redirected connection";

    if (ngx_mesh_addr_set(&a->conn.src, c->sockaddr) != NGX_OK) {
        return NULL;
    }

    return a;
}


static void
ngx_mesh_listen_cleanup(void *data)
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

        } else if (c->error || c->read->error || c->write->error) {
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
        if (cln->handler == ngx_mesh_listen_cleanup) {
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
ngx_mesh_listen_original_dst(ngx_mesh_accepted_t *a)
{
    int                level;
    ngx_err_t          err;
    socklen_t          len;
    ngx_mesh_addr_t    local;
    ngx_connection_t  *c;

    c = a->conn.connection;

    level = IN6_IS_ADDR_V4MAPPED((struct in6_addr *) a->conn.src.ip)
            ? IPPROTO_IP : IPPROTO_IPV6;

    len = sizeof(ngx_sockaddr_t);

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

    a->conn.dst_sockaddr = &a->dst.sockaddr;
    a->conn.dst_socklen = len;

    a->conn.dst_text.data = ngx_pnalloc(c->pool, NGX_SOCKADDR_STRLEN);
    if (a->conn.dst_text.data == NULL) {
        return NGX_ERROR;
    }

    a->conn.dst_text.len = ngx_mesh_addr_text(a->conn.dst_text.data,
                                              &a->conn.dst);

    if (ngx_mesh_addr_equal(&a->conn.dst, &local)) {
        return NGX_DECLINED;
    }

    if (a->conn.direction == NGX_MESH_INBOUND) {
        return ngx_mesh_listen_own(a, &local);
    }

    return NGX_OK;
}


/*
 * Inbound connections go to this pod and to nobody else, or a neighbour
 * could use us as its proxy.  The redirect keeps the address unless the
 * interface has several; then the kernel is asked whether it is ours, by
 * binding to it.
 */

static ngx_int_t
ngx_mesh_listen_own(ngx_mesh_accepted_t *a, ngx_mesh_addr_t *local)
{
    ngx_int_t        rc;
    socklen_t        len;
    ngx_socket_t     fd;
    ngx_sockaddr_t   sa;

    if (a->conn.dst.port == local->port) {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(a->conn.dst.ip, local->ip, 16) == 0) {
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
ngx_mesh_listen_probe(ngx_mesh_accepted_t *a)
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
ngx_mesh_listen_outbound(ngx_mesh_accepted_t *a)
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
        a->conn.protocol = ngx_mesh_listen_protocol(a, state, entry);
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
            ngx_mesh_listen_hand_off(a, NGX_MESH_TO_OUT_RAW);
            return;
        }

        ngx_mesh_listen_detect(rev);
        return;

    case NGX_AGAIN:
        ngx_mesh_listen_hold(a);
        return;

    default:
        ngx_mesh_listen_refuse(a, NGX_MESH_C_connections_refused_unknown,
                               "the address is nobody's");
    }
}


static void
ngx_mesh_listen_hold(ngx_mesh_accepted_t *a)
{
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    if (a->held.wanted) {
        return;
    }

    c = a->conn.connection;
    rev = c->read;

    if (ngx_mesh_hold_add(&a->held, &a->conn.dst, rev) != NGX_OK) {
        ngx_mesh_listen_refuse(a, NGX_MESH_C_connections_refused_unknown,
                               "too many wait for an unknown address");
        return;
    }

    c->log->action = "waiting for an unknown address";

    rev->handler = ngx_mesh_listen_held;
    ngx_add_timer(rev, NGX_MESH_HOLD_MS);
    ngx_reusable_connection(c, 1);

    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mesh_listen_close(c);
    }
}


/* a new snapshot, the end of its patience, or the client's end */

static void
ngx_mesh_listen_held(ngx_event_t *rev)
{
    u_char                byte;
    ssize_t               n;
    ngx_connection_t     *c;
    ngx_mesh_state_t     *state;
    ngx_mesh_accepted_t  *a;

    c = rev->data;
    a = c->data;

    if (c->close) {
        ngx_mesh_listen_close(c);
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

            ngx_mesh_listen_refuse(a, NGX_MESH_C_connections_refused_unknown,
                                   "no answer came for an unknown address");
            return;
        }

        a->conn.protocol = ngx_mesh_listen_protocol(a, state, NULL);
        ngx_mesh_state_release(state);

        ngx_mesh_listen_detect(rev);
        return;
    }

    n = recv(c->fd, &byte, 1, MSG_PEEK);

    if (n == 0 || (n == -1 && ngx_socket_errno != NGX_EAGAIN)) {
        ngx_mesh_listen_close(c);
        return;
    }

    ngx_mesh_listen_outbound(a);
}


static void
ngx_mesh_listen_inbound(ngx_mesh_accepted_t *a)
{
    ngx_mesh_state_t  *state;

    state = ngx_mesh_state_get();
    a->conn.protocol = ngx_mesh_listen_protocol(a, state, NULL);

    if (state) {
        ngx_mesh_state_release(state);
    }

    ngx_mesh_listen_detect(a->conn.connection->read);
}


/* what is declared or known of the port before a byte was seen */

static ngx_uint_t
ngx_mesh_listen_protocol(ngx_mesh_accepted_t *a, ngx_mesh_state_t *state,
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


static void
ngx_mesh_listen_detect(ngx_event_t *rev)
{
    ssize_t               n;
    ngx_uint_t            eof;
    ngx_connection_t     *c;
    ngx_mesh_hello_t      hello;
    ngx_mesh_detect_e     kind;
    ngx_mesh_accepted_t  *a;

    c = rev->data;
    a = c->data;

    if (c->close) {
        ngx_mesh_listen_close(c);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_mesh_listen_timeout(a);
        return;
    }

    c->log->action = "detecting a protocol";

    n = recv(c->fd, ngx_mesh_peek, sizeof(ngx_mesh_peek), MSG_PEEK);

    if (n == -1) {

        if (ngx_socket_errno != NGX_EAGAIN && ngx_socket_errno != NGX_EINTR) {
            ngx_connection_error(c, ngx_socket_errno, "recv() failed");
            ngx_mesh_listen_close(c);
            return;
        }

        ngx_mesh_listen_wait(a, 0);
        return;
    }

    eof = (n == 0 || rev->pending_eof);

    if (n == 0 && ngx_mesh_listen_is_http(a)) {
        ngx_mesh_listen_close(c);
        return;
    }

    /* on these inbound ports only mesh TLS is of interest */

    if (a->conn.protocol == MESH_PROTO_OPAQUE
        || a->conn.protocol == MESH_PROTO_TLS)
    {
        kind = ngx_mesh_detect_tls(ngx_mesh_peek, n, &hello);

    } else {
        kind = ngx_mesh_detect(ngx_mesh_peek, n, &hello);
    }

    if (kind == NGX_MESH_DETECT_MORE && !eof) {
        ngx_mesh_listen_wait(a, 1);
        return;
    }

    /* no more will come: what came, and the end, are the application's */

    if (kind == NGX_MESH_DETECT_MORE) {
        kind = NGX_MESH_DETECT_RAW;
    }

    ngx_mesh_listen_pass(a, kind, &hello);
}


/*
 * A client that says nothing may wait for the server to speak first, unless
 * the port is known to be HTTP: then it only keeps a connection in stock,
 * which is idle in nginx's sense.  One that began to speak gets more time
 * for the rest.  Either way the connection may be dropped when nginx is
 * short of them.
 */

static void
ngx_mesh_listen_wait(ngx_mesh_accepted_t *a, ngx_uint_t spoke)
{
    ngx_msec_t         ms;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = a->conn.connection;
    rev = c->read;
    ms = a->port->conf->detect_ms;

    if (spoke && !a->spoke) {
        a->spoke = 1;
        c->idle = 0;

        if (rev->timer_set) {
            ngx_del_timer(rev);
        }

        ngx_add_timer(rev, ms * NGX_MESH_DETECT_PATIENCE);

    } else if (!spoke && !a->spoke && !rev->timer_set) {

        if (ngx_mesh_listen_is_http(a) && !ngx_exiting) {
            c->idle = 1;

        } else {
            ngx_add_timer(rev, ms);
        }
    }

    if (!c->reusable) {
        ngx_reusable_connection(c, 1);
    }

    rev->handler = ngx_mesh_listen_detect;
    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mesh_listen_close(c);
    }
}


/* declared to be: a client that says nothing has nothing to say yet */

static ngx_uint_t
ngx_mesh_listen_is_http(ngx_mesh_accepted_t *a)
{
    return a->conn.protocol == MESH_PROTO_HTTP1
           || a->conn.protocol == MESH_PROTO_HTTP2;
}


static void
ngx_mesh_listen_timeout(ngx_mesh_accepted_t *a)
{
    ngx_mesh_detect_e  kind;

    kind = NGX_MESH_DETECT_RAW;

    if (!a->spoke) {
        ngx_mesh_count(NGX_MESH_C_detect_timeout, 1);

    } else if (a->conn.protocol == MESH_PROTO_HTTP1) {

        /* what began right on a declared port: nginx knows how to wait */

        kind = NGX_MESH_DETECT_HTTP1;
    }

    ngx_mesh_listen_pass(a, kind, NULL);
}


static void
ngx_mesh_listen_pass(ngx_mesh_accepted_t *a, ngx_mesh_detect_e kind,
    ngx_mesh_hello_t *hello)
{
    ngx_mesh_to_e      to;
    ngx_connection_t  *c;

    c = a->conn.connection;
    to = ngx_mesh_listen_target(a, kind, hello);

    if (kind == NGX_MESH_DETECT_TLS && !hello->mesh && hello->sni) {
        a->conn.sni.data = ngx_pnalloc(c->pool, hello->sni_len);

        if (a->conn.sni.data == NULL) {
            ngx_mesh_listen_close(c);
            return;
        }

        a->conn.sni.len = hello->sni_len;
        ngx_memcpy(a->conn.sni.data, hello->sni, hello->sni_len);
    }

    ngx_mesh_listen_hand_off(a, to);
}


/* where it goes; sets conn->protocol to what it turned out to be */

static ngx_mesh_to_e
ngx_mesh_listen_target(ngx_mesh_accepted_t *a, ngx_mesh_detect_e kind,
    ngx_mesh_hello_t *hello)
{
    ngx_uint_t  inbound, v6;

    inbound = (a->conn.direction == NGX_MESH_INBOUND);
    v6 = (a->dst.sockaddr.sa_family == AF_INET6);

    switch (kind) {

    case NGX_MESH_DETECT_HTTP1:
        a->conn.protocol = MESH_PROTO_HTTP1;
        return inbound ? NGX_MESH_TO_IN_HTTP1 : NGX_MESH_TO_OUT_HTTP1;

    case NGX_MESH_DETECT_HTTP2:
        a->conn.protocol = MESH_PROTO_HTTP2;

        if (!inbound && a->port->conf->targets[NGX_MESH_TO_OUT_HTTP2][v6]) {
            return NGX_MESH_TO_OUT_HTTP2;
        }

        break;

    case NGX_MESH_DETECT_TLS:

        if (inbound && hello->mesh) {

            if (hello->inner == NGX_MESH_INNER_HTTP) {
                a->conn.protocol = MESH_PROTO_HTTP1;
                return NGX_MESH_TO_IN_MESH_HTTP;
            }

            a->conn.protocol = MESH_PROTO_OPAQUE;
            return NGX_MESH_TO_IN_MESH_RAW;
        }

        a->conn.protocol = MESH_PROTO_TLS;
        break;

    default:
        a->conn.protocol = MESH_PROTO_OPAQUE;
    }

    return inbound ? NGX_MESH_TO_IN_RAW : NGX_MESH_TO_OUT_RAW;
}


/*
 * From here on the connection is as nginx's accept left it for the virtual
 * listener, but with the original destination as its local address, which
 * $server_addr and $server_port then show.
 */

static void
ngx_mesh_listen_hand_off(ngx_mesh_accepted_t *a, ngx_mesh_to_e to)
{
    ngx_uint_t         v6;
    ngx_event_t       *rev;
    ngx_listening_t   *ls;
    ngx_connection_t  *c;

    c = a->conn.connection;
    rev = c->read;

    v6 = (a->dst.sockaddr.sa_family == AF_INET6);
    ls = a->port->conf->targets[to][v6];

    if (ls == NULL) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "no virtual listener of this address family");
        ngx_mesh_listen_close(c);
        return;
    }

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    ngx_reusable_connection(c, 0);
    c->idle = 0;

    rev->timedout = 0;
    rev->ready = 1;

#if (NGX_HAVE_EPOLLRDHUP)

    /* 0 would keep ngx_recv() from reading; negative is "not known" */

    if (rev->available == 0) {
        rev->available = -1;
    }

#endif

    c->listening = ls;
    c->data = NULL;
    c->buffer = NULL;
    c->local_sockaddr = &a->dst.sockaddr;
    c->local_socklen = a->conn.dst_socklen;

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, c->log, 0,
                   "mesh connection to %V: %s, protocol %ui",
                   &a->conn.dst_text, ngx_mesh_targets[to].what,
                   a->conn.protocol);

    *c->log = *ls->logp;
    c->log->handler = NULL;
    c->log->data = NULL;
    c->log->action = NULL;
    c->log->connection = c->number;

    ngx_mesh_metrics_accepted(&a->conn);
    a->counted = 1;

    if (a->known) {
        ngx_mesh_used_add(&a->used, &a->conn.dst);
    }

    ls->handler(c);
}


/* a reset, so that nobody takes it for an answer of the application */

static void
ngx_mesh_listen_refuse(ngx_mesh_accepted_t *a, ngx_mesh_counter_e counter,
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

    ngx_mesh_listen_close(c);
}


static void
ngx_mesh_listen_close(ngx_connection_t *c)
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
ngx_mesh_listen_log(ngx_log_t *log, u_char *buf, size_t len)
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
