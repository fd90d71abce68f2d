
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Which resources are followed, and what of their objects is not even read.
 * Changes are told in batches: the first of a quiet time at once, those that
 * follow at the end of a tenth of a second, so that a document is written at
 * most ten times a second however often its objects change.
 */

#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_source_kube.h>


typedef struct {
    const char             *what;
    const char             *path;
    const char             *list;          /* kind of its list */
    mesh_object_kind_e      kind;
    const char *const      *drop;
} mesh_source_resource_t;


typedef struct {
    mesh_source_kube_t            *kube;
    const mesh_source_resource_t  *resource;
    mesh_kube_informer_t          *informer;
} mesh_source_follow_t;


#define MESH_SOURCE_DROP                                                      \
    "metadata managedFields",                                                 \
    "metadata annotations kubectl.kubernetes.io/last-applied-configuration"


static const char *const  mesh_source_drop[] = {
    MESH_SOURCE_DROP, NULL
};


static const char *const  mesh_source_drop_node[] = {
    MESH_SOURCE_DROP,
    "status",
    NULL
};


static const char *const  mesh_source_drop_pod[] = {
    MESH_SOURCE_DROP,
    "spec affinity",
    "spec tolerations",
    "spec volumes",
    "spec topologySpreadConstraints",
    "spec containers * args",
    "spec containers * command",
    "spec containers * env",
    "spec containers * envFrom",
    "spec containers * resources",
    "spec containers * volumeMounts",
    "spec initContainers * args",
    "spec initContainers * command",
    "spec initContainers * env",
    "spec initContainers * envFrom",
    "spec initContainers * resources",
    "spec initContainers * volumeMounts",
    "status containerStatuses",
    "status initContainerStatuses",
    NULL
};


/* all of them are there in every cluster that we support (1.29) */

static const mesh_source_resource_t  mesh_source_resources[] = {

    { "namespaces", "/api/v1/namespaces", "NamespaceList",
      MESH_OBJECT_NAMESPACE, mesh_source_drop },

    { "nodes", "/api/v1/nodes", "NodeList",
      MESH_OBJECT_NODE, mesh_source_drop_node },

    { "services", "/api/v1/services", "ServiceList",
      MESH_OBJECT_SERVICE, mesh_source_drop },

    { "endpointslices", "/apis/discovery.k8s.io/v1/endpointslices",
      "EndpointSliceList", MESH_OBJECT_SLICE, mesh_source_drop },

    { "pods", "/api/v1/pods", "PodList",
      MESH_OBJECT_POD, mesh_source_drop_pod }
};


#define MESH_SOURCE_RESOURCES  mesh_nelts(mesh_source_resources)


struct mesh_source_kube_s {
    const mesh_source_handler_t  *handler;
    void                         *data;
    struct event                 *timer;
    uint64_t                      settled_ms;
    uint64_t                      since_ms;   /* of the oldest news */
    int                           pending;
    int                           complete;   /* all have been listed */
    uint64_t                      bad;
    mesh_source_follow_t          follow[MESH_SOURCE_RESOURCES];
};


static void mesh_source_kube_on_put(void *data, json_t *object,
    const char *name);
static void mesh_source_kube_on_gone(void *data, const char *name);
static void mesh_source_kube_on_changed(void *data);
static void mesh_source_kube_on_synced(void *data);
static void mesh_source_kube_on_timer(evutil_socket_t fd, short what,
    void *data);
static void mesh_source_kube_later(mesh_source_kube_t *kube);
static uint64_t mesh_source_kube_now_ms(void);


static const mesh_kube_informer_handler_t  mesh_source_kube_handler = {
    mesh_source_kube_on_put,
    mesh_source_kube_on_gone,
    mesh_source_kube_on_changed,
    mesh_source_kube_on_synced
};


mesh_source_kube_t *
mesh_source_kube_new(const mesh_source_kube_conf_t *conf,
    const mesh_source_handler_t *handler, void *data)
{
    size_t                      i;
    mesh_source_kube_t         *kube;
    mesh_kube_informer_conf_t   informer;

    kube = mesh_mem_new(sizeof(mesh_source_kube_t));

    kube->handler = handler;
    kube->data = data;
    kube->timer = mesh_mem_must(event_new(conf->base, -1, 0,
                                          mesh_source_kube_on_timer, kube));

    for (i = 0; i < MESH_SOURCE_RESOURCES; i++) {
        memset(&informer, 0, sizeof(informer));

        informer.what = mesh_source_resources[i].what;
        informer.path = mesh_source_resources[i].path;
        informer.drop = mesh_source_resources[i].drop;
        informer.limit = conf->limit;
        informer.watch_s = conf->watch_s;

        kube->follow[i].kube = kube;
        kube->follow[i].resource = &mesh_source_resources[i];
        kube->follow[i].informer =
            mesh_kube_informer_new(conf->base, conf->client, &informer,
                                   &mesh_source_kube_handler,
                                   &kube->follow[i]);
    }

    return kube;
}


