
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
}


UNIT_TESTS = {
    UNIT(codes_have_a_status_and_a_sentence),
    UNIT(unknown_code_is_our_own_fault),
    UNIT(statuses_have_a_code),
    UNIT_END
};
