
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * mesh-agent run.  What leads to what:
 *
 *     identity        -> nginx.conf is rendered, tested, used
 *     new worker      -> Redis is connected anew, the redirect is probed
 *     want, documents -> state is written
 *     SIGTERM         -> drain, and all ends
 *
 * Nothing here waits for Redis or identity: with a pair and documents on
 * disk a sidecar starts while everything else is dead.
 */

#include <mesh_core.h>

#include <malloc.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <event2/event.h>

#include <mesh_agent_conf.h>
#include <mesh_agent_role.h>
#include <mesh_cert.h>
#include <mesh_drain.h>
#include <mesh_init.h>
#include <mesh_log.h>
#include <mesh_names.h>
#include <mesh_ready.h>
#include <mesh_reload.h>
#include <mesh_state_file.h>
#include <mesh_subscribe.h>
#include <mesh_trim.h>
#include <mesh_watch_file.h>


#define MESH_AGENT_DEBOUNCE_MS   5         /* documents of a burst */
#define MESH_AGENT_RECONNECT_MS  200       /* several workers start together */
#define MESH_AGENT_STATIC_MS     1000      /* looks at the file of --static */
#define MESH_AGENT_LOOK_MS       5000      /* looks at the state on disk */
#define MESH_AGENT_TRIM_FIRST_MS 1500      /* gives memory back, after that */
#define MESH_AGENT_TRIM_MS       60000     /* once a minute */
#define MESH_AGENT_DATAGRAMS     256       /* of one turn */


typedef struct {
    mesh_agent_conf_t     conf;
    struct event_base    *base;

    mesh_cert_t          *cert;
    mesh_subscribe_t     *subscribe;       /* NULL with --static */
    mesh_watch_file_t    *watch;           /* of --static */
    mesh_reload_t        *reload;
    mesh_ready_t         *ready;
    mesh_drain_t         *drain;
    mesh_state_file_t     state;

    int                   socket;          /* datagrams of workers */
    struct event         *datagrams;
    struct event         *state_timer;
    struct event         *reconnect_timer;
    struct event         *look_timer;
    struct event         *trim_timer;
    struct event         *signals[3];

    uint64_t              taken;           /* newest state that a worker has */
    int                   complete;        /* state was complete once */
    uint64_t              refused_epoch;   /* of a pair that nginx refused */
    char                  refused[256];    /* state: why, or "" */
    char                  unwritten[512];  /* state: why, or "" */
} mesh_agent_t;


/* a datagram's first word and who takes the rest */

typedef struct {
    const char  *word;
    void       (*take)(mesh_agent_t *agent, char *text, pid_t pid);
} mesh_agent_datagram_t;


static int mesh_agent_setup(mesh_agent_t *agent, int init, mesh_err_t *err);
static int mesh_agent_timers(mesh_agent_t *agent, mesh_err_t *err);
static int mesh_agent_socket(mesh_agent_t *agent, mesh_err_t *err);
static void mesh_agent_done(mesh_agent_t *agent);
static void mesh_agent_datagrams(evutil_socket_t fd, short what, void *data);
static void mesh_agent_take_want(mesh_agent_t *agent, char *text, pid_t pid);
static void mesh_agent_take_used(mesh_agent_t *agent, char *text, pid_t pid);
static void mesh_agent_take_state(mesh_agent_t *agent, char *text, pid_t pid);
static void mesh_agent_take_identity(mesh_agent_t *agent, char *text,
    pid_t pid);
static void mesh_agent_identity(void *data);
static void mesh_agent_documents(void *data, int urgent);
static void mesh_agent_static(void *data);
static void mesh_agent_write(evutil_socket_t fd, short what, void *data);
static void mesh_agent_trim(evutil_socket_t fd, short what, void *data);
static void mesh_agent_reconnect(evutil_socket_t fd, short what, void *data);
static void mesh_agent_quit(void *data);
static void mesh_agent_signal(evutil_socket_t fd, short what, void *data);
static int mesh_agent_ready_identity(void *data, mesh_err_t *err);
static int mesh_agent_ready_nginx(void *data, mesh_err_t *err);
static int mesh_agent_ready_state(void *data, mesh_err_t *err);


