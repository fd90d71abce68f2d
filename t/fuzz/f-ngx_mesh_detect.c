
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_detect.c */

/*
 * First bytes of a connection.  Whatever arrives, in however many pieces, the
 * answer that is given before the end is the answer for the whole.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_mesh_detect.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef ngx_mesh_detect_e (*fuzz_detect_pt)(const unsigned char *data,
    size_t len, ngx_mesh_hello_t *hello);


static void
fuzz_detect(fuzz_detect_pt detect, const uint8_t *data, size_t size)
{
    size_t              n, step;
    ngx_mesh_hello_t    hello;
    ngx_mesh_detect_e   rc, first;

    first = NGX_MESH_DETECT_MORE;
    step = size > 512 ? size / 64 : 1;

    for (n = 0; n <= size; n += step) {
        memset(&hello, 0, sizeof(ngx_mesh_hello_t));

        rc = detect(data, n, &hello);

        if (rc == NGX_MESH_DETECT_MORE && n >= NGX_MESH_DETECT_MAX_BYTES) {
            abort();
        }

        if (first != NGX_MESH_DETECT_MORE && rc != first) {
            abort();
        }

        if (rc == NGX_MESH_DETECT_TLS
            && hello.sni
            && (hello.sni < data || hello.sni + hello.sni_len > data + n))
        {
            abort();
        }

        first = rc;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t  *copy;

    copy = malloc(size ? size : 1);
    if (copy == NULL) {
        return 0;
    }

    memcpy(copy, data, size);

    fuzz_detect(ngx_mesh_detect, copy, size);
    fuzz_detect(ngx_mesh_detect_tls, copy, size);

    free(copy);

    return 0;
}
