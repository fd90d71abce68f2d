
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_LEAF_H_INCLUDED_
#define _MESH_LEAF_H_INCLUDED_

/*
 * The writer's own certificate: asked for at the start, renewed with a new
 * key at 70 % of its life, asked for again with back-off until it is there.
 */

#include <mesh_core.h>

#include <event2/event.h>


typedef struct mesh_leaf_s  mesh_leaf_t;


typedef struct {
    struct event_base  *base;
    const char         *server;          /* HOST:PORT of meshd identity */
    const char         *server_id;       /* its SPIFFE ID */
    const char         *id;              /* ours */
    const char         *token_file;      /* read at each attempt */
    const char         *trust_file;      /* the bundle to begin with */

    /* a new leaf, PEM; the strings die after the call */
    void              (*renewed)(void *data, const char *key,
                            const char *chain, const char *trust);
    void               *data;
} mesh_leaf_conf_t;


/* strings of conf must outlive it; the first attempt is made by the loop */
mesh_leaf_t *mesh_leaf_new(const mesh_leaf_conf_t *conf);
void mesh_leaf_free(mesh_leaf_t *leaf);


#endif /* _MESH_LEAF_H_INCLUDED_ */
