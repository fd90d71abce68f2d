
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Asks what mesh_lease says and tells it the answers.  What others have put
 * into the Lease (labels, owners) is sent back as it came.
 */

#include <sys/random.h>

#include <event2/event.h>
#include <jansson.h>

#include <mesh_kube_leader.h>
#include <mesh_kube_stream.h>
#include <mesh_log.h>
#include <mesh_mem.h>


#define MESH_KUBE_LEASE_MS     3000        /* of a request */


struct mesh_kube_leader_s {
    mesh_kube_client_t                *client;
    const mesh_kube_leader_handler_t  *handler;
    void                              *data;
    struct event                      *timer;
    char                              *namespace_;
    char                              *name;
    char                              *path;      /* of the namespace's */
    mesh_lease_t                       lease;

    mesh_kube_call_t                  *call;
    mesh_kube_stream_t                *stream;
    int                                broken;    /* the answer */
    json_t                            *object;    /* as of the last answer */

    int                                leads;     /* the handler was told */
    int                                told;      /* released was told */
    char                               holder[MESH_LEASE_HOLDER_MAX];
    int                                status;    /* the last that failed */
};


static void mesh_kube_leader_on_timer(evutil_socket_t fd, short what,
    void *data);
static void mesh_kube_leader_go_on(mesh_kube_leader_t *leader);
static void mesh_kube_leader_ask(mesh_kube_leader_t *leader,
    mesh_lease_do_e what);
static char *mesh_kube_leader_body(mesh_kube_leader_t *leader,
    mesh_lease_do_e what);
static void mesh_kube_leader_set(json_t *object, const char *name,
    const char *text);
static int mesh_kube_leader_on_body(void *data, int status, const char *text,
    size_t len);
static void mesh_kube_leader_on_done(void *data,
    const mesh_kube_ended_t *ended);
static int mesh_kube_leader_read(mesh_kube_leader_t *leader,
    mesh_lease_record_t *record);
static void mesh_kube_leader_copy(char *to, size_t size, json_t *from,
    const char *name);
static void mesh_kube_leader_tell(mesh_kube_leader_t *leader);
static void mesh_kube_leader_complain(mesh_kube_leader_t *leader,
    const mesh_kube_ended_t *ended);
static int mesh_kube_leader_on_item(void *data, json_t *json);
static void mesh_kube_leader_on_lost(void *data, const mesh_err_t *err);
static uint64_t mesh_kube_leader_now_ms(void);
static uint64_t mesh_kube_leader_wall_us(void);
static uint32_t mesh_kube_leader_random(void);


static const mesh_kube_call_handler_t  mesh_kube_leader_calls = {
    mesh_kube_leader_on_body,
    mesh_kube_leader_on_done
};


/* a Lease has no items; the stream is how an answer is read and bounded */

static const mesh_kube_stream_handler_t  mesh_kube_leader_items = {
    mesh_kube_leader_on_item,
    mesh_kube_leader_on_lost
};


mesh_kube_leader_t *
mesh_kube_leader_new(struct event_base *base, mesh_kube_client_t *client,
    const char *place, const char *me,
    const mesh_kube_leader_handler_t *handler, void *data)
{
    const char          *slash;
    struct timeval       tv;
    mesh_kube_leader_t  *leader;

    slash = strchr(place, '/');

    leader = mesh_mem_new(sizeof(mesh_kube_leader_t));

    leader->client = client;
    leader->handler = handler;
    leader->data = data;
    leader->namespace_ = mesh_mem_printf("%.*s", (int) (slash - place),
                                         place);
    leader->name = mesh_mem_str(slash + 1);
    leader->path = mesh_mem_printf("/apis/coordination.k8s.io/v1/namespaces/"
                                   "%s/leases", leader->namespace_);

    mesh_lease_init(&leader->lease, me);

    leader->timer = mesh_mem_must(event_new(base, -1, 0,
                                            mesh_kube_leader_on_timer,
                                            leader));
    tv.tv_sec = 0;
    tv.tv_usec = 0;

    event_add(leader->timer, &tv);

    return leader;
}


