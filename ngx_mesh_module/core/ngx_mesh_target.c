
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The way from a destination to an endpoint.  Fails shut: what is inside the
 * cluster and not known gets no connection, and what is meshed gets mutual
 * TLS or none.  The exceptions to the latter are the pod itself and the two
 * ports that a sidecar never intercepts.
 */

#include <ngx_mesh_target.h>
#include <ngx_mesh_ewma.h>


static ngx_int_t ngx_mesh_target_verdict(ngx_mesh_conn_t *conn,
    ngx_mesh_state_t *state, const mesh_state_addr_t **entry);
static const char *ngx_mesh_target_workload(ngx_mesh_target_t *target,
    uint32_t index);
static ngx_mesh_endpoint_t *ngx_mesh_target_own(ngx_mesh_conn_t *conn,
    ngx_pool_t *pool);
static ngx_mesh_tls_e ngx_mesh_target_plain(ngx_mesh_conn_t *conn,
    ngx_mesh_tls_e tls);
static ngx_mesh_tls_e ngx_mesh_target_endpoint_tls(ngx_mesh_target_t *target,
    const mesh_state_endpoint_t *record);
static ngx_uint_t ngx_mesh_target_bare_port(ngx_uint_t port);


const char *
ngx_mesh_target_init(ngx_mesh_target_t *target, ngx_mesh_flow_t *flow,
    ngx_pool_t *pool)
{
    ngx_int_t                    rc;
    ngx_mesh_conn_t             *conn;
    ngx_mesh_state_t            *state;
    const mesh_state_addr_t     *entry;
    const mesh_state_service_t  *service;

    ngx_memzero(target, sizeof(ngx_mesh_target_t));

    target->flow = flow;
    conn = flow->conn;

    if (conn == NULL) {
        return "not-intercepted";
    }

    if (flow->state == NULL) {
        flow->state = ngx_mesh_state_pin(pool);
    }

    state = flow->state;
    entry = NULL;

    if (conn->direction == NGX_MESH_OUTBOUND) {

        rc = ngx_mesh_target_verdict(conn, state, &entry);

        if (rc != NGX_OK && !(rc == NGX_AGAIN && conn->passed)) {
            return "unknown-destination";
        }

        if (entry && entry->kind == MESH_ADDR_SERVICE) {
            service = &state->view.services[entry->index];
            flow->service = service;

            target->endpoints = &state->endpoints[service->endpoint];
            target->n = service->nendpoints;

            return target->n ? NULL : "no-endpoints";
        }
    }

    target->own = ngx_mesh_target_own(conn, pool);
    if (target->own == NULL) {
        return "internal";
    }

    if (entry) {
        return ngx_mesh_target_workload(target, entry->index);
    }

    if (conn->direction == NGX_MESH_INBOUND
        || ngx_mesh_addr_loopback(&conn->dst))
    {
        target->own_tls = NGX_MESH_TLS_LOOPBACK;

    } else {
        target->own_tls = ngx_mesh_target_plain(conn, NGX_MESH_TLS_UNKNOWN);
    }

    return NULL;
}


/* all requests of a connection go to one address: a state is asked once */

static ngx_int_t
ngx_mesh_target_verdict(ngx_mesh_conn_t *conn, ngx_mesh_state_t *state,
    const mesh_state_addr_t **entry)
{
    ngx_int_t  rc;

    if (conn->serial && state && conn->serial == state->serial) {
        *entry = conn->entry;
        return NGX_OK;
    }

    rc = ngx_mesh_state_verdict(state, &conn->dst, entry);

    if (rc == NGX_OK && state) {
        conn->serial = state->serial;
        conn->entry = *entry;
    }

    return rc;
}


static const char *
ngx_mesh_target_workload(ngx_mesh_target_t *target, uint32_t index)
{
    ngx_str_t                    *identity;
    ngx_mesh_conn_t              *conn;
    const mesh_state_view_t      *view;
    const mesh_state_workload_t  *workload;

    conn = target->flow->conn;
    view = &target->flow->state->view;
    workload = &view->workloads[index];

    if (index == view->head->self) {
        target->own_tls = NGX_MESH_TLS_LOOPBACK;
        return NULL;
    }

    if (!(workload->flags & MESH_WL_MESHED)
        || ngx_mesh_target_bare_port(conn->dst.port))
    {
        target->own_tls = ngx_mesh_target_plain(conn, NGX_MESH_TLS_NONE);
        return NULL;
    }

    identity = &target->own->identity;
    identity->data = (u_char *) mesh_state_text(view, &workload->identity);
    identity->len = workload->identity.len;

    target->own_tls = NGX_MESH_TLS_MTLS;

    return identity->len ? NULL : "no-identity";
}


/* inbound it is always the same, outbound its identity may change */

