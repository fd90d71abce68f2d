
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Which labels a connection or request is counted under.  They are written
 * when an endpoint, or a connection to no endpoint of the state, is first
 * used, and kept there; a request then costs a few adds.  What does not fit
 * into the zone any more is counted under other="true".
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_state.h>
#include <ngx_mesh_tls.h>


#define NGX_MESH_LABELS_MAX       4096
#define NGX_MESH_METRICS_CACHE    64       /* a power of two */


typedef struct {
    u_char                   *start;
    u_char                   *last;
    u_char                   *end;
    ngx_uint_t                overflow;
} ngx_mesh_labels_t;


/* series are never removed, but the zone may be another one some day */

typedef struct {
    ngx_mesh_zone_t          *zone;
    ngx_mesh_series_t        *child;
} ngx_mesh_metrics_cache_t;


static ngx_mesh_series_t *ngx_mesh_metrics_endpoint(ngx_mesh_zone_t *zone,
    ngx_mesh_flow_t *flow, ngx_mesh_series_kind_e kind);
static ngx_mesh_series_t *ngx_mesh_metrics_outbound(ngx_mesh_zone_t *zone,
    ngx_mesh_flow_t *flow, ngx_mesh_series_kind_e kind);
static ngx_mesh_series_t *ngx_mesh_metrics_inbound(ngx_mesh_zone_t *zone,
    ngx_mesh_conn_t *conn, ngx_mesh_series_kind_e kind);
static ngx_mesh_tls_e ngx_mesh_metrics_accepted_tls(ngx_mesh_conn_t *conn);
static void ngx_mesh_metrics_open(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *series);
static void ngx_mesh_metrics_close(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *series, off_t read_bytes, off_t write_bytes,
    ngx_err_t err);
static void ngx_mesh_metrics_bytes(ngx_mesh_zone_t *zone,
    ngx_mesh_series_t *series, off_t read_bytes, off_t write_bytes);
static ngx_mesh_series_t *ngx_mesh_metrics_child(ngx_mesh_zone_t *zone,
    ngx_mesh_series_kind_e kind, ngx_mesh_series_t *parent, uint32_t code);
static ngx_mesh_series_t *ngx_mesh_metrics_intern(ngx_mesh_zone_t *zone,
    ngx_mesh_series_kind_e kind, ngx_mesh_labels_t *labels,
    ngx_mesh_direction_e direction, const char *peer);
static ngx_mesh_series_t *ngx_mesh_metrics_other(ngx_mesh_zone_t *zone,
    ngx_mesh_series_kind_e kind, ngx_mesh_direction_e direction,
    const char *peer);

static void ngx_mesh_labels_start(ngx_mesh_labels_t *labels,
    ngx_mesh_direction_e direction, const char *peer);
static void ngx_mesh_label(ngx_mesh_labels_t *labels, const char *name,
    const void *value, size_t len);
static void ngx_mesh_label_add(ngx_mesh_labels_t *labels, const void *p,
    size_t len);
static void ngx_mesh_label_escaped(ngx_mesh_labels_t *labels,
    const void *value, size_t len);
static void ngx_mesh_labels_tls(ngx_mesh_labels_t *labels,
    ngx_mesh_tls_e tls);
static void ngx_mesh_labels_service(ngx_mesh_labels_t *labels,
    const mesh_state_view_t *view, const mesh_state_service_t *service,
    ngx_uint_t authority);
static void ngx_mesh_labels_workload(ngx_mesh_labels_t *labels,
    const mesh_state_view_t *view, ngx_mesh_flow_t *flow);
static void ngx_mesh_labels_text(ngx_mesh_labels_t *labels, const char *name,
    const mesh_state_view_t *view, const mesh_state_str_t *s);


static ngx_mesh_metrics_cache_t  ngx_mesh_metrics_cached[
                                                      NGX_MESH_METRICS_CACHE];


static const char  *ngx_mesh_directions[] = { "outbound", "inbound" };

static const char  *ngx_mesh_tls_labels[] = {
    "no_identity",                         /* NGX_MESH_TLS_NONE */
    "true",                                /* NGX_MESH_TLS_MTLS */
    "opaque",                              /* NGX_MESH_TLS_FOREIGN */
    "loopback",                            /* NGX_MESH_TLS_LOOPBACK */
    "unknown"                              /* NGX_MESH_TLS_UNKNOWN */
};


