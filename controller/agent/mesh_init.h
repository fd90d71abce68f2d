
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_INIT_H_INCLUDED_
#define _MESH_INIT_H_INCLUDED_

/*
 * The first process of a sidecar, PID 1 of its container: keeps the sockets,
 * starts mesh-agent run and nginx, starts each again when it dies.
 *
 * It speaks with run over a socket pair (SOCK_SEQPACKET), whose number run
 * finds in MESH_INIT_FD.  run sends MESH_INIT_START when nginx.conf stands;
 * init sends "nginx PID" whenever a master was started, "nginx 0" when it
 * is dead, and either to every new run.
 */

#include <mesh_core.h>


#define MESH_INIT_ENV        "MESH_INIT_FD"
#define MESH_INIT_START      "start"
#define MESH_INIT_NGINX      "nginx "
#define MESH_INIT_TEXT_MAX   64


/*
 * Runs until all is over; argv is main's, from the program's name on, its
 * options are run's too; returns the exit code.
 */
int mesh_init_main(int argc, char **argv);


/*
 * How long to wait before a child that lived for up_ms is started again:
 * nothing at first, then 100 ms doubling to 5 s; 10 s of life forget it.
 * *backoff_ms is the memory, 0 to begin with.
 */
int64_t mesh_init_backoff(int64_t *backoff_ms, int64_t up_ms);


#endif /* _MESH_INIT_H_INCLUDED_ */
