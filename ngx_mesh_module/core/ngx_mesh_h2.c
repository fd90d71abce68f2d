
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * What is taken out: frames of streams that have ended, which may be on their
 * way when the next one begins (RFC 9113, 5.1); header blocks of interim
 * responses, which nginx takes for the final one; extensions.  Header blocks
 * can be told apart without decoding the others: nginx's client allows no
 * dynamic table.
 */

#include <string.h>

#include <ngx_mesh_h2.h>


#define NGX_MESH_H2_HEAD          9

/* nginx's client allows no longer ones, and is to see those (RFC 9113, 4.2) */

#define NGX_MESH_H2_FRAME_MAX     16384

/* bytes of a header block after which the class of its status is known */

#define NGX_MESH_H2_STATUS        16

#define NGX_MESH_H2_DATA          0x0
#define NGX_MESH_H2_HEADERS       0x1
#define NGX_MESH_H2_PRIORITY      0x2
#define NGX_MESH_H2_RST_STREAM    0x3
#define NGX_MESH_H2_SETTINGS      0x4
#define NGX_MESH_H2_PUSH_PROMISE  0x5
#define NGX_MESH_H2_PING          0x6
#define NGX_MESH_H2_GOAWAY        0x7
#define NGX_MESH_H2_WINDOW_UPDATE 0x8
#define NGX_MESH_H2_CONTINUATION  0x9

#define NGX_MESH_H2_ACK           0x01
#define NGX_MESH_H2_END_STREAM    0x01
#define NGX_MESH_H2_END_HEADERS   0x04
#define NGX_MESH_H2_PADDED        0x08
#define NGX_MESH_H2_WEIGHTED      0x20


typedef struct {
    size_t                length;
    unsigned char         type;
    unsigned char         flags;
    uint32_t              stream;
    const unsigned char  *payload;       /* its first bytes, if asked for */
} ngx_mesh_h2_frame_t;


static size_t ngx_mesh_h2_frame(const unsigned char *p, size_t len,
    ngx_mesh_h2_frame_t *frame);
static int ngx_mesh_h2_drop(ngx_mesh_h2_t *h2,
    const ngx_mesh_h2_frame_t *frame);
static int ngx_mesh_h2_drop_idle(ngx_mesh_h2_t *h2,
    const ngx_mesh_h2_frame_t *frame);
static int ngx_mesh_h2_interim(const ngx_mesh_h2_frame_t *frame);
static void ngx_mesh_h2_done(ngx_mesh_h2_t *h2);
static uint32_t ngx_mesh_h2_number(const unsigned char *p);


size_t
ngx_mesh_h2_scan(ngx_mesh_h2_t *h2, unsigned char *buf, size_t len)
{
    size_t                n;
    unsigned char        *p, *last, *out;
    ngx_mesh_h2_frame_t   frame;

    memcpy(buf, h2->held, h2->nheld);

    p = buf;
    last = buf + h2->nheld + len;
    out = buf;

    h2->nheld = 0;

    while (p < last) {

        if (h2->left == 0) {
            n = ngx_mesh_h2_frame(p, last - p, &frame);

            if (n == 0) {
                h2->nheld = last - p;
                memcpy(h2->held, p, h2->nheld);
                break;
            }

            h2->type = frame.type;
            h2->left = frame.length;
            h2->nbody = 0;
            h2->drop = h2->idle ? ngx_mesh_h2_drop_idle(h2, &frame)
                                : ngx_mesh_h2_drop(h2, &frame);

        } else {
            n = (size_t) (last - p) < h2->left ? (size_t) (last - p)
                                               : h2->left;
            h2->left -= n;

            if (h2->nbody < sizeof(h2->body)) {
                len = sizeof(h2->body) - h2->nbody;
                len = n < len ? n : len;

                memcpy(h2->body + h2->nbody, p, len);
                h2->nbody += len;
            }
        }

        if (!h2->drop) {
            memmove(out, p, n);
            out += n;
        }

        p += n;

        if (h2->left == 0) {
            ngx_mesh_h2_done(h2);
        }
    }

    return out - buf;
}


void
ngx_mesh_h2_end(ngx_mesh_h2_t *h2)
{
    h2->idle = 1;
}


void
ngx_mesh_h2_next(ngx_mesh_h2_t *h2)
{
    h2->idle = 0;
    h2->reset = 0;
    h2->stream += 2;
}


/* the head that begins at p; its length, or 0: more has to come */

static size_t
ngx_mesh_h2_frame(const unsigned char *p, size_t len,
    ngx_mesh_h2_frame_t *frame)
{
    size_t  need;

    if (len < NGX_MESH_H2_HEAD) {
        return 0;
    }

    frame->length = ((size_t) p[0] << 16) + ((size_t) p[1] << 8) + p[2];
    frame->type = p[3];
    frame->flags = p[4];
    frame->stream = ngx_mesh_h2_number(p + 5) & 0x7fffffff;
    frame->payload = p + NGX_MESH_H2_HEAD;

    if (frame->type == NGX_MESH_H2_HEADERS) {
        need = frame->length < NGX_MESH_H2_STATUS ? frame->length
                                                  : NGX_MESH_H2_STATUS;

        if (len < NGX_MESH_H2_HEAD + need) {
            return 0;
        }
    }

    return NGX_MESH_H2_HEAD;
}


