
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/*
 * The index after random changes, compared twice: with a new index that is
 * given the same objects in another order, and with an evaluator of this
 * file that looks at all of a small world each time and shares no code with
 * the index.
 */

#include <mesh_core.h>
#include <mesh_index.h>
#include <mesh_map.h>

#include "unit.h"


#define PODS      8
#define SERVICES  5
#define SLICES    4
#define NODES     2
#define NSS       2
#define OBJECTS   (PODS + SERVICES + SLICES + NODES + NSS)
#define STEPS     3000


/* the world, in plain numbers */

typedef struct {
    int  there, ready, terminating, over, host, meshed, opaque;
    int  ns, app, ip, created, node, named;
} pod_t;

typedef struct {
    int  there, ns, app, vip, slices, named, unready, opaque, external;
} service_t;

typedef struct {
    int  there, service, ip[2], pod[2], ready[2];
} slice_t;


static pod_t       pods[PODS];
static service_t   services[SERVICES];
static slice_t     slices[SLICES];
static int         zones[NODES];          /* 0: there is no such node */
static int         nss[NSS];              /* 0: no object, 2: port 80 opaque */
static uint32_t    rnd_state;
static mesh_map_t  mirror;                /* what was emitted: key -> body */


static int
rnd(int n)
{
    rnd_state = rnd_state * 1664525 + 1013904223;

    return (int) ((rnd_state >> 10) % (uint32_t) n);
}


static const char *
ip_text(int ip)
{
    static char      text[4][32];
    static unsigned  i;

    i = (i + 1) % 4;
    snprintf(text[i], sizeof(text[i]), "10.244.0.%d", ip + 1);

    return text[i];
}


/* objects as manifests, from the numbers */

static char *
object_text(int n)
{
    char        *text, target[128];
    pod_t       *p;
    slice_t     *e;
    service_t   *s;

    text = malloc(2048);

    if (n < PODS) {
        p = &pods[n];

        snprintf(text, 2048, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
                 "\"metadata\":{\"name\":\"p%d\",\"namespace\":\"n%d\","
                 "\"creationTimestamp\":\"2026-01-0%dT00:00:00Z\","
                 "%s\"labels\":{\"app\":\"a%d\"},\"annotations\":{%s"
                 "\"ngx-mesh.io/status\":\"%s\"}},\"spec\":{"
                 "\"serviceAccountName\":\"sa%d\",\"nodeName\":\"node%d\","
                 "\"hostNetwork\":%s,\"containers\":[{\"ports\":[{"
                 "\"name\":\"%s\",\"containerPort\":8080}]}]},"
                 "\"status\":{\"phase\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],"
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
                 n, p->ns, p->created + 1,
                 p->terminating ? "\"deletionTimestamp\":\"x\"," : "", p->app,
                 p->opaque ? "\"ngx-mesh.io/opaque-ports\":\"8080\"," : "",
                 p->meshed ? "injected" : "", n, p->node,
                 p->host ? "true" : "false", p->named ? "web" : "other",
                 p->over ? "Succeeded" : "Running", ip_text(p->ip),
                 p->ready ? "True" : "False");
        return text;
    }

    n -= PODS;

    if (n < SERVICES) {
        s = &services[n];

        snprintf(text, 2048, "{\"kind\":\"Service\",\"apiVersion\":\"v1\","
                 "\"metadata\":{\"name\":\"s%d\",\"namespace\":\"n%d\","
                 "\"annotations\":{%s}},\"spec\":{\"type\":\"%s\","
                 "\"clusterIP\":\"10.96.0.%d\",\"selector\":{\"app\":"
                 "\"a%d\"},\"publishNotReadyAddresses\":%s,\"ports\":[{"
                 "\"port\":80,\"targetPort\":%s}]}}", n, s->ns,
                 s->opaque == 0 ? "" : s->opaque == 1
                 ? "\"ngx-mesh.io/opaque-ports\":\"80\""
                 : "\"ngx-mesh.io/opaque-ports\":\"\"",
                 s->external ? "ExternalName" : "ClusterIP", s->vip + 1,
                 s->app, s->unready ? "true" : "false",
                 s->named ? "\"web\"" : "8080");
        return text;
    }

    n -= SERVICES;

    if (n < SLICES) {
        e = &slices[n];

        target[0] = '\0';

        if (e->pod[0] >= 0) {
            snprintf(target, sizeof(target), ",\"targetRef\":{"
                     "\"kind\":\"Pod\",\"namespace\":\"n%d\","
                     "\"name\":\"p%d\"}", pods[e->pod[0]].ns, e->pod[0]);
        }

        snprintf(text, 2048, "{\"kind\":\"EndpointSlice\","
                 "\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{"
                 "\"name\":\"e%d\",\"namespace\":\"n%d\",\"labels\":{"
                 "\"kubernetes.io/service-name\":\"s%d\"}},"
                 "\"addressType\":\"IPv4\",\"ports\":[{\"port\":8080}],"
                 "\"endpoints\":[{\"addresses\":[\"%s\"],\"conditions\":{"
                 "\"ready\":%s}%s},{\"addresses\":[\"%s\"],"
                 "\"conditions\":{\"ready\":%s}}]}", n,
                 services[e->service].ns, e->service, ip_text(e->ip[0]),
                 e->ready[0] ? "true" : "false", target, ip_text(e->ip[1]),
                 e->ready[1] ? "true" : "false");

        return text;
    }

    n -= SLICES;

    if (n < NODES) {
        snprintf(text, 2048, "{\"kind\":\"Node\",\"apiVersion\":\"v1\","
                 "\"metadata\":{\"name\":\"node%d\",\"labels\":{"
                 "\"topology.kubernetes.io/zone\":\"z%d\"}}}", n, zones[n]);
        return text;
    }

    n -= NODES;

    snprintf(text, 2048, "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\","
             "\"metadata\":{\"name\":\"n%d\",\"annotations\":{%s}}}", n,
             nss[n] == 2 ? "\"ngx-mesh.io/opaque-ports\":\"80\"" : "");

    return text;
}


