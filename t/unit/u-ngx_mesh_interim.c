
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_interim.c
         ngx_mesh_module/core/ngx_mesh_field.c */

/* Interim responses: found whole and cut anywhere, copied without a harm. */

#include <stdlib.h>

#include <ngx_mesh_interim.h>

#include "unit.h"


/* what text begins, and how many bytes of it; from memory of that size */

static ngx_int_t
find(const char *text, size_t len, size_t *found)
{
    u_char     *copy, *after;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    if (copy == NULL) {
        abort();
    }

    memcpy(copy, text, len);
    after = copy;

    rc = ngx_mesh_interim_find(copy, copy + len, &after);

    *found = after - copy;
    free(copy);

    return rc;
}


static void
check(const char *text, ngx_int_t expected, size_t len)
{
    size_t  found;

    UNIT_EQ(find(text, strlen(text), &found), expected);
    UNIT_EQ(found, len);
}


static void
find_takes_interim(void)
{
    check("HTTP/1.1 100 Continue\r\n\r\n", NGX_OK, 25);
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", NGX_OK, 25);
    check("HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\nx", NGX_OK, 34);
    check("HTTP/1.1 199\r\n\r\n", NGX_OK, 16);
    check("HTTP/1.0 100 \n\n", NGX_OK, 15);
    check("HTTP/1.1 102 P\nA: b\r\n\n", NGX_OK, 22);
}


static void
find_leaves_others(void)
{
    check("HTTP/1.1 200 OK\r\n\r\n", NGX_DECLINED, 0);
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", NGX_DECLINED, 0);
    check("HTTP/1.1 1000 No\r\n\r\n", NGX_DECLINED, 0);
    check("HTTP/1.1 100\rx\r\n\r\n", NGX_DECLINED, 0);
    check("HTTP/2.0 100 No\r\n\r\n", NGX_DECLINED, 0);
    check("HTTP/1.1  100", NGX_DECLINED, 0);
    check("http/1.1 100 No\r\n\r\n", NGX_DECLINED, 0);
    check("\r\n", NGX_DECLINED, 0);
    check("HTTP/1.1 2", NGX_DECLINED, 0);
}


static void
find_waits(void)
{
    size_t       n, found;
    const char  *text;

    text = "HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n";

    for (n = 0; n < strlen(text); n++) {
        UNIT_EQ(find(text, n, &found), NGX_AGAIN);
    }

    UNIT_EQ(find(text, n, &found), NGX_OK);
}


static void
check_copy(const char *text, const char *expected)
{
    size_t  len;
    u_char  in[512], *out;

    len = strlen(text);
    memcpy(in, text, len);

    out = malloc(NGX_MESH_INTERIM_ROOM(len));
    if (out == NULL) {
        abort();
    }

    UNIT_STRN((char *) out, ngx_mesh_interim_copy(out, in, in + len),
              expected);
    free(out);
}


static void
copy_forwards(void)
{
    check_copy("HTTP/1.1 100 Continue\r\n\r\n",
               "HTTP/1.1 100 Continue\r\n\r\n");
    check_copy("HTTP/1.0 103\nLink:</a>\nA:\n\n",
               "HTTP/1.1 103\r\nLink: </a>\r\nA:\r\n\r\n");
    check_copy("HTTP/1.1 103 H\rX: y\x01\r\n\r\n",
               "HTTP/1.1 103 HX: y\r\n\r\n");
    check_copy("HTTP/1.1 103 H\na:b\nc:d\ne:f\n\n",
               "HTTP/1.1 103 H\r\na: b\r\nc: d\r\ne: f\r\n\r\n");
}


static void
copy_takes_out(void)
{
    check_copy("HTTP/1.1 103 H\r\nA: 1\r\nConnection: X-Hop, close\r\n"
               "x-hop: 1\r\nB: 2\r\nno field\r\nUpgrade: x\r\n"
               "Transfer-Encoding: chunked\r\nContent-Length: 3\r\nC: 3\r\n"
               "connection: c\r\n\r\n",
               "HTTP/1.1 103 H\r\nA: 1\r\nB: 2\r\n\r\n");
}


UNIT_TESTS = {
    UNIT(find_takes_interim),
    UNIT(find_leaves_others),
    UNIT(find_waits),
    UNIT(copy_forwards),
    UNIT(copy_takes_out),
    UNIT_END
};
