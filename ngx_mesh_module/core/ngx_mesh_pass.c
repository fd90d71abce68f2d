
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Hand-off: what does the connection speak, and which virtual listener gets
 * it.  Bytes are only ever peeked at: they stay in the kernel, and whoever
 * gets the connection reads them as if it had accepted it.  Nothing is kept
 * between two peeks, so one buffer serves all connections.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_accept.h>
#include <ngx_mesh_detect.h>
#include <ngx_mesh_learned.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_pass.h>


/* who began to speak gets this many times the time of who said nothing */

#define NGX_MESH_DETECT_PATIENCE  10


static void ngx_mesh_pass_learn(ngx_mesh_accepted_t *a,
    ngx_mesh_detect_e kind);
static void ngx_mesh_pass_wait(ngx_mesh_accepted_t *a, ngx_uint_t spoke);
static ngx_uint_t ngx_mesh_pass_is_http(ngx_mesh_accepted_t *a);
static void ngx_mesh_pass_timeout(ngx_mesh_accepted_t *a);
static void ngx_mesh_pass_by_kind(ngx_mesh_accepted_t *a,
    ngx_mesh_detect_e kind, ngx_mesh_hello_t *hello);
static ngx_mesh_to_e ngx_mesh_pass_target(ngx_mesh_accepted_t *a,
    ngx_mesh_detect_e kind, ngx_mesh_hello_t *hello);
static ngx_mesh_to_e ngx_mesh_pass_inner(ngx_mesh_accepted_t *a,
    ngx_mesh_inner_e inner);


static u_char  ngx_mesh_peek[NGX_MESH_DETECT_MAX_BYTES];


void
ngx_mesh_pass_detect(ngx_event_t *rev)
{
    ssize_t               n;
    ngx_uint_t            eof, timedout;
    ngx_connection_t     *c;
    ngx_mesh_hello_t      hello;
    ngx_mesh_detect_e     kind;
    ngx_mesh_accepted_t  *a;

    c = rev->data;
    a = c->data;

    if (c->close) {
        ngx_mesh_accept_close(c);
        return;
    }

    /* in a busy worker bytes may have come before the timer was looked at */

    timedout = rev->timedout;
    rev->timedout = 0;

    c->log->action = "detecting a protocol";

    /* inbound nothing is learned: the next client may speak mesh TLS */

    a->conn.undeclared = (a->conn.direction == NGX_MESH_OUTBOUND
                          && a->conn.protocol == MESH_PROTO_DETECT);

    n = recv(c->fd, ngx_mesh_peek, sizeof(ngx_mesh_peek), MSG_PEEK);

    if (n == -1) {

        if (ngx_socket_errno != NGX_EAGAIN && ngx_socket_errno != NGX_EINTR) {
            ngx_connection_error(c, ngx_socket_errno, "recv() failed");
            ngx_mesh_accept_close(c);
            return;
        }

        if (timedout) {
            ngx_mesh_pass_timeout(a);
            return;
        }

        ngx_mesh_pass_wait(a, 0);
        return;
    }

    eof = (n == 0 || rev->pending_eof);

    if (n == 0 && ngx_mesh_pass_is_http(a)) {
        ngx_mesh_accept_close(c);
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

        if (timedout && a->spoke) {
            ngx_mesh_pass_timeout(a);
            return;
        }

        ngx_mesh_pass_wait(a, 1);
        return;
    }

    /* no more will come: what came, and the end, are the application's */

    if (kind == NGX_MESH_DETECT_MORE) {
        kind = NGX_MESH_DETECT_RAW;

    } else if (a->conn.undeclared) {
        ngx_mesh_pass_learn(a, kind);
    }

    ngx_mesh_pass_by_kind(a, kind, &hello);
}


/* bytes say what an undeclared port speaks */

static void
ngx_mesh_pass_learn(ngx_mesh_accepted_t *a, ngx_mesh_detect_e kind)
{
    if (kind == NGX_MESH_DETECT_RAW) {
        ngx_mesh_learned_raw(&a->conn.dst, NGX_MESH_LEARNED_BYTES);

    } else {
        ngx_mesh_learned_forget(&a->conn.dst);
    }
}


/*
 * A client that says nothing may wait for the server to speak first, unless
 * the port is known to be HTTP: then it only keeps a connection in stock,
 * which is idle in nginx's sense.  One that began to speak gets more time
 * for the rest.  Either way the connection may be dropped when nginx is
 * short of them.  Nobody waits where all had waited in vain.
 */