static int
is_there(int n)
{
    if (n < PODS) {
        return pods[n].there;
    }

    n -= PODS;

    if (n < SERVICES) {
        return services[n].there;
    }

    n -= SERVICES;

    if (n < SLICES) {
        return slices[n].there;
    }

    n -= SLICES;

    return n < NODES ? zones[n] : nss[n - NODES];
}


static mesh_object_t *
object_of(int n)
{
    char           *text;
    json_t         *json;
    mesh_err_t      err;
    mesh_object_t  *object;

    text = object_text(n);
    json = json_loads(text, 0, NULL);
    object = json ? mesh_object_new(json, NULL, &err) : NULL;

    if (object == NULL) {
        printf("# %s\n# %s\n", text, json ? err.text : "no JSON");
    }

    json_decref(json);
    free(text);

    return object;
}


/* the evaluator: which pod has an address, which endpoints a service has */

static int
eval_pod_of(int ip)
{
    int  i, best;

    best = -1;

    for (i = 0; i < PODS; i++) {
        if (!pods[i].there || pods[i].over || pods[i].host
            || pods[i].ip != ip)
        {
            continue;
        }

        if (best == -1
            || pods[i].terminating < pods[best].terminating
            || (pods[i].terminating == pods[best].terminating
                && (pods[i].created > pods[best].created
                    || (pods[i].created == pods[best].created
                        && pods[i].ns < pods[best].ns))))
        {
            best = i;
        }
    }

    return best;
}


static int
eval_opaque(int pod)
{
    return pods[pod].opaque;               /* namespaces name port 80 only */
}