void
mesh_source_kube_free(mesh_source_kube_t *kube)
{
    size_t  i;

    if (kube == NULL) {
        return;
    }

    for (i = 0; i < MESH_SOURCE_RESOURCES; i++) {
        mesh_kube_informer_free(kube->follow[i].informer);
    }

    event_free(kube->timer);
    free(kube);
}


const char *
mesh_source_kube_state(const mesh_source_kube_t *kube, size_t i,
    mesh_kube_informer_state_t *state)
{
    if (i >= MESH_SOURCE_RESOURCES) {
        return NULL;
    }

    mesh_kube_informer_state(kube->follow[i].informer, state);

    return kube->follow[i].resource->what;
}


uint64_t
mesh_source_kube_since(const mesh_source_kube_t *kube)
{
    return kube->since_ms;
}


uint64_t
mesh_source_kube_bad(const mesh_source_kube_t *kube)
{
    return kube->bad;
}


/* a bad version of an object replaces no good one */

static void
mesh_source_kube_on_put(void *data, json_t *json, const char *name)
{
    mesh_source_follow_t  *follow = data;

    char            key[MESH_OBJECT_KEY_MAX];
    mesh_err_t      err;
    mesh_object_t  *object;

    snprintf(key, sizeof(key), "%s/%s",
             mesh_object_kind_name(follow->resource->kind), name);

    object = mesh_object_new(json, follow->resource->list, &err);

    if (object && strcmp(object->key, key) != 0) {
        mesh_err(&err, "it is %.200s to us", object->key);
        mesh_object_unref(object);
        object = NULL;
    }

    if (object == NULL) {
        follow->kube->bad++;
        mesh_log(MESH_LOG_ERROR, 0, "%s: %s, the last good version stays",
                 key, err.text);
        return;
    }

    follow->kube->handler->put(follow->kube->data, object);

    mesh_object_unref(object);
}


static void
mesh_source_kube_on_gone(void *data, const char *name)
{
    mesh_source_follow_t  *follow = data;

    char  key[MESH_OBJECT_KEY_MAX];

    snprintf(key, sizeof(key), "%s/%s",
             mesh_object_kind_name(follow->resource->kind), name);

    follow->kube->handler->gone(follow->kube->data, follow->resource->kind,
                                key);
}


static void
mesh_source_kube_on_changed(void *data)
{
    mesh_source_follow_t  *follow = data;

    if (follow->kube->complete) {
        mesh_source_kube_later(follow->kube);
    }
}


static void
mesh_source_kube_on_synced(void *data)
{
    mesh_source_follow_t  *follow = data;

    size_t               i;
    mesh_source_kube_t  *kube;

    kube = follow->kube;

    for (i = 0; i < MESH_SOURCE_RESOURCES; i++) {
        if (!mesh_kube_informer_synced(kube->follow[i].informer)) {
            return;
        }
    }

    kube->complete = 1;

    mesh_source_kube_later(kube);
}


static void
mesh_source_kube_later(mesh_source_kube_t *kube)
{
    uint64_t        now, at;
    struct timeval  tv;

    if (kube->pending) {
        return;
    }

    now = mesh_source_kube_now_ms();

    kube->pending = 1;
    kube->since_ms = now;

    at = kube->settled_ms + MESH_SOURCE_KUBE_SETTLE_MS;

    tv.tv_sec = 0;
    tv.tv_usec = at > now ? (suseconds_t) (at - now) * 1000 : 0;

    event_add(kube->timer, &tv);
}


static void
mesh_source_kube_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_source_kube_t  *kube = data;

    (void) fd;
    (void) what;

    kube->pending = 0;
    kube->settled_ms = mesh_source_kube_now_ms();

    kube->handler->settled(kube->data);
}


static uint64_t
mesh_source_kube_now_ms(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}
