
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Ties reflector, client, stream and store together, and is the one place
 * that logs what the API server does to a resource: each cause when it comes,
 * then once a minute while it lasts, and when it is over.
 */

#include <sys/random.h>

#include <event2/event.h>

#include <mesh_kube_informer.h>
#include <mesh_kube_stream.h>
#include <mesh_log.h>
#include <mesh_mem.h>


#define MESH_KUBE_LIMIT            500
#define MESH_KUBE_WATCH_S          300
#define MESH_KUBE_LIST_MS          300000    /* of a page, all of it */
#define MESH_KUBE_WATCH_SLACK_MS   30000     /* after the server's own end */
#define MESH_KUBE_LOG_AGAIN_MS     60000


struct mesh_kube_informer_s {
    mesh_kube_informer_conf_t            conf;
    const mesh_kube_informer_handler_t  *handler;
    void                                *data;

    mesh_kube_client_t                  *client;
    struct event                        *timer;
    mesh_kube_reflector_t                reflector;
    mesh_kube_store_t                    store;

    mesh_kube_call_t                    *call;
    mesh_kube_stream_t                  *stream;
    char                                *url;
    mesh_kube_do_e                       task;
    int                                  status;    /* of the answer */
    int                                  broken;    /* the stream */
    int                                  code;      /* of an ERROR event */
    int                                  news;      /* changed is due */
    int                                  incomplete;  /* a list lost some */
    mesh_err_t                           why;       /* broken */
    mesh_err_t                           event;     /* code */

    uint64_t                             lost;
    uint64_t                             stale;
    uint64_t                             event_ms;

    char                                 said[256];  /* the last complaint */
    uint64_t                             said_ms;
};


static void mesh_kube_informer_on_timer(evutil_socket_t fd, short what,
    void *data);
static void mesh_kube_informer_go_on(mesh_kube_informer_t *inf);
static void mesh_kube_informer_begin(mesh_kube_informer_t *inf);
static int mesh_kube_informer_on_body(void *data, int status,
    const char *text, size_t len);
static int mesh_kube_informer_on_item(void *data, json_t *json);
static int mesh_kube_informer_on_event(mesh_kube_informer_t *inf,
    json_t *json);
static int mesh_kube_informer_changed(mesh_kube_informer_t *inf,
    const char *type, json_t *object);
static void mesh_kube_informer_on_lost(void *data, const mesh_err_t *err);
static void mesh_kube_informer_on_gone(void *data, const char *name);
static void mesh_kube_informer_on_done(void *data,
    const mesh_kube_ended_t *ended);
static void mesh_kube_informer_list_done(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended);
static int mesh_kube_informer_page(mesh_kube_informer_t *inf,
    json_t *envelope);
static void mesh_kube_informer_listed(mesh_kube_informer_t *inf);
static void mesh_kube_informer_list_failed(mesh_kube_informer_t *inf,
    const mesh_kube_outcome_t *outcome);
static void mesh_kube_informer_watch_done(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended);
static void mesh_kube_informer_outcome(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended, mesh_kube_outcome_t *outcome);
static void mesh_kube_informer_settle(mesh_kube_informer_t *inf);
static void mesh_kube_informer_complain(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended);
static const char *mesh_kube_informer_text(json_t *json, const char *a,
    const char *b);
static int mesh_kube_informer_name(json_t *object, char *name);
static uint64_t mesh_kube_now_ms(void);
static uint32_t mesh_kube_random(void);


static const mesh_kube_call_handler_t  mesh_kube_informer_calls = {
    mesh_kube_informer_on_body,
    mesh_kube_informer_on_done
};


static const mesh_kube_stream_handler_t  mesh_kube_informer_items = {
    mesh_kube_informer_on_item,
    mesh_kube_informer_on_lost
};