static void
eval_add(json_t *list, const char *address, int pod)
{
    char     name[32], text[512];
    json_t  *json;

    if (pod < 0) {
        snprintf(text, sizeof(text), "{\"address\":\"%s\",\"port\":8080,"
                 "\"meshed\":false,\"weight\":1}", address);
        json_array_append_new(list, json_loads(text, 0, NULL));
        return;
    }

    snprintf(name, sizeof(name), "n%d/p%d", pods[pod].ns, pod);
    snprintf(text, sizeof(text), "{\"address\":\"%s\",\"port\":8080,"
             "\"workload\":\"%s\",\"identity\":"
             "\"spiffe://td/ns/n%d/sa/sa%d\",\"meshed\":%s,"
             "\"serviceAccount\":\"sa%d\",\"node\":\"node%d\","
             "\"weight\":1}", address, name, pods[pod].ns, pod,
             pods[pod].meshed && !pods[pod].host ? "true" : "false", pod,
             pods[pod].node);

    json = json_loads(text, 0, NULL);

    if (zones[pods[pod].node]) {
        snprintf(name, sizeof(name), "z%d", zones[pods[pod].node]);
        json_object_set_new(json, "zone", json_string(name));
    }

    json_array_append_new(list, json);
}


/* endpoints in no order; 1 if one of them says opaque */

static int
eval_endpoints(int n, json_t *list)
{
    int         i, k, ip, any, opaque, pod;
    service_t  *s;

    s = &services[n];
    any = 0;
    opaque = 0;

    for (i = 0; i < SLICES; i++) {
        if (!slices[i].there || slices[i].service != n) {
            continue;
        }

        any = 1;

        for (k = 0; k < 2; k++) {
            ip = slices[i].ip[k];
            pod = eval_pod_of(ip);

            if (!slices[i].ready[k]) {
                continue;
            }

            if (k == 0 && slices[i].pod[0] >= 0) {
                int  named = slices[i].pod[0];

                if (!pods[named].there || pods[named].over
                    || pods[named].ip != ip
                    || (!pods[named].host && pod != named))
                {
                    continue;
                }

                pod = named;
            }

            eval_add(list, ip_text(ip), pod);
            opaque |= pod >= 0 && eval_opaque(pod);
        }
    }

    for (i = 0; !any && i < PODS; i++) {
        if (!pods[i].there || pods[i].over || pods[i].ns != s->ns
            || pods[i].app != s->app || (s->named && !pods[i].named)
            || !(s->unready || (pods[i].ready && !pods[i].terminating)))
        {
            continue;
        }

        eval_add(list, ip_text(pods[i].ip), i);
        opaque |= eval_opaque(i);
    }

    return opaque;
}


static int
has(json_t *list, json_t *item)
{
    size_t   i;
    json_t  *other;

    json_array_foreach(list, i, other) {
        if (json_equal(other, item)) {
            return 1;
        }
    }

    return 0;
}


/* the same endpoints, each once, in any order */

static int
same_endpoints(json_t *a, json_t *b)
{
    size_t   i;
    json_t  *item;

    json_array_foreach(a, i, item) {
        if (!has(b, item)) {
            return 0;
        }
    }

    json_array_foreach(b, i, item) {
        if (!has(a, item)) {
            return 0;
        }
    }

    return 1;
}


static int
check_service(int n)
{
    int          ok, opaque, ns;
    char         key[64];
    json_t      *want, *doc, *port;
    const char  *body, *protocol;

    snprintf(key, sizeof(key), "mesh:svc:n%d/s%d", services[n].ns, n);
    body = mesh_map_get(&mirror, key);

    if (!services[n].there || services[n].external) {
        return body == NULL;
    }

    if (body == NULL) {
        return 0;
    }

    want = json_array();
    opaque = eval_endpoints(n, want);

    ns = (nss[services[n].ns] == 2);
    opaque |= services[n].opaque == 0 ? ns : services[n].opaque == 1;

    doc = json_loads(body, 0, NULL);
    port = json_array_get(json_object_get(doc, "ports"), 0);
    protocol = json_string_value(json_object_get(port, "protocol"));

    ok = same_endpoints(want, json_object_get(port, "endpoints"))
         && strcmp(protocol, opaque ? "opaque" : "detect") == 0;

    if (!ok) {
        char  *text = json_dumps(want, JSON_COMPACT);

        printf("# %s is %s\n# wanted %s %s\n", key, body,
               opaque ? "opaque" : "detect", text);
        free(text);
    }

    json_decref(want);
    json_decref(doc);

    return ok;
}


