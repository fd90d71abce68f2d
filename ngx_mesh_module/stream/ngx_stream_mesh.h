
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_STREAM_MESH_H_INCLUDED_
#define _NGX_STREAM_MESH_H_INCLUDED_

/*
 * What the stream modules of the mesh share: one context for each session,
 * in the session's pool.
 */

#include <ngx_mesh.h>
#include <ngx_stream.h>


/* mesh_direction: OFF is every server that is not of the mesh */

#define NGX_STREAM_MESH_OFF       ((ngx_uint_t) 2)


typedef struct {
    ngx_mesh_flow_t           flow;      /* first: read by metrics */
    ngx_stream_session_t     *session;
    ngx_mesh_direction_e      direction;
    ngx_str_t                 endpoint;  /* "10.244.1.9:6379", last try */
    ngx_str_t                 server_id; /* expected identity; len 0: none */
} ngx_stream_mesh_ctx_t;


/*
 * The context of s, made on the first call.  NULL: the server has no
 * mesh_direction (and no endpoint=), or no memory.
 */
ngx_stream_mesh_ctx_t *ngx_stream_mesh_get_ctx(ngx_stream_session_t *s);

/* its flow, for counting; NULL as above */
ngx_mesh_flow_t *ngx_stream_mesh_get_flow(ngx_stream_session_t *s);


extern ngx_module_t  ngx_stream_mesh_module;


#endif /* _NGX_STREAM_MESH_H_INCLUDED_ */
