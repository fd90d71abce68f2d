
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * `meshd watch`: objects from the source into the index, documents from the
 * index to the publisher, the leaf that vouches for them from the identity
 * service.  What each part does is its own business; this file only ties
 * them together.
 */

#include <signal.h>

#include <mesh_index.h>
#include <mesh_kube_leader.h>
#include <mesh_leaf.h>
#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_opt.h>
#include <mesh_publish.h>
#include <mesh_source_dir.h>
#include <mesh_source_kube.h>
#include <mesh_watch_admin.h>
#include <mesh_watch_role.h>

#include <mesh_identity.h>
#include <mesh_names.h>


#define MESH_WATCH_SOURCE_DIR     "dir:"
#define MESH_WATCH_LEASE          MESH_SYSTEM_NAMESPACE "/" MESH_SA_WATCH
#define MESH_WATCH_STOP_S         2        /* to give up the Lease */


typedef struct {
    const char          *source;
    const char          *kubeconfig;
    const char          *context;
    const char          *lease;
    const char          *admin;
    int                  in_cluster;
    int64_t              list_limit;
    int64_t              watch_timeout;
    const char          *redis;
    const char          *redis_user;
    const char          *redis_password_file;
    const char          *identity;
    const char          *token;
    const char          *trust;
    const char          *trust_domain;
    const char          *state_dir;
    const char          *log_level;
    int64_t              tombstone_ttl;
    int64_t              epoch_min;
} mesh_watch_conf_t;


typedef struct {
    mesh_watch_conf_t    conf;
    struct event_base   *base;
    struct event        *term;
    struct event        *interrupt;
    mesh_index_t        *index;
    mesh_source_dir_t   *source;
    mesh_kube_client_t  *client;
    mesh_source_kube_t  *kube;
    mesh_kube_leader_t  *leader;             /* NULL: nobody else writes */
    mesh_watch_admin_t  *admin;
    mesh_publish_t      *publish;
    mesh_leaf_t         *leaf;
    char                *id;
    char                *server_id;
    int                  filled;             /* the index knows all objects */
    int                  stopping;
    int                  status;
} mesh_watch_t;


static int mesh_watch_options(mesh_watch_t *watch, int argc, char **argv);
static int mesh_watch_check(mesh_watch_t *watch, mesh_err_t *err);
static int mesh_watch_check_source(const mesh_watch_t *watch,
    mesh_err_t *err);
static int mesh_watch_start(mesh_watch_t *watch, mesh_err_t *err);
static int mesh_watch_start_publish(mesh_watch_t *watch, mesh_err_t *err);
static int mesh_watch_start_dir(mesh_watch_t *watch, mesh_err_t *err);
static int mesh_watch_start_kube(mesh_watch_t *watch, mesh_err_t *err);
static int mesh_watch_start_admin(mesh_watch_t *watch, mesh_err_t *err);
static void mesh_watch_write(mesh_watch_t *watch);
static void mesh_watch_stop(mesh_watch_t *watch);
static void mesh_watch_on_put(void *data, mesh_object_t *object);
static void mesh_watch_on_gone(void *data, mesh_object_kind_e kind,
    const char *key);
static void mesh_watch_on_settled(void *data);
static void mesh_watch_on_document(void *data, const char *key,
    const char *body);
static void mesh_watch_on_leaf(void *data, const char *key,
    const char *chain, const char *trust);
static void mesh_watch_on_superseded(void *data, uint64_t epoch);
static void mesh_watch_on_gained(void *data, int64_t transitions);
static void mesh_watch_on_lost(void *data);
static void mesh_watch_on_released(void *data);
static void mesh_watch_on_signal(evutil_socket_t number, short what,
    void *data);


