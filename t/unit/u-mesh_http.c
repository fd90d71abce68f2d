
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_http.c controller/base/mesh_err.c */

/* Messages, whole, cut at every byte, and wrong. */

#include <mesh_http.h>

#include "unit.h"


static mesh_err_t        err;
static mesh_http_head_t  head;
static mesh_http_body_t  body;


/* a copy of exact size, so that the sanitizer sees every step outside */

static int
take(const char *text, int response)
{
    char    *copy;
    size_t   len;

    len = strlen(text);
    copy = malloc(len + 1);

    if (copy == NULL) {
        return MESH_ERROR;
    }

    memcpy(copy, text, len + 1);

    return response ? mesh_http_response_take(&head, copy, len, &err)
                    : mesh_http_request_take(&head, copy, len, &err);
}


static void
head_bytes_waits_for_the_empty_line(void)
{
    char        *copy;
    size_t       i, len, scanned;
    const char  *text = "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody";

    scanned = 0;

    for (i = 0; i <= strlen(text); i++) {
        copy = malloc(i ? i : 1);
        UNIT_NEED(copy != NULL);
        memcpy(copy, text, i);
        len = mesh_http_head_bytes(copy, i, &scanned);
        UNIT_EQ(len, i < 27 ? 0 : 27);
        free(copy);
    }

    scanned = 0;
    UNIT_EQ(mesh_http_head_bytes("a\n\nb", 4, &scanned), 3);
    scanned = 0;
    UNIT_EQ(mesh_http_head_bytes("a\r\r\n", 4, &scanned), 0);
}


static void
request_has_its_parts(void)
{
    size_t  n;

    UNIT_EQ(take("POST /v1/x?a=b&c HTTP/1.1\r\nHost: h\r\nX-A:  1 \t\r\n"
                 "x-a:2\r\nEmpty:\r\nConnection: Keep-Alive, CLOSE\r\n\r\n",
                 0),
            MESH_OK);
    UNIT_STR(head.method, "POST");
    UNIT_STR(head.path, "/v1/x");
    UNIT_STR(head.query, "a=b&c");
    UNIT_EQ(head.minor, 1);
    UNIT_STR(mesh_http_header(&head, "X-a", &n), "1");
    UNIT_EQ(n, 2);
    UNIT_STR(mesh_http_header(&head, "empty", NULL), "");
    UNIT_STR(mesh_http_header(&head, "none", NULL), NULL);
    UNIT_OK(mesh_http_header_has(&head, "connection", "close"));
    UNIT_OK(mesh_http_header_has(&head, "connection", "keep-alive"));
    UNIT_OK(!mesh_http_header_has(&head, "connection", "clos"));
    mesh_http_head_done(&head);

    UNIT_EQ(take("GET / HTTP/1.0\r\n\r\n", 0), MESH_OK);
    UNIT_EQ(head.minor, 0);
    UNIT_STR(head.query, NULL);
    mesh_http_head_done(&head);
}


static void
request_refuses_what_is_malformed(void)
{
    size_t  i;

    static const char  *rows[] = {
        "\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / \r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        " / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\x0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n",
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        if (!UNIT_EQ(take(rows[i], 0), MESH_ERROR)) {
            printf("# row %zu\n", i);
        }

        mesh_http_head_done(&head);
    }
}


static void
request_refuses_a_zero_byte(void)
{
    char   *copy;
    size_t  i, len;

    static const char  text[] = "GET / HTTP/1.1\r\nHost: xyz\r\n\r\n";

    len = sizeof(text) - 1;

    for (i = 0; i < len; i++) {
        copy = malloc(len + 1);
        UNIT_NEED(copy != NULL);
        memcpy(copy, text, len + 1);
        copy[i] = '\0';
        UNIT_EQ(mesh_http_request_take(&head, copy, len, &err), MESH_ERROR);
        mesh_http_head_done(&head);
    }
}


static void
request_limits_its_headers(void)
{
    char    text[2048];
    size_t  i, len;

    for (i = 0; i < 2; i++) {
        len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\n");

        while (len < 25 + 5 * (MESH_HTTP_HEADERS_MAX - 1 + i)) {
            len += snprintf(text + len, sizeof(text) - len, "A:b\r\n");
        }

        (void) snprintf(text + len, sizeof(text) - len, "\r\n");
        UNIT_EQ(take(text, 0), i ? MESH_ERROR : MESH_OK);
        mesh_http_head_done(&head);
    }
}


