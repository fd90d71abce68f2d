
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_chunked.c */

/* Trailer sections of chunked bodies: whole, and in pieces of every size. */

#include <stdlib.h>

#include <ngx_mesh_chunked.h>

#include "unit.h"


static char    chunked_section[256];
static size_t  chunked_len;


/*
 * Reads text in pieces of step bytes, each in memory of its own size; the
 * trailer section is left in chunked_section, *rest bytes follow the body.
 */

static ngx_int_t
read_all(const char *text, size_t len, size_t step, size_t *rest)
{
    size_t               n, size;
    u_char              *copy, *p, *end, *from, *to;
    ngx_int_t            rc;
    ngx_mesh_chunked_t   chunked;

    memset(&chunked, 0, sizeof(ngx_mesh_chunked_t));
    chunked_len = 0;
    *rest = 0;
    rc = NGX_AGAIN;

    for (n = 0; n < len; n += size) {
        size = step < len - n ? step : len - n;

        copy = malloc(size);
        if (copy == NULL) {
            abort();
        }

        memcpy(copy, text + n, size);
        p = copy;
        end = copy + size;

        for ( ;; ) {
            rc = ngx_mesh_chunked_next(&chunked, &p, end, &from, &to);

            if (rc != NGX_OK) {
                break;
            }

            memcpy(chunked_section + chunked_len, from, to - from);
            chunked_len += to - from;
        }

        if (rc != NGX_AGAIN) {
            *rest = len - n - (p - copy);
            free(copy);

            return rc;
        }

        free(copy);
    }

    return rc;
}


static void
check(const char *text, ngx_int_t expected, const char *section, size_t rest)
{
    size_t  step, left;

    for (step = 1; step <= strlen(text); step++) {
        UNIT_EQ(read_all(text, strlen(text), step, &left), expected);

        if (expected == NGX_DONE) {
            UNIT_STRN(chunked_section, chunked_len, section);
            UNIT_EQ(left, rest);
        }
    }
}


static void
next_finds_sections(void)
{
    check("5\r\nhello\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", NGX_DONE,
          "A: 1\r\nB: 2\r\n", 0);
    check("5\r\nhello\r\n0\r\n\r\n", NGX_DONE, "", 0);
    check("0\r\n\r\n", NGX_DONE, "", 0);
    check("0\r\n\r\nHTTP/1.1", NGX_DONE, "", 8);
    check("1\nx\n0\nA: 1\n\n", NGX_DONE, "A: 1\n", 0);
    check("5;a=\"b\"\r\nhello\r\n00;x\r\nA: 1\r\n\r\n", NGX_DONE, "A: 1\r\n",
          0);
    check("a \t\r\n0123456789\r\n0 \r\n\r\n", NGX_DONE, "", 0);
    check("000A\r\n0\r\nB: xy\r\n\r\n0\r\nC: 3\r\n\r\n", NGX_DONE,
          "C: 3\r\n", 0);
    check("0\r\nA: \r x\r\n\r\n", NGX_DONE, "A: \r x\r\n", 0);
}


static void
next_waits(void)
{
    check("5\r\nhel", NGX_AGAIN, NULL, 0);
    check("5\r\nhello\r\n", NGX_AGAIN, NULL, 0);
    check("0\r\n", NGX_AGAIN, NULL, 0);
    check("0\r\nA: 1\r\n", NGX_AGAIN, NULL, 0);
    check("0\r\nA: 1\r\n\r", NGX_AGAIN, NULL, 0);
    check("7fffffffffffff0\r\nx", NGX_AGAIN, NULL, 0);
}


static void
next_refuses(void)
{
    check("\r\n", NGX_ERROR, NULL, 0);
    check("x\r\n", NGX_ERROR, NULL, 0);
    check("-1\r\n", NGX_ERROR, NULL, 0);
    check("5\rx", NGX_ERROR, NULL, 0);
    check("5\r\nhellox", NGX_ERROR, NULL, 0);
    check("5\r\nhello\rx", NGX_ERROR, NULL, 0);
    check("0\r\n\rx", NGX_ERROR, NULL, 0);
    check("8000000000000000\r\n", NGX_ERROR, NULL, 0);
    check("ffffffffffffffffff\r\n", NGX_ERROR, NULL, 0);
}


UNIT_TESTS = {
    UNIT(next_finds_sections),
    UNIT(next_waits),
    UNIT(next_refuses),
    UNIT_END
};
