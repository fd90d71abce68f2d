
/*
 * Copyright (C) ngx-mesh authors
 */


/* What a file was at the last look, compared at each tick. */

#include <mesh_watch_file.h>

#include <sys/stat.h>


typedef struct {
    dev_t                device;
    ino_t                inode;
    off_t                size;
    struct timespec      mtime;
    struct timespec      ctime;
} mesh_watch_file_mark_t;


struct mesh_watch_file_s {
    char                    *paths[MESH_WATCH_FILE_MAX];
    mesh_watch_file_mark_t   marks[MESH_WATCH_FILE_MAX];
    size_t                   npaths;
    struct event            *timer;
    mesh_watch_file_pt       handler;
    void                    *data;
};


static void mesh_watch_file_tick(evutil_socket_t fd, short what, void *data);
static int mesh_watch_file_look(mesh_watch_file_t *watch);


mesh_watch_file_t *
mesh_watch_file_new(struct event_base *base, const char *const *paths,
    size_t npaths, int interval_ms, mesh_watch_file_pt handler, void *data,
    mesh_err_t *err)
{
    size_t              i;
    struct timeval      tv;
    mesh_watch_file_t  *watch;

    if (npaths > MESH_WATCH_FILE_MAX) {
        (void) mesh_err(err, "more than %d files to watch",
                        MESH_WATCH_FILE_MAX);
        return NULL;
    }

    watch = calloc(1, sizeof(mesh_watch_file_t));

    if (watch == NULL) {
        (void) mesh_err(err, "no memory to watch files");
        return NULL;
    }

    watch->handler = handler;
    watch->data = data;

    for (i = 0; i < npaths; i++) {
        watch->paths[i] = strdup(paths[i]);

        if (watch->paths[i] == NULL) {
            goto failed;
        }

        watch->npaths++;
    }

    (void) mesh_watch_file_look(watch);

    watch->timer = event_new(base, -1, EV_PERSIST, mesh_watch_file_tick,
                             watch);
    tv.tv_sec = interval_ms / 1000;
    tv.tv_usec = interval_ms % 1000 * 1000;

    if (watch->timer == NULL || event_add(watch->timer, &tv) != 0) {
        goto failed;
    }

    return watch;

failed:

    (void) mesh_err(err, "no memory to watch files");
    mesh_watch_file_free(watch);

    return NULL;
}


void
mesh_watch_file_free(mesh_watch_file_t *watch)
{
    size_t  i;

    if (watch == NULL) {
        return;
    }

    for (i = 0; i < watch->npaths; i++) {
        free(watch->paths[i]);
    }

    if (watch->timer != NULL) {
        event_free(watch->timer);
    }

    free(watch);
}


void
mesh_watch_file_reset(mesh_watch_file_t *watch)
{
    (void) mesh_watch_file_look(watch);
}


static void
mesh_watch_file_tick(evutil_socket_t fd, short what, void *data)
{
    mesh_watch_file_t  *watch = data;

    if (mesh_watch_file_look(watch)) {
        watch->handler(watch->data);
    }
}


/* 1: something is not what it was */

static int
mesh_watch_file_look(mesh_watch_file_t *watch)
{
    int                      changed;
    size_t                   i;
    struct stat              st;
    mesh_watch_file_mark_t   mark;

    changed = 0;

    for (i = 0; i < watch->npaths; i++) {

        memset(&mark, 0, sizeof(mark));       /* padding is compared too */

        if (stat(watch->paths[i], &st) == 0) {
            mark.device = st.st_dev;
            mark.inode = st.st_ino;
            mark.size = st.st_size;
            mark.mtime = st.st_mtim;
            mark.ctime = st.st_ctim;
        }

        if (memcmp(&mark, &watch->marks[i], sizeof(mark)) != 0) {
            memcpy(&watch->marks[i], &mark, sizeof(mark));
            changed = 1;
        }
    }

    return changed;
}
