
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_WATCH_ADMIN_H_INCLUDED_
#define _MESH_WATCH_ADMIN_H_INCLUDED_

/* /live, /ready and /metrics of `meshd watch`: looks, changes nothing. */

#include <mesh_core.h>
#include <mesh_index.h>
#include <mesh_kube_leader.h>
#include <mesh_publish.h>
#include <mesh_source_kube.h>


typedef struct mesh_watch_admin_s  mesh_watch_admin_t;


/* what there is to look at; all of it outlives the server */

typedef struct {
    const mesh_index_t        *index;
    const mesh_publish_t      *publish;
    const mesh_kube_client_t  *client;     /* NULL: a directory */
    const mesh_source_kube_t  *kube;       /* the same */
    const mesh_kube_leader_t  *leader;     /* the same */
    const int                 *filled;     /* all objects have been read */
} mesh_watch_parts_t;


/* address: ADDR:PORT; parts are copied; NULL: *err */
mesh_watch_admin_t *mesh_watch_admin_new(struct event_base *base,
    const char *address, const mesh_watch_parts_t *parts, mesh_err_t *err);
void mesh_watch_admin_free(mesh_watch_admin_t *admin);


#endif /* _MESH_WATCH_ADMIN_H_INCLUDED_ */
