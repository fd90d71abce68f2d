
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * One change at a time: what comes while a test runs is applied after it.
 * HUP is sent only to a master whose workers have reported, because one that
 * has just been started would die of it.
 */

#include <mesh_core.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <mesh_addr.h>
#include <mesh_backoff.h>
#include <mesh_file.h>
#include <mesh_init.h>
#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_reload.h>
#include <mesh_render.h>


#define MESH_RELOAD_PIDS      128
#define MESH_RELOAD_OUTPUT    4096


struct mesh_reload_s {
    struct event_base    *base;
    mesh_agent_conf_t    *conf;

    int                   init;
    struct event         *message;

    char                  path[PATH_MAX];      /* nginx.conf */
    char                  path_new[PATH_MAX];
    char                  temp[PATH_MAX];

    pid_t                 nginx;               /* the master, 0: none */
    pid_t                 workers[MESH_RELOAD_PIDS];
    size_t                nworkers;

    int                   confirmed;           /* a new worker reported */
    int                   hup;                 /* HUP when it is confirmed */
    int                   again;               /* apply after the test */
    struct event         *confirm;             /* timer */
    struct event         *retry;
    mesh_backoff_t        backoff;

    pid_t                 test;                /* nginx -t, 0: none */
    struct event         *output;
    struct event         *timeout;
    char                  text[MESH_RELOAD_OUTPUT];
    size_t                len;

    char                  wrong[512];          /* of the last test, or "" */
};


static void mesh_reload_start(mesh_reload_t *r);
static int mesh_reload_same(mesh_reload_t *r, const char *text, size_t len);
static int mesh_reload_render(mesh_reload_t *r, char **text, size_t *len,
    mesh_err_t *err);
static int mesh_reload_test(mesh_reload_t *r, mesh_err_t *err);
static void mesh_reload_output(evutil_socket_t fd, short what, void *data);
static void mesh_reload_timeout(evutil_socket_t fd, short what, void *data);
static void mesh_reload_tested(mesh_reload_t *r, int status);
static void mesh_reload_failed(mesh_reload_t *r, const char *why);
static void mesh_reload_use(mesh_reload_t *r);
static void mesh_reload_wait(mesh_reload_t *r);
static void mesh_reload_message(evutil_socket_t fd, short what, void *data);
static void mesh_reload_unconfirmed(evutil_socket_t fd, short what,
    void *data);
static void mesh_reload_retry(evutil_socket_t fd, short what, void *data);


mesh_reload_t *
mesh_reload_new(struct event_base *base, mesh_agent_conf_t *conf, int init,
    mesh_err_t *err)
{
    mesh_reload_t  *r;

    r = mesh_mem_new(sizeof(mesh_reload_t));

    r->base = base;
    r->conf = conf;
    r->init = init;

    mesh_backoff_init(&r->backoff, MESH_RELOAD_RETRY_MIN,
                      MESH_RELOAD_RETRY_MAX);

    if (mesh_agent_path(conf, "nginx.conf", r->path, sizeof(r->path), err)
        != MESH_OK
        || mesh_agent_path(conf, "nginx.conf.new", r->path_new,
                           sizeof(r->path_new), err)
           != MESH_OK
        || mesh_agent_path(conf, "temp", r->temp, sizeof(r->temp), err)
           != MESH_OK)
    {
        goto failed;
    }

    r->message = event_new(base, init, EV_READ|EV_PERSIST,
                           mesh_reload_message, r);
    r->confirm = evtimer_new(base, mesh_reload_unconfirmed, r);
    r->timeout = evtimer_new(base, mesh_reload_timeout, r);
    r->retry = evtimer_new(base, mesh_reload_retry, r);

    if (r->message == NULL || r->confirm == NULL || r->timeout == NULL
        || r->retry == NULL || event_add(r->message, NULL) == -1)
    {
        (void) mesh_err(err, "no events for nginx");
        goto failed;
    }

    return r;

failed:

    mesh_reload_free(r);

    return NULL;
}


void
mesh_reload_free(mesh_reload_t *r)
{
    size_t         i;
    struct event  *events[5];

    if (r == NULL) {
        return;
    }

    events[0] = r->message;
    events[1] = r->confirm;
    events[2] = r->timeout;
    events[3] = r->retry;
    events[4] = r->output;

    for (i = 0; i < mesh_nelts(events); i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }

    free(r);
}