mesh_kube_informer_t *
mesh_kube_informer_new(struct event_base *base, mesh_kube_client_t *client,
    const mesh_kube_informer_conf_t *conf,
    const mesh_kube_informer_handler_t *handler, void *data)
{
    struct timeval               tv;
    mesh_kube_informer_t        *inf;
    mesh_kube_reflector_conf_t   reflector;

    inf = mesh_mem_new(sizeof(mesh_kube_informer_t));

    inf->conf = *conf;
    inf->handler = handler;
    inf->data = data;
    inf->client = client;
    inf->url = mesh_mem_new(MESH_KUBE_URL_MAX);

    reflector.path = conf->path;
    reflector.optional = conf->optional;
    reflector.limit = conf->limit ? conf->limit : MESH_KUBE_LIMIT;
    reflector.watch_s = conf->watch_s ? conf->watch_s : MESH_KUBE_WATCH_S;

    mesh_kube_reflector_init(&inf->reflector, &reflector);

    inf->timer = mesh_mem_must(event_new(base, -1, 0,
                                         mesh_kube_informer_on_timer, inf));
    tv.tv_sec = 0;
    tv.tv_usec = 0;

    event_add(inf->timer, &tv);

    return inf;
}


void
mesh_kube_informer_free(mesh_kube_informer_t *inf)
{
    if (inf == NULL) {
        return;
    }

    if (inf->call) {
        mesh_kube_call_cancel(inf->call);
    }

    event_free(inf->timer);

    mesh_kube_stream_free(inf->stream);
    mesh_kube_store_done(&inf->store);
    mesh_kube_reflector_done(&inf->reflector);

    free(inf->url);
    free(inf);
}


int
mesh_kube_informer_synced(const mesh_kube_informer_t *inf)
{
    return inf->reflector.synced;
}


void
mesh_kube_informer_state(const mesh_kube_informer_t *inf,
    mesh_kube_informer_state_t *state)
{
    state->objects = inf->store.count;
    state->lost = inf->lost;
    state->stale = inf->stale;
    state->event_ms = inf->event_ms;
    state->watching = inf->call && inf->task == MESH_KUBE_WATCH
                      && inf->status == 200;
    state->absent = inf->reflector.absent;
    state->counts = &inf->reflector.counts;
}


static void
mesh_kube_informer_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_kube_informer_t  *inf = data;

    (void) fd;
    (void) what;

    mesh_kube_informer_go_on(inf);
}


/* begins what the reflector says, or waits until it has something to say */

static void
mesh_kube_informer_go_on(mesh_kube_informer_t *inf)
{
    uint64_t        now, wait;
    struct timeval  tv;

    now = mesh_kube_now_ms();

    inf->task = mesh_kube_reflector_next(&inf->reflector, now,
                                         mesh_kube_random());

    if (inf->task != MESH_KUBE_WAIT) {
        mesh_kube_informer_begin(inf);
        return;
    }

    wait = inf->reflector.at_ms > now ? inf->reflector.at_ms - now : 0;

    tv.tv_sec = (time_t) (wait / 1000);
    tv.tv_usec = (suseconds_t) (wait % 1000 * 1000);

    event_add(inf->timer, &tv);
}


static void
mesh_kube_informer_begin(mesh_kube_informer_t *inf)
{
    mesh_err_t                err;
    mesh_kube_ended_t         ended;
    mesh_kube_call_conf_t     conf;
    mesh_kube_stream_conf_t   stream;

    mesh_kube_reflector_url(&inf->reflector, inf->url);

    memset(&conf, 0, sizeof(conf));
    conf.method = "GET";
    conf.path = inf->url;
    conf.total_ms = MESH_KUBE_LIST_MS;

    if (inf->task == MESH_KUBE_WATCH) {
        conf.total_ms = inf->reflector.watch_s * 1000
                        + MESH_KUBE_WATCH_SLACK_MS;
        mesh_kube_store_watch_begin(&inf->store, inf->reflector.version);

    } else if (inf->reflector.token == NULL) {
        mesh_kube_store_list_begin(&inf->store);
        inf->incomplete = 0;
    }

    memset(&stream, 0, sizeof(stream));
    stream.watch = (inf->task == MESH_KUBE_WATCH);
    stream.drop = inf->conf.drop;

    inf->stream = mesh_kube_stream_new(&stream, &mesh_kube_informer_items,
                                       inf);
    inf->status = 0;
    inf->broken = 0;
    inf->code = 0;

    inf->call = mesh_kube_call_start(inf->client, &conf,
                                     &mesh_kube_informer_calls, inf, &err);

    if (inf->call == NULL) {
        memset(&ended, 0, sizeof(ended));
        ended.why = err.text;

        mesh_kube_informer_on_done(inf, &ended);
    }
}


/*
 * An answer that is not 200 is a Status, or anything a proxy may say; it is
 * read as a list, which the envelope of is the Status.
 */