/* upper bounds of the buckets; the label le has the same in milliseconds */

const uint64_t  ngx_mesh_latency_us[NGX_MESH_LATENCY_BUCKETS] = {
    1000, 2000, 3000, 4000, 5000,
    10000, 20000, 30000, 40000, 50000,
    100000, 200000, 300000, 400000, 500000,
    1000000, 2000000, 3000000, 4000000, 5000000,
    10000000, 20000000, 30000000, 40000000, 50000000,
    UINT64_MAX
};


void
ngx_mesh_count(ngx_mesh_counter_e counter, ngx_int_t n)
{
    ngx_atomic_t  *cell;

    if (ngx_mesh_zone_get() == NULL) {
        return;
    }

    cell = &ngx_mesh_zone_here.counters[counter];

    ngx_mesh_zone_add(ngx_mesh_zone_proc(), cell, n);
}


void
ngx_mesh_metrics_generation(uint64_t generation)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone) {
        zone->procs[ngx_mesh_zone_proc()].generation = generation;
    }
}


void
ngx_mesh_metrics_accepted(ngx_mesh_conn_t *conn)
{
    ngx_mesh_zone_t    *zone;
    ngx_mesh_labels_t   labels;

    zone = ngx_mesh_zone_get();

    if (zone == NULL
        || conn->series
        || conn->direction == NGX_MESH_INBOUND)
    {
        return;
    }

    ngx_mesh_labels_start(&labels, conn->direction, "src");
    ngx_mesh_label(&labels, "target_addr", conn->dst_text.data,
                   conn->dst_text.len);
    ngx_mesh_labels_tls(&labels, ngx_mesh_metrics_accepted_tls(conn));

    conn->series = ngx_mesh_metrics_intern(zone, NGX_MESH_SERIES_TCP, &labels,
                                           conn->direction, "src");

    ngx_mesh_metrics_open(zone, conn->series);
}


void
ngx_mesh_metrics_identified(ngx_mesh_conn_t *conn)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone == NULL
        || conn->series
        || conn->direction == NGX_MESH_OUTBOUND)
    {
        return;
    }

    if (conn->peer == NULL && conn->connection->ssl) {
        conn->peer = ngx_mesh_tls_peer(conn->connection);
    }

    conn->series = ngx_mesh_metrics_inbound(zone, conn, NGX_MESH_SERIES_TCP);

    ngx_mesh_metrics_open(zone, conn->series);
}


void
ngx_mesh_metrics_transferred(ngx_mesh_conn_t *conn, off_t read_bytes,
    off_t write_bytes)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone == NULL || conn->series == NULL) {
        return;
    }

    conn->read_bytes += read_bytes;
    conn->write_bytes += write_bytes;

    ngx_mesh_metrics_bytes(zone, conn->series, read_bytes, write_bytes);
}


void
ngx_mesh_metrics_closed(ngx_mesh_conn_t *conn, off_t read_bytes,
    off_t write_bytes, ngx_err_t err)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone == NULL || conn->series == NULL) {
        return;
    }

    ngx_mesh_metrics_close(zone, conn->series,
                           ngx_max(read_bytes - conn->read_bytes, 0),
                           ngx_max(write_bytes - conn->write_bytes, 0), err);

    conn->series = NULL;
}


ngx_mesh_series_t *
ngx_mesh_metrics_opened(ngx_mesh_flow_t *flow)
{
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series;

    zone = ngx_mesh_zone_get();

    if (zone == NULL) {
        return NULL;
    }

    series = ngx_mesh_metrics_endpoint(zone, flow, NGX_MESH_SERIES_TCP);

    ngx_mesh_metrics_open(zone, series);

    return series;
}


void
ngx_mesh_metrics_peer_transferred(ngx_mesh_series_t *series,
    off_t read_bytes, off_t write_bytes)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone && series) {
        ngx_mesh_metrics_bytes(zone, series, read_bytes, write_bytes);
    }
}


void
ngx_mesh_metrics_peer_closed(ngx_mesh_series_t *series, off_t read_bytes,
    off_t write_bytes, ngx_err_t err)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone && series) {
        ngx_mesh_metrics_close(zone, series, read_bytes, write_bytes, err);
    }
}


