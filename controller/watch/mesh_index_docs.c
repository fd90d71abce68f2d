
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Documents of one pod or one service.  Fail-shut decides the odd cases: an
 * endpoint that a slice says is a pod counts only when the pod is known and
 * has that address, because whether it is meshed stands in the pod alone.
 */

#include <mesh_index_core.h>


/* endpoints of one service port while they are collected */

typedef struct {
    mesh_index_t          *index;
    const mesh_object_t   *service;
    mesh_doc_endpoint_t   *endpoints;
    const mesh_object_t  **pods;             /* parallel; NULL: not a pod */
    size_t                 n;
    size_t                 max;
    const char            *app_protocol;     /* what the slices say */
    int                    opaque;           /* a pod says so */
} mesh_index_list_t;


static void mesh_index_port(mesh_index_list_t *list,
    const mesh_index_item_t *item, const mesh_service_port_t *port,
    mesh_doc_service_port_t *out);
static void mesh_index_by_slices(mesh_index_list_t *list,
    const mesh_map_t *slices, const mesh_service_port_t *port);
static void mesh_index_slice_port(mesh_index_list_t *list,
    const mesh_object_t *slice, const mesh_slice_port_t *port);
static int mesh_index_slice_pod(mesh_index_list_t *list,
    const mesh_slice_endpoint_t *ep, const mesh_object_t **pod);
static int mesh_index_has_address(const mesh_object_t *pod, const char *ip);
static void mesh_index_by_selector(mesh_index_list_t *list,
    const mesh_index_item_t *item, const mesh_service_port_t *port);
static const char *mesh_index_address(const mesh_object_t *pod, int family);
static uint16_t mesh_index_target(const mesh_object_t *pod,
    const mesh_service_port_t *port);
static mesh_doc_endpoint_t *mesh_index_endpoint(mesh_index_list_t *list,
    const mesh_object_t *pod, const char *address, uint16_t port);
static void mesh_index_settle(mesh_index_list_t *list);
static int mesh_index_other_family(const mesh_index_list_t *list, size_t i);
static int mesh_index_by_address(const void *a, const void *b);
static int mesh_index_service_opaque(const mesh_index_item_t *item,
    uint16_t port);
static int mesh_index_pod_opaque(const mesh_index_t *index,
    const mesh_object_t *pod, uint16_t port);
static const char *mesh_index_zone(const mesh_index_t *index,
    const char *node);
static const char *mesh_index_identity(const mesh_index_t *index,
    const mesh_object_t *pod, char *buf, size_t size);


void
mesh_index_docs_pod(mesh_index_t *index, mesh_index_item_t *item)
{
    char                  name[MESH_OBJECT_KEY_MAX], key[MESH_DOC_KEY_MAX];
    char                  identity[MESH_ID_MAX_BYTES];
    size_t                i;
    mesh_doc_t            doc;
    const mesh_pod_t     *pod;
    mesh_doc_port_t      *ports;
    const mesh_object_t  *object;

    object = item->object;
    pod = &object->u.pod;

    if (pod->over) {
        return;                     /* its address may be another's by now */
    }

    ports = mesh_mem_new(pod->nports * sizeof(mesh_doc_port_t));

    for (i = 0; i < pod->nports; i++) {
        ports[i].port = pod->ports[i].port;
        ports[i].name = pod->ports[i].name;
        ports[i].protocol = mesh_index_pod_opaque(index, object,
                                                  ports[i].port)
                            ? MESH_PROTO_OPAQUE
                            : mesh_object_protocol("", ports[i].name);
    }

    memset(&doc, 0, sizeof(doc));

    doc.kind = MESH_DOC_WORKLOAD;
    doc.u.workload.namespace_ = object->namespace_;
    doc.u.workload.pod = object->name;
    doc.u.workload.service_account = pod->service_account;
    doc.u.workload.identity = mesh_index_identity(index, object, identity,
                                                  sizeof(identity));
    doc.u.workload.node = pod->node;
    doc.u.workload.zone = mesh_index_zone(index, pod->node);
    doc.u.workload.owner = pod->owner;
    doc.u.workload.addresses = pod->addresses;
    doc.u.workload.naddresses = pod->host_network ? 0 : pod->naddresses;
    doc.u.workload.ports = ports;
    doc.u.workload.nports = pod->nports;
    doc.u.workload.meshed = pod->meshed;

    snprintf(name, sizeof(name), "%s/%s", object->namespace_, object->name);

    mesh_index_claim_take(index, item,
                          mesh_doc_key_workload(key, sizeof(key), name),
                          mesh_mem_must(mesh_doc_print(&doc)));
    free(ports);

    if (pod->host_network) {
        return;                     /* the address is the node's */
    }

    memset(&doc, 0, sizeof(doc));

    doc.kind = MESH_DOC_IP;
    doc.u.ip.workload = name;

    for (i = 0; i < pod->naddresses; i++) {
        mesh_index_claim_take(index, item,
                              mesh_doc_key_ip(key, sizeof(key),
                                              pod->addresses[i]),
                              mesh_mem_must(mesh_doc_print(&doc)));
    }
}


