
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Builds the snapshot in one allocation: measure, sort, fill section after
 * section, sum up.  Strings are interned, the address table has at least
 * twice as many slots as addresses.
 */

#include <mesh_core.h>

#include <mesh_state_build.h>


#define MESH_BUILD_SLOTS_MIN  8


typedef struct {
    uint8_t                 ip[16];
    uint16_t                port;
    uint8_t                 kind;
    uint32_t                index;
    unsigned                line;
} mesh_build_addr_t;


typedef struct {
    mesh_records_t         *records;
    mesh_err_t             *err;
    unsigned                line;          /* of the record that is wrong */

    mesh_workload_t       **workloads;     /* sorted by namespace, pod */
    mesh_service_t        **services;      /* by namespace, name, port */
    mesh_build_addr_t      *addrs;         /* by ip, port */

    size_t                  nworkloads;
    size_t                  nservices;
    size_t                  naddrs;
    size_t                  nendpoints;
    size_t                  nports;
    size_t                  nnetworks;
    size_t                  nstrings;      /* before interning */
    size_t                  nbytes;

    char                   *base;
    mesh_state_head_t      *head;
    size_t                  used;          /* bytes of base */

    uint32_t               *interned;      /* offsets, 0: free */
    size_t                  mask;
} mesh_build_t;


static int mesh_build_fail(mesh_build_t *b, unsigned line, const char *fmt,
    ...);
static void mesh_build_measure(mesh_build_t *b);
static int mesh_build_order(mesh_build_t *b);
static int mesh_build_addrs(mesh_build_t *b);
static int mesh_build_layout(mesh_build_t *b);
static int mesh_build_services(mesh_build_t *b);
static int mesh_build_endpoint(mesh_build_t *b, mesh_endpoint_t *endpoint,
    mesh_state_endpoint_t *e);
static int mesh_build_workloads(mesh_build_t *b);
static void mesh_build_networks(mesh_build_t *b);
static void mesh_build_table(mesh_build_t *b);
static int mesh_build_self(mesh_build_t *b);
static void mesh_build_string(mesh_build_t *b, mesh_state_str_t *str,
    const char *text);


void *
mesh_state_build(mesh_records_t *records, size_t *size, unsigned *line,
    mesh_err_t *err)
{
    mesh_build_t  b;

    memset(&b, 0, sizeof(mesh_build_t));

    b.records = records;
    b.err = err;

    if (mesh_build_order(&b) != 0
        || mesh_build_addrs(&b) != 0
        || mesh_build_layout(&b) != 0
        || mesh_build_workloads(&b) != 0
        || mesh_build_services(&b) != 0
        || mesh_build_self(&b) != 0)
    {
        free(b.base);

        if (line) {
            *line = b.line;
        }

        return NULL;
    }

    mesh_build_networks(&b);
    mesh_build_table(&b);

    b.used = (b.used + 7) & ~(size_t) 7;

    b.head->blob.count = (uint32_t) (b.used - b.head->blob.offset);
    b.head->size = b.used;
    b.head->crc = mesh_crc32c(0, b.base, b.used);

    *size = b.used;

    return b.base;
}


static int
mesh_build_fail(mesh_build_t *b, unsigned line, const char *fmt, ...)
{
    va_list  args;

    b->line = line;

    va_start(args, fmt);
    (void) vsnprintf(b->err->text, sizeof(b->err->text), fmt, args);
    va_end(args);

    return MESH_ERROR;
}


/* sorts all lists and refuses names that are there twice */