void
ngx_mesh_metrics_request(ngx_mesh_flow_t *flow)
{
    ngx_uint_t        proc;
    ngx_atomic_t     *cells;
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone == NULL || flow->counted) {
        return;
    }

    flow->counted = 1;
    flow->series = ngx_mesh_metrics_endpoint(zone, flow,
                                             NGX_MESH_SERIES_HTTP);
    if (flow->series == NULL) {
        return;
    }

    proc = ngx_mesh_zone_proc();
    cells = ngx_mesh_series_cells(zone, flow->series, proc);

    if (cells) {
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_HTTP_REQUESTS], 1);
    }
}


void
ngx_mesh_metrics_response(ngx_mesh_flow_t *flow, ngx_uint_t status,
    uint64_t now_us)
{
    uint64_t            us;
    ngx_uint_t          i, proc;
    ngx_atomic_t       *cells;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *series;

    zone = ngx_mesh_zone_get();

    if (zone == NULL) {
        return;
    }

    ngx_mesh_metrics_request(flow);

    if (flow->series == NULL) {
        return;
    }

    if (flow->reason) {
        status |= NGX_MESH_RESPONSE_ERROR(
                        ngx_mesh_error_number(ngx_mesh_error(flow->reason)));
    }

    /* one word for one set of labels, in which BROKEN is a failure */

    if (ngx_mesh_error_failure(status & NGX_MESH_RESPONSE_STATUS,
                               ngx_mesh_response_grpc(status)))
    {
        status &= ~NGX_MESH_RESPONSE_BROKEN;
    }

    series = ngx_mesh_metrics_child(zone, NGX_MESH_SERIES_RESPONSE,
                                    flow->series, status);
    if (series == NULL) {
        return;
    }

    proc = ngx_mesh_zone_proc();
    cells = ngx_mesh_series_cells(zone, series, proc);

    if (cells == NULL) {
        return;
    }

    us = (flow->start_us && now_us > flow->start_us) ? now_us - flow->start_us
                                                     : 0;

    for (i = 0; us > ngx_mesh_latency_us[i]; i++) { /* void */ }

    ngx_mesh_zone_add(proc, &cells[NGX_MESH_RESPONSE_SUM_US], us);
    ngx_mesh_zone_add(proc, &cells[NGX_MESH_RESPONSE_BUCKET + i], 1);
}


/*
 * The series of the leg to the endpoint.  An endpoint of the state keeps its
 * own; for an original destination the accepted connection keeps it.
 */

static ngx_mesh_series_t *
ngx_mesh_metrics_endpoint(ngx_mesh_zone_t *zone, ngx_mesh_flow_t *flow,
    ngx_mesh_series_kind_e kind)
{
    ngx_uint_t            i;
    ngx_mesh_conn_t      *conn;
    ngx_mesh_series_t    *series;
    ngx_mesh_endpoint_t  *endpoint;

    conn = flow->conn;
    endpoint = flow->endpoint;

    if (endpoint && (endpoint->record || conn == NULL)) {

        i = (kind == NGX_MESH_SERIES_HTTP) ? 0 : 1;

        if (endpoint->series[i] == NULL) {
            endpoint->series[i] = ngx_mesh_metrics_outbound(zone, flow, kind);
        }

        return endpoint->series[i];
    }

    if (conn == NULL || kind == NGX_MESH_SERIES_TCP) {
        return ngx_mesh_metrics_outbound(zone, flow, kind);
    }

    if (conn->direction == NGX_MESH_INBOUND) {

        if (conn->requests == NULL) {
            conn->requests = ngx_mesh_metrics_inbound(zone, conn, kind);
        }

        return conn->requests;
    }

    if (conn->requests == NULL || conn->requests_tls != flow->tls) {

        series = ngx_mesh_metrics_outbound(zone, flow, kind);

        conn->requests = series;
        conn->requests_tls = flow->tls;
    }

    return conn->requests;
}


