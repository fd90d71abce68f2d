
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_OBJECT_KINDS_H_INCLUDED_
#define _MESH_OBJECT_KINDS_H_INCLUDED_

/* Between mesh_object.c and mesh_object_kinds.c; nobody else includes it. */

#include <mesh_json.h>
#include <mesh_object.h>


#define MESH_ANNOTATION_STATUS    "ngx-mesh.io/status"
#define MESH_STATUS_INJECTED      "injected"


/* fills object->u; MESH_ERROR: *err has the path */
typedef int (*mesh_object_read_pt)(mesh_object_t *object,
    const mesh_json_t *root, const mesh_json_t *meta, mesh_err_t *err);


int mesh_object_read_node(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err);
int mesh_object_read_service(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err);
int mesh_object_read_slice(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err);
int mesh_object_read_pod(mesh_object_t *object, const mesh_json_t *root,
    const mesh_json_t *meta, mesh_err_t *err);

/* memory that lives as long as the object; zeroed */
void *mesh_object_alloc(mesh_object_t *object, size_t size);
const char *mesh_object_str(mesh_object_t *object, const char *text);

/* 1: what a Kubernetes object may be called */
int mesh_object_is_name(const char *text);

/* a map of strings; not there is an empty one */
int mesh_object_pairs(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, mesh_pairs_t *pairs, mesh_err_t *err);


#endif /* _MESH_OBJECT_KINDS_H_INCLUDED_ */
