
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_STORE_H_INCLUDED_
#define _MESH_KUBE_STORE_H_INCLUDED_

/*
 * Which version of which object is held: tells what of a list or an event is
 * news.  It has no objects, only their names ("shop/web", "/node-1") and
 * resource versions.  Pure.
 */

#include <mesh_core.h>
#include <mesh_map.h>


#define MESH_KUBE_NAME_MAX        512    /* "<namespace>/<name>" */
#define MESH_KUBE_TOMBSTONES_MAX  4096


typedef struct {
    uint64_t               number;       /* or a hash of what is no number */
    int                    ordered;      /* it is a number */
} mesh_kube_version_t;


typedef struct {
    mesh_map_t             held;         /* name -> private */
    mesh_kube_version_t    base;         /* what is not held and not newer
                                            than this is stale news */
    unsigned               round;
    size_t                 count;        /* objects */
    size_t                 tombstones;
} mesh_kube_store_t;                     /* all zero is an empty one */


typedef void (*mesh_kube_store_gone_pt)(void *data, const char *name);


/* all pages of a list lie between begin and end */
void mesh_kube_store_list_begin(mesh_kube_store_t *store);

/* MESH_OK: this version is new; MESH_DECLINED: it is held */
int mesh_kube_store_listed(mesh_kube_store_t *store, const char *name,
    const char *version);

/* tells what the list had no more; complete 0: an item could not be read */
void mesh_kube_store_list_end(mesh_kube_store_t *store, const char *version,
    int complete, mesh_kube_store_gone_pt gone, void *data);

/* events newer than version follow */
void mesh_kube_store_watch_begin(mesh_kube_store_t *store,
    const char *version);

/* MESH_OK: news; MESH_DECLINED: a repeated or overtaken event */
int mesh_kube_store_changed(mesh_kube_store_t *store, const char *name,
    const char *version);
int mesh_kube_store_deleted(mesh_kube_store_t *store, const char *name,
    const char *version);

/* all objects are gone */
void mesh_kube_store_clear(mesh_kube_store_t *store,
    mesh_kube_store_gone_pt gone, void *data);

void mesh_kube_store_done(mesh_kube_store_t *store);


#endif /* _MESH_KUBE_STORE_H_INCLUDED_ */
