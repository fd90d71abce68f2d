
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/*
 * A file of manifests: documents, objects, the index.  Whatever is in it,
 * each document made is one that agents take.
 */

#include <mesh_core.h>

#include <mesh_index.h>
#include <mesh_yaml.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
on_emit(void *data, const char *key, const char *body)
{
    mesh_doc_t  doc;
    mesh_err_t  err;

    (void) data;

    if (body == NULL) {
        return;
    }

    if (mesh_doc_parse(key, body, strlen(body), &doc, &err) != MESH_OK) {
        fprintf(stderr, "%s %s: %s\n", key, body, err.text);
        abort();
    }

    mesh_doc_free(&doc);
}


static void
on_document(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *error)
{
    mesh_err_t      err;
    mesh_index_t   *index = data;
    mesh_object_t  *object;

    (void) error;

    if (json == NULL) {
        return;
    }

    if (line == 0 || mesh_yaml_line(yaml, NULL) != 0) {
        abort();
    }

    object = mesh_object_new(json, NULL, &err);

    if (object) {
        mesh_index_put(index, object);
        mesh_object_unref(object);
    }

    json_decref(json);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mesh_index_t  *index;

    index = mesh_index_new("cluster.local");

    (void) mesh_yaml_parse((const char *) data, size, on_document, index);
    (void) mesh_index_update(index, on_emit, NULL);

    mesh_index_free(index);

    return 0;
}
