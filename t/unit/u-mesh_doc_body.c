
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/;
 *       -ljansson -lssl -lcrypto */

/* Bodies: printed and parsed to the same, and each wrong one says where. */

#include <mesh_core.h>
#include <mesh_doc.h>

#include "unit.h"


/* parses and prints: NULL or the body; the error is in *err */

static char *
again(const char *key, const char *body, mesh_err_t *err)
{
    char        *text;
    mesh_doc_t   doc;

    memset(err, 0, sizeof(mesh_err_t));

    if (mesh_doc_parse(key, body, strlen(body), &doc, err) != 0) {
        return NULL;
    }

    text = mesh_doc_print(&doc);
    mesh_doc_free(&doc);

    return text;
}


static void
bodies_are_the_contracts(void)
{
    char        *text;
    size_t       i;
    mesh_err_t   err;

    static const struct {
        const char  *key;
        const char  *body;
    } rows[] = {
        { "mesh:vip:10.96.14.7:80", "{\"service\":\"shop/cart\","
          "\"port\":80}" },
        { "mesh:vip:fd00:96::7:80", "{\"service\":\"shop/cart\","
          "\"port\":80}" },
        { "mesh:ip:10.244.0.5", "{\"workload\":\"shop/cart-1\"}" },
        { "mesh:synced", "{\"epoch\":\"5\"}" },
        { "mesh:wl:shop/cart-1", "{\"namespace\":\"shop\",\"pod\":\"cart-1\","
          "\"serviceAccount\":\"cart\",\"identity\":"
          "\"spiffe://cluster.local/ns/shop/sa/cart\",\"meshed\":true,"
          "\"addresses\":[\"10.244.0.5\",\"fd00:244::5\"],\"owner\":{"
          "\"kind\":\"deployment\",\"name\":\"cart\"},\"node\":\"n1\","
          "\"zone\":\"a\",\"ports\":[{\"port\":8080,\"name\":\"http\","
          "\"protocol\":\"http1\"},{\"port\":9,\"protocol\":\"detect\"}]}" },
        { "mesh:svc:shop/cart", "{\"namespace\":\"shop\",\"name\":\"cart\","
          "\"addresses\":[\"10.96.1.2\",\"fd00:96::2\"],\"ports\":[{"
          "\"port\":80,\"name\":\"http\",\"protocol\":\"http1\","
          "\"endpoints\":[{\"address\":\"10.244.0.3\",\"port\":8080,"
          "\"workload\":\"shop/cart-1\",\"identity\":"
          "\"spiffe://cluster.local/ns/shop/sa/cart\",\"meshed\":true,"
          "\"owner\":{\"kind\":\"deployment\",\"name\":\"cart\"},"
          "\"serviceAccount\":\"cart\",\"node\":\"n1\",\"zone\":\"a\","
          "\"weight\":1},{\"address\":\"192.168.1.9\",\"port\":81,"
          "\"meshed\":false,\"weight\":7}]},{\"port\":81,"
          "\"protocol\":\"detect\",\"endpoints\":[]}]}" },
        { "mesh:svc:shop/headless", "{\"namespace\":\"shop\","
          "\"name\":\"headless\",\"addresses\":[],\"ports\":[]}" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = again(rows[i].key, rows[i].body, &err);

        UNIT_STR(err.text, "");
        UNIT_STR(text, rows[i].body);

        free(text);
    }
}


static void
unknown_members_are_skipped(void)
{
    char        *text;
    mesh_err_t   err;

    text = again("mesh:ip:10.0.0.1", "{\"new\":[1],\"workload\":\"a/b\"}",
                 &err);
    UNIT_STR(text, "{\"workload\":\"a/b\"}");

    free(text);
}


static void
wrong_bodies_say_where(void)
{
    size_t       i;
    mesh_err_t   err;

    static const struct {
        const char  *key;
        const char  *body;
        const char  *word;
    } rows[] = {
        { "mesh:gens", "{}", "no key of a document" },
        { "mesh:ip:10.0.0.1", "", "no JSON" },
        { "mesh:ip:10.0.0.1", "[]", "expected an object" },
        { "mesh:ip:10.0.0.1", "{}", "workload: expected a string" },
        { "mesh:ip:10.0.0.1", "{\"workload\":7}", "workload: expected" },
        { "mesh:ip:10.0.0.1", "{\"workload\":\"a\"}", "NAMESPACE/NAME" },
        { "mesh:ip:10.0.0.1", "{\"workload\":\"a/b/c\"}", "NAMESPACE/NAME" },
        { "mesh:ip:10.0.0.1", "{\"workload\":\"A/b\"}", "NAMESPACE/NAME" },
        { "mesh:ip:010.0.0.1", "{\"workload\":\"a/b\"}",
          "holds no address" },
        { "mesh:ip:FD00::1", "{\"workload\":\"a/b\"}", "the body is of" },
        { "mesh:vip:10.0.0.1:80", "{\"service\":\"a/b\",\"port\":81}",
          "the body is of" },
        { "mesh:vip:10.0.0.1:80", "{\"service\":\"a/b\",\"port\":0}",
          "port: expected a number" },
        { "mesh:synced", "{\"epoch\":5}", "epoch: expected a string" },
        { "mesh:synced", "{\"epoch\":\"0\"}", "epoch: expected a number" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"c\"}",
          "the body is of \"a/c\"" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"meshed\":true}", "identity: expected a string" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"meshed\":true,\"identity\":\"\"}", "identity: expected" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"meshed\":1}", "meshed: expected true or false" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"identity\":\"https://x/y\"}", "identity: expected a SPIFFE ID" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"addresses\":[\"10.0.0.1\",\"10.0.0.01\"]}", "addresses" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"owner\":{\"kind\":\"x\"}}", "owner: expected" },
        { "mesh:wl:a/b", "{\"namespace\":\"a\",\"pod\":\"b\","
          "\"ports\":[{\"port\":1},{\"port\":2,\"protocol\":\"http\"}]}",
          "ports[1].protocol: expected" },
        { "mesh:svc:a/b", "{\"namespace\":\"a\",\"name\":\"b\","
          "\"ports\":[{\"port\":80,\"endpoints\":[{\"address\":\"10.0.0.1\","
          "\"port\":8},{\"address\":\"10.0.0.2\",\"port\":99999}]}]}",
          "ports[0].endpoints[1].port: expected" },
        { "mesh:svc:a/b", "{\"namespace\":\"a\",\"name\":\"b\","
          "\"ports\":[{\"port\":80,\"endpoints\":[{\"address\":\"10.0.0.1\","
          "\"port\":8,\"meshed\":true}]}]}",
          "ports[0].endpoints[0].identity: expected" },
        { "mesh:svc:a/b", "{\"namespace\":\"a\",\"name\":\"b\","
          "\"ports\":[{\"port\":80,\"endpoints\":[{\"address\":\"10.0.0.1\","
          "\"port\":8,\"weight\":0}]}]}", "weight: expected" },
        { "mesh:svc:a/b", "{\"namespace\":\"a\",\"name\":\"b\","
          "\"ports\":[7]}", "ports[0]" },
        { "mesh:svc:a/b", "{\"namespace\":\"a\",\"name\":\"b\","
          "\"ports\":{}}", "ports: expected an array" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        UNIT_OK(again(rows[i].key, rows[i].body, &err) == NULL);
        UNIT_HAS(err.text, rows[i].word);
    }
}


UNIT_TESTS = {
    UNIT(bodies_are_the_contracts),
    UNIT(unknown_members_are_skipped),
    UNIT(wrong_bodies_say_where),
    UNIT_END
};
