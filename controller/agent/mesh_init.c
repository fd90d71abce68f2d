
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * PID 1 of a sidecar.  The sockets are opened here and handed to nginx by
 * its NGINX= inheritance, so a killed master closes no port: connections wait
 * in the backlog, the orphaned workers go on, and they are told to QUIT when
 * the new master has a worker.  After start there is no allocation; nothing
 * but libc is called.
 *
 * run is a fork of this very process and no new program: what the loader has
 * done to the libraries, half a megabyte, is there once for both.
 */

#include <mesh_core.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <mesh_agent_conf.h>
#include <mesh_agent_role.h>
#include <mesh_file.h>
#include <mesh_init.h>
#include <mesh_init_listen.h>
#include <mesh_init_scan.h>
#include <mesh_log.h>
#include <mesh_trim.h>


#define MESH_INIT_ENVS          1024
#define MESH_INIT_BACKOFF_MIN   100
#define MESH_INIT_BACKOFF_MAX   5000
#define MESH_INIT_GOOD_MS       10000      /* a life that forgets failures */
#define MESH_INIT_SCAN_MIN      20         /* looks for a new worker, ms */
#define MESH_INIT_SCAN_MAX      1000
#define MESH_INIT_STOP_MS       125000     /* QUIT, then TERM, then KILL */
#define MESH_INIT_KILL_MS       5000


typedef enum {
    MESH_INIT_RUN = 0,
    MESH_INIT_MASTER,
    MESH_INIT_CHILDREN
} mesh_init_child_e;


typedef struct {
    const char         *name;
    pid_t               pid;               /* 0: not running */
    int                 wanted;
    int64_t             started_ms;
    int64_t             restart_ms;        /* when it is due, 0: not */
    int64_t             backoff_ms;
} mesh_init_child_t;


typedef struct {
    mesh_init_child_t    child[MESH_INIT_CHILDREN];

    mesh_init_sockets_t  sockets;

    int                  signals;           /* signalfd */
    int                  run;               /* our end of the pair, or -1 */
    sigset_t             mask;              /* of the children */

    int                  orphans;           /* workers without a master */
    int64_t              scan_ms;           /* when to look again */
    int64_t              scan_every_ms;

    int                  stopping;
    int                  quit;              /* last signal sent to nginx */
    int64_t              stop_ms;           /* when to send a harder one */

    int                  argc;              /* of main */
    char               **argv;

    const char          *nginx;             /* the program */
    char                *nginx_argv[8];
    char                *nginx_envp[MESH_INIT_ENVS];
    char                 nginx_env[16 * MESH_INIT_SOCKETS];
    char                 nginx_conf[256];
} mesh_init_t;


static int mesh_init_setup(mesh_init_t *init, mesh_agent_conf_t *conf,
    int argc, char **argv, mesh_err_t *err);
static int mesh_init_environment(char **envp, char *own, mesh_err_t *err);
static void mesh_init_loop(mesh_init_t *init);
static int mesh_init_timeout(mesh_init_t *init, int64_t now_ms);
static void mesh_init_timers(mesh_init_t *init, int64_t now_ms);
static void mesh_init_signal(mesh_init_t *init, int64_t now_ms);
static int mesh_init_reap(mesh_init_t *init, int64_t now_ms);
static void mesh_init_ended(mesh_init_t *init, mesh_init_child_t *child,
    int status, int64_t now_ms);
static void mesh_init_start(mesh_init_t *init, mesh_init_child_e which,
    int64_t now_ms);
static void mesh_init_run(mesh_init_t *init, int pair)
    __attribute__((noreturn));
static void mesh_init_title(mesh_init_t *init);
static void mesh_init_nginx(mesh_init_t *init) __attribute__((noreturn));
static void mesh_init_message(mesh_init_t *init, int64_t now_ms);
static void mesh_init_tell(mesh_init_t *init);
static void mesh_init_stop_nginx(mesh_init_t *init, int64_t now_ms);


