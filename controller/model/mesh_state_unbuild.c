
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * A checked snapshot back to records, sorted.  What an endpoint has from its
 * workload is not said twice: built again, the records give the same bytes.
 */

#include <mesh_core.h>

#include <mesh_state_build.h>


static int
mesh_unbuild_cmp(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}


static char *
mesh_unbuild_text(mesh_records_t *r, const mesh_state_view_t *view,
    const mesh_state_str_t *str)
{
    return str->len ? mesh_records_text(r, view->blob + str->offset, str->len)
                    : NULL;
}


static void
mesh_unbuild_workload(mesh_records_t *r, const mesh_state_view_t *view,
    const mesh_state_workload_t *w)
{
    uint32_t          i;
    mesh_workload_t  *wl;

    wl = mesh_records_workload(r);

    wl->namespace_ = mesh_unbuild_text(r, view, &w->namespace_);
    wl->pod = mesh_unbuild_text(r, view, &w->pod);
    wl->service_account = mesh_unbuild_text(r, view, &w->service_account);
    wl->identity = mesh_unbuild_text(r, view, &w->identity);
    wl->owner_kind = mesh_unbuild_text(r, view, &w->owner_kind);
    wl->owner = mesh_unbuild_text(r, view, &w->owner);
    wl->node = mesh_unbuild_text(r, view, &w->node);
    wl->zone = mesh_unbuild_text(r, view, &w->zone);
    wl->meshed = (w->flags & MESH_WL_MESHED) != 0;

    for (i = w->port; i < w->port + w->nports; i++) {
        mesh_records_port(r, wl, view->ports[i].port,
                          view->ports[i].protocol);
    }
}


static void
mesh_unbuild_service(mesh_records_t *r, const mesh_state_view_t *view,
    const mesh_state_service_t *s)
{
    uint32_t                      i;
    mesh_service_t               *service;
    mesh_endpoint_t              *endpoint;
    const mesh_state_endpoint_t  *e;
    const mesh_state_workload_t  *w;

    service = mesh_records_service(r);

    service->namespace_ = mesh_unbuild_text(r, view, &s->namespace_);
    service->name = mesh_unbuild_text(r, view, &s->name);
    service->port = s->port;
    service->protocol = s->protocol;

    for (i = s->endpoint; i < s->endpoint + s->nendpoints; i++) {
        e = &view->endpoints[i];
        endpoint = mesh_records_endpoint(r, service);

        memcpy(endpoint->ip, e->ip, 16);
        endpoint->port = e->port;
        endpoint->weight = e->weight;
        endpoint->identity = mesh_unbuild_text(r, view, &e->identity);

        if (e->workload == MESH_STATE_NONE) {
            continue;
        }

        w = &view->workloads[e->workload];

        endpoint->namespace_ = mesh_unbuild_text(r, view, &w->namespace_);
        endpoint->pod = mesh_unbuild_text(r, view, &w->pod);

        if ((w->flags & MESH_WL_MESHED)
            && mesh_unbuild_cmp(mesh_state_text(view, &w->identity),
                                   endpoint->identity) == 0)
        {
            endpoint->identity = NULL;     /* said by the workload */
        }
    }
}


mesh_records_t *
mesh_state_unbuild(const mesh_state_view_t *view)
{
    uint32_t                      i;
    mesh_records_t               *r;
    mesh_service_t              **services;
    mesh_workload_t             **workloads;
    mesh_address_t              **list;
    const mesh_state_addr_t      *addr;
    const mesh_state_head_t      *head;
    const mesh_state_workload_t  *self;

    head = view->head;
    r = mesh_records_new();

    r->generation = head->generation;
    r->complete = (head->flags & MESH_STATE_COMPLETE) != 0;
    r->pass_unknown = (head->flags & MESH_STATE_PASS_UNKNOWN) != 0;
    r->trust_domain = mesh_unbuild_text(r, view, &head->trust_domain);

    if (head->self != MESH_STATE_NONE) {
        self = &view->workloads[head->self];
        r->self_namespace = mesh_unbuild_text(r, view, &self->namespace_);
        r->self_pod = mesh_unbuild_text(r, view, &self->pod);
    }

    for (i = 0; i < head->networks.count; i++) {
        mesh_records_network(r, view->networks[i].ip, view->networks[i].bits);
    }

    workloads = mesh_records_alloc(r, (head->workloads.count + 1)
                                      * sizeof(void *));
    services = mesh_records_alloc(r, (head->services.count + 1)
                                     * sizeof(void *));

    for (i = 0; i < head->workloads.count; i++) {
        mesh_unbuild_workload(r, view, &view->workloads[i]);
        workloads[i] = r->workloads;
    }

    for (i = 0; i < head->services.count; i++) {
        mesh_unbuild_service(r, view, &view->services[i]);
        services[i] = r->services;
    }

    for (i = 0; i < head->addrs.count; i++) {
        addr = &view->addrs[i];

        if (addr->kind == MESH_ADDR_EMPTY) {
            continue;
        }

        list = addr->kind == MESH_ADDR_SERVICE
               ? &services[addr->index]->addresses
               : addr->kind == MESH_ADDR_WORKLOAD
               ? &workloads[addr->index]->addresses
               : &r->nobody;

        mesh_records_address(r, list, addr->ip, addr->port);
    }

    mesh_records_sort(r);

    return r;
}
