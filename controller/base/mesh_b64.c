
/*
 * Copyright (C) ngx-mesh authors
 */


/* Base64: strict when reading, so that one value has one text. */

#include <mesh_b64.h>


static int mesh_b64_value(unsigned char ch);


static const char  mesh_b64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";


size_t
mesh_b64_encode(char *dst, const void *src, size_t len)
{
    char           *d;
    uint32_t        bits;
    const uint8_t  *s;

    d = dst;
    s = src;

    for ( /* void */ ; len > 2; len -= 3, s += 3) {
        bits = (uint32_t) s[0] << 16 | (uint32_t) s[1] << 8 | s[2];

        *d++ = mesh_b64_alphabet[bits >> 18];
        *d++ = mesh_b64_alphabet[bits >> 12 & 63];
        *d++ = mesh_b64_alphabet[bits >> 6 & 63];
        *d++ = mesh_b64_alphabet[bits & 63];
    }

    if (len > 0) {
        bits = (uint32_t) s[0] << 16 | (len == 2 ? (uint32_t) s[1] << 8 : 0);

        *d++ = mesh_b64_alphabet[bits >> 18];
        *d++ = mesh_b64_alphabet[bits >> 12 & 63];
        *d++ = (len == 2) ? mesh_b64_alphabet[bits >> 6 & 63] : '=';
        *d++ = '=';
    }

    *d = '\0';

    return d - dst;
}


int
mesh_b64_decode(void *dst, size_t *dst_len, const char *src, size_t len)
{
    int       value;
    size_t    i, pad;
    uint8_t  *d;
    uint32_t  bits;

    if (len % 4 != 0) {
        return MESH_ERROR;
    }

    pad = 0;

    if (len > 0 && src[len - 1] == '=') {
        pad = (src[len - 2] == '=') ? 2 : 1;
    }

    d = dst;
    bits = 0;

    for (i = 0; i < len - pad; i++) {
        value = mesh_b64_value((unsigned char) src[i]);

        if (value == MESH_ERROR) {
            return MESH_ERROR;
        }

        bits = bits << 6 | (uint32_t) value;

        if (i % 4 == 3) {
            *d++ = bits >> 16 & 255;
            *d++ = bits >> 8 & 255;
            *d++ = bits & 255;
            bits = 0;
        }
    }

    if (pad == 1) {

        if (bits & 3) {
            return MESH_ERROR;
        }

        *d++ = bits >> 10 & 255;
        *d++ = bits >> 2 & 255;
    }

    if (pad == 2) {

        if (bits & 15) {
            return MESH_ERROR;
        }

        *d++ = bits >> 4 & 255;
    }

    *dst_len = d - (uint8_t *) dst;

    return MESH_OK;
}


static int
mesh_b64_value(unsigned char ch)
{
    const char  *p;

    if (ch == '\0') {
        return MESH_ERROR;
    }

    p = strchr(mesh_b64_alphabet, ch);

    return (p == NULL) ? MESH_ERROR : (int) (p - mesh_b64_alphabet);
}