pid_t
mesh_reload_nginx(const mesh_reload_t *r)
{
    return r->nginx;
}


int
mesh_reload_ready(const mesh_reload_t *r, mesh_err_t *err)
{
    if (r->nginx == 0) {
        return mesh_err(err, "nginx does not run%s%s",
                        r->wrong[0] ? ": " : "", r->wrong);
    }

    if (!r->confirmed) {
        return mesh_err(err, "no worker of nginx has reported");
    }

    return MESH_OK;
}


void
mesh_reload_apply(mesh_reload_t *r)
{
    char        *text;
    size_t       len;
    mesh_err_t   err;

    if (r->test) {
        r->again = 1;
        return;
    }

    if (mesh_reload_render(r, &text, &len, &err) != MESH_OK) {
        mesh_reload_failed(r, err.text);
        return;
    }

    if (mesh_reload_same(r, text, len)) {
        free(text);
        r->wrong[0] = '\0';
        mesh_reload_start(r);
        return;
    }

    if (mesh_file_mkdir(r->temp, 0700, &err) != MESH_OK
        || mesh_file_write(r->path_new, text, len, 0600, &err) != MESH_OK
        || mesh_reload_test(r, &err) != MESH_OK)
    {
        mesh_reload_failed(r, err.text);
    }

    free(text);
}


static int
mesh_reload_same(mesh_reload_t *r, const char *text, size_t len)
{
    int         same;
    char       *old;
    size_t      n;
    mesh_err_t  err;

    if (mesh_file_read(r->path, MESH_RENDER_CONF_MAX, &old, &n, &err)
        != MESH_OK)
    {
        return 0;
    }

    same = (n == len && memcmp(old, text, len) == 0);

    free(old);

    return same;
}


/* the same question as init asks when it opens its sockets */

static int
mesh_reload_has_ipv6(void)
{
    int          fd, rc;
    mesh_addr_t  addr;

    if (mesh_addr_parse("[::1]:0", &addr, NULL) != MESH_OK) {
        return 0;
    }

    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return 0;
    }

    rc = bind(fd, &addr.sa, addr.len);

    (void) close(fd);

    return rc == 0;
}


/* what nginx.conf is made of; *render points into *conf */

static void
mesh_reload_conf(mesh_agent_conf_t *conf, mesh_render_conf_t *render)
{
    memset(render, 0, sizeof(mesh_render_conf_t));

    render->run_dir = conf->run_dir;
    render->conf_dir = conf->conf_dir;
    render->modules_dir = conf->modules_dir;
    render->mesh_module = conf->mesh_module;
    render->identity = conf->id;
    render->trust_domain = conf->trust_domain;
    render->redis = conf->redis;
    render->admin_networks = conf->admin_networks.value;
    render->nadmin_networks = conf->admin_networks.n;
    render->workers = (unsigned) conf->workers;
    render->worker_connections = (unsigned) conf->worker_connections;
    render->ipv6 = mesh_reload_has_ipv6();
}


