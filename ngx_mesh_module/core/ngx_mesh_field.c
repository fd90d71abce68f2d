
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Stricter than nginx's parser, on purpose: what goes through here was never
 * looked at by it, and a line that one side takes for a field and the other
 * does not is how requests are smuggled.
 */

#include <ngx_mesh_field.h>


static ngx_uint_t ngx_mesh_field_token(const u_char *p, const u_char *end);
static ngx_uint_t ngx_mesh_field_text(const u_char *p, const u_char *end);
static void ngx_mesh_field_trim(u_char **p, u_char **end);


static const char  *ngx_mesh_field_hops[] = {
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    NULL
};


ngx_int_t
ngx_mesh_field_next(u_char **p, u_char *end, ngx_mesh_field_t *field)
{
    u_char  *line, *last, *colon;

    line = *p;

    last = ngx_strlchr(line, end, LF);

    if (last == NULL) {
        last = end;
        *p = end;

    } else {
        *p = last + 1;
    }

    if (last > line && last[-1] == CR) {
        last--;
    }

    if (last == line) {
        return NGX_DONE;
    }

    colon = ngx_strlchr(line, last, ':');

    if (colon == NULL || !ngx_mesh_field_token(line, colon)) {
        return NGX_DECLINED;
    }

    field->name.data = line;
    field->name.len = colon - line;

    line = colon + 1;
    ngx_mesh_field_trim(&line, &last);

    if (!ngx_mesh_field_text(line, last)) {
        return NGX_DECLINED;
    }

    field->value.data = line;
    field->value.len = last - line;

    return NGX_OK;
}


static ngx_uint_t
ngx_mesh_field_token(const u_char *p, const u_char *end)
{
    if (p == end) {
        return 0;
    }

    for ( /* void */ ; p < end; p++) {
        if ((*p >= 'a' && *p <= 'z')
            || (*p >= 'A' && *p <= 'Z')
            || (*p >= '0' && *p <= '9')
            || (*p && ngx_strchr("!#$%&'*+-.^_`|~", *p)))
        {
            continue;
        }

        return 0;
    }

    return 1;
}


static ngx_uint_t
ngx_mesh_field_text(const u_char *p, const u_char *end)
{
    for ( /* void */ ; p < end; p++) {
        if ((*p < 0x20 && *p != '\t') || *p == 0x7f) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_mesh_field_hop(const ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; ngx_mesh_field_hops[i]; i++) {
        if (ngx_mesh_field_is(name, ngx_mesh_field_hops[i])) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_mesh_field_named(const ngx_str_t *list, const ngx_str_t *name)
{
    ngx_str_t  rest, element;

    rest = *list;

    while (ngx_mesh_field_element(&rest, &element) == NGX_OK) {
        if (element.len == name->len
            && ngx_mesh_field_same(element.data, name->data, name->len))
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_mesh_field_element(ngx_str_t *list, ngx_str_t *element)
{
    u_char  *p, *last, *end;

    while (list->len) {
        p = list->data;
        last = p + list->len;
        end = NULL;                        /* where parameters begin */

        for (list->data = p; list->data < last; list->data++) {

            if (*list->data == ',') {
                break;
            }

            if (*list->data == ';' && end == NULL) {
                end = list->data;
            }
        }

        if (end == NULL) {
            end = list->data;
        }

        if (list->data < last) {
            list->data++;
        }

        list->len = last - list->data;

        ngx_mesh_field_trim(&p, &end);

        if (p < end) {
            element->data = p;
            element->len = end - p;

            return NGX_OK;
        }
    }

    return NGX_DONE;
}


ngx_uint_t
ngx_mesh_field_same(const u_char *a, const u_char *b, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (a[i] != b[i] && ngx_tolower(a[i]) != ngx_tolower(b[i])) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_mesh_field_trim(u_char **p, u_char **end)
{
    while (*p < *end && (**p == ' ' || **p == '\t')) {
        (*p)++;
    }

    while (*end > *p && ((*end)[-1] == ' ' || (*end)[-1] == '\t')) {
        (*end)--;
    }
}