static const mesh_agent_datagram_t  mesh_agent_words[] = {
    { "want ",     mesh_agent_take_want },
    { "used ",     mesh_agent_take_used },
    { "state ",    mesh_agent_take_state },
    { "identity ", mesh_agent_take_identity },
    { NULL,        NULL }
};


static mesh_agent_t  mesh_agent;


static const mesh_condition_t  mesh_agent_conditions[] = {
    { "identity", mesh_agent_ready_identity, &mesh_agent },
    { "nginx",    mesh_agent_ready_nginx,    &mesh_agent },
    { "state",    mesh_agent_ready_state,    &mesh_agent },
    { NULL,       NULL,                      NULL }
};


int
mesh_agent_role(int argc, char **argv)
{
    int            rc, init;
    char          *end;
    mesh_err_t     err;
    const char    *number;
    mesh_agent_t  *agent;

    agent = &mesh_agent;
    agent->socket = -1;

    rc = mesh_agent_conf_parse(&agent->conf, argc, argv, &err);

    if (rc == MESH_DONE) {
        return 0;
    }

    number = getenv(MESH_INIT_ENV);
    init = number ? (int) strtol(number, &end, 10) : -1;

    if (rc == MESH_OK && (number == NULL || end == number || *end)) {
        rc = mesh_err(&err, "expected to be started by \"mesh-agent init\", "
                      "which sets " MESH_INIT_ENV);
    }

    if (rc != MESH_OK) {
        fprintf(stderr, "mesh-agent run: %s\n", err.text);
        return 2;
    }

    mesh_log_init("mesh-agent", mesh_log_level(agent->conf.log_level));

    if (mesh_agent_setup(agent, init, &err) != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        mesh_agent_done(agent);
        return 1;
    }

    rc = event_base_dispatch(agent->base);

    mesh_agent_done(agent);

    return rc == -1 ? 1 : 0;
}