static int
mesh_build_order(mesh_build_t *b)
{
    size_t            i;
    mesh_service_t   *service, *last;
    mesh_workload_t  *wl, *before;

    mesh_records_sort(b->records);
    mesh_build_measure(b);

    b->workloads = mesh_records_alloc(b->records,
                                      b->nworkloads * sizeof(void *));
    b->services = mesh_records_alloc(b->records,
                                     b->nservices * sizeof(void *));
    before = NULL;

    for (i = 0, wl = b->records->workloads; wl; wl = wl->next) {

        if (before && strcmp(before->namespace_, wl->namespace_) == 0
            && strcmp(before->pod, wl->pod) == 0)
        {
            return mesh_build_fail(b, mesh_max(wl->line, before->line),
                                   "workload \"%s/%s\" is there twice",
                                   wl->namespace_, wl->pod);
        }

        wl->index = (uint32_t) i;
        b->workloads[i++] = wl;
        before = wl;
    }

    last = NULL;

    for (i = 0, service = b->records->services; service;
         service = service->next)
    {
        if (last && last->port == service->port
            && strcmp(last->namespace_, service->namespace_) == 0
            && strcmp(last->name, service->name) == 0)
        {
            return mesh_build_fail(b, mesh_max(service->line, last->line),
                                   "service \"%s/%s:%u\" is there twice",
                                   service->namespace_, service->name,
                                   service->port);
        }

        b->services[i++] = service;
        last = service;
    }

    return MESH_OK;
}


static void
mesh_build_measure_text(mesh_build_t *b, const char *text)
{
    if (text) {
        b->nstrings++;
        b->nbytes += strlen(text) + 1;
    }
}


/* upper bounds of all that the file will hold */

static void
mesh_build_measure(mesh_build_t *b)
{
    mesh_port_t      *port;
    mesh_address_t   *address;
    mesh_network_t   *network;
    mesh_service_t   *service;
    mesh_endpoint_t  *endpoint;
    mesh_workload_t  *wl;

    mesh_build_measure_text(b, b->records->trust_domain);

    for (network = b->records->networks; network; network = network->next) {
        b->nnetworks++;
    }

    for (wl = b->records->workloads; wl; wl = wl->next) {
        b->nworkloads++;

        mesh_build_measure_text(b, wl->namespace_);
        mesh_build_measure_text(b, wl->pod);
        mesh_build_measure_text(b, wl->service_account);
        mesh_build_measure_text(b, wl->identity);
        mesh_build_measure_text(b, wl->owner_kind);
        mesh_build_measure_text(b, wl->owner);
        mesh_build_measure_text(b, wl->node);
        mesh_build_measure_text(b, wl->zone);

        for (address = wl->addresses; address; address = address->next) {
            b->naddrs++;
        }

        for (port = wl->ports; port; port = port->next) {
            b->nports++;
        }
    }

    for (service = b->records->services; service; service = service->next) {
        b->nservices++;

        mesh_build_measure_text(b, service->namespace_);
        mesh_build_measure_text(b, service->name);

        for (address = service->addresses; address; address = address->next) {
            b->naddrs++;
        }

        for (endpoint = service->endpoints; endpoint;
             endpoint = endpoint->next)
        {
            mesh_build_measure_text(b, endpoint->identity);
            b->nendpoints++;
        }
    }

    for (address = b->records->nobody; address; address = address->next) {
        b->naddrs++;
    }
}


static int
mesh_build_slot_cmp(const void *one, const void *two)
{
    int                       rc;
    const mesh_build_addr_t  *a = one;
    const mesh_build_addr_t  *b = two;

    rc = memcmp(a->ip, b->ip, 16);

    return rc ? rc : (a->port > b->port) - (a->port < b->port);
}


static void
mesh_build_addrs_of(mesh_build_t *b, size_t *n, mesh_address_t *list,
    uint8_t kind, uint32_t index)
{
    mesh_address_t     *address;
    mesh_build_addr_t  *addr;

    for (address = list; address; address = address->next) {
        addr = &b->addrs[(*n)++];

        memcpy(addr->ip, address->ip, 16);
        addr->port = address->port;
        addr->kind = kind;
        addr->index = index;
        addr->line = address->line;
    }
}


/* all addresses in one sorted array; one address means one thing */

