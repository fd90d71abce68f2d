
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The join of documents.  Keys are walked in sorted order, so the same
 * documents give the same records.  Who an address belongs to is said by
 * its own document (mesh:vip, mesh:ip) where that is held.
 */

#include <mesh_core.h>

#include <mesh_log.h>
#include <mesh_names.h>
#include <mesh_state_make.h>


#define MESH_MAKE_BUCKETS  256


typedef struct mesh_seen_s  mesh_seen_t;

struct mesh_seen_s {
    mesh_seen_t              *next;
    uint8_t                   ip[16];
    uint16_t                  port;
};


typedef struct {
    const mesh_docs_t        *docs;
    const mesh_state_make_t  *in;
    mesh_records_t           *records;
    mesh_map_t                workloads;   /* "ns/pod" -> mesh_workload_t */
    mesh_seen_t             **seen;        /* addresses that are taken */
    const char              **keys;        /* sorted */
    size_t                    nkeys;
} mesh_make_t;


static void mesh_make_keys(mesh_make_t *m);
static void mesh_make_workload(mesh_make_t *m, const char *key,
    const mesh_doc_workload_t *doc);
static void mesh_make_service(mesh_make_t *m, const char *key,
    const mesh_doc_service_t *doc);
static void mesh_make_self(mesh_make_t *m);
static void mesh_make_nobody(mesh_make_t *m);


static char *
mesh_make_text(mesh_make_t *m, const char *text)
{
    return text && text[0] ? mesh_records_text(m->records, text, strlen(text))
                           : NULL;
}


static int
mesh_make_is_seen(mesh_seen_t *seen, const uint8_t ip[16], uint16_t port)
{
    for ( /* void */ ; seen; seen = seen->next) {
        if (seen->port == port && memcmp(seen->ip, ip, 16) == 0) {
            return 1;
        }
    }

    return 0;
}


/* 1 the first time that ip and port are shown to this set */

static int
mesh_make_is_new(mesh_make_t *m, mesh_seen_t **set, const uint8_t ip[16],
    uint16_t port)
{
    mesh_seen_t  *seen, **head;

    head = &set[mesh_state_hash(ip, port) % MESH_MAKE_BUCKETS];

    if (mesh_make_is_seen(*head, ip, port)) {
        return 0;
    }

    seen = mesh_records_alloc(m->records, sizeof(mesh_seen_t));

    memcpy(seen->ip, ip, 16);
    seen->port = port;
    seen->next = *head;
    *head = seen;

    return 1;
}


static mesh_seen_t **
mesh_make_set(mesh_make_t *m)
{
    return mesh_records_alloc(m->records,
                              MESH_MAKE_BUCKETS * sizeof(mesh_seen_t *));
}


mesh_records_t *
mesh_state_make(const mesh_docs_t *docs, const mesh_state_make_t *in)
{
    int          pass;
    size_t       i;
    uint8_t      ip[16], bits;
    mesh_doc_t   doc;
    mesh_err_t   err;
    mesh_make_t  m;

    memset(&m, 0, sizeof(mesh_make_t));

    m.docs = docs;
    m.in = in;
    m.records = mesh_records_new();
    m.seen = mesh_make_set(&m);

    m.records->complete = in->complete;
    m.records->pass_unknown = in->pass_unknown;
    m.records->trust_domain = mesh_make_text(&m, in->trust_domain);

    for (i = 0; i < in->nnetworks; i++) {

        if (mesh_network_parse(in->networks[i], strlen(in->networks[i]), ip,
                               &bits)
            == 0)
        {
            mesh_records_network(m.records, ip, bits);
        }
    }

    mesh_make_keys(&m);

    /* workloads first: endpoints only add those that are not there */

    for (pass = MESH_DOC_WORKLOAD; pass >= MESH_DOC_SERVICE; pass--) {

        for (i = 0; i < m.nkeys; i++) {

            if ((int) mesh_doc_key_kind(m.keys[i]) != pass) {
                continue;
            }

            if (mesh_docs_parse(docs, m.keys[i], &doc, &err) != MESH_OK) {
                mesh_log(MESH_LOG_ERROR, 0, "document \"%s\" is left out: %s",
                         m.keys[i], err.text);
                continue;
            }

            if (pass == MESH_DOC_WORKLOAD) {
                mesh_make_workload(&m, m.keys[i], &doc.u.workload);

            } else {
                mesh_make_service(&m, m.keys[i], &doc.u.service);
            }

            mesh_doc_free(&doc);
        }
    }

    mesh_make_self(&m);
    mesh_make_nobody(&m);

    mesh_map_free(&m.workloads);

    return m.records;
}


static int
mesh_make_key_cmp(const void *one, const void *two)
{
    return strcmp(*(const char * const *) one, *(const char * const *) two);
}


