
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The table of the mesh's own answers.  A code is never renamed: dashboards
 * and scripts read it.  The reference has the same table, and auto/check
 * compares them.
 */

#include <ngx_mesh_error.h>


static const ngx_mesh_error_t  ngx_mesh_errors[] = {

    /* where to */

    { "not-intercepted", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "the connection did not come through the mesh's listeners" },
    { "unknown-destination", 503, NGX_MESH_GRPC_UNAVAILABLE,
      "nobody in the cluster is known at this address" },
    { "no-endpoints", 503, NGX_MESH_GRPC_UNAVAILABLE,
      "the service has no ready endpoint" },
    { "no-identity", 503, NGX_MESH_GRPC_UNAVAILABLE,
      "the endpoint is meshed but its identity is not known" },
    { "no-certificate", 503, NGX_MESH_GRPC_UNAVAILABLE,
      "this sidecar has no certificate" },

    /* on the way to the endpoint */

    { "connect-failed", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "no endpoint accepted the connection" },
    { "connect-timeout", 504, NGX_MESH_GRPC_UNAVAILABLE,
      "no endpoint accepted the connection in time" },
    { "tls-refused", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "mutual TLS with the endpoint was refused" },
    { "upstream-closed", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "the endpoint closed the connection without an answer" },
    { "upstream-timeout", 504, NGX_MESH_GRPC_DEADLINE_EXCEEDED,
      "the endpoint did not answer in time" },
    { "upstream-invalid", 502, NGX_MESH_GRPC_INTERNAL,
      "the endpoint's answer could not be understood" },
    { "upstream-failed", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "the endpoint failed" },

    /* what an endpoint of HTTP/2 said instead of an answer */

    { "upstream-reset", 502, NGX_MESH_GRPC_INTERNAL,
      "the endpoint reset the request" },
    { "upstream-refused", 502, NGX_MESH_GRPC_UNAVAILABLE,
      "the endpoint refused the request without looking at it" },
    { "upstream-cancelled", 502, NGX_MESH_GRPC_CANCELLED,
      "the endpoint cancelled the request" },
    { "upstream-overloaded", 502, NGX_MESH_GRPC_RESOURCE_EXHAUSTED,
      "the endpoint is asked too much" },
    { "upstream-insecure", 502, NGX_MESH_GRPC_PERMISSION_DENIED,
      "the endpoint demands a more secure connection" },

    /* who calls */

    { "peer-missing", 403, NGX_MESH_GRPC_PERMISSION_DENIED,
      "the caller did not prove an identity" },
    { "peer-expired", 403, NGX_MESH_GRPC_PERMISSION_DENIED,
      "the caller's certificate has expired" },
    { "peer-untrusted", 403, NGX_MESH_GRPC_PERMISSION_DENIED,
      "the caller's certificate is no longer trusted" },

    /* what nginx answers by itself */

    { "bad-request", 400, NGX_MESH_GRPC_INTERNAL,
      "the request could not be understood" },
    { "forbidden", 403, NGX_MESH_GRPC_PERMISSION_DENIED,
      "the sidecar's configuration forbids it" },
    { "not-found", 404, NGX_MESH_GRPC_UNIMPLEMENTED,
      "the sidecar has no such resource" },
    { "bad-method", 405, NGX_MESH_GRPC_UNIMPLEMENTED,
      "the method cannot pass the sidecar" },
    { "client-timeout", 408, NGX_MESH_GRPC_DEADLINE_EXCEEDED,
      "the client did not send its request in time" },
    { "length-required", 411, NGX_MESH_GRPC_INTERNAL,
      "the request needs a length" },
    { "too-large", 413, NGX_MESH_GRPC_RESOURCE_EXHAUSTED,
      "the request's body is too large" },
    { "uri-too-long", 414, NGX_MESH_GRPC_RESOURCE_EXHAUSTED,
      "the request line is too long" },
    { "header-too-large", 494, NGX_MESH_GRPC_RESOURCE_EXHAUSTED,
      "the request's headers are too large" },
    { "certificate-required", 496, NGX_MESH_GRPC_PERMISSION_DENIED,
      "a client certificate is required" },
    { "tls-required", 497, NGX_MESH_GRPC_PERMISSION_DENIED,
      "plain HTTP was sent to a TLS port" },
    { "bad-coding", 501, NGX_MESH_GRPC_UNIMPLEMENTED,
      "the transfer coding or method is not supported" },
    { "unavailable", 503, NGX_MESH_GRPC_UNAVAILABLE,
      "the sidecar cannot serve the request" },
    { "bad-version", 505, NGX_MESH_GRPC_UNIMPLEMENTED,
      "the HTTP version is not supported" },

    { "internal", 500, NGX_MESH_GRPC_INTERNAL,
      "the sidecar failed" },

    { NULL, 0, 0, NULL }
};


