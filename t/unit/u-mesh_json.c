
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_json.c controller/base/mesh_err.c; -ljansson */

/* Getters: what they give, and the path in what they say. */

#include <mesh_json.h>

#include "unit.h"


static json_t      *tree;
static mesh_json_t  root;
static mesh_err_t   err;


static void
open_tree(const char *text)
{
    tree = mesh_json_parse(text, strlen(text), &err);
    mesh_json_root(&root, tree);
}


static void
parse_names_the_place(void)
{
    open_tree("{\n  \"a\": }");
    UNIT_OK(tree == NULL);
    UNIT_HAS(err.text, "line 2 column");

    open_tree("{\"a\":1,\"a\":2}");
    UNIT_OK(tree == NULL);
    UNIT_HAS(err.text, "duplicate");

    open_tree("{} x");
    UNIT_OK(tree == NULL);

    UNIT_OK(mesh_json_parse("", 0, NULL) == NULL);
}


static void
getters_give_values(void)
{
    int          on;
    int64_t      n;
    const char  *s;
    mesh_json_t  list, item, obj;

    open_tree("{\"s\":\"x\",\"n\":80,\"b\":true,\"l\":[\"p\",{}],"
              "\"o\":{\"k\":1},\"z\":null}");
    UNIT_NEED(tree != NULL);

    UNIT_EQ(mesh_json_string(&root, "s", &s, &err), MESH_OK);
    UNIT_STR(s, "x");
    UNIT_EQ(mesh_json_integer(&root, "n", 1, 65535, &n, &err), MESH_OK);
    UNIT_EQ(n, 80);
    UNIT_EQ(mesh_json_boolean(&root, "b", &on, &err), MESH_OK);
    UNIT_EQ(on, 1);
    UNIT_EQ(mesh_json_object(&root, "o", &obj, &err), MESH_OK);
    UNIT_EQ(mesh_json_integer(&obj, "k", 0, 9, &n, &err), MESH_OK);
    UNIT_EQ(mesh_json_array(&root, "l", &list, &err), MESH_OK);
    UNIT_EQ(mesh_json_size(&list), 2);
    mesh_json_item(&list, 0, &item);
    UNIT_EQ(mesh_json_as_string(&item, &s, &err), MESH_OK);
    UNIT_STR(s, "p");
    mesh_json_item(&list, 1, &item);
    UNIT_EQ(mesh_json_as_object(&item, &err), MESH_OK);
    UNIT_EQ(mesh_json_any(&root, "l", &item, &err), MESH_OK);

    json_decref(tree);
}


static void
absent_and_null_are_declined(void)
{
    int          on;
    int64_t      n;
    const char  *s;
    mesh_json_t  place;

    s = "kept";
    open_tree("{\"z\":null}");
    UNIT_NEED(tree != NULL);

    UNIT_EQ(mesh_json_string(&root, "z", &s, &err), MESH_DECLINED);
    UNIT_EQ(mesh_json_string(&root, "none", &s, &err), MESH_DECLINED);
    UNIT_STR(s, "kept");
    UNIT_EQ(mesh_json_integer(&root, "z", 0, 1, &n, &err), MESH_DECLINED);
    UNIT_EQ(mesh_json_boolean(&root, "z", &on, &err), MESH_DECLINED);
    UNIT_EQ(mesh_json_object(&root, "z", &place, &err), MESH_DECLINED);
    UNIT_EQ(mesh_json_array(&root, "z", &place, &err), MESH_DECLINED);

    UNIT_EQ(mesh_json_missing(&root, "z", &err), MESH_ERROR);
    UNIT_STR(err.text, "z is missing");

    json_decref(tree);
}


static void
errors_have_the_path(void)
{
    int64_t      n;
    const char  *s;
    mesh_json_t  spec, ports, port;

    open_tree("{\"spec\":{\"ports\":[1,{\"port\":\"80\",\"n\":70000}]}}");
    UNIT_NEED(tree != NULL);

    UNIT_EQ(mesh_json_object(&root, "spec", &spec, &err), MESH_OK);
    UNIT_EQ(mesh_json_array(&spec, "ports", &ports, &err), MESH_OK);
    mesh_json_item(&ports, 1, &port);

    UNIT_EQ(mesh_json_integer(&port, "port", 1, 9, &n, &err), MESH_ERROR);
    UNIT_STR(err.text,
             "spec.ports[1].port is a string, expected an integer");
    UNIT_EQ(mesh_json_missing(&port, "port", &err), MESH_ERROR);
    UNIT_HAS(err.text, "is a string, expected");     /* it is kept */

    UNIT_EQ(mesh_json_integer(&port, "n", 1, 65535, &n, &err), MESH_ERROR);
    UNIT_STR(err.text, "spec.ports[1].n is 70000, expected 1 .. 65535");

    UNIT_EQ(mesh_json_missing(&port, "name", &err), MESH_ERROR);
    UNIT_STR(err.text, "spec.ports[1].name is missing");

    mesh_json_item(&ports, 0, &port);
    UNIT_EQ(mesh_json_string(&port, "name", &s, &err), MESH_ERROR);
    UNIT_STR(err.text, "spec.ports[0] is an integer, expected an object");
    UNIT_EQ(mesh_json_as_string(&port, &s, &err), MESH_ERROR);
    UNIT_EQ(mesh_json_as_object(&port, &err), MESH_ERROR);

    mesh_json_item(&ports, 7, &port);
    UNIT_EQ(mesh_json_as_string(&port, &s, &err), MESH_ERROR);
    UNIT_STR(err.text, "spec.ports[7] is missing, expected a string");

    json_decref(tree);

    open_tree("[3]");
    UNIT_EQ(mesh_json_string(&root, "a", &s, &err), MESH_ERROR);
    UNIT_STR(err.text, "document is an array, expected an object");
    mesh_json_item(&root, 0, &port);
    UNIT_EQ(mesh_json_as_object(&port, &err), MESH_ERROR);
    UNIT_STR(err.text, "document[0] is an integer, expected an object");
    json_decref(tree);
}


static void
path_fits_every_buffer(void)
{
    char         buf[64];
    size_t       size;
    mesh_json_t  places[40];

    mesh_json_root(&places[0], NULL);

    for (size = 1; size < mesh_nelts(places); size++) {
        places[size] = places[0];
        places[size].parent = &places[size - 1];
        places[size].key = "abc";
    }

    for (size = 1; size <= sizeof(buf); size++) {
        memset(buf, '?', sizeof(buf));
        mesh_json_path(&places[39], buf, size);
        UNIT_EQ(strlen(buf), size - 1);
    }
}


UNIT_TESTS = {
    UNIT(parse_names_the_place),
    UNIT(getters_give_values),
    UNIT(absent_and_null_are_declined),
    UNIT(errors_have_the_path),
    UNIT(path_fits_every_buffer),
    UNIT_END
};
