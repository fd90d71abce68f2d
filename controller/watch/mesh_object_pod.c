
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The reader of pods: where it runs and as whom, what it serves, and whether
 * it is meshed.
 */

#include <mesh_object_kinds.h>


#define MESH_LABEL_TEMPLATE_HASH  "pod-template-hash"


static int mesh_object_pod_spec(mesh_object_t *object,
    const mesh_json_t *spec, mesh_err_t *err);
static int mesh_object_container(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_init_container(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_container_port(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_pod_status(mesh_object_t *object,
    const mesh_json_t *status, mesh_err_t *err);
static int mesh_object_condition(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);
static int mesh_object_pod_ip(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err);
static int mesh_object_pod_meta(mesh_object_t *object,
    const mesh_json_t *meta, mesh_err_t *err);
static int mesh_object_owner(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err);
static void mesh_object_deployment(mesh_object_t *object);


int
mesh_object_read_pod(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err)
{
    int           rc;
    mesh_json_t   spec, status;
    mesh_pod_t   *pod;

    pod = &object->u.pod;

    if (mesh_json_object(root, "spec", &spec, err) != MESH_OK) {
        return mesh_json_missing(root, "spec", err);
    }

    if (mesh_object_pod_spec(object, &spec, err) != MESH_OK) {
        return MESH_ERROR;
    }

    rc = mesh_json_object(root, "status", &status, err);

    if (rc == MESH_ERROR
        || (rc == MESH_OK
            && mesh_object_pod_status(object, &status, err) != MESH_OK))
    {
        return MESH_ERROR;
    }

    if (mesh_object_pod_meta(object, meta, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (pod->host_network) {
        pod->meshed = 0;                   /* no namespace of its own */
    }

    return MESH_OK;
}


static int
mesh_object_pod_spec(mesh_object_t *object, const mesh_json_t *spec,
    mesh_err_t *err)
{
    size_t        i, n;
    mesh_pod_t   *pod;
    mesh_json_t   list, item;

    pod = &object->u.pod;

    if (mesh_object_text(object, spec, "serviceAccountName", "default",
                         &pod->service_account, err) != MESH_OK
        || mesh_object_text(object, spec, "nodeName", "", &pod->node, err)
           != MESH_OK
        || mesh_object_flag(spec, "hostNetwork", &pod->host_network, err)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    /* it becomes part of an identity */

    if (!mesh_object_is_name(pod->service_account)) {
        return mesh_err(err, "spec.serviceAccountName is \"%.80s\", expected "
                        "a name of [a-z0-9.-]", pod->service_account);
    }

    /* room for the ports of all containers */

    n = 0;

    if (mesh_json_array(spec, "containers", &list, err) == MESH_OK) {
        for (i = 0; i < mesh_json_size(&list); i++) {
            mesh_json_item(&list, i, &item);
            n += mesh_object_count(&item, "ports");
        }
    }

    if (mesh_json_array(spec, "initContainers", &list, err) == MESH_OK) {
        for (i = 0; i < mesh_json_size(&list); i++) {
            mesh_json_item(&list, i, &item);
            n += mesh_object_count(&item, "ports");
        }
    }

    pod->ports = mesh_object_alloc(object,
                                   n * sizeof(mesh_container_port_t));

    if (mesh_object_each(object, spec, "containers", mesh_object_container,
                         err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_each(object, spec, "initContainers",
                            mesh_object_init_container, err);
}


static int
mesh_object_container(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    return mesh_object_each(object, item, "ports",
                            mesh_object_container_port, err);
}


/* native sidecars serve as well, other init containers are gone by then */

static int
mesh_object_init_container(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    const char  *policy;

    if (mesh_object_text(object, item, "restartPolicy", "", &policy, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (strcmp(policy, "Always") != 0) {
        return MESH_OK;
    }

    return mesh_object_container(object, item, err);
}


static int
mesh_object_container_port(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    int                     rc;
    mesh_pod_t             *pod;
    mesh_container_port_t  *port;

    pod = &object->u.pod;

    rc = mesh_object_is_tcp(item, err);
    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    port = &pod->ports[pod->nports++];

    if (mesh_object_number(item, "containerPort", &port->port, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_object_text(object, item, "name", "", &port->name, err);
}


static int
mesh_object_pod_status(mesh_object_t *object, const mesh_json_t *status,
    mesh_err_t *err)
{
    char         ip[MESH_DOC_IP_MAX];
    mesh_pod_t  *pod;
    const char  *phase, *text;

    pod = &object->u.pod;

    if (mesh_object_text(object, status, "phase", "", &phase, err) != MESH_OK
        || mesh_object_text(object, status, "podIP", "", &text, err)
           != MESH_OK
        || mesh_object_each(object, status, "conditions",
                            mesh_object_condition, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    pod->over = strcmp(phase, "Succeeded") == 0
                || strcmp(phase, "Failed") == 0;
    pod->serving = pod->serving && strcmp(phase, "Running") == 0;

    pod->addresses =
        mesh_object_alloc(object, (mesh_object_count(status, "podIPs") + 1)
                                  * sizeof(char *));

    if (mesh_object_each(object, status, "podIPs", mesh_object_pod_ip, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (pod->naddresses || text[0] == '\0') {
        return MESH_OK;
    }

    if (mesh_doc_ip_canonical(text, ip) == 0) {
        return mesh_err(err, "status.podIP is \"%.80s\", expected an address",
                        text);
    }

    pod->addresses[pod->naddresses++] = mesh_object_str(object, ip);

    return MESH_OK;
}


static int
mesh_object_condition(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    const char  *type, *status;

    if (mesh_object_text(object, item, "type", "", &type, err) != MESH_OK
        || mesh_object_text(object, item, "status", "", &status, err)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (strcmp(type, "Ready") == 0) {
        object->u.pod.serving = (strcmp(status, "True") == 0);
    }

    return MESH_OK;
}


static int
mesh_object_pod_ip(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    char         ip[MESH_DOC_IP_MAX];
    mesh_pod_t  *pod;
    const char  *text;

    pod = &object->u.pod;

    if (mesh_json_string(item, "ip", &text, err) != MESH_OK) {
        return mesh_json_missing(item, "ip", err);
    }

    if (mesh_doc_ip_canonical(text, ip) == 0) {
        return mesh_err(err, "status.podIPs holds \"%.80s\", expected an "
                        "address", text);
    }

    pod->addresses[pod->naddresses++] = mesh_object_str(object, ip);

    return MESH_OK;
}


static int
mesh_object_pod_meta(mesh_object_t *object, const mesh_json_t *meta,
    mesh_err_t *err)
{
    int           rc;
    const char   *text;
    mesh_pod_t   *pod;
    mesh_json_t   annotations;

    pod = &object->u.pod;

    pod->owner.kind = "";
    pod->owner.name = "";

    rc = mesh_json_object(meta, "annotations", &annotations, err);

    if (rc == MESH_ERROR) {
        return MESH_ERROR;
    }

    if (rc == MESH_OK) {
        if (mesh_object_text(object, &annotations, MESH_ANNOTATION_STATUS, "",
                             &text, err) != MESH_OK)
        {
            return MESH_ERROR;
        }

        pod->meshed = (strcmp(text, MESH_STATUS_INJECTED) == 0);
    }

    if (mesh_object_text(object, meta, "deletionTimestamp", "", &text, err)
        != MESH_OK
        || mesh_object_text(object, meta, "creationTimestamp", "",
                            &pod->created, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    pod->terminating = (text[0] != '\0');

    if (mesh_object_each(object, meta, "ownerReferences", mesh_object_owner,
                         err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    mesh_object_deployment(object);

    return MESH_OK;
}


/* the controller among the owners, else the first of them */

static int
mesh_object_owner(mesh_object_t *object, const mesh_json_t *item,
    mesh_err_t *err)
{
    int          controller;
    char         lower[64];
    size_t       i;
    mesh_pod_t  *pod;
    const char  *kind, *name;

    pod = &object->u.pod;

    controller = 0;

    if (mesh_object_flag(item, "controller", &controller, err) != MESH_OK
        || mesh_object_text(object, item, "kind", "", &kind, err) != MESH_OK
        || mesh_object_text(object, item, "name", "", &name, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (pod->owner.kind[0] && !controller) {
        return MESH_OK;
    }

    for (i = 0; kind[i] && i < sizeof(lower) - 1; i++) {
        lower[i] = (kind[i] >= 'A' && kind[i] <= 'Z')
                   ? (char) (kind[i] + ('a' - 'A')) : kind[i];
    }

    lower[i] = '\0';

    pod->owner.kind = mesh_object_str(object, lower);
    pod->owner.name = name;

    return MESH_OK;
}


/* a ReplicaSet of a Deployment is named after it and the template's hash */

static void
mesh_object_deployment(mesh_object_t *object)
{
    char         name[256];
    size_t       len, hash_len;
    mesh_pod_t  *pod;
    const char  *hash;

    pod = &object->u.pod;

    hash = mesh_pairs_get(&object->labels, MESH_LABEL_TEMPLATE_HASH);

    if (hash == NULL || hash[0] == '\0'
        || strcmp(pod->owner.kind, "replicaset") != 0)
    {
        return;
    }

    len = strlen(pod->owner.name);
    hash_len = strlen(hash);

    if (len < hash_len + 2 || len >= sizeof(name)
        || pod->owner.name[len - hash_len - 1] != '-'
        || strcmp(pod->owner.name + len - hash_len, hash) != 0)
    {
        return;
    }

    memcpy(name, pod->owner.name, len);
    name[len - hash_len - 1] = '\0';

    pod->owner.kind = "deployment";
    pod->owner.name = mesh_object_str(object, name);
}
