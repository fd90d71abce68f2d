
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_h2.c */

/* Frames of an endpoint, whole and in pieces: what is left of them. */

#include <string.h>

#include <ngx_mesh_h2.h>

#include "unit.h"


#define ROOM  4096

typedef struct {
    unsigned char  data[ROOM];
    size_t         len;
} bytes_t;


static void
add(bytes_t *b, unsigned type, unsigned flags, uint32_t stream,
    const char *payload, size_t len)
{
    unsigned char  *p;

    p = b->data + b->len;

    p[0] = (unsigned char) (len >> 16);
    p[1] = (unsigned char) (len >> 8);
    p[2] = (unsigned char) len;
    p[3] = (unsigned char) type;
    p[4] = (unsigned char) flags;
    p[5] = (unsigned char) (stream >> 24);
    p[6] = (unsigned char) (stream >> 16);
    p[7] = (unsigned char) (stream >> 8);
    p[8] = (unsigned char) stream;

    memcpy(p + 9, payload, len);

    b->len += 9 + len;
}

#define ADD(b, type, flags, stream, text)                                     \
    add(b, type, flags, stream, text, sizeof(text) - 1)


static void
start(ngx_mesh_h2_t *h2, uint32_t stream, int idle)
{
    memset(h2, 0, sizeof(ngx_mesh_h2_t));

    h2->stream = stream;
    h2->idle = idle;
}


/* feeds in to h2 in pieces of step bytes; what is left is added to out */

static void
feed(ngx_mesh_h2_t *h2, const bytes_t *in, size_t step, bytes_t *out)
{
    size_t         i, n, left;
    unsigned char  buf[ROOM];

    for (i = 0; i < in->len; i += n) {
        n = in->len - i < step ? in->len - i : step;

        memcpy(buf + h2->nheld, in->data + i, n);
        left = ngx_mesh_h2_scan(h2, buf, n);

        memcpy(out->data + out->len, buf, left);
        out->len += left;
    }
}


/* in becomes want, in whatever pieces it comes */

static void
becomes(const bytes_t *in, const bytes_t *want, uint32_t stream, int idle)
{
    size_t         step;
    bytes_t        out;
    ngx_mesh_h2_t  h2;

    for (step = 1; step <= in->len; step++) {
        start(&h2, stream, idle);
        out.len = 0;

        feed(&h2, in, step, &out);

        UNIT_EQ(out.len, want->len);
        UNIT_EQ(h2.nheld, 0);
        UNIT_EQ(h2.left, 0);

        if (out.len == want->len) {
            UNIT_OK(memcmp(out.data, want->data, out.len) == 0);
        }
    }
}


static void
a_response_passes(void)
{
    bytes_t  in;

    in.len = 0;

    ADD(&in, 4, 0, 0, "\0\3\0\0\0\144");
    ADD(&in, 4, 1, 0, "");
    ADD(&in, 8, 0, 0, "\0\1\0\0");
    ADD(&in, 1, 4, 5, "\x88\x0f\x0d\x02" "12");
    ADD(&in, 8, 0, 5, "\0\1\0\0");
    ADD(&in, 6, 0, 0, "pingping");
    ADD(&in, 0, 0, 5, "hello");
    ADD(&in, 0, 0, 5, "");
    ADD(&in, 1, 5, 5, "\x00\x0bgrpc-status\x01" "0");

    becomes(&in, &in, 5, 0);
}


static void
ended_streams_are_not_heard(void)
{
    bytes_t  in, want;

    in.len = 0;
    want.len = 0;

    ADD(&in, 3, 0, 3, "\0\0\0\0");
    ADD(&in, 8, 0, 1, "\0\0\1\0");
    ADD(&in, 1, 4, 5, "\x88");
    ADD(&in, 3, 0, 1, "\0\0\0\x8");
    ADD(&in, 2, 0, 3, "\0\0\0\0\1");
    ADD(&in, 0xa, 0, 7, "an alternative service");
    ADD(&in, 0, 1, 5, "end");

    ADD(&want, 1, 4, 5, "\x88");
    ADD(&want, 0, 1, 5, "end");

    becomes(&in, &want, 5, 0);
}


