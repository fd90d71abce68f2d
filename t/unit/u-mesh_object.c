
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/* Who an object is, words of protocols, annotations. */

#include <mesh_core.h>
#include <mesh_object.h>

#include "unit.h"


static mesh_err_t  err;


static mesh_object_t *
object_new(const char *text, const char *list)
{
    json_t         *json;
    mesh_object_t  *object;

    memset(&err, 0, sizeof(err));

    json = json_loads(text, 0, NULL);
    object = mesh_object_new(json, list, &err);
    json_decref(json);

    return object;
}


static int
identify(const char *text, const char *list, char *key)
{
    int                  rc;
    json_t              *json;
    mesh_object_kind_e   kind;

    memset(&err, 0, sizeof(err));

    json = json_loads(text, JSON_DECODE_ANY, NULL);
    rc = mesh_object_identify(json, list, &kind, key, &err);
    json_decref(json);

    return rc;
}


static void
kinds_and_keys_are_told(void)
{
    char  key[MESH_OBJECT_KEY_MAX];

    UNIT_EQ(identify("{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
                     "\"metadata\":{\"name\":\"web-1\","
                     "\"namespace\":\"shop\"}}", NULL, key), MESH_OK);
    UNIT_STR(key, "Pod/shop/web-1");

    UNIT_EQ(identify("{\"kind\":\"Service\",\"apiVersion\":\"v1\","
                     "\"metadata\":{\"name\":\"cart\"}}", NULL, key),
            MESH_OK);
    UNIT_STR(key, "Service/default/cart");

    UNIT_EQ(identify("{\"metadata\":{\"name\":\"n1\"}}", "NodeList", key),
            MESH_OK);
    UNIT_STR(key, "Node//n1");

    UNIT_EQ(identify("{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\","
                     "\"metadata\":{\"name\":\"x\"}}", NULL, key),
            MESH_DECLINED);
    UNIT_EQ(identify("{\"kind\":\"Service\","
                     "\"apiVersion\":\"serving.knative.dev/v1\","
                     "\"metadata\":{\"name\":\"x\"}}", NULL, key),
            MESH_DECLINED);
}


