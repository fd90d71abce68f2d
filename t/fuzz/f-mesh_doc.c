
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/;
 *       -ljansson -lssl -lcrypto */

/*
 * A document of Redis: the first line is its key, the rest its value.  What
 * is parsed can be printed and parsed again, to the same text.
 */

#include <stdlib.h>
#include <string.h>

#include <mesh_doc.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_body(const char *key, const char *body, size_t len)
{
    char        *text, *again;
    mesh_doc_t   doc;
    mesh_err_t   err;

    if (mesh_doc_parse(key, body, len, &doc, &err) != 0) {
        return;
    }

    text = mesh_doc_print(&doc);
    mesh_doc_free(&doc);

    if (text == NULL
        || mesh_doc_parse(key, text, strlen(text), &doc, &err))
    {
        abort();
    }

    again = mesh_doc_print(&doc);
    mesh_doc_free(&doc);

    if (again == NULL || strcmp(text, again) != 0) {
        abort();
    }

    free(text);
    free(again);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                  key[MESH_DOC_KEY_MAX], *value;
    size_t                len;
    const uint8_t        *end;
    mesh_err_t            err;
    mesh_doc_envelope_t   envelope;

    end = memchr(data, '\n', size);

    if (end == NULL || (size_t) (end - data) >= sizeof(key)) {
        return 0;
    }

    memcpy(key, data, end - data);
    key[end - data] = '\0';

    len = size - (end + 1 - data);

    value = malloc(len ? len : 1);
    if (value == NULL) {
        return 0;
    }

    memcpy(value, end + 1, len);

    if (mesh_doc_open(value, len, &envelope, &err) == 0) {
        fuzz_body(key, envelope.body, envelope.body_len);
    }

    fuzz_body(key, value, len);

    free(value);

    return 0;
}
