
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What a supervisor and Prometheus ask.  A follower is ready as soon as it
 * could lead: it has read everything.  Metrics are rows of tables, so each
 * has its type and its help.
 */

#include <mesh_httpd.h>
#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_watch_admin.h>


#define MESH_WATCH_METRICS_TYPE  "text/plain; version=0.0.4; charset=utf-8"


struct mesh_watch_admin_s {
    mesh_watch_parts_t   parts;
    mesh_httpd_t        *httpd;
};


/* all that is there to print, taken at one moment */

typedef struct {
    mesh_publish_state_t        publish;
    uint64_t                    index;
    uint64_t                    work;
    uint64_t                    filled;
    uint64_t                    leader;
    uint64_t                    bad;
    mesh_kube_client_counts_t   client;
} mesh_watch_seen_t;


typedef struct {
    const char                 *name;
    const char                 *type;
    const char                 *help;
    size_t                      offset;
    size_t                      size;      /* of the number: 8, or an int's */
} mesh_watch_metric_t;


static void mesh_watch_admin_live(mesh_httpd_request_t *r, void *data);
static void mesh_watch_admin_ready(mesh_httpd_request_t *r, void *data);
static void mesh_watch_admin_metrics(mesh_httpd_request_t *r, void *data);
static void mesh_watch_admin_look(const mesh_watch_admin_t *admin,
    mesh_watch_seen_t *seen);
static void mesh_watch_admin_resources(FILE *out,
    const mesh_source_kube_t *kube);
static void mesh_watch_admin_lag(FILE *out,
    const mesh_publish_state_t *state);
static void mesh_watch_admin_head(FILE *out,
    const mesh_watch_metric_t *metric);
static unsigned long long mesh_watch_admin_value(const void *from,
    const mesh_watch_metric_t *metric);


#define MESH_SEEN(member)                                                     \
    offsetof(mesh_watch_seen_t, member),                                      \
    sizeof(((mesh_watch_seen_t *) NULL)->member)

#define MESH_STATE(member)                                                    \
    offsetof(mesh_kube_informer_state_t, member),                             \
    sizeof(((mesh_kube_informer_state_t *) NULL)->member)

#define MESH_COUNT(member)                                                    \
    offsetof(mesh_kube_counts_t, member),                                     \
    sizeof(((mesh_kube_counts_t *) NULL)->member)


/* of the process */

static const mesh_watch_metric_t  mesh_watch_metrics[] = {

    { "mesh_watch_filled", "gauge",
      "1 when all objects have been read once", MESH_SEEN(filled) },

    { "mesh_watch_leader", "gauge",
      "1 while this process may write", MESH_SEEN(leader) },

    { "mesh_watch_epoch", "gauge",
      "epoch that is written with, 0 without one", MESH_SEEN(publish.epoch) },

    { "mesh_watch_synced", "gauge",
      "1 when all documents of the epoch are written",
      MESH_SEEN(publish.synced) },

    { "mesh_watch_documents", "gauge",
      "documents that the objects make", MESH_SEEN(index) },

    { "mesh_watch_joins_total", "counter",
      "pods and services whose documents were made anew", MESH_SEEN(work) },

    { "mesh_watch_objects_refused_total", "counter",
      "versions of objects that were refused", MESH_SEEN(bad) },

    { "mesh_watch_queue_documents", "gauge",
      "documents that wait to be written", MESH_SEEN(publish.queued) },

    { "mesh_watch_inflight_documents", "gauge",
      "documents that Redis has not confirmed", MESH_SEEN(publish.inflight) },

    { "mesh_watch_writes_total", "counter",
      "documents that Redis has confirmed", MESH_SEEN(publish.writes) },

    { "mesh_watch_sessions_ended_total", "counter",
      "writing that was broken off: refused, or Redis lost what it had",
      MESH_SEEN(publish.refusals) },

    { "mesh_kube_calls_total", "counter",
      "requests to the API server", MESH_SEEN(client.calls) },

    { "mesh_kube_calls_failed_total", "counter",
      "those without an answer, or with one that was cut",
      MESH_SEEN(client.failed) },

    { "mesh_kube_received_bytes_total", "counter",
      "bytes of its answers, decompressed", MESH_SEEN(client.bytes) },

    { "mesh_kube_credentials_read_total", "counter",
      "times that changed credentials were read",
      MESH_SEEN(client.refreshed) }
};