static int64_t
mesh_init_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int
mesh_init_main(int argc, char **argv)
{
    int                       rc;
    mesh_err_t                err;

    static mesh_init_t        init;
    static mesh_agent_conf_t  conf;

    rc = mesh_agent_conf_parse(&conf, argc - 1, argv + 1, &err);

    if (rc == MESH_DONE) {
        return 0;
    }

    if (rc != MESH_OK) {
        fprintf(stderr, "mesh-agent init: %s\n", err.text);
        return 2;
    }

    mesh_log_init("mesh-init", mesh_log_level(conf.log_level));

    if (mesh_init_setup(&init, &conf, argc, argv, &err) != MESH_OK) {
        mesh_log(MESH_LOG_EMERG, 0, "%s", err.text);
        return 1;
    }

    mesh_init_loop(&init);

    mesh_log(MESH_LOG_NOTICE, 0, "all ended");

    return 0;
}


static int
mesh_init_setup(mesh_init_t *init, mesh_agent_conf_t *conf, int argc,
    char **argv, mesh_err_t *err)
{
    int                 i, n;
    sigset_t            set;

    if (mesh_file_mkdir(conf->run_dir, 0700, err) != MESH_OK
        || mesh_init_sockets(&init->sockets, conf, err) != MESH_OK
        || mesh_init_environment(init->nginx_envp, init->nginx_env, err)
           != MESH_OK
        || mesh_agent_path(conf, "nginx.conf", init->nginx_conf,
                           sizeof(init->nginx_conf), err)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    n = snprintf(init->nginx_env, sizeof(init->nginx_env), "NGINX=");

    for (i = 0; i < init->sockets.n; i++) {
        n += snprintf(init->nginx_env + n, sizeof(init->nginx_env) - n, "%d;",
                      init->sockets.fd[i]);
    }

    init->argc = argc;
    init->argv = argv;
    init->nginx = conf->nginx;

    init->nginx_argv[0] = "nginx";
    init->nginx_argv[1] = "-e";
    init->nginx_argv[2] = "stderr";
    init->nginx_argv[3] = "-p";
    init->nginx_argv[4] = (char *) conf->run_dir;
    init->nginx_argv[5] = "-c";
    init->nginx_argv[6] = init->nginx_conf;

    init->child[MESH_INIT_RUN].name = "mesh-agent run";
    init->child[MESH_INIT_RUN].wanted = 1;
    init->child[MESH_INIT_MASTER].name = "nginx";

    init->run = -1;

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        return mesh_err_sys(err, errno, "prctl(PR_SET_CHILD_SUBREAPER) "
                            "failed");
    }

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGCHLD);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGQUIT);
    (void) sigaddset(&set, SIGHUP);

    if (sigprocmask(SIG_BLOCK, &set, &init->mask) == -1) {
        return mesh_err_sys(err, errno, "sigprocmask() failed");
    }

    (void) signal(SIGPIPE, SIG_IGN);

    init->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (init->signals == -1) {
        return mesh_err_sys(err, errno, "signalfd() failed");
    }

    return MESH_OK;
}


/* the environment that we got, with one name of our own */

static int
mesh_init_environment(char **envp, char *own, mesh_err_t *err)
{
    size_t   i, n;

    n = 0;

    for (i = 0; environ[i]; i++) {

        if (strncmp(environ[i], "NGINX=", 6) == 0
            || strncmp(environ[i], MESH_INIT_ENV "=",
                       sizeof(MESH_INIT_ENV)) == 0)
        {
            continue;
        }

        if (n == MESH_INIT_ENVS - 2) {
            return mesh_err(err, "more than %d names in the environment",
                            MESH_INIT_ENVS - 2);
        }

        envp[n++] = environ[i];
    }

    envp[n++] = own;
    envp[n] = NULL;

    return MESH_OK;
}