void
mesh_index_docs_service(mesh_index_t *index, mesh_index_item_t *item)
{
    char                   name[MESH_OBJECT_KEY_MAX], key[MESH_DOC_KEY_MAX];
    size_t                 i, n;
    mesh_doc_t             doc, vip;
    mesh_index_list_t      list;
    const mesh_object_t   *object;
    const mesh_service_t  *svc;

    object = item->object;
    svc = &object->u.service;

    if (svc->external) {
        return;                     /* DNS answers with another name */
    }

    memset(&doc, 0, sizeof(doc));

    doc.kind = MESH_DOC_SERVICE;
    doc.u.service.namespace_ = object->namespace_;
    doc.u.service.name = object->name;
    doc.u.service.addresses = svc->addresses;
    doc.u.service.naddresses = svc->naddresses;
    doc.u.service.nports = svc->nports;
    doc.u.service.ports = mesh_mem_new(svc->nports
                                       * sizeof(mesh_doc_service_port_t));

    for (i = 0; i < svc->nports; i++) {
        memset(&list, 0, sizeof(list));
        list.index = index;
        list.service = object;

        mesh_index_port(&list, item, &svc->ports[i],
                        &doc.u.service.ports[i]);
    }

    snprintf(name, sizeof(name), "%s/%s", object->namespace_, object->name);

    mesh_index_claim_take(index, item,
                          mesh_doc_key_service(key, sizeof(key), name),
                          mesh_mem_must(mesh_doc_print(&doc)));

    for (i = 0; i < svc->nports; i++) {
        for (n = 0; n < doc.u.service.ports[i].nendpoints; n++) {
            free((char *) doc.u.service.ports[i].endpoints[n].identity);
            free((char *) doc.u.service.ports[i].endpoints[n].workload);
        }

        free(doc.u.service.ports[i].endpoints);
    }

    free(doc.u.service.ports);

    memset(&vip, 0, sizeof(vip));

    vip.kind = MESH_DOC_VIP;
    vip.u.vip.service = name;

    for (n = 0; n < svc->naddresses; n++) {
        for (i = 0; i < svc->nports; i++) {
            vip.u.vip.port = svc->ports[i].port;

            mesh_index_claim_take(index, item,
                                  mesh_doc_key_vip(key, sizeof(key),
                                                   svc->addresses[n],
                                                   svc->ports[i].port),
                                  mesh_mem_must(mesh_doc_print(&vip)));
        }
    }
}


static void
mesh_index_port(mesh_index_list_t *list, const mesh_index_item_t *item,
    const mesh_service_port_t *port, mesh_doc_service_port_t *out)
{
    char               name[MESH_OBJECT_KEY_MAX];
    const mesh_map_t  *slices;

    list->app_protocol = port->app_protocol;

    snprintf(name, sizeof(name), "%s/%s", list->service->namespace_,
             list->service->name);

    slices = mesh_map_get(&list->index->service_slices, name);

    if (slices) {
        mesh_index_by_slices(list, slices, port);

    } else if (list->service->u.service.selector.n) {
        mesh_index_by_selector(list, item, port);
    }

    mesh_index_settle(list);

    out->name = port->name;
    out->port = port->port;
    out->endpoints = list->endpoints;
    out->nendpoints = list->n;
    out->protocol = (list->opaque
                     || mesh_index_service_opaque(item, port->port))
                    ? MESH_PROTO_OPAQUE
                    : mesh_object_protocol(list->app_protocol, port->name);

    free(list->pods);
}


static void
mesh_index_by_slices(mesh_index_list_t *list, const mesh_map_t *slices,
    const mesh_service_port_t *port)
{
    size_t                    i, n;
    const char               *said;
    const mesh_object_t      *slice;
    const mesh_slice_port_t  *p;

    said = "";

    for (i = 0; (slice = mesh_map_next(slices, &i, NULL)) != NULL; ) {

        for (n = 0; n < slice->u.slice.nports; n++) {
            p = &slice->u.slice.ports[n];

            if (strcmp(p->name, port->name) != 0) {
                continue;
            }

            mesh_index_slice_port(list, slice, p);

            if (strcmp(p->app_protocol, said) > 0) {
                said = p->app_protocol;
            }
        }
    }

    /* the slices copy it from the service; the service's own word counts */

    if (list->app_protocol[0] == '\0') {
        list->app_protocol = said;
    }
}


