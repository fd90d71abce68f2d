
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * What belongs to one connection and what to the message: fields that
 * Connection names are taken out in both directions (RFC 9110, 7.6.1), an
 * upgrade and "TE: trailers" are asked for again on the next connection, and
 * the request line stays what it was, an absolute target and HTTP/1.0 too.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_field.h>


/*
 * The hashes of "connection" and "upgrade", as nginx leaves them in fields
 * that it parsed: one comparison for all the others.
 */

#define NGX_HTTP_MESH_HOP_CONNECTION                                          \
    ngx_hash(ngx_hash(ngx_hash(ngx_hash(ngx_hash(ngx_hash(ngx_hash(ngx_hash(  \
    ngx_hash('c', 'o'), 'n'), 'n'), 'e'), 'c'), 't'), 'i'), 'o'), 'n')

#define NGX_HTTP_MESH_HOP_UPGRADE                                             \
    ngx_hash(ngx_hash(ngx_hash(ngx_hash(ngx_hash(                             \
    ngx_hash('u', 'p'), 'g'), 'r'), 'a'), 'd'), 'e')

#define NGX_HTTP_MESH_HOP_SAID_CONNECTION  1
#define NGX_HTTP_MESH_HOP_SAID_UPGRADE     2


/* named by Connection or not: proxy_set_header or nginx writes them anew */

static const char  *ngx_http_mesh_hop_kept[] = {
    "close",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    NULL
};


static ngx_uint_t ngx_http_mesh_hop_says(ngx_list_t *list);
static ngx_int_t ngx_http_mesh_hop_connection(ngx_http_request_t *r,
    ngx_list_t *list, ngx_array_t *names);
static ngx_str_t *ngx_http_mesh_hop_push(ngx_http_request_t *r,
    ngx_array_t *names);
static ngx_int_t ngx_http_mesh_hop_upgrade(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);
static void ngx_http_mesh_hop_target(ngx_http_request_t *r);
static ngx_uint_t ngx_http_mesh_hop_is_kept(const ngx_str_t *name);
static ngx_uint_t ngx_http_mesh_hop_is_named(ngx_array_t *names,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_mesh_hop_remove(ngx_http_request_t *r,
    ngx_list_t *list, ngx_array_t *names);


ngx_int_t
ngx_http_mesh_hop_request(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    ngx_str_t    trailers;
    ngx_array_t  names;

    ngx_http_mesh_hop_target(r);

    if (r->headers_in.te) {
        ngx_str_set(&trailers, "trailers");
        ctx->te = ngx_mesh_field_named(&r->headers_in.te->value, &trailers);
    }

    if (!(ngx_http_mesh_hop_says(&r->headers_in.headers)
          & NGX_HTTP_MESH_HOP_SAID_CONNECTION))
    {
        return NGX_OK;
    }

    if (ngx_http_mesh_hop_connection(r, &r->headers_in.headers, &names)
        != NGX_OK
        || ngx_http_mesh_hop_upgrade(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return names.nelts ? ngx_http_mesh_hop_remove(r, &r->headers_in.headers,
                                                  &names)
                       : NGX_OK;
}


/*
 * An absolute target is for the next proxy, or would be understood by the
 * application as well: it passes with the Host that came with it.  nginx has
 * cut it down to its path.
 */

static void
ngx_http_mesh_hop_target(ngx_http_request_t *r)
{
    u_char  *p, *end;

    if (r->schema_start == NULL || r->http_version < NGX_HTTP_VERSION_10) {
        return;
    }

    p = r->request_line.data + r->method_name.len;
    end = r->http_protocol.data;

    while (p < end && *p == ' ') {
        p++;
    }

    while (end > p && end[-1] == ' ') {
        end--;
    }

    r->unparsed_uri.data = p;
    r->unparsed_uri.len = end - p;
    r->valid_unparsed_uri = 1;
}


/* most messages have neither: a Connection that says more than keep-alive */

static ngx_uint_t
ngx_http_mesh_hop_says(ngx_list_t *list)
{
    ngx_uint_t        said;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *end;

    said = 0;

    for (part = &list->part; part; part = part->next) {

        h = part->elts;
        end = h + part->nelts;

        for ( /* void */ ; h < end; h++) {

            if (h->hash == NGX_HTTP_MESH_HOP_CONNECTION) {

                if (h->value.len != 10
                    || ngx_memcmp(h->value.data, "keep-alive", 10) != 0)
                {
                    said |= NGX_HTTP_MESH_HOP_SAID_CONNECTION;
                }

            } else if (h->hash == NGX_HTTP_MESH_HOP_UPGRADE) {
                said |= NGX_HTTP_MESH_HOP_SAID_UPGRADE;
            }
        }
    }

    return said;
}


/* the names in all Connection fields that take something away; mostly none */

static ngx_int_t
ngx_http_mesh_hop_connection(ngx_http_request_t *r, ngx_list_t *list,
    ngx_array_t *names)
{
    ngx_str_t         value, element, *name;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_memzero(names, sizeof(ngx_array_t));

    for (part = &list->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (!ngx_mesh_field_is(&h[i].key, "connection")) {
                continue;
            }

            value = h[i].value;

            while (ngx_mesh_field_element(&value, &element) == NGX_OK) {

                if (ngx_http_mesh_hop_is_kept(&element)) {
                    continue;
                }

                name = ngx_http_mesh_hop_push(r, names);
                if (name == NULL) {
                    return NGX_ERROR;
                }

                *name = element;
            }
        }
    }

    return NGX_OK;
}


static ngx_str_t *
ngx_http_mesh_hop_push(ngx_http_request_t *r, ngx_array_t *names)
{
    if (names->elts == NULL
        && ngx_array_init(names, r->pool, 4, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NULL;
    }

    return ngx_array_push(names);
}


/*
 * Upgrade counts only if Connection says so and in HTTP/1.1 (RFC 9110, 7.8).
 * A proxy cannot pass h2c (RFC 9113, 3.1): such a request goes on as HTTP/1.1,
 * as any server may decide.
 */

static ngx_int_t
ngx_http_mesh_hop_upgrade(ngx_http_request_t *r, ngx_http_mesh_ctx_t *ctx)
{
    u_char           *p;
    ngx_str_t         value, element, upgrade;
    ngx_uint_t        i, named;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (r->headers_in.upgrade == NULL
        || r->http_version < NGX_HTTP_VERSION_11)
    {
        return NGX_OK;
    }

    named = 0;
    ngx_str_set(&upgrade, "upgrade");

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_mesh_field_is(&h[i].key, "connection")
                && ngx_mesh_field_named(&h[i].value, &upgrade))
            {
                named = 1;
            }
        }
    }

    if (!named) {
        return NGX_OK;
    }

    value = r->headers_in.upgrade->value;

    p = ngx_pnalloc(r->pool, 2 * value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->upgrade.data = p;

    while (ngx_mesh_field_element(&value, &element) == NGX_OK) {

        if (ngx_mesh_field_is(&element, "h2c")) {
            continue;
        }

        if (p != ctx->upgrade.data) {
            *p++ = ',';
            *p++ = ' ';
        }

        p = ngx_cpymem(p, element.data, element.len);
    }

    ctx->upgrade.len = p - ctx->upgrade.data;

    return NGX_OK;
}


/*
 * The version that the client speaks, in the request that the proxy module
 * has made: an application may answer HTTP/1.0 in another way, and HTTP/1.1
 * must have a Host.
 */

void
ngx_http_mesh_hop_version(ngx_http_request_t *r)
{
    u_char               *p;
    ngx_buf_t            *b;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (r->http_version != NGX_HTTP_VERSION_10 || u->request_bufs == NULL) {
        return;
    }

    b = u->request_bufs->buf;
    p = u->uri.data + u->uri.len;

    if (p > b->pos
        && p + sizeof(" HTTP/1.1") - 1 < b->last
        && ngx_strncmp(p, " HTTP/1.1", sizeof(" HTTP/1.1") - 1) == 0)
    {
        p[sizeof(" HTTP/1.") - 1] = '0';
    }
}


/* before 1.23.0 nginx takes the last one, and who comes next another */

ngx_uint_t
ngx_http_mesh_hop_ambiguous(ngx_http_request_t *r)
{
#if (nginx_version < 1023000)
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *length;

    length = r->upstream->headers_in.content_length;      /* the last one */

    if (length == NULL) {
        return 0;
    }

    for (part = &r->upstream->headers_in.headers.part;
         part;
         part = part->next)
    {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash == length->hash
                && &h[i] != length
                && ngx_mesh_field_is(&h[i].key, "content-length"))
            {
                return 1;
            }
        }
    }
