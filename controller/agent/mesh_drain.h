
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_DRAIN_H_INCLUDED_
#define _MESH_DRAIN_H_INCLUDED_

/*
 * The end of a sidecar: as before for --drain seconds, while the pod leaves
 * the endpoints of others; then nginx gets QUIT and finishes what is in
 * flight, at most MESH_DRAIN_MS; then the loop is left.
 */

#include <mesh_core.h>

#include <event2/event.h>

#include <mesh_reload.h>


#define MESH_DRAIN_MS       120000
#define MESH_DRAIN_KILL_MS  3000           /* TERM, and we leave */
#define MESH_DRAIN_LOOK_MS  50


typedef struct mesh_drain_s  mesh_drain_t;

/* nginx is about to get QUIT: close what would keep a worker alive */
typedef void (*mesh_drain_pt)(void *data);


mesh_drain_t *mesh_drain_new(struct event_base *base, int64_t drain_s,
    const mesh_reload_t *reload, mesh_drain_pt quit, void *data,
    mesh_err_t *err);
void mesh_drain_free(mesh_drain_t *drain);

/* SIGTERM; the second one ends the waiting */
void mesh_drain_start(mesh_drain_t *drain);


#endif /* _MESH_DRAIN_H_INCLUDED_ */
