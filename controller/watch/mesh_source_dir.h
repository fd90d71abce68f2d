
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SOURCE_DIR_H_INCLUDED_
#define _MESH_SOURCE_DIR_H_INCLUDED_

/*
 * A directory of manifests as a source of objects: files *.yaml *.yml *.json
 * (not below it), as kubectl get -o yaml prints them, several documents each.
 * Changes are followed (inotify, and a look at all files now and then).
 *
 * A bad document takes nothing down: if its object can be told, the last
 * good version of that object stays; if it cannot, no object that the file
 * held before goes away until the file is whole again.
 */

#include <mesh_object.h>

#include <event2/event.h>


typedef struct mesh_source_dir_s  mesh_source_dir_t;


typedef struct {
    /* an object is new or differs from before; take a reference to keep it */
    void       (*put)(void *data, mesh_object_t *object);

    void       (*gone)(void *data, mesh_object_kind_e kind, const char *key);

    /* the end of a batch: one file, or the first reading of all of them */
    void       (*settled)(void *data);
} mesh_source_handler_t;


/*
 * Reads the whole directory before it returns (settled is called once).
 * NULL: *err; the directory cannot be read or watched.
 */
mesh_source_dir_t *mesh_source_dir_new(struct event_base *base,
    const char *path, const mesh_source_handler_t *handler, void *data,
    mesh_err_t *err);

void mesh_source_dir_free(mesh_source_dir_t *dir);


#endif /* _MESH_SOURCE_DIR_H_INCLUDED_ */
