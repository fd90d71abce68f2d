
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Readiness.  A probe connects to an address that no network has; the
 * redirect of the pod sends it to a listener of ours, and the module answers
 * with the listener's word.
 */

#include <mesh_core.h>

#include <event2/bufferevent.h>
#include <event2/buffer.h>

#include <mesh_addr.h>
#include <mesh_httpd.h>
#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_ready.h>


typedef struct {
    const char           *name;
    const char           *address;
    const char           *word;
    int                   ipv6;
} mesh_probe_conf_t;


typedef struct {
    mesh_ready_t             *ready;
    const mesh_probe_conf_t  *conf;
    struct bufferevent       *bev;         /* NULL: none is under way */
    int64_t                   good_ms;     /* last success, 0: never */
    char                      wrong[128];  /* of the last failure */
} mesh_probe_t;


#define MESH_READY_STRING(n)   #n
#define MESH_READY_PORT(n)     MESH_READY_STRING(n)

static const mesh_probe_conf_t  mesh_ready_probes[] = {

    { "outbound redirect of IPv4",
      MESH_PROBE_IP4 ":" MESH_READY_PORT(MESH_PORT_OUTBOUND),
      MESH_PROBE_OUTBOUND, 0 },

    { "inbound redirect of IPv4",
      MESH_PROBE_IP4 ":" MESH_READY_PORT(MESH_PORT_INBOUND),
      MESH_PROBE_INBOUND, 0 },

    { "outbound redirect of IPv6",
      "[" MESH_PROBE_IP6 "]:" MESH_READY_PORT(MESH_PORT_OUTBOUND),
      MESH_PROBE_OUTBOUND, 1 },

    { "inbound redirect of IPv6",
      "[" MESH_PROBE_IP6 "]:" MESH_READY_PORT(MESH_PORT_INBOUND),
      MESH_PROBE_INBOUND, 1 }
};


struct mesh_ready_s {
    struct event_base        *base;
    mesh_httpd_t             *httpd;
    const mesh_condition_t   *conditions;
    struct event             *timer;
    int                       ipv6;
    mesh_probe_t              probes[mesh_nelts(mesh_ready_probes)];
};


static void mesh_ready_answer(mesh_httpd_request_t *request, void *data);
static void mesh_ready_timer(evutil_socket_t fd, short what, void *data);
static void mesh_ready_schedule(mesh_ready_t *ready);
static void mesh_probe_start(mesh_probe_t *probe);
static void mesh_probe_read(struct bufferevent *bev, void *data);
static void mesh_probe_event(struct bufferevent *bev, short what, void *data);
static void mesh_probe_end(mesh_probe_t *probe, const char *wrong);


static const mesh_httpd_route_t  mesh_ready_routes[] = {
    { "GET", "/ready", mesh_ready_answer },
    { NULL, NULL, NULL }
};


static int64_t
mesh_ready_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


mesh_ready_t *
mesh_ready_new(struct event_base *base, const mesh_agent_conf_t *conf,
    const mesh_condition_t *conditions, mesh_err_t *err)
{
    char                path[PATH_MAX];
    size_t              i;
    mesh_ready_t       *ready;
    mesh_httpd_conf_t   httpd;

    ready = mesh_mem_new(sizeof(mesh_ready_t));

    ready->base = base;
    ready->conditions = conditions;

    for (i = 0; i < mesh_nelts(mesh_ready_probes); i++) {
        ready->probes[i].ready = ready;
        ready->probes[i].conf = &mesh_ready_probes[i];
    }

    memset(&httpd, 0, sizeof(mesh_httpd_conf_t));

    httpd.base = base;
    httpd.routes = mesh_ready_routes;
    httpd.data = ready;
    httpd.connections_max = 64;

    ready->timer = evtimer_new(base, mesh_ready_timer, ready);
    ready->httpd = mesh_httpd_new(&httpd, err);

    if (ready->timer == NULL || ready->httpd == NULL
        || mesh_agent_path(conf, MESH_RUN_ADMIN_SOCK, path, sizeof(path), err)
           != MESH_OK
        || mesh_httpd_listen_unix(ready->httpd, path, 0600, err) != MESH_OK)
    {
        mesh_ready_free(ready);
        return NULL;
    }

    return ready;
}


void
mesh_ready_free(mesh_ready_t *ready)
{
    size_t  i;

    if (ready == NULL) {
        return;
    }

    for (i = 0; i < mesh_nelts(ready->probes); i++) {
        if (ready->probes[i].bev) {
            bufferevent_free(ready->probes[i].bev);
        }
    }

    if (ready->timer) {
        event_free(ready->timer);
    }

    if (ready->httpd) {
        mesh_httpd_free(ready->httpd);
    }

    free(ready);
}


void
mesh_ready_probe(mesh_ready_t *ready, int ipv6)
{
    ready->ipv6 = ipv6;

    event_active(ready->timer, EV_TIMEOUT, 1);
}


/* one line for each condition that is not met */