void
mesh_kube_leader_free(mesh_kube_leader_t *leader)
{
    if (leader == NULL) {
        return;
    }

    if (leader->call) {
        mesh_kube_call_cancel(leader->call);
    }

    mesh_kube_stream_free(leader->stream);
    json_decref(leader->object);
    event_free(leader->timer);

    free(leader->namespace_);
    free(leader->name);
    free(leader->path);
    free(leader);
}


int
mesh_kube_leader_is(const mesh_kube_leader_t *leader)
{
    return leader->leads;
}


int
mesh_kube_leader_look(mesh_kube_leader_t *leader)
{
    mesh_kube_leader_go_on(leader);

    return leader->leads;
}


void
mesh_kube_leader_release(mesh_kube_leader_t *leader)
{
    mesh_lease_release(&leader->lease);
    mesh_kube_leader_go_on(leader);
}


void
mesh_kube_leader_name(char *me)
{
    char  host[65];

    if (gethostname(host, sizeof(host)) != 0) {
        host[0] = '\0';
    }

    host[sizeof(host) - 1] = '\0';

    snprintf(me, MESH_LEASE_HOLDER_MAX, "%s_%08x%08x",
             host[0] ? host : "meshd", mesh_kube_leader_random(),
             mesh_kube_leader_random());
}


static void
mesh_kube_leader_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_kube_leader_t  *leader = data;

    (void) fd;
    (void) what;

    mesh_kube_leader_go_on(leader);
}


static void
mesh_kube_leader_go_on(mesh_kube_leader_t *leader)
{
    uint64_t         wait;
    struct timeval   tv;
    mesh_lease_do_e  what;

    what = mesh_lease_next(&leader->lease, mesh_kube_leader_now_ms(),
                           mesh_kube_leader_wall_us(),
                           mesh_kube_leader_random());

    mesh_kube_leader_tell(leader);

    if (what != MESH_LEASE_WAIT) {
        mesh_kube_leader_ask(leader, what);
    }

    if (leader->lease.released) {
        return;
    }

    wait = mesh_lease_wait(&leader->lease, mesh_kube_leader_now_ms());

    tv.tv_sec = (time_t) (wait / 1000);
    tv.tv_usec = (suseconds_t) (wait % 1000 * 1000);

    event_add(leader->timer, &tv);
}


static void
mesh_kube_leader_ask(mesh_kube_leader_t *leader, mesh_lease_do_e what)
{
    char                     *path;
    mesh_err_t                err;
    mesh_kube_call_conf_t     conf;
    mesh_kube_stream_conf_t   stream;

    path = mesh_mem_printf(what == MESH_LEASE_CREATE ? "%s" : "%s/%s",
                           leader->path, leader->name);

    memset(&conf, 0, sizeof(conf));
    conf.method = what == MESH_LEASE_GET ? "GET"
                  : what == MESH_LEASE_CREATE ? "POST" : "PUT";
    conf.path = path;
    conf.total_ms = MESH_KUBE_LEASE_MS;
    conf.body = what == MESH_LEASE_GET ? NULL
                                       : mesh_kube_leader_body(leader, what);

    memset(&stream, 0, sizeof(stream));

    leader->stream = mesh_kube_stream_new(&stream, &mesh_kube_leader_items,
                                          leader);
    leader->broken = 0;

    leader->call = mesh_kube_call_start(leader->client, &conf,
                                        &mesh_kube_leader_calls, leader,
                                        &err);

    free((char *) conf.body);
    free(path);

    if (leader->call == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "lease %s/%s: %s", leader->namespace_,
                 leader->name, err.text);

        mesh_kube_stream_free(leader->stream);
        leader->stream = NULL;

        mesh_lease_answer(&leader->lease, 0, NULL, mesh_kube_leader_now_ms(),
                          mesh_kube_leader_random());
    }
}


