
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_INFORMER_H_INCLUDED_
#define _MESH_KUBE_INFORMER_H_INCLUDED_

/*
 * Follows one resource: a reflector says what to ask, a client asks, a
 * stream cuts the answer into objects, a store says which of them are news,
 * and the handler gets those.
 */

#include <mesh_core.h>
#include <mesh_kube_client.h>
#include <mesh_kube_reflector.h>
#include <mesh_kube_store.h>

#include <jansson.h>


typedef struct mesh_kube_informer_s  mesh_kube_informer_t;


typedef struct {
    /* an object is new or differs; borrowed; name is "<namespace>/<name>" */
    void                  (*put)(void *data, json_t *object,
                                 const char *name);

    void                  (*gone)(void *data, const char *name);

    /* after one or more of these, at the end of what came at once */
    void                  (*changed)(void *data);

    /* all of it has been listed for the first time, or is known to be
       absent; before the changed of the same moment */
    void                  (*synced)(void *data);
} mesh_kube_informer_handler_t;


typedef struct {
    const char             *what;          /* for logs: "pods" */
    const char             *path;          /* "/api/v1/pods" */
    int                     optional;      /* a CRD: may be missing */
    const char *const      *drop;          /* as in mesh_kube_stream_conf_t */
    unsigned                limit;         /* of a page; 0: 500 */
    unsigned                watch_s;       /* 0: 300 */
} mesh_kube_informer_conf_t;


/* how it is, for logs and metrics */

typedef struct {
    size_t                  objects;
    uint64_t                lost;          /* objects that were no JSON .. */
    uint64_t                stale;         /* events that were no news */
    uint64_t                event_ms;      /* monotonic: the last one */
    int                     watching;      /* a watch is open */
    int                     absent;
    const mesh_kube_counts_t  *counts;
} mesh_kube_informer_state_t;


/* starts from the loop; client, handler and strings of conf outlive it */
mesh_kube_informer_t *mesh_kube_informer_new(struct event_base *base,
    mesh_kube_client_t *client, const mesh_kube_informer_conf_t *conf,
    const mesh_kube_informer_handler_t *handler, void *data);
void mesh_kube_informer_free(mesh_kube_informer_t *informer);

int mesh_kube_informer_synced(const mesh_kube_informer_t *informer);

void mesh_kube_informer_state(const mesh_kube_informer_t *informer,
    mesh_kube_informer_state_t *state);


#endif /* _MESH_KUBE_INFORMER_H_INCLUDED_ */
