
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_metrics.c
 *       ngx_mesh_module/core/ngx_mesh_error.c
 *       ngx_mesh_module/core/ngx_mesh_series.c
 *       ngx_mesh_module/shared/mesh_state.c
 */

/* Which labels are written for whom, and what is added to which series. */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_state.h>
#include <ngx_mesh_tls.h>
#include <stdlib.h>
#include "unit.h"


#define ZONE_BYTES  (512 * 1024)
#define ZONE        ngx_mesh_zone_here.zone


ngx_mesh_zone_here_t     ngx_mesh_zone_here = { NULL, NULL, 0, 1 };

static ngx_mesh_peer_t  *peer_of_tls;


ngx_mesh_zone_t *
ngx_mesh_zone_first(void)
{
    return NULL;
}


ngx_mesh_peer_t *
ngx_mesh_tls_peer(ngx_connection_t *c)
{
    return peer_of_tls;
}


static void
zone_new(void)
{
    free(ZONE);
    ZONE = calloc(1, ZONE_BYTES);

    ZONE->ncounters = NGX_MESH_C_MAX;
    ZONE->nseries = 64;
    ZONE->nindex = 128;
    ZONE->counters = 4096;
    ZONE->series = 32768;
    ZONE->index = 65536;
    ZONE->arena = 131072;
    ZONE->arena_bytes = 262144;

    ngx_mesh_zone_here.counters = ngx_mesh_zone_counters(ZONE, 0);
}


/* labels of the last series that was made */

static const char *
last_labels(void)
{
    static char         text[4096];
    ngx_mesh_series_t  *series;

    series = ngx_mesh_zone_at(ZONE, ZONE->series);
    series += ZONE->series_used - 1;

    while (series->text_len == 0) {
        series--;                          /* a child */
    }

    memcpy(text, ngx_mesh_zone_at(ZONE, series->text), series->text_len);
    text[series->text_len] = '\0';

    return text;
}


static ngx_atomic_uint_t
cell(ngx_mesh_series_t *series, ngx_uint_t i)
{
    ngx_atomic_t  *cells;

    cells = ngx_mesh_series_peek(ZONE, series, 0);

    return cells ? cells[i] : 0;
}


static ngx_atomic_uint_t
counter(ngx_mesh_counter_e i)
{
    ngx_atomic_t  *cells;

    cells = ngx_mesh_zone_at(ZONE, ZONE->counters);

    return cells[i];
}


/* a snapshot of one service with one endpoint, as far as labels read it */

static const char  blob[] =
    "\0shop\0cart\0cart-1\0cart-sa\0deployment\0cluster.local\0zone-a";

static mesh_state_str_t
str(const char *s)
{
    size_t            i;
    mesh_state_str_t  r;

    r.len = strlen(s);

    for (i = 0; i + r.len < sizeof(blob); i++) {
        if (memcmp(blob + i, s, r.len + 1) == 0) {
            r.offset = i;
            return r;
        }
    }

    abort();
}


static mesh_state_head_t      head;
static mesh_state_service_t   service;
static mesh_state_endpoint_t  record;
static mesh_state_workload_t  workload;
static ngx_mesh_state_t       state;
static ngx_mesh_endpoint_t    endpoint;
static ngx_connection_t       connection;
static ngx_mesh_conn_t        conn;
static ngx_mesh_flow_t        flow;


static void
flow_new(ngx_mesh_direction_e direction)
{
    zone_new();

    memset(&endpoint, 0, sizeof(endpoint));
    memset(&conn, 0, sizeof(conn));
    memset(&flow, 0, sizeof(flow));

    head.trust_domain = str("cluster.local");

    service.namespace_ = str("shop");
    service.name = str("cart");
    service.port = 80;

    workload.namespace_ = str("shop");
    workload.pod = str("cart-1");
    workload.service_account = str("cart-sa");
    workload.owner_kind = str("deployment");
    workload.owner = str("cart");
    workload.zone = str("zone-a");

    state.view.head = &head;
    state.view.blob = blob;
    state.view.services = &service;
    state.view.workloads = &workload;

    endpoint.record = &record;
    ngx_str_set(&endpoint.name, "10.244.1.9:8080");
    ngx_str_set(&endpoint.identity, "spiffe://cluster.local/ns/shop/sa/cart");

    conn.connection = &connection;
    conn.direction = direction;
    ngx_str_set(&conn.dst_text, "10.96.14.7:80");

    flow.conn = &conn;
    flow.state = &state;
    flow.tls = NGX_MESH_TLS_MTLS;
    flow.start_us = 1000000;

    if (direction == NGX_MESH_OUTBOUND) {
        flow.service = &service;
        flow.endpoint = &endpoint;
    }

    peer_of_tls = NULL;
    connection.ssl = NULL;
}