static int
mesh_build_addrs(mesh_build_t *b)
{
    char                buf[MESH_ADDRESS_TEXT];
    size_t              i, n;
    mesh_build_addr_t  *addr;

    b->addrs = mesh_records_alloc(b->records,
                                  b->naddrs * sizeof(mesh_build_addr_t));
    n = 0;

    for (i = 0; i < b->nservices; i++) {
        mesh_build_addrs_of(b, &n, b->services[i]->addresses,
                            MESH_ADDR_SERVICE, (uint32_t) i);
    }

    for (i = 0; i < b->nworkloads; i++) {
        mesh_build_addrs_of(b, &n, b->workloads[i]->addresses,
                            MESH_ADDR_WORKLOAD, (uint32_t) i);
    }

    mesh_build_addrs_of(b, &n, b->records->nobody, MESH_ADDR_NOBODY,
                        MESH_STATE_NONE);

    qsort(b->addrs, n, sizeof(mesh_build_addr_t), mesh_build_slot_cmp);

    for (i = 1; i < n; i++) {
        addr = &b->addrs[i];

        if (mesh_build_slot_cmp(addr - 1, addr) != 0) {
            continue;
        }

        return mesh_build_fail(b, mesh_max(addr->line, addr[-1].line),
                               "address \"%s\" is there twice",
                               addr->port
                               ? mesh_address_print(addr->ip, addr->port, buf)
                               : mesh_ip_print(addr->ip, buf));
    }

    return 0;
}


/* one section of the file; sizes are multiples of 8 except the ports' */

static void
mesh_build_section(mesh_build_t *b, mesh_state_section_t *section,
    size_t count, size_t size)
{
    section->offset = (uint32_t) b->used;
    section->count = (uint32_t) count;

    b->used = (b->used + count * size + 7) & ~(size_t) 7;
}


static int
mesh_build_layout(mesh_build_t *b)
{
    size_t              slots, strings, max;
    mesh_state_head_t   head;

    for (slots = MESH_BUILD_SLOTS_MIN; slots < 2 * b->naddrs; slots *= 2) {
        /* void */
    }

    max = sizeof(mesh_state_head_t)
          + slots * sizeof(mesh_state_addr_t)
          + b->nservices * sizeof(mesh_state_service_t)
          + b->nendpoints * sizeof(mesh_state_endpoint_t)
          + b->nworkloads * sizeof(mesh_state_workload_t)
          + b->nports * sizeof(mesh_state_port_t)
          + b->nnetworks * sizeof(mesh_state_network_t)
          + b->nbytes + 64;

    if (max > MESH_STATE_MAX_BYTES) {
        return mesh_build_fail(b, 0, "state would take %zu bytes, at most %d "
                               "are allowed", max, MESH_STATE_MAX_BYTES);
    }

    memset(&head, 0, sizeof(head));

    b->used = sizeof(mesh_state_head_t);

    mesh_build_section(b, &head.addrs, slots, sizeof(mesh_state_addr_t));
    mesh_build_section(b, &head.services, b->nservices,
                       sizeof(mesh_state_service_t));
    mesh_build_section(b, &head.endpoints, b->nendpoints,
                       sizeof(mesh_state_endpoint_t));
    mesh_build_section(b, &head.workloads, b->nworkloads,
                       sizeof(mesh_state_workload_t));
    mesh_build_section(b, &head.ports, b->nports, sizeof(mesh_state_port_t));
    mesh_build_section(b, &head.networks, b->nnetworks,
                       sizeof(mesh_state_network_t));

    head.blob.offset = (uint32_t) b->used;
    b->used += 8;                          /* never empty */

    for (strings = 16; strings < 2 * b->nstrings; strings *= 2) {
        /* void */
    }

    b->interned = mesh_records_alloc(b->records, strings * sizeof(uint32_t));
    b->mask = strings - 1;

    b->base = calloc(1, max);
    if (b->base == NULL) {
        return mesh_build_fail(b, 0, "out of memory: %zu bytes", max);
    }

    memcpy(head.magic, MESH_STATE_MAGIC, sizeof(head.magic));

    head.layout = MESH_STATE_LAYOUT;
    head.head_bytes = sizeof(mesh_state_head_t);
    head.generation = b->records->generation;
    head.flags = (b->records->complete ? MESH_STATE_COMPLETE : 0)
                 | (b->records->pass_unknown ? MESH_STATE_PASS_UNKNOWN : 0);
    head.self = MESH_STATE_NONE;

    b->head = (mesh_state_head_t *) b->base;
    memcpy(b->head, &head, sizeof(mesh_state_head_t));

    mesh_build_string(b, &b->head->trust_domain, b->records->trust_domain);

    return 0;
}


