
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_interim.c
         ngx_mesh_module/core/ngx_mesh_field.c */

/*
 * The beginning of a response: the verdict on a part is never taken back, and
 * the copy of an interim response is one, with nothing in it that ends early.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_mesh_interim.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_copy(u_char *p, u_char *end)
{
    size_t  len, again;
    u_char  *buf, *buf2, *after;

    buf = malloc(NGX_MESH_INTERIM_ROOM(end - p));
    if (buf == NULL) {
        exit(2);
    }

    len = ngx_mesh_interim_copy(buf, p, end);

    if (ngx_mesh_interim_find(buf, buf + len, &after) != NGX_OK
        || after != buf + len)
    {
        abort();
    }

    buf2 = malloc(NGX_MESH_INTERIM_ROOM(len));
    if (buf2 == NULL) {
        exit(2);
    }

    again = ngx_mesh_interim_copy(buf2, buf, buf + len);

    if (again != len || memcmp(buf, buf2, len) != 0) {
        abort();
    }

    free(buf);
    free(buf2);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t      n;
    u_char     *copy, *after;
    ngx_int_t   rc, part;

    copy = malloc(size ? size : 1);
    if (copy == NULL) {
        exit(2);
    }

    memcpy(copy, data, size);

    rc = ngx_mesh_interim_find(copy, copy + size, &after);

    for (n = 0; n < size; n += (n < 64 ? 1 : 64)) {
        part = ngx_mesh_interim_find(copy, copy + n, &after);

        if (part != NGX_AGAIN && part != rc) {
            abort();
        }
    }

    if (ngx_mesh_interim_find(copy, copy + size, &after) == NGX_OK) {

        if (after <= copy || after > copy + size) {
            abort();
        }

        fuzz_copy(copy, after);
    }

    free(copy);

    return 0;
}
