
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Watched files.  inotify only says "look now": what changed is decided by
 * stat(), which also runs every second, so a lost event costs a second and
 * a directory that does not exist yet is not a fault.  The descriptor is
 * registered as a channel: nginx then neither closes it for an idle one nor
 * calls it a leak, and it keeps no exiting worker alive.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_watch.h>
#include <ngx_channel.h>
#include <sys/inotify.h>


#define NGX_MESH_WATCH_MAX        8
#define NGX_MESH_WATCH_MS         1000

#define NGX_MESH_WATCH_EVENTS                                                 \
    (IN_MOVED_TO|IN_CLOSE_WRITE|IN_CREATE|IN_DELETE)


typedef struct {
    ngx_str_t                *path;
    u_char                   *dir;       /* NUL terminated */
    int                       wd;        /* of dir; -1: not watched */
    ngx_mesh_watch_pt         handler;
    void                     *data;
    dev_t                     dev;       /* what the last call saw .. */
    ino_t                     ino;
    off_t                     size;
    struct timespec           mtime;
    unsigned                  exists:1;
} ngx_mesh_watch_t;


static ngx_int_t ngx_mesh_watch_start(ngx_cycle_t *cycle);
static u_char *ngx_mesh_watch_dir(ngx_pool_t *pool, ngx_str_t *path);
static void ngx_mesh_watch_look(ngx_log_t *log);
static ngx_uint_t ngx_mesh_watch_changed(ngx_mesh_watch_t *w);
static void ngx_mesh_watch_read(ngx_event_t *rev);
static void ngx_mesh_watch_timer(ngx_event_t *ev);


static ngx_mesh_watch_t  ngx_mesh_watches[NGX_MESH_WATCH_MAX];
static ngx_uint_t        ngx_mesh_nwatches;

static int               ngx_mesh_watch_fd = -1;
static ngx_cycle_t      *ngx_mesh_watch_cycle;
static ngx_event_t       ngx_mesh_watch_event;
static ngx_connection_t  ngx_mesh_watch_dummy;


ngx_int_t
ngx_mesh_watch_add(ngx_cycle_t *cycle, ngx_str_t *path,
    ngx_mesh_watch_pt handler, void *data)
{
    ngx_mesh_watch_t  *w;

    /* a process without workers loads a new cycle in place of the old one */

    if (ngx_mesh_watch_cycle != cycle) {
        ngx_mesh_watch_cycle = cycle;
        ngx_mesh_nwatches = 0;

        if (ngx_mesh_watch_start(cycle) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_mesh_nwatches == NGX_MESH_WATCH_MAX) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "more than %d files to watch", NGX_MESH_WATCH_MAX);
        return NGX_ERROR;
    }

    w = &ngx_mesh_watches[ngx_mesh_nwatches];

    ngx_memzero(w, sizeof(ngx_mesh_watch_t));

    w->dir = ngx_mesh_watch_dir(cycle->pool, path);
    if (w->dir == NULL) {
        return NGX_ERROR;
    }

    w->path = path;
    w->wd = -1;
    w->handler = handler;
    w->data = data;

    ngx_mesh_nwatches++;

    ngx_mesh_watch_look(cycle->log);

    return NGX_OK;
}


static ngx_int_t
ngx_mesh_watch_start(ngx_cycle_t *cycle)
{
    int  fd;

    ngx_memzero(&ngx_mesh_watch_dummy, sizeof(ngx_connection_t));
    ngx_mesh_watch_dummy.fd = (ngx_socket_t) -1;

    if (!ngx_mesh_watch_event.timer_set) {
        ngx_mesh_watch_event.handler = ngx_mesh_watch_timer;
        ngx_mesh_watch_event.data = &ngx_mesh_watch_dummy;
        ngx_mesh_watch_event.log = cycle->log;
        ngx_mesh_watch_event.cancelable = 1;

        ngx_add_timer(&ngx_mesh_watch_event, NGX_MESH_WATCH_MS);
    }

    if (ngx_mesh_watch_fd != -1) {
        return NGX_OK;
    }

    fd = inotify_init1(IN_NONBLOCK|IN_CLOEXEC);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "inotify_init1() failed, files are looked at "
                      "every second");
        return NGX_OK;
    }

    if (ngx_add_channel_event(cycle, fd, NGX_READ_EVENT, ngx_mesh_watch_read)
        != NGX_OK)
    {
        (void) close(fd);
        return NGX_ERROR;
    }

    ngx_mesh_watch_fd = fd;

    return NGX_OK;
}


