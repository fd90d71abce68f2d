
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_FIELD_H_INCLUDED_
#define _NGX_MESH_FIELD_H_INCLUDED_

/*
 * Field lines (RFC 9110, section 5) where nginx has no parser for them:
 * interim responses and trailer sections.  And which fields belong to one
 * connection and may not be forwarded (section 7.6.1).  Pure: no state, no
 * allocation; what is returned points into the caller's bytes.
 */

#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 value;     /* without space around it */
} ngx_mesh_field_t;


/*
 * The next field line of p .. end, which is moved past it.  Lines end in
 * CRLF or LF.  NGX_OK: *field is one; NGX_DECLINED: the line is no field and
 * may not be forwarded; NGX_DONE: the empty line, or nothing is left.
 */
ngx_int_t ngx_mesh_field_next(u_char **p, u_char *end,
    ngx_mesh_field_t *field);

/* 1 if both have the same len bytes, whatever the case of letters */
ngx_uint_t ngx_mesh_field_same(const u_char *a, const u_char *b, size_t len);

/*
 * 1 if the name is what, in lower or upper case; what is in lower case and
 * starts with a letter.  Every field of a message is asked this: most are
 * told apart by their first letter.
 */
static ngx_inline ngx_uint_t
ngx_mesh_field_is(const ngx_str_t *name, const char *what)
{
    return name->len
           && (name->data[0] | 0x20) == (u_char) what[0]
           && name->len == ngx_strlen(what)
           && ngx_mesh_field_same(name->data, (u_char *) what, name->len);
}


/*
 * 1 for a field that says how a message is framed or belongs to one
 * connection, whatever Connection names.
 */
ngx_uint_t ngx_mesh_field_hop(const ngx_str_t *name);

/* 1 if the comma separated list has name; upper and lower case are equal */
ngx_uint_t ngx_mesh_field_named(const ngx_str_t *list, const ngx_str_t *name);

/*
 * The next element of a comma separated list, without parameters and space;
 * NGX_DONE at its end.  list is moved past it.
 */
ngx_int_t ngx_mesh_field_element(ngx_str_t *list, ngx_str_t *element);


#endif /* _NGX_MESH_FIELD_H_INCLUDED_ */
