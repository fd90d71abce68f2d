
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_ACCEPT_H_INCLUDED_
#define _NGX_MESH_ACCEPT_H_INCLUDED_

/*
 * The life of an intercepted connection until it is handed off: shared by
 * ngx_mesh_accept.c and ngx_mesh_pass.c, and nobody else's business.
 */

#include <ngx_mesh_hold.h>
#include <ngx_mesh_listen.h>


/* an address that was redirected; ngx_sockaddr_t has room for a path */

typedef union {
    struct sockaddr           sockaddr;
    struct sockaddr_in        sockaddr_in;
    struct sockaddr_in6       sockaddr_in6;
} ngx_mesh_dst_t;


typedef struct {
    ngx_mesh_conn_t           conn;        /* first */
    ngx_mesh_port_t          *port;
    ngx_mesh_held_t           held;
    ngx_mesh_used_t           used;
    ngx_mesh_dst_t            dst;
    unsigned                  known:1;     /* the state knows the address */
    unsigned                  spoke:1;     /* bytes came, not enough */
    unsigned                  counted:1;   /* ngx_mesh_metrics_accepted() */
} ngx_mesh_accepted_t;


/* the handler of the listeners of mesh_listen */
void ngx_mesh_accept(ngx_connection_t *c);

/* closes c, which was not handed off */
void ngx_mesh_accept_close(ngx_connection_t *c);


#endif /* _NGX_MESH_ACCEPT_H_INCLUDED_ */