static u_char *
ngx_mesh_watch_dir(ngx_pool_t *pool, ngx_str_t *path)
{
    u_char  *dir, *slash;

    dir = ngx_pnalloc(pool, path->len + 1);
    if (dir == NULL) {
        return NULL;
    }

    (void) ngx_cpystrn(dir, path->data, path->len + 1);

    slash = (u_char *) strrchr((char *) dir, '/');

    if (slash == NULL) {
        dir[0] = '.';
        slash = dir + 1;

    } else if (slash == dir) {
        slash++;
    }

    *slash = '\0';

    return dir;
}


/* every file is cheap to look at, so an event need not say which it was */

static void
ngx_mesh_watch_look(ngx_log_t *log)
{
    ngx_uint_t         i;
    ngx_mesh_watch_t  *w;

    for (i = 0; i < ngx_mesh_nwatches; i++) {
        w = &ngx_mesh_watches[i];

        /* before the look: what happens between the two is then seen */

        if (w->wd == -1 && ngx_mesh_watch_fd != -1) {
            w->wd = inotify_add_watch(ngx_mesh_watch_fd, (char *) w->dir,
                                      NGX_MESH_WATCH_EVENTS);
        }

        if (ngx_mesh_watch_changed(w)) {
            w->handler(w->data, log);
        }
    }
}


static ngx_uint_t
ngx_mesh_watch_changed(ngx_mesh_watch_t *w)
{
    ngx_uint_t   changed;
    struct stat  st;

    if (stat((char *) w->path->data, &st) == -1) {
        changed = w->exists;
        w->exists = 0;

        return changed;
    }

    changed = !w->exists
              || w->dev != st.st_dev
              || w->ino != st.st_ino
              || w->size != st.st_size
              || w->mtime.tv_sec != st.st_mtim.tv_sec
              || w->mtime.tv_nsec != st.st_mtim.tv_nsec;

    w->exists = 1;
    w->dev = st.st_dev;
    w->ino = st.st_ino;
    w->size = st.st_size;
    w->mtime = st.st_mtim;

    return changed;
}


static void
ngx_mesh_watch_read(ngx_event_t *rev)
{
    ssize_t                      n;
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    const struct inotify_event  *event;
    u_char                      *p, *last;
    u_char                       buf[4096]
        __attribute__ ((aligned(__alignof__(struct inotify_event))));

    c = rev->data;

    for ( ;; ) {
        n = read(c->fd, buf, sizeof(buf));

        if (n <= 0) {

            if (n == -1 && ngx_errno != NGX_EAGAIN && ngx_errno != NGX_EINTR)
            {
                ngx_log_error(NGX_LOG_ALERT, rev->log, ngx_errno,
                              "reading inotify events failed");
            }

            break;
        }

        for (p = buf, last = buf + n; p < last;
             p += sizeof(struct inotify_event) + event->len)
        {
            event = (const struct inotify_event *) p;

            if ((event->mask & IN_IGNORED) == 0) {
                continue;
            }

            for (i = 0; i < ngx_mesh_nwatches; i++) {
                if (ngx_mesh_watches[i].wd == event->wd) {
                    ngx_mesh_watches[i].wd = -1;
                }
            }
        }
    }

    ngx_mesh_watch_look(rev->log);
}


static void
ngx_mesh_watch_timer(ngx_event_t *ev)
{
    ngx_mesh_watch_look(ev->log);

    ngx_add_timer(ev, NGX_MESH_WATCH_MS);
}