static ngx_mesh_series_t *
ngx_mesh_metrics_outbound(ngx_mesh_zone_t *zone, ngx_mesh_flow_t *flow,
    ngx_mesh_series_kind_e kind)
{
    const char               *peer;
    ngx_mesh_conn_t          *conn;
    ngx_mesh_labels_t         labels;
    ngx_mesh_endpoint_t      *endpoint;
    ngx_mesh_direction_e      direction;
    const mesh_state_view_t  *view;

    conn = flow->conn;
    endpoint = flow->endpoint;
    direction = conn ? conn->direction : NGX_MESH_OUTBOUND;
    view = flow->state ? &flow->state->view : NULL;
    peer = (kind == NGX_MESH_SERIES_TCP) ? "dst" : NULL;

    ngx_mesh_labels_start(&labels, direction, peer);

    if (view && flow->service) {
        ngx_mesh_labels_service(&labels, view, flow->service, peer == NULL);
    }

    if (endpoint) {
        ngx_mesh_label(&labels, "target_addr", endpoint->name.data,
                       endpoint->name.len);

        ngx_mesh_labels_tls(&labels, flow->tls);

        if (flow->tls == NGX_MESH_TLS_MTLS) {
            ngx_mesh_label(&labels, "server_id", endpoint->identity.data,
                           endpoint->identity.len);
        }

    } else if (conn) {
        ngx_mesh_label(&labels, "target_addr", conn->dst_text.data,
                       conn->dst_text.len);
    }

    if (view && direction == NGX_MESH_OUTBOUND) {
        ngx_mesh_labels_workload(&labels, view, flow);
    }

    return ngx_mesh_metrics_intern(zone, kind, &labels, direction, peer);
}


/* the accepted leg: its target is the pod itself */

static ngx_mesh_series_t *
ngx_mesh_metrics_inbound(ngx_mesh_zone_t *zone, ngx_mesh_conn_t *conn,
    ngx_mesh_series_kind_e kind)
{
    const char         *peer;
    ngx_mesh_labels_t   labels;

    peer = (kind == NGX_MESH_SERIES_TCP) ? "src" : NULL;

    ngx_mesh_labels_start(&labels, conn->direction, peer);

    ngx_mesh_label(&labels, "target_addr", conn->dst_text.data,
                   conn->dst_text.len);

    ngx_mesh_labels_tls(&labels, ngx_mesh_metrics_accepted_tls(conn));

    if (conn->peer) {
        ngx_mesh_label(&labels, "client_id", conn->peer->id.data,
                       conn->peer->id.len);
    }

    return ngx_mesh_metrics_intern(zone, kind, &labels, conn->direction, peer);
}


/* an application's connection to its own sidecar never leaves the pod */

static ngx_mesh_tls_e
ngx_mesh_metrics_accepted_tls(ngx_mesh_conn_t *conn)
{
    if (conn->direction == NGX_MESH_OUTBOUND) {
        return NGX_MESH_TLS_LOOPBACK;
    }

    if (conn->peer) {
        return NGX_MESH_TLS_MTLS;
    }

    if (conn->sni.len || conn->protocol == MESH_PROTO_TLS) {
        return NGX_MESH_TLS_FOREIGN;
    }

    return NGX_MESH_TLS_NONE;
}


static void
ngx_mesh_metrics_open(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series)
{
    ngx_uint_t     proc;
    ngx_atomic_t  *cells;

    if (series == NULL) {
        return;
    }

    proc = ngx_mesh_zone_proc();
    cells = ngx_mesh_series_cells(zone, series, proc);

    if (cells) {
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_TCP_OPENED], 1);
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_TCP_OPEN], 1);
    }
}


static void
ngx_mesh_metrics_close(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    off_t read_bytes, off_t write_bytes, ngx_err_t err)
{
    ngx_uint_t          proc;
    ngx_atomic_t       *cells;
    ngx_mesh_series_t  *child;

    ngx_mesh_metrics_bytes(zone, series, read_bytes, write_bytes);

    proc = ngx_mesh_zone_proc();
    cells = ngx_mesh_series_peek(zone, series, proc);

    if (cells) {
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_TCP_OPEN], -1);
    }

    child = ngx_mesh_metrics_child(zone, NGX_MESH_SERIES_CLOSE, series,
                                   (uint32_t) err);
    if (child == NULL) {
        return;
    }

    cells = ngx_mesh_series_cells(zone, child, proc);

    if (cells) {
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_CLOSE_CLOSED], 1);
    }
}