static void
outbound_request_has_all_labels(void)
{
    flow_new(NGX_MESH_OUTBOUND);
    ngx_mesh_metrics_request(&flow);

    UNIT_STR(last_labels(),
             "direction=\"outbound\","
             "authority=\"cart.shop.svc.cluster.local:80\","
             "dst_namespace=\"shop\",dst_service=\"cart\","
             "target_addr=\"10.244.1.9:8080\",tls=\"true\","
             "server_id=\"spiffe://cluster.local/ns/shop/sa/cart\","
             "dst_pod=\"cart-1\",dst_serviceaccount=\"cart-sa\","
             "dst_zone=\"zone-a\",dst_deployment=\"cart\"");

    UNIT_EQ(cell(flow.series, NGX_MESH_HTTP_REQUESTS), 1);
    UNIT_OK(endpoint.series[0] == flow.series);
}


static void
request_is_counted_once(void)
{
    flow_new(NGX_MESH_OUTBOUND);

    ngx_mesh_metrics_request(&flow);
    ngx_mesh_metrics_request(&flow);
    ngx_mesh_metrics_response(&flow, 200, 1000000);

    UNIT_EQ(cell(flow.series, NGX_MESH_HTTP_REQUESTS), 1);
}


static void
response_counts_its_request(void)
{
    flow_new(NGX_MESH_OUTBOUND);

    ngx_mesh_metrics_response(&flow, 499, 1000000);

    UNIT_EQ(cell(flow.series, NGX_MESH_HTTP_REQUESTS), 1);
}


