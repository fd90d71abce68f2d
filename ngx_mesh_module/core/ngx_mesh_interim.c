
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * nginx takes a 1xx for the final response until 1.29, and 100 and 102 after
 * that, so they are found and taken out before it looks.
 */

#include <ngx_mesh_interim.h>


/* up to and with the last digit of the status */

#define NGX_MESH_INTERIM_LINE     (sizeof("HTTP/1.1 1xx") - 1)


static ngx_uint_t ngx_mesh_interim_named(u_char *p, u_char *end,
    const ngx_str_t *name);


ngx_int_t
ngx_mesh_interim_find(u_char *p, u_char *end, u_char **after)
{
    size_t  i, len;

    static const u_char  begin[] = "HTTP/1.? 1??";

    /* nearly all responses are final ones */

    if (end - p > 9 && p[9] != '1') {
        return NGX_DECLINED;
    }

    len = ngx_min((size_t) (end - p), NGX_MESH_INTERIM_LINE);

    for (i = 0; i < len; i++) {
        if (begin[i] == '?' ? (p[i] < '0' || p[i] > '9') : p[i] != begin[i]) {
            return NGX_DECLINED;
        }
    }

    if (len < NGX_MESH_INTERIM_LINE) {
        return NGX_AGAIN;
    }

    if (ngx_strncmp(p + 9, "101", 3) == 0) {
        return NGX_DECLINED;
    }

    p += NGX_MESH_INTERIM_LINE;

    if (p < end && *p == CR && ++p < end && *p != LF) {
        return NGX_DECLINED;
    }

    if (p < end && *p != ' ' && *p != LF) {
        return NGX_DECLINED;
    }

    /* to the empty line */

    for ( ;; ) {
        p = ngx_strlchr(p, end, LF);

        if (p == NULL || ++p == end) {
            return NGX_AGAIN;
        }

        if (*p == CR && ++p == end) {
            return NGX_AGAIN;
        }

        if (*p == LF) {
            *after = p + 1;
            return NGX_OK;
        }
    }
}


size_t
ngx_mesh_interim_copy(u_char *buf, u_char *p, u_char *end)
{
    u_char            *last, *fields;
    ngx_int_t          rc;
    ngx_mesh_field_t   field;

    last = ngx_cpymem(buf, "HTTP/1.1", 8);

    /* the rest of the status line, without what would end it early */

    for (p += 8; p < end && *p != LF; p++) {
        if (*p >= 0x20 && *p != 0x7f) {
            *last++ = *p;
        }
    }

    *last++ = CR;
    *last++ = LF;

    if (p < end) {
        p++;
    }

    fields = p;

    for ( ;; ) {
        rc = ngx_mesh_field_next(&p, end, &field);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc == NGX_DECLINED
            || ngx_mesh_field_hop(&field.name)
            || ngx_mesh_interim_named(fields, end, &field.name))
        {
            continue;
        }

        last = ngx_cpymem(last, field.name.data, field.name.len);
        *last++ = ':';

        if (field.value.len) {
            *last++ = ' ';
            last = ngx_cpymem(last, field.value.data, field.value.len);
        }

        *last++ = CR;
        *last++ = LF;
    }

    *last++ = CR;
    *last++ = LF;

    return last - buf;
}


/* does a Connection of these fields name it? */

static ngx_uint_t
ngx_mesh_interim_named(u_char *p, u_char *end, const ngx_str_t *name)
{
    ngx_int_t         rc;
    ngx_mesh_field_t  field;

    do {
        rc = ngx_mesh_field_next(&p, end, &field);

        if (rc == NGX_OK
            && ngx_mesh_field_is(&field.name, "connection")
            && ngx_mesh_field_named(&field.value, name))
        {
            return 1;
        }

    } while (rc != NGX_DONE);

    return 0;
}
