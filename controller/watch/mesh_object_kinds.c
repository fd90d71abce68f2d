
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The readers of nodes, services and slices, and what all readers share; the
 * pods' is in mesh_object_pod.c.  What the mesh does not use is not looked at;
 * what it uses has the right type and range or the object is refused.  UDP
 * and SCTP ports are left out here, so nobody else has to think of them.
 */

#include <mesh_object_kinds.h>


#define MESH_LABEL_ZONE           "topology.kubernetes.io/zone"
#define MESH_LABEL_ZONE_BETA      "failure-domain.beta.kubernetes.io/zone"
#define MESH_LABEL_SERVICE        "kubernetes.io/service-name"


static int mesh_object_service_addresses(mesh_object_t *object,
    const mesh_json_t *spec, mesh_err_t *err);
static int mesh_object_service_address(mesh_object_t *object,
    const char *text, mesh_err_t *err);
static int mesh_object_service_port(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_target(mesh_object_t *object, const mesh_json_t *item,
    mesh_service_port_t *port, mesh_err_t *err);
static int mesh_object_slice_port(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_slice_endpoint(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_slice_place(mesh_object_t *object,
    const mesh_json_t *item, mesh_slice_endpoint_t *ep, mesh_err_t *err);
static int mesh_object_slice_target(mesh_object_t *object,
    const mesh_json_t *item, mesh_slice_endpoint_t *ep, mesh_err_t *err);


int
mesh_object_read_node(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err)
{
    const char  *zone;

    (void) root;
    (void) meta;
    (void) err;

    zone = mesh_pairs_get(&object->labels, MESH_LABEL_ZONE);

    if (zone == NULL) {
        zone = mesh_pairs_get(&object->labels, MESH_LABEL_ZONE_BETA);
    }

    object->u.node.zone = zone ? zone : "";

    return MESH_OK;
}


int
mesh_object_read_service(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err)
{
    const char      *type;
    mesh_json_t      spec;
    mesh_service_t  *svc;

    (void) meta;

    svc = &object->u.service;

    if (mesh_json_object(root, "spec", &spec, err) != MESH_OK) {
        return mesh_json_missing(root, "spec", err);
    }

    if (mesh_object_text(object, &spec, "type", "ClusterIP", &type, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    svc->external = (strcmp(type, "ExternalName") == 0);
    svc->ports = mesh_object_alloc(object, mesh_object_count(&spec, "ports")
                                           * sizeof(mesh_service_port_t));

    if (mesh_object_pairs(object, &spec, "selector", &svc->selector, err)
        != MESH_OK
        || mesh_object_flag(&spec, "publishNotReadyAddresses",
                            &svc->publish_not_ready, err) != MESH_OK
        || mesh_object_service_addresses(object, &spec, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_each(object, &spec, "ports", mesh_object_service_port,
                            err);
}


/* clusterIPs, or clusterIP of old; "None" is headless; the first family */

static int
mesh_object_service_addresses(mesh_object_t *object, const mesh_json_t *spec,
    mesh_err_t *err)
{
    int              rc;
    size_t           i, n;
    const char      *text;
    mesh_json_t      list, item;
    mesh_service_t  *svc;

    svc = &object->u.service;

    rc = mesh_json_array(spec, "clusterIPs", &list, err);

    if (rc == MESH_ERROR) {
        return MESH_ERROR;
    }

    n = (rc == MESH_OK) ? mesh_json_size(&list) : 0;
    svc->addresses = mesh_object_alloc(object, (n + 1) * sizeof(char *));

    for (i = 0; i < n; i++) {
        mesh_json_item(&list, i, &item);

        if (mesh_json_as_string(&item, &text, err) != MESH_OK
            || mesh_object_service_address(object, text, err) != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    if (mesh_object_text(object, spec, "clusterIP", "", &text, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (n == 0 && mesh_object_service_address(object, text, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (svc->naddresses) {
        svc->family = strchr(svc->addresses[0], ':') ? 6 : 4;
        return MESH_OK;
    }

    /* headless: the families are all there is to go by */

    rc = mesh_json_array(spec, "ipFamilies", &list, err);

    if (rc != MESH_OK || mesh_json_size(&list) == 0) {
        return rc == MESH_ERROR ? MESH_ERROR : MESH_OK;
    }

    mesh_json_item(&list, 0, &item);

    if (mesh_json_as_string(&item, &text, err) != MESH_OK) {
        return MESH_ERROR;
    }

    svc->family = (strcmp(text, "IPv6") == 0) ? 6 : 4;

    return MESH_OK;
}


static int
mesh_object_service_address(mesh_object_t *object, const char *text,
    mesh_err_t *err)
{
    char             ip[MESH_DOC_IP_MAX];
    mesh_service_t  *svc;

    svc = &object->u.service;

    if (text[0] == '\0' || strcmp(text, "None") == 0) {
        return MESH_OK;
    }

    if (mesh_doc_ip_canonical(text, ip) == 0) {
        return mesh_err(err, "spec.clusterIPs holds \"%.80s\", expected an "
                        "address or \"None\"", text);
    }

    svc->addresses[svc->naddresses++] = mesh_object_str(object, ip);

    return MESH_OK;
}


static int
mesh_object_service_port(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    int                   rc;
    mesh_service_t       *svc;
    mesh_service_port_t  *port;

    svc = &object->u.service;

    rc = mesh_object_is_tcp(item, err);
    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    port = &svc->ports[svc->nports++];

    if (mesh_object_number(item, "port", &port->port, err) != MESH_OK
        || mesh_object_text(object, item, "name", "", &port->name, err)
           != MESH_OK
        || mesh_object_text(object, item, "appProtocol", "",
                            &port->app_protocol, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_target(object, item, port, err);
}


/* targetPort: a number, a name, or the same as port */

static int
mesh_object_target(mesh_object_t *object, const mesh_json_t *item,
    mesh_service_port_t *port, mesh_err_t *err)
{
    int           rc;
    const char   *text;
    mesh_json_t   target;

    port->target = port->port;
    port->target_name = "";

    rc = mesh_json_any(item, "targetPort", &target, err);

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    if (!json_is_string(target.value)) {
        return mesh_object_number(item, "targetPort", &port->target, err);
    }

    if (mesh_json_as_string(&target, &text, err) != MESH_OK) {
        return MESH_ERROR;
    }

    port->target = 0;
    port->target_name = mesh_object_str(object, text);

    if (text[0] == '\0') {
        return mesh_err(err, "spec.ports.targetPort is empty, expected a "
                        "number or a name");
    }

    return MESH_OK;
}


int
mesh_object_read_slice(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err)
{
    const char    *type, *service;
    mesh_slice_t  *slice;

    (void) meta;

    slice = &object->u.slice;

    if (mesh_object_text(object, root, "addressType", "", &type, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    slice->family = (strcmp(type, "IPv4") == 0) ? 4
                    : (strcmp(type, "IPv6") == 0) ? 6 : 0;

    if (slice->family == 0 && strcmp(type, "FQDN") != 0) {
        return mesh_err(err, "addressType is \"%.40s\", expected IPv4, IPv6 "
                        "or FQDN", type);
    }

    service = mesh_pairs_get(&object->labels, MESH_LABEL_SERVICE);
    slice->service = service ? service : "";

    slice->ports = mesh_object_alloc(object, mesh_object_count(root, "ports")
                                             * sizeof(mesh_slice_port_t));
    slice->endpoints =
        mesh_object_alloc(object, mesh_object_count(root, "endpoints")
                                  * sizeof(mesh_slice_endpoint_t));

    if (mesh_object_each(object, root, "ports", mesh_object_slice_port, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_each(object, root, "endpoints",
                            mesh_object_slice_endpoint, err);
}


static int
mesh_object_slice_port(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    int                 rc;
    mesh_json_t         number;
    mesh_slice_t       *slice;
    mesh_slice_port_t  *port;

    slice = &object->u.slice;

    rc = mesh_object_is_tcp(item, err);
    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    /* without a number: "all ports", which has no meaning for a service */

    rc = mesh_json_any(item, "port", &number, err);
    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    port = &slice->ports[slice->nports++];

    if (mesh_object_number(item, "port", &port->port, err) != MESH_OK
        || mesh_object_text(object, item, "name", "", &port->name, err)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_text(object, item, "appProtocol", "",
                            &port->app_protocol, err);
}


static int
mesh_object_slice_endpoint(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    int                     rc;
    char                    ip[MESH_DOC_IP_MAX];
    size_t                  i, n;
    const char             *text;
    mesh_json_t             list, address, conditions;
    mesh_slice_t           *slice;
    mesh_slice_endpoint_t  *ep;

    slice = &object->u.slice;

    if (slice->family == 0) {
        return MESH_OK;
    }

    ep = &slice->endpoints[slice->nendpoints++];
    ep->ready = 1;                         /* not said is ready */

    rc = mesh_json_object(item, "conditions", &conditions, err);

    if (rc == MESH_ERROR
        || (rc == MESH_OK
            && mesh_json_boolean(&conditions, "ready", &ep->ready, err)
               == MESH_ERROR))
    {
        return MESH_ERROR;
    }

    if (mesh_json_array(item, "addresses", &list, err) != MESH_OK) {
        return mesh_json_missing(item, "addresses", err);
    }

    n = mesh_json_size(&list);
    ep->addresses = mesh_object_alloc(object, n * sizeof(char *));

    for (i = 0; i < n; i++) {
        mesh_json_item(&list, i, &address);

        if (mesh_json_as_string(&address, &text, err) != MESH_OK) {
            return MESH_ERROR;
        }

        if (mesh_doc_ip_canonical(text, ip) != slice->family) {
            return mesh_err(err, "endpoints.addresses holds \"%.80s\", "
                            "expected an IPv%d address", text, slice->family);
        }

        ep->addresses[ep->naddresses++] = mesh_object_str(object, ip);
    }

    if (mesh_object_slice_place(object, item, ep, err) != MESH_OK) {
        return MESH_ERROR;
    }

    return mesh_object_slice_target(object, item, ep, err);
}


/* zone and node; in v1beta1 they were topology labels */

static int
mesh_object_slice_place(mesh_object_t *object, const mesh_json_t *item,
    mesh_slice_endpoint_t *ep, mesh_err_t *err)
{
    const char    *zone;
    mesh_pairs_t   topology;

    memset(&topology, 0, sizeof(topology));

    if (mesh_object_pairs(object, item, "topology", &topology, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    zone = mesh_pairs_get(&topology, MESH_LABEL_ZONE);

    if (mesh_object_text(object, item, "nodeName", "", &ep->node, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_text(object, item, "zone", zone ? zone : "", &ep->zone,
                            err);
}


static int
mesh_object_slice_target(mesh_object_t *object, const mesh_json_t *item,
    mesh_slice_endpoint_t *ep, mesh_err_t *err)
{
    int           rc;
    char          name[MESH_OBJECT_KEY_MAX];
    const char   *kind, *ns, *pod;
    mesh_json_t   ref;

    ep->pod = "";

    rc = mesh_json_object(item, "targetRef", &ref, err);

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    if (mesh_object_text(object, &ref, "kind", "", &kind, err) != MESH_OK
        || mesh_object_text(object, &ref, "namespace", object->namespace_,
                            &ns, err) != MESH_OK
        || mesh_object_text(object, &ref, "name", "", &pod, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (strcmp(kind, "Pod") == 0) {
        snprintf(name, sizeof(name), "%s/%s", ns, pod);
        ep->pod = mesh_object_str(object, name);
    }

    return MESH_OK;
}


int
mesh_object_each(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, mesh_object_item_pt read, mesh_err_t *err)
{
    int           rc;
    size_t        i;
    mesh_json_t   list, item;

    rc = mesh_json_array(parent, name, &list, err);

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    for (i = 0; i < mesh_json_size(&list); i++) {
        mesh_json_item(&list, i, &item);

        if (mesh_json_as_object(&item, err) != MESH_OK
            || read(object, &item, err) != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    return MESH_OK;
}


/* items of a member that may be anything: how much room they can need */

size_t
mesh_object_count(const mesh_json_t *parent, const char *name)
{
    return json_array_size(json_object_get(parent->value, name));
}


int
mesh_object_text(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, const char *preset, const char **text, mesh_err_t *err)
{
    *text = preset;

    if (mesh_json_string(parent, name, text, err) == MESH_ERROR) {
        return MESH_ERROR;
    }

    if (*text != preset) {
        *text = mesh_object_str(object, *text);
    }

    return MESH_OK;
}


/* MESH_DECLINED: another protocol */

int
mesh_object_is_tcp(const mesh_json_t *port, mesh_err_t *err)
{
    const char  *protocol;

    protocol = "TCP";

    if (mesh_json_string(port, "protocol", &protocol, err) == MESH_ERROR) {
        return MESH_ERROR;
    }

    return strcmp(protocol, "TCP") == 0 ? MESH_OK : MESH_DECLINED;
}


int
mesh_object_number(const mesh_json_t *port, const char *name,
    uint16_t *number, mesh_err_t *err)
{
    int64_t  n;

    if (mesh_json_integer(port, name, 1, 65535, &n, err) != MESH_OK) {
        return mesh_json_missing(port, name, err);
    }

    *number = (uint16_t) n;

    return MESH_OK;
}


int
mesh_object_flag(const mesh_json_t *parent, const char *name, int *flag,
    mesh_err_t *err)
{
    return mesh_json_boolean(parent, name, flag, err) == MESH_ERROR
           ? MESH_ERROR : MESH_OK;
}