static int
check_addresses(void)
{
    int          i, n, pod;
    char         key[64], want[64];
    const char  *body;

    for (i = 0; i < PODS; i++) {
        pod = eval_pod_of(i);
        snprintf(key, sizeof(key), "mesh:ip:%s", ip_text(i));
        body = mesh_map_get(&mirror, key);

        if (pod < 0) {
            if (body) {
                return 0;
            }

            continue;
        }

        snprintf(want, sizeof(want), "{\"workload\":\"n%d/p%d\"}",
                 pods[pod].ns, pod);

        if (body == NULL || strcmp(body, want) != 0) {
            printf("# %s is %s, not %s\n", key, body ? body : "gone", want);
            return 0;
        }
    }

    /* of two services with one address the first by name */

    for (i = 0; i < SERVICES; i++) {
        snprintf(key, sizeof(key), "mesh:vip:10.96.0.%d:80", i + 1);
        body = mesh_map_get(&mirror, key);
        want[0] = '\0';

        for (n = SERVICES * NSS - 1; n >= 0; n--) {
            service_t  *s = &services[n % SERVICES];

            if (s->there && !s->external && s->vip == i
                && s->ns == n / SERVICES)
            {
                snprintf(want, sizeof(want), "{\"service\":\"n%d/s%d\","
                         "\"port\":80}", s->ns, n % SERVICES);
            }
        }

        if (strcmp(body ? body : "", want) != 0) {
            printf("# %s is %s, not %s\n", key, body ? body : "gone", want);
            return 0;
        }
    }

    return 1;
}


static int
check_world(void)
{
    int  n;

    for (n = 0; n < SERVICES; n++) {
        if (!check_service(n)) {
            return 0;
        }
    }

    return check_addresses();
}


static void
on_emit(void *data, const char *key, const char *body)
{
    mesh_map_t  *map = data;

    if (body) {
        free(mesh_map_set(map, key, strdup(body)));

    } else {
        free(mesh_map_remove(map, key));
    }
}


static void
map_clear(mesh_map_t *map)
{
    char    *body;
    size_t   i;

    for (i = 0; (body = mesh_map_next(map, &i, NULL)) != NULL; ) {
        free(body);
    }

    mesh_map_free(map);
}


/* a new index of all that is there, put in in an order of its own */

static int
check_scratch(void)
{
    int             i, n, ok, order[OBJECTS];
    char           *body, *other;
    size_t          k;
    const char     *key;
    mesh_map_t      scratch;
    mesh_index_t   *index;
    mesh_object_t  *object;

    memset(&scratch, 0, sizeof(scratch));
    index = mesh_index_new("td");

    for (i = 0; i < OBJECTS; i++) {
        n = rnd(i + 1);
        order[i] = order[n];
        order[n] = i;
    }

    for (i = 0; i < OBJECTS; i++) {
        if (is_there(order[i])) {
            object = object_of(order[i]);
            mesh_index_put(index, object);
            mesh_object_unref(object);
        }
    }

    mesh_index_update(index, on_emit, &scratch);

    ok = (scratch.n == mirror.n) && mesh_index_count(index) == mirror.n;

    for (k = 0; (body = mesh_map_next(&scratch, &k, &key)) != NULL; ) {
        other = mesh_map_get(&mirror, key);

        if (other == NULL || strcmp(body, other) != 0) {
            printf("# %s: %s\n# but incrementally %s\n", key, body,
                   other ? other : "nothing");
            ok = 0;
        }
    }

    map_clear(&scratch);
    mesh_index_free(index);

    return ok;
}


/* one random change of the world; returns the object that it was */

