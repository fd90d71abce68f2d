
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The table of the mesh's own answers.  A code is never renamed: dashboards
 * and scripts read it.
 */

#include <ngx_mesh_error.h>


static const ngx_mesh_error_t  ngx_mesh_errors[] = {

    /* where to */

    { "not-intercepted", 502,
      "the connection did not come through the mesh's listeners" },
    { "unknown-destination", 503,
      "nobody in the cluster is known at this address" },
    { "no-endpoints", 503,
      "the service has no ready endpoint" },
    { "no-identity", 503,
      "the endpoint is meshed but its identity is not known" },
    { "no-certificate", 503,
      "this sidecar has no certificate" },

    /* on the way to the endpoint */

    { "connect-failed", 502,
      "no endpoint accepted the connection" },
    { "connect-timeout", 504,
      "no endpoint accepted the connection in time" },
    { "tls-refused", 502,
      "mutual TLS with the endpoint was refused" },
    { "upstream-closed", 502,
      "the endpoint closed the connection without an answer" },
    { "upstream-timeout", 504,
      "the endpoint did not answer in time" },
    { "upstream-invalid", 502,
      "the endpoint's answer could not be understood" },

    /* who calls */

    { "peer-missing", 403,
      "the caller did not prove an identity" },
    { "peer-expired", 403,
      "the caller's certificate has expired" },
    { "peer-untrusted", 403,
      "the caller's certificate is no longer trusted" },

    { "internal", 500,
      "the sidecar failed" },

    { NULL, 0, NULL }
};


/* what nginx answers by itself */

static const ngx_mesh_error_t  ngx_mesh_error_statuses[] = {
    { "bad-request", 400, "the request could not be understood" },
    { "forbidden", 403, "the sidecar's configuration forbids it" },
    { "not-found", 404, "the sidecar has no such resource" },
    { "bad-method", 405, "the method cannot pass the sidecar" },
    { "client-timeout", 408, "the client did not send its request in time" },
    { "length-required", 411, "the request needs a length" },
    { "too-large", 413, "the request's body is too large" },
    { "uri-too-long", 414, "the request line is too long" },
    { "header-too-large", 494, "the request's headers are too large" },
    { "tls-required", 496, "a client certificate is required" },
    { "tls-required", 497, "plain HTTP was sent to a TLS port" },
    { "bad-coding", 501, "the transfer coding or method is not supported" },
    { "upstream-failed", 502, "the endpoint failed" },
    { "unavailable", 503, "the sidecar cannot serve the request" },
    { "upstream-timeout", 504, "the endpoint did not answer in time" },
    { "bad-version", 505, "the HTTP version is not supported" },
    { "internal", 0, "the sidecar failed" }
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
    const ngx_mesh_error_t  *e;

    for (e = ngx_mesh_error_statuses; e->status; e++) {
        if (e->status == status) {
            break;
        }
    }

    return e;
}
