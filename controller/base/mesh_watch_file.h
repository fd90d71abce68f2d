
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_WATCH_FILE_H_INCLUDED_
#define _MESH_WATCH_FILE_H_INCLUDED_

/*
 * Tells when one of a few files was replaced or written: stat() by a timer.
 * Not inotify: a mounted Secret changes by a symlink two directories up, and
 * some file systems tell nothing.
 */

#include <mesh_core.h>

#include <event2/event.h>


#define MESH_WATCH_FILE_MAX  8


typedef struct mesh_watch_file_s  mesh_watch_file_t;

/* once for all that changed since the last call */
typedef void (*mesh_watch_file_pt)(void *data);

/* paths are copied, at most MESH_WATCH_FILE_MAX; files may be missing */
mesh_watch_file_t *mesh_watch_file_new(struct event_base *base,
    const char *const *paths, size_t npaths, int interval_ms,
    mesh_watch_file_pt handler, void *data, mesh_err_t *err);
void mesh_watch_file_free(mesh_watch_file_t *watch);

/* takes the files as they are now for known, e.g. after writing them */
void mesh_watch_file_reset(mesh_watch_file_t *watch);


#endif /* _MESH_WATCH_FILE_H_INCLUDED_ */
