
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_http.c controller/base/mesh_err.c */

/*
 * A request and its body as mesh_httpd reads them, once whole and once in
 * pieces: the same verdict and the same bytes.  The first byte is the size
 * of the pieces.
 */

#include <mesh_http.h>


#define LIMIT  1024


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* a verdict; MESH_AGAIN: more bytes are needed */

static int
read_request(const uint8_t *data, size_t size, size_t step,
    mesh_http_body_t *body)
{
    int               rc;
    char             *text, *piece;
    size_t            n, used, len, scanned;
    mesh_http_head_t  head;

    memset(body, 0, sizeof(mesh_http_body_t));

    scanned = 0;
    n = 0;

    for (len = 0; n == 0 && len < size; /* void */ ) {
        len += mesh_min(step, size - len);
        n = mesh_http_head_bytes((const char *) data, len, &scanned);
    }

    if (n == 0) {
        return MESH_AGAIN;
    }

    text = malloc(n + 1);
    memcpy(text, data, n);
    text[n] = '\0';

    rc = mesh_http_request_take(&head, text, n, NULL);

    if (rc == MESH_OK) {
        rc = mesh_http_body_init(body, &head, LIMIT, NULL);
    }

    mesh_http_head_done(&head);

    if (rc != MESH_OK) {
        return rc;
    }

    for (rc = MESH_AGAIN; rc == MESH_AGAIN && n < size; n += used) {
        len = mesh_min(step, size - n);

        piece = malloc(len);
        memcpy(piece, data + n, len);
        rc = mesh_http_body_read(body, piece, len, &used, NULL);
        free(piece);

        if (rc == MESH_AGAIN && used != len) {
            abort();
        }
    }

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int               rc, rc2;
    size_t            step;
    mesh_http_body_t  whole, pieces;

    if (size < 2) {
        return 0;
    }

    step = data[0] ? data[0] : 256;

    rc = read_request(data + 1, size - 1, size, &whole);
    rc2 = read_request(data + 1, size - 1, step, &pieces);

    if (rc != rc2 || whole.len > LIMIT
        || (rc != MESH_ERROR
            && (whole.len != pieces.len
                || (whole.len > 0
                    && memcmp(whole.data, pieces.data, whole.len) != 0))))
    {
        abort();
    }

    mesh_http_body_done(&whole);
    mesh_http_body_done(&pieces);

    return 0;
}
