
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_AGENT_ROLE_H_INCLUDED_
#define _MESH_AGENT_ROLE_H_INCLUDED_

/* mesh-agent run: all of a sidecar that is not traffic. */


/* returns the exit code */
int mesh_agent_role(int argc, char **argv);


#endif /* _MESH_AGENT_ROLE_H_INCLUDED_ */