static int
ngx_mesh_h2_drop(ngx_mesh_h2_t *h2, const ngx_mesh_h2_frame_t *frame)
{
    if (frame->length > NGX_MESH_H2_FRAME_MAX) {
        return 0;
    }

    switch (frame->type) {

    case NGX_MESH_H2_RST_STREAM:
    case NGX_MESH_H2_WINDOW_UPDATE:
        return frame->stream != 0 && frame->stream < h2->stream;

    case NGX_MESH_H2_HEADERS:

        if (frame->stream != h2->stream || !ngx_mesh_h2_interim(frame)) {
            return 0;
        }

        h2->interim = !(frame->flags & NGX_MESH_H2_END_HEADERS);

        return 1;

    case NGX_MESH_H2_CONTINUATION:

        if (!h2->interim) {
            return 0;
        }

        h2->interim = !(frame->flags & NGX_MESH_H2_END_HEADERS);

        return 1;

    case NGX_MESH_H2_DATA:
    case NGX_MESH_H2_SETTINGS:
    case NGX_MESH_H2_PUSH_PROMISE:
    case NGX_MESH_H2_PING:
    case NGX_MESH_H2_GOAWAY:
        return 0;

    default:                               /* PRIORITY, extensions */
        return 1;
    }
}


/* only what is about the connection itself is of use to the next stream */

static int
ngx_mesh_h2_drop_idle(ngx_mesh_h2_t *h2, const ngx_mesh_h2_frame_t *frame)
{
    if (frame->length > NGX_MESH_H2_FRAME_MAX) {
        h2->last = 1;
        return 1;
    }

    switch (frame->type) {

    case NGX_MESH_H2_SETTINGS:
        return frame->flags & NGX_MESH_H2_ACK;

    case NGX_MESH_H2_WINDOW_UPDATE:
        return frame->stream != 0;

    case NGX_MESH_H2_PING:

        if (frame->flags & NGX_MESH_H2_ACK) {
            h2->type = NGX_MESH_H2_PRIORITY;   /* not to be answered */
        }

        return 1;

    case NGX_MESH_H2_DATA:
    case NGX_MESH_H2_HEADERS:
    case NGX_MESH_H2_PUSH_PROMISE:
    case NGX_MESH_H2_CONTINUATION:
    case NGX_MESH_H2_GOAWAY:
        h2->last = 1;
        return 1;

    default:                               /* RST_STREAM, PRIORITY .. */
        return 1;
    }
}


/*
 * Is it a header block with :status 1xx?  That is its first field (RFC 9113,
 * 8.3): a literal value with one of the names 8 to 14 of the static table,
 * after updates of the table's size (RFC 7541, 6.2, 6.3 and appendix A).
 */

static int
ngx_mesh_h2_interim(const ngx_mesh_h2_frame_t *frame)
{
    unsigned char         name;
    const unsigned char  *p, *last;

    if (frame->flags & NGX_MESH_H2_END_STREAM) {
        return 0;
    }

    p = frame->payload;
    last = p + (frame->length < NGX_MESH_H2_STATUS ? frame->length
                                                   : NGX_MESH_H2_STATUS);

    p += (frame->flags & NGX_MESH_H2_PADDED) ? 1 : 0;
    p += (frame->flags & NGX_MESH_H2_WEIGHTED) ? 5 : 0;

    while (p < last && *p == 0x20) {
        p++;
    }

    if (last - p < 3) {
        return 0;
    }

    name = (*p & 0xc0) == 0x40 ? *p & 0x3f
                               : (*p & 0xe0) == 0x00 ? *p & 0x0f : 0;

    if (name < 8 || name > 14) {
        return 0;
    }

    /* "1" as it is, or 00001 in Huffman's code of appendix B */

    return (p[1] == 3 && p[2] == '1')
           || ((p[1] & 0x80) && (p[2] & 0xf8) == 0x08);
}


/* the whole frame was seen */

static void
ngx_mesh_h2_done(ngx_mesh_h2_t *h2)
{
    switch (h2->type) {

    case NGX_MESH_H2_RST_STREAM:

        if (!h2->drop && h2->nbody >= 4) {
            h2->reset = 1;
            h2->error = ngx_mesh_h2_number(h2->body);
        }

        break;

    case NGX_MESH_H2_GOAWAY:
        h2->last = 1;

        if (h2->nbody == 8
            && (ngx_mesh_h2_number(h2->body) & 0x7fffffff) < h2->stream)
        {
            h2->refused = 1;
        }

        break;

    case NGX_MESH_H2_PING:

        if (!h2->idle || h2->nbody != 8) {
            break;
        }

        if (h2->npings == NGX_MESH_H2_PINGS) {
            h2->last = 1;
            break;
        }

        memcpy(h2->pings[h2->npings++], h2->body, 8);
    }
}


static uint32_t
ngx_mesh_h2_number(const unsigned char *p)
{
    return ((uint32_t) p[0] << 24) + ((uint32_t) p[1] << 16)
           + ((uint32_t) p[2] << 8) + p[3];
}