static void
mesh_init_loop(mesh_init_t *init)
{
    int64_t        now_ms;
    struct pollfd  fds[2];

    now_ms = mesh_init_now_ms();

    mesh_init_start(init, MESH_INIT_RUN, now_ms);

    (void) mesh_trim_text();               /* most was the loader's */

    for ( ;; ) {

        fds[0].fd = init->signals;
        fds[0].events = POLLIN;
        fds[0].revents = 0;

        fds[1].fd = init->run;             /* -1 is skipped */
        fds[1].events = POLLIN;
        fds[1].revents = 0;

        if (poll(fds, 2, mesh_init_timeout(init, now_ms)) == -1
            && errno != EINTR)
        {
            mesh_log(MESH_LOG_ALERT, errno, "poll() failed");
            (void) poll(NULL, 0, MESH_INIT_BACKOFF_MIN);
        }

        now_ms = mesh_init_now_ms();

        if (fds[0].revents) {
            mesh_init_signal(init, now_ms);
        }

        if (fds[1].revents) {
            mesh_init_message(init, now_ms);
        }

        /* a signal may stand for several children */

        if (mesh_init_reap(init, now_ms) == MESH_DONE && init->stopping) {
            return;
        }

        mesh_init_timers(init, now_ms);
    }
}


static int
mesh_init_timeout(mesh_init_t *init, int64_t now_ms)
{
    size_t   i;
    int64_t  due_ms, at_ms[MESH_INIT_CHILDREN + 2];

    for (i = 0; i < MESH_INIT_CHILDREN; i++) {
        at_ms[i] = init->child[i].restart_ms;
    }

    at_ms[i++] = init->orphans ? init->scan_ms : 0;
    at_ms[i] = init->stop_ms;

    due_ms = 0;

    for (i = 0; i < mesh_nelts(at_ms); i++) {
        if (at_ms[i] && (due_ms == 0 || at_ms[i] < due_ms)) {
            due_ms = at_ms[i];
        }
    }

    if (due_ms == 0) {
        return -1;
    }

    return due_ms > now_ms ? (int) (due_ms - now_ms) : 0;
}


static void
mesh_init_timers(mesh_init_t *init, int64_t now_ms)
{
    int                 i;
    mesh_init_child_t  *nginx, *child;

    nginx = &init->child[MESH_INIT_MASTER];

    for (i = 0; i < MESH_INIT_CHILDREN; i++) {
        child = &init->child[i];

        if (child->restart_ms && child->restart_ms <= now_ms) {
            child->restart_ms = 0;
            mesh_init_start(init, i, now_ms);
        }
    }

    if (init->orphans && init->scan_ms <= now_ms) {

        if (nginx->pid && mesh_init_scan(nginx->pid, 1, 0)) {
            mesh_log(MESH_LOG_NOTICE, 0, "new workers serve, orphaned ones "
                     "are told to quit: %d",
                     mesh_init_scan(getpid(), 0, SIGQUIT));
            init->orphans = 0;
        }

        init->scan_every_ms = mesh_min(init->scan_every_ms * 2,
                                       MESH_INIT_SCAN_MAX);
        init->scan_ms = now_ms + init->scan_every_ms;
    }

    if (init->stop_ms && init->stop_ms <= now_ms) {
        mesh_init_stop_nginx(init, now_ms);
    }
}


static void
mesh_init_signal(mesh_init_t *init, int64_t now_ms)
{
    pid_t                    run;
    struct signalfd_siginfo  info;

    while (read(init->signals, &info, sizeof(info)) == sizeof(info)) {

        run = init->child[MESH_INIT_RUN].pid;

        if (info.ssi_signo == SIGCHLD) {
            continue;
        }

        if (info.ssi_signo == SIGHUP) {

            if (run) {
                (void) kill(run, SIGHUP);
            }

            continue;
        }

        mesh_log(MESH_LOG_NOTICE, 0, "signal %u, stopping", info.ssi_signo);

        init->stopping = 1;

        if (run) {
            (void) kill(run, SIGTERM);

        } else if (init->quit == 0) {
            mesh_init_stop_nginx(init, now_ms);
        }
    }
}


/* MESH_DONE: there is no child left */

static int
mesh_init_reap(mesh_init_t *init, int64_t now_ms)
{
    int    i, status;
    pid_t  pid;

    for ( ;; ) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid == -1 && errno == EINTR) {
            continue;
        }

        if (pid == -1) {
            return MESH_DONE;
        }

        if (pid == 0) {
            return MESH_OK;
        }

        for (i = 0; i < MESH_INIT_CHILDREN; i++) {
            if (init->child[i].pid == pid) {
                mesh_init_ended(init, &init->child[i], status, now_ms);
            }
        }
    }
}