static int
mesh_kube_informer_on_body(void *data, int status, const char *text,
    size_t len)
{
    mesh_kube_informer_t  *inf = data;

    int                      rc;
    mesh_kube_stream_conf_t  conf;

    if (inf->status == 0 && status != 200 && inf->task == MESH_KUBE_WATCH) {
        memset(&conf, 0, sizeof(conf));

        mesh_kube_stream_free(inf->stream);
        inf->stream = mesh_kube_stream_new(&conf, &mesh_kube_informer_items,
                                           inf);
    }

    if (inf->status == 0 && status == 200 && inf->task == MESH_KUBE_WATCH
        && inf->said[0])
    {
        mesh_log(MESH_LOG_NOTICE, 0, "%s: watched again", inf->conf.what);
        inf->said[0] = '\0';
    }

    inf->status = status;

    if (inf->broken) {
        return status == 200 ? MESH_ERROR : MESH_OK;
    }

    rc = mesh_kube_stream_read(inf->stream, text, len, &inf->why);

    if (rc != MESH_OK) {
        inf->broken = 1;

        if (status != 200) {
            rc = MESH_OK;                  /* "404 page not found" */
        }
    }

    mesh_kube_informer_settle(inf);

    return rc;
}


static int
mesh_kube_informer_on_item(void *data, json_t *json)
{
    mesh_kube_informer_t  *inf = data;

    char         name[MESH_KUBE_NAME_MAX];
    mesh_err_t   err;
    const char  *version;

    if (inf->status != 200) {
        return MESH_OK;
    }

    if (inf->task == MESH_KUBE_WATCH) {
        return mesh_kube_informer_on_event(inf, json);
    }

    version = mesh_kube_informer_text(json, "metadata", "resourceVersion");

    if (mesh_kube_informer_name(json, name) != MESH_OK) {
        mesh_err(&err, "an object has no name");
        mesh_kube_informer_on_lost(inf, &err);
        return MESH_OK;
    }

    if (mesh_kube_store_listed(&inf->store, name, version) == MESH_OK) {
        inf->handler->put(inf->data, json, name);
        inf->news = 1;
    }

    return MESH_OK;
}


static int
mesh_kube_informer_on_event(mesh_kube_informer_t *inf, json_t *json)
{
    json_t      *object;
    const char  *type, *version;

    type = mesh_kube_informer_text(json, "type", NULL);
    object = json_object_get(json, "object");
    version = mesh_kube_informer_text(object, "metadata", "resourceVersion");

    if (strcmp(type, "ERROR") == 0) {
        inf->code = (int) json_integer_value(json_object_get(object, "code"));

        if (inf->code == 0) {
            inf->code = 500;
        }

        mesh_err(&inf->event, "%s",
                 mesh_kube_informer_text(object, "message", NULL));

        return MESH_ERROR;                 /* nothing good comes after it */
    }

    if (strcmp(type, "BOOKMARK") != 0) {

        inf->event_ms = mesh_kube_now_ms();

        if (mesh_kube_informer_changed(inf, type, object) != MESH_OK) {
            return MESH_OK;
        }
    }

    mesh_kube_reflector_event(&inf->reflector, version,
                              strcmp(type, "BOOKMARK") == 0);

    return MESH_OK;
}


static int
mesh_kube_informer_changed(mesh_kube_informer_t *inf, const char *type,
    json_t *object)
{
    int          rc, deleted;
    char         name[MESH_KUBE_NAME_MAX];
    mesh_err_t   err;
    const char  *version;

    deleted = (strcmp(type, "DELETED") == 0);

    if ((!deleted && strcmp(type, "ADDED") != 0
         && strcmp(type, "MODIFIED") != 0)
        || mesh_kube_informer_name(object, name) != MESH_OK)
    {
        mesh_err(&err, "an event of type \"%.40s\" has no object with a "
                 "name, or its type is not known", type);
        mesh_kube_informer_on_lost(inf, &err);
        return MESH_ERROR;
    }

    version = mesh_kube_informer_text(object, "metadata", "resourceVersion");

    rc = deleted ? mesh_kube_store_deleted(&inf->store, name, version)
                 : mesh_kube_store_changed(&inf->store, name, version);

    if (rc != MESH_OK) {
        inf->stale++;
        return MESH_OK;
    }

    if (deleted) {
        inf->handler->gone(inf->data, name);

    } else {
        inf->handler->put(inf->data, object, name);
    }

    inf->news = 1;

    return MESH_OK;
}


