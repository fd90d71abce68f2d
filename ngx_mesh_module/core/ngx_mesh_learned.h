
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_LEARNED_H_INCLUDED_
#define _NGX_MESH_LEARNED_H_INCLUDED_

/*
 * What outbound traffic has told of ports that nobody declared: that their
 * server speaks first, or that they speak nothing we know.  A client that
 * says nothing is not waited for there, so that the time of mesh_detect is
 * paid once and not by each connection.  Inbound nothing is learned: the next
 * client may speak mesh TLS.  Only saves time: what is forgotten, or finds no
 * room, is learned again.
 *
 * Kept in the zone, by all workers and across reloads; without a zone each
 * worker has its own.
 */

#include <ngx_mesh.h>


#define NGX_MESH_LEARNED_PORTS    512    /* of addresses; in sets of 4 */
#define NGX_MESH_LEARNED_MIN      10     /* minutes since it last showed */


/* proofs that a port is raw, and how many are enough */

#define NGX_MESH_LEARNED_BYTES    1      /* one client said nothing we know */
#define NGX_MESH_LEARNED_FIRST    3      /* the server spoke first */
#define NGX_MESH_LEARNED_ENOUGH   3


/* 1: who says nothing to addr is not waited for */
ngx_uint_t ngx_mesh_learned(const ngx_mesh_addr_t *addr);

/* addr was raw again, by so much of a proof */
void ngx_mesh_learned_raw(const ngx_mesh_addr_t *addr, ngx_uint_t proof);

/* addr has spoken HTTP or TLS */
void ngx_mesh_learned_forget(const ngx_mesh_addr_t *addr);


/*
 * The mechanism below, for tests: words has NGX_MESH_LEARNED_PORTS zeroed
 * words, minute is any clock; get returns how much proof there is.
 */
ngx_uint_t ngx_mesh_learned_get(ngx_atomic_t *words,
    const ngx_mesh_addr_t *addr, ngx_uint_t minute);
void ngx_mesh_learned_add(ngx_atomic_t *words, const ngx_mesh_addr_t *addr,
    ngx_uint_t proof, ngx_uint_t minute);
void ngx_mesh_learned_drop(ngx_atomic_t *words, const ngx_mesh_addr_t *addr);


#endif /* _NGX_MESH_LEARNED_H_INCLUDED_ */