static int
mesh_reload_render(mesh_reload_t *r, char **text, size_t *len,
    mesh_err_t *err)
{
    int                  rc;
    char                *template, path[PATH_MAX];
    size_t               n;
    mesh_render_conf_t   conf;

    (void) snprintf(path, sizeof(path), "%s/nginx.conf.tmpl",
                    r->conf->conf_dir);

    if (mesh_file_read(path, MESH_RENDER_CONF_MAX, &template, &n, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    mesh_reload_conf(r->conf, &conf);

    rc = mesh_render_nginx(&conf, path, template, n, text, len, err);

    free(template);

    return rc;
}


/* nginx -t in a process of its own; what it says is read until it ends */

static int
mesh_reload_test(mesh_reload_t *r, mesh_err_t *err)
{
    int              out[2];
    pid_t            pid;
    struct timeval   tv;

    if (pipe2(out, O_CLOEXEC|O_NONBLOCK) == -1) {
        return mesh_err_sys(err, errno, "pipe() failed");
    }

    pid = fork();

    if (pid == 0) {
        (void) dup2(out[1], STDERR_FILENO);
        (void) dup2(out[1], STDOUT_FILENO);

        (void) execl(r->conf->nginx, "nginx", "-t", "-q", "-e", "stderr",
                     "-p", r->conf->run_dir, "-c", r->path_new,
                     (char *) NULL);

        dprintf(STDERR_FILENO, "cannot execute \"%s\": %s\n", r->conf->nginx,
                strerror(errno));
        _exit(127);
    }

    (void) close(out[1]);

    if (pid == -1) {
        (void) close(out[0]);
        return mesh_err_sys(err, errno, "fork() failed");
    }

    r->len = 0;
    r->output = event_new(r->base, out[0], EV_READ|EV_PERSIST,
                          mesh_reload_output, r);

    tv.tv_sec = MESH_RELOAD_TEST_MS / 1000;
    tv.tv_usec = 0;

    if (r->output == NULL || event_add(r->output, NULL) == -1) {
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, 0);
        (void) close(out[0]);
        return mesh_err(err, "no event for nginx -t");
    }

    (void) evtimer_add(r->timeout, &tv);

    r->test = pid;

    return MESH_OK;
}


static void
mesh_reload_output(evutil_socket_t fd, short what, void *data)
{
    int             status;
    char            rest[512];
    pid_t           pid;
    ssize_t         n;
    mesh_reload_t  *r;

    r = data;

    for ( ;; ) {

        /* what is longer than the buffer is read and forgotten */

        n = r->len < sizeof(r->text) - 1
            ? read(fd, r->text + r->len, sizeof(r->text) - 1 - r->len)
            : read(fd, rest, sizeof(rest));

        if (n > 0) {
            r->len = mesh_min(r->len + n, sizeof(r->text) - 1);
            continue;
        }

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            return;
        }

        break;
    }

    r->text[r->len] = '\0';

    (void) evtimer_del(r->timeout);
    event_free(r->output);
    r->output = NULL;
    (void) close(fd);

    do {
        pid = waitpid(r->test, &status, 0);
    } while (pid == -1 && errno == EINTR);

    r->test = 0;

    mesh_reload_tested(r, pid == -1 ? -1 : status);
}


static void
mesh_reload_timeout(evutil_socket_t fd, short what, void *data)
{
    mesh_reload_t  *r;

    r = data;

    if (r->test) {
        mesh_log(MESH_LOG_ERROR, 0, "nginx -t takes longer than %d ms",
                 MESH_RELOAD_TEST_MS);
        (void) kill(r->test, SIGKILL);     /* its output ends by that */
    }
}


static void
mesh_reload_tested(mesh_reload_t *r, int status)
{
    size_t      i;
    mesh_err_t  err;

    if (r->again) {                        /* out of date already */
        r->again = 0;
        mesh_reload_apply(r);
        return;
    }

    if (status == 0 && rename(r->path_new, r->path) == 0) {
        mesh_log(MESH_LOG_NOTICE, 0, "nginx.conf changed and passed the test");
        mesh_backoff_reset(&r->backoff);
        r->wrong[0] = '\0';
        mesh_reload_use(r);
        return;
    }

    if (status == 0) {
        (void) mesh_err_sys(&err, errno, "rename(\"%s\") failed",
                            r->path_new);

    } else {
        for (i = 0; i < r->len; i++) {
            if (r->text[i] == '\n') {
                r->text[i] = ' ';
            }
        }

        (void) mesh_err(&err, "nginx -t (%s %d): %.400s",
                        WIFSIGNALED(status) ? "signal" : "exit code",
                        WIFSIGNALED(status) ? WTERMSIG(status)
                                            : WEXITSTATUS(status),
                        r->text);
    }

    mesh_reload_failed(r, err.text);
}


/* the last good file stays, and is what nginx is started with */

static void
mesh_reload_failed(mesh_reload_t *r, const char *why)
{
    uint32_t        rnd;
    uint64_t        wait_ms;
    struct timeval  tv;

    mesh_log(MESH_LOG_ERROR, 0, "nginx.conf is not changed: %s", why);

    (void) snprintf(r->wrong, sizeof(r->wrong), "%s", why);

    if (getrandom(&rnd, sizeof(rnd), 0) != sizeof(rnd)) {
        rnd = 0;
    }

    wait_ms = mesh_backoff_next(&r->backoff, rnd);

    tv.tv_sec = wait_ms / 1000;
    tv.tv_usec = wait_ms % 1000 * 1000;

    (void) evtimer_add(r->retry, &tv);

    if (r->nginx == 0 && access(r->path, R_OK) == 0) {
        mesh_reload_start(r);
    }
}


