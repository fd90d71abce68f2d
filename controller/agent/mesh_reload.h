
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_RELOAD_H_INCLUDED_
#define _MESH_RELOAD_H_INCLUDED_

/*
 * nginx.conf and nginx: render, test, rename, then start through init or
 * HUP.  The file on disk is always the last good one; bytes that are the
 * same change nothing.  A start or reload counts when a worker that was not
 * there before has reported.
 */

#include <mesh_core.h>

#include <event2/event.h>

#include <mesh_agent_conf.h>


#define MESH_RELOAD_CONFIRM_MS  10000
#define MESH_RELOAD_TEST_MS     30000
#define MESH_RELOAD_RETRY_MIN   1000       /* after a test that failed */
#define MESH_RELOAD_RETRY_MAX   30000


typedef struct mesh_reload_s  mesh_reload_t;


/* init: our end of the socket pair */
mesh_reload_t *mesh_reload_new(struct event_base *base,
    mesh_agent_conf_t *conf, int init, mesh_err_t *err);
void mesh_reload_free(mesh_reload_t *reload);

/* brings nginx to what the template and the settings say now */
void mesh_reload_apply(mesh_reload_t *reload);

/*
 * A worker reported from the process pid: 1 if it was not known before, so
 * connections through older workers should be made anew.
 */
int mesh_reload_worker(mesh_reload_t *reload, pid_t pid);

/* the master, 0: none runs */
pid_t mesh_reload_nginx(const mesh_reload_t *reload);

/* MESH_OK: nginx serves the last nginx.conf; else why not */
int mesh_reload_ready(const mesh_reload_t *reload, mesh_err_t *err);


#endif /* _MESH_RELOAD_H_INCLUDED_ */
