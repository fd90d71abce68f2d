
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_target.c
 *       ngx_mesh_module/core/ngx_mesh_balancer.c
 *       ngx_mesh_module/core/ngx_mesh_ewma.c
 *       t/unit/unit_ngx.c
 */

/*
 * From a destination to an endpoint, over a snapshot made here by hand; what
 * ngx_mesh_state.c would answer is said by each test.
 */

#include <ngx_mesh_target.h>

#include "unit.h"


#define SECOND  ((uint64_t) 1000000)

static const char  blob[] = "0spiffe://td/ns/shop/sa/cart";

static ngx_mesh_conn_t        conn;
static ngx_connection_t       connection;
static ngx_mesh_flow_t        flow;
static ngx_mesh_state_t       state;
static ngx_mesh_target_t      target;
static mesh_state_head_t      head;
static mesh_state_addr_t      entry;
static mesh_state_service_t   service;
static mesh_state_endpoint_t  records[4];
static mesh_state_workload_t  workloads[2];
static ngx_mesh_endpoint_t    endpoints[4];
static ngx_mesh_slot_t        slots[4];
static ngx_pool_t            *pool;

static ngx_int_t              verdict;
static ngx_uint_t             asked;
static ngx_uint_t             is_loopback;


ngx_int_t
ngx_mesh_state_verdict(ngx_mesh_state_t *s, const ngx_mesh_addr_t *addr,
    const mesh_state_addr_t **e)
{
    (void) s;
    (void) addr;

    *e = (verdict == NGX_OK && entry.kind) ? &entry : NULL;
    asked++;

    return verdict;
}


ngx_mesh_state_t *
ngx_mesh_state_pin(ngx_pool_t *p)
{
    (void) p;

    return &state;
}


ngx_uint_t
ngx_mesh_addr_loopback(const ngx_mesh_addr_t *addr)
{
    (void) addr;

    return is_loopback;
}


ngx_mesh_zone_here_t  ngx_mesh_zone_here = { NULL, NULL, 2, 1 };


static void
make(ngx_uint_t kind)
{
    ngx_uint_t  i;

    if (pool) {
        ngx_destroy_pool(pool);
    }

    pool = ngx_create_pool(1024, NULL);

    memset(&conn, 0, sizeof(conn));
    memset(&flow, 0, sizeof(flow));
    memset(&head, 0, sizeof(head));
    memset(&entry, 0, sizeof(entry));
    memset(slots, 0, sizeof(slots));
    memset(records, 0, sizeof(records));
    memset(endpoints, 0, sizeof(endpoints));
    memset(workloads, 0, sizeof(workloads));

    verdict = NGX_OK;
    is_loopback = 0;

    head.self = MESH_STATE_NONE;
    entry.kind = (uint8_t) kind;

    state.view.head = &head;
    state.view.blob = blob;
    state.view.services = &service;
    state.view.endpoints = records;
    state.view.workloads = workloads;
    state.endpoints = endpoints;

    service.endpoint = 1;
    service.nendpoints = 3;

    for (i = 0; i < 4; i++) {
        records[i].weight = 1;
        records[i].port = 8080;
        records[i].workload = MESH_STATE_NONE;
        endpoints[i].record = &records[i];
        endpoints[i].slot = &slots[i];
        slots[i].key = i + 1;
    }

    connection.pool = pool;
    state.serial = 0;
    asked = 0;

    conn.connection = &connection;
    conn.direction = NGX_MESH_OUTBOUND;
    conn.dst.port = 8080;
    ngx_str_set(&conn.dst_text, "10.1.2.3:8080");

    flow.conn = &conn;
}


static const char *
init(void)
{
    return ngx_mesh_target_init(&target, &flow, pool);
}


/* the tls of the only or the first endpoint */

static ngx_int_t
first_tls(void)
{
    if (ngx_mesh_target_next(&target, SECOND, 1) != NGX_OK) {
        return -1;
    }

    ngx_mesh_target_done(&target, NGX_MESH_TRY_UNKNOWN, 0, SECOND);

    return flow.tls;
}


static void
needs_an_intercepted_connection(void)
{
    make(0);
    flow.conn = NULL;

    UNIT_STR(init(), "not-intercepted");
}


