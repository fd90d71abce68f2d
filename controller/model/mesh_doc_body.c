
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Bodies of documents: JSON <-> structs.  A member that is "" or not known
 * is left out when printing and reads as "" again.  Strings of a parsed
 * document belong to its json tree; only the arrays are allocated here.
 */

#include <mesh_core.h>

#include <mesh_doc.h>
#include <mesh_identity.h>


#define MESH_DOC_NAME_MAX         253      /* of a Kubernetes object */
#define MESH_DOC_WEIGHT_MAX       1000000
#define MESH_DOC_EPOCH_MAX        ((UINT64_C(1) << 24) - 1)


/* where the reader stands, for sentences */

typedef struct {
    mesh_err_t   *err;
    char          path[80];                /* "ports[0]." or "" */
} mesh_doc_reader_t;


typedef int (*mesh_doc_item_pt)(mesh_doc_reader_t *r, json_t *json,
    void *item);


static int mesh_doc_parse_vip(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_vip_t *vip);
static int mesh_doc_parse_ip(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_ip_t *ip);
static int mesh_doc_parse_workload(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_workload_t *wl);
static int mesh_doc_parse_port(mesh_doc_reader_t *r, json_t *json,
    void *item);
static int mesh_doc_parse_service(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_service_t *svc);
static int mesh_doc_parse_service_port(mesh_doc_reader_t *r, json_t *json,
    void *item);
static int mesh_doc_parse_endpoint(mesh_doc_reader_t *r, json_t *json,
    void *item);
static int mesh_doc_parse_synced(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_synced_t *synced);
static int mesh_doc_check_key(mesh_doc_reader_t *r, const char *key,
    const mesh_doc_t *doc);

static int mesh_doc_wrong(mesh_doc_reader_t *r, const char *name,
    const char *expected);
static int mesh_doc_string(mesh_doc_reader_t *r, json_t *json,
    const char *name, int required, const char **text);
static int mesh_doc_name(mesh_doc_reader_t *r, json_t *json, const char *name,
    const char **text);
static int mesh_doc_pair(mesh_doc_reader_t *r, json_t *json, const char *name,
    int required, const char **text);
static int mesh_doc_is_name(const char *text, size_t len);
static int mesh_doc_address(mesh_doc_reader_t *r, json_t *json,
    const char *name, const char **text);
static int mesh_doc_addresses(mesh_doc_reader_t *r, json_t *json,
    const char ***list, size_t *n);
static int mesh_doc_peer(mesh_doc_reader_t *r, json_t *json,
    const char **identity, int *meshed);
static int mesh_doc_owner(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_owner_t *owner);
static int mesh_doc_port(mesh_doc_reader_t *r, json_t *json, uint16_t *port);
static int mesh_doc_protocol(mesh_doc_reader_t *r, json_t *json,
    uint8_t *protocol);
static int mesh_doc_array(mesh_doc_reader_t *r, json_t *json,
    const char *name, size_t item_size, void *list, size_t *n,
    mesh_doc_item_pt parse);

static json_t *mesh_doc_json_workload(const mesh_doc_workload_t *wl);
static json_t *mesh_doc_json_service(const mesh_doc_service_t *svc);
static json_t *mesh_doc_json_service_port(const mesh_doc_service_port_t *p);
static json_t *mesh_doc_json_endpoint(const mesh_doc_endpoint_t *ep);
static json_t *mesh_doc_json_addresses(const char **list, size_t n);
static void mesh_doc_put(json_t *json, const char *name, const char *text);
static void mesh_doc_put_owner(json_t *json, const mesh_doc_owner_t *owner);


