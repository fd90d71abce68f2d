
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SOURCE_KUBE_H_INCLUDED_
#define _MESH_SOURCE_KUBE_H_INCLUDED_

/*
 * A Kubernetes API server as a source of objects.  What the handler gets is
 * what mesh_source_dir gives: settled comes for the first time when all
 * resources have been listed, then at most ten times a second.
 */

#include <mesh_kube_client.h>
#include <mesh_kube_informer.h>
#include <mesh_source_dir.h>


#define MESH_SOURCE_KUBE_SETTLE_MS  100


typedef struct mesh_source_kube_s  mesh_source_kube_t;


typedef struct {
    struct event_base    *base;
    mesh_kube_client_t   *client;          /* outlives the source */
    unsigned              limit;           /* objects of a page */
    unsigned              watch_s;         /* of a watch, at least */
} mesh_source_kube_conf_t;


/* starts from the loop */
mesh_source_kube_t *mesh_source_kube_new(const mesh_source_kube_conf_t *conf,
    const mesh_source_handler_t *handler, void *data);
void mesh_source_kube_free(mesh_source_kube_t *kube);

/* the resources in order, NULL at the end, with how they are */
const char *mesh_source_kube_state(const mesh_source_kube_t *kube, size_t i,
    mesh_kube_informer_state_t *state);

/* while settled is called: since when there has been news, monotonic ms */
uint64_t mesh_source_kube_since(const mesh_source_kube_t *kube);

/* objects that were refused, so far */
uint64_t mesh_source_kube_bad(const mesh_source_kube_t *kube);


#endif /* _MESH_SOURCE_KUBE_H_INCLUDED_ */
