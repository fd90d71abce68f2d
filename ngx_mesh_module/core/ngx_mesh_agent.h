
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_AGENT_H_INCLUDED_
#define _NGX_MESH_AGENT_H_INCLUDED_

/*
 * Datagrams to mesh-agent (mesh_names.h: want, used, state, identity).  One
 * unconnected socket per worker; a datagram that does not go out is dropped
 * and counted, its sender repeats it.
 */

#include <ngx_config.h>
#include <ngx_core.h>


/* NGX_OK, NGX_DECLINED: no mesh_agent or nobody listens, NGX_ERROR */
ngx_int_t ngx_mesh_agent_send(const char *fmt, ...);


#endif /* _NGX_MESH_AGENT_H_INCLUDED_ */
