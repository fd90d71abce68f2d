
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_PASS_H_INCLUDED_
#define _NGX_MESH_PASS_H_INCLUDED_

/*
 * Detection and hand-off.  Called by ngx_mesh_accept.c once it is known that
 * the connection may go on; both take it over, and may have closed it when
 * they return.
 */

#include <ngx_mesh_accept.h>


/* a read handler: c->data is the ngx_mesh_accepted_t */
void ngx_mesh_pass_detect(ngx_event_t *rev);

/* hands the connection to a virtual listener at once */
void ngx_mesh_pass_hand_off(ngx_mesh_accepted_t *a, ngx_mesh_to_e to);


#endif /* _NGX_MESH_PASS_H_INCLUDED_ */
