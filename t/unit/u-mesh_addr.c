
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_addr.c controller/base/mesh_err.c */

/* Addresses: text to socket address and back, and names. */

#include <mesh_addr.h>

#include <arpa/inet.h>
#include <sys/un.h>

#include "unit.h"


static void
parse_and_print_agree(void)
{
    char         buf[64];
    size_t       i;
    mesh_addr_t  addr;

    static const char  *rows[] = {
        "127.0.0.1:80", "0.0.0.0:0", "[::1]:65535", "[::]:8443",
        "[fd00:96::7]:80"
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(mesh_addr_parse(rows[i], &addr, NULL), MESH_OK);
        mesh_addr_text(&addr.sa, buf, sizeof(buf));
        UNIT_STR(buf, rows[i]);
    }

    addr.sa.sa_family = AF_UNIX;
    mesh_addr_text(&addr.sa, buf, sizeof(buf));
    UNIT_STR(buf, "unix:");
}


static void
parse_refuses_what_is_no_address(void)
{
    size_t       i;
    mesh_err_t   err;
    mesh_addr_t  addr;

    static const char  *rows[] = {
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
        "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1: 1", "::1:80", "[::1]",
        "[::1]80", "[::1]x:80", "[]:80", "[::1:80", "localhost:80",
        "[fe80::1%eth0]:80", "1.2.3.4.5:80",
        "[aaaa:bbbb:cccc:dddd:eeee:ffff:aaaa:bbbb:cccc:dddd:eeee:f]:1"
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(mesh_addr_parse(rows[i], &addr, &err), MESH_ERROR);
        UNIT_HAS(err.text, "is no address, expected");
    }
}


static void
split_leaves_names_alone(void)
{
    char      host[16];
    uint16_t  port;

    UNIT_EQ(mesh_addr_split("mesh.svc:8443", host, sizeof(host), &port, NULL),
            MESH_OK);
    UNIT_STR(host, "mesh.svc");
    UNIT_EQ(port, 8443);
    UNIT_EQ(mesh_addr_split("[::1]:9", host, sizeof(host), &port, NULL),
            MESH_OK);
    UNIT_STR(host, "::1");
    UNIT_EQ(mesh_addr_split("sixteen-bytes-xx:1", host, sizeof(host), &port,
                            NULL), MESH_ERROR);
    UNIT_EQ(mesh_addr_split("fifteen-bytes-x:1", host, sizeof(host), &port,
                            NULL), MESH_OK);
}


UNIT_TESTS = {
    UNIT(parse_and_print_agree),
    UNIT(parse_refuses_what_is_no_address),
    UNIT(split_leaves_names_alone),
    UNIT_END
};
