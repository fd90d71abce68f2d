
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_CHUNKED_H_INCLUDED_
#define _NGX_MESH_CHUNKED_H_INCLUDED_

/*
 * Looks over a chunked body (RFC 9112, section 7.1) as it passes, for its
 * trailer section.  Pure; the body itself is nginx's business.
 */

#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {                         /* zero it before the first call */
    ngx_uint_t                state;
    off_t                     size;      /* left of the chunk */
} ngx_mesh_chunked_t;


/*
 * Goes on with p .. end, which is the body from where the last call ended.
 * NGX_OK: *from .. *to are the next bytes of the trailer section, call again
 * for what is left; NGX_AGAIN: all was seen; NGX_DONE: the body ended at *p;
 * NGX_ERROR: it is malformed.
 */
ngx_int_t ngx_mesh_chunked_next(ngx_mesh_chunked_t *chunked, u_char **p,
    u_char *end, u_char **from, u_char **to);


#endif /* _NGX_MESH_CHUNKED_H_INCLUDED_ */
