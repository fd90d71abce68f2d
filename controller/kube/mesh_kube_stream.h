
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_STREAM_H_INCLUDED_
#define _MESH_KUBE_STREAM_H_INCLUDED_

/*
 * Cuts what an API server sends into objects while it comes in, split where
 * it may be: a list into its items and the rest of it (the envelope), a
 * watch into its events.  One object at a time is in memory, without the
 * members that nobody needs.  Pure, without I/O.
 */

#include <mesh_core.h>

#include <jansson.h>


#define MESH_KUBE_ITEM_MAX_BYTES      (8 * 1024 * 1024)
#define MESH_KUBE_ENVELOPE_MAX_BYTES  (256 * 1024)


typedef struct mesh_kube_stream_s  mesh_kube_stream_t;


typedef struct {
    /* borrowed; MESH_ERROR ends the reading */
    int        (*item)(void *data, json_t *json);

    /* an object that is too large, too deep, or no JSON: it is left out */
    void       (*lost)(void *data, const mesh_err_t *err);
} mesh_kube_stream_handler_t;


typedef struct {
    int                  watch;      /* 1: events, 0: one list or object */

    /*
     * Members that become null without being kept: paths of keys, separated
     * by spaces, "*" for an array's items ("spec containers * env"), NULL at
     * the end; or NULL.  They count from the object, also in an event.
     */
    const char *const   *drop;

    size_t               item_max_bytes;   /* 0: MESH_KUBE_ITEM_MAX_BYTES */
} mesh_kube_stream_conf_t;


/* conf is copied, the paths and handler must outlive the stream */
mesh_kube_stream_t *mesh_kube_stream_new(const mesh_kube_stream_conf_t *conf,
    const mesh_kube_stream_handler_t *handler, void *data);
void mesh_kube_stream_free(mesh_kube_stream_t *stream);

/* MESH_ERROR: these are no lists or events, or a handler wants no more */
int mesh_kube_stream_read(mesh_kube_stream_t *stream, const char *text,
    size_t len, mesh_err_t *err);

/*
 * The sender has ended.  Of a list: *envelope is the document with an empty
 * array for "items" (the caller has the reference); it is also how a Status
 * is read.  MESH_AGAIN: torn, the end is missing.  envelope may be NULL, and
 * is not touched by a watch.
 */
int mesh_kube_stream_end(mesh_kube_stream_t *stream, json_t **envelope,
    mesh_err_t *err);

/* what is held just now, for tests of the bounds */
size_t mesh_kube_stream_bytes(const mesh_kube_stream_t *stream);


#endif /* _MESH_KUBE_STREAM_H_INCLUDED_ */