static void
unknown_inside_the_cluster_is_refused(void)
{
    make(0);
    verdict = NGX_AGAIN;
    UNIT_STR(init(), "unknown-destination");

    verdict = NGX_DECLINED;
    UNIT_STR(init(), "unknown-destination");
}


static void
outside_goes_there_in_plaintext(void)
{
    make(0);

    UNIT_NEED(init() == NULL);
    UNIT_EQ(ngx_mesh_target_tries(&target), 1);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_UNKNOWN);
    UNIT_STRN(flow.endpoint->name.data, flow.endpoint->name.len,
              "10.1.2.3:8080");
    UNIT_EQ(ngx_mesh_target_next(&target, SECOND, 1), NGX_BUSY);

    make(0);
    conn.protocol = MESH_PROTO_TLS;

    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_FOREIGN);
}


static void
loopback_and_inbound_stay_in_the_pod(void)
{
    make(0);
    is_loopback = 1;

    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_LOOPBACK);

    make(MESH_ADDR_WORKLOAD);
    verdict = NGX_AGAIN;                   /* is not even asked */
    conn.direction = NGX_MESH_INBOUND;

    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_LOOPBACK);
    UNIT_EQ(flow.endpoint->identity.len, 0);
}


static void
meshed_pod_gets_mtls_with_its_identity(void)
{
    make(MESH_ADDR_WORKLOAD);
    entry.index = 1;
    workloads[1].flags = MESH_WL_MESHED;
    workloads[1].identity.offset = 1;
    workloads[1].identity.len = sizeof(blob) - 2;

    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_MTLS);
    UNIT_STRN(flow.endpoint->identity.data, flow.endpoint->identity.len,
              "spiffe://td/ns/shop/sa/cart");

    /* the same pod, but it is ourselves */

    head.self = 1;
    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_LOOPBACK);
    UNIT_EQ(flow.endpoint->identity.len, 0);

    /* ports that its sidecar does not intercept */

    head.self = MESH_STATE_NONE;
    conn.dst.port = 4191;
    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_NONE);
    UNIT_EQ(flow.endpoint->identity.len, 0);
}


static void
meshed_pod_without_identity_is_refused(void)
{
    make(MESH_ADDR_WORKLOAD);
    workloads[0].flags = MESH_WL_MESHED;

    UNIT_STR(init(), "no-identity");
}


static void
plain_pod_gets_plaintext(void)
{
    make(MESH_ADDR_WORKLOAD);

    UNIT_NEED(init() == NULL);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_NONE);
}


static void
empty_service_has_its_own_code(void)
{
    make(MESH_ADDR_SERVICE);
    service.nendpoints = 0;

    UNIT_STR(init(), "no-endpoints");
    UNIT_OK(flow.service == &service);
}


static void
service_tries_each_endpoint_once(void)
{
    ngx_uint_t  i, seen;

    make(MESH_ADDR_SERVICE);
    records[2].flags = MESH_WL_MESHED;

    UNIT_NEED(init() == NULL);
    UNIT_EQ(ngx_mesh_target_tries(&target), 3);

    for (i = 0, seen = 0; i < 3; i++) {
        UNIT_NEED(ngx_mesh_target_next(&target, SECOND, 12345) == NGX_OK);
        UNIT_EQ(flow.endpoint->slot->outstanding[2], 1);

        seen |= 1 << (flow.endpoint - endpoints);
        UNIT_EQ(flow.tls, flow.endpoint == &endpoints[2] ? NGX_MESH_TLS_MTLS
                                                         : NGX_MESH_TLS_NONE);

        ngx_mesh_target_done(&target, NGX_MESH_TRY_FAILED, 10, SECOND);
        UNIT_EQ(flow.endpoint->slot->outstanding[2], 0);
        UNIT_OK(flow.endpoint->slot->ewma_us >= 100000);
    }

    UNIT_EQ(seen, 0xe);                    /* not endpoint 0: another's */
    UNIT_EQ(ngx_mesh_target_next(&target, SECOND, 1), NGX_BUSY);

    ngx_mesh_target_again(&target);
    UNIT_EQ(ngx_mesh_target_next(&target, SECOND, 1), NGX_OK);
}


