
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/ */

/*
 * State as text: what is written is what is read, printed and compiled again
 * it gives the same bytes, and each mistake is told with its line.
 */

#include <mesh_core.h>
#include <mesh_state_build.h>
#include <mesh_state_text.h>
#include "unit.h"


static const char  whole[] =
    "generation 7;  complete on;  unknown_in_cluster pass;\n"
    "trust_domain cluster.local; # a comment; {\n"
    "networks 10.0.0.0/8 fd00::/8;\n"
    "self shop/web-1;\n"
    "mesh_workload shop/web-1 {\n"
    "    identity spiffe://cluster.local/ns/shop/sa/web; meshed on;\n"
    "    service_account web; owner deployment/web; node \"n 1\"; zone 'a';\n"
    "    address 10.244.0.5; address fd00:244::5;\n"
    "    port 9090; port 8080 http1;\n"
    "}\n"
    "mesh_workload shop/cart-1 {\n"
    "    identity spiffe://cluster.local/ns/shop/sa/cart; meshed on;\n"
    "}\n"
    "mesh_workload shop/plain-1 { address 10.244.0.9; }\n"
    "mesh_service shop/cart:80 {\n"
    "    address 10.96.14.7:80; address [fd00:96::7]:80; protocol http1;\n"
    "    endpoint 10.244.1.9:8080 workload=shop/cart-1 weight=3;\n"
    "    endpoint 10.244.0.9:8080 workload=shop/plain-1;\n"
    "    endpoint 10.1.1.1:99 identity=spiffe://cluster.local/ns/x/sa/y;\n"
    "    endpoint [fd00::1]:99;\n"
    "}\n"
    "mesh_service shop/empty:81 {}\n"
    "nobody 10.1.2.3:80 [fd00::2]:443;\n";


static char *
print(const void *state, size_t size, size_t *len)
{
    FILE               *out;
    char               *text;
    mesh_records_t     *r;
    mesh_state_view_t   view;

    if (!UNIT_OK(mesh_state_check(state, size, &view) == NULL)) {
        return NULL;
    }

    r = mesh_state_unbuild(&view);
    out = open_memstream(&text, len);
    UNIT_EQ(mesh_state_text_print(out, r), 0);
    (void) fclose(out);
    mesh_records_free(r);

    return text;
}


static void
text_and_bytes_are_the_same(void)
{
    char        *text, *again;
    void        *one, *two;
    size_t       len, size, size_two;
    mesh_err_t   err;

    one = mesh_state_text_compile("f", whole, sizeof(whole) - 1, &size, &err);
    UNIT_NEED(one != NULL);

    text = print(one, size, &len);
    UNIT_NEED(text != NULL);

    two = mesh_state_text_compile("g", text, len, &size_two, &err);
    UNIT_NEED(two != NULL);
    UNIT_EQ(size_two, size);
    UNIT_EQ(memcmp(one, two, size), 0);

    again = print(two, size_two, &len);
    UNIT_STR(again, text);

    UNIT_HAS(text, "generation 7;\ncomplete on;\nunknown_in_cluster pass;\n");
    UNIT_HAS(text, "    node \"n 1\";\n");
    UNIT_HAS(text, "    port 8080 http1;\n    port 9090 detect;\n");
    UNIT_HAS(text, "    endpoint 10.244.1.9:8080 workload=shop/cart-1 "
                   "weight=3;\n");
    UNIT_HAS(text, "    endpoint 10.1.1.1:99 identity=spiffe://cluster.local"
                   "/ns/x/sa/y weight=1;\n");
    UNIT_HAS(text, "nobody 10.1.2.3:80;\nnobody [fd00::2]:443;\n");

    free(one);
    free(two);
    free(text);
    free(again);
}


static void
it_means_what_it_says(void)
{
    void                         *state;
    size_t                        size;
    uint8_t                       ip[16];
    uint16_t                      port;
    mesh_err_t                    err;
    mesh_state_view_t             view;
    const mesh_state_addr_t      *a;
    const mesh_state_service_t   *s;
    const mesh_state_endpoint_t  *e;

    state = mesh_state_text_compile("f", whole, sizeof(whole) - 1, &size,
                                    &err);
    UNIT_NEED(state != NULL);
    UNIT_STR(mesh_state_check(state, size, &view), NULL);

    UNIT_EQ(view.head->generation, 7);
    UNIT_EQ(view.head->flags, MESH_STATE_COMPLETE|MESH_STATE_PASS_UNKNOWN);
    UNIT_STR(mesh_state_text(&view, &view.head->trust_domain),
             "cluster.local");

    mesh_address_parse("[fd00:96::7]:80", 15, ip, &port);
    a = mesh_state_find(&view, ip, port);
    UNIT_NEED(a && a->kind == MESH_ADDR_SERVICE);

    s = &view.services[a->index];
    UNIT_EQ(s->protocol, MESH_PROTO_HTTP1);
    UNIT_EQ(s->nendpoints, 4);

    e = &view.endpoints[s->endpoint];      /* by address: fd00 is the last */
    UNIT_EQ(e[0].port, 99);
    UNIT_EQ(e[0].flags, MESH_WL_MESHED);
    UNIT_EQ(e[0].workload, MESH_STATE_NONE);
    UNIT_EQ(e[1].flags, 0);
    UNIT_EQ(e[1].identity.len, 0);
    UNIT_EQ(e[2].flags, MESH_WL_MESHED);
    UNIT_EQ(e[2].weight, 3);
    UNIT_STR(mesh_state_text(&view, &e[2].identity),
             "spiffe://cluster.local/ns/shop/sa/cart");
    UNIT_EQ(e[3].flags, 0);

    mesh_address_parse("10.1.2.3:80", 11, ip, &port);
    a = mesh_state_find(&view, ip, port);
    UNIT_NEED(a && a->kind == MESH_ADDR_NOBODY);

    mesh_ip_parse("10.9.9.9", 8, ip);
    UNIT_OK(mesh_state_in_cluster(&view, ip));
    mesh_ip_parse("11.9.9.9", 8, ip);
    UNIT_OK(!mesh_state_in_cluster(&view, ip));
    UNIT_EQ(mesh_state_port_protocol(&view, view.head->self, 8080),
            MESH_PROTO_HTTP1);

    free(state);
}