static int
change(void)
{
    int         n, i;
    pod_t      *p;
    slice_t    *e;
    service_t  *s;

    n = rnd(OBJECTS);
    i = n;

    if (i < PODS) {
        p = &pods[i];

        if (p->there && rnd(4) == 0) {
            p->there = 0;
            return n;
        }

        p->there = 1;
        p->ready = rnd(4) > 0;
        p->terminating = rnd(5) == 0;
        p->over = rnd(8) == 0;
        p->host = rnd(8) == 0;
        p->meshed = rnd(2);
        p->opaque = rnd(6) == 0;
        p->app = rnd(2);
        p->ip = rnd(3) ? i : rnd(PODS);
        p->created = rnd(3);
        p->node = rnd(NODES);
        p->named = rnd(4) > 0;

        return n;
    }

    i -= PODS;

    if (i < SERVICES) {
        s = &services[i];

        if (s->there && rnd(4) == 0) {
            s->there = 0;
            return n;
        }

        s->there = 1;
        s->app = rnd(2);
        s->vip = rnd(3) ? i : rnd(SERVICES);
        s->named = rnd(2);
        s->unready = rnd(4) == 0;
        s->opaque = rnd(3);
        s->external = rnd(8) == 0;

        return n;
    }

    i -= SERVICES;

    if (i < SLICES) {
        e = &slices[i];

        if (e->there && rnd(2) == 0) {
            e->there = 0;
            return n;
        }

        e->there = 1;
        e->service = i;
        e->ip[0] = rnd(PODS);
        e->ip[1] = rnd(PODS);
        e->pod[0] = rnd(3) ? rnd(PODS) : -1;

        if (e->pod[0] >= 0 && rnd(3)) {
            e->ip[0] = pods[e->pod[0]].ip;
        }

        e->ready[0] = rnd(3) > 0;
        e->ready[1] = rnd(3) > 0;

        return n;
    }

    i -= SLICES;

    if (i < NODES) {
        zones[i] = rnd(3);

    } else {
        nss[i - NODES] = rnd(3);
    }

    return n;
}


static void
apply(mesh_index_t *index, int n)
{
    mesh_object_t       *object;
    mesh_object_kind_e   kind;

    object = object_of(n);

    if (is_there(n)) {
        mesh_index_put(index, object);

    } else {
        kind = object->kind;
        mesh_index_delete(index, kind, object->key);
    }

    mesh_object_unref(object);
}


static void
incremental_equals_scratch_and_evaluator(void)
{
    int            step, n;
    mesh_index_t  *index;

    index = mesh_index_new("td");
    memset(&mirror, 0, sizeof(mirror));

    rnd_state = 2026;

    for (n = 0; n < PODS; n++) {
        pods[n].ns = n % NSS;
    }

    for (n = 0; n < SERVICES; n++) {
        services[n].ns = n % NSS;
    }

    for (step = 0; step < STEPS; step++) {

        /* a node or namespace with nothing to say is not there at all */

        apply(index, change());

        if (rnd(3) == 0) {
            continue;                  /* several changes in one update */
        }

        mesh_index_update(index, on_emit, &mirror);

        if (!UNIT_OK(check_world())) {
            printf("# at step %d\n", step);
            break;
        }

        if (step % 10 == 0 && !UNIT_OK(check_scratch())) {
            printf("# at step %d\n", step);
            break;
        }
    }

    map_clear(&mirror);
    mesh_index_free(index);
}


/* a world of many services: a pod's change makes only its own anew */

static mesh_object_t *
simple(const char *kind, int n, const char *status)
{
    char            text[512];
    json_t         *json;
    mesh_object_t  *object;

    snprintf(text, sizeof(text), "{\"kind\":\"%s\",\"apiVersion\":\"v1\","
             "\"metadata\":{\"name\":\"x%d\",\"namespace\":\"a\",\"labels\":{"
             "\"app\":\"x%d\"}},\"spec\":{\"clusterIP\":\"10.96.%d.%d\","
             "\"selector\":{\"app\":\"x%d\"},\"ports\":[{\"port\":80}]},"
             "\"status\":{\"podIP\":\"10.244.%d.%d\",\"phase\":\"Running\","
             "\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
             kind, n, n, n / 256, n % 256, n, n / 256, n % 256, status);

    json = json_loads(text, 0, NULL);
    object = mesh_object_new(json, NULL, NULL);
    json_decref(json);

    return object;
}