static void
response_has_its_status(void)
{
    size_t  i;

    static const char  *rows[] = {
        "HTTP/1.1\r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n",
        "HTTP/1.1 -20 x\r\n\r\n", "HTTP/1.1  20 x\r\n\r\n",
        "HTTP/1.1 099 x\r\n\r\n", "HTTP/3 200 OK\r\n\r\n",
        "HTTP/1.1 20x\r\n\r\n", "HTTP/1.1 200 OK\n\n"
    };

    UNIT_EQ(take("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n", 1), MESH_OK);
    UNIT_EQ(head.status, 404);
    mesh_http_head_done(&head);
    UNIT_EQ(take("HTTP/1.0 200\r\n\r\n", 1), MESH_OK);
    mesh_http_head_done(&head);

    for (i = 0; i < mesh_nelts(rows); i++) {
        if (!UNIT_EQ(take(rows[i], 1), MESH_ERROR)) {
            printf("# row %zu\n", i);
        }

        mesh_http_head_done(&head);
    }
}


/* MESH_OK, MESH_AGAIN or MESH_ERROR of text given in steps of so many bytes */

static int
read_body(const char *headers, const char *text, size_t step, size_t limit,
    size_t *rest)
{
    int      rc;
    char     request[512], *copy;
    size_t   n, used, len;

    (void) snprintf(request, sizeof(request),
                    "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);

    if (take(request, 0) != MESH_OK) {
        return MESH_DECLINED;
    }

    rc = mesh_http_body_init(&body, &head, limit, &err);
    len = strlen(text);

    if (rc == MESH_OK) {
        rc = MESH_AGAIN;
    }

    while (rc == MESH_AGAIN && len > 0) {
        n = mesh_min(step, len);
        copy = malloc(n);
        memcpy(copy, text, n);
        rc = mesh_http_body_read(&body, copy, n, &used, &err);
        free(copy);
        text += used;
        len -= used;
    }

    *rest = len;
    mesh_http_head_done(&head);

    return rc;
}


static void
body_comes_in_any_pieces(void)
{
    size_t  step, rest;

    for (step = 1; step < 40; step++) {
        UNIT_EQ(read_body("Content-Length: 5\r\n", "helloGET", step, 100,
                          &rest), MESH_OK);
        UNIT_STRN(body.data, body.len, "hello");
        UNIT_OK(rest >= 3);
        mesh_http_body_done(&body);

        UNIT_EQ(read_body("Transfer-Encoding: chunked\r\n",
                          "5\r\nhello\r\n00a;x=y\r\n, world...\r\n"
                          "0\r\nA: b\r\nC: d\r\n\r\nGET", step, 100, &rest),
                MESH_OK);
        UNIT_STRN(body.data, body.len, "hello, world...");
        UNIT_OK(rest >= 3);
        mesh_http_body_done(&body);
    }
}


static void
body_refuses_what_is_malformed(void)
{
    size_t  i, rest;

    static const char  *chunks[] = {
        "\r\n", "x\r\n", " 5\r\n", "5 \r\n", "5\n", "-1\r\n", "0x5\r\n",
        "5\r\nhelloX", "5\r\nhello\rX",
        "5;\x01\r\n", "0\r\n X: y\r\n", "0\r\nA: b\x02\r\n", "0\r\n\rX",
        "1\rx"
    };

    static const char  *heads[] = {
        "Content-Length: x\r\n", "Content-Length: -1\r\n",
        "Content-Length: +1\r\n", "Content-Length: 1,1\r\n",
        "Content-Length: \r\n", "Content-Length: 0x1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n"
    };

    for (i = 0; i < mesh_nelts(chunks); i++) {
        if (!UNIT_EQ(read_body("Transfer-Encoding: chunked\r\n", chunks[i],
                               100, 100, &rest), MESH_ERROR)
            || !UNIT_EQ(body.too_large, 0))
        {
            printf("# chunk row %zu\n", i);
        }

        mesh_http_body_done(&body);
    }

    for (i = 0; i < mesh_nelts(heads); i++) {
        if (!UNIT_EQ(read_body(heads[i], "x", 1, 100, &rest), MESH_ERROR)) {
            printf("# head row %zu\n", i);
        }

        mesh_http_body_done(&body);
    }
}


static void
body_has_a_limit(void)
{
    int     rc;
    char    text[32768];
    size_t  rest, len;

    UNIT_EQ(read_body("Content-Length: 10\r\n", "0123456789", 3, 10, &rest),
            MESH_OK);
    mesh_http_body_done(&body);
    UNIT_EQ(read_body("Content-Length: 11\r\n", "", 3, 10, &rest),
            MESH_ERROR);
    UNIT_EQ(body.too_large, 1);
    mesh_http_body_done(&body);

    UNIT_EQ(read_body("Transfer-Encoding: chunked\r\n", "b\r\n", 1, 10,
                      &rest), MESH_ERROR);
    UNIT_EQ(body.too_large, 1);
    mesh_http_body_done(&body);

    UNIT_EQ(read_body("Transfer-Encoding: chunked\r\n",
                      "6\r\n012345\r\n6\r\n012345\r\n", 1, 10, &rest),
            MESH_ERROR);
    UNIT_EQ(body.too_large, 1);
    mesh_http_body_done(&body);

    UNIT_EQ(read_body("Transfer-Encoding: chunked\r\n",
                      "ffffffffffffffffff\r\n", 1, SIZE_MAX / 2, &rest),
            MESH_ERROR);
    mesh_http_body_done(&body);

    /* trailers and extensions without end are no body either */

    len = snprintf(text, sizeof(text), "0\r\n");

    while (len < sizeof(text) - 8) {
        len += snprintf(text + len, sizeof(text) - len, "A: b\r\n");
    }

    rc = read_body("Transfer-Encoding: chunked\r\n", text, 100, 10, &rest);
    UNIT_EQ(rc, MESH_ERROR);
    mesh_http_body_done(&body);

    memset(text, ';', sizeof(text) - 1);
    text[0] = '1';
    text[sizeof(text) - 1] = '\0';
    rc = read_body("Transfer-Encoding: chunked\r\n", text, 100, 10, &rest);
    UNIT_EQ(rc, MESH_ERROR);
    mesh_http_body_done(&body);
}


static void
body_of_a_response_may_end_with_the_connection(void)
{
    size_t  used;

    UNIT_EQ(take("HTTP/1.1 200 OK\r\n\r\n", 1), MESH_OK);
    UNIT_EQ(mesh_http_body_init(&body, &head, 10, &err), MESH_OK);
    UNIT_EQ(body.framing, MESH_HTTP_BODY_CLOSE);
    UNIT_EQ(mesh_http_body_read(&body, "hello", 5, &used, &err), MESH_AGAIN);
    UNIT_EQ(mesh_http_body_read(&body, "world", 5, &used, &err), MESH_AGAIN);
    UNIT_STRN(body.data, body.len, "helloworld");
    UNIT_EQ(mesh_http_body_read(&body, "!", 1, &used, &err), MESH_ERROR);
    UNIT_EQ(body.too_large, 1);
    mesh_http_body_done(&body);
    mesh_http_head_done(&head);
}


static void
reason_knows_what_we_answer(void)
{
    UNIT_STR(mesh_http_reason(200), "OK");
    UNIT_STR(mesh_http_reason(413), "Content Too Large");
    UNIT_STR(mesh_http_reason(299), "Unknown");
}


UNIT_TESTS = {
    UNIT(head_bytes_waits_for_the_empty_line),
    UNIT(request_has_its_parts),
    UNIT(request_refuses_what_is_malformed),
    UNIT(request_refuses_a_zero_byte),
    UNIT(request_limits_its_headers),
    UNIT(response_has_its_status),
    UNIT(body_comes_in_any_pieces),
    UNIT(body_refuses_what_is_malformed),
    UNIT(body_has_a_limit),
    UNIT(body_of_a_response_may_end_with_the_connection),
    UNIT(reason_knows_what_we_answer),
    UNIT_END
};