int
mesh_doc_parse(const char *key, const char *body, size_t len,
    mesh_doc_t *doc, mesh_err_t *err)
{
    int                rc;
    json_t            *json;
    json_error_t       error;
    mesh_doc_reader_t  r;

    memset(doc, 0, sizeof(mesh_doc_t));

    r.err = err;
    r.path[0] = '\0';

    doc->kind = mesh_doc_key_kind(key);

    json = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
    doc->json = json;

    if (json == NULL) {
        mesh_err(err, "no JSON: %s", error.text);
        return -1;
    }

    if (!json_is_object(json)) {
        mesh_err(err, "expected an object");
        mesh_doc_free(doc);
        return -1;
    }

    switch (doc->kind) {

    case MESH_DOC_VIP:
        rc = mesh_doc_parse_vip(&r, json, &doc->u.vip);
        break;

    case MESH_DOC_IP:
        rc = mesh_doc_parse_ip(&r, json, &doc->u.ip);
        break;

    case MESH_DOC_SERVICE:
        rc = mesh_doc_parse_service(&r, json, &doc->u.service);
        break;

    case MESH_DOC_WORKLOAD:
        rc = mesh_doc_parse_workload(&r, json, &doc->u.workload);
        break;

    case MESH_DOC_SYNCED:
        rc = mesh_doc_parse_synced(&r, json, &doc->u.synced);
        break;

    default:
        mesh_err(err, "\"%s\" is no key of a document", key);
        rc = -1;
        break;
    }

    if (rc == 0) {
        rc = mesh_doc_check_key(&r, key, doc);
    }

    if (rc != 0) {
        mesh_doc_free(doc);
    }

    return rc;
}


void
mesh_doc_free(mesh_doc_t *doc)
{
    size_t  i;

    switch (doc->kind) {

    case MESH_DOC_WORKLOAD:
        free(doc->u.workload.addresses);
        free(doc->u.workload.ports);
        break;

    case MESH_DOC_SERVICE:

        for (i = 0; i < doc->u.service.nports; i++) {
            free(doc->u.service.ports[i].endpoints);
        }

        free(doc->u.service.addresses);
        free(doc->u.service.ports);
        break;

    default:
        break;
    }

    json_decref(doc->json);
    memset(doc, 0, sizeof(mesh_doc_t));
}


static int
mesh_doc_parse_vip(mesh_doc_reader_t *r, json_t *json, mesh_doc_vip_t *vip)
{
    if (mesh_doc_pair(r, json, "service", 1, &vip->service) != 0) {
        return -1;
    }

    return mesh_doc_port(r, json, &vip->port);
}


static int
mesh_doc_parse_ip(mesh_doc_reader_t *r, json_t *json, mesh_doc_ip_t *ip)
{
    return mesh_doc_pair(r, json, "workload", 1, &ip->workload);
}


static int
mesh_doc_parse_workload(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_workload_t *wl)
{
    if (mesh_doc_name(r, json, "namespace", &wl->namespace_) != 0
        || mesh_doc_name(r, json, "pod", &wl->pod) != 0
        || mesh_doc_string(r, json, "serviceAccount", 0,
                           &wl->service_account) != 0
        || mesh_doc_string(r, json, "node", 0, &wl->node) != 0
        || mesh_doc_string(r, json, "zone", 0, &wl->zone) != 0
        || mesh_doc_peer(r, json, &wl->identity, &wl->meshed) != 0
        || mesh_doc_owner(r, json, &wl->owner) != 0
        || mesh_doc_addresses(r, json, &wl->addresses, &wl->naddresses) != 0)
    {
        return -1;
    }

    return mesh_doc_array(r, json, "ports", sizeof(mesh_doc_port_t),
                          &wl->ports, &wl->nports, mesh_doc_parse_port);
}


static int
mesh_doc_parse_port(mesh_doc_reader_t *r, json_t *json, void *item)
{
    mesh_doc_port_t  *port = item;

    if (mesh_doc_port(r, json, &port->port) != 0
        || mesh_doc_string(r, json, "name", 0, &port->name) != 0)
    {
        return -1;
    }

    return mesh_doc_protocol(r, json, &port->protocol);
}


static int
mesh_doc_parse_service(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_service_t *svc)
{
    if (mesh_doc_name(r, json, "namespace", &svc->namespace_) != 0
        || mesh_doc_name(r, json, "name", &svc->name) != 0
        || mesh_doc_addresses(r, json, &svc->addresses, &svc->naddresses)
           != 0)
    {
        return -1;
    }

    return mesh_doc_array(r, json, "ports", sizeof(mesh_doc_service_port_t),
                          &svc->ports, &svc->nports,
                          mesh_doc_parse_service_port);
}


