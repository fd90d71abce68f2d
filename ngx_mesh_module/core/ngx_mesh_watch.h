
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_WATCH_H_INCLUDED_
#define _NGX_MESH_WATCH_H_INCLUDED_

/*
 * Tells a worker that a file which another process renames into place has
 * changed: inotify on its directory, and a look every second in case an
 * event was lost.  Call it from init_process; timers are cancelable and the
 * descriptors keep no exiting worker alive.
 */

#include <ngx_config.h>
#include <ngx_core.h>


typedef void (*ngx_mesh_watch_pt)(void *data, ngx_log_t *log);


/*
 * Calls handler(data, log) whenever path (or a symbolic link in place of it)
 * points to another inode, size or mtime than at the last call, missing
 * included; the first time right now if it exists.  path must outlive the
 * process and be NUL terminated.
 */
ngx_int_t ngx_mesh_watch_add(ngx_cycle_t *cycle, ngx_str_t *path,
    ngx_mesh_watch_pt handler, void *data);


#endif /* _NGX_MESH_WATCH_H_INCLUDED_ */