/* of a resource */

static const mesh_watch_metric_t  mesh_watch_state_metrics[] = {

    { "mesh_kube_objects", "gauge",
      "objects that the API server has", MESH_STATE(objects) },

    { "mesh_kube_watching", "gauge",
      "1 while a watch is open", MESH_STATE(watching) },

    { "mesh_kube_absent", "gauge",
      "1 while there is no such resource", MESH_STATE(absent) },

    { "mesh_kube_unreadable_total", "counter",
      "objects that were no JSON, or too large", MESH_STATE(lost) },

    { "mesh_kube_stale_events_total", "counter",
      "events that were no news", MESH_STATE(stale) }
};


static const mesh_watch_metric_t  mesh_watch_count_metrics[] = {

    { "mesh_kube_lists_total", "counter",
      "lists that were read to the end", MESH_COUNT(lists) },

    { "mesh_kube_relists_total", "counter",
      "lists because a watch's version was too old", MESH_COUNT(relists) },

    { "mesh_kube_watches_total", "counter",
      "watches that were begun", MESH_COUNT(watches) },

    { "mesh_kube_events_total", "counter",
      "events, bookmarks not counted", MESH_COUNT(events) },

    { "mesh_kube_bookmarks_total", "counter",
      "bookmarks", MESH_COUNT(bookmarks) },

    { "mesh_kube_failures_total", "counter",
      "lists and watches that failed", MESH_COUNT(failures) }
};


static const mesh_httpd_route_t  mesh_watch_admin_routes[] = {
    { "GET", "/live", mesh_watch_admin_live },
    { "GET", "/ready", mesh_watch_admin_ready },
    { "GET", "/metrics", mesh_watch_admin_metrics },
    { NULL, NULL, NULL }
};


mesh_watch_admin_t *
mesh_watch_admin_new(struct event_base *base, const char *address,
    const mesh_watch_parts_t *parts, mesh_err_t *err)
{
    mesh_httpd_conf_t    conf;
    mesh_watch_admin_t  *admin;

    admin = mesh_mem_new(sizeof(mesh_watch_admin_t));
    admin->parts = *parts;

    memset(&conf, 0, sizeof(conf));
    conf.base = base;
    conf.routes = mesh_watch_admin_routes;
    conf.data = admin;
    conf.connections_max = 64;

    admin->httpd = mesh_httpd_new(&conf, err);

    if (admin->httpd == NULL
        || mesh_httpd_listen(admin->httpd, address, err) != MESH_OK)
    {
        mesh_watch_admin_free(admin);
        return NULL;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "admin on \"%s\", port %d", address,
             mesh_httpd_port(admin->httpd));

    return admin;
}


void
mesh_watch_admin_free(mesh_watch_admin_t *admin)
{
    if (admin == NULL) {
        return;
    }

    if (admin->httpd) {
        mesh_httpd_free(admin->httpd);
    }

    free(admin);
}


static void
mesh_watch_admin_live(mesh_httpd_request_t *r, void *data)
{
    (void) data;

    mesh_httpd_answer(r, 200, "text/plain", "live\n", 5);
}


static void
mesh_watch_admin_ready(mesh_httpd_request_t *r, void *data)
{
    mesh_watch_admin_t  *admin = data;

    const char         *text;
    mesh_watch_seen_t   seen;

    mesh_watch_admin_look(admin, &seen);

    text = !seen.filled ? "not all objects have been read\n"
           : seen.leader && !seen.publish.synced
             ? "not all documents are written\n" : NULL;

    mesh_httpd_answer(r, text ? 503 : 200, "text/plain",
                      text ? text : "ready\n", strlen(text ? text
                                                           : "ready\n"));
}


