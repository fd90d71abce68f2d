
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/*
 * Documents of manifests, case by case: what is an endpoint, which address,
 * which protocol.  The joins as such are u-mesh_index.c's business.
 */

#include <mesh_core.h>
#include <mesh_index.h>
#include <mesh_map.h>
#include <mesh_yaml.h>

#include "unit.h"


static mesh_index_t  *an_index;
static mesh_map_t     docs;
static char           text[4096];


static void
on_document(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *error)
{
    mesh_err_t      err;
    mesh_object_t  *object;

    (void) data;
    (void) yaml;

    if (json == NULL) {
        printf("# line %u: %s\n", line, error->text);
        UNIT_NEED(json != NULL);
    }

    object = mesh_object_new(json, NULL, &err);
    json_decref(json);

    if (object == NULL) {
        printf("# line %u: %s\n", line, err.text);
        UNIT_NEED(object != NULL);
    }

    mesh_index_put(an_index, object);
    mesh_object_unref(object);
}


static void
on_emit(void *data, const char *key, const char *body)
{
    (void) data;

    free(body ? mesh_map_set(&docs, key, strdup(body))
              : mesh_map_remove(&docs, key));
}


static void
begin(const char *yaml)
{
    memset(&docs, 0, sizeof(docs));
    an_index = mesh_index_new("cluster.local");

    (void) mesh_yaml_parse(yaml, strlen(yaml), on_document, NULL);
    (void) mesh_index_update(an_index, on_emit, NULL);
}


static void
end(void)
{
    char    *body;
    size_t   i;

    for (i = 0; (body = mesh_map_next(&docs, &i, NULL)) != NULL; ) {
        free(body);
    }

    mesh_map_free(&docs);
    mesh_index_free(an_index);
}


/* "protocol address:port=workload[+] .." of a port of a service; + is meshed */

static const char *
ports(const char *service, size_t n)
{
    char         key[128];
    size_t       i, len;
    json_t      *doc, *port, *ep;
    const char  *body, *workload;

    snprintf(key, sizeof(key), "mesh:svc:%s", service);

    body = mesh_map_get(&docs, key);
    if (body == NULL) {
        return NULL;
    }

    doc = json_loads(body, 0, NULL);
    port = json_array_get(json_object_get(doc, "ports"), n);

    snprintf(text, sizeof(text), "%s",
             json_string_value(json_object_get(port, "protocol")));

    json_array_foreach(json_object_get(port, "endpoints"), i, ep) {
        len = strlen(text);
        workload = json_string_value(json_object_get(ep, "workload"));

        snprintf(text + len, sizeof(text) - len, " %s:%d=%s%s",
                 json_string_value(json_object_get(ep, "address")),
                 (int) json_integer_value(json_object_get(ep, "port")),
                 workload ? workload : "",
                 json_is_true(json_object_get(ep, "meshed")) ? "+" : "");
    }

    json_decref(doc);

    return text;
}


#define POD(name, label, ips, more)                                           \
    "---\nkind: Pod\napiVersion: v1\n"                                        \
    "metadata: {name: " name ", namespace: a, labels: {app: " label "},"      \
    " annotations: {ngx-mesh.io/status: injected}}\n"                         \
    "spec:\n  containers: [{ports: [{name: web, containerPort: 8080}]}]\n"    \
    more                                                                      \
    "status:\n  phase: Running\n  podIPs: " ips "\n"                          \
    "  conditions: [{type: Ready, status: \"True\"}]\n"

#define SERVICE(name, spec)                                                   \
    "---\nkind: Service\napiVersion: v1\n"                                    \
    "metadata: {name: " name ", namespace: a}\nspec: " spec "\n"

#define SLICE(name, service, type, endpoints)                                 \
    "---\nkind: EndpointSlice\napiVersion: discovery.k8s.io/v1\n"             \
    "metadata: {name: " name ", namespace: a,"                                \
    " labels: {kubernetes.io/service-name: " service "}}\n"                   \
    "addressType: " type "\nports: [{port: 8080}]\nendpoints: " endpoints "\n"