static void
answer_is_a_sample_once(void)
{
    make(MESH_ADDR_SERVICE);

    UNIT_NEED(init() == NULL);
    UNIT_NEED(ngx_mesh_target_next(&target, SECOND, 0) == NGX_OK);

    ngx_mesh_target_done(&target, NGX_MESH_TRY_ANSWERED, 1500, SECOND);
    ngx_mesh_target_done(&target, NGX_MESH_TRY_ANSWERED, 9999, SECOND);

    UNIT_EQ(flow.endpoint->slot->ewma_us, 1500);
    UNIT_EQ(flow.endpoint->slot->outstanding[2], 0);
}


static void
slot_that_became_anothers_is_left_alone(void)
{
    make(MESH_ADDR_SERVICE);

    UNIT_NEED(init() == NULL);
    UNIT_NEED(ngx_mesh_target_next(&target, SECOND, 0) == NGX_OK);

    flow.endpoint->slot->key = 999;
    flow.endpoint->slot->outstanding[2] = 7;

    ngx_mesh_target_done(&target, NGX_MESH_TRY_ANSWERED, 1500, SECOND);

    UNIT_EQ(flow.endpoint->slot->outstanding[2], 7);
    UNIT_EQ(flow.endpoint->slot->ewma_us, 0);
}


static void
fixed_endpoint_is_always_mtls(void)
{
    make(0);
    flow.conn = NULL;
    ngx_str_set(&endpoints[0].identity, "spiffe://td/ns/ngx-mesh/sa/redis");

    ngx_mesh_target_fixed(&target, &flow, &endpoints[0]);

    UNIT_EQ(ngx_mesh_target_tries(&target), 1);
    UNIT_EQ(first_tls(), NGX_MESH_TLS_MTLS);
    UNIT_OK(flow.endpoint == &endpoints[0]);
}


static void
tls_text_is_of_the_leg_that_counts(void)
{
    ngx_mesh_peer_t  *peer;

    make(0);
    peer = (ngx_mesh_peer_t *) pool;       /* only whether there is one */

    UNIT_STR(ngx_mesh_target_tls(&flow, NGX_MESH_OUTBOUND, NULL), "");

    flow.endpoint = &endpoints[0];
    flow.tls = NGX_MESH_TLS_LOOPBACK;

    UNIT_STR(ngx_mesh_target_tls(&flow, NGX_MESH_OUTBOUND, NULL), "loopback");
    UNIT_STR(ngx_mesh_target_tls(&flow, NGX_MESH_INBOUND, peer), "true");
    UNIT_STR(ngx_mesh_target_tls(&flow, NGX_MESH_INBOUND, NULL),
             "no_identity");

    ngx_destroy_pool(pool);
    pool = NULL;
}


/* the next request of a connection is spared the look, until a new state */

static void
a_state_is_asked_once(void)
{
    make(MESH_ADDR_SERVICE);

    state.serial = 7;

    UNIT_OK(init() == NULL);
    UNIT_OK(init() == NULL);
    UNIT_EQ(asked, 1);
    UNIT_OK(flow.service == &service);

    state.serial = 8;
    verdict = NGX_DECLINED;

    UNIT_STR(init(), "unknown-destination");
    UNIT_EQ(asked, 2);
}


static void
inbound_keeps_its_endpoint(void)
{
    ngx_mesh_endpoint_t  *own;

    make(0);
    conn.direction = NGX_MESH_INBOUND;

    UNIT_OK(init() == NULL);
    own = target.own;

    UNIT_OK(init() == NULL);
    UNIT_OK(target.own == own);
}


UNIT_TESTS = {
    UNIT(needs_an_intercepted_connection),
    UNIT(unknown_inside_the_cluster_is_refused),
    UNIT(outside_goes_there_in_plaintext),
    UNIT(loopback_and_inbound_stay_in_the_pod),
    UNIT(meshed_pod_gets_mtls_with_its_identity),
    UNIT(meshed_pod_without_identity_is_refused),
    UNIT(plain_pod_gets_plaintext),
    UNIT(empty_service_has_its_own_code),
    UNIT(service_tries_each_endpoint_once),
    UNIT(answer_is_a_sample_once),
    UNIT(slot_that_became_anothers_is_left_alone),
    UNIT(fixed_endpoint_is_always_mtls),
    UNIT(tls_text_is_of_the_leg_that_counts),
    UNIT(a_state_is_asked_once),
    UNIT(inbound_keeps_its_endpoint),
    UNIT_END
};