static int
mesh_doc_parse_service_port(mesh_doc_reader_t *r, json_t *json, void *item)
{
    mesh_doc_service_port_t  *port = item;

    if (mesh_doc_port(r, json, &port->port) != 0
        || mesh_doc_string(r, json, "name", 0, &port->name) != 0
        || mesh_doc_protocol(r, json, &port->protocol) != 0)
    {
        return -1;
    }

    return mesh_doc_array(r, json, "endpoints", sizeof(mesh_doc_endpoint_t),
                          &port->endpoints, &port->nendpoints,
                          mesh_doc_parse_endpoint);
}


static int
mesh_doc_parse_endpoint(mesh_doc_reader_t *r, json_t *json, void *item)
{
    json_t               *weight;
    json_int_t            n;
    mesh_doc_endpoint_t  *ep = item;

    if (mesh_doc_address(r, json, "address", &ep->address) != 0
        || mesh_doc_port(r, json, &ep->port) != 0
        || mesh_doc_pair(r, json, "workload", 0, &ep->workload) != 0
        || mesh_doc_string(r, json, "serviceAccount", 0,
                           &ep->service_account) != 0
        || mesh_doc_string(r, json, "node", 0, &ep->node) != 0
        || mesh_doc_string(r, json, "zone", 0, &ep->zone) != 0
        || mesh_doc_peer(r, json, &ep->identity, &ep->meshed) != 0
        || mesh_doc_owner(r, json, &ep->owner) != 0)
    {
        return -1;
    }

    weight = json_object_get(json, "weight");
    n = weight ? json_integer_value(weight) : 1;

    if (n < 1 || n > MESH_DOC_WEIGHT_MAX) {
        return mesh_doc_wrong(r, "weight", "a number from 1 to 1000000");
    }

    ep->weight = (uint32_t) n;

    return 0;
}


static int
mesh_doc_parse_synced(mesh_doc_reader_t *r, json_t *json,
    mesh_doc_synced_t *synced)
{
    char        *end;
    const char  *text;

    if (mesh_doc_string(r, json, "epoch", 1, &text) != 0) {
        return -1;
    }

    synced->epoch = strtoull(text, &end, 10);

    if (text[0] < '1' || text[0] > '9' || *end
        || synced->epoch > MESH_DOC_EPOCH_MAX)
    {
        return mesh_doc_wrong(r, "epoch", "a number as a string");
    }

    return 0;
}


/* a signed document is under the key that it speaks of */

static int
mesh_doc_check_key(mesh_doc_reader_t *r, const char *key,
    const mesh_doc_t *doc)
{
    char         name[MESH_DOC_KEY_MAX], ip[MESH_DOC_IP_MAX];
    const char  *rest;

    switch (doc->kind) {

    case MESH_DOC_SERVICE:
        rest = key + sizeof(MESH_REDIS_SVC) - 1;
        snprintf(name, sizeof(name), "%s/%s", doc->u.service.namespace_,
                 doc->u.service.name);
        break;

    case MESH_DOC_WORKLOAD:
        rest = key + sizeof(MESH_REDIS_WL) - 1;
        snprintf(name, sizeof(name), "%s/%s", doc->u.workload.namespace_,
                 doc->u.workload.pod);
        break;

    case MESH_DOC_VIP:
        rest = strrchr(key, ':') + 1;
        snprintf(name, sizeof(name), "%u", doc->u.vip.port);
        break;

    case MESH_DOC_IP:
        rest = key + sizeof(MESH_REDIS_IP) - 1;

        if (mesh_doc_ip_canonical(rest, ip) == 0) {
            mesh_err(r->err, "\"%s\" holds no address", key);
            return -1;
        }

        snprintf(name, sizeof(name), "%s", ip);
        break;

    default:
        return 0;
    }

    if (strcmp(rest, name) != 0) {
        mesh_err(r->err, "the body is of \"%s\", the key \"%s\"",
                 name, key);
        return -1;
    }

    return 0;
}


static int
mesh_doc_wrong(mesh_doc_reader_t *r, const char *name, const char *expected)
{
    mesh_err(r->err, "%s%s: expected %s", r->path, name, expected);

    return -1;
}


