
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_chunked.c
         ngx_mesh_module/core/ngx_mesh_field.c */

/*
 * A chunked body with its trailer section: read whole or in pieces, the same
 * verdict, the same bytes; what passes as a field has no line end in it.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_mesh_chunked.h>
#include <ngx_mesh_field.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_int_t
fuzz_read(const uint8_t *data, size_t size, size_t step, u_char *section,
    size_t *len)
{
    size_t               n, part;
    u_char              *copy, *p, *end, *from, *to;
    ngx_int_t            rc;
    ngx_mesh_chunked_t   chunked;

    memset(&chunked, 0, sizeof(ngx_mesh_chunked_t));
    *len = 0;
    rc = NGX_AGAIN;

    for (n = 0; n < size && rc == NGX_AGAIN; n += part) {
        part = step < size - n ? step : size - n;

        copy = malloc(part);
        if (copy == NULL) {
            exit(2);
        }

        memcpy(copy, data + n, part);
        p = copy;
        end = copy + part;

        do {
            rc = ngx_mesh_chunked_next(&chunked, &p, end, &from, &to);

            if (p < copy || p > end) {
                abort();
            }

            if (rc == NGX_OK) {
                memcpy(section + *len, from, to - from);
                *len += to - from;
            }

        } while (rc == NGX_OK);

        free(copy);
    }

    return rc;
}


static void
fuzz_fields(u_char *p, u_char *end)
{
    ngx_int_t         rc;
    ngx_mesh_field_t  field;

    do {
        rc = ngx_mesh_field_next(&p, end, &field);

        if (rc == NGX_OK
            && (field.name.len == 0
                || memchr(field.name.data, ':', field.name.len)
                || memchr(field.name.data, '\n', field.name.len)
                || memchr(field.value.data, '\n', field.value.len)
                || memchr(field.value.data, '\r', field.value.len)
                || memchr(field.value.data, '\0', field.value.len)))
        {
            abort();
        }

    } while (rc != NGX_DONE);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t      len, len2, step;
    u_char     *section, *section2;
    ngx_int_t   rc;

    section = malloc(size + 1);
    section2 = malloc(size + 1);

    if (section == NULL || section2 == NULL) {
        exit(2);
    }

    rc = fuzz_read(data, size, size + 1, section, &len);

    for (step = 1; step < 8; step++) {
        if (fuzz_read(data, size, step, section2, &len2) != rc
            || (rc != NGX_ERROR
                && (len2 != len || memcmp(section, section2, len) != 0)))
        {
            abort();
        }
    }

    fuzz_fields(section, section + len);

    free(section);
    free(section2);

    return 0;
}
