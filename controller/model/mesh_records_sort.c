
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The order of records: the same set of records gives the same snapshot and
 * the same text, whatever order they were made in.
 */

#include <mesh_core.h>

#include <mesh_records.h>


static int
mesh_sort_ip_cmp(const uint8_t *aip, unsigned aport, const uint8_t *bip,
    unsigned bport)
{
    int  rc;

    rc = memcmp(aip, bip, 16);

    return rc ? rc : (aport > bport) - (aport < bport);
}


static int
mesh_sort_workload_cmp(const void *one, const void *two)
{
    int                     rc;
    const mesh_workload_t  *a = *(mesh_workload_t * const *) one;
    const mesh_workload_t  *b = *(mesh_workload_t * const *) two;

    rc = strcmp(a->namespace_, b->namespace_);

    return rc ? rc : strcmp(a->pod, b->pod);
}


static int
mesh_sort_service_cmp(const void *one, const void *two)
{
    int                    rc;
    const mesh_service_t  *a = *(mesh_service_t * const *) one;
    const mesh_service_t  *b = *(mesh_service_t * const *) two;

    rc = strcmp(a->namespace_, b->namespace_);

    if (rc == 0) {
        rc = strcmp(a->name, b->name);
    }

    return rc ? rc : (a->port > b->port) - (a->port < b->port);
}


static int
mesh_sort_endpoint_cmp(const void *one, const void *two)
{
    const mesh_endpoint_t  *a = *(mesh_endpoint_t * const *) one;
    const mesh_endpoint_t  *b = *(mesh_endpoint_t * const *) two;

    return mesh_sort_ip_cmp(a->ip, a->port, b->ip, b->port);
}


static int
mesh_sort_port_cmp(const void *one, const void *two)
{
    const mesh_port_t  *a = *(mesh_port_t * const *) one;
    const mesh_port_t  *b = *(mesh_port_t * const *) two;

    return (a->port > b->port) - (a->port < b->port);
}


static int
mesh_sort_network_cmp(const void *one, const void *two)
{
    const mesh_network_t  *a = *(mesh_network_t * const *) one;
    const mesh_network_t  *b = *(mesh_network_t * const *) two;

    return mesh_sort_ip_cmp(a->ip, a->bits, b->ip, b->bits);
}


static int
mesh_sort_address_cmp(const void *one, const void *two)
{
    const mesh_address_t  *a = *(mesh_address_t * const *) one;
    const mesh_address_t  *b = *(mesh_address_t * const *) two;

    return mesh_sort_ip_cmp(a->ip, a->port, b->ip, b->port);
}


/*
 * Every record of a list starts with its next pointer, so one function sorts
 * them all: into an array, by cmp, and back into the list.
 */

typedef struct mesh_sort_link_s  mesh_sort_link_t;

struct mesh_sort_link_s {
    mesh_sort_link_t  *next;
};


static void
mesh_sort_list(mesh_records_t *records, void *list,
    int (*cmp)(const void *, const void *))
{
    size_t              i, n;
    mesh_sort_link_t   *link, **head, **array;

    head = list;

    for (n = 0, link = *head; link; link = link->next) {
        n++;
    }

    if (n < 2) {
        return;
    }

    array = mesh_records_alloc(records, (n + 1) * sizeof(void *));

    for (i = 0, link = *head; link; link = link->next) {
        array[i++] = link;
    }

    qsort(array, n, sizeof(void *), cmp);

    for (i = 0; i < n; i++) {
        array[i]->next = array[i + 1];     /* the last one is NULL */
    }

    *head = array[0];
}


void
mesh_records_sort(mesh_records_t *records)
{
    mesh_service_t   *service;
    mesh_workload_t  *wl;

    mesh_sort_list(records, &records->networks, mesh_sort_network_cmp);
    mesh_sort_list(records, &records->workloads, mesh_sort_workload_cmp);
    mesh_sort_list(records, &records->services, mesh_sort_service_cmp);
    mesh_sort_list(records, &records->nobody, mesh_sort_address_cmp);

    for (wl = records->workloads; wl; wl = wl->next) {
        mesh_sort_list(records, &wl->addresses, mesh_sort_address_cmp);
        mesh_sort_list(records, &wl->ports, mesh_sort_port_cmp);
    }

    for (service = records->services; service; service = service->next) {
        mesh_sort_list(records, &service->addresses, mesh_sort_address_cmp);
        mesh_sort_list(records, &service->endpoints, mesh_sort_endpoint_cmp);
    }
}
