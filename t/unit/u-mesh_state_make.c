
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/render/ controller/model/ controller/base/
         ngx_mesh_module/shared/; -ljansson -lcrypto */

/*
 * Documents to state, seen as state text.  What contradicts itself is left
 * out and takes nothing else away.
 */

#include <mesh_core.h>
#include <mesh_state_build.h>
#include <mesh_state_make.h>
#include <mesh_state_text.h>
#include "unit.h"


static mesh_sign_t        *sign;
static mesh_docs_t         docs;
static mesh_state_make_t   make;
static unsigned            counter;


static const char  *networks[] = { "10.0.0.0/8", "fd00::/8" };
static const char  *addresses[] = { "10.244.0.5", "fd00:244::5" };


static void
begin(void)
{
    mesh_err_t  err;

    if (sign == NULL) {
        sign = mesh_sign_new(1, &err);
    }

    mesh_docs_init(&docs, NULL);
    memset(&make, 0, sizeof(make));

    make.namespace_ = "shop";
    make.pod = "web-1";
    make.service_account = "web";
    make.identity = "spiffe://cluster.local/ns/shop/sa/web";
    make.trust_domain = "cluster.local";
    make.networks = networks;
    make.nnetworks = 2;
    make.addresses = addresses;
    make.naddresses = 2;
}


static void
put(const char *key, const char *body)
{
    char        *value;
    size_t       len;
    mesh_err_t   err;

    value = mesh_doc_seal(sign, key, mesh_doc_generation(1, ++counter), body,
                          &len);

    UNIT_EQ(mesh_docs_put(&docs, key, value, len, &err), MESH_OK);
    free(value);
}


/* the state as text; the caller frees */

static char *
state(void)
{
    char                *text;
    FILE                *out;
    void                *bytes;
    size_t               size, len;
    mesh_err_t           err;
    mesh_records_t      *records;
    mesh_state_view_t    view;

    records = mesh_state_make(&docs, &make);
    bytes = mesh_state_build(records, &size, NULL, &err);
    mesh_records_free(records);
    mesh_docs_done(&docs);

    if (!UNIT_OK(bytes != NULL)) {
        printf("# %s\n", err.text);
        return strdup("");
    }

    UNIT_STR(mesh_state_check(bytes, size, &view), NULL);

    records = mesh_state_unbuild(&view);
    out = open_memstream(&text, &len);
    (void) mesh_state_text_print(out, records);
    (void) fclose(out);
    mesh_records_free(records);
    free(bytes);

    return text;
}


#define ENDPOINT(ip, pod, meshed)                                             \
    "{\"address\":\"" ip "\",\"port\":8080,\"workload\":\"shop/" pod "\","    \
    "\"identity\":\"spiffe://cluster.local/ns/shop/sa/cart\",\"meshed\":"     \
    meshed ",\"owner\":{\"kind\":\"deployment\",\"name\":\"cart\"},"          \
    "\"serviceAccount\":\"cart\",\"node\":\"n1\",\"zone\":\"a\",\"weight\":1}"

#define SERVICE(name, ip, endpoints)                                          \
    "{\"namespace\":\"shop\",\"name\":\"" name "\",\"addresses\":[\"" ip      \
    "\"],\"ports\":[{\"port\":80,\"name\":\"http\",\"protocol\":\"http1\","   \
    "\"endpoints\":[" endpoints "]}]}"

#define WORKLOAD(pod, ip)                                                     \
    "{\"namespace\":\"shop\",\"pod\":\"" pod "\",\"serviceAccount\":\"cart\"" \
    ",\"identity\":\"spiffe://cluster.local/ns/shop/sa/cart\",\"meshed\":"    \
    "true,\"addresses\":[\"" ip "\"],\"owner\":{\"kind\":\"deployment\","     \
    "\"name\":\"cart\"},\"node\":\"n1\",\"zone\":\"a\",\"ports\":[{\"port\":" \
    "8080,\"name\":\"http\",\"protocol\":\"http1\"}]}"