/* the offset of text in the blob, put there if it is new */

static void
mesh_build_string(mesh_build_t *b, mesh_state_str_t *str, const char *text)
{
    size_t    len, slot;
    uint32_t  offset;

    if (text == NULL || text[0] == '\0') {
        return;
    }

    len = strlen(text);
    slot = mesh_crc32c(0, text, len) & b->mask;

    for (offset = b->interned[slot];
         offset && strcmp(b->base + offset, text) != 0;
         offset = b->interned[slot])
    {
        slot = (slot + 1) & b->mask;
    }

    if (offset == 0) {
        offset = (uint32_t) b->used;
        memcpy(b->base + offset, text, len + 1);

        b->interned[slot] = offset;
        b->used += len + 1;
    }

    str->offset = offset;
    str->len = (uint32_t) len;
}


static int
mesh_build_workloads(mesh_build_t *b)
{
    size_t                  i;
    uint32_t                nport;
    mesh_port_t            *port;
    mesh_workload_t        *wl;
    mesh_state_port_t      *ports;
    mesh_state_workload_t  *w;

    w = (mesh_state_workload_t *) (b->base + b->head->workloads.offset);
    ports = (mesh_state_port_t *) (b->base + b->head->ports.offset);
    nport = 0;

    for (i = 0; i < b->nworkloads; i++, w++) {
        wl = b->workloads[i];

        if (wl->meshed && wl->identity == NULL) {
            return mesh_build_fail(b, wl->line, "workload \"%s/%s\" is meshed "
                                   "and has no identity", wl->namespace_,
                                   wl->pod);
        }

        mesh_build_string(b, &w->namespace_, wl->namespace_);
        mesh_build_string(b, &w->pod, wl->pod);
        mesh_build_string(b, &w->service_account, wl->service_account);
        mesh_build_string(b, &w->identity, wl->identity);
        mesh_build_string(b, &w->owner_kind, wl->owner_kind);
        mesh_build_string(b, &w->owner, wl->owner);
        mesh_build_string(b, &w->node, wl->node);
        mesh_build_string(b, &w->zone, wl->zone);

        w->flags = wl->meshed ? MESH_WL_MESHED : 0;
        w->port = nport;

        for (port = wl->ports; port; port = port->next) {

            if (port->next && port->next->port == port->port) {
                return mesh_build_fail(b, mesh_max(port->line,
                                                   port->next->line),
                                       "port %u of workload \"%s/%s\" is "
                                       "there twice", port->port,
                                       wl->namespace_, wl->pod);
            }

            ports[nport].port = port->port;
            ports[nport++].protocol = port->protocol;
        }

        w->nports = nport - w->port;
    }

    return 0;
}


static int
mesh_build_services(mesh_build_t *b)
{
    char                    buf[MESH_ADDRESS_TEXT];
    size_t                  i;
    uint32_t                n;
    mesh_service_t         *service;
    mesh_endpoint_t        *endpoint;
    mesh_state_service_t   *s;
    mesh_state_endpoint_t  *endpoints;

    s = (mesh_state_service_t *) (b->base + b->head->services.offset);
    endpoints = (mesh_state_endpoint_t *)
                (b->base + b->head->endpoints.offset);
    n = 0;

    for (i = 0; i < b->nservices; i++, s++) {
        service = b->services[i];

        mesh_build_string(b, &s->namespace_, service->namespace_);
        mesh_build_string(b, &s->name, service->name);

        s->port = service->port;
        s->protocol = service->protocol;
        s->endpoint = n;

        for (endpoint = service->endpoints; endpoint;
             endpoint = endpoint->next)
        {
            if (endpoint->next
                && endpoint->port == endpoint->next->port
                && memcmp(endpoint->ip, endpoint->next->ip, 16) == 0)
            {
                return mesh_build_fail(b, mesh_max(endpoint->line,
                                                   endpoint->next->line),
                                       "endpoint \"%s\" is there twice",
                                       mesh_address_print(endpoint->ip,
                                                          endpoint->port,
                                                          buf));
            }

            if (mesh_build_endpoint(b, endpoint, &endpoints[n++]) != 0) {
                return -1;
            }
        }

        s->nendpoints = n - s->endpoint;
    }

    return 0;
}


