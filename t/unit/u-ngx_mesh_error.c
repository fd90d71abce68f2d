
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_error.c */

/* The table of the mesh's own answers. */

#include <ngx_mesh_error.h>

#include "unit.h"


static void
codes_have_a_status_and_a_sentence(void)
{
    const ngx_mesh_error_t  *e;

    e = ngx_mesh_error("no-endpoints");

    UNIT_STR(e->code, "no-endpoints");
    UNIT_EQ(e->status, 503);
    UNIT_HAS(e->sentence, "endpoint");

    UNIT_EQ(ngx_mesh_error("connect-failed")->status, 502);
    UNIT_EQ(ngx_mesh_error("peer-expired")->status, 403);
    UNIT_EQ(ngx_mesh_error("peer-untrusted")->status, 403);
}


static void
unknown_code_is_our_own_fault(void)
{
    UNIT_STR(ngx_mesh_error("no such code")->code, "internal");
    UNIT_EQ(ngx_mesh_error("no such code")->status, 500);
}


static void
statuses_have_a_code(void)
{
    UNIT_STR(ngx_mesh_error_status(413)->code, "too-large");
    UNIT_STR(ngx_mesh_error_status(504)->code, "upstream-timeout");
    UNIT_STR(ngx_mesh_error_status(599)->code, "internal");
    UNIT_STR(ngx_mesh_error_status(500)->code, "internal");
    UNIT_STR(ngx_mesh_error_status(502)->code, "upstream-failed");
    UNIT_STR(ngx_mesh_error_status(403)->code, "forbidden");
}


static void
resets_have_a_code(void)
{
    UNIT_STR(ngx_mesh_error_reset(0x7)->code, "upstream-refused");
    UNIT_EQ(ngx_mesh_error_reset(0x7)->grpc, NGX_MESH_GRPC_UNAVAILABLE);
    UNIT_STR(ngx_mesh_error_reset(0x8)->code, "upstream-cancelled");
    UNIT_EQ(ngx_mesh_error_reset(0x8)->grpc, NGX_MESH_GRPC_CANCELLED);
    UNIT_STR(ngx_mesh_error_reset(0x2)->code, "upstream-reset");
    UNIT_STR(ngx_mesh_error_reset(0xffffffff)->code, "upstream-reset");
}


static void
failures_are_of_the_server(void)
{
    UNIT_EQ(ngx_mesh_error_failure(200, -1), 0);
    UNIT_EQ(ngx_mesh_error_failure(404, -1), 0);
    UNIT_EQ(ngx_mesh_error_failure(499, -1), 1);
    UNIT_EQ(ngx_mesh_error_failure(503, -1), 1);
    UNIT_EQ(ngx_mesh_error_failure(0, -1), 1);
    UNIT_EQ(ngx_mesh_error_failure(200, NGX_MESH_GRPC_OK), 0);
    UNIT_EQ(ngx_mesh_error_failure(200, NGX_MESH_GRPC_CANCELLED), 0);
    UNIT_EQ(ngx_mesh_error_failure(200, NGX_MESH_GRPC_UNAVAILABLE), 1);
}


static void
codes_are_unique_and_numbered(void)
{
    ngx_uint_t               n;
    const ngx_mesh_error_t  *e;

    for (n = 0; /* void */; n++) {
        e = ngx_mesh_error_at(n);

        if (e == NULL) {
            break;
        }

        UNIT_EQ(ngx_mesh_error_number(e), n);
        UNIT_OK(ngx_mesh_error(e->code) == e);
        UNIT_OK(e->grpc > 0 && e->grpc <= NGX_MESH_GRPC_MAX);
        UNIT_OK(e->status >= 400 && e->status < 600);
    }

    UNIT_OK(n > 30 && n < 255);
    UNIT_OK(ngx_mesh_error_at((ngx_uint_t) -1) == NULL);
}


UNIT_TESTS = {
    UNIT(codes_have_a_status_and_a_sentence),
    UNIT(unknown_code_is_our_own_fault),
    UNIT(statuses_have_a_code),
    UNIT(resets_have_a_code),
    UNIT(failures_are_of_the_server),
    UNIT(codes_are_unique_and_numbered),
    UNIT_END
};