static void
mesh_make_keys(mesh_make_t *m)
{
    size_t              i;
    const char         *key;
    const mesh_held_t  *held;

    m->keys = mesh_records_alloc(m->records,
                                 (m->docs->map.n + 1) * sizeof(char *));
    i = 0;

    while ((held = mesh_docs_next(m->docs, &i, &key)) != NULL) {
        if (!held->envelope.tombstone) {
            m->keys[m->nkeys++] = key;
        }
    }

    qsort(m->keys, m->nkeys, sizeof(char *), mesh_make_key_cmp);
}


/* "ns/name" into the arena, in two parts */

static void
mesh_make_pair(mesh_make_t *m, const char *text, char **first, char **second)
{
    const char  *slash;

    slash = strchr(text, '/');

    if (slash) {
        *first = mesh_records_text(m->records, text, slash - text);
        *second = mesh_make_text(m, slash + 1);
    }
}


/*
 * May a workload have the address?  Not if the document of the address names
 * another one: a new pod may have got the address of one that is gone.
 */

static int
mesh_make_workload_has(mesh_make_t *m, const char *address, const char *name)
{
    int         yes;
    char        key[MESH_DOC_KEY_MAX];
    mesh_doc_t  doc;
    mesh_err_t  err;

    mesh_doc_key_ip(key, sizeof(key), address);

    if (mesh_docs_parse(m->docs, key, &doc, &err) != MESH_OK) {
        return 1;
    }

    yes = strcmp(doc.u.ip.workload, name) == 0;

    mesh_doc_free(&doc);

    return yes;
}


static void
mesh_make_workload_address(mesh_make_t *m, mesh_workload_t *wl,
    const char *address, const char *name)
{
    uint8_t  ip[16];

    if (mesh_ip_parse(address, strlen(address), ip) != 0
        || !mesh_make_workload_has(m, address, name))
    {
        return;
    }

    if (!mesh_make_is_new(m, m->seen, ip, 0)) {
        mesh_log(MESH_LOG_WARN, 0, "address \"%s\" of \"%s\" is taken by "
                 "another workload", address, name);
        return;
    }

    mesh_records_address(m->records, &wl->addresses, ip, 0);
}


static void
mesh_make_workload(mesh_make_t *m, const char *key,
    const mesh_doc_workload_t *doc)
{
    size_t            i, j;
    const char       *name;
    mesh_workload_t  *wl;

    name = key + sizeof(MESH_REDIS_WL) - 1;

    wl = mesh_records_workload(m->records);
    (void) mesh_map_set(&m->workloads, name, wl);

    wl->namespace_ = mesh_make_text(m, doc->namespace_);
    wl->pod = mesh_make_text(m, doc->pod);
    wl->service_account = mesh_make_text(m, doc->service_account);
    wl->identity = mesh_make_text(m, doc->identity);
    wl->node = mesh_make_text(m, doc->node);
    wl->zone = mesh_make_text(m, doc->zone);
    wl->owner_kind = mesh_make_text(m, doc->owner.kind);
    wl->owner = mesh_make_text(m, doc->owner.name);
    wl->meshed = doc->meshed;

    for (i = 0; i < doc->naddresses; i++) {
        mesh_make_workload_address(m, wl, doc->addresses[i], name);
    }

    for (i = 0; i < doc->nports; i++) {

        for (j = 0; j < i && doc->ports[j].port != doc->ports[i].port; j++) {
            /* void */
        }

        if (j == i) {                      /* the first of a number counts */
            mesh_records_port(m->records, wl, doc->ports[i].port,
                              doc->ports[i].protocol);
        }
    }
}


/* the workload of an endpoint: as its own document says, or as this one */

static void
mesh_make_endpoint_workload(mesh_make_t *m, const mesh_doc_endpoint_t *doc)
{
    mesh_workload_t  *wl;

    if (doc->workload[0] == '\0' || mesh_map_get(&m->workloads, doc->workload))
    {
        return;
    }

    wl = mesh_records_workload(m->records);
    (void) mesh_map_set(&m->workloads, doc->workload, wl);

    mesh_make_pair(m, doc->workload, &wl->namespace_, &wl->pod);

    wl->service_account = mesh_make_text(m, doc->service_account);
    wl->identity = mesh_make_text(m, doc->identity);
    wl->node = mesh_make_text(m, doc->node);
    wl->zone = mesh_make_text(m, doc->zone);
    wl->owner_kind = mesh_make_text(m, doc->owner.kind);
    wl->owner = mesh_make_text(m, doc->owner.name);
    wl->meshed = doc->meshed;
}