static const mesh_opt_t  mesh_watch_opts[] = {

    { "source", "dir:PATH", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, source), NULL, 0, 0,
      "where objects come from: a directory of manifests; followed" },

    { "kubeconfig", "FILE", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, kubeconfig), NULL, 0, 0,
      "or: the API server of a kubeconfig" },

    { "context", "NAME", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, context), NULL, 0, 0,
      "context of the kubeconfig; without it its current-context" },

    { "in-cluster", NULL, MESH_OPT_FLAG, 0,
      offsetof(mesh_watch_conf_t, in_cluster), NULL, 0, 0,
      "or: the API server of the cluster that we run in" },

    { "lease", "NAMESPACE/NAME", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, lease), MESH_WATCH_LEASE, 0, 0,
      "Lease of the one that writes; not with --source" },

    { "list-limit", "NUMBER", MESH_OPT_NUMBER, 0,
      offsetof(mesh_watch_conf_t, list_limit), "500", 1, 100000,
      "objects of a page of a list" },

    { "watch-timeout", "SECONDS", MESH_OPT_NUMBER, 0,
      offsetof(mesh_watch_conf_t, watch_timeout), "300", 1, 3600,
      "a watch is asked for once to twice as long" },

    { "redis", "HOST:PORT", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_watch_conf_t, redis), NULL, 0, 0,
      "Redis; or unix:PATH" },

    { "redis-user", "NAME", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, redis_user), NULL, 0, 0,
      "user of Redis; without it the default user" },

    { "redis-password-file", "FILE", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, redis_password_file), NULL, 0, 0,
      "its password; read at each connect" },

    { "identity", "HOST:PORT", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_watch_conf_t, identity), NULL, 0, 0,
      "the identity service, which gives the writer its certificate" },

    { "token", "FILE", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_watch_conf_t, token), NULL, 0, 0,
      "token of the service account " MESH_SA_WATCH "; read at each use" },

    { "trust", "FILE", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_watch_conf_t, trust), NULL, 0, 0,
      "trust bundle to begin with, PEM" },

    { "trust-domain", "NAME", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, trust_domain), MESH_TRUST_DOMAIN, 0, 0,
      "trust domain of all identities" },

    { "state-dir", "DIR", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(mesh_watch_conf_t, state_dir), NULL, 0, 0,
      "keeps the highest epoch that was used, over restarts" },

    { "tombstone-ttl", "SECONDS", MESH_OPT_NUMBER, 0,
      offsetof(mesh_watch_conf_t, tombstone_ttl), "3600", 10, 604800,
      "how long Redis tells that a document is gone" },

    { "epoch-min", "NUMBER", MESH_OPT_NUMBER, 0,
      offsetof(mesh_watch_conf_t, epoch_min), "0", 0, 8388608,
      "no epoch is below it; 0: the one that the clock says" },

    { "admin", "ADDR:PORT", MESH_OPT_STRING, 0,
      offsetof(mesh_watch_conf_t, admin), NULL, 0, 0,
      "where to serve /live, /ready and /metrics" },

    { "log-level", MESH_LOG_LEVELS, MESH_OPT_CHOICE, 0,
      offsetof(mesh_watch_conf_t, log_level), "notice", 0, 0,
      "what is logged" },

    MESH_OPT_END
};


static const mesh_kube_leader_handler_t  mesh_watch_leader = {
    mesh_watch_on_gained,
    mesh_watch_on_lost,
    mesh_watch_on_released
};


static const mesh_source_handler_t  mesh_watch_source = {
    mesh_watch_on_put,
    mesh_watch_on_gone,
    mesh_watch_on_settled
};


int
mesh_watch_role(int argc, char **argv)
{
    int           rc;
    mesh_err_t    err;
    mesh_watch_t  watch;

    memset(&watch, 0, sizeof(watch));

    rc = mesh_watch_options(&watch, argc, argv);

    if (rc != MESH_OK) {
        return rc == MESH_DONE ? 0 : 2;
    }

    mesh_log_init("meshd", mesh_log_level(watch.conf.log_level));

    if (mesh_watch_start(&watch, &err) != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        watch.status = 1;

    } else {
        event_base_dispatch(watch.base);
    }

    mesh_watch_stop(&watch);

    return watch.status;
}