static void
mesh_reload_retry(evutil_socket_t fd, short what, void *data)
{
    mesh_reload_apply(data);
}


/* nginx.conf is a new one */

static void
mesh_reload_use(mesh_reload_t *r)
{
    if (r->nginx == 0) {
        mesh_reload_start(r);
        return;
    }

    if (!r->confirmed) {
        r->hup = 1;                        /* it may have read the old one */
        return;
    }

    r->hup = 0;

    if (kill(r->nginx, SIGHUP) == -1) {
        mesh_log(MESH_LOG_ERROR, errno, "kill(%d, HUP) failed", r->nginx);
        return;                            /* init will tell of a new one */
    }

    mesh_log(MESH_LOG_NOTICE, 0, "nginx %d reloads", r->nginx);

    mesh_reload_wait(r);
}


static void
mesh_reload_start(mesh_reload_t *r)
{
    if (send(r->init, MESH_INIT_START, sizeof(MESH_INIT_START) - 1,
             MSG_NOSIGNAL)
        == -1)
    {
        mesh_log(MESH_LOG_ALERT, errno, "init does not take \"%s\"",
                 MESH_INIT_START);
    }
}


/* from now on a worker has to report that is not known yet */

static void
mesh_reload_wait(mesh_reload_t *r)
{
    struct timeval  tv;

    r->confirmed = 0;

    tv.tv_sec = MESH_RELOAD_CONFIRM_MS / 1000;
    tv.tv_usec = 0;

    (void) evtimer_add(r->confirm, &tv);
}


static void
mesh_reload_unconfirmed(evutil_socket_t fd, short what, void *data)
{
    mesh_reload_t  *r;

    r = data;

    mesh_log(MESH_LOG_ERROR, 0, "no new worker of nginx %d has reported for "
             "%d ms", r->nginx, MESH_RELOAD_CONFIRM_MS);
}


int
mesh_reload_worker(mesh_reload_t *r, pid_t pid)
{
    size_t  i, n;

    for (i = 0; i < r->nworkers; i++) {
        if (r->workers[i] == pid) {
            return 0;
        }
    }

    for (i = 0, n = 0; i < r->nworkers; i++) {

        if (kill(r->workers[i], 0) == 0 || errno != ESRCH) {
            r->workers[n++] = r->workers[i];
        }
    }

    if (n < MESH_RELOAD_PIDS) {
        r->workers[n++] = pid;
    }

    r->nworkers = n;

    mesh_log(MESH_LOG_NOTICE, 0, "worker %d of nginx has reported", pid);

    if (!r->confirmed) {
        r->confirmed = 1;
        (void) evtimer_del(r->confirm);

        if (r->hup) {
            mesh_reload_use(r);
        }
    }

    return 1;
}


/* "nginx PID" of init */

static void
mesh_reload_message(evutil_socket_t fd, short what, void *data)
{
    char            text[MESH_INIT_TEXT_MAX], *end;
    long            pid;
    ssize_t         n;
    mesh_reload_t  *r;

    r = data;

    n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        mesh_log(MESH_LOG_ALERT, n ? errno : 0, "init is gone");
        (void) event_del(r->message);
        return;
    }

    text[n] = '\0';
    n = sizeof(MESH_INIT_NGINX) - 1;

    if (strncmp(text, MESH_INIT_NGINX, n) != 0) {
        mesh_log(MESH_LOG_ERROR, 0, "unknown message \"%s\" of init", text);
        return;
    }

    pid = strtol(text + n, &end, 10);

    if ((pid_t) pid == r->nginx) {
        return;
    }

    r->nginx = (pid_t) pid;
    r->hup = 0;

    if (r->nginx) {
        mesh_reload_wait(r);

    } else {
        r->confirmed = 0;
        (void) evtimer_del(r->confirm);
    }
}