static void
mesh_make_endpoints(mesh_make_t *m, mesh_service_t *service,
    const mesh_doc_service_port_t *port)
{
    size_t                      i;
    uint8_t                     ip[16];
    mesh_seen_t               **set;
    mesh_endpoint_t            *endpoint;
    const mesh_doc_endpoint_t  *doc;

    set = port->nendpoints ? mesh_make_set(m) : NULL;

    for (i = 0; i < port->nendpoints; i++) {
        doc = &port->endpoints[i];

        if (mesh_ip_parse(doc->address, strlen(doc->address), ip) != 0
            || !mesh_make_is_new(m, set, ip, doc->port))
        {
            continue;
        }

        mesh_make_endpoint_workload(m, doc);

        endpoint = mesh_records_endpoint(m->records, service);

        memcpy(endpoint->ip, ip, 16);
        endpoint->port = doc->port;
        endpoint->weight = doc->weight;

        if (doc->workload[0]) {
            mesh_make_pair(m, doc->workload, &endpoint->namespace_,
                           &endpoint->pod);
        }

        if (doc->meshed) {
            endpoint->identity = mesh_make_text(m, doc->identity);
        }
    }
}


/* is the address the service's?  The same question for ClusterIPs */

static int
mesh_make_service_has(mesh_make_t *m, const char *address, uint16_t port,
    const char *name)
{
    int         yes;
    char        key[MESH_DOC_KEY_MAX];
    mesh_doc_t  doc;
    mesh_err_t  err;

    mesh_doc_key_vip(key, sizeof(key), address, port);

    if (mesh_docs_parse(m->docs, key, &doc, &err) != MESH_OK) {
        return 1;
    }

    yes = strcmp(doc.u.vip.service, name) == 0 && doc.u.vip.port == port;

    mesh_doc_free(&doc);

    return yes;
}


static void
mesh_make_service(mesh_make_t *m, const char *key,
    const mesh_doc_service_t *doc)
{
    size_t                          i, j;
    uint8_t                         ip[16];
    const char                     *name, *address;
    mesh_service_t                 *service;
    const mesh_doc_service_port_t  *port;

    name = key + sizeof(MESH_REDIS_SVC) - 1;

    for (i = 0; i < doc->nports; i++) {
        port = &doc->ports[i];

        for (j = 0; j < i && doc->ports[j].port != port->port; j++) {
            /* void */
        }

        if (j < i) {                       /* TCP and UDP of one number */
            continue;
        }

        service = mesh_records_service(m->records);

        service->namespace_ = mesh_make_text(m, doc->namespace_);
        service->name = mesh_make_text(m, doc->name);
        service->port = port->port;
        service->protocol = port->protocol;

        for (j = 0; j < doc->naddresses; j++) {
            address = doc->addresses[j];

            if (mesh_ip_parse(address, strlen(address), ip) != 0
                || !mesh_make_service_has(m, address, port->port, name))
            {
                continue;
            }

            if (!mesh_make_is_new(m, m->seen, ip, port->port)) {
                mesh_log(MESH_LOG_WARN, 0, "address \"%s\" port %u of \"%s\" "
                         "is taken by another service", address, port->port,
                         name);
                continue;
            }

            mesh_records_address(m->records, &service->addresses, ip,
                                 port->port);
        }

        mesh_make_endpoints(m, service, port);
    }
}


/*
 * The own workload.  While no document describes it, it is what the options
 * and the network interfaces say: enough to take and secure connections.
 */

static void
mesh_make_self(mesh_make_t *m)
{
    char                      name[MESH_DOC_KEY_MAX];
    size_t                    i;
    mesh_workload_t          *wl;
    const mesh_state_make_t  *in;

    in = m->in;

    (void) snprintf(name, sizeof(name), "%s/%s", in->namespace_, in->pod);

    m->records->self_namespace = mesh_make_text(m, in->namespace_);
    m->records->self_pod = mesh_make_text(m, in->pod);

    wl = mesh_map_get(&m->workloads, name);

    if (wl == NULL) {
        wl = mesh_records_workload(m->records);
        (void) mesh_map_set(&m->workloads, name, wl);

        wl->namespace_ = mesh_make_text(m, in->namespace_);
        wl->pod = mesh_make_text(m, in->pod);
        wl->service_account = mesh_make_text(m, in->service_account);
        wl->identity = mesh_make_text(m, in->identity);
        wl->meshed = 1;
    }

    if (wl->addresses) {
        return;
    }

    for (i = 0; i < in->naddresses; i++) {
        mesh_make_workload_address(m, wl, in->addresses[i], name);
    }
}


/* an address that a pod has now is not nobody's, whatever was said before */

static void
mesh_make_nobody(mesh_make_t *m)
{
    size_t                i;
    uint32_t              pod;
    const mesh_nobody_t  *nobody;

    for (i = 0; i < m->in->nnobody; i++) {
        nobody = &m->in->nobody[i];
        pod = mesh_state_hash(nobody->ip, 0) % MESH_MAKE_BUCKETS;

        if (mesh_make_is_seen(m->seen[pod], nobody->ip, 0)
            || !mesh_make_is_new(m, m->seen, nobody->ip, nobody->port))
        {
            continue;
        }

        mesh_records_address(m->records, &m->records->nobody, nobody->ip,
                             nobody->port);
    }
}