static int
mesh_agent_setup(mesh_agent_t *agent, int init, mesh_err_t *err)
{
    size_t              i;
    mesh_agent_conf_t  *conf;

    static const int  signals[] = { SIGTERM, SIGINT, SIGHUP };

    conf = &agent->conf;

    (void) signal(SIGPIPE, SIG_IGN);
    (void) umask(077);

    agent->base = event_base_new();
    if (agent->base == NULL) {
        return mesh_err(err, "no event loop");
    }

    if (mesh_agent_timers(agent, err) != MESH_OK
        || mesh_agent_socket(agent, err) != MESH_OK
        || mesh_state_file_init(&agent->state, conf, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    agent->reload = mesh_reload_new(agent->base, conf, init, err);

    if (agent->reload == NULL
        || (agent->drain = mesh_drain_new(agent->base, conf->drain_s,
                                          agent->reload, mesh_agent_quit,
                                          agent, err))
           == NULL
        || (agent->ready = mesh_ready_new(agent->base, conf,
                                          mesh_agent_conditions, err))
           == NULL
        || (agent->cert = mesh_cert_new(agent->base, conf,
                                        mesh_agent_identity, agent, err))
           == NULL)
    {
        return MESH_ERROR;
    }

    if (conf->static_) {
        agent->watch = mesh_watch_file_new(agent->base, &conf->static_, 1,
                                           MESH_AGENT_STATIC_MS,
                                           mesh_agent_static, agent, err);
        if (agent->watch == NULL) {
            return MESH_ERROR;
        }

    } else {
        agent->subscribe = mesh_subscribe_new(agent->base, conf, agent->cert,
                                              mesh_agent_documents, agent,
                                              err);
        if (agent->subscribe == NULL) {
            return MESH_ERROR;
        }
    }

    for (i = 0; i < mesh_nelts(signals); i++) {
        agent->signals[i] = evsignal_new(agent->base, signals[i],
                                         mesh_agent_signal, agent);

        if (agent->signals[i] == NULL
            || event_add(agent->signals[i], NULL) == -1)
        {
            return mesh_err(err, "no event for signal %d", signals[i]);
        }
    }

    /* the state stands before nginx starts */

    mesh_agent_write(-1, 0, agent);

    if (mesh_cert_epoch(agent->cert)) {
        mesh_agent_identity(agent);
    }

    return MESH_OK;
}


static int
mesh_agent_timers(mesh_agent_t *agent, mesh_err_t *err)
{
    struct timeval  look, trim;

    agent->state_timer = evtimer_new(agent->base, mesh_agent_write, agent);
    agent->reconnect_timer = evtimer_new(agent->base, mesh_agent_reconnect,
                                         agent);
    agent->look_timer = event_new(agent->base, -1, EV_PERSIST,
                                  mesh_agent_write, agent);
    agent->trim_timer = evtimer_new(agent->base, mesh_agent_trim, agent);

    look.tv_sec = MESH_AGENT_LOOK_MS / 1000;
    look.tv_usec = 0;
    trim.tv_sec = MESH_AGENT_TRIM_FIRST_MS / 1000;
    trim.tv_usec = MESH_AGENT_TRIM_FIRST_MS % 1000 * 1000;

    if (agent->state_timer == NULL || agent->reconnect_timer == NULL
        || agent->look_timer == NULL || agent->trim_timer == NULL
        || event_add(agent->look_timer, &look) == -1
        || evtimer_add(agent->trim_timer, &trim) == -1)
    {
        return mesh_err(err, "no timers");
    }

    return MESH_OK;
}


static void
mesh_agent_done(mesh_agent_t *agent)
{
    size_t         i;
    struct event  *events[8];

    mesh_subscribe_free(agent->subscribe);
    mesh_cert_free(agent->cert);
    mesh_ready_free(agent->ready);
    mesh_drain_free(agent->drain);
    mesh_reload_free(agent->reload);

    if (agent->watch) {
        mesh_watch_file_free(agent->watch);
    }

    events[0] = agent->datagrams;
    events[1] = agent->state_timer;
    events[2] = agent->reconnect_timer;
    events[3] = agent->signals[0];
    events[4] = agent->signals[1];
    events[5] = agent->signals[2];
    events[6] = agent->look_timer;
    events[7] = agent->trim_timer;

    for (i = 0; i < mesh_nelts(events); i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }

    if (agent->socket != -1) {
        (void) close(agent->socket);
    }

    if (agent->base) {
        event_base_free(agent->base);
    }
}


/* the kernel says which process sent a datagram: SO_PASSCRED */

static int
mesh_agent_socket(mesh_agent_t *agent, mesh_err_t *err)
{
    int                 on;
    struct sockaddr_un  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sun_family = AF_UNIX;

    if (mesh_agent_path(&agent->conf, MESH_RUN_AGENT_SOCK, sa.sun_path,
                        sizeof(sa.sun_path), err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    on = 1;
    (void) unlink(sa.sun_path);

    agent->socket = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (agent->socket == -1
        || setsockopt(agent->socket, SOL_SOCKET, SO_PASSCRED, &on,
                      sizeof(on)) == -1
        || bind(agent->socket, (struct sockaddr *) &sa, sizeof(sa)) == -1
        || chmod(sa.sun_path, 0600) == -1)
    {
        return mesh_err_sys(err, errno, "cannot listen on \"unix:%s\"",
                            sa.sun_path);
    }

    agent->datagrams = event_new(agent->base, agent->socket,
                                 EV_READ|EV_PERSIST, mesh_agent_datagrams,
                                 agent);

    if (agent->datagrams == NULL || event_add(agent->datagrams, NULL) == -1) {
        return mesh_err(err, "no event for datagrams");
    }

    return MESH_OK;
}


static pid_t
mesh_agent_sender(struct msghdr *msg)
{
    struct ucred     cred;
    struct cmsghdr  *c;

    for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {

        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&cred, CMSG_DATA(c), sizeof(cred));
            return cred.pid;
        }
    }

    return 0;
}


static void
mesh_agent_datagrams(evutil_socket_t fd, short what, void *data)
{
    int                           n;
    char                          text[MESH_AGENT_DATAGRAM_MAX + 1];
    pid_t                         pid;
    ssize_t                       len;
    struct iovec                  iov;
    struct msghdr                 msg;
    mesh_agent_t                 *agent;
    const mesh_agent_datagram_t  *d;

    union {
        char            space[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr  align;
    } control;

    agent = data;

    for (n = 0; n < MESH_AGENT_DATAGRAMS; n++) {

        memset(&msg, 0, sizeof(msg));

        iov.iov_base = text;
        iov.iov_len = sizeof(text) - 1;
        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);

        len = recvmsg(fd, &msg, MSG_DONTWAIT);

        if (len == -1) {
            return;                        /* EAGAIN: all were read */
        }

        while (len > 0 && text[len - 1] == '\n') {
            len--;
        }

        text[len] = '\0';
        pid = mesh_agent_sender(&msg);

        for (d = mesh_agent_words; d->word; d++) {

            if (strncmp(text, d->word, strlen(d->word)) == 0) {
                d->take(agent, text + strlen(d->word), pid);
                break;
            }
        }

        if (d->word == NULL) {
            mesh_log(MESH_LOG_ERROR, 0, "unknown datagram \"%.64s\" of "
                     "process %d", text, pid);
        }
    }
}


static void
mesh_agent_take_want(mesh_agent_t *agent, char *text, pid_t pid)
{
    if (agent->subscribe) {
        mesh_subscribe_want(agent->subscribe, text);
    }
}


static void
mesh_agent_take_used(mesh_agent_t *agent, char *text, pid_t pid)
{
    if (agent->subscribe) {
        mesh_subscribe_used(agent->subscribe, text);
    }
}


/* "17 ok", "18 refused REASON" */

static void
mesh_agent_take_state(mesh_agent_t *agent, char *text, pid_t pid)
{
    char            *end;
    uint64_t         generation;
    struct timeval   tv;

    generation = strtoull(text, &end, 10);

    if (end == text || *end != ' ') {
        mesh_log(MESH_LOG_ERROR, 0, "unknown datagram \"state %.64s\"", text);
        return;
    }

    if (strcmp(end, " ok") == 0) {
        mesh_log(MESH_LOG_INFO, 0, "worker %d uses state %" PRIu64, pid,
                 generation);

        agent->taken = mesh_max(agent->taken, generation);
        agent->refused[0] = '\0';

    } else {
        mesh_log(MESH_LOG_ERROR, 0, "worker %d: state %.200s", pid, text);

        (void) snprintf(agent->refused, sizeof(agent->refused), "%s", text);

        /* somebody damaged the file: what differs from ours is replaced */

        mesh_agent_documents(agent, 0);
    }

    if (mesh_reload_worker(agent->reload, pid)
        && !evtimer_pending(agent->reconnect_timer, NULL))
    {
        tv.tv_sec = 0;
        tv.tv_usec = MESH_AGENT_RECONNECT_MS * 1000;

        /* the first connection of all does not wait */

        if (agent->subscribe && !mesh_subscribe_started(agent->subscribe)) {
            tv.tv_usec = 0;
        }

        (void) evtimer_add(agent->reconnect_timer, &tv);
    }
}


static void
mesh_agent_take_identity(mesh_agent_t *agent, char *text, pid_t pid)
{
    char      *end;
    uint64_t   epoch;

    epoch = strtoull(text, &end, 10);

    if (end == text || *end != ' ') {
        mesh_log(MESH_LOG_ERROR, 0, "unknown datagram \"identity %.64s\"",
                 text);
        return;
    }

    if (strcmp(end, " ok") == 0) {
        mesh_log(MESH_LOG_INFO, 0, "worker %d uses identity %" PRIu64, pid,
                 epoch);

        if (agent->refused_epoch <= epoch) {
            agent->refused_epoch = 0;
        }

        return;
    }

    mesh_log(MESH_LOG_ERROR, 0, "worker %d: identity %.200s", pid, text);

    agent->refused_epoch = epoch;
    mesh_cert_refused(agent->cert, epoch);
}


/* there is a pair: nginx can be rendered and started */

static void
mesh_agent_identity(void *data)
{
    mesh_agent_t  *agent;

    agent = data;

    mesh_reload_apply(agent->reload);
}


static void
mesh_agent_documents(void *data, int urgent)
{
    mesh_agent_t    *agent;
    struct timeval   tv;

    agent = data;

    if (urgent) {
        event_active(agent->state_timer, EV_TIMEOUT, 1);
        return;
    }

    if (evtimer_pending(agent->state_timer, NULL)) {
        return;
    }

    tv.tv_sec = 0;
    tv.tv_usec = MESH_AGENT_DEBOUNCE_MS * 1000;

    (void) evtimer_add(agent->state_timer, &tv);
}


static void
mesh_agent_static(void *data)
{
    mesh_agent_write(-1, 0, data);
}


static void
mesh_agent_write(evutil_socket_t fd, short what, void *data)
{
    int            rc;
    mesh_err_t     err;
    mesh_agent_t  *agent;

    agent = data;

    rc = mesh_state_file_write(&agent->state, agent->subscribe, &err);

    if (rc == MESH_ERROR) {
        mesh_log(MESH_LOG_ERROR, 0, "state is not changed: %s", err.text);
        (void) snprintf(agent->unwritten, sizeof(agent->unwritten), "%s",
                        err.text);
        return;
    }

    agent->unwritten[0] = '\0';

    if (rc == MESH_OK) {
        mesh_log(MESH_LOG_INFO, 0, "state %" PRIu64 " is written",
                 agent->state.generation);
    }

    if (agent->subscribe == NULL
        || mesh_subscribe_complete(agent->subscribe))
    {
        agent->complete = 1;
    }
}


/*
 * Memory that the start, a handshake or a large document has left is given
 * back: most of the time a sidecar is idle.  Not trimmed is no fault.
 */

static void
mesh_agent_trim(evutil_socket_t fd, short what, void *data)
{
    mesh_agent_t    *agent;
    struct timeval   tv;

    agent = data;

    (void) malloc_trim(0);
    (void) mesh_trim_text();

    tv.tv_sec = MESH_AGENT_TRIM_MS / 1000;
    tv.tv_usec = 0;

    (void) evtimer_add(agent->trim_timer, &tv);
}


/* the worker that carried the connection to Redis may be about to end */

static void
mesh_agent_reconnect(evutil_socket_t fd, short what, void *data)
{
    mesh_agent_t  *agent;

    agent = data;

    mesh_ready_probe(agent->ready, agent->state.ipv6);

    if (agent->subscribe) {
        mesh_subscribe_start(agent->subscribe, "nginx has a new worker");
    }
}


/* our own connections to Redis are sessions of a worker that shall end */

static void
mesh_agent_quit(void *data)
{
    mesh_agent_t  *agent;

    agent = data;

    (void) evtimer_del(agent->reconnect_timer);

    if (agent->subscribe) {
        mesh_subscribe_stop(agent->subscribe);
    }
}


static void
mesh_agent_signal(evutil_socket_t fd, short what, void *data)
{
    mesh_agent_t  *agent;

    agent = data;

    if (fd != SIGHUP) {
        mesh_drain_start(agent->drain);
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "template and state are read again");

    mesh_agent_write(-1, 0, agent);

    if (mesh_cert_epoch(agent->cert)) {
        mesh_reload_apply(agent->reload);
    }
}


static int
mesh_agent_ready_identity(void *data, mesh_err_t *err)
{
    mesh_agent_t  *agent;

    agent = data;

    if (mesh_cert_epoch(agent->cert) == 0) {
        return mesh_err(err, "no certificate yet");
    }

    if (!mesh_cert_good(agent->cert, time(NULL))) {
        return mesh_err(err, "the certificate has expired");
    }

    if (agent->refused_epoch == mesh_cert_epoch(agent->cert)) {
        return mesh_err(err, "nginx refuses the certificate");
    }

    return MESH_OK;
}


static int
mesh_agent_ready_nginx(void *data, mesh_err_t *err)
{
    mesh_agent_t  *agent;

    agent = data;

    return mesh_reload_ready(agent->reload, err);
}


static int
mesh_agent_ready_state(void *data, mesh_err_t *err)
{
    mesh_agent_t  *agent;

    agent = data;

    if (agent->unwritten[0]) {
        return mesh_err(err, "%s", agent->unwritten);
    }

    if (agent->refused[0]) {
        return mesh_err(err, "nginx: state %s", agent->refused);
    }

    if (agent->state.first == 0 || agent->taken < agent->state.first) {
        return mesh_err(err, "no worker has taken it yet");
    }

    if (!agent->complete) {
        return mesh_err(err, "Redis has not said yet what there is");
    }

    return MESH_OK;
}