static void
mesh_ready_answer(mesh_httpd_request_t *request, void *data)
{
    FILE                    *out;
    char                    *text;
    size_t                   i, len;
    int64_t                  since_ms;
    mesh_err_t               err;
    mesh_ready_t            *ready;
    const mesh_probe_t      *probe;
    const mesh_condition_t  *condition;

    ready = data;

    out = open_memstream(&text, &len);

    if (out == NULL) {
        mesh_httpd_answer(request, 503, "text/plain", "no memory\n", 10);
        return;
    }

    for (condition = ready->conditions; condition->name; condition++) {

        if (condition->check(condition->data, &err) != MESH_OK) {
            fprintf(out, "%s: %s\n", condition->name, err.text);
        }
    }

    since_ms = mesh_ready_now_ms() - MESH_READY_STALE_MS;

    for (i = 0; i < mesh_nelts(ready->probes); i++) {
        probe = &ready->probes[i];

        if ((probe->conf->ipv6 && !ready->ipv6)
            || (probe->good_ms && probe->good_ms > since_ms))
        {
            continue;
        }

        fprintf(out, "%s: %s\n", probe->conf->name,
                probe->wrong[0] ? probe->wrong : "not probed yet");
    }

    (void) fclose(out);

    if (len == 0) {
        mesh_httpd_answer(request, 200, "text/plain", "ready\n", 6);

    } else {
        mesh_httpd_answer(request, 503, "text/plain", text, len);
    }

    free(text);
}


static void
mesh_ready_timer(evutil_socket_t fd, short what, void *data)
{
    size_t         i;
    mesh_ready_t  *ready;

    ready = data;

    for (i = 0; i < mesh_nelts(ready->probes); i++) {

        if (ready->probes[i].bev == NULL
            && (ready->ipv6 || !ready->probes[i].conf->ipv6))
        {
            mesh_probe_start(&ready->probes[i]);
        }
    }

    mesh_ready_schedule(ready);
}


static void
mesh_ready_schedule(mesh_ready_t *ready)
{
    int             wait_ms;
    size_t          i;
    struct timeval  tv;

    wait_ms = MESH_READY_SELDOM_MS;

    for (i = 0; i < mesh_nelts(ready->probes); i++) {

        if ((ready->ipv6 || !ready->probes[i].conf->ipv6)
            && (ready->probes[i].wrong[0] || ready->probes[i].good_ms == 0))
        {
            wait_ms = MESH_READY_OFTEN_MS;
        }
    }

    tv.tv_sec = wait_ms / 1000;
    tv.tv_usec = wait_ms % 1000 * 1000;

    (void) evtimer_add(ready->timer, &tv);
}


static void
mesh_probe_start(mesh_probe_t *probe)
{
    mesh_err_t      err;
    mesh_addr_t     addr;
    struct timeval  tv;

    if (mesh_addr_parse(probe->conf->address, &addr, &err) != MESH_OK) {
        mesh_probe_end(probe, err.text);
        return;
    }

    probe->bev = bufferevent_socket_new(probe->ready->base, -1,
                                        BEV_OPT_CLOSE_ON_FREE);
    if (probe->bev == NULL) {
        mesh_probe_end(probe, "no memory");
        return;
    }

    tv.tv_sec = MESH_READY_PROBE_MS / 1000;
    tv.tv_usec = MESH_READY_PROBE_MS % 1000 * 1000;

    bufferevent_setcb(probe->bev, mesh_probe_read, NULL, mesh_probe_event,
                      probe);
    bufferevent_set_timeouts(probe->bev, &tv, &tv);

    /* a failure that is known at once comes as an event, too */

    if (bufferevent_enable(probe->bev, EV_READ) == -1
        || bufferevent_socket_connect(probe->bev, &addr.sa, addr.len) == -1)
    {
        if (probe->bev) {
            mesh_probe_end(probe, "cannot connect");
        }
    }
}


static void
mesh_probe_read(struct bufferevent *bev, void *data)
{
    char             text[32];
    size_t           n;
    mesh_probe_t    *probe;
    struct evbuffer *input;

    probe = data;
    input = bufferevent_get_input(bev);

    n = evbuffer_get_length(input);

    if (n < strlen(probe->conf->word)) {
        return;
    }

    n = mesh_min(n, sizeof(text) - 1);
    (void) evbuffer_copyout(input, text, n);
    text[n] = '\0';

    mesh_probe_end(probe, strcmp(text, probe->conf->word) == 0
                          ? NULL : "another word came back");
}


static void
mesh_probe_event(struct bufferevent *bev, short what, void *data)
{
    mesh_probe_t  *probe;

    probe = data;

    if (what & BEV_EVENT_CONNECTED) {
        return;
    }

    mesh_probe_end(probe, what & BEV_EVENT_TIMEOUT ? "no answer"
                          : what & BEV_EVENT_EOF ? "closed without an answer"
                          : strerror(EVUTIL_SOCKET_ERROR()));
}


/* wrong is NULL: it works */

static void
mesh_probe_end(mesh_probe_t *probe, const char *wrong)
{
    if (probe->bev) {
        bufferevent_free(probe->bev);
        probe->bev = NULL;
    }

    if (wrong && strcmp(wrong, probe->wrong) != 0) {
        mesh_log(MESH_LOG_WARN, 0, "%s does not work: %s", probe->conf->name,
                 wrong);
    }

    if (wrong == NULL && (probe->wrong[0] || probe->good_ms == 0)) {
        mesh_log(MESH_LOG_NOTICE, 0, "%s works", probe->conf->name);
    }

    (void) snprintf(probe->wrong, sizeof(probe->wrong), "%s",
                    wrong ? wrong : "");

    if (wrong == NULL) {
        probe->good_ms = mesh_ready_now_ms();
    }
}
