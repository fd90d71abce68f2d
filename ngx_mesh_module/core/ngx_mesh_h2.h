
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_H2_H_INCLUDED_
#define _NGX_MESH_H2_H_INCLUDED_

/*
 * The frames that an endpoint sends on a connection which carries one stream
 * after the other (RFC 9113).  Pure: plain C, no nginx, no state but the
 * connection's.  Takes out what nginx's client would stumble over and what
 * concerns nobody any more, and remembers why a stream ended.
 */

#include <stddef.h>
#include <stdint.h>


/* bytes of a frame that are held back until it is known what it is */

#define NGX_MESH_H2_HOLD          32

/* pings on an idle connection between two looks at it */

#define NGX_MESH_H2_PINGS         4


typedef struct {
    uint32_t                  stream;    /* the current one: 1, 3 .. */
    unsigned                  idle:1;    /* it has ended, none has begun */

    /* told of the current stream, or of the connection */

    unsigned                  reset:1;   /* by RST_STREAM, with error */
    unsigned                  refused:1; /* by GOAWAY: was not looked at */
    unsigned                  last:1;    /* no other stream can follow */
    uint32_t                  error;

    unsigned char             pings[NGX_MESH_H2_PINGS][8];
    unsigned                  npings;    /* to be answered and zeroed */

    /* where it is */

    size_t                    left;      /* of the current frame */
    unsigned char             type;
    unsigned                  drop:1;
    unsigned                  interim:1; /* a dropped header block goes on */
    size_t                    nbody;
    unsigned char             body[8];
    size_t                    nheld;
    unsigned char             held[NGX_MESH_H2_HOLD];
} ngx_mesh_h2_t;


/*
 * len bytes came and stand at buf + h2->nheld: fewer than NGX_MESH_H2_HOLD
 * bytes are free before them.  Returns how many bytes are left, from buf on.
 * Those of an idle connection belong to the next stream.
 */
size_t ngx_mesh_h2_scan(ngx_mesh_h2_t *h2, unsigned char *buf, size_t len);

/* the current stream has ended well; another one begins */
void ngx_mesh_h2_end(ngx_mesh_h2_t *h2);
void ngx_mesh_h2_next(ngx_mesh_h2_t *h2);


#endif /* _NGX_MESH_H2_H_INCLUDED_ */
