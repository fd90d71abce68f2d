
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_POOL_H_INCLUDED_
#define _NGX_MESH_POOL_H_INCLUDED_

/*
 * Idle connections to endpoints, of one worker.  A connection is used again
 * only for exactly the key it was parked with: a pod's address may belong to
 * another identity a minute later.  Protocol neutral.
 */

#include <ngx_mesh.h>


#define NGX_MESH_POOL_MAX         256    /* of a worker */
#define NGX_MESH_POOL_KEY_MAX     64     /* with one key */
#define NGX_MESH_POOL_IDLE_MS     60000

/* how long its TLS buffer, 16 KB, waits for the next request */

#define NGX_MESH_POOL_BUFFER_MS   1000

/*
 * How long a plaintext connection may have been idle for a request that
 * cannot be sent twice: applications end connections right after an answer,
 * or after some seconds, without a word.  In HTTP/2 an end right after an
 * answer is announced.
 */

#define NGX_MESH_POOL_SETTLED_MS  2
#define NGX_MESH_POOL_RECENT_MS   1000


typedef struct {
    struct sockaddr          *sockaddr;
    socklen_t                 socklen;
    ngx_str_t                 identity;   /* len 0: plaintext */
    uint64_t                  generation; /* ngx_mesh_tls_generation() or 0 */
    ngx_uint_t                protocol;   /* MESH_PROTO_.. */

    /*
     * Not of the key: reads what comes on an idle connection; NGX_OK: it is
     * as good as before.  NULL: whatever comes is its end.
     */
    ngx_int_t               (*idle)(ngx_connection_t *c);
} ngx_mesh_pool_key_t;


/*
 * The connection used last that is still alive, ready for use, or NULL.
 * once: what it is for cannot be sent again if the connection turns out to
 * have been closed.
 */
ngx_connection_t *ngx_mesh_pool_take(const ngx_mesh_pool_key_t *key,
    ngx_uint_t once, ngx_log_t *log);

/*
 * Takes c over, with nothing unread or unsent in it; the oldest makes room.
 * key->identity must live as long as c->pool.  NGX_DECLINED: c is readable or
 * dead and stays the caller's.
 */
ngx_int_t ngx_mesh_pool_park(const ngx_mesh_pool_key_t *key,
    ngx_connection_t *c);

/* closes a connection that was taken */
void ngx_mesh_pool_close(ngx_connection_t *c);

/* closes those of an older generation than this one */
void ngx_mesh_pool_expire(uint64_t generation);


#endif /* _NGX_MESH_POOL_H_INCLUDED_ */
