
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SCRIPTS_H_INCLUDED_
#define _MESH_SCRIPTS_H_INCLUDED_

/*
 * The Lua scripts that the writer runs in Redis, as a table.  Epochs and
 * generations are text there: numbers of Lua are doubles.
 */

#include <mesh_core.h>


#define MESH_SCRIPTS_SHA          40       /* hex digits */
#define MESH_SCRIPTS_DIGEST       40


typedef enum {
    MESH_SCRIPT_CLAIM = 0,
    MESH_SCRIPT_WRITE,
    MESH_SCRIPT_FORGET,
    MESH_SCRIPT_SIGNER,
    MESH_SCRIPT_AUDIT,
    MESH_SCRIPTS
} mesh_script_e;


/* the text, for SCRIPT LOAD */
const char *mesh_script_text(mesh_script_e script);

/* its name for EVALSHA */
const char *mesh_script_sha(mesh_script_e script);

/* SHA-1 in hex, as redis.sha1hex() has it; hex has 41 bytes */
void mesh_scripts_sha1(const char *data, size_t len, char *hex);


#endif /* _MESH_SCRIPTS_H_INCLUDED_ */