static void
mesh_kube_informer_on_lost(void *data, const mesh_err_t *err)
{
    mesh_kube_informer_t  *inf = data;

    inf->lost++;
    inf->incomplete = 1;

    mesh_log(MESH_LOG_ERROR, 0, "%s: %s, what it was before stays",
             inf->conf.what, err->text);
}


static void
mesh_kube_informer_on_gone(void *data, const char *name)
{
    mesh_kube_informer_t  *inf = data;

    inf->handler->gone(inf->data, name);
    inf->news = 1;
}


static void
mesh_kube_informer_on_done(void *data, const mesh_kube_ended_t *ended)
{
    mesh_kube_informer_t  *inf = data;

    inf->call = NULL;

    if (inf->task == MESH_KUBE_LIST) {
        mesh_kube_informer_list_done(inf, ended);

    } else {
        mesh_kube_informer_watch_done(inf, ended);
    }

    mesh_kube_stream_free(inf->stream);
    inf->stream = NULL;

    mesh_kube_informer_settle(inf);
    mesh_kube_informer_go_on(inf);
}


static void
mesh_kube_informer_list_done(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended)
{
    int                   rc;
    json_t               *envelope;
    mesh_kube_ended_t     bad;
    mesh_kube_outcome_t   outcome;

    bad = *ended;

    if (ended->whole && ended->status == 200 && !inf->broken) {
        rc = mesh_kube_stream_end(inf->stream, &envelope, &inf->why);

        if (rc == MESH_OK) {
            rc = mesh_kube_informer_page(inf, envelope);
            json_decref(envelope);

            if (rc == MESH_OK) {
                return;
            }

            mesh_err(&inf->why, "a list without a version, or with a token "
                     "that is too long");
            bad.why = inf->why.text;
            mesh_kube_informer_complain(inf, &bad);
            return;
        }

        bad.whole = 0;
        bad.why = rc == MESH_AGAIN ? "the list ends in the middle"
                                   : inf->why.text;
    }

    mesh_kube_informer_complain(inf, &bad);
    mesh_kube_informer_outcome(inf, &bad, &outcome);
    mesh_kube_informer_list_failed(inf, &outcome);
}


/* MESH_ERROR: the reflector has taken it for a failure */

static int
mesh_kube_informer_page(mesh_kube_informer_t *inf, json_t *envelope)
{
    int          rc;
    const char  *version, *token;

    version = mesh_kube_informer_text(envelope, "metadata",
                                      "resourceVersion");
    token = mesh_kube_informer_text(envelope, "metadata", "continue");

    rc = mesh_kube_reflector_page(&inf->reflector, version, token,
                                  mesh_kube_now_ms(), mesh_kube_random());

    if (rc == MESH_OK) {
        mesh_kube_informer_listed(inf);
    }

    return rc == MESH_AGAIN ? MESH_OK : rc;
}


static void
mesh_kube_informer_listed(mesh_kube_informer_t *inf)
{
    mesh_kube_store_list_end(&inf->store, inf->reflector.version,
                             !inf->incomplete, mesh_kube_informer_on_gone,
                             inf);

    if (inf->said[0] || inf->reflector.counts.lists == 1) {
        mesh_log(MESH_LOG_NOTICE, 0, "%s: listed, %zu objects",
                 inf->conf.what, inf->store.count);
        inf->said[0] = '\0';
    }

    if (inf->reflector.counts.lists == 1) {
        inf->handler->synced(inf->data);
    }
}


static void
mesh_kube_informer_list_failed(mesh_kube_informer_t *inf,
    const mesh_kube_outcome_t *outcome)
{
    int  rc, synced;

    synced = inf->reflector.synced;

    rc = mesh_kube_reflector_list_failed(&inf->reflector, outcome,
                                         mesh_kube_now_ms(),
                                         mesh_kube_random());

    if (rc == MESH_DONE && inf->store.held.n) {
        mesh_log(MESH_LOG_NOTICE, 0, "%s: there is no such resource any "
                 "more, %zu objects are gone", inf->conf.what,
                 inf->store.count);

        mesh_kube_store_clear(&inf->store, mesh_kube_informer_on_gone, inf);
    }

    if (!synced && inf->reflector.synced) {
        inf->handler->synced(inf->data);
    }
}


