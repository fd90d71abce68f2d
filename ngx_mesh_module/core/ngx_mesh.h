
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_H_INCLUDED_
#define _NGX_MESH_H_INCLUDED_

/*
 * What every file of the module may see: the connection that the intercept
 * listener made, and the flow (one HTTP request or one TCP session) that
 * http/ and stream/ make of it.  No mechanism lives here.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <mesh_names.h>
#include <mesh_state.h>
#include <mesh_identity.h>


typedef struct ngx_mesh_state_s     ngx_mesh_state_t;
typedef struct ngx_mesh_endpoint_s  ngx_mesh_endpoint_t;
typedef struct ngx_mesh_series_s    ngx_mesh_series_t;
typedef struct ngx_mesh_peer_s      ngx_mesh_peer_t;


typedef enum {
    NGX_MESH_OUTBOUND = 0,
    NGX_MESH_INBOUND
} ngx_mesh_direction_e;


/* how a leg is secured; the text of $mesh_tls and of the label tls */

typedef enum {
    NGX_MESH_TLS_NONE = 0,               /* plaintext, peer is not meshed */
    NGX_MESH_TLS_MTLS,                   /* "true" */
    NGX_MESH_TLS_FOREIGN,                /* "opaque": the application's own */
    NGX_MESH_TLS_LOOPBACK,               /* "loopback": the pod itself */
    NGX_MESH_TLS_UNKNOWN                 /* "unknown": outside the cluster */
} ngx_mesh_tls_e;


typedef struct {
    u_char                    ip[16];    /* v4-mapped for v4 */
    in_port_t                 port;      /* host order */
} ngx_mesh_addr_t;


/*
 * One accepted connection.  Lives in its pool; found from any ngx_connection_t
 * (an HTTP/2 stream's too) by ngx_mesh_conn_get().
 */

typedef struct {
    ngx_connection_t         *connection;
    ngx_mesh_direction_e      direction;
    ngx_mesh_addr_t           dst;       /* original destination */
    struct sockaddr          *dst_sockaddr;
    socklen_t                 dst_socklen;
    ngx_str_t                 dst_text;  /* "10.96.14.7:80", "[fd00::7]:80" */
    ngx_mesh_addr_t           src;
    ngx_uint_t                protocol;  /* MESH_PROTO_.. as detected */
    ngx_str_t                 sni;       /* foreign TLS; len 0: none */
    ngx_msec_t                start_ms;
    off_t                     read_bytes; /* counted so far */
    ngx_mesh_series_t        *series;    /* of the accepted side (peer="src") */
    ngx_mesh_peer_t          *peer;      /* who called, if by mTLS; or NULL */
    ngx_mesh_series_t        *requests;  /* of what goes to dst itself */
    ngx_mesh_tls_e            requests_tls;    /* label of requests */
    off_t                     write_bytes;     /* counted so far */
    ngx_mesh_endpoint_t      *own;       /* inbound: dst itself */
    uint64_t                  serial;    /* of the state that knows dst .. */
    const mesh_state_addr_t  *entry;     /* .. as this, to go on with */
    unsigned                  passed:1;  /* unknown, and let through */
    unsigned                  undeclared:1;  /* outbound, nobody declared it */
} ngx_mesh_conn_t;


/*
 * One HTTP request or TCP session, from the choice of its destination to the
 * log phase.  http/ keeps it in the request's pool, stream/ in the session's.
 */

typedef struct {
    ngx_mesh_conn_t                *conn;      /* NULL: not from mesh_listen */
    ngx_mesh_state_t               *state;     /* pinned until the pool dies */
    const mesh_state_service_t     *service;   /* NULL: none */
    ngx_mesh_endpoint_t            *endpoint;  /* chosen; NULL: none (yet) */
    ngx_mesh_tls_e                  tls;       /* of the leg to the endpoint */
    ngx_mesh_series_t              *series;    /* where it is counted */
    uint64_t                        start_us;  /* monotonic */
    const char                     *reason;    /* mesh error code or NULL */
    unsigned                        counted:1; /* request_total was added */
} ngx_mesh_flow_t;


/* the context of the intercepted connection below c, or NULL */
ngx_mesh_conn_t *ngx_mesh_conn_get(ngx_connection_t *c);

/* CLOCK_MONOTONIC in microseconds: a fresh reading, not nginx's cached one */
uint64_t ngx_mesh_now_us(void);

/* 16 byte address and port of sa; NGX_ERROR for another family */
ngx_int_t ngx_mesh_addr_set(ngx_mesh_addr_t *addr, struct sockaddr *sa);

/* the way back: v4-mapped becomes AF_INET; returns the length of *sa */
socklen_t ngx_mesh_addr_sockaddr(ngx_sockaddr_t *sa, const u_char ip[16],
    in_port_t port);

/*
 * Writes "10.96.14.7:80" or "[fd00::7]:80" to buf, which has room for
 * NGX_SOCKADDR_STRLEN bytes, and returns its length; no NUL.
 */
size_t ngx_mesh_addr_text(u_char *buf, const ngx_mesh_addr_t *addr);

/* 1 for 127.0.0.0/8 and ::1 */
ngx_uint_t ngx_mesh_addr_loopback(const ngx_mesh_addr_t *addr);

#define ngx_mesh_addr_equal(a, b)                                             \
    ((a)->port == (b)->port && ngx_memcmp((a)->ip, (b)->ip, 16) == 0)


#endif /* _NGX_MESH_H_INCLUDED_ */