static void
mesh_index_slice_port(mesh_index_list_t *list, const mesh_object_t *slice,
    const mesh_slice_port_t *port)
{
    size_t                        i;
    const mesh_object_t          *pod;
    mesh_doc_endpoint_t          *out;
    const mesh_slice_endpoint_t  *ep;

    for (i = 0; i < slice->u.slice.nendpoints; i++) {
        ep = &slice->u.slice.endpoints[i];

        if (!ep->ready || ep->naddresses == 0
            || !mesh_index_slice_pod(list, ep, &pod))
        {
            continue;
        }

        out = mesh_index_endpoint(list, pod, ep->addresses[0], port->port);

        if (out->node[0] == '\0') {
            out->node = ep->node;
        }

        if (out->zone[0] == '\0') {
            out->zone = ep->zone;
        }
    }
}


/* 0: says that it is a pod, but cannot be vouched for */

static int
mesh_index_slice_pod(mesh_index_list_t *list, const mesh_slice_endpoint_t *ep,
    const mesh_object_t **pod)
{
    const mesh_object_t  *named;

    *pod = mesh_index_pod_of(list->index, ep->addresses[0]);

    if (ep->pod[0] == '\0') {
        return 1;
    }

    named = mesh_index_pod(list->index, ep->pod);

    if (named == NULL || named->u.pod.over
        || !mesh_index_has_address(named, ep->addresses[0]))
    {
        return 0;
    }

    if (named->u.pod.host_network) {
        *pod = named;
        return 1;
    }

    return *pod == named;
}