static void
mesh_init_ended(mesh_init_t *init, mesh_init_child_t *child, int status,
    int64_t now_ms)
{
    int64_t  wait_ms;

    child->pid = 0;

    mesh_log(init->stopping ? MESH_LOG_NOTICE : MESH_LOG_ALERT, 0,
             "%s ended by %s %d", child->name,
             WIFSIGNALED(status) ? "signal" : "exit with code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));

    if (child == &init->child[MESH_INIT_MASTER]) {
        init->orphans = 1;
        init->scan_every_ms = MESH_INIT_SCAN_MIN;
        init->scan_ms = now_ms;
        mesh_init_tell(init);

        if (init->stopping) {
            (void) mesh_init_scan(getpid(), 0, SIGQUIT);
            init->orphans = 0;
        }
    }

    if (init->stopping) {

        if (child == &init->child[MESH_INIT_RUN]) {
            mesh_init_stop_nginx(init, now_ms);
        }

        return;
    }

    wait_ms = mesh_init_backoff(&child->backoff_ms,
                                now_ms - child->started_ms);

    child->restart_ms = now_ms + wait_ms;

    mesh_log(MESH_LOG_NOTICE, 0, "%s is started again in %lld ms",
             child->name, (long long) wait_ms);
}


int64_t
mesh_init_backoff(int64_t *backoff_ms, int64_t up_ms)
{
    int64_t  wait_ms;

    if (up_ms >= MESH_INIT_GOOD_MS) {
        *backoff_ms = 0;
    }

    wait_ms = *backoff_ms;

    *backoff_ms = wait_ms ? mesh_min(wait_ms * 2, MESH_INIT_BACKOFF_MAX)
                          : MESH_INIT_BACKOFF_MIN;

    return wait_ms;
}


static void
mesh_init_start(mesh_init_t *init, mesh_init_child_e which, int64_t now_ms)
{
    int                 pair[2];
    pid_t               pid;
    mesh_init_child_t  *child;

    child = &init->child[which];

    if (child->pid || !child->wanted || init->stopping) {
        return;
    }

    pair[0] = -1;
    pair[1] = -1;

    if (which == MESH_INIT_RUN) {

        if (init->run != -1) {
            (void) close(init->run);
            init->run = -1;
        }

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
            == -1)
        {
            mesh_log(MESH_LOG_ALERT, errno, "socketpair() failed");
            child->restart_ms = now_ms + MESH_INIT_BACKOFF_MAX;
            return;
        }
    }

    pid = fork();

    if (pid == 0 && which == MESH_INIT_RUN) {
        (void) close(pair[0]);
        mesh_init_run(init, pair[1]);
    }

    if (pid == 0) {
        mesh_init_nginx(init);
    }

    if (pair[1] != -1) {
        (void) close(pair[1]);
        init->run = pair[0];
    }

    if (pid == -1) {
        mesh_log(MESH_LOG_ALERT, errno, "fork() failed");
        child->restart_ms = now_ms + MESH_INIT_BACKOFF_MAX;
        return;
    }

    child->pid = pid;
    child->started_ms = now_ms;
    child->restart_ms = 0;

    mesh_log(MESH_LOG_NOTICE, 0, "%s started, pid %d", child->name, pid);

    mesh_init_tell(init);
}


/* in the child: what init has open is init's */

static void
mesh_init_run(mesh_init_t *init, int pair)
{
    int   i;
    char  number[16];

    for (i = 0; i < init->sockets.n; i++) {
        (void) close(init->sockets.fd[i]);
    }

    (void) close(init->signals);
    (void) signal(SIGPIPE, SIG_DFL);
    (void) sigprocmask(SIG_SETMASK, &init->mask, NULL);
    (void) prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);

    (void) snprintf(number, sizeof(number), "%d", pair);

    if (setenv(MESH_INIT_ENV, number, 1) == -1) {
        mesh_log(MESH_LOG_ALERT, errno, "setenv() failed");
        exit(1);
    }

    mesh_init_title(init);

    exit(mesh_agent_role(init->argc - 1, init->argv + 1));
}


