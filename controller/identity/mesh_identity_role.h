
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_IDENTITY_ROLE_H_INCLUDED_
#define _MESH_IDENTITY_ROLE_H_INCLUDED_

/* `meshd identity`: argv[0] is the role's name; returns the exit status */

int mesh_identity_role(int argc, char **argv);


#endif /* _MESH_IDENTITY_ROLE_H_INCLUDED_ */