static char *
mesh_kube_leader_body(mesh_kube_leader_t *leader, mesh_lease_do_e what)
{
    char                       *text;
    json_t                     *object, *meta, *spec;
    const mesh_lease_record_t  *sent;

    sent = &leader->lease.sent;

    if (what == MESH_LEASE_UPDATE && leader->object) {
        object = mesh_mem_must(json_deep_copy(leader->object));

    } else {
        object = mesh_mem_must(json_object());
        mesh_kube_leader_set(object, "apiVersion", "coordination.k8s.io/v1");
        mesh_kube_leader_set(object, "kind", "Lease");
    }

    meta = json_object_get(object, "metadata");

    if (!json_is_object(meta)) {
        meta = mesh_mem_must(json_object());
        json_object_set_new(object, "metadata", meta);
    }

    mesh_kube_leader_set(meta, "name", leader->name);
    mesh_kube_leader_set(meta, "namespace", leader->namespace_);
    json_object_del(meta, "managedFields");

    if (sent->version[0]) {
        mesh_kube_leader_set(meta, "resourceVersion", sent->version);
    }

    spec = json_object_get(object, "spec");

    if (!json_is_object(spec)) {
        spec = mesh_mem_must(json_object());
        json_object_set_new(object, "spec", spec);
    }

    mesh_kube_leader_set(spec, "holderIdentity", sent->holder);
    mesh_kube_leader_set(spec, "renewTime", sent->renewed);

    if (sent->acquired[0]) {
        mesh_kube_leader_set(spec, "acquireTime", sent->acquired);
    }

    json_object_set_new(spec, "leaseDurationSeconds",
                        json_integer(sent->duration_s));
    json_object_set_new(spec, "leaseTransitions",
                        json_integer(sent->transitions));

    text = mesh_mem_must(json_dumps(object, JSON_COMPACT));

    json_decref(object);

    return text;
}


static void
mesh_kube_leader_set(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, mesh_mem_must(json_string(text)));
}


static int
mesh_kube_leader_on_body(void *data, int status, const char *text, size_t len)
{
    mesh_kube_leader_t  *leader = data;

    (void) status;

    if (!leader->broken
        && mesh_kube_stream_read(leader->stream, text, len, NULL) != MESH_OK)
    {
        leader->broken = 1;
    }

    return MESH_OK;
}


static void
mesh_kube_leader_on_done(void *data, const mesh_kube_ended_t *ended)
{
    mesh_kube_leader_t  *leader = data;

    int                   good, status;
    mesh_lease_record_t   record;

    leader->call = NULL;

    status = ended->whole ? ended->status : 0;

    good = (status == 200 || status == 201)
           && mesh_kube_leader_read(leader, &record) == MESH_OK;

    if (!good && (status == 200 || status == 201)) {
        status = 0;                        /* an answer that is none */
    }

    mesh_kube_leader_complain(leader, ended);

    mesh_kube_stream_free(leader->stream);
    leader->stream = NULL;

    mesh_lease_answer(&leader->lease, status, good ? &record : NULL,
                      mesh_kube_leader_now_ms(), mesh_kube_leader_random());

    mesh_kube_leader_go_on(leader);
}


static int
mesh_kube_leader_read(mesh_kube_leader_t *leader, mesh_lease_record_t *record)
{
    json_t  *object, *spec;

    memset(record, 0, sizeof(mesh_lease_record_t));

    if (leader->broken
        || mesh_kube_stream_end(leader->stream, &object, NULL) != MESH_OK)
    {
        return MESH_ERROR;
    }

    json_decref(leader->object);
    leader->object = object;

    spec = json_object_get(object, "spec");

    mesh_kube_leader_copy(record->version, sizeof(record->version),
                          json_object_get(object, "metadata"),
                          "resourceVersion");
    mesh_kube_leader_copy(record->holder, sizeof(record->holder), spec,
                          "holderIdentity");
    mesh_kube_leader_copy(record->renewed, sizeof(record->renewed), spec,
                          "renewTime");
    mesh_kube_leader_copy(record->acquired, sizeof(record->acquired), spec,
                          "acquireTime");

    record->transitions =
        json_integer_value(json_object_get(spec, "leaseTransitions"));
    record->duration_s = (unsigned) mesh_max(0,
        json_integer_value(json_object_get(spec, "leaseDurationSeconds")));

    return record->version[0] ? MESH_OK : MESH_ERROR;
}