static void
without_documents_there_is_self(void)
{
    char  *text;

    begin();
    text = state();

    UNIT_STR(text,
        "generation 0;\ncomplete off;\nunknown_in_cluster refuse;\n"
        "trust_domain cluster.local;\n"
        "networks 10.0.0.0/8;\nnetworks fd00::/8;\n"
        "self shop/web-1;\n"
        "\nmesh_workload shop/web-1 {\n"
        "    identity spiffe://cluster.local/ns/shop/sa/web;\n"
        "    meshed on;\n"
        "    service_account web;\n"
        "    address 10.244.0.5;\n"
        "    address fd00:244::5;\n"
        "}\n");
    free(text);
}


static void
services_bring_their_workloads(void)
{
    char  *text;

    begin();
    make.complete = 1;
    make.pass_unknown = 1;
    put("mesh:vip:10.96.0.1:80", "{\"service\":\"shop/cart\",\"port\":80}");
    put("mesh:svc:shop/cart",
        SERVICE("cart", "10.96.0.1", ENDPOINT("10.244.1.1", "cart-1", "true")
                "," ENDPOINT("10.244.1.2", "cart-2", "false")));
    text = state();

    UNIT_HAS(text, "complete on;\nunknown_in_cluster pass;\n");
    UNIT_HAS(text,
        "mesh_service shop/cart:80 {\n"
        "    address 10.96.0.1:80;\n"
        "    protocol http1;\n"
        "    endpoint 10.244.1.1:8080 workload=shop/cart-1 weight=1;\n"
        "    endpoint 10.244.1.2:8080 workload=shop/cart-2 weight=1;\n"
        "}\n");
    UNIT_HAS(text,
        "mesh_workload shop/cart-1 {\n"
        "    identity spiffe://cluster.local/ns/shop/sa/cart;\n"
        "    meshed on;\n"
        "    service_account cart;\n"
        "    owner deployment/cart;\n"
        "    node n1;\n"
        "    zone a;\n"
        "}\n");
    UNIT_HAS(text,
        "mesh_workload shop/cart-2 {\n"
        "    identity spiffe://cluster.local/ns/shop/sa/cart;\n"
        "    meshed off;\n");
    free(text);
}


static void
asked_for_pods_have_addresses(void)
{
    char  *text;

    begin();
    put("mesh:ip:10.244.1.1", "{\"workload\":\"shop/cart-1\"}");
    put("mesh:wl:shop/cart-1", WORKLOAD("cart-1", "10.244.1.1"));
    text = state();

    UNIT_HAS(text, "    address 10.244.1.1;\n    port 8080 http1;\n}\n");
    free(text);
}


static void
own_document_describes_self(void)
{
    char  *text;

    begin();
    put("mesh:wl:shop/web-1", WORKLOAD("web-1", "10.244.0.7"));
    text = state();

    UNIT_HAS(text, "self shop/web-1;\n");
    UNIT_HAS(text, "    address 10.244.0.7;\n    port 8080 http1;\n");
    UNIT_OK(strstr(text, "10.244.0.5") == NULL);
    free(text);

    /* deleted: the pod still runs, and has the addresses that it has */

    begin();
    put("mesh:wl:shop/web-1", "null");
    text = state();
    UNIT_HAS(text, "    address 10.244.0.5;\n");
    free(text);
}


/* the pod is gone, its address is another's: the address's document says */

