
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/* The readers of kinds: what kubectl prints, and recordings of a server. */

#include <mesh_core.h>
#include <mesh_file.h>
#include <mesh_object.h>
#include <mesh_yaml.h>

#include "unit.h"


static mesh_err_t      err;
static mesh_object_t  *made;


static void
on_document(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *error)
{
    (void) data;
    (void) line;
    (void) yaml;

    if (json == NULL) {
        err = *error;
        return;
    }

    made = mesh_object_new(json, NULL, &err);
    json_decref(json);
}


static mesh_object_t *
yaml(const char *text)
{
    made = NULL;
    memset(&err, 0, sizeof(err));

    (void) mesh_yaml_parse(text, strlen(text), on_document, NULL);

    return made;
}


static void
a_service_is_read(void)
{
    mesh_object_t   *object;
    mesh_service_t  *svc;

    object = yaml("apiVersion: v1\nkind: Service\n"
                  "metadata: {name: cart, namespace: shop}\n"
                  "spec:\n"
                  "  clusterIP: 10.96.14.7\n"
                  "  clusterIPs: [10.96.14.7, \"FD00:96::7\"]\n"
                  "  ipFamilies: [IPv4, IPv6]\n"
                  "  selector: {app: cart, tier: back}\n"
                  "  publishNotReadyAddresses: true\n"
                  "  ports:\n"
                  "  - {name: http, port: 80, targetPort: web}\n"
                  "  - {name: db, port: 5432, protocol: TCP,\n"
                  "     appProtocol: tcp}\n"
                  "  - {name: dns, port: 53, protocol: UDP}\n"
                  "  - {name: m, port: 9, targetPort: 90, nodePort: 30001}\n");
    UNIT_STR(err.text, "");
    UNIT_NEED(object != NULL);

    svc = &object->u.service;

    UNIT_EQ(svc->naddresses, 2);
    UNIT_STR(svc->addresses[0], "10.96.14.7");
    UNIT_STR(svc->addresses[1], "fd00:96::7");
    UNIT_EQ(svc->family, 4);
    UNIT_EQ(svc->selector.n, 2);
    UNIT_EQ(svc->publish_not_ready, 1);
    UNIT_EQ(svc->external, 0);
    UNIT_NEED(svc->nports == 3);
    UNIT_STR(svc->ports[0].target_name, "web");
    UNIT_EQ(svc->ports[1].target, 5432);
    UNIT_STR(svc->ports[1].app_protocol, "tcp");
    UNIT_EQ(svc->ports[2].target, 90);

    mesh_object_unref(object);
}


