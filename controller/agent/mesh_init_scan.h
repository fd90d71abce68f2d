
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_INIT_SCAN_H_INCLUDED_
#define _MESH_INIT_SCAN_H_INCLUDED_

/* Finding workers of nginx among all processes. */

#include <mesh_core.h>


/*
 * The number of workers that are children of parent, each of which got signo
 * (0: none).  exact: only those that accept, not those that shut down.
 */
int mesh_init_scan(pid_t parent, int exact, int signo);


#endif /* _MESH_INIT_SCAN_H_INCLUDED_ */