static void
latency_goes_into_its_bucket(void)
{
    ngx_uint_t          i;
    ngx_mesh_series_t  *child;

    static const struct {
        uint64_t    us;
        ngx_uint_t  bucket;
    } cases[] = {
        { 0, 0 }, { 1000, 0 }, { 1001, 1 }, { 5000, 4 }, { 5001, 5 },
        { 10000, 5 }, { 50000000, 24 }, { 50000001, 25 },
        { 3600000000u, 25 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        flow_new(NGX_MESH_OUTBOUND);
        ngx_mesh_metrics_response(&flow, 200, flow.start_us + cases[i].us);

        child = ngx_mesh_series_child(ZONE, NGX_MESH_SERIES_RESPONSE,
                                      flow.series, 200, 0);
        UNIT_NEED(child);
        UNIT_EQ(cell(child, NGX_MESH_RESPONSE_BUCKET + cases[i].bucket), 1);
        UNIT_EQ(cell(child, NGX_MESH_RESPONSE_SUM_US), cases[i].us);
    }
}


/* equal labels are one series */

static void
a_failure_is_not_broken_twice(void)
{
    ngx_uint_t  used;

    flow_new(NGX_MESH_OUTBOUND);

    ngx_mesh_metrics_response(&flow, 503, 1000000);
    used = ZONE->series_used;
    ngx_mesh_metrics_response(&flow, 503 | NGX_MESH_RESPONSE_BROKEN, 1000000);
    UNIT_EQ(ZONE->series_used, used);

    ngx_mesh_metrics_response(&flow, 200 | NGX_MESH_RESPONSE_GRPC(14),
                              1000000);
    used = ZONE->series_used;
    ngx_mesh_metrics_response(&flow, 200 | NGX_MESH_RESPONSE_GRPC(14)
                                     | NGX_MESH_RESPONSE_BROKEN, 1000000);
    UNIT_EQ(ZONE->series_used, used);

    ngx_mesh_metrics_response(&flow, 200 | NGX_MESH_RESPONSE_GRPC(5),
                              1000000);
    ngx_mesh_metrics_response(&flow, 200 | NGX_MESH_RESPONSE_GRPC(5)
                                     | NGX_MESH_RESPONSE_BROKEN, 1000000);
    UNIT_EQ(ZONE->series_used, used + 2);
}


/* a clock that was never read, or one that goes backwards */

static void
no_start_is_no_latency(void)
{
    ngx_mesh_series_t  *child;

    flow_new(NGX_MESH_OUTBOUND);
    flow.start_us = 0;
    ngx_mesh_metrics_response(&flow, 200, 1000000);

    flow.start_us = 2000000;
    ngx_mesh_metrics_response(&flow, 200, 1000000);

    child = ngx_mesh_series_child(ZONE, NGX_MESH_SERIES_RESPONSE,
                                  flow.series, 200, 0);
    UNIT_NEED(child);
    UNIT_EQ(cell(child, NGX_MESH_RESPONSE_BUCKET), 2);
    UNIT_EQ(cell(child, NGX_MESH_RESPONSE_SUM_US), 0);
}


static void
inbound_request_names_its_client(void)
{
    ngx_mesh_peer_t  peer;

    flow_new(NGX_MESH_INBOUND);

    ngx_str_set(&peer.id, "spiffe://cluster.local/ns/shop/sa/web");
    connection.ssl = (ngx_ssl_connection_t *) &connection;
    peer_of_tls = &peer;

    ngx_mesh_metrics_identified(&conn);

    UNIT_STR(last_labels(),
             "direction=\"inbound\",peer=\"src\","
             "target_addr=\"10.96.14.7:80\",tls=\"true\","
             "client_id=\"spiffe://cluster.local/ns/shop/sa/web\"");

    ngx_mesh_metrics_request(&flow);

    UNIT_STR(last_labels(),
             "direction=\"inbound\",target_addr=\"10.96.14.7:80\",tls=\"true\","
             "client_id=\"spiffe://cluster.local/ns/shop/sa/web\"");
    UNIT_OK(conn.requests == flow.series);
}


static void
inbound_connection_waits_for_its_identity(void)
{
    flow_new(NGX_MESH_INBOUND);

    ngx_mesh_metrics_accepted(&conn);
    UNIT_OK(conn.series == NULL);

    ngx_mesh_metrics_closed(&conn, 10, 10, 0);
    UNIT_EQ(ZONE->series_used, 0);

    ngx_mesh_metrics_identified(&conn);
    ngx_mesh_metrics_identified(&conn);

    UNIT_NEED(conn.series);
    UNIT_EQ(cell(conn.series, NGX_MESH_TCP_OPENED), 1);
    UNIT_EQ(cell(conn.series, NGX_MESH_TCP_OPEN), 1);
}


/* what was counted while it was open is not counted again at its end */

static void
closed_adds_what_is_missing(void)
{
    ngx_mesh_series_t  *series, *child;

    flow_new(NGX_MESH_OUTBOUND);

    ngx_mesh_metrics_accepted(&conn);
    series = conn.series;
    UNIT_NEED(series);

    UNIT_STR(last_labels(),
             "direction=\"outbound\",peer=\"src\","
             "target_addr=\"10.96.14.7:80\",tls=\"loopback\"");

    ngx_mesh_metrics_transferred(&conn, 100, 1000);
    ngx_mesh_metrics_transferred(&conn, 100, 1000);
    ngx_mesh_metrics_closed(&conn, 250, 1000, ECONNRESET);
    ngx_mesh_metrics_closed(&conn, 250, 1000, ECONNRESET);

    UNIT_EQ(cell(series, NGX_MESH_TCP_READ), 250);
    UNIT_EQ(cell(series, NGX_MESH_TCP_WRITTEN), 2000);
    UNIT_EQ(cell(series, NGX_MESH_TCP_OPENED), 1);
    UNIT_EQ(cell(series, NGX_MESH_TCP_OPEN), 0);

    child = ngx_mesh_series_child(ZONE, NGX_MESH_SERIES_CLOSE, series,
                                  ECONNRESET, 0);
    UNIT_NEED(child);
    UNIT_EQ(cell(child, NGX_MESH_CLOSE_CLOSED), 1);
}


static void
endpoint_connection_is_peer_dst(void)
{
    ngx_mesh_series_t  *series;

    flow_new(NGX_MESH_OUTBOUND);

    series = ngx_mesh_metrics_opened(&flow);
    UNIT_NEED(series);

    UNIT_HAS(last_labels(), "direction=\"outbound\",peer=\"dst\","
                            "dst_namespace=\"shop\"");
    UNIT_OK(endpoint.series[1] == series);

    ngx_mesh_metrics_peer_closed(series, 1, 2, 0);
    ngx_mesh_metrics_peer_closed(NULL, 1, 2, 0);

    UNIT_EQ(cell(series, NGX_MESH_TCP_OPEN), 0);
    UNIT_EQ(cell(series, NGX_MESH_TCP_READ), 1);
    UNIT_EQ(cell(series, NGX_MESH_TCP_WRITTEN), 2);
}


/* nothing of an endpoint is known: the address that was asked for stands */

static void
no_endpoint_has_no_tls(void)
{
    flow_new(NGX_MESH_OUTBOUND);
    flow.endpoint = NULL;

    ngx_mesh_metrics_response(&flow, 503, 1000000);

    UNIT_STR(last_labels(),
             "direction=\"outbound\","
             "authority=\"cart.shop.svc.cluster.local:80\","
             "dst_namespace=\"shop\",dst_service=\"cart\","
             "target_addr=\"10.96.14.7:80\"");
}


/* the state may learn of an address while a connection to it is open */

static void
original_destination_follows_tls(void)
{
    ngx_mesh_series_t  *first;

    flow_new(NGX_MESH_OUTBOUND);
    flow.service = NULL;
    flow.state = NULL;
    endpoint.record = NULL;
    flow.tls = NGX_MESH_TLS_UNKNOWN;

    ngx_mesh_metrics_request(&flow);
    first = flow.series;

    UNIT_STR(last_labels(),
             "direction=\"outbound\",target_addr=\"10.244.1.9:8080\","
             "tls=\"unknown\"");

    flow.counted = 0;
    ngx_mesh_metrics_request(&flow);
    UNIT_OK(flow.series == first);

    flow.counted = 0;
    flow.tls = NGX_MESH_TLS_NONE;
    ngx_mesh_metrics_request(&flow);
    UNIT_OK(flow.series != first);
}


static void
labels_are_escaped(void)
{
    flow_new(NGX_MESH_INBOUND);
    ngx_str_set(&conn.dst_text, "a\"b\\c\nd");

    ngx_mesh_metrics_request(&flow);

    UNIT_HAS(last_labels(), "target_addr=\"a\\\"b\\\\c\\nd\"");
}


static void
long_labels_and_a_full_zone_are_other(void)
{
    static u_char       text[8192];
    ngx_mesh_series_t  *series;

    flow_new(NGX_MESH_INBOUND);
    memset(text, 'x', sizeof(text));
    conn.dst_text.data = text;
    conn.dst_text.len = sizeof(text);

    ngx_mesh_metrics_request(&flow);

    UNIT_STR(last_labels(), "direction=\"inbound\",other=\"true\"");
    UNIT_EQ(counter(NGX_MESH_C_zone_series_full), 1);
    series = flow.series;

    ZONE->series_used = ZONE->nseries - 1;
    conn.dst_text.len = 10;
    conn.requests = NULL;
    flow.counted = 0;

    ngx_mesh_metrics_request(&flow);

    UNIT_OK(flow.series == series);
    UNIT_EQ(counter(NGX_MESH_C_zone_series_full), 2);
    UNIT_EQ(cell(series, NGX_MESH_HTTP_REQUESTS), 2);
}


static void
no_zone_is_harmless(void)
{
    flow_new(NGX_MESH_OUTBOUND);
    free(ZONE);
    ZONE = NULL;

    ngx_mesh_count(NGX_MESH_C_want, 1);
    ngx_mesh_metrics_generation(7);
    ngx_mesh_metrics_accepted(&conn);
    ngx_mesh_metrics_identified(&conn);
    ngx_mesh_metrics_transferred(&conn, 1, 1);
    ngx_mesh_metrics_closed(&conn, 1, 1, 0);
    ngx_mesh_metrics_request(&flow);
    ngx_mesh_metrics_response(&flow, 200, 1);
    ngx_mesh_metrics_peer_closed(ngx_mesh_metrics_opened(&flow), 1, 1, 0);

    UNIT_OK(flow.series == NULL);
}


UNIT_TESTS = {
    UNIT(outbound_request_has_all_labels),
    UNIT(request_is_counted_once),
    UNIT(response_counts_its_request),
    UNIT(latency_goes_into_its_bucket),
    UNIT(a_failure_is_not_broken_twice),
    UNIT(no_start_is_no_latency),
    UNIT(inbound_request_names_its_client),
    UNIT(inbound_connection_waits_for_its_identity),
    UNIT(closed_adds_what_is_missing),
    UNIT(endpoint_connection_is_peer_dst),
    UNIT(no_endpoint_has_no_tls),
    UNIT(original_destination_follows_tls),
    UNIT(labels_are_escaped),
    UNIT(long_labels_and_a_full_zone_are_other),
    UNIT(no_zone_is_harmless),
    UNIT_END
};