static int
mesh_build_workload_cmp(const void *one, const void *two)
{
    int                     rc;
    const mesh_workload_t  *a = *(mesh_workload_t * const *) one;
    const mesh_workload_t  *b = *(mesh_workload_t * const *) two;

    rc = strcmp(a->namespace_, b->namespace_);

    return rc ? rc : strcmp(a->pod, b->pod);
}


/* the index of a workload by binary search, MESH_STATE_NONE: unknown */

static uint32_t
mesh_build_workload(mesh_build_t *b, char *namespace_, char *pod)
{
    mesh_workload_t  key, *p, **found;

    key.namespace_ = namespace_;
    key.pod = pod;
    p = &key;

    if (b->nworkloads == 0) {
        return MESH_STATE_NONE;
    }

    found = bsearch(&p, b->workloads, b->nworkloads, sizeof(void *),
                    mesh_build_workload_cmp);

    return found ? (*found)->index : MESH_STATE_NONE;
}


static int
mesh_build_endpoint(mesh_build_t *b, mesh_endpoint_t *endpoint,
    mesh_state_endpoint_t *e)
{
    mesh_workload_t  *wl;

    memcpy(e->ip, endpoint->ip, 16);
    e->port = endpoint->port;
    e->weight = endpoint->weight;
    e->workload = MESH_STATE_NONE;

    if (endpoint->pod) {
        e->workload = mesh_build_workload(b, endpoint->namespace_,
                                          endpoint->pod);

        if (e->workload == MESH_STATE_NONE) {
            return mesh_build_fail(b, endpoint->line, "endpoint of unknown "
                                   "workload \"%s/%s\"", endpoint->namespace_,
                                   endpoint->pod);
        }
    }

    if (endpoint->identity) {
        e->flags = MESH_WL_MESHED;
        mesh_build_string(b, &e->identity, endpoint->identity);

        return 0;
    }

    wl = endpoint->pod ? b->workloads[e->workload] : NULL;

    if (wl && wl->meshed) {
        e->flags = MESH_WL_MESHED;
        mesh_build_string(b, &e->identity, wl->identity);
    }

    return 0;
}


static int
mesh_build_self(mesh_build_t *b)
{
    mesh_records_t  *r;

    r = b->records;

    if (r->self_pod == NULL) {
        return 0;
    }

    b->head->self = mesh_build_workload(b, r->self_namespace, r->self_pod);

    if (b->head->self == MESH_STATE_NONE) {
        return mesh_build_fail(b, r->self_line, "own workload \"%s/%s\" is "
                               "unknown", r->self_namespace, r->self_pod);
    }

    return 0;
}


static void
mesh_build_networks(mesh_build_t *b)
{
    mesh_network_t        *network;
    mesh_state_network_t  *n;

    n = (mesh_state_network_t *) (b->base + b->head->networks.offset);

    for (network = b->records->networks; network; network = network->next) {
        memcpy(n->ip, network->ip, 16);
        n->bits = network->bits;
        n++;
    }
}


static void
mesh_build_table(mesh_build_t *b)
{
    size_t              i, mask, slot;
    uint32_t            hash;
    mesh_state_addr_t  *table;
    mesh_build_addr_t  *addr;

    table = (mesh_state_addr_t *) (b->base + b->head->addrs.offset);
    mask = b->head->addrs.count - 1;

    for (i = 0; i < b->naddrs; i++) {
        addr = &b->addrs[i];

        hash = mesh_state_hash(addr->ip, addr->port);

        for (slot = hash & mask;
             table[slot].kind != MESH_ADDR_EMPTY;
             slot = (slot + 1) & mask)
        {
            /* void */
        }

        memcpy(table[slot].ip, addr->ip, 16);
        table[slot].port = addr->port;
        table[slot].kind = addr->kind;
        table[slot].index = addr->index;
        table[slot].hash = hash;
    }
}