static void
ngx_mesh_metrics_bytes(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series,
    off_t read_bytes, off_t write_bytes)
{
    ngx_uint_t     proc;
    ngx_atomic_t  *cells;

    proc = ngx_mesh_zone_proc();
    cells = ngx_mesh_series_cells(zone, series, proc);

    if (cells) {
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_TCP_READ], read_bytes);
        ngx_mesh_zone_add(proc, &cells[NGX_MESH_TCP_WRITTEN], write_bytes);
    }
}


/*
 * Nearly all requests end like one before them: a small cache saves the look
 * into the index.  A code that finds no room is counted as code 0: known to
 * have happened.
 */

static ngx_mesh_series_t *
ngx_mesh_metrics_child(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind,
    ngx_mesh_series_t *parent, uint32_t code)
{
    uint32_t                   number;
    ngx_mesh_series_t         *child, *series;
    ngx_mesh_metrics_cache_t  *cache;

    series = ngx_mesh_zone_at(zone, zone->series);
    number = parent - series;
    cache = &ngx_mesh_metrics_cached[(number + code) % NGX_MESH_METRICS_CACHE];
    child = cache->child;

    if (cache->zone == zone
        && child->parent == number
        && child->code == code
        && child->kind == kind)
    {
        return child;
    }

    child = ngx_mesh_series_child(zone, kind, parent, code, parent->reserved);

    if (child) {
        cache->zone = zone;
        cache->child = child;

        return child;
    }

    ngx_mesh_count(NGX_MESH_C_zone_series_full, 1);

    return ngx_mesh_series_child(zone, kind, parent, 0, 1);
}


static ngx_mesh_series_t *
ngx_mesh_metrics_intern(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind,
    ngx_mesh_labels_t *labels, ngx_mesh_direction_e direction,
    const char *peer)
{
    ngx_mesh_series_t  *series;

    if (!labels->overflow) {
        series = ngx_mesh_series_text(zone, kind, labels->start,
                                      labels->last - labels->start, 0);
        if (series) {
            return series;
        }
    }

    ngx_mesh_count(NGX_MESH_C_zone_series_full, 1);

    return ngx_mesh_metrics_other(zone, kind, direction, peer);
}


static ngx_mesh_series_t *
ngx_mesh_metrics_other(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind,
    ngx_mesh_direction_e direction, const char *peer)
{
    ngx_mesh_labels_t  labels;

    ngx_mesh_labels_start(&labels, direction, peer);
    ngx_mesh_label(&labels, "other", "true", 4);

    return ngx_mesh_series_text(zone, kind, labels.start,
                                labels.last - labels.start, 1);
}


/* one buffer for all: a set of labels is interned before the next begins */

static void
ngx_mesh_labels_start(ngx_mesh_labels_t *labels,
    ngx_mesh_direction_e direction, const char *peer)
{
    static u_char  buffer[NGX_MESH_LABELS_MAX];

    labels->start = buffer;
    labels->last = buffer;
    labels->end = buffer + sizeof(buffer);
    labels->overflow = 0;

    ngx_mesh_label(labels, "direction", ngx_mesh_directions[direction],
                   ngx_strlen(ngx_mesh_directions[direction]));

    if (peer) {
        ngx_mesh_label(labels, "peer", peer, ngx_strlen(peer));
    }
}


static void
ngx_mesh_labels_tls(ngx_mesh_labels_t *labels, ngx_mesh_tls_e tls)
{
    ngx_mesh_label(labels, "tls", ngx_mesh_tls_labels[tls],
                   ngx_strlen(ngx_mesh_tls_labels[tls]));
}


static void
ngx_mesh_label(ngx_mesh_labels_t *labels, const char *name,
    const void *value, size_t len)
{
    if (len == 0) {
        return;                            /* an empty label is no label */
    }

    if (labels->last != labels->start) {
        ngx_mesh_label_add(labels, ",", 1);
    }

    ngx_mesh_label_add(labels, name, ngx_strlen(name));
    ngx_mesh_label_add(labels, "=\"", 2);
    ngx_mesh_label_escaped(labels, value, len);
    ngx_mesh_label_add(labels, "\"", 1);
}


static void
ngx_mesh_label_add(ngx_mesh_labels_t *labels, const void *p, size_t len)
{
    if ((size_t) (labels->end - labels->last) < len) {
        labels->overflow = 1;
        return;
    }

    labels->last = ngx_cpymem(labels->last, p, len);
}