static void
mistakes_have_a_line(void)
{
    void        *state;
    size_t       i, size;
    mesh_err_t   err;

    static const struct {
        const char  *text;
        const char  *error;
    } cases[] = {
        { "foo 1;", "f:1: unknown directive \"foo\", expected one of: "
          "generation complete" },
        { "\n\ngeneration x;", "f:3: \"generation x\", expected a number" },
        { "generation -1;", "expected a number" },
        { "generation 99999999999999999999;", "expected a number" },
        { "generation;", "\"generation\" has 0 values, expected 1" },
        { "generation 1 2;", "has 2 values, expected 1" },
        { "complete yes;", "\"complete yes\", expected \"on\" or \"off\"" },
        { "unknown_in_cluster maybe;", "expected \"refuse\" or \"pass\"" },
        { "trust_domain \"a b\";", "expected a trust domain" },
        { "networks 10.0.0.0/8 10.0.0.1/8;",
          "\"networks 10.0.0.1/8\", expected a network without host bits" },
        { "self web;", "\"self web\", expected <namespace>/<pod>" },
        { "self a/b;", "f:1: own workload \"a/b\" is unknown" },
        { "self a/;", "expected <namespace>/<pod>" },
        { "generation 1 {}", "ends with \"{\", expected \";\"" },
        { "mesh_workload a/b;", "ends with \";\", expected \"{\"" },
        { "mesh_workload a/b {", "f:1: block has no end, expected \"}\"" },
        { "}", "f:1: unexpected \"}\", expected a directive" },
        { "mesh_workload a/b {\n port 0;}", "f:2: \"port 0\", expected a port "
          "of 1 to 65535" },
        { "mesh_workload a/b { port 80 smtp; }",
          "\"port smtp\", expected one of: detect http1" },
        { "mesh_workload a/b { address 10.0.0.1:80; }",
          "expected an address without a port" },
        { "mesh_workload a/b { identity http://x; }", "expected a SPIFFE ID" },
        { "mesh_workload a/b { meshed on; }",
          "is meshed and has no identity" },
        { "mesh_workload a/b { owner web; }", "expected <kind>/<name>" },
        { "mesh_workload a/b { endpoint 10.0.0.1:80; }",
          "unknown directive \"endpoint\", expected one of: identity" },
        { "mesh_service a/b {}", "expected <namespace>/<name>:<port>" },
        { "mesh_service a/b:0 {}", "expected <namespace>/<name>:<port>" },
        { "mesh_service b:80 {}", "expected <namespace>/<name>:<port>" },
        { "mesh_service a/b:80 { address 10.0.0.1; }",
          "expected an address with a port" },
        { "mesh_service a/b:80 { protocol http; }", "expected one of" },
        { "mesh_service a/b:80 { endpoint 10.0.0.1; }",
          "expected an address with a port" },
        { "mesh_service a/b:80 { endpoint 10.0.0.1:80 weight=0; }",
          "\"endpoint weight=0\", expected weight=<1 to 1000000>" },
        { "mesh_service a/b:80 { endpoint 10.0.0.1:80 weight=1000001; }",
          "expected weight=" },
        { "mesh_service a/b:80 { endpoint 10.0.0.1:80 color=red; }",
          "expected workload=, identity= or weight=" },
        { "mesh_service a/b:80 { endpoint 10.0.0.1:80 identity=x; }",
          "expected identity=<SPIFFE ID>" },
        { "mesh_service a/b:80 {\nendpoint 10.0.0.1:80 workload=a/x;}",
          "f:2: endpoint of unknown workload \"a/x\"" },
        { "nobody 10.0.0.1:80;\nnobody 10.0.0.1:80;",
          "f:2: address \"10.0.0.1:80\" is there twice" }
    };

    for (i = 0; i < mesh_nelts(cases); i++) {

        err.text[0] = '\0';
        state = mesh_state_text_compile("f", cases[i].text,
                                        strlen(cases[i].text), &size, &err);
        UNIT_OK(state == NULL);

        UNIT_HAS(err.text, cases[i].error);
        UNIT_HAS(err.text, "f:");
        free(state);
    }
}


UNIT_TESTS = {
    UNIT(text_and_bytes_are_the_same),
    UNIT(it_means_what_it_says),
    UNIT(mistakes_have_a_line),
    UNIT_END
};
