
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_WATCH_ROLE_H_INCLUDED_
#define _MESH_WATCH_ROLE_H_INCLUDED_

/*
 * `meshd watch`: argv[0] is the name of the role.  Returns the exit status:
 * 0 told to stop or --help, 1 failed or superseded, 2 wrong options.
 */

int mesh_watch_role(int argc, char **argv);


#endif /* _MESH_WATCH_ROLE_H_INCLUDED_ */
