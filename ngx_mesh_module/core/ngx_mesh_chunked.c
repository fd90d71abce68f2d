
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Takes what ngx_http_parse_chunked() takes, which sees the same bytes: if
 * the two disagreed, a piece of the body would be taken for a trailer.
 */

#include <ngx_mesh_chunked.h>


enum {
    NGX_MESH_CHUNKED_SIZE = 0,           /* before the first digit */
    NGX_MESH_CHUNKED_DIGITS,
    NGX_MESH_CHUNKED_EXTENSION,
    NGX_MESH_CHUNKED_SIZE_LF,
    NGX_MESH_CHUNKED_DATA,
    NGX_MESH_CHUNKED_DATA_END,
    NGX_MESH_CHUNKED_DATA_LF,
    NGX_MESH_CHUNKED_TRAILER,            /* at the start of a line */
    NGX_MESH_CHUNKED_TRAILER_LF,         /* of the empty one */
    NGX_MESH_CHUNKED_FIELD,
    NGX_MESH_CHUNKED_END
};


static ngx_int_t ngx_mesh_chunked_digit(ngx_mesh_chunked_t *chunked,
    u_char ch);
static ngx_int_t ngx_mesh_chunked_size(ngx_mesh_chunked_t *chunked,
    u_char ch);
static ngx_int_t ngx_mesh_chunked_line(ngx_mesh_chunked_t *chunked,
    u_char **p, u_char *end, u_char **from, u_char **to);


ngx_int_t
ngx_mesh_chunked_next(ngx_mesh_chunked_t *chunked, u_char **p, u_char *end,
    u_char **from, u_char **to)
{
    off_t      n;
    ngx_int_t  rc;

    while (*p < end) {

        switch (chunked->state) {

        case NGX_MESH_CHUNKED_DATA:
            n = ngx_min(chunked->size, end - *p);

            *p += n;
            chunked->size -= n;

            if (chunked->size == 0) {
                chunked->state = NGX_MESH_CHUNKED_DATA_END;
            }

            break;

        case NGX_MESH_CHUNKED_TRAILER:
        case NGX_MESH_CHUNKED_TRAILER_LF:
        case NGX_MESH_CHUNKED_FIELD:
            rc = ngx_mesh_chunked_line(chunked, p, end, from, to);

            if (rc != NGX_AGAIN) {
                return rc;
            }

            break;

        case NGX_MESH_CHUNKED_END:
            return NGX_DONE;

        default:
            if (ngx_mesh_chunked_size(chunked, *(*p)++) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return (chunked->state == NGX_MESH_CHUNKED_END) ? NGX_DONE : NGX_AGAIN;
}


/* the line before a chunk, and the end of the line after it */

static ngx_int_t
ngx_mesh_chunked_size(ngx_mesh_chunked_t *chunked, u_char ch)
{
    switch (chunked->state) {

    case NGX_MESH_CHUNKED_SIZE:
        chunked->size = 0;
        chunked->state = NGX_MESH_CHUNKED_DIGITS;

        return ngx_mesh_chunked_digit(chunked, ch);

    case NGX_MESH_CHUNKED_DIGITS:

        if (ngx_mesh_chunked_digit(chunked, ch) == NGX_OK) {
            return NGX_OK;
        }

        if (ch == ';' || ch == ' ' || ch == '\t') {
            chunked->state = NGX_MESH_CHUNKED_EXTENSION;
            return NGX_OK;
        }

        /* fall through */

    case NGX_MESH_CHUNKED_EXTENSION:

        if (ch == CR) {
            chunked->state = NGX_MESH_CHUNKED_SIZE_LF;
            return NGX_OK;
        }

        if (ch != LF) {
            return (chunked->state == NGX_MESH_CHUNKED_EXTENSION) ? NGX_OK
                                                                  : NGX_ERROR;
        }

        /* fall through */

    case NGX_MESH_CHUNKED_SIZE_LF:
        chunked->state = chunked->size ? NGX_MESH_CHUNKED_DATA
                                       : NGX_MESH_CHUNKED_TRAILER;
        break;

    case NGX_MESH_CHUNKED_DATA_END:

        if (ch == CR) {
            chunked->state = NGX_MESH_CHUNKED_DATA_LF;
            return NGX_OK;
        }

        /* fall through */

    default: /* NGX_MESH_CHUNKED_DATA_LF */
        chunked->state = NGX_MESH_CHUNKED_SIZE;
    }

    return (ch == LF) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_mesh_chunked_digit(ngx_mesh_chunked_t *chunked, u_char ch)
{
    u_char  c;

    c = (u_char) (ch | 0x20);

    if (ch >= '0' && ch <= '9') {
        ch = (u_char) (ch - '0');

    } else if (c >= 'a' && c <= 'f') {
        ch = (u_char) (c - 'a' + 10);

    } else {
        return NGX_ERROR;
    }

    if (chunked->size > NGX_MAX_OFF_T_VALUE / 16 - 1) {
        return NGX_ERROR;
    }

    chunked->size = chunked->size * 16 + ch;

    return NGX_OK;
}


/* as much of the trailer section's line as there is, or its end */

static ngx_int_t
ngx_mesh_chunked_line(ngx_mesh_chunked_t *chunked, u_char **p, u_char *end,
    u_char **from, u_char **to)
{
    u_char  *lf;

    if (chunked->state == NGX_MESH_CHUNKED_TRAILER && **p == CR) {
        chunked->state = NGX_MESH_CHUNKED_TRAILER_LF;
        (*p)++;

        return NGX_AGAIN;
    }

    if (chunked->state != NGX_MESH_CHUNKED_FIELD && **p == LF) {
        chunked->state = NGX_MESH_CHUNKED_END;
        (*p)++;

        return NGX_DONE;
    }

    if (chunked->state == NGX_MESH_CHUNKED_TRAILER_LF) {
        return NGX_ERROR;
    }

    lf = ngx_strlchr(*p, end, LF);

    chunked->state = lf ? NGX_MESH_CHUNKED_TRAILER : NGX_MESH_CHUNKED_FIELD;

    *from = *p;
    *to = lf ? lf + 1 : end;
    *p = *to;

    return NGX_OK;
}