static void
ngx_mesh_label_escaped(ngx_mesh_labels_t *labels, const void *value,
    size_t len)
{
    const u_char  *p, *last;

    p = value;
    last = p + len;

    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case '\\':
            ngx_mesh_label_add(labels, "\\\\", 2);
            break;

        case '"':
            ngx_mesh_label_add(labels, "\\\"", 2);
            break;

        case '\n':
            ngx_mesh_label_add(labels, "\\n", 2);
            break;

        default:
            ngx_mesh_label_add(labels, p, 1);
        }
    }
}


/* authority is "cart.shop.svc.cluster.local:80", whatever Host said */

static void
ngx_mesh_labels_service(ngx_mesh_labels_t *labels,
    const mesh_state_view_t *view, const mesh_state_service_t *service,
    ngx_uint_t authority)
{
    u_char                    *p, port[NGX_INT_T_LEN];
    ngx_uint_t                 n;
    const mesh_state_str_t    *td;

    if (authority) {
        td = &view->head->trust_domain;

        ngx_mesh_label_add(labels, ",authority=\"", 12);
        ngx_mesh_label_escaped(labels, mesh_state_text(view, &service->name),
                               service->name.len);
        ngx_mesh_label_add(labels, ".", 1);
        ngx_mesh_label_escaped(labels,
                               mesh_state_text(view, &service->namespace_),
                               service->namespace_.len);
        ngx_mesh_label_add(labels, ".svc.", 5);
        ngx_mesh_label_escaped(labels, mesh_state_text(view, td), td->len);
        ngx_mesh_label_add(labels, ":", 1);

        p = port + sizeof(port);
        n = service->port;

        do {
            *--p = (u_char) ('0' + n % 10);
            n /= 10;
        } while (n);

        ngx_mesh_label_add(labels, p, port + sizeof(port) - p);
        ngx_mesh_label_add(labels, "\"", 1);
    }

    ngx_mesh_labels_text(labels, "dst_namespace", view,
                         &service->namespace_);
    ngx_mesh_labels_text(labels, "dst_service", view, &service->name);
}


static void
ngx_mesh_labels_workload(ngx_mesh_labels_t *labels,
    const mesh_state_view_t *view, ngx_mesh_flow_t *flow)
{
    u_char                         name[32];
    uint32_t                       i;
    const char                    *kind;
    ngx_mesh_endpoint_t           *endpoint;
    const mesh_state_addr_t       *addr;
    const mesh_state_workload_t   *workload;

    i = MESH_STATE_NONE;
    endpoint = flow->endpoint;

    if (endpoint && endpoint->record) {
        i = endpoint->record->workload;

    } else if (endpoint && flow->conn) {
        addr = mesh_state_find(view, flow->conn->dst.ip, flow->conn->dst.port);

        if (addr && addr->kind == MESH_ADDR_WORKLOAD) {
            i = addr->index;
        }
    }

    if (i == MESH_STATE_NONE) {
        return;
    }

    workload = &view->workloads[i];

    if (flow->service == NULL) {
        ngx_mesh_labels_text(labels, "dst_namespace", view,
                             &workload->namespace_);
    }

    ngx_mesh_labels_text(labels, "dst_pod", view, &workload->pod);
    ngx_mesh_labels_text(labels, "dst_serviceaccount", view,
                         &workload->service_account);
    ngx_mesh_labels_text(labels, "dst_zone", view, &workload->zone);

    /* dst_deployment, dst_statefulset ..: the kind must be a label's name */

    kind = mesh_state_text(view, &workload->owner_kind);

    if (workload->owner_kind.len == 0
        || workload->owner_kind.len > sizeof(name) - sizeof("dst_"))
    {
        return;
    }

    for (i = 0; i < workload->owner_kind.len; i++) {
        if (kind[i] < 'a' || kind[i] > 'z') {
            return;
        }
    }

    ngx_memzero(name, sizeof(name));
    ngx_memcpy(name, "dst_", 4);
    ngx_memcpy(name + 4, kind, workload->owner_kind.len);

    ngx_mesh_labels_text(labels, (char *) name, view, &workload->owner);
}


static void
ngx_mesh_labels_text(ngx_mesh_labels_t *labels, const char *name,
    const mesh_state_view_t *view, const mesh_state_str_t *s)
{
    ngx_mesh_label(labels, name, mesh_state_text(view, s), s->len);
}