/* statuses that are not unique above: what nginx means by them */

static const struct {
    ngx_uint_t   status;
    const char  *code;
} ngx_mesh_error_statuses[] = {
    { 403, "forbidden" },
    { 502, "upstream-failed" },
    { 503, "unavailable" },
    { 504, "upstream-timeout" },
    { 0, NULL }
};


/* by error code of HTTP/2; what is not here is a plain reset */

static const struct {
    ngx_uint_t   reset;
    const char  *code;
} ngx_mesh_error_resets[] = {
    { 0x7, "upstream-refused" },           /* REFUSED_STREAM */
    { 0x8, "upstream-cancelled" },         /* CANCEL */
    { 0xb, "upstream-overloaded" },        /* ENHANCE_YOUR_CALM */
    { 0xc, "upstream-insecure" },          /* INADEQUATE_SECURITY */
    { 0, NULL }
};


const ngx_mesh_error_t *
ngx_mesh_error(const char *code)
{
    const ngx_mesh_error_t  *e;

    for (e = ngx_mesh_errors; e->code; e++) {
        if (ngx_strcmp(e->code, code) == 0) {
            return e;
        }
    }

    return e - 1;
}


const ngx_mesh_error_t *
ngx_mesh_error_status(ngx_uint_t status)
{
    ngx_uint_t               i;
    const ngx_mesh_error_t  *e;

    for (i = 0; ngx_mesh_error_statuses[i].code; i++) {
        if (ngx_mesh_error_statuses[i].status == status) {
            return ngx_mesh_error(ngx_mesh_error_statuses[i].code);
        }
    }

    for (e = ngx_mesh_errors; e->code; e++) {
        if (e->status == status) {
            return e;
        }
    }

    return e - 1;
}


const ngx_mesh_error_t *
ngx_mesh_error_reset(ngx_uint_t code)
{
    ngx_uint_t  i;

    for (i = 0; ngx_mesh_error_resets[i].code; i++) {
        if (ngx_mesh_error_resets[i].reset == code) {
            return ngx_mesh_error(ngx_mesh_error_resets[i].code);
        }
    }

    return ngx_mesh_error("upstream-reset");
}


/*
 * 499 is nginx's for a client that did not wait: nobody was served.  Of gRPC
 * those count that tell of the server, not of the request (as in Linkerd).
 */

ngx_uint_t
ngx_mesh_error_failure(ngx_uint_t status, ngx_int_t grpc)
{
    static const uint32_t  failures = (1 << NGX_MESH_GRPC_UNKNOWN)
                                      |(1 << NGX_MESH_GRPC_DEADLINE_EXCEEDED)
                                      |(1 << NGX_MESH_GRPC_PERMISSION_DENIED)
                                      |(1 << NGX_MESH_GRPC_INTERNAL)
                                      |(1 << NGX_MESH_GRPC_UNAVAILABLE)
                                      |(1 << NGX_MESH_GRPC_DATA_LOSS);

    return status == 0 || status == 499 || status >= 500
           || (grpc >= 0 && (failures & ((uint32_t) 1 << grpc)));
}


ngx_uint_t
ngx_mesh_error_number(const ngx_mesh_error_t *e)
{
    return e - ngx_mesh_errors;
}


const ngx_mesh_error_t *
ngx_mesh_error_at(ngx_uint_t number)
{
    if (number >= sizeof(ngx_mesh_errors) / sizeof(ngx_mesh_errors[0]) - 1) {
        return NULL;
    }

    return &ngx_mesh_errors[number];
}