static int
mesh_watch_options(mesh_watch_t *watch, int argc, char **argv)
{
    int         rc;
    mesh_err_t  err;

    rc = mesh_opt_parse(mesh_watch_opts, argc, argv, &watch->conf, NULL,
                        &err);

    if (rc == MESH_DONE) {
        mesh_opt_usage(stdout, mesh_watch_opts, "meshd watch");
        return MESH_DONE;
    }

    if (rc == MESH_OK) {
        rc = mesh_watch_check(watch, &err);
    }

    if (rc != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        return MESH_ERROR;
    }

    return MESH_OK;
}


static int
mesh_watch_check(mesh_watch_t *watch, mesh_err_t *err)
{
    char              id[MESH_ID_MAX_BYTES];
    const char       *wrong;
    mesh_identity_t   identity;

    if (mesh_watch_check_source(watch, err) != MESH_OK) {
        return MESH_ERROR;
    }

    snprintf(id, sizeof(id), "spiffe://%s/ns/a/sa/b",
             watch->conf.trust_domain);

    wrong = mesh_identity_parse(id, strlen(id), &identity);

    if (wrong) {
        return mesh_err(err, "option --trust-domain is \"%s\": %s",
                        watch->conf.trust_domain, wrong);
    }

    return MESH_OK;
}


/* one place that objects come from */

static int
mesh_watch_check_source(const mesh_watch_t *watch, mesh_err_t *err)
{
    const char               *slash;
    const mesh_watch_conf_t  *conf;

    conf = &watch->conf;

    if ((conf->source != NULL) + (conf->kubeconfig != NULL)
        + (conf->in_cluster != 0) != 1)
    {
        return mesh_err(err, "expected one of the options --source, "
                        "--kubeconfig and --in-cluster");
    }

    if (conf->context && conf->kubeconfig == NULL) {
        return mesh_err(err, "option --context needs --kubeconfig");
    }

    if (conf->source
        && (strncmp(conf->source, MESH_WATCH_SOURCE_DIR,
                    sizeof(MESH_WATCH_SOURCE_DIR) - 1) != 0
            || conf->source[sizeof(MESH_WATCH_SOURCE_DIR) - 1] == '\0'))
    {
        return mesh_err(err, "option --source is \"%s\", expected dir:PATH",
                        conf->source);
    }

    slash = strchr(conf->lease, '/');

    if (slash == NULL || slash == conf->lease || slash[1] == '\0'
        || strspn(conf->lease, "abcdefghijklmnopqrstuvwxyz0123456789.-/")
           != strlen(conf->lease)
        || strchr(slash + 1, '/'))
    {
        return mesh_err(err, "option --lease is \"%s\", expected "
                        "NAMESPACE/NAME", conf->lease);
    }

    return MESH_OK;
}


static int
mesh_watch_start(mesh_watch_t *watch, mesh_err_t *err)
{
    int               rc;
    mesh_leaf_conf_t  leaf;

    watch->base = event_base_new();
    if (watch->base == NULL) {
        return mesh_err(err, "cannot make an event loop");
    }

    watch->term = mesh_mem_must(evsignal_new(watch->base, SIGTERM,
                                             mesh_watch_on_signal, watch));
    watch->interrupt = mesh_mem_must(evsignal_new(watch->base, SIGINT,
                                                  mesh_watch_on_signal,
                                                  watch));
    event_add(watch->term, NULL);
    event_add(watch->interrupt, NULL);

    signal(SIGPIPE, SIG_IGN);

    watch->index = mesh_index_new(watch->conf.trust_domain);

    if (mesh_watch_start_publish(watch, err) != MESH_OK) {
        return MESH_ERROR;
    }

    rc = watch->conf.source ? mesh_watch_start_dir(watch, err)
                            : mesh_watch_start_kube(watch, err);
    if (rc != MESH_OK || mesh_watch_start_admin(watch, err) != MESH_OK) {
        return MESH_ERROR;
    }

    memset(&leaf, 0, sizeof(leaf));
    leaf.base = watch->base;
    leaf.server = watch->conf.identity;
    leaf.server_id = watch->server_id;
    leaf.id = watch->id;
    leaf.token_file = watch->conf.token;
    leaf.trust_file = watch->conf.trust;
    leaf.renewed = mesh_watch_on_leaf;
    leaf.data = watch;

    watch->leaf = mesh_leaf_new(&leaf);

    return MESH_OK;
}


