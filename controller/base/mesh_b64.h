
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_B64_H_INCLUDED_
#define _MESH_B64_H_INCLUDED_

/* Base64 as RFC 4648 section 4: one line, padded, nothing else inside. */

#include <mesh_core.h>


#define mesh_b64_encoded_bytes(len)  (((len) + 2) / 3 * 4 + 1)
#define mesh_b64_decoded_bytes(len)  ((len) / 4 * 3 + 1)


/* dst has mesh_b64_encoded_bytes(len); a NUL is added; returns the length */
size_t mesh_b64_encode(char *dst, const void *src, size_t len);

/*
 * dst has mesh_b64_decoded_bytes(len).  MESH_ERROR: a character that is not
 * of the alphabet, wrong padding, or bits that are no part of a byte set.
 */
int mesh_b64_decode(void *dst, size_t *dst_len, const char *src, size_t len);


#endif /* _MESH_B64_H_INCLUDED_ */
