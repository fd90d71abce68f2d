
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _NGX_HTTP_MESH_H_INCLUDED_
#define _NGX_HTTP_MESH_H_INCLUDED_

/*
 * What the http modules of the mesh share: one context for each main
 * request.  It hangs on the request's pool, not in r->ctx, so that internal
 * redirects and subrequests find the same one.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_target.h>
#include <ngx_http.h>


/* mesh_direction: OFF is every server that is not of the mesh */

#define NGX_HTTP_MESH_OFF         ((ngx_uint_t) 2)


typedef struct ngx_http_mesh_trailer_s  ngx_http_mesh_trailer_t;


typedef struct {
    ngx_mesh_flow_t           flow;      /* first: read by metrics */
    ngx_mesh_direction_e      direction;
    ngx_mesh_target_t         target;    /* after PREACCESS */

    ngx_str_t                 upgrade;   /* asked for, without h2c */
    ngx_buf_t                *interim;   /* the last one; sent if !buffered */
    ngx_http_event_handler_pt write_handler;  /* before interim responses */
    ngx_int_t               (*input_filter_init)(void *data);
    ngx_http_mesh_trailer_t  *trailer;   /* of a chunked response */

    unsigned                  located:1; /* target was looked up */
    unsigned                  te:1;      /* the client takes trailers */
    unsigned                  continued:1;  /* 100 came */
    unsigned                  sent:1;    /* bytes went to an endpoint */
    unsigned                  broken:1;  /* the endpoint broke off its body */
    unsigned                  aborted:1; /* the client did not wait for it */
    unsigned                  marked:1;  /* the answer has mesh-unreached */
} ngx_http_mesh_ctx_t;


extern ngx_module_t  ngx_http_mesh_module;


ngx_http_mesh_ctx_t *ngx_http_mesh_make_ctx(ngx_http_request_t *r);

/*
 * The context of r's main request, made on the first call.  NULL: r's server
 * has no mesh_direction, or no memory.
 */
static ngx_inline ngx_http_mesh_ctx_t *
ngx_http_mesh_get_ctx(ngx_http_request_t *r)
{
    ngx_http_mesh_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mesh_module);

    return ctx ? ctx : ngx_http_mesh_make_ctx(r);
}

/* its flow, for counting; NULL as above */
static ngx_inline ngx_mesh_flow_t *
ngx_http_mesh_get_flow(ngx_http_request_t *r)
{
    ngx_http_mesh_ctx_t  *ctx;

    ctx = ngx_http_mesh_get_ctx(r);

    return ctx ? &ctx->flow : NULL;
}

/* the connection that r came on, also if r is a stream of HTTP/2 */
ngx_connection_t *ngx_http_mesh_connection(ngx_http_request_t *r);

/*
 * The mesh answers r itself: keeps code (of ngx_mesh_error.c) for
 * $mesh_reason, the log phase and the header mesh-error, and logs it.
 * Returns the HTTP status of the code.
 */
ngx_int_t ngx_http_mesh_refuse(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx, const char *code);


/*
 * Is r gRPC: HTTP/2, and application/grpc or what is built on it?  gRPC-Web,
 * which has its status in the body, is not.
 */
ngx_uint_t ngx_http_mesh_grpc(ngx_http_request_t *r);

/*
 * The endpoint broke off its response, with code for a reason: if r is gRPC,
 * what came of it is followed by trailers that say so, not by a reset.
 */
void ngx_http_mesh_grpc_broken(ngx_http_request_t *r, const char *code);

/*
 * In the log phase: the gRPC status that the client got, or will conclude
 * from what it got; -1: r is not gRPC.
 */
ngx_int_t ngx_http_mesh_grpc_status(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);

/*
 * ngx_http_mesh_hop.c: request in PREACCESS, version when the proxy module
 * has made the request, response in the header filter; ambiguous, when the
 * header of the response is there, is 1 if it has several lengths.
 */
ngx_int_t ngx_http_mesh_hop_request(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);
void ngx_http_mesh_hop_version(ngx_http_request_t *r);
ngx_int_t ngx_http_mesh_hop_response(ngx_http_request_t *r);
ngx_uint_t ngx_http_mesh_hop_ambiguous(ngx_http_request_t *r);

/*
 * ngx_http_mesh_interim.c: response is called with r->upstream->buffer until
 * it returns NGX_DECLINED, when the final response begins there; NGX_AGAIN
 * and NGX_ERROR are for the caller of process_header.
 */
void ngx_http_mesh_interim_request(ngx_http_request_t *r);
ngx_int_t ngx_http_mesh_interim_response(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);

/* ngx_http_mesh_trailer.c: before u->conf is replaced */
void ngx_http_mesh_trailer_hook(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);

/* ngx_http_mesh_unreached.c: the application is down, its sidecar is not */
ngx_int_t ngx_http_mesh_unreached_mark(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);
void ngx_http_mesh_unreached_strip(ngx_http_request_t *r);
ngx_uint_t ngx_http_mesh_unreached(ngx_http_request_t *r,
    ngx_http_mesh_ctx_t *ctx);


#endif /* _NGX_HTTP_MESH_H_INCLUDED_ */