static void
mesh_kube_leader_copy(char *to, size_t size, json_t *from, const char *name)
{
    const char  *text;

    text = json_string_value(json_object_get(from, name));

    snprintf(to, size, "%s", text ? text : "");
}


/* the handler, and the log, of what is so now */

static void
mesh_kube_leader_tell(mesh_kube_leader_t *leader)
{
    mesh_lease_t  *lease;

    lease = &leader->lease;

    if (strcmp(leader->holder, lease->seen.holder) != 0) {
        memcpy(leader->holder, lease->seen.holder, sizeof(leader->holder));

        mesh_log(MESH_LOG_NOTICE, 0, "lease %s/%s: held by \"%s\"",
                 leader->namespace_, leader->name, leader->holder);
    }

    if (leader->leads && !lease->leader) {
        leader->leads = 0;
        mesh_log(MESH_LOG_NOTICE, 0, "lease %s/%s: not the leader any more",
                 leader->namespace_, leader->name);
        leader->handler->lost(leader->data);

    } else if (!leader->leads && lease->leader) {
        leader->leads = 1;
        mesh_log(MESH_LOG_NOTICE, 0, "lease %s/%s: the leader, transition "
                 "%lld", leader->namespace_, leader->name,
                 (long long) lease->seen.transitions);
        leader->handler->gained(leader->data, lease->seen.transitions);
    }

    if (lease->released && !leader->told) {
        leader->told = 1;
        leader->handler->released(leader->data);
    }
}


/* each cause once, until it works again */

static void
mesh_kube_leader_complain(mesh_kube_leader_t *leader,
    const mesh_kube_ended_t *ended)
{
    int  status;

    status = ended->whole ? ended->status : 1;

    if (status == 404 && leader->lease.task == MESH_LEASE_GET) {
        return;                            /* it is yet to be made */
    }

    if (status == 200 || status == 201 || status == 409) {
        leader->status = 0;
        return;
    }

    if (status == leader->status) {
        return;
    }

    leader->status = status;

    if (ended->whole) {
        mesh_log(status < 429 ? MESH_LOG_ERROR : MESH_LOG_WARN, 0,
                 "lease %s/%s: status %d%s", leader->namespace_,
                 leader->name, ended->status,
                 status == 404 ? ", is there such a namespace?" : "");

    } else {
        mesh_log(MESH_LOG_WARN, 0, "lease %s/%s: %s", leader->namespace_,
                 leader->name, ended->why);
    }
}


static int
mesh_kube_leader_on_item(void *data, json_t *json)
{
    (void) data;
    (void) json;

    return MESH_ERROR;                     /* a list is no Lease */
}


static void
mesh_kube_leader_on_lost(void *data, const mesh_err_t *err)
{
    mesh_kube_leader_t  *leader = data;

    (void) err;

    leader->broken = 1;
}


/* goes on while the machine sleeps: a Lease does not wait for us */

static uint64_t
mesh_kube_leader_now_ms(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_BOOTTIME, &now);

    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}


static uint64_t
mesh_kube_leader_wall_us(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);

    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}


static uint32_t
mesh_kube_leader_random(void)
{
    uint32_t  n;

    if (getrandom(&n, sizeof(n), 0) != sizeof(n)) {
        n = (uint32_t) mesh_kube_leader_now_ms() * 2654435761u
            + (uint32_t) getpid();
    }

    return n;
}