static void
mesh_kube_informer_watch_done(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended)
{
    mesh_kube_ended_t    bad;
    mesh_kube_outcome_t  outcome;

    bad = *ended;

    if (inf->status == 200 && ended->whole && !inf->broken
        && mesh_kube_stream_end(inf->stream, NULL, NULL) == MESH_AGAIN)
    {
        bad.whole = 0;
        bad.why = "the watch ends in the middle of an event";
    }

    mesh_kube_informer_outcome(inf, &bad, &outcome);

    /* a watch that is cut is nothing to tell, unless it is so again and
       again: the reflector counts */

    mesh_kube_reflector_watch_ended(&inf->reflector, &outcome,
                                    mesh_kube_now_ms(), mesh_kube_random());

    if (outcome.code || outcome.status != 200 || inf->reflector.fails > 1) {
        mesh_kube_informer_complain(inf, &bad);
    }
}


static void
mesh_kube_informer_outcome(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended, mesh_kube_outcome_t *outcome)
{
    memset(outcome, 0, sizeof(mesh_kube_outcome_t));

    outcome->status = ended->status;
    outcome->code = inf->code;
    outcome->retry_after_ms = ended->retry_after_ms;
    outcome->fresh = (ended->fresh != 0);

    /* a head, and nothing of sense after it */

    if (inf->broken && !inf->code && ended->status == 200) {
        outcome->code = 500;
    }
}


static void
mesh_kube_informer_settle(mesh_kube_informer_t *inf)
{
    if (inf->news) {
        inf->news = 0;
        inf->handler->changed(inf->data);
    }
}


static void
mesh_kube_informer_complain(mesh_kube_informer_t *inf,
    const mesh_kube_ended_t *ended)
{
    int          level;
    char         said[sizeof(inf->said)];
    json_t      *status;
    uint64_t     now;
    const char  *task;

    status = NULL;
    task = inf->task == MESH_KUBE_LIST ? "list" : "watch";
    level = MESH_LOG_WARN;

    if (inf->code) {
        snprintf(said, sizeof(said), "%s: ERROR event, %d: %.200s", task,
                 inf->code, inf->event.text);

        level = inf->code == 410 ? MESH_LOG_INFO : MESH_LOG_WARN;

    } else if (ended->status && ended->status != 200) {

        if (!inf->broken && ended->whole) {
            (void) mesh_kube_stream_end(inf->stream, &status, NULL);
        }

        snprintf(said, sizeof(said), "%s: status %d: %.200s", task,
                 ended->status,
                 mesh_kube_informer_text(status, "message", NULL));

        level = ended->status == 410 ? MESH_LOG_INFO
                : ended->status == 404 && inf->conf.optional ? MESH_LOG_INFO
                : ended->status < 429 ? MESH_LOG_ERROR : MESH_LOG_WARN;

    } else {
        snprintf(said, sizeof(said), "%s: %.240s", task,
                 inf->broken ? inf->why.text : ended->why);
    }

    json_decref(status);

    now = mesh_kube_now_ms();

    if (strcmp(said, inf->said) == 0
        && now - inf->said_ms < MESH_KUBE_LOG_AGAIN_MS)
    {
        return;
    }

    mesh_log(level, 0, "%s: %s", inf->conf.what, said);

    memcpy(inf->said, said, sizeof(said));
    inf->said_ms = now;
}


/* json.a.b or json.a, "" if it is no text */

static const char *
mesh_kube_informer_text(json_t *json, const char *a, const char *b)
{
    const char  *text;

    json = json_object_get(json, a);

    if (b) {
        json = json_object_get(json, b);
    }

    text = json_string_value(json);

    return text ? text : "";
}


static int
mesh_kube_informer_name(json_t *object, char *name)
{
    int          n;
    const char  *text;

    text = mesh_kube_informer_text(object, "metadata", "name");

    n = snprintf(name, MESH_KUBE_NAME_MAX, "%s/%s",
                 mesh_kube_informer_text(object, "metadata", "namespace"),
                 text);

    return text[0] && n < MESH_KUBE_NAME_MAX ? MESH_OK : MESH_ERROR;
}


static uint64_t
mesh_kube_now_ms(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}


static uint32_t
mesh_kube_random(void)
{
    uint32_t  n;

    if (getrandom(&n, sizeof(n), 0) != sizeof(n)) {
        n = (uint32_t) mesh_kube_now_ms() * 2654435761u;
    }

    return n;
}
