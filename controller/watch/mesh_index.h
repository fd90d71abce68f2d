
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_INDEX_H_INCLUDED_
#define _MESH_INDEX_H_INCLUDED_

/*
 * Joins objects to documents: pure, without I/O, clock or dice.  An object's
 * change makes only those documents anew that depend on it, and the result
 * is a function of the set of objects, not of the order in which they came.
 */

#include <mesh_object.h>


typedef struct mesh_index_s  mesh_index_t;

/* body NULL: the document is gone; both live until the next update */
typedef void (*mesh_index_emit_pt)(void *data, const char *key,
    const char *body);


mesh_index_t *mesh_index_new(const char *trust_domain);
void mesh_index_free(mesh_index_t *index);

/* adds or replaces an object; the index takes its own reference */
void mesh_index_put(mesh_index_t *index, mesh_object_t *object);

/* removes an object of this key ("Pod/shop/web-1"); unknown ones are fine */
void mesh_index_delete(mesh_index_t *index, mesh_object_kind_e kind,
    const char *key);

/*
 * Makes what puts and deletes have touched and emits what differs from
 * before: workloads and services first, then the addresses that lead to
 * them; what is gone the other way round, at the end.  Returns the number of
 * documents emitted.
 */
size_t mesh_index_update(mesh_index_t *index, mesh_index_emit_pt emit,
    void *data);

/* all documents as of the last update, in no order */
void mesh_index_each(const mesh_index_t *index, mesh_index_emit_pt emit,
    void *data);

/* how many documents there are */
size_t mesh_index_count(const mesh_index_t *index);

/* pods and services made anew by updates so far: the cost, for tests */
size_t mesh_index_work(const mesh_index_t *index);


#endif /* _MESH_INDEX_H_INCLUDED_ */