static ngx_mesh_endpoint_t *
ngx_mesh_target_own(ngx_mesh_conn_t *conn, ngx_pool_t *pool)
{
    ngx_uint_t            inbound;
    ngx_mesh_endpoint_t  *own;

    inbound = (conn->direction == NGX_MESH_INBOUND);

    if (inbound && conn->own) {
        return conn->own;
    }

    own = ngx_pcalloc(inbound ? conn->connection->pool : pool,
                      sizeof(ngx_mesh_endpoint_t));
    if (own == NULL) {
        return NULL;
    }

    own->sockaddr = conn->dst_sockaddr;
    own->socklen = conn->dst_socklen;
    own->name = conn->dst_text;

    if (inbound) {
        conn->own = own;
    }

    return own;
}


void
ngx_mesh_target_fixed(ngx_mesh_target_t *target, ngx_mesh_flow_t *flow,
    ngx_mesh_endpoint_t *endpoint)
{
    ngx_memzero(target, sizeof(ngx_mesh_target_t));

    target->flow = flow;
    target->own = endpoint;
    target->own_tls = NGX_MESH_TLS_MTLS;
}


ngx_uint_t
ngx_mesh_target_tries(ngx_mesh_target_t *target)
{
    return target->own ? 1 : ngx_min(target->n, NGX_MESH_BALANCER_TRIES);
}


ngx_int_t
ngx_mesh_target_next(ngx_mesh_target_t *target, uint64_t now_us,
    uint32_t rnd)
{
    ngx_int_t         i;
    ngx_mesh_flow_t  *flow;

    flow = target->flow;

    if (target->own) {

        if (target->tried.n) {
            return NGX_BUSY;
        }

        i = 0;

        flow->endpoint = target->own;
        flow->tls = target->own_tls;

    } else {
        i = ngx_mesh_balancer_pick(target->endpoints, target->n,
                                   &target->tried, now_us, rnd);
        if (i < 0) {
            return NGX_BUSY;
        }

        flow->endpoint = &target->endpoints[i];
        flow->tls = ngx_mesh_target_endpoint_tls(target,
                                                 flow->endpoint->record);
        target->slot = flow->endpoint->slot;
    }

    if (ngx_mesh_tried_add(&target->tried, i) != NGX_OK) {
        return NGX_BUSY;
    }

    target->index = i;
    target->start_us = now_us;

    if (target->slot) {
        target->key = target->slot->key;
        ngx_mesh_ewma_outstanding(target->slot, ngx_mesh_zone_proc(), 1);
    }

    return NGX_OK;
}


void
ngx_mesh_target_done(ngx_mesh_target_t *target, ngx_mesh_try_e result,
    uint64_t latency_us, uint64_t now_us)
{
    ngx_mesh_slot_t  *slot;

    slot = target->slot;
    target->slot = NULL;

    /* the slot may be somebody else's by now */

    if (slot == NULL || slot->key != target->key) {
        return;
    }

    ngx_mesh_ewma_outstanding(slot, ngx_mesh_zone_proc(), -1);

    switch (result) {

    case NGX_MESH_TRY_ANSWERED:
        ngx_mesh_ewma_add(slot, latency_us, now_us);
        break;

    case NGX_MESH_TRY_FAILED:
        ngx_mesh_ewma_fail(slot, latency_us, now_us);
        break;

    default:
        break;
    }
}


void
ngx_mesh_target_again(ngx_mesh_target_t *target)
{
    ngx_mesh_tried_remove(&target->tried, target->index);
}


const char *
ngx_mesh_target_tls(ngx_mesh_flow_t *flow, ngx_mesh_direction_e direction,
    ngx_mesh_peer_t *peer)
{
    ngx_mesh_tls_e  tls;

    static const char  *text[] = {
        "no_identity", "true", "opaque", "loopback", "unknown"
    };

    tls = flow->tls;

    if (direction == NGX_MESH_INBOUND) {
        tls = peer ? NGX_MESH_TLS_MTLS
                   : ngx_mesh_target_plain(flow->conn, NGX_MESH_TLS_NONE);

    } else if (flow->endpoint == NULL) {
        return "";
    }

    return text[tls];
}


/* what plaintext of ours is called: the application may have its own TLS */

static ngx_mesh_tls_e
ngx_mesh_target_plain(ngx_mesh_conn_t *conn, ngx_mesh_tls_e tls)
{
    if (conn && (conn->sni.len || conn->protocol == MESH_PROTO_TLS)) {
        return NGX_MESH_TLS_FOREIGN;
    }

    return tls;
}


static ngx_mesh_tls_e
ngx_mesh_target_endpoint_tls(ngx_mesh_target_t *target,
    const mesh_state_endpoint_t *record)
{
    const mesh_state_head_t  *head;

    head = target->flow->state->view.head;

    if (record->workload != MESH_STATE_NONE && record->workload == head->self)
    {
        return NGX_MESH_TLS_LOOPBACK;
    }

    if ((record->flags & MESH_WL_MESHED)
        && !ngx_mesh_target_bare_port(record->port))
    {
        return NGX_MESH_TLS_MTLS;
    }

    return ngx_mesh_target_plain(target->flow->conn, NGX_MESH_TLS_NONE);
}


static ngx_uint_t
ngx_mesh_target_bare_port(ngx_uint_t port)
{
    return port == MESH_PORT_CONTROL || port == MESH_PORT_ADMIN;
}
