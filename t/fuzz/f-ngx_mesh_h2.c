
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_h2.c */

/*
 * Frames of an endpoint.  Whole or in pieces: the same bytes are left, the
 * same is told; never more than came.  The first byte says how they are cut,
 * and whether the connection is idle.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_mesh_h2.h>


#define ROOM  65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static size_t
fuzz_feed(ngx_mesh_h2_t *h2, const uint8_t *data, size_t size, size_t step,
    unsigned char *out)
{
    size_t                i, n, left, len;
    static unsigned char  buf[ROOM + NGX_MESH_H2_HOLD];

    for (i = 0, len = 0; i < size; i += n) {
        n = size - i < step ? size - i : step;

        memcpy(buf + h2->nheld, data + i, n);
        left = ngx_mesh_h2_scan(h2, buf, n);

        if (len + left > size || h2->nheld > NGX_MESH_H2_HOLD) {
            abort();
        }

        memcpy(out + len, buf, left);
        len += left;
    }

    return len;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                   idle;
    size_t                len, len2, step;
    ngx_mesh_h2_t         whole, pieces;
    static unsigned char  out[ROOM], out2[ROOM];

    if (size < 1 || size > ROOM) {
        return 0;
    }

    idle = data[0] & 1;
    step = (size_t) (data[0] >> 1) + 1;

    data++;
    size--;

    memset(&whole, 0, sizeof(ngx_mesh_h2_t));
    whole.stream = 5;
    whole.idle = idle;
    pieces = whole;

    len = fuzz_feed(&whole, data, size, size ? size : 1, out);
    len2 = fuzz_feed(&pieces, data, size, step, out2);

    if (len != len2
        || memcmp(out, out2, len) != 0
        || whole.reset != pieces.reset
        || whole.refused != pieces.refused
        || whole.last != pieces.last
        || whole.error != pieces.error
        || whole.npings != pieces.npings
        || whole.nheld != pieces.nheld
        || whole.left != pieces.left)
    {
        abort();
    }

    return 0;
}