/* "/usr/local/bin/mesh-agent init --x" becomes "mesh-agent run --x" for ps */

static void
mesh_init_title(mesh_init_t *init)
{
    int      i;
    char    *start, *options, *end;
    size_t   len;

    static const char  title[] = "mesh-agent\0run";

    end = init->argv[init->argc - 1] + strlen(init->argv[init->argc - 1]) + 1;

    start = init->argv[0];
    options = init->argc > 2 ? init->argv[2] : end;

    if (options - start < (ptrdiff_t) sizeof(title)) {
        return;                            /* started under a shorter name */
    }

    len = end - options;

    memcpy(start, title, sizeof(title));
    memmove(start + sizeof(title), options, len);
    memset(start + sizeof(title) + len, 0, options - start - sizeof(title));

    for (i = 2; i < init->argc; i++) {
        init->argv[i] -= options - start - sizeof(title);
    }

    init->argv[1] = start + sizeof("mesh-agent");
}


static void
mesh_init_nginx(mesh_init_t *init)
{
    int  i;

    (void) signal(SIGPIPE, SIG_DFL);
    (void) sigprocmask(SIG_SETMASK, &init->mask, NULL);
    (void) prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);

    for (i = 0; i < init->sockets.n; i++) {
        (void) fcntl(init->sockets.fd[i], F_SETFD, 0);
    }

    (void) execve(init->nginx, init->nginx_argv, init->nginx_envp);

    mesh_log(MESH_LOG_ALERT, errno, "execve(\"%s\") failed", init->nginx);

    _exit(127);
}


/* what run says; its end is closed when it dies */

static void
mesh_init_message(mesh_init_t *init, int64_t now_ms)
{
    char                text[MESH_INIT_TEXT_MAX];
    ssize_t             n;
    mesh_init_child_t  *nginx;

    n = recv(init->run, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        (void) close(init->run);
        init->run = -1;
        return;
    }

    text[n] = '\0';

    if (strcmp(text, MESH_INIT_START) != 0) {
        mesh_log(MESH_LOG_ERROR, 0, "unknown message \"%s\" of mesh-agent run",
                 text);
        return;
    }

    nginx = &init->child[MESH_INIT_MASTER];
    nginx->wanted = 1;

    if (nginx->restart_ms == 0) {
        mesh_init_start(init, MESH_INIT_MASTER, now_ms);
    }
}


/* tells run which master there is; a run that does not read is told later */

static void
mesh_init_tell(mesh_init_t *init)
{
    int   n;
    char  text[MESH_INIT_TEXT_MAX];

    if (init->run == -1) {
        return;
    }

    n = snprintf(text, sizeof(text), MESH_INIT_NGINX "%d",
                 init->child[MESH_INIT_MASTER].pid);

    if (send(init->run, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) == -1
        && errno != EPIPE && errno != ECONNRESET)
    {
        mesh_log(MESH_LOG_ERROR, errno, "mesh-agent run was not told \"%s\"",
                 text);
    }
}


/*
 * run, which drains nginx, is gone and we are stopping: QUIT, and each time
 * that stop_ms passes something harder.
 */

static void
mesh_init_stop_nginx(mesh_init_t *init, int64_t now_ms)
{
    pid_t  nginx;

    init->quit = init->quit == 0 ? SIGQUIT
                 : init->quit == SIGQUIT ? SIGTERM : SIGKILL;

    init->stop_ms = now_ms + (init->quit == SIGQUIT ? MESH_INIT_STOP_MS
                                                    : MESH_INIT_KILL_MS);

    nginx = init->child[MESH_INIT_MASTER].pid;

    if (nginx) {
        mesh_log(MESH_LOG_NOTICE, 0, "signal %d to nginx", init->quit);
        (void) kill(nginx, init->quit);
    }

    (void) mesh_init_scan(getpid(), 0, init->quit);
}
