
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_INTERIM_H_INCLUDED_
#define _NGX_MESH_INTERIM_H_INCLUDED_

/*
 * Interim responses of HTTP/1 (RFC 9110, section 15.2): 100, 102, 103 and
 * any other 1xx but 101, which is final for us.  Pure.
 */

#include <ngx_mesh_field.h>


/* a line may gain a space and a CR, the shortest has three bytes */

#define NGX_MESH_INTERIM_ROOM(len)  (2 * (len) + 4)


/*
 * What p .. end begins.  NGX_OK: a whole interim response, *after points
 * behind it; NGX_AGAIN: cannot be told yet; NGX_DECLINED: another response.
 */
ngx_int_t ngx_mesh_interim_find(u_char *p, u_char *end, u_char **after);

/*
 * Writes what of the interim response p .. end may be forwarded to buf, which
 * has room for NGX_MESH_INTERIM_ROOM(end - p) bytes, and returns its length:
 * as HTTP/1.1, lines ended in CRLF, without fields of the connection.
 */
size_t ngx_mesh_interim_copy(u_char *buf, u_char *p, u_char *end);


#endif /* _NGX_MESH_INTERIM_H_INCLUDED_ */