static int
mesh_watch_start_publish(mesh_watch_t *watch, mesh_err_t *err)
{
    mesh_publish_conf_t  publish;

    watch->id = mesh_mem_printf("spiffe://%s/ns/%s/sa/%s",
                                watch->conf.trust_domain,
                                MESH_SYSTEM_NAMESPACE, MESH_SA_WATCH);
    watch->server_id = mesh_mem_printf("spiffe://%s/ns/%s/sa/%s",
                                       watch->conf.trust_domain,
                                       MESH_SYSTEM_NAMESPACE,
                                       MESH_SA_IDENTITY);

    memset(&publish, 0, sizeof(publish));
    publish.base = watch->base;
    publish.redis = watch->conf.redis;
    publish.user = watch->conf.redis_user;
    publish.password_file = watch->conf.redis_password_file;
    publish.identity = watch->id;
    publish.state_dir = watch->conf.state_dir;
    publish.tombstone_s = (unsigned) watch->conf.tombstone_ttl;
    publish.epoch_min = (uint64_t) watch->conf.epoch_min;
    publish.superseded = mesh_watch_on_superseded;
    publish.data = watch;

    watch->publish = mesh_publish_new(&publish, err);

    return watch->publish ? MESH_OK : MESH_ERROR;
}


static int
mesh_watch_start_dir(mesh_watch_t *watch, mesh_err_t *err)
{
    watch->source = mesh_source_dir_new(watch->base, watch->conf.source
                                        + sizeof(MESH_WATCH_SOURCE_DIR) - 1,
                                        &mesh_watch_source, watch, err);

    return watch->source ? MESH_OK : MESH_ERROR;
}


static int
mesh_watch_start_kube(mesh_watch_t *watch, mesh_err_t *err)
{
    int                       rc;
    char                      me[MESH_LEASE_HOLDER_MAX];
    mesh_kube_conf_t          kube;
    mesh_source_kube_conf_t   source;

    rc = watch->conf.in_cluster
         ? mesh_kube_conf_in_cluster(&kube, MESH_KUBE_POD_DIR,
                                     getenv("KUBERNETES_SERVICE_HOST"),
                                     getenv("KUBERNETES_SERVICE_PORT"), err)
         : mesh_kube_conf_read(&kube, watch->conf.kubeconfig,
                               watch->conf.context, err);
    if (rc != MESH_OK) {
        return MESH_ERROR;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "watching \"%s\"", kube.server);

    watch->client = mesh_kube_client_new(watch->base, &kube, "meshd watch",
                                         err);
    if (watch->client == NULL) {
        return MESH_ERROR;
    }

    memset(&source, 0, sizeof(source));
    source.base = watch->base;
    source.client = watch->client;
    source.limit = (unsigned) watch->conf.list_limit;
    source.watch_s = (unsigned) watch->conf.watch_timeout;

    watch->kube = mesh_source_kube_new(&source, &mesh_watch_source, watch);

    mesh_kube_leader_name(me);

    watch->leader = mesh_kube_leader_new(watch->base, watch->client,
                                         watch->conf.lease, me,
                                         &mesh_watch_leader, watch);
    return MESH_OK;
}


static int
mesh_watch_start_admin(mesh_watch_t *watch, mesh_err_t *err)
{
    mesh_watch_parts_t  parts;

    if (watch->conf.admin == NULL) {
        return MESH_OK;
    }

    parts.index = watch->index;
    parts.publish = watch->publish;
    parts.client = watch->client;
    parts.kube = watch->kube;
    parts.leader = watch->leader;
    parts.filled = &watch->filled;

    watch->admin = mesh_watch_admin_new(watch->base, watch->conf.admin,
                                        &parts, err);

    return watch->admin ? MESH_OK : MESH_ERROR;
}


