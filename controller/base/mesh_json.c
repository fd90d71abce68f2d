
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Getters over jansson.  Each knows the type that it wants from a table row,
 * so that all of them refuse with the same sentence; the path is put
 * together only when something is wrong.
 */

#include <mesh_json.h>


static int mesh_json_typed(const mesh_json_t *obj, const char *key,
    json_type type, mesh_json_t *value, mesh_err_t *err);
static int mesh_json_is(json_t *value, json_type type);
static int mesh_json_wrong(const mesh_json_t *place, json_type expected,
    mesh_err_t *err);
static const char *mesh_json_type_name(json_type type);


json_t *
mesh_json_parse(const char *text, size_t len, mesh_err_t *err)
{
    json_t        *value;
    json_error_t   error;

    value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (value == NULL) {
        (void) mesh_err(err, "line %d column %d: %s", error.line,
                        error.column, error.text);
    }

    return value;
}


void
mesh_json_root(mesh_json_t *root, json_t *value)
{
    root->value = value;
    root->parent = NULL;
    root->key = NULL;
    root->index = 0;
}


int
mesh_json_any(const mesh_json_t *obj, const char *key, mesh_json_t *value,
    mesh_err_t *err)
{
    json_t  *member;

    if (!json_is_object(obj->value)) {
        return mesh_json_wrong(obj, JSON_OBJECT, err);
    }

    member = json_object_get(obj->value, key);

    if (member == NULL || json_is_null(member)) {
        return MESH_DECLINED;
    }

    value->value = member;
    value->parent = obj;
    value->key = key;
    value->index = 0;

    return MESH_OK;
}


static int
mesh_json_typed(const mesh_json_t *obj, const char *key, json_type type,
    mesh_json_t *value, mesh_err_t *err)
{
    int          rc;
    mesh_json_t  place;

    mesh_json_root(&place, NULL);

    rc = mesh_json_any(obj, key, &place, err);

    if (rc != MESH_OK) {
        return rc;
    }

    if (!mesh_json_is(place.value, type)) {
        return mesh_json_wrong(&place, type, err);
    }

    *value = place;

    return MESH_OK;
}


int
mesh_json_string(const mesh_json_t *obj, const char *key, const char **value,
    mesh_err_t *err)
{
    int          rc;
    mesh_json_t  place;

    rc = mesh_json_typed(obj, key, JSON_STRING, &place, err);

    if (rc == MESH_OK) {
        *value = json_string_value(place.value);
    }

    return rc;
}


int
mesh_json_integer(const mesh_json_t *obj, const char *key, int64_t min,
    int64_t max, int64_t *value, mesh_err_t *err)
{
    int          rc;
    char         path[256];
    int64_t      n;
    mesh_json_t  place;

    mesh_json_root(&place, NULL);

    rc = mesh_json_typed(obj, key, JSON_INTEGER, &place, err);

    if (rc != MESH_OK) {
        return rc;
    }

    n = json_integer_value(place.value);

    if (n < min || n > max) {
        mesh_json_path(&place, path, sizeof(path));
        return mesh_err(err, "%s is %" PRId64 ", expected %" PRId64 " .. %"
                        PRId64, path, n, min, max);
    }

    *value = n;

    return MESH_OK;
}


int
mesh_json_boolean(const mesh_json_t *obj, const char *key, int *value,
    mesh_err_t *err)
{
    int          rc;
    mesh_json_t  place;

    rc = mesh_json_typed(obj, key, JSON_TRUE, &place, err);

    if (rc == MESH_OK) {
        *value = json_is_true(place.value);
    }

    return rc;
}


int
mesh_json_object(const mesh_json_t *obj, const char *key, mesh_json_t *value,
    mesh_err_t *err)
{
    return mesh_json_typed(obj, key, JSON_OBJECT, value, err);
}


int
mesh_json_array(const mesh_json_t *obj, const char *key, mesh_json_t *value,
    mesh_err_t *err)
{
    return mesh_json_typed(obj, key, JSON_ARRAY, value, err);
}


int
mesh_json_missing(const mesh_json_t *obj, const char *key, mesh_err_t *err)
{
    char         path[256];
    json_t      *member;
    mesh_json_t  place;

    member = json_object_get(obj->value, key);

    if (!json_is_object(obj->value)
        || (member != NULL && !json_is_null(member)))
    {
        return MESH_ERROR;                /* the getter has said why */
    }

    place.value = NULL;
    place.parent = obj;
    place.key = key;
    place.index = 0;

    mesh_json_path(&place, path, sizeof(path));

    return mesh_err(err, "%s is missing", path);
}


size_t
mesh_json_size(const mesh_json_t *array)
{
    return json_array_size(array->value);
}


void
mesh_json_item(const mesh_json_t *array, size_t i, mesh_json_t *item)
{
    item->value = json_array_get(array->value, i);
    item->parent = array;
    item->key = NULL;
    item->index = i;
}


int
mesh_json_as_string(const mesh_json_t *place, const char **value,
    mesh_err_t *err)
{
    if (!json_is_string(place->value)) {
        return mesh_json_wrong(place, JSON_STRING, err);
    }

    *value = json_string_value(place->value);

    return MESH_OK;
}


int
mesh_json_as_object(const mesh_json_t *place, mesh_err_t *err)
{
    if (!json_is_object(place->value)) {
        return mesh_json_wrong(place, JSON_OBJECT, err);
    }

    return MESH_OK;
}


void
mesh_json_path(const mesh_json_t *place, char *buf, size_t size)
{
    size_t  len;

    if (place->parent == NULL) {
        (void) snprintf(buf, size, "document");
        return;
    }

    if (place->parent->parent == NULL) {
        len = 0;

        if (place->key == NULL) {
            (void) snprintf(buf, size, "document");
            len = strlen(buf);
        }

    } else {
        mesh_json_path(place->parent, buf, size);
        len = strlen(buf);
    }

    if (place->key == NULL) {
        (void) snprintf(buf + len, size - len, "[%zu]", place->index);
        return;
    }

    (void) snprintf(buf + len, size - len, "%s%s", len ? "." : "",
                    place->key);
}


static int
mesh_json_is(json_t *value, json_type type)
{
    if (type == JSON_TRUE) {
        return json_is_boolean(value);
    }

    return json_typeof(value) == type;
}


static int
mesh_json_wrong(const mesh_json_t *place, json_type expected, mesh_err_t *err)
{
    char         path[256];
    const char  *got;

    mesh_json_path(place, path, sizeof(path));

    got = (place->value == NULL) ? "missing"
                                 : mesh_json_type_name(
                                                 json_typeof(place->value));

    return mesh_err(err, "%s is %s, expected %s", path, got,
                    mesh_json_type_name(expected));
}


static const char *
mesh_json_type_name(json_type type)
{
    static const char  *names[] = {
        "an object", "an array", "a string", "an integer", "a number",
        "a boolean", "a boolean", "null"
    };

    return names[type];
}