static void
a_headless_service_has_no_address(void)
{
    mesh_object_t  *object;

    object = yaml("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                  "spec: {clusterIP: None, clusterIPs: [None],\n"
                  "       ipFamilies: [IPv6], ports: [{port: 80}]}\n");
    UNIT_NEED(object != NULL);
    UNIT_EQ(object->u.service.naddresses, 0);
    UNIT_EQ(object->u.service.family, 6);
    UNIT_EQ(object->u.service.selector.n, 0);
    mesh_object_unref(object);

    object = yaml("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                  "spec: {type: ExternalName, externalName: x.org}\n");
    UNIT_NEED(object != NULL);
    UNIT_EQ(object->u.service.external, 1);
    mesh_object_unref(object);
}


static void
a_pod_is_read(void)
{
    mesh_pod_t     *pod;
    mesh_object_t  *object;

    object = yaml("apiVersion: v1\nkind: Pod\n"
                  "metadata:\n"
                  "  name: web-6f7c5d-x\n"
                  "  namespace: shop\n"
                  "  creationTimestamp: \"2026-11-23T03:29:17Z\"\n"
                  "  labels: {app: web, pod-template-hash: 6f7c5d}\n"
                  "  annotations: {ngx-mesh.io/status: injected}\n"
                  "  ownerReferences:\n"
                  "  - {kind: Thing, name: other}\n"
                  "  - {kind: ReplicaSet, name: web-6f7c5d,\n"
                  "     controller: true}\n"
                  "spec:\n"
                  "  serviceAccountName: web\n"
                  "  nodeName: n1\n"
                  "  containers:\n"
                  "  - name: app\n"
                  "    ports: [{containerPort: 8080, name: http},\n"
                  "            {containerPort: 53, protocol: UDP}]\n"
                  "  - {name: bare}\n"
                  "  initContainers:\n"
                  "  - name: once\n"
                  "    ports: [{containerPort: 1}]\n"
                  "  - name: beside\n"
                  "    restartPolicy: Always\n"
                  "    ports: [{containerPort: 4191}]\n"
                  "status:\n"
                  "  phase: Running\n"
                  "  podIP: 10.244.0.5\n"
                  "  podIPs: [{ip: 10.244.0.5}, {ip: \"fd00:244:0::5\"}]\n"
                  "  conditions: [{type: Ready, status: \"True\"}]\n");
    UNIT_STR(err.text, "");
    UNIT_NEED(object != NULL);

    pod = &object->u.pod;

    UNIT_STR(pod->service_account, "web");
    UNIT_STR(pod->node, "n1");
    UNIT_STR(pod->created, "2026-11-23T03:29:17Z");
    UNIT_STR(pod->owner.kind, "deployment");
    UNIT_STR(pod->owner.name, "web");
    UNIT_NEED(pod->naddresses == 2);
    UNIT_STR(pod->addresses[1], "fd00:244::5");
    UNIT_NEED(pod->nports == 2);
    UNIT_EQ(pod->ports[0].port, 8080);
    UNIT_STR(pod->ports[0].name, "http");
    UNIT_EQ(pod->ports[1].port, 4191);
    UNIT_OK(pod->serving && pod->meshed);
    UNIT_OK(!pod->terminating && !pod->over && !pod->host_network);

    mesh_object_unref(object);
}


/* a pod with some lines of metadata, spec and status */

static mesh_object_t *
pod_with(const char *meta, const char *spec, const char *status)
{
    char  text[2048];

    snprintf(text, sizeof(text), "apiVersion: v1\nkind: Pod\n"
             "metadata: {name: p, namespace: a%s}\nspec: {x: y%s}\n"
             "status: {x: y%s}\n", meta, spec, status);

    return yaml(text);
}


static void
states_of_a_pod(void)
{
    mesh_object_t  *object;

    object = pod_with("", "", ", phase: Running, conditions: "
                      "[{type: Ready, status: \"False\"}]");
    UNIT_NEED(object != NULL);
    UNIT_EQ(object->u.pod.serving, 0);
    UNIT_STR(object->u.pod.service_account, "default");
    UNIT_STR(object->u.pod.owner.kind, "");
    mesh_object_unref(object);

    object = pod_with("", "", ", phase: Pending, conditions: "
                      "[{type: Ready, status: \"True\"}]");
    UNIT_NEED(object != NULL);
    UNIT_EQ(object->u.pod.serving, 0);
    mesh_object_unref(object);

    object = pod_with(", deletionTimestamp: \"2026-11-23T03:29:17Z\"", "",
                      ", phase: Succeeded, podIP: 10.0.0.1");
    UNIT_NEED(object != NULL);
    UNIT_OK(object->u.pod.over && object->u.pod.terminating);
    UNIT_EQ(object->u.pod.naddresses, 1);
    mesh_object_unref(object);

    object = pod_with(", annotations: {ngx-mesh.io/status: injected}",
                      ", hostNetwork: true", "");
    UNIT_NEED(object != NULL);
    UNIT_OK(object->u.pod.host_network && !object->u.pod.meshed);
    mesh_object_unref(object);

    object = pod_with(", ownerReferences: [{kind: StatefulSet, name: db}]",
                      "", "");
    UNIT_NEED(object != NULL);
    UNIT_STR(object->u.pod.owner.kind, "statefulset");
    UNIT_STR(object->u.pod.owner.name, "db");
    mesh_object_unref(object);

    object = pod_with(", labels: {pod-template-hash: abc}, ownerReferences: "
                      "[{kind: ReplicaSet, name: web-xyz}]", "", "");
    UNIT_NEED(object != NULL);
    UNIT_STR(object->u.pod.owner.kind, "replicaset");
    UNIT_STR(object->u.pod.owner.name, "web-xyz");
    mesh_object_unref(object);
}


static void
slices_are_read(void)
{
    mesh_slice_t   *slice;
    mesh_object_t  *object;

    object = yaml("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                  "metadata: {name: web-1, namespace: shop,\n"
                  "  labels: {kubernetes.io/service-name: web}}\n"
                  "addressType: IPv4\n"
                  "ports: [{name: http, port: 8080, appProtocol: http},\n"
                  "        {name: u, port: 53, protocol: UDP}, {name: all}]\n"
                  "endpoints:\n"
                  "- addresses: [10.244.0.3]\n"
                  "  conditions: {ready: true, terminating: false}\n"
                  "  nodeName: n1\n  zone: a\n"
                  "  targetRef: {kind: Pod, name: web-1, namespace: shop}\n"
                  "- addresses: [10.244.0.4]\n"
                  "- addresses: [10.244.0.5]\n"
                  "  conditions: {ready: false, serving: true,\n"
                  "               terminating: true}\n"
                  "- addresses: [10.244.0.6]\n"
                  "  conditions: {ready: null}\n");
    UNIT_STR(err.text, "");
    UNIT_NEED(object != NULL);

    slice = &object->u.slice;

    UNIT_STR(slice->service, "web");
    UNIT_EQ(slice->family, 4);
    UNIT_NEED(slice->nports == 1);
    UNIT_STR(slice->ports[0].app_protocol, "http");
    UNIT_NEED(slice->nendpoints == 4);
    UNIT_STR(slice->endpoints[0].pod, "shop/web-1");
    UNIT_STR(slice->endpoints[0].zone, "a");
    UNIT_EQ(slice->endpoints[0].ready, 1);
    UNIT_EQ(slice->endpoints[1].ready, 1);
    UNIT_STR(slice->endpoints[1].pod, "");
    UNIT_EQ(slice->endpoints[2].ready, 0);
    UNIT_EQ(slice->endpoints[3].ready, 1);

    mesh_object_unref(object);

    object = yaml("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                  "metadata: {name: x}\naddressType: FQDN\nports: []\n"
                  "endpoints: [{addresses: [example.org]}]\n");
    UNIT_NEED(object != NULL);
    UNIT_EQ(object->u.slice.family, 0);
    mesh_object_unref(object);
}


static void
wrong_members_say_where(void)
{
    size_t  i;

    static const struct {
        const char  *text;
        const char  *word;
    } rows[] = {
        { "kind: Service\nmetadata: {name: a}\n", "spec is missing" },
        { "kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80},"
          " {port: \"81\"}]}\n", "spec.ports[1].port is a string" },
        { "kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: "
          "70000}]}\n", "spec.ports[0].port" },
        { "kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, "
          "targetPort: 0}]}\n", "spec.ports[0].targetPort" },
        { "kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, "
          "targetPort: \"\"}]}\n", "targetPort is empty" },
        { "kind: Service\nmetadata: {name: a}\nspec: {ports: {}}\n",
          "spec.ports is an object" },
        { "kind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0}\n",
          "spec.clusterIP" },
        { "kind: Service\nmetadata: {name: a}\nspec: {selector: {app: "
          "7}}\n", "spec.selector.app is an integer" },
        { "kind: Pod\nmetadata: {name: a, labels: {x: true}}\nspec: {}\n",
          "metadata.labels.x is " },
        { "kind: Pod\nmetadata: {name: a}\nspec: {serviceAccountName: "
          "A/b}\n", "spec.serviceAccountName" },
        { "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{"
          "containerPort: x}]}]}\n",
          "spec.containers[0].ports[0].containerPort is a string" },
        { "kind: Pod\nmetadata: {name: a}\nspec: {}\nstatus: {podIPs: [{ip: "
          "x}]}\n", "status.podIPs holds \"x\"" },
        { "kind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: 1}\n",
          "spec.hostNetwork" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char  text[512];

        snprintf(text, sizeof(text), "apiVersion: v1\n%s", rows[i].text);

        UNIT_OK(yaml(text) == NULL);
        UNIT_HAS(err.text, rows[i].word);
    }

    UNIT_OK(yaml("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                 "metadata: {name: x}\naddressType: IPv4\n"
                 "endpoints: [{addresses: [\"fd00::1\"]}]\n") == NULL);
    UNIT_HAS(err.text, "expected an IPv4 address");

    UNIT_OK(yaml("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                 "metadata: {name: x}\naddressType: IPv5\n") == NULL);
    UNIT_HAS(err.text, "addressType");
}


static unsigned  count;


static void
on_recording(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *error)
{
    size_t           i;
    json_t          *item, *items;
    const char      *list;
    mesh_object_t   *object;

    (void) line;
    (void) yaml;
    (void) error;

    UNIT_NEED(json != NULL);

    list = json_string_value(json_object_get(json, "kind"));
    items = json_object_get(json, "items");

    if (strcmp(json_string_value(json_object_get(json, "type"))
               ? json_string_value(json_object_get(json, "type")) : "",
               "BOOKMARK") == 0)
    {
        json_decref(json);             /* has no name */
        return;
    }

    if (items == NULL) {               /* a watch's event */
        object = mesh_object_new(json_object_get(json, "object"), NULL, &err);

        if (object) {
            mesh_object_unref(object);
            count++;

        } else {
            UNIT_STR(err.text, data);
        }
    }

    json_array_foreach(items, i, item) {
        object = mesh_object_new(item, list, &err);

        if (!UNIT_OK(object != NULL)) {
            UNIT_STR(err.text, "");
            continue;
        }

        mesh_object_unref(object);
        count++;
    }

    json_decref(json);
}


static unsigned
recording(const char *path)
{
    char    *text, *line, *end;
    size_t   len;

    count = 0;

    if (mesh_file_read(path, MESH_YAML_MAX_BYTES, &text, &len, &err)
        != MESH_OK)
    {
        UNIT_STR(err.text, "");
        return 0;
    }

    if (strstr(path, ".jsonl")) {
        for (line = text; (end = strchr(line, '\n')) != NULL; line = end + 1)
        {
            (void) mesh_yaml_parse(line, (size_t) (end - line), on_recording,
                                   "");
        }

    } else {
        (void) mesh_yaml_parse(text, len, on_recording, "");
    }

    free(text);

    return count;
}


static void
recordings_are_read(void)
{
    UNIT_EQ(recording("t/data/kubernetes/list-pods.json"), 2);
    UNIT_OK(recording("t/data/kubernetes/list-services.json") >= 3);
    UNIT_OK(recording("t/data/kubernetes/list-namespaces.json") >= 4);
    UNIT_OK(recording("t/data/kubernetes/list-endpointslices-v1.json") >= 1);
    UNIT_OK(recording("t/data/kubernetes/list-endpointslices-v1beta1.json")
            >= 2);
    UNIT_OK(recording("t/data/kubernetes/watch-pods.jsonl") >= 4);
}


UNIT_TESTS = {
    UNIT(a_service_is_read),
    UNIT(a_headless_service_has_no_address),
    UNIT(a_pod_is_read),
    UNIT(states_of_a_pod),
    UNIT(slices_are_read),
    UNIT(wrong_members_say_where),
    UNIT(recordings_are_read),
    UNIT_END
};