static void
interim_responses_are_taken_out(void)
{
    bytes_t  in, want;

    in.len = 0;
    want.len = 0;

    /* as they are, in Huffman's code, with table updates, padding, weight */

    ADD(&in, 1, 4, 1, "\x48\x03" "100");
    ADD(&in, 1, 4, 1, "\x20\x08\x82\x08\x19\x00\x04link\x01/");
    ADD(&in, 1, 4 | 8 | 0x20, 1, "\x02\0\0\0\0\x0f\x18\x03" "102\0\0");
    ADD(&in, 1, 0, 1, "\x0e\x03" "103\x00\x04link\x05");
    ADD(&in, 9, 0, 1, "</x>;");
    ADD(&in, 9, 4, 1, "");
    ADD(&in, 1, 0, 1, "\x20\x88\x00\x01" "a");
    ADD(&in, 9, 4, 1, "\x01" "b");
    ADD(&in, 1, 5, 1, "\x48\x03" "100");

    ADD(&want, 1, 0, 1, "\x20\x88\x00\x01" "a");
    ADD(&want, 9, 4, 1, "\x01" "b");
    ADD(&want, 1, 5, 1, "\x48\x03" "100");

    becomes(&in, &want, 1, 0);
}


static void
final_responses_are_not(void)
{
    size_t   i;
    bytes_t  in;

    static const struct {
        const char  *block;
        size_t       len;
    } cases[] = {
        { "\x88", 1 },
        { "\x48\x03" "200", 5 },
        { "\x48\x82\x10\x01", 4 },         /* 200 in Huffman's code */
        { "\x08\x03" "404", 5 },
        { "\x47\x03" "100", 5 },           /* :scheme */
        { "\x4f\x03" "100", 5 },           /* accept-charset */
        { "\x00\x01" "a\x03" "100", 7 },
        { "\x48", 1 },
        { "\x20\x20", 2 },
        { "", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        in.len = 0;
        add(&in, 1, 4, 1, cases[i].block, cases[i].len);
        becomes(&in, &in, 1, 0);
    }

    /* a length of padding that is not there */

    in.len = 0;
    ADD(&in, 1, 4 | 8 | 0x20, 1, "\xff");
    becomes(&in, &in, 1, 0);
}


static void
resets_are_remembered(void)
{
    bytes_t        in, out;
    ngx_mesh_h2_t  h2;

    in.len = 0;
    ADD(&in, 3, 0, 3, "\0\0\0\x7");
    becomes(&in, &in, 3, 0);

    start(&h2, 3, 0);
    out.len = 0;
    feed(&h2, &in, 2, &out);
    UNIT_EQ(h2.reset, 1);
    UNIT_EQ(h2.error, 7);
    UNIT_EQ(h2.refused, 0);

    start(&h2, 5, 0);
    feed(&h2, &in, 100, &out);
    UNIT_EQ(h2.reset, 0);

    in.len = 0;
    ADD(&in, 7, 0, 0, "\x80\0\0\3\0\0\0\0bye");
    becomes(&in, &in, 3, 0);

    start(&h2, 3, 0);
    out.len = 0;
    feed(&h2, &in, 5, &out);
    UNIT_EQ(h2.last, 1);
    UNIT_EQ(h2.refused, 0);

    start(&h2, 5, 0);
    out.len = 0;
    feed(&h2, &in, 5, &out);
    UNIT_EQ(h2.refused, 1);
}


static void
an_idle_connection_keeps_what_lasts(void)
{
    bytes_t        in, want, out;
    ngx_mesh_h2_t  h2;

    in.len = 0;
    want.len = 0;

    ADD(&in, 4, 1, 0, "");
    ADD(&in, 8, 0, 0, "\0\1\0\0");
    ADD(&in, 8, 0, 3, "\0\1\0\0");
    ADD(&in, 3, 0, 3, "\0\0\0\0");
    ADD(&in, 6, 0, 0, "12345678");
    ADD(&in, 6, 1, 0, "answered");
    ADD(&in, 4, 0, 0, "\0\4\0\1\0\0");
    ADD(&in, 0xc, 0, 0, "an origin");

    ADD(&want, 8, 0, 0, "\0\1\0\0");
    ADD(&want, 4, 0, 0, "\0\4\0\1\0\0");

    becomes(&in, &want, 3, 1);

    start(&h2, 3, 1);
    out.len = 0;
    feed(&h2, &in, 7, &out);
    UNIT_EQ(h2.npings, 1);
    UNIT_OK(memcmp(h2.pings[0], "12345678", 8) == 0);
    UNIT_EQ(h2.last, 0);
    UNIT_EQ(h2.reset, 0);

    ngx_mesh_h2_next(&h2);
    UNIT_EQ(h2.stream, 5);
    UNIT_EQ(h2.idle, 0);
}


static void
an_idle_connection_may_end(void)
{
    size_t         type;
    bytes_t        in, out;
    ngx_mesh_h2_t  h2;

    static const unsigned  types[] = { 0, 1, 5, 7, 9 };

    for (type = 0; type < sizeof(types) / sizeof(types[0]); type++) {
        in.len = 0;
        out.len = 0;

        ADD(&in, types[type], 0, 0, "\0\0\0\0\0\0\0\0");

        start(&h2, 3, 1);
        feed(&h2, &in, 100, &out);
        UNIT_EQ(h2.last, 1);
        UNIT_EQ(out.len, 0);
    }

    /* more pings than anybody would answer */

    in.len = 0;

    for (type = 0; type < NGX_MESH_H2_PINGS + 1; type++) {
        ADD(&in, 6, 0, 0, "12345678");
    }

    start(&h2, 3, 1);
    feed(&h2, &in, 100, &out);
    UNIT_EQ(h2.npings, NGX_MESH_H2_PINGS);
    UNIT_EQ(h2.last, 1);
}


static void
long_frames_are_not_waited_for(void)
{
    bytes_t        in, out;
    ngx_mesh_h2_t  h2;

    in.len = 0;
    out.len = 0;

    ADD(&in, 0, 0, 0, "");
    memcpy(in.data, "HTTP/1.1 400 Bad Request\r\n", 26);
    in.len = 26;

    start(&h2, 1, 0);
    feed(&h2, &in, 7, &out);
    UNIT_EQ(out.len, 26);

    start(&h2, 1, 1);
    out.len = 0;
    feed(&h2, &in, 7, &out);
    UNIT_EQ(h2.last, 1);
    UNIT_EQ(out.len, 0);
}


static void
a_piece_outlasts_the_stream(void)
{
    bytes_t        in, out;
    ngx_mesh_h2_t  h2;

    /* half a head came with the end of stream 1 */

    in.len = 0;
    out.len = 0;

    ADD(&in, 0, 1, 1, "");
    ADD(&in, 3, 0, 1, "\0\0\0\0");
    ADD(&in, 0, 1, 3, "x");

    start(&h2, 1, 0);

    in.len -= 10 + 9;
    feed(&h2, &in, 100, &out);
    UNIT_EQ(out.len, 9);
    UNIT_EQ(h2.nheld, 4);

    ngx_mesh_h2_end(&h2);
    ngx_mesh_h2_next(&h2);

    memmove(in.data, in.data + in.len, 10 + 9);
    in.len = 10 + 9;
    out.len = 0;
    feed(&h2, &in, 100, &out);
    UNIT_EQ(out.len, 10);
    UNIT_EQ(h2.reset, 0);
}


UNIT_TESTS = {
    UNIT(a_response_passes),
    UNIT(ended_streams_are_not_heard),
    UNIT(interim_responses_are_taken_out),
    UNIT(final_responses_are_not),
    UNIT(resets_are_remembered),
    UNIT(an_idle_connection_keeps_what_lasts),
    UNIT(an_idle_connection_may_end),
    UNIT(long_frames_are_not_waited_for),
    UNIT(a_piece_outlasts_the_stream),
    UNIT_END
};