static int
mesh_doc_string(mesh_doc_reader_t *r, json_t *json, const char *name,
    int required, const char **text)
{
    json_t  *value;

    value = json_object_get(json, name);

    if (value == NULL) {
        *text = "";
        return required ? mesh_doc_wrong(r, name, "a string") : 0;
    }

    *text = json_string_value(value);

    if (*text == NULL) {
        return mesh_doc_wrong(r, name, "a string");
    }

    if (strlen(*text) > MESH_ID_MAX_BYTES) {
        return mesh_doc_wrong(r, name, "at most 2048 bytes");
    }

    return 0;
}


static int
mesh_doc_name(mesh_doc_reader_t *r, json_t *json, const char *name,
    const char **text)
{
    if (mesh_doc_string(r, json, name, 1, text) != 0) {
        return -1;
    }

    if (!mesh_doc_is_name(*text, strlen(*text))) {
        return mesh_doc_wrong(r, name, "a name of [a-z0-9.-]");
    }

    return 0;
}


/* NAMESPACE/NAME */

static int
mesh_doc_pair(mesh_doc_reader_t *r, json_t *json, const char *name,
    int required, const char **text)
{
    const char  *slash;

    if (mesh_doc_string(r, json, name, required, text) != 0) {
        return -1;
    }

    if (!required && (*text)[0] == '\0') {
        return 0;
    }

    slash = strchr(*text, '/');

    if (slash == NULL
        || !mesh_doc_is_name(*text, (size_t) (slash - *text))
        || !mesh_doc_is_name(slash + 1, strlen(slash + 1)))
    {
        return mesh_doc_wrong(r, name, "\"NAMESPACE/NAME\"");
    }

    return 0;
}


static int
mesh_doc_is_name(const char *text, size_t len)
{
    size_t  i;

    if (len == 0 || len > MESH_DOC_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z')
              || (text[i] >= '0' && text[i] <= '9')
              || text[i] == '-' || text[i] == '.'))
        {
            return 0;
        }
    }

    return 1;
}


static int
mesh_doc_address(mesh_doc_reader_t *r, json_t *json, const char *name,
    const char **text)
{
    char  ip[MESH_DOC_IP_MAX];

    if (mesh_doc_string(r, json, name, 1, text) != 0) {
        return -1;
    }

    if (mesh_doc_ip_canonical(*text, ip) == 0 || strcmp(*text, ip) != 0) {
        return mesh_doc_wrong(r, name, "an address in canonical form");
    }

    return 0;
}


static int
mesh_doc_addresses(mesh_doc_reader_t *r, json_t *json, const char ***list,
    size_t *n)
{
    char     ip[MESH_DOC_IP_MAX];
    json_t  *array, *item;
    size_t   i;

    array = json_object_get(json, "addresses");

    if (array && !json_is_array(array)) {
        return mesh_doc_wrong(r, "addresses", "an array");
    }

    if (json_array_size(array) == 0) {
        return 0;
    }

    *list = calloc(json_array_size(array), sizeof(char *));
    if (*list == NULL) {
        return mesh_doc_wrong(r, "addresses", "more memory");
    }

    json_array_foreach(array, i, item) {
        (*list)[i] = json_string_value(item);

        if ((*list)[i] == NULL
            || mesh_doc_ip_canonical((*list)[i], ip) == 0
            || strcmp((*list)[i], ip) != 0)
        {
            return mesh_doc_wrong(r, "addresses",
                                  "addresses in canonical form");
        }

        *n = i + 1;
    }

    return 0;
}


/* fail-shut: who is meshed has an identity that can be verified */

static int
mesh_doc_peer(mesh_doc_reader_t *r, json_t *json, const char **identity,
    int *meshed)
{
    json_t           *value;
    mesh_identity_t   id;

    value = json_object_get(json, "meshed");

    if (value && !json_is_boolean(value)) {
        return mesh_doc_wrong(r, "meshed", "true or false");
    }

    *meshed = json_is_true(value);

    if (mesh_doc_string(r, json, "identity", *meshed, identity) != 0) {
        return -1;
    }

    if (((*identity)[0] || *meshed)
        && mesh_identity_parse(*identity, strlen(*identity), &id) != NULL)
    {
        return mesh_doc_wrong(r, "identity", "a SPIFFE ID");
    }

    return 0;
}