static int
mesh_index_has_address(const mesh_object_t *pod, const char *ip)
{
    size_t  i;

    for (i = 0; i < pod->u.pod.naddresses; i++) {
        if (strcmp(pod->u.pod.addresses[i], ip) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
mesh_index_by_selector(mesh_index_list_t *list, const mesh_index_item_t *item,
    const mesh_service_port_t *port)
{
    uint16_t                  target;
    const char               *address;
    const mesh_pod_t         *pod;
    const mesh_service_t     *svc;
    const mesh_index_item_t  *p;

    svc = &list->service->u.service;

    LIST_FOREACH(p, &item->ns->pods, in_ns) {
        if (p->object == NULL
            || !mesh_pairs_match(&svc->selector, &p->object->labels))
        {
            continue;
        }

        pod = &p->object->u.pod;

        if (pod->over || pod->naddresses == 0
            || !(svc->publish_not_ready
                 || (pod->serving && !pod->terminating)))
        {
            continue;
        }

        target = mesh_index_target(p->object, port);
        address = mesh_index_address(p->object, svc->family);

        if (target) {
            mesh_index_endpoint(list, p->object, address, target);
        }
    }
}


/* of the service's first family, else what there is */

static const char *
mesh_index_address(const mesh_object_t *pod, int family)
{
    size_t  i;

    for (i = 0; family && i < pod->u.pod.naddresses; i++) {
        if ((strchr(pod->u.pod.addresses[i], ':') != NULL) == (family == 6)) {
            return pod->u.pod.addresses[i];
        }
    }

    return pod->u.pod.addresses[0];
}


/* 0: the pod has no port of that name */

static uint16_t
mesh_index_target(const mesh_object_t *pod, const mesh_service_port_t *port)
{
    size_t  i;

    if (port->target_name[0] == '\0') {
        return port->target;
    }

    for (i = 0; i < pod->u.pod.nports; i++) {
        if (strcmp(pod->u.pod.ports[i].name, port->target_name) == 0) {
            return pod->u.pod.ports[i].port;
        }
    }

    return 0;
}


static mesh_doc_endpoint_t *
mesh_index_endpoint(mesh_index_list_t *list, const mesh_object_t *pod,
    const char *address, uint16_t port)
{
    char                  identity[MESH_ID_MAX_BYTES];
    mesh_doc_endpoint_t  *ep;

    if (list->n == list->max) {
        list->max = list->max ? list->max * 2 : 8;
        list->endpoints = mesh_mem_grow(list->endpoints, list->max,
                                        sizeof(mesh_doc_endpoint_t));
        list->pods = mesh_mem_grow(list->pods, list->max,
                                   sizeof(mesh_object_t *));
    }

    list->pods[list->n] = pod;
    ep = &list->endpoints[list->n++];

    memset(ep, 0, sizeof(mesh_doc_endpoint_t));

    ep->address = address;
    ep->port = port;
    ep->weight = 1;
    ep->service_account = "";
    ep->node = "";
    ep->zone = "";
    ep->owner.kind = "";
    ep->owner.name = "";

    if (pod == NULL) {
        return ep;
    }

    ep->workload = mesh_mem_printf("%s/%s", pod->namespace_, pod->name);
    ep->identity = mesh_mem_str(mesh_index_identity(list->index, pod,
                                                    identity,
                                                    sizeof(identity)));
    ep->service_account = pod->u.pod.service_account;
    ep->node = pod->u.pod.node;
    ep->zone = mesh_index_zone(list->index, pod->u.pod.node);
    ep->owner = pod->u.pod.owner;
    ep->meshed = pod->u.pod.meshed;

    if (mesh_index_pod_opaque(list->index, pod, port)) {
        list->opaque = 1;
    }

    return ep;
}


/* sorted, each address once, each pod in one family */

static void
mesh_index_settle(mesh_index_list_t *list)
{
    size_t  i, n;

    for (i = 0, n = 0; i < list->n; i++) {
        if (mesh_index_other_family(list, i)) {
            list->endpoints[i].port = 0;
        }
    }

    if (list->n) {
        qsort(list->endpoints, list->n, sizeof(mesh_doc_endpoint_t),
              mesh_index_by_address);
    }

    for (i = 0; i < list->n; i++) {
        if (list->endpoints[i].port == 0
            || (n && mesh_index_by_address(&list->endpoints[n - 1],
                                           &list->endpoints[i]) == 0))
        {
            free((char *) list->endpoints[i].identity);
            free((char *) list->endpoints[i].workload);
            continue;
        }

        list->endpoints[n++] = list->endpoints[i];
    }

    list->n = n;
}


/*
 * A dual-stack service has slices of both families: a pod that is there in
 * the service's first family is not counted a second time.
 */

static int
mesh_index_other_family(const mesh_index_list_t *list, size_t i)
{
    int     family;
    size_t  n;

    family = list->service->u.service.family;

    if (family == 0) {
        family = 4;
    }

    if (list->pods[i] == NULL || list->pods[i]->u.pod.naddresses < 2
        || (strchr(list->endpoints[i].address, ':') != NULL) == (family == 6))
    {
        return 0;
    }

    for (n = 0; n < list->n; n++) {
        if (list->pods[n] == list->pods[i]
            && (strchr(list->endpoints[n].address, ':') != NULL)
               == (family == 6))
        {
            return 1;
        }
    }

    return 0;
}


static int
mesh_index_by_address(const void *a, const void *b)
{
    int                         rc;
    const mesh_doc_endpoint_t  *p = a, *q = b;

    rc = strcmp(p->address, q->address);
    if (rc) {
        return rc;
    }

    rc = (int) p->port - (int) q->port;
    if (rc) {
        return rc;
    }

    /* pods of the host's network share addresses */

    return strcmp(p->workload ? p->workload : "",
                  q->workload ? q->workload : "");
}


static int
mesh_index_service_opaque(const mesh_index_item_t *item, uint16_t port)
{
    const mesh_opaque_t  *opaque;

    opaque = &item->object->opaque;

    if (!opaque->given && item->ns->object) {
        opaque = &item->ns->object->opaque;
    }

    return mesh_opaque_has(opaque, port);
}


static int
mesh_index_pod_opaque(const mesh_index_t *index, const mesh_object_t *pod,
    uint16_t port)
{
    const mesh_opaque_t    *opaque;
    const mesh_index_ns_t  *ns;

    opaque = &pod->opaque;

    if (!opaque->given) {
        ns = mesh_map_get(&index->namespaces, pod->namespace_);

        if (ns && ns->object) {
            opaque = &ns->object->opaque;
        }
    }

    return mesh_opaque_has(opaque, port);
}


static const char *
mesh_index_zone(const mesh_index_t *index, const char *node)
{
    const mesh_object_t  *object;

    object = mesh_map_get(&index->nodes, node);

    return object ? object->u.node.zone : "";
}


static const char *
mesh_index_identity(const mesh_index_t *index, const mesh_object_t *pod,
    char *buf, size_t size)
{
    snprintf(buf, size, "spiffe://%s/ns/%s/sa/%s", index->trust_domain,
             pod->namespace_, pod->u.pod.service_account);

    return buf;
}
