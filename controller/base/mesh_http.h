
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_HTTP_H_INCLUDED_
#define _MESH_HTTP_H_INCLUDED_

/*
 * HTTP/1.1 messages (RFC 9112) without I/O: heads and framed bodies, for
 * mesh_httpd and mesh_http_call.  Strict: what a lenient reader would guess
 * about (bare LF, folded lines, two lengths) is refused.
 */

#include <mesh_core.h>


#define MESH_HTTP_HEADERS_MAX   64
#define MESH_HTTP_TRAILERS_MAX  4096      /* bytes of chunk lines, trailers */


typedef struct {
    const char          *name;
    const char          *value;
} mesh_http_header_t;


typedef struct {
    char                *text;            /* owned: free() */
    const char          *method;          /* of a request */
    const char          *path;
    const char          *query;           /* after "?", or NULL */
    int                  status;          /* of a response */
    int                  minor;           /* HTTP/1.minor */
    size_t               nheaders;
    mesh_http_header_t   headers[MESH_HTTP_HEADERS_MAX];
} mesh_http_head_t;


/*
 * The length of the head at data, its empty line included; 0: not complete.
 * *scanned (0 at first) spares a second look at the same bytes.
 */
size_t mesh_http_head_bytes(const char *data, size_t len, size_t *scanned);

/*
 * Takes text, len bytes as mesh_http_head_bytes() says, from malloc with one
 * byte more; head points into it.  Also when MESH_ERROR is returned,
 * mesh_http_head_done() frees.
 */
int mesh_http_request_take(mesh_http_head_t *head, char *text, size_t len,
    mesh_err_t *err);
int mesh_http_response_take(mesh_http_head_t *head, char *text, size_t len,
    mesh_err_t *err);
void mesh_http_head_done(mesh_http_head_t *head);

/* the first header of that name, or NULL; *count may be NULL */
const char *mesh_http_header(const mesh_http_head_t *head, const char *name,
    size_t *count);

/* 1: the list (comma separated, any case) of header "name" has the word */
int mesh_http_header_has(const mesh_http_head_t *head, const char *name,
    const char *word);


#define MESH_HTTP_BODY_NONE     0
#define MESH_HTTP_BODY_LENGTH   1
#define MESH_HTTP_BODY_CHUNKED  2
#define MESH_HTTP_BODY_CLOSE    3         /* a response that ends with EOF */

typedef struct {
    int                  framing;         /* MESH_HTTP_BODY_.. */
    int                  state;           /* of chunks */
    int                  too_large;       /* the reason of MESH_ERROR */
    uint64_t             left;            /* of the length, or of the chunk */
    size_t               control;         /* bytes of chunk lines, trailers */
    size_t               limit;
    char                *data;            /* owned; NUL terminated if any */
    size_t               len;
    size_t               size;
} mesh_http_body_t;

/* framing by the head; MESH_ERROR also if the length is over the limit */
int mesh_http_body_init(mesh_http_body_t *body, const mesh_http_head_t *head,
    size_t limit, mesh_err_t *err);

/*
 * Takes bytes of the wire, *used of them.  MESH_OK: the body is complete;
 * MESH_AGAIN: all were used and more are needed; MESH_ERROR.
 */
int mesh_http_body_read(mesh_http_body_t *body, const char *data, size_t len,
    size_t *used, mesh_err_t *err);
void mesh_http_body_done(mesh_http_body_t *body);

/* "Not Found" of 404 */
const char *mesh_http_reason(int status);


#endif /* _MESH_HTTP_H_INCLUDED_ */
