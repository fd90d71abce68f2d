
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_MESH_DETECT_H_INCLUDED_
#define _NGX_MESH_DETECT_H_INCLUDED_

/*
 * What a connection speaks, told by its first bytes.  Pure: plain C, no
 * nginx, no state; called again from the first byte whenever more came.
 */

#include <stddef.h>


/* a TLS record: nothing longer is ever waited for (RFC 8446, section 5.1) */

#define NGX_MESH_DETECT_MAX_BYTES  (5 + 16384)


typedef enum {
    NGX_MESH_DETECT_MORE = 0,            /* cannot be told yet */
    NGX_MESH_DETECT_RAW,
    NGX_MESH_DETECT_HTTP1,
    NGX_MESH_DETECT_HTTP2,               /* preface of RFC 9113, section 3.4 */
    NGX_MESH_DETECT_TLS
} ngx_mesh_detect_e;


/* inner protocol of mesh TLS, by ALPN */

typedef enum {
    NGX_MESH_INNER_NONE = 0,
    NGX_MESH_INNER_HTTP1,
    NGX_MESH_INNER_HTTP2,
    NGX_MESH_INNER_TCP
} ngx_mesh_inner_e;


typedef struct {
    const unsigned char  *sni;           /* into the data; NULL: none */
    size_t                sni_len;
    ngx_mesh_inner_e      inner;
    unsigned              mesh:1;        /* ALPN offers mesh/1 */
} ngx_mesh_hello_t;


/*
 * What len bytes at data begin.  Fills *hello on NGX_MESH_DETECT_TLS.  A
 * ClientHello of several records, a malformed one, or a first line that
 * nginx's own parser would refuse, is RAW.
 */
ngx_mesh_detect_e ngx_mesh_detect(const unsigned char *data, size_t len,
    ngx_mesh_hello_t *hello);

/* the same where only TLS counts: anything else is RAW at its first byte */
ngx_mesh_detect_e ngx_mesh_detect_tls(const unsigned char *data, size_t len,
    ngx_mesh_hello_t *hello);


#endif /* _NGX_MESH_DETECT_H_INCLUDED_ */