static int
mesh_doc_owner(mesh_doc_reader_t *r, json_t *json, mesh_doc_owner_t *owner)
{
    json_t  *value;

    owner->kind = "";
    owner->name = "";

    value = json_object_get(json, "owner");

    if (value == NULL) {
        return 0;
    }

    if (!json_is_object(value)
        || !json_is_string(json_object_get(value, "kind"))
        || !json_is_string(json_object_get(value, "name")))
    {
        return mesh_doc_wrong(r, "owner", "an object of kind and name");
    }

    owner->kind = json_string_value(json_object_get(value, "kind"));
    owner->name = json_string_value(json_object_get(value, "name"));

    return 0;
}


static int
mesh_doc_port(mesh_doc_reader_t *r, json_t *json, uint16_t *port)
{
    json_int_t  n;

    n = json_integer_value(json_object_get(json, "port"));

    if (n < 1 || n > 65535) {
        return mesh_doc_wrong(r, "port", "a number from 1 to 65535");
    }

    *port = (uint16_t) n;

    return 0;
}


static int
mesh_doc_protocol(mesh_doc_reader_t *r, json_t *json, uint8_t *protocol)
{
    int          n;
    const char  *text;

    if (mesh_doc_string(r, json, "protocol", 0, &text) != 0) {
        return -1;
    }

    n = text[0] ? mesh_doc_protocol_parse(text) : MESH_PROTO_DETECT;

    if (n == -1) {
        return mesh_doc_wrong(r, "protocol",
                              "detect, http1, http2, opaque or tls");
    }

    *protocol = (uint8_t) n;

    return 0;
}


/*
 * An array of objects at *(void **) list.  The count grows item by item, so
 * that mesh_doc_free after an error sees only what was begun.
 */

static int
mesh_doc_array(mesh_doc_reader_t *r, json_t *json, const char *name,
    size_t item_size, void *list, size_t *n, mesh_doc_item_pt parse)
{
    char     path[sizeof(r->path)];
    char    *items;
    json_t  *array, *item;
    size_t   i;

    array = json_object_get(json, name);

    if (array && !json_is_array(array)) {
        return mesh_doc_wrong(r, name, "an array");
    }

    if (json_array_size(array) == 0) {
        return 0;
    }

    items = calloc(json_array_size(array), item_size);
    if (items == NULL) {
        return mesh_doc_wrong(r, name, "more memory");
    }

    memcpy(list, &items, sizeof(items));
    memcpy(path, r->path, sizeof(path));

    json_array_foreach(array, i, item) {
        *n = i + 1;

        snprintf(r->path, sizeof(r->path), "%.40s%s[%zu].", path, name, i);

        if (!json_is_object(item)) {
            return mesh_doc_wrong(r, "", "an object");
        }

        if (parse(r, item, items + i * item_size) != 0) {
            return -1;
        }
    }

    memcpy(r->path, path, sizeof(path));

    return 0;
}


char *
mesh_doc_print(const mesh_doc_t *doc)
{
    char    *text, epoch[24];
    json_t  *json;

    json = NULL;

    switch (doc->kind) {

    case MESH_DOC_VIP:
        json = json_pack("{s:s, s:i}", "service", doc->u.vip.service,
                         "port", (int) doc->u.vip.port);
        break;

    case MESH_DOC_IP:
        json = json_pack("{s:s}", "workload", doc->u.ip.workload);
        break;

    case MESH_DOC_SERVICE:
        json = mesh_doc_json_service(&doc->u.service);
        break;

    case MESH_DOC_WORKLOAD:
        json = mesh_doc_json_workload(&doc->u.workload);
        break;

    case MESH_DOC_SYNCED:
        snprintf(epoch, sizeof(epoch), "%llu",
                 (unsigned long long) doc->u.synced.epoch);
        json = json_pack("{s:s}", "epoch", epoch);
        break;

    default:
        break;
    }

    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);

    return text;
}