static void
mesh_watch_admin_metrics(mesh_httpd_request_t *r, void *data)
{
    mesh_watch_admin_t  *admin = data;

    char               *text;
    FILE               *out;
    size_t              i, len;
    mesh_watch_seen_t   seen;

    mesh_watch_admin_look(admin, &seen);

    text = NULL;
    out = mesh_mem_must(open_memstream(&text, &len));

    for (i = 0; i < mesh_nelts(mesh_watch_metrics); i++) {
        mesh_watch_admin_head(out, &mesh_watch_metrics[i]);
        fprintf(out, "%s %llu\n", mesh_watch_metrics[i].name,
                mesh_watch_admin_value(&seen, &mesh_watch_metrics[i]));
    }

    mesh_watch_admin_lag(out, &seen.publish);

    if (admin->parts.kube) {
        mesh_watch_admin_resources(out, admin->parts.kube);
    }

    if (fclose(out) != 0) {
        free(text);
        mesh_httpd_answer(r, 500, "text/plain", "no memory\n", 10);
        return;
    }

    mesh_httpd_answer(r, 200, MESH_WATCH_METRICS_TYPE, text, len);

    free(text);
}


static void
mesh_watch_admin_look(const mesh_watch_admin_t *admin,
    mesh_watch_seen_t *seen)
{
    const mesh_watch_parts_t  *parts;

    parts = &admin->parts;

    memset(seen, 0, sizeof(mesh_watch_seen_t));

    mesh_publish_state(parts->publish, &seen->publish);

    seen->index = mesh_index_count(parts->index);
    seen->work = mesh_index_work(parts->index);
    seen->filled = (*parts->filled != 0);
    seen->leader = parts->leader == NULL
                   || mesh_kube_leader_is(parts->leader);

    if (parts->kube) {
        seen->bad = mesh_source_kube_bad(parts->kube);
        seen->client = *mesh_kube_client_counts(parts->client);
    }
}


static void
mesh_watch_admin_resources(FILE *out, const mesh_source_kube_t *kube)
{
    size_t                       i, n;
    const char                  *what;
    const mesh_watch_metric_t   *metric;
    mesh_kube_informer_state_t   state;

    for (i = 0; i < mesh_nelts(mesh_watch_state_metrics); i++) {
        metric = &mesh_watch_state_metrics[i];
        mesh_watch_admin_head(out, metric);

        for (n = 0; (what = mesh_source_kube_state(kube, n, &state)); n++) {
            fprintf(out, "%s{resource=\"%s\"} %llu\n", metric->name, what,
                    mesh_watch_admin_value(&state, metric));
        }
    }

    for (i = 0; i < mesh_nelts(mesh_watch_count_metrics); i++) {
        metric = &mesh_watch_count_metrics[i];
        mesh_watch_admin_head(out, metric);

        for (n = 0; (what = mesh_source_kube_state(kube, n, &state)); n++) {
            fprintf(out, "%s{resource=\"%s\"} %llu\n", metric->name, what,
                    mesh_watch_admin_value(state.counts, metric));
        }
    }
}


static void
mesh_watch_admin_lag(FILE *out, const mesh_publish_state_t *state)
{
    static const unsigned     bounds[] = MESH_PUBLISH_LAG_MS;
    static const mesh_watch_metric_t  lag = {
        "mesh_watch_publish_lag_seconds", "histogram",
        "from the oldest event of a batch to the last confirmation of Redis",
        0, 0
    };

    size_t    i;
    uint64_t  sum;

    mesh_watch_admin_head(out, &lag);

    for (i = 0, sum = 0; i < mesh_nelts(bounds); i++) {
        sum += state->lags[i];
        fprintf(out, "%s_bucket{le=\"%g\"} %llu\n", lag.name,
                bounds[i] / 1000.0, (unsigned long long) sum);
    }

    sum += state->lags[i];

    fprintf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.3f\n%s_count %llu\n",
            lag.name, (unsigned long long) sum, lag.name,
            (double) state->lag_ms / 1000, lag.name,
            (unsigned long long) sum);
}


static void
mesh_watch_admin_head(FILE *out, const mesh_watch_metric_t *metric)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
            metric->name, metric->type);
}


static unsigned long long
mesh_watch_admin_value(const void *from, const mesh_watch_metric_t *metric)
{
    int         number;
    uint64_t    large;
    const char *at;

    at = (const char *) from + metric->offset;

    if (metric->size == sizeof(large)) {
        memcpy(&large, at, sizeof(large));
        return large;
    }

    memcpy(&number, at, sizeof(number));

    return (unsigned long long) number;
}
