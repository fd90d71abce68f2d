
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_HTTP_MESH_H2_H_INCLUDED_
#define _NGX_HTTP_MESH_H2_H_INCLUDED_

/*
 * Connections of grpc_pass: what their endpoint sends is looked over frame by
 * frame before nginx reads it (ngx_mesh_h2.h).  For
 * ngx_http_upstream_mesh_module.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * At the first bytes of a new connection, in b: from here on c->recv looks
 * over what comes, and b too.  NGX_OK, NGX_AGAIN: nothing is left of them,
 * NGX_ERROR.  Harmless when it was done before.
 */
ngx_int_t ngx_http_mesh_h2_attach(ngx_connection_t *c, ngx_buf_t *b);

/* c was taken from the pool: another stream begins */
void ngx_http_mesh_h2_next(ngx_connection_t *c);

/*
 * Between streams, whenever something has come and when c is parked or taken:
 * pings are answered, what the next stream has to know is kept.  NGX_OK, or
 * NGX_DECLINED: c is of no more use.
 */
ngx_int_t ngx_http_mesh_h2_idle(ngx_connection_t *c);

/*
 * Why the current stream failed, as a code of ngx_mesh_error: the endpoint
 * said so by RST_STREAM or GOAWAY.  NULL: it did not.
 */
const char *ngx_http_mesh_h2_reason(ngx_connection_t *c);


#endif /* _NGX_HTTP_MESH_H2_H_INCLUDED_ */