static json_t *
mesh_doc_json_workload(const mesh_doc_workload_t *wl)
{
    json_t  *json, *ports, *port;
    size_t   i;

    json = json_object();

    mesh_doc_put(json, "namespace", wl->namespace_);
    mesh_doc_put(json, "pod", wl->pod);
    mesh_doc_put(json, "serviceAccount", wl->service_account);
    mesh_doc_put(json, "identity", wl->identity);
    json_object_set_new(json, "meshed", json_boolean(wl->meshed));
    json_object_set_new(json, "addresses",
                        mesh_doc_json_addresses(wl->addresses,
                                                wl->naddresses));
    mesh_doc_put_owner(json, &wl->owner);
    mesh_doc_put(json, "node", wl->node);
    mesh_doc_put(json, "zone", wl->zone);

    ports = json_array();

    for (i = 0; i < wl->nports; i++) {
        port = json_object();

        json_object_set_new(port, "port", json_integer(wl->ports[i].port));
        mesh_doc_put(port, "name", wl->ports[i].name);
        mesh_doc_put(port, "protocol",
                     mesh_doc_protocol_text(wl->ports[i].protocol));

        json_array_append_new(ports, port);
    }

    json_object_set_new(json, "ports", ports);

    return json;
}


static json_t *
mesh_doc_json_service(const mesh_doc_service_t *svc)
{
    json_t  *json, *ports;
    size_t   i;

    json = json_object();

    mesh_doc_put(json, "namespace", svc->namespace_);
    mesh_doc_put(json, "name", svc->name);
    json_object_set_new(json, "addresses",
                        mesh_doc_json_addresses(svc->addresses,
                                                svc->naddresses));

    ports = json_array();

    for (i = 0; i < svc->nports; i++) {
        json_array_append_new(ports,
                              mesh_doc_json_service_port(&svc->ports[i]));
    }

    json_object_set_new(json, "ports", ports);

    return json;
}


static json_t *
mesh_doc_json_service_port(const mesh_doc_service_port_t *p)
{
    json_t  *json, *endpoints;
    size_t   i;

    json = json_object();

    json_object_set_new(json, "port", json_integer(p->port));
    mesh_doc_put(json, "name", p->name);
    mesh_doc_put(json, "protocol", mesh_doc_protocol_text(p->protocol));

    endpoints = json_array();

    for (i = 0; i < p->nendpoints; i++) {
        json_array_append_new(endpoints,
                              mesh_doc_json_endpoint(&p->endpoints[i]));
    }

    json_object_set_new(json, "endpoints", endpoints);

    return json;
}


static json_t *
mesh_doc_json_endpoint(const mesh_doc_endpoint_t *ep)
{
    json_t  *json;

    json = json_object();

    mesh_doc_put(json, "address", ep->address);
    json_object_set_new(json, "port", json_integer(ep->port));
    mesh_doc_put(json, "workload", ep->workload);
    mesh_doc_put(json, "identity", ep->identity);
    json_object_set_new(json, "meshed", json_boolean(ep->meshed));
    mesh_doc_put_owner(json, &ep->owner);
    mesh_doc_put(json, "serviceAccount", ep->service_account);
    mesh_doc_put(json, "node", ep->node);
    mesh_doc_put(json, "zone", ep->zone);
    json_object_set_new(json, "weight", json_integer(ep->weight));

    return json;
}


static json_t *
mesh_doc_json_addresses(const char **list, size_t n)
{
    json_t  *array;
    size_t   i;

    array = json_array();

    for (i = 0; i < n; i++) {
        json_array_append_new(array, json_string(list[i]));
    }

    return array;
}


static void
mesh_doc_put(json_t *json, const char *name, const char *text)
{
    if (text && text[0]) {
        json_object_set_new(json, name, json_string(text));
    }
}


static void
mesh_doc_put_owner(json_t *json, const mesh_doc_owner_t *owner)
{
    if (owner->kind && owner->kind[0]) {
        json_object_set_new(json, "owner",
                            json_pack("{s:s, s:s}", "kind", owner->kind,
                                      "name", owner->name));
    }
}
