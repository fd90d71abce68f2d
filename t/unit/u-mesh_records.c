
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/mesh_records.c */

/* The arena, and addresses, networks, protocols and numbers as text. */

#include <mesh_core.h>
#include <mesh_records.h>
#include "unit.h"


static void
memory_is_zeroed_and_apart(void)
{
    char            *p, *last;
    size_t           i, j, size;
    mesh_records_t  *r;

    r = mesh_records_new();
    last = NULL;

    for (i = 0; i < 2000; i++) {
        size = (i * 37) % 9000 + 1;
        p = mesh_records_alloc(r, size);

        UNIT_EQ((uintptr_t) p % 8, 0);

        for (j = 0; j < size && p[j] == 0; j++) { /* void */ }

        UNIT_EQ(j, size);
        memset(p, 'x', size);

        if (last) {
            UNIT_EQ(*last, 'x');
        }

        last = p;
    }

    UNIT_STR(mesh_records_text(r, "abc", 2), "ab");
    mesh_records_free(r);
    mesh_records_free(NULL);
}


static void
addresses_are_read_and_printed(void)
{
    char      buf[MESH_ADDRESS_TEXT];
    size_t    i;
    uint8_t   ip[16];
    uint16_t  port;

    static const char  *good[] = {
        "10.0.0.1:80", "255.255.255.255:65535", "0.0.0.0:1", "[::1]:80",
        "[fd00:96::7]:6379", "[::]:1", "[2001:db8:1:2:3:4:5:6]:443"
    };

    static const char  *bad[] = {
        "", ":", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0",
        "10.0.0.1:65536", "10.0.0.1:80x", "10.0.0.1:+80", "10.0.0:80",
        "10.0.0.256:80", "fd00::1:80", "[fd00::1]", "[fd00::1]80",
        "[10.0.0.1]:80", "[::ffff:10.0.0.1]:80", "[fd00::1:80", "[]:80",
        "[fd00::1%lo]:80", " 10.0.0.1:80", "10.0.0.1 :80",
        "10.0.0.1:99999999999999999999"
    };

    for (i = 0; i < mesh_nelts(good); i++) {
        UNIT_EQ(mesh_address_parse(good[i], strlen(good[i]), ip, &port), 0);
        UNIT_STR(mesh_address_print(ip, port, buf), good[i]);
    }

    for (i = 0; i < mesh_nelts(bad); i++) {
        if (!UNIT_EQ(mesh_address_parse(bad[i], strlen(bad[i]), ip, &port),
                     -1))
        {
            printf("# %s\n", bad[i]);
        }
    }

    /* only len bytes count */

    UNIT_EQ(mesh_address_parse("10.0.0.1:8080", 11, ip, &port), 0);
    UNIT_EQ(port, 80);
    UNIT_EQ(mesh_ip_parse("10.0.0.1", 8, ip), 0);
    UNIT_OK(mesh_ip_is_v4(ip));
    UNIT_EQ(mesh_ip_parse("10.0.0.1\0" "1", 10, ip), -1);
    UNIT_EQ(mesh_ip_parse("::ffff:10.0.0.1", 15, ip), -1);
}


static void
networks_have_no_host_bits(void)
{
    char      buf[MESH_ADDRESS_TEXT];
    size_t    i;
    uint8_t   ip[16], bits;

    static const struct {
        const char  *text;
        const char  *printed;              /* NULL: refused */
    } cases[] = {
        { "10.0.0.0/8",      "10.0.0.0/8" },
        { "0.0.0.0/0",       "0.0.0.0/0" },
        { "10.1.2.3",        "10.1.2.3/32" },
        { "10.1.2.3/32",     "10.1.2.3/32" },
        { "100.64.0.0/10",   "100.64.0.0/10" },
        { "fd00::/8",        "fd00::/8" },
        { "::/0",            "::/0" },
        { "fd00::1",         "fd00::1/128" },
        { "10.0.0.1/8",      NULL },
        { "10.0.0.0/33",     NULL },
        { "10.0.0.0/",       NULL },
        { "10.0.0.0/-1",     NULL },
        { "fd00::1/64",      NULL },
        { "fd00::/129",      NULL },
        { "100.64.0.0/9",    NULL },
        { "",                NULL }
    };

    for (i = 0; i < mesh_nelts(cases); i++) {

        if (cases[i].printed == NULL) {
            UNIT_EQ(mesh_network_parse(cases[i].text, strlen(cases[i].text),
                                       ip, &bits), -1);
            continue;
        }

        UNIT_EQ(mesh_network_parse(cases[i].text, strlen(cases[i].text), ip,
                                   &bits), 0);
        UNIT_STR(mesh_network_print(ip, bits, buf), cases[i].printed);
    }
}


static void
numbers_end_at_their_limit(void)
{
    UNIT_EQ(mesh_number_parse("0", 1, 5), 0);
    UNIT_EQ(mesh_number_parse("5", 1, 5), 5);
    UNIT_EQ(mesh_number_parse("6", 1, 5), -1);
    UNIT_EQ(mesh_number_parse("9", 1, 5), -1);
    UNIT_EQ(mesh_number_parse("65535", 5, 65535), 65535);
    UNIT_EQ(mesh_number_parse("65536", 5, 65535), -1);
    UNIT_EQ(mesh_number_parse("9223372036854775807", 19, INT64_MAX),
            INT64_MAX);
    UNIT_EQ(mesh_number_parse("9223372036854775808", 19, INT64_MAX), -1);
    UNIT_EQ(mesh_number_parse("99999999999999999999", 20, INT64_MAX), -1);
    UNIT_EQ(mesh_number_parse("", 0, 5), -1);
    UNIT_EQ(mesh_number_parse("-1", 2, 5), -1);
    UNIT_EQ(mesh_number_parse("1 ", 2, 5), -1);
}


static void
protocols_have_words(void)
{
    int  i;

    for (i = 0; i <= MESH_PROTO_MAX; i++) {
        UNIT_EQ(mesh_protocol_parse(mesh_protocol_word(i),
                                    strlen(mesh_protocol_word(i))), i);
    }

    UNIT_OK(mesh_protocol_word(MESH_PROTO_MAX + 1) == NULL);
    UNIT_EQ(mesh_protocol_parse("http", 4), -1);
    UNIT_EQ(mesh_protocol_parse("", 0), -1);
}


UNIT_TESTS = {
    UNIT(memory_is_zeroed_and_apart),
    UNIT(addresses_are_read_and_printed),
    UNIT(networks_have_no_host_bits),
    UNIT(numbers_end_at_their_limit),
    UNIT(protocols_have_words),
    UNIT_END
};