static void
addresses_go_where_their_document_says(void)
{
    char  *text;

    begin();
    put("mesh:ip:10.244.1.1", "{\"workload\":\"shop/new-1\"}");
    put("mesh:wl:shop/cart-1", WORKLOAD("cart-1", "10.244.1.1"));
    put("mesh:wl:shop/new-1", WORKLOAD("new-1", "10.244.1.1"));
    put("mesh:vip:10.96.0.1:80", "{\"service\":\"shop/new\",\"port\":80}");
    put("mesh:svc:shop/cart", SERVICE("cart", "10.96.0.1", ""));
    put("mesh:svc:shop/new", SERVICE("new", "10.96.0.1", ""));
    text = state();

    UNIT_HAS(text, "mesh_service shop/cart:80 {\n    protocol http1;\n}\n");
    UNIT_HAS(text, "mesh_service shop/new:80 {\n    address 10.96.0.1:80;\n");
    UNIT_OK(strstr(strstr(text, "shop/cart-1"), "address")
            > strstr(text, "shop/new-1"));
    free(text);

    /* nobody says: the first by name has it, and the rest is there */

    begin();
    put("mesh:svc:shop/b", SERVICE("b", "10.96.0.1", ""));
    put("mesh:svc:shop/a", SERVICE("a", "10.96.0.1", ""));
    text = state();
    UNIT_HAS(text, "mesh_service shop/a:80 {\n    address 10.96.0.1:80;\n");
    UNIT_HAS(text, "mesh_service shop/b:80 {\n    protocol http1;\n}\n");
    free(text);
}


static void
twins_and_garbage_are_left_out(void)
{
    char  *text;

    begin();
    put("mesh:svc:shop/cart",
        SERVICE("cart", "10.96.0.1", ENDPOINT("10.244.1.1", "cart-1", "true")
                "," ENDPOINT("10.244.1.1", "cart-1", "true")));
    put("mesh:svc:shop/bad", "{\"namespace\":1}");
    put("mesh:svc:shop/gone", "null");
    text = state();

    UNIT_HAS(text, "endpoint 10.244.1.1:8080 workload=shop/cart-1 weight=1;\n"
                   "}\n");
    UNIT_OK(strstr(text, "bad") == NULL);
    UNIT_OK(strstr(text, "gone") == NULL);
    free(text);
}


/* whoever says that it is meshed is believed: mTLS, or nothing */

static void
meshed_wins(void)
{
    char  *text;

    begin();
    put("mesh:wl:shop/cart-1", WORKLOAD("cart-1", "10.244.1.1"));
    put("mesh:svc:shop/cart",
        SERVICE("cart", "10.96.0.1",
                ENDPOINT("10.244.1.1", "cart-1", "false")));
    text = state();
    UNIT_HAS(text, "    meshed on;\n");
    UNIT_HAS(text, "endpoint 10.244.1.1:8080 workload=shop/cart-1 weight=1;");
    free(text);
}


static void
nobody_is_nobody(void)
{
    char           *text;
    uint16_t        port;
    mesh_nobody_t   nobody[4];

    memset(nobody, 0, sizeof(nobody));
    mesh_address_parse("10.9.0.1:80", 11, nobody[0].ip, &nobody[0].port);
    mesh_address_parse("10.9.0.1:81", 11, nobody[1].ip, &nobody[1].port);
    mesh_address_parse("10.244.0.5:80", 13, nobody[2].ip, &port);
    nobody[2].port = 80;
    mesh_address_parse("10.96.0.1:80", 12, nobody[3].ip, &nobody[3].port);

    begin();
    make.nobody = nobody;
    make.nnobody = 4;
    put("mesh:svc:shop/cart", SERVICE("cart", "10.96.0.1", ""));
    text = state();

    UNIT_HAS(text, "nobody 10.9.0.1:80;\nnobody 10.9.0.1:81;\n");
    UNIT_OK(strstr(text, "nobody 10.244.0.5") == NULL);
    UNIT_OK(strstr(text, "nobody 10.96.0.1") == NULL);
    free(text);

    mesh_sign_free(sign);
    sign = NULL;
}


UNIT_TESTS = {
    UNIT(without_documents_there_is_self),
    UNIT(services_bring_their_workloads),
    UNIT(asked_for_pods_have_addresses),
    UNIT(own_document_describes_self),
    UNIT(addresses_go_where_their_document_says),
    UNIT(twins_and_garbage_are_left_out),
    UNIT(meshed_wins),
    UNIT(nobody_is_nobody),
    UNIT_END
};
