
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_JSON_H_INCLUDED_
#define _MESH_JSON_H_INCLUDED_

/*
 * Getters over jansson that know where they are: what is wrong is said with
 * its path, "spec.ports[2].port is a string, expected an integer".  A
 * mesh_json_t is a place in a tree, it owns nothing and lives on the stack;
 * it must not outlive the place that it was taken from.
 */

#include <mesh_core.h>

#include <jansson.h>


typedef struct mesh_json_s  mesh_json_t;

struct mesh_json_s {
    json_t             *value;    /* borrowed */
    const mesh_json_t  *parent;   /* NULL: the root */
    const char         *key;      /* NULL: an array's item */
    size_t              index;
};


/*
 * Parses text; the caller has the reference (json_decref).  Duplicate keys,
 * anything after the value, a NUL in a string, and more than depth levels as
 * jansson limits them are errors; *err holds line and column.
 */
json_t *mesh_json_parse(const char *text, size_t len, mesh_err_t *err);

/* the root of a tree; value may be anything */
void mesh_json_root(mesh_json_t *root, json_t *value);

/*
 * Members of an object.  MESH_DECLINED: the key is not there, or null; the
 * output is left alone.  MESH_ERROR: it is something else than asked for, or
 * obj is no object.  With the key required, say
 *
 *     if (mesh_json_string(obj, "name", &name, err) != MESH_OK) {
 *         return mesh_json_missing(obj, "name", err);
 *     }
 *
 * mesh_json_missing() keeps the sentence that is in *err if the key is there.
 */
int mesh_json_string(const mesh_json_t *obj, const char *key,
    const char **value, mesh_err_t *err);
int mesh_json_integer(const mesh_json_t *obj, const char *key, int64_t min,
    int64_t max, int64_t *value, mesh_err_t *err);
int mesh_json_boolean(const mesh_json_t *obj, const char *key, int *value,
    mesh_err_t *err);
int mesh_json_object(const mesh_json_t *obj, const char *key,
    mesh_json_t *value, mesh_err_t *err);
int mesh_json_array(const mesh_json_t *obj, const char *key,
    mesh_json_t *value, mesh_err_t *err);
int mesh_json_any(const mesh_json_t *obj, const char *key,
    mesh_json_t *value, mesh_err_t *err);

int mesh_json_missing(const mesh_json_t *obj, const char *key,
    mesh_err_t *err);

/* items of an array */
size_t mesh_json_size(const mesh_json_t *array);
void mesh_json_item(const mesh_json_t *array, size_t i, mesh_json_t *item);

/* the place itself as a string or an object, e.g. an array's item */
int mesh_json_as_string(const mesh_json_t *place, const char **value,
    mesh_err_t *err);
int mesh_json_as_object(const mesh_json_t *place, mesh_err_t *err);

/* "spec.ports[2].port" of a place; "document" for the root */
void mesh_json_path(const mesh_json_t *place, char *buf, size_t size);


#endif /* _MESH_JSON_H_INCLUDED_ */