static void
what_is_no_object_is_said(void)
{
    char    key[MESH_OBJECT_KEY_MAX];
    size_t  i;

    static const struct {
        const char  *text;
        const char  *word;
    } rows[] = {
        { "[]", "expected an object" },
        { "{}", "kind is missing" },
        { "{\"kind\":7}", "kind is an integer" },
        { "{\"kind\":\"Pod\"}", "apiVersion is missing" },
        { "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}",
          "metadata is missing" },
        { "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{}}",
          "metadata.name is missing" },
        { "{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
          "\"metadata\":{\"name\":\"A_b\"}}", "metadata.name is \"A_b\"" },
        { "{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
          "\"metadata\":{\"name\":\"a\",\"namespace\":\"x/y\"}}",
          "metadata.namespace is \"x/y\"" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        UNIT_EQ(identify(rows[i].text, NULL, key), MESH_ERROR);
        UNIT_HAS(err.text, rows[i].word);
    }
}


static void
labels_match_selectors(void)
{
    mesh_pair_t    pairs[] = { { "app", "web" }, { "tier", "x" } };
    mesh_pairs_t   all = { pairs, 2 }, one = { pairs, 1 }, none = { NULL, 0 };

    UNIT_STR(mesh_pairs_get(&all, "tier"), "x");
    UNIT_OK(mesh_pairs_get(&all, "tie") == NULL);
    UNIT_OK(mesh_pairs_match(&one, &all));
    UNIT_OK(!mesh_pairs_match(&all, &one));
    UNIT_OK(mesh_pairs_match(&none, &all));
}


static void
protocols_are_told_by_words(void)
{
    UNIT_EQ(mesh_object_protocol("", ""), MESH_PROTO_DETECT);
    UNIT_EQ(mesh_object_protocol("", "http"), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_object_protocol("", "http-api"), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_object_protocol("", "httpx"), MESH_PROTO_DETECT);
    UNIT_EQ(mesh_object_protocol("", "http2-x"), MESH_PROTO_HTTP2);
    UNIT_EQ(mesh_object_protocol("", "grpc"), MESH_PROTO_HTTP2);
    UNIT_EQ(mesh_object_protocol("", "https-web"), MESH_PROTO_TLS);
    UNIT_EQ(mesh_object_protocol("", "tcp-db"), MESH_PROTO_OPAQUE);
    UNIT_EQ(mesh_object_protocol("", "redis"), MESH_PROTO_OPAQUE);
    UNIT_EQ(mesh_object_protocol("", "web"), MESH_PROTO_DETECT);
    UNIT_EQ(mesh_object_protocol("http", "tcp"), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_object_protocol("HTTP", ""), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_object_protocol("kubernetes.io/h2c", ""), MESH_PROTO_HTTP2);
    UNIT_EQ(mesh_object_protocol("kubernetes.io/ws", ""), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_object_protocol("kubernetes.io/wss", ""), MESH_PROTO_TLS);
    UNIT_EQ(mesh_object_protocol("grpc", ""), MESH_PROTO_HTTP2);
    UNIT_EQ(mesh_object_protocol("my.company/own", "http"),
            MESH_PROTO_OPAQUE);
}


static void
opaque_ports_are_lists_of_ranges(void)
{
    char            text[256];
    size_t          i;
    mesh_object_t  *object;

    static const char  *bad[] = {
        "x", "0", "65536", "5-4", "1-", "-1", "1;2", "80 81", "1,,2",
        "99999999999999999999"
    };

    object = object_new("{\"kind\":\"Namespace\",\"apiVersion\":\"v1\","
                        "\"metadata\":{\"name\":\"a\",\"annotations\":{"
                        "\"ngx-mesh.io/opaque-ports\":"
                        "\"3306, 4444-4450,1\"}}}", NULL);
    UNIT_NEED(object != NULL);
    UNIT_OK(object->opaque.given);
    UNIT_OK(mesh_opaque_has(&object->opaque, 3306));
    UNIT_OK(mesh_opaque_has(&object->opaque, 4444));
    UNIT_OK(mesh_opaque_has(&object->opaque, 4450));
    UNIT_OK(mesh_opaque_has(&object->opaque, 1));
    UNIT_OK(!mesh_opaque_has(&object->opaque, 4451));

    mesh_object_unref(object);

    object = object_new("{\"kind\":\"Namespace\",\"apiVersion\":\"v1\","
                        "\"metadata\":{\"name\":\"a\",\"annotations\":{"
                        "\"ngx-mesh.io/opaque-ports\":\"\"}}}", NULL);
    UNIT_NEED(object != NULL);
    UNIT_OK(object->opaque.given);
    UNIT_EQ(object->opaque.n, 0);

    mesh_object_unref(object);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "{\"kind\":\"Namespace\","
                 "\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\","
                 "\"annotations\":{\"ngx-mesh.io/opaque-ports\":\"%s\"}}}",
                 bad[i]);

        UNIT_OK(object_new(text, NULL) == NULL);
        UNIT_HAS(err.text, "expected ports");
    }
}


static void
references_are_counted(void)
{
    mesh_object_t  *object;

    object = object_new("{\"metadata\":{\"name\":\"n1\",\"labels\":{"
                        "\"topology.kubernetes.io/zone\":\"a\"}}}",
                        "NodeList");
    UNIT_NEED(object != NULL);
    UNIT_STR(object->u.node.zone, "a");

    UNIT_OK(mesh_object_ref(object) == object);
    mesh_object_unref(object);
    UNIT_STR(object->name, "n1");
    mesh_object_unref(object);
}


UNIT_TESTS = {
    UNIT(kinds_and_keys_are_told),
    UNIT(what_is_no_object_is_said),
    UNIT(labels_match_selectors),
    UNIT(protocols_are_told_by_words),
    UNIT(opaque_ports_are_lists_of_ranges),
    UNIT(references_are_counted),
    UNIT_END
};