static unsigned  emitted;


static void
on_count(void *data, const char *key, const char *body)
{
    (void) data;
    (void) key;
    (void) body;

    emitted++;
}


static void
a_change_touches_what_depends_on_it(void)
{
    int             i;
    size_t          work;
    mesh_index_t   *index;
    mesh_object_t  *object;

    index = mesh_index_new("td");

    for (i = 0; i < 500; i++) {
        object = simple("Service", i, "");
        mesh_index_put(index, object);
        mesh_object_unref(object);

        object = simple("Pod", i, "True");
        mesh_index_put(index, object);
        mesh_object_unref(object);
    }

    UNIT_EQ(mesh_index_update(index, on_count, NULL), 2000);
    UNIT_EQ(mesh_index_count(index), 2000);
    work = mesh_index_work(index);
    UNIT_EQ(work, 1000);

    object = simple("Pod", 7, "False");
    mesh_index_put(index, object);
    mesh_object_unref(object);

    UNIT_EQ(mesh_index_update(index, on_count, NULL), 1);    /* svc x7 */
    UNIT_EQ(mesh_index_work(index) - work, 2);

    /* the same again is work, but nothing to write */

    object = simple("Pod", 7, "False");
    mesh_index_put(index, object);
    mesh_object_unref(object);

    UNIT_EQ(mesh_index_update(index, on_count, NULL), 0);

    mesh_index_delete(index, MESH_OBJECT_SERVICE, "Service/a/x7");
    UNIT_EQ(mesh_index_update(index, on_count, NULL), 2);

    mesh_index_delete(index, MESH_OBJECT_SERVICE, "Service/a/x7");
    mesh_index_delete(index, MESH_OBJECT_POD, "Pod/a/none");
    UNIT_EQ(mesh_index_update(index, on_count, NULL), 0);

    mesh_index_free(index);
}


static char  order_text[512];


static void
on_order(void *data, const char *key, const char *body)
{
    size_t  len;

    (void) data;

    len = strlen(order_text);
    snprintf(order_text + len, sizeof(order_text) - len, "%s%s ",
             body ? "+" : "-", key);
}


static void
what_leads_to_a_document_comes_after_it(void)
{
    mesh_index_t   *index;
    mesh_object_t  *pod, *service;

    index = mesh_index_new("td");
    pod = simple("Pod", 1, "True");
    service = simple("Service", 1, "");

    mesh_index_put(index, service);
    mesh_index_put(index, pod);
    order_text[0] = '\0';
    mesh_index_update(index, on_order, NULL);
    UNIT_STR(order_text, "+mesh:wl:a/x1 +mesh:svc:a/x1 +mesh:ip:10.244.0.1 "
                         "+mesh:vip:10.96.0.1:80 ");

    mesh_index_delete(index, MESH_OBJECT_POD, pod->key);
    mesh_index_delete(index, MESH_OBJECT_SERVICE, service->key);
    order_text[0] = '\0';
    mesh_index_update(index, on_order, NULL);
    UNIT_STR(order_text, "-mesh:vip:10.96.0.1:80 -mesh:ip:10.244.0.1 "
                         "-mesh:svc:a/x1 -mesh:wl:a/x1 ");

    mesh_object_unref(pod);
    mesh_object_unref(service);
    mesh_index_free(index);
}


UNIT_TESTS = {
    UNIT(incremental_equals_scratch_and_evaluator),
    UNIT(a_change_touches_what_depends_on_it),
    UNIT(what_leads_to_a_document_comes_after_it),
    UNIT_END
};