static void
dual_stack_counts_a_pod_once(void)
{
    begin(SERVICE("v4", "{clusterIPs: [10.96.0.1, \"fd00:96::1\"],"
                  " selector: {app: x}, ports: [{port: 80, targetPort: web}]}")
          SERVICE("v6", "{clusterIPs: [\"fd00:96::2\"], selector: {app: x},"
                  " ports: [{port: 80, targetPort: 9}]}")
          POD("p1", "x", "[{ip: 10.244.0.1}, {ip: \"fd00:244::1\"}]", "")
          POD("p2", "x", "[{ip: 10.244.0.2}]", ""));

    UNIT_STR(ports("a/v4", 0),
             "detect 10.244.0.1:8080=a/p1+ 10.244.0.2:8080=a/p2+");
    UNIT_STR(ports("a/v6", 0), "detect 10.244.0.2:9=a/p2+ "
                               "fd00:244::1:9=a/p1+");
    UNIT_STR(mesh_map_get(&docs, "mesh:vip:fd00:96::1:80"),
             "{\"service\":\"a/v4\",\"port\":80}");
    UNIT_STR(mesh_map_get(&docs, "mesh:ip:fd00:244::1"),
             "{\"workload\":\"a/p1\"}");
    end();
}


static void
slices_go_before_selectors(void)
{
    begin(SERVICE("s", "{clusterIP: 10.96.0.1, selector: {app: x},"
                  " ports: [{port: 80}]}")
          POD("p1", "x", "[{ip: 10.244.0.1}, {ip: \"fd00:244::1\"}]", "")
          POD("p2", "x", "[{ip: 10.244.0.2}]", "")
          SLICE("s1", "s", "IPv4", "[{addresses: [10.244.0.1], targetRef: "
                "{kind: Pod, name: p1}}, {addresses: [192.168.7.7]}]")
          SLICE("s2", "s", "IPv6", "[{addresses: [\"fd00:244::1\"], "
                "targetRef: {kind: Pod, name: p1}}]"));

    UNIT_STR(ports("a/s", 0),
             "detect 10.244.0.1:8080=a/p1+ 192.168.7.7:8080=");
    end();
}


static void
slices_without_the_pod_do_not_count(void)
{
    /* not there yet: whether it is meshed is not known, so no endpoint */

    begin(SERVICE("s", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}")
          SLICE("s1", "s", "IPv4", "[{addresses: [10.244.0.1], targetRef: "
                "{kind: Pod, name: p1}}]"));
    UNIT_STR(ports("a/s", 0), "detect");

    (void) mesh_yaml_parse(POD("p1", "x", "[{ip: 10.244.0.1}]", ""),
                           strlen(POD("p1", "x", "[{ip: 10.244.0.1}]", "")),
                           on_document, NULL);
    (void) mesh_index_update(an_index, on_emit, NULL);
    UNIT_STR(ports("a/s", 0), "detect 10.244.0.1:8080=a/p1+");
    end();

    /* an address alone is enough to be found out as a meshed pod */

    begin(SERVICE("s", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}")
          POD("p1", "x", "[{ip: 10.244.0.1}]", "")
          SLICE("s1", "s", "IPv4", "[{addresses: [10.244.0.1]}]"));
    UNIT_STR(ports("a/s", 0), "detect 10.244.0.1:8080=a/p1+");
    end();
}


static void
pods_of_the_hosts_network_are_not_meshed(void)
{
    begin(SERVICE("s", "{clusterIP: 10.96.0.1, selector: {app: x},"
                  " ports: [{port: 80}]}")
          POD("p1", "x", "[{ip: 192.168.0.1}]", "  hostNetwork: true\n")
          POD("p2", "x", "[{ip: 192.168.0.1}]", "  hostNetwork: true\n"));

    UNIT_STR(ports("a/s", 0),
             "detect 192.168.0.1:80=a/p1 192.168.0.1:80=a/p2");
    UNIT_OK(mesh_map_get(&docs, "mesh:ip:192.168.0.1") == NULL);
    UNIT_HAS(mesh_map_get(&docs, "mesh:wl:a/p1"), "\"addresses\":[]");
    end();
}


