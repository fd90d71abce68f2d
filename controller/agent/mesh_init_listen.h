
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_INIT_LISTEN_H_INCLUDED_
#define _MESH_INIT_LISTEN_H_INCLUDED_

/* The listening sockets that mesh-agent init opens once and keeps. */

#include <mesh_core.h>
#include <mesh_agent_conf.h>


#define MESH_INIT_SOCKETS  8


typedef struct {
    int  fd[MESH_INIT_SOCKETS];            /* all close-on-exec */
    int  n;
} mesh_init_sockets_t;


/* opens all of them; redis.sock only without --static */
int mesh_init_sockets(mesh_init_sockets_t *sockets,
    const mesh_agent_conf_t *conf, mesh_err_t *err);


#endif /* _MESH_INIT_LISTEN_H_INCLUDED_ */
