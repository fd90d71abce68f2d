
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Three steps on one timer: wait, QUIT, TERM.  That nginx is gone is said by
 * init, which is its parent.
 */

#include <mesh_core.h>

#include <signal.h>

#include <mesh_drain.h>
#include <mesh_log.h>
#include <mesh_mem.h>


typedef enum {
    MESH_DRAIN_OFF = 0,
    MESH_DRAIN_WAIT,
    MESH_DRAIN_QUIT,
    MESH_DRAIN_TERM
} mesh_drain_e;


struct mesh_drain_s {
    struct event_base    *base;
    const mesh_reload_t  *reload;
    struct event         *timer;
    mesh_drain_pt         quit;
    void                 *data;
    int64_t               drain_ms;
    int64_t               due_ms;          /* of the next step */
    mesh_drain_e          step;
};


static void mesh_drain_timer(evutil_socket_t fd, short what, void *data);
static void mesh_drain_signal(mesh_drain_t *drain, int signo);


static int64_t
mesh_drain_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


mesh_drain_t *
mesh_drain_new(struct event_base *base, int64_t drain_s,
    const mesh_reload_t *reload, mesh_drain_pt quit, void *data,
    mesh_err_t *err)
{
    mesh_drain_t  *drain;

    drain = mesh_mem_new(sizeof(mesh_drain_t));

    drain->base = base;
    drain->reload = reload;
    drain->quit = quit;
    drain->data = data;
    drain->drain_ms = drain_s * 1000;
    drain->timer = event_new(base, -1, EV_PERSIST, mesh_drain_timer, drain);

    if (drain->timer == NULL) {
        (void) mesh_err(err, "no timer for the end");
        free(drain);
        return NULL;
    }

    return drain;
}


void
mesh_drain_free(mesh_drain_t *drain)
{
    if (drain) {
        event_free(drain->timer);
        free(drain);
    }
}


void
mesh_drain_start(mesh_drain_t *drain)
{
    struct timeval  tv;

    if (drain->step == MESH_DRAIN_WAIT) {
        drain->due_ms = 0;
        return;
    }

    if (drain->step != MESH_DRAIN_OFF) {
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "draining for %lld ms",
             (long long) drain->drain_ms);

    drain->step = MESH_DRAIN_WAIT;
    drain->due_ms = mesh_drain_now_ms() + drain->drain_ms;

    tv.tv_sec = 0;
    tv.tv_usec = MESH_DRAIN_LOOK_MS * 1000;

    (void) event_add(drain->timer, &tv);
}


static void
mesh_drain_timer(evutil_socket_t fd, short what, void *data)
{
    int64_t        now_ms;
    mesh_drain_t  *drain;

    drain = data;
    now_ms = mesh_drain_now_ms();

    if (drain->step != MESH_DRAIN_WAIT && mesh_reload_nginx(drain->reload) == 0)
    {
        mesh_log(MESH_LOG_NOTICE, 0, "nginx has ended");
        (void) event_base_loopbreak(drain->base);
        return;
    }

    if (now_ms < drain->due_ms) {
        return;
    }

    switch (drain->step) {

    case MESH_DRAIN_WAIT:
        drain->step = MESH_DRAIN_QUIT;
        drain->due_ms = now_ms + MESH_DRAIN_MS;
        drain->quit(drain->data);
        mesh_drain_signal(drain, SIGQUIT);
        break;

    case MESH_DRAIN_QUIT:
        drain->step = MESH_DRAIN_TERM;
        drain->due_ms = now_ms + MESH_DRAIN_KILL_MS;
        mesh_drain_signal(drain, SIGTERM);
        break;

    default:
        mesh_log(MESH_LOG_ERROR, 0, "nginx has not ended, init is left with "
                 "it");
        (void) event_base_loopbreak(drain->base);
    }
}


static void
mesh_drain_signal(mesh_drain_t *drain, int signo)
{
    pid_t  nginx;

    nginx = mesh_reload_nginx(drain->reload);

    if (nginx == 0) {
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "signal %d to nginx %d", signo, nginx);

    if (kill(nginx, signo) == -1) {
        mesh_log(MESH_LOG_ERROR, errno, "kill(%d, %d) failed", nginx, signo);
    }
}