static void
headless_services_have_no_vip(void)
{
    begin(SERVICE("s", "{clusterIP: None, selector: {app: x},"
                  " ports: [{port: 80, targetPort: web}]}")
          SERVICE("e", "{type: ExternalName, externalName: example.org}")
          SERVICE("bare", "{clusterIP: 10.96.0.2}")
          POD("p1", "x", "[{ip: 10.244.0.1}]", ""));

    UNIT_STR(ports("a/s", 0), "detect 10.244.0.1:8080=a/p1+");
    UNIT_HAS(mesh_map_get(&docs, "mesh:svc:a/s"), "\"addresses\":[]");
    UNIT_OK(mesh_map_get(&docs, "mesh:svc:a/e") == NULL);
    UNIT_HAS(mesh_map_get(&docs, "mesh:svc:a/bare"), "\"ports\":[]");
    UNIT_EQ(docs.n, 4);
    end();
}


static void
protocols_by_order_of_precedence(void)
{
    begin("---\nkind: Namespace\napiVersion: v1\nmetadata: {name: a,"
          " annotations: {ngx-mesh.io/opaque-ports: \"7000-7001\"}}\n"
          SERVICE("s", "{clusterIP: 10.96.0.1, ports: ["
                  "{name: http-a, port: 80}, {name: x, port: 81,"
                  " appProtocol: kubernetes.io/h2c}, {name: http, port: 82,"
                  " appProtocol: https}, {name: http, port: 7000},"
                  " {name: y, port: 83}]}")
          "---\nkind: Service\napiVersion: v1\nmetadata: {name: own,"
          " namespace: a, annotations: {ngx-mesh.io/opaque-ports: \"1\"}}\n"
          "spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 7000}]}\n"
          SERVICE("pod", "{clusterIP: 10.96.0.3, selector: {app: z},"
                  " ports: [{port: 80, targetPort: 7001}]}")
          POD("z", "z", "[{ip: 10.244.0.9}]", ""));

    UNIT_STR(ports("a/s", 0), "http1");
    UNIT_STR(ports("a/s", 1), "http2");
    UNIT_STR(ports("a/s", 2), "tls");
    UNIT_STR(ports("a/s", 3), "opaque");
    UNIT_STR(ports("a/s", 4), "detect");
    UNIT_STR(ports("a/own", 0), "http1");
    UNIT_STR(ports("a/pod", 0), "opaque 10.244.0.9:7001=a/z+");
    end();
}


static void
an_address_is_the_younger_pods(void)
{
    begin("---\nkind: Pod\napiVersion: v1\nmetadata: {name: old,"
          " namespace: a, creationTimestamp: \"2026-01-01T00:00:00Z\"}\n"
          "spec: {}\nstatus: {phase: Running, podIP: 10.244.0.1}\n"
          "---\nkind: Pod\napiVersion: v1\nmetadata: {name: new,"
          " namespace: a, creationTimestamp: \"2026-01-02T00:00:00Z\"}\n"
          "spec: {}\nstatus: {phase: Running, podIP: 10.244.0.1}\n"
          "---\nkind: Pod\napiVersion: v1\nmetadata: {name: over,"
          " namespace: a, creationTimestamp: \"2026-01-03T00:00:00Z\"}\n"
          "spec: {}\nstatus: {phase: Failed, podIP: 10.244.0.1}\n");

    UNIT_STR(mesh_map_get(&docs, "mesh:ip:10.244.0.1"),
             "{\"workload\":\"a/new\"}");
    UNIT_OK(mesh_map_get(&docs, "mesh:wl:a/over") == NULL);
    end();
}


UNIT_TESTS = {
    UNIT(dual_stack_counts_a_pod_once),
    UNIT(slices_go_before_selectors),
    UNIT(slices_without_the_pod_do_not_count),
    UNIT(pods_of_the_hosts_network_are_not_meshed),
    UNIT(headless_services_have_no_vip),
    UNIT(protocols_by_order_of_precedence),
    UNIT(an_address_is_the_younger_pods),
    UNIT_END
};