#endif

    return 0;
}


/*
 * What Connection of a response names; Upgrade stays where it is meant for
 * the client (RFC 9110, 15.2.2 and 15.5.22).
 */

ngx_int_t
ngx_http_mesh_hop_response(ngx_http_request_t *r)
{
    ngx_uint_t         i, upgrade;
    ngx_array_t        names;
    ngx_list_part_t   *part;
    ngx_table_elt_t   *h;

    if (r->upstream->headers_in.connection == NULL
        || !ngx_http_mesh_hop_says(&r->upstream->headers_in.headers))
    {
        return NGX_OK;
    }

    if (ngx_http_mesh_hop_connection(r, &r->upstream->headers_in.headers,
                                     &names)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    upgrade = (r->headers_out.status != NGX_HTTP_SWITCHING_PROTOCOLS
               && r->headers_out.status != 426);

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if ((upgrade && ngx_mesh_field_is(&h[i].key, "upgrade"))
                || ngx_http_mesh_hop_is_named(&names, &h[i]))
            {
                h[i].hash = 0;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_mesh_hop_is_kept(const ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_mesh_hop_kept[i]; i++) {
        if (ngx_mesh_field_is(name, ngx_http_mesh_hop_kept[i])) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_mesh_hop_is_named(ngx_array_t *names, ngx_table_elt_t *h)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        if (name[i].len == h->key.len
            && ngx_strncasecmp(name[i].data, h->key.data, h->key.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * No field moves, since r->headers_in points to some of them: the parts of
 * the list are cut around those that go.  The last part counts as full, so
 * that a field which is added later finds room in a new one.
 */

static ngx_int_t
ngx_http_mesh_hop_remove(ngx_http_request_t *r, ngx_list_t *list,
    ngx_array_t *names)
{
    ngx_uint_t        i, n;
    ngx_list_part_t   first, *part, *cut, *last;
    ngx_table_elt_t  *h;

    last = NULL;
    first = list->part;

    for (part = &first; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i += n) {

            n = 1;

            if (ngx_http_mesh_hop_is_named(names, &h[i])) {
                continue;
            }

            while (i + n < part->nelts
                   && !ngx_http_mesh_hop_is_named(names, &h[i + n]))
            {
                n++;
            }

            cut = last ? ngx_palloc(r->pool, sizeof(ngx_list_part_t))
                       : &list->part;
            if (cut == NULL) {
                return NGX_ERROR;
            }

            cut->elts = &h[i];
            cut->nelts = n;
            cut->next = NULL;

            if (last) {
                last->next = cut;
            }

            last = cut;
        }
    }

    if (last) {
        list->last = last;
        list->nalloc = last->nelts;

    } else {
        list->part.nelts = 0;
        list->part.next = NULL;
        list->last = &list->part;
    }

    return NGX_OK;
}
