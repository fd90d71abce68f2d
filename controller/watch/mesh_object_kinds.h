
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_OBJECT_KINDS_H_INCLUDED_
#define _MESH_OBJECT_KINDS_H_INCLUDED_

/*
 * Between mesh_object.c and the readers, mesh_object_kinds.c and
 * mesh_object_pod.c; nobody else includes it.
 */

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


/*
 * Members.  One that is not there is no error unless said so; of the wrong
 * type or out of range it is one, and *err has the path.
 */

/* one item of an array of objects */
typedef int (*mesh_object_item_pt)(mesh_object_t *object,
    const mesh_json_t *item, mesh_err_t *err);

/* an array of objects, walked */
int mesh_object_each(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, mesh_object_item_pt read, mesh_err_t *err);

/* items of a member that may be anything: how much room they can need */
size_t mesh_object_count(const mesh_json_t *parent, const char *name);

/* a string, kept by the object; preset is not copied */
int mesh_object_text(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, const char *preset, const char **text,
    mesh_err_t *err);

/* of a port: MESH_DECLINED if its protocol is another than TCP */
int mesh_object_is_tcp(const mesh_json_t *port, mesh_err_t *err);

/* of a port: 1 .. 65535, required */
int mesh_object_number(const mesh_json_t *port, const char *name,
    uint16_t *number, mesh_err_t *err);

/* a boolean */
int mesh_object_flag(const mesh_json_t *parent, const char *name,
    int *flag, mesh_err_t *err);


#endif /* _MESH_OBJECT_KINDS_H_INCLUDED_ */