static void
ngx_mesh_pass_wait(ngx_mesh_accepted_t *a, ngx_uint_t spoke)
{
    ngx_msec_t         ms;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = a->conn.connection;
    rev = c->read;
    ms = a->port->conf->detect_ms;

    if (a->conn.undeclared && !a->spoke && ngx_mesh_learned(&a->conn.dst)) {
        ngx_mesh_count(NGX_MESH_C_detect_learned, 1);
        ngx_mesh_pass_by_kind(a, NGX_MESH_DETECT_RAW, NULL);
        return;
    }

    if (spoke && !a->spoke) {
        a->spoke = 1;
        c->idle = 0;

        if (rev->timer_set) {
            ngx_del_timer(rev);
        }

        ngx_add_timer(rev, ms * NGX_MESH_DETECT_PATIENCE);

    } else if (!spoke && !a->spoke && !rev->timer_set) {

        if (ngx_mesh_pass_is_http(a) && !ngx_exiting) {
            c->idle = 1;

        } else {
            ngx_add_timer(rev, ms);
        }
    }

    if (!c->reusable) {
        ngx_reusable_connection(c, 1);
    }

    rev->handler = ngx_mesh_pass_detect;
    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mesh_accept_close(c);
    }
}


/* declared to be: a client that says nothing has nothing to say yet */

static ngx_uint_t
ngx_mesh_pass_is_http(ngx_mesh_accepted_t *a)
{
    return a->conn.protocol == MESH_PROTO_HTTP1
           || a->conn.protocol == MESH_PROTO_HTTP2;
}


static void
ngx_mesh_pass_timeout(ngx_mesh_accepted_t *a)
{
    ngx_mesh_detect_e  kind;

    kind = NGX_MESH_DETECT_RAW;

    if (!a->spoke) {
        ngx_mesh_count(NGX_MESH_C_detect_timeout, 1);

    } else if (a->conn.protocol == MESH_PROTO_HTTP1) {

        /* what began right on a declared port: nginx knows how to wait */

        kind = NGX_MESH_DETECT_HTTP1;

    } else if (a->conn.protocol == MESH_PROTO_HTTP2) {
        kind = NGX_MESH_DETECT_HTTP2;
    }

    ngx_mesh_pass_by_kind(a, kind, NULL);
}


static void
ngx_mesh_pass_by_kind(ngx_mesh_accepted_t *a, ngx_mesh_detect_e kind,
    ngx_mesh_hello_t *hello)
{
    ngx_mesh_to_e      to;
    ngx_connection_t  *c;

    c = a->conn.connection;
    to = ngx_mesh_pass_target(a, kind, hello);

    if (kind == NGX_MESH_DETECT_TLS && !hello->mesh && hello->sni) {
        a->conn.sni.data = ngx_pnalloc(c->pool, hello->sni_len);

        if (a->conn.sni.data == NULL) {
            ngx_mesh_accept_close(c);
            return;
        }

        a->conn.sni.len = hello->sni_len;
        ngx_memcpy(a->conn.sni.data, hello->sni, hello->sni_len);
    }

    ngx_mesh_pass_hand_off(a, to);
}


/* where it goes; sets conn->protocol to what it turned out to be */

static ngx_mesh_to_e
ngx_mesh_pass_target(ngx_mesh_accepted_t *a, ngx_mesh_detect_e kind,
    ngx_mesh_hello_t *hello)
{
    ngx_uint_t  inbound;

    inbound = (a->conn.direction == NGX_MESH_INBOUND);

    switch (kind) {

    case NGX_MESH_DETECT_HTTP1:
        a->conn.protocol = MESH_PROTO_HTTP1;
        return inbound ? NGX_MESH_TO_IN_HTTP1 : NGX_MESH_TO_OUT_HTTP1;

    case NGX_MESH_DETECT_HTTP2:
        a->conn.protocol = MESH_PROTO_HTTP2;
        return inbound ? NGX_MESH_TO_IN_HTTP2 : NGX_MESH_TO_OUT_HTTP2;

    case NGX_MESH_DETECT_TLS:

        if (inbound && hello->mesh) {
            return ngx_mesh_pass_inner(a, hello->inner);
        }

        a->conn.protocol = MESH_PROTO_TLS;
        break;

    default:
        a->conn.protocol = MESH_PROTO_OPAQUE;
    }

    return inbound ? NGX_MESH_TO_IN_RAW : NGX_MESH_TO_OUT_RAW;
}


/* what a sidecar carries in mesh TLS */

static ngx_mesh_to_e
ngx_mesh_pass_inner(ngx_mesh_accepted_t *a, ngx_mesh_inner_e inner)
{
    switch (inner) {

    case NGX_MESH_INNER_HTTP1:
        a->conn.protocol = MESH_PROTO_HTTP1;
        return NGX_MESH_TO_IN_MESH_HTTP1;

    case NGX_MESH_INNER_HTTP2:
        a->conn.protocol = MESH_PROTO_HTTP2;
        return NGX_MESH_TO_IN_MESH_HTTP2;

    default:
        a->conn.protocol = MESH_PROTO_OPAQUE;
        return NGX_MESH_TO_IN_MESH_RAW;
    }
}


/*
 * From here on the connection is as nginx's accept left it for the virtual
 * listener, but with the original destination as its local address, which
 * $server_addr and $server_port then show.
 */

void
ngx_mesh_pass_hand_off(ngx_mesh_accepted_t *a, ngx_mesh_to_e to)
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
        ngx_mesh_accept_close(c);
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
                   "mesh connection to %V, protocol %ui, to port %d",
                   &a->conn.dst_text, a->conn.protocol,
                   (int) ngx_inet_get_port(ls->sockaddr));

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