static void
mesh_watch_stop(mesh_watch_t *watch)
{
    mesh_watch_admin_free(watch->admin);

    if (watch->leaf) {
        mesh_leaf_free(watch->leaf);
    }

    if (watch->source) {
        mesh_source_dir_free(watch->source);
    }

    mesh_kube_leader_free(watch->leader);
    mesh_source_kube_free(watch->kube);
    mesh_kube_client_free(watch->client);

    if (watch->publish) {
        mesh_publish_free(watch->publish);
    }

    if (watch->index) {
        mesh_index_free(watch->index);
    }

    if (watch->term) {
        event_free(watch->term);
    }

    if (watch->interrupt) {
        event_free(watch->interrupt);
    }

    if (watch->base) {
        event_base_free(watch->base);
    }

    free(watch->id);
    free(watch->server_id);
}


static void
mesh_watch_on_put(void *data, mesh_object_t *object)
{
    mesh_watch_t  *watch = data;

    mesh_index_put(watch->index, object);
}


static void
mesh_watch_on_gone(void *data, mesh_object_kind_e kind, const char *key)
{
    mesh_watch_t  *watch = data;

    mesh_index_delete(watch->index, kind, key);
}


static void
mesh_watch_on_settled(void *data)
{
    mesh_watch_t  *watch = data;

    (void) mesh_index_update(watch->index, mesh_watch_on_document, watch);

    if (watch->kube) {
        mesh_publish_since(watch->publish,
                           mesh_source_kube_since(watch->kube));
    }

    if (!watch->filled) {
        watch->filled = 1;

        mesh_log(MESH_LOG_NOTICE, 0, "all objects are read: %zu documents",
                 mesh_index_count(watch->index));

        mesh_watch_write(watch);
    }
}


/* as soon as nothing is missing, and if it is ours to write */

static void
mesh_watch_write(mesh_watch_t *watch)
{
    if (watch->filled && !watch->stopping
        && (watch->conf.source || mesh_kube_leader_is(watch->leader)))
    {
        mesh_publish_start(watch->publish);
    }
}


static void
mesh_watch_on_gained(void *data, int64_t transitions)
{
    mesh_watch_t  *watch = data;

    mesh_publish_epoch_min(watch->publish,
                           transitions > 0 ? (uint64_t) transitions : 0);
    mesh_watch_write(watch);
}


static void
mesh_watch_on_lost(void *data)
{
    mesh_watch_t  *watch = data;

    mesh_publish_stop(watch->publish);
}


static void
mesh_watch_on_released(void *data)
{
    mesh_watch_t  *watch = data;

    event_base_loopbreak(watch->base);
}


static void
mesh_watch_on_document(void *data, const char *key, const char *body)
{
    mesh_watch_t  *watch = data;

    mesh_log(MESH_LOG_INFO, 0, "%s %s", body ? "write" : "delete", key);

    mesh_publish_put(watch->publish, key, body);
}


static void
mesh_watch_on_leaf(void *data, const char *key, const char *chain,
    const char *trust)
{
    mesh_watch_t  *watch = data;

    mesh_publish_leaf(watch->publish, key, chain, trust);
}


static void
mesh_watch_on_superseded(void *data, uint64_t epoch)
{
    mesh_watch_t  *watch = data;

    (void) epoch;                          /* the publisher has logged it */

    /* we were stopped past our Lease and did not know: follow from now on */

    if (watch->leader && !mesh_kube_leader_look(watch->leader)) {
        return;
    }

    watch->status = 1;
    event_base_loopbreak(watch->base);
}


static void
mesh_watch_on_signal(evutil_socket_t number, short what, void *data)
{
    mesh_watch_t  *watch = data;

    struct timeval  tv;

    (void) what;

    mesh_log(MESH_LOG_NOTICE, 0, "signal %d, stopping", (int) number);

    if (watch->leader == NULL || watch->stopping) {
        event_base_loopbreak(watch->base);
        return;
    }

    /* first no more writes, then the Lease: another one may have it now */

    watch->stopping = 1;
    mesh_publish_stop(watch->publish);

    tv.tv_sec = MESH_WATCH_STOP_S;
    tv.tv_usec = 0;
    event_base_loopexit(watch->base, &tv);

    mesh_kube_leader_release(watch->leader);
}
