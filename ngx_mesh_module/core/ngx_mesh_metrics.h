
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_METRICS_H_INCLUDED_
#define _NGX_MESH_METRICS_H_INCLUDED_

/*
 * Counting.  A series is a set of labels that was written out once, when a
 * connection or endpoint was first used; counting is then a few plain adds
 * in this process's part of the zone.  Telemetry fails open: without a zone,
 * or when it is full, every call is harmless (series NULL or the "other"
 * series).
 */

#include <ngx_mesh.h>


/*
 * Plain counters: name without "mesh_" and "_total", help.  Add a line here
 * and call ngx_mesh_count(NGX_MESH_C_<name>, n).  A gauge's name is counted
 * down with n = -1.
 */

#define NGX_MESH_COUNTERS(X)                                                  \
    X(connections_refused_direct, COUNTER,                                    \
      "Connections made straight to an intercept port")                       \
    X(connections_refused_unknown, COUNTER,                                   \
      "Connections to a cluster address that nobody has")                     \
    X(connections_held, GAUGE,                                                \
      "Connections waiting for an address")                                   \
    X(held_overflow, COUNTER,                                                 \
      "Connections refused because too many were held")                       \
    X(want, COUNTER, "Addresses asked from the agent")                        \
    X(agent_lost, COUNTER, "Datagrams to the agent that were dropped")        \
    X(detect_timeout, COUNTER,                                                \
      "Connections that went raw because the client said nothing")            \
    X(detect_learned, COUNTER,                                                \
      "Connections that went raw at once because others had to wait")         \
    X(state_loads, COUNTER, "State snapshots taken into use")                 \
    X(state_refused, COUNTER, "State snapshots refused")                      \
    X(identity_loads, COUNTER, "Certificate and key pairs taken into use")    \
    X(identity_refused, COUNTER, "Certificate and key pairs refused")         \
    X(tls_refused_server, COUNTER,                                            \
      "Handshakes refused by the inbound side")                               \
    X(tls_refused_client, COUNTER,                                            \
      "Handshakes refused by the outbound side")                              \
    X(peer_expired, COUNTER,                                                  \
      "Requests refused on a connection whose peer is no longer valid")       \
    X(pool_idle, GAUGE, "Idle connections in the pool")                       \
    X(pool_reused, COUNTER, "Requests sent on a pooled connection")           \
    X(dial_waited, COUNTER, "Requests that had to wait to connect")           \
    X(zone_slots_full, COUNTER, "Endpoints without a slot in the zone")       \
    X(zone_series_full, COUNTER, "Series folded into \"other\"")


#define NGX_MESH_COUNTER_ENUM(name, type, help)  NGX_MESH_C_##name,

typedef enum {
    NGX_MESH_COUNTERS(NGX_MESH_COUNTER_ENUM)
    NGX_MESH_C_MAX
} ngx_mesh_counter_e;


void ngx_mesh_count(ngx_mesh_counter_e counter, ngx_int_t n);

/* mesh_state_generation of this process, a gauge */
void ngx_mesh_metrics_generation(uint64_t generation);


/*
 * Accepted connections (peer="src"): called by the listener when it knows
 * the destination, and once more when the connection's pool dies.  The bytes
 * of closed are totals: what transferred has counted is not added again.
 *
 * An inbound connection is counted when it is known whether a peer speaks
 * TLS and who it is: http/ and stream/ call identified then (cheap from the
 * second time on).  One that ends before is not counted as open.
 */
void ngx_mesh_metrics_accepted(ngx_mesh_conn_t *conn);
void ngx_mesh_metrics_identified(ngx_mesh_conn_t *conn);
void ngx_mesh_metrics_transferred(ngx_mesh_conn_t *conn, off_t read_bytes,
    off_t write_bytes);
void ngx_mesh_metrics_closed(ngx_mesh_conn_t *conn, off_t read_bytes,
    off_t write_bytes, ngx_err_t err);

/*
 * Connections to an endpoint (peer="dst"): called by the pool when one was
 * established, and when it is closed.  series is what opened returned; the
 * bytes of transferred and closed add up.
 */
ngx_mesh_series_t *ngx_mesh_metrics_opened(ngx_mesh_flow_t *flow);
void ngx_mesh_metrics_peer_transferred(ngx_mesh_series_t *series,
    off_t read_bytes, off_t write_bytes);
void ngx_mesh_metrics_peer_closed(ngx_mesh_series_t *series,
    off_t read_bytes, off_t write_bytes, ngx_err_t err);

/*
 * A request: counted once (request_total) when the endpoint that answers is
 * known, at the latest in the log phase, which also calls response
 * (response_total, response_latency_ms).
 *
 * status is a word: the HTTP status (0: no response), BROKEN if its body
 * broke off, and the gRPC status if there was one; from flow->reason the
 * number of a row of ngx_mesh_error is added.
 */

#define NGX_MESH_RESPONSE_STATUS       0x0ffff
#define NGX_MESH_RESPONSE_BROKEN       0x10000
#define NGX_MESH_RESPONSE_GRPC(n)      (((uint32_t) (n) + 1) << 17)
#define NGX_MESH_RESPONSE_ERROR(n)     (((uint32_t) (n) + 1) << 24)

/* what was put in, -1: nothing */

#define ngx_mesh_response_grpc(word)   ((int) (((word) >> 17) & 0x7f) - 1)
#define ngx_mesh_response_error(word)  ((int) ((word) >> 24) - 1)

void ngx_mesh_metrics_request(ngx_mesh_flow_t *flow);
void ngx_mesh_metrics_response(ngx_mesh_flow_t *flow, ngx_uint_t status,
    uint64_t now_us);


#endif /* _NGX_MESH_METRICS_H_INCLUDED_ */
