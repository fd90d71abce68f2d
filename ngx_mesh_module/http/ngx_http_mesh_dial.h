
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_HTTP_MESH_DIAL_H_INCLUDED_
#define _NGX_HTTP_MESH_DIAL_H_INCLUDED_

/*
 * A request that has to wait before it may connect (ngx_mesh_dial.h).  For
 * ngx_http_upstream_mesh_module, from peer.get to peer.free.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_mesh_dial.h>


/* a pooled connection for the waiting request, or NULL */

typedef ngx_connection_t *(*ngx_http_mesh_dial_take_pt)(
    ngx_http_request_t *r);


typedef struct {                         /* zero it before the first call */
    ngx_mesh_dial_t              dial;   /* first */
    ngx_http_request_t          *request;
    ngx_http_mesh_dial_take_pt   take;
    ngx_event_t                  event;
    unsigned                     armed:1; /* the timer is ours */
} ngx_http_mesh_dial_t;


/*
 * From peer.get, with pc->sockaddr set and no pooled connection found.
 * NGX_OK: connect; NGX_AGAIN: pc->connection will be connected, or be
 * replaced by what take() gives; NGX_ERROR.  peer.get returns the same.
 */
ngx_int_t ngx_http_mesh_dial_begin(ngx_http_mesh_dial_t *d,
    ngx_http_request_t *r, ngx_peer_connection_t *pc,
    ngx_http_mesh_dial_take_pt take);

/* the handshake is done, or the try is over, as may be known already */
void ngx_http_mesh_dial_end(ngx_http_mesh_dial_t *d);


#endif /* _NGX_HTTP_MESH_DIAL_H_INCLUDED_ */
