
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/;
 *       -ljansson -lssl -lcrypto */

/* The envelope: what is sealed opens and verifies, and nothing else does. */

#include <mesh_core.h>
#include <mesh_doc.h>

#include "unit.h"


#define KEY   "mesh:ip:10.244.0.5"
#define BODY  "{\"workload\":\"shop/web-1\"}"


static void
keys_are_the_readmes(void)
{
    char  key[MESH_DOC_KEY_MAX], small[8];

    UNIT_STR(mesh_doc_key_vip(key, sizeof(key), "10.96.0.1", 80),
             "mesh:vip:10.96.0.1:80");
    UNIT_STR(mesh_doc_key_vip(key, sizeof(key), "fd00:96::7", 443),
             "mesh:vip:fd00:96::7:443");
    UNIT_STR(mesh_doc_key_ip(key, sizeof(key), "10.244.0.5"), KEY);
    UNIT_STR(mesh_doc_key_service(key, sizeof(key), "shop/cart"),
             "mesh:svc:shop/cart");
    UNIT_STR(mesh_doc_key_workload(key, sizeof(key), "shop/web-1"),
             "mesh:wl:shop/web-1");
    UNIT_STR(mesh_doc_key_ip(small, sizeof(small), "10.244.0.5"), "");

    UNIT_EQ(mesh_doc_key_kind("mesh:vip:1.2.3.4:80"), MESH_DOC_VIP);
    UNIT_EQ(mesh_doc_key_kind("mesh:ip:1.2.3.4"), MESH_DOC_IP);
    UNIT_EQ(mesh_doc_key_kind("mesh:svc:a/b"), MESH_DOC_SERVICE);
    UNIT_EQ(mesh_doc_key_kind("mesh:wl:a/b"), MESH_DOC_WORKLOAD);
    UNIT_EQ(mesh_doc_key_kind("mesh:synced"), MESH_DOC_SYNCED);
    UNIT_EQ(mesh_doc_key_kind("mesh:gens"), MESH_DOC_NONE);
    UNIT_EQ(mesh_doc_key_kind("mesh:ip:"), MESH_DOC_NONE);
    UNIT_EQ(mesh_doc_key_kind(""), MESH_DOC_NONE);
}


static void
addresses_have_one_form(void)
{
    char  ip[MESH_DOC_IP_MAX];

    UNIT_EQ(mesh_doc_ip_canonical("10.0.0.1", ip), 4);
    UNIT_STR(ip, "10.0.0.1");
    UNIT_EQ(mesh_doc_ip_canonical("FD00:0:0::0001", ip), 6);
    UNIT_STR(ip, "fd00::1");
    UNIT_EQ(mesh_doc_ip_canonical("::ffff:10.0.0.1", ip), 4);
    UNIT_STR(ip, "10.0.0.1");
    UNIT_EQ(mesh_doc_ip_canonical("10.0.0", ip), 0);
    UNIT_EQ(mesh_doc_ip_canonical("010.0.0.1", ip), 0);
    UNIT_EQ(mesh_doc_ip_canonical("None", ip), 0);
}


static void
protocols_have_words(void)
{
    int  i;

    for (i = 0; i <= MESH_PROTO_MAX; i++) {
        UNIT_EQ(mesh_doc_protocol_parse(mesh_doc_protocol_text((uint8_t) i)),
                i);
    }

    UNIT_OK(mesh_doc_protocol_text(MESH_PROTO_MAX + 1) == NULL);
    UNIT_EQ(mesh_doc_protocol_parse("http"), -1);
}


static void
what_is_sealed_opens(void)
{
    char                 *value;
    size_t                len;
    uint64_t              generation;
    mesh_err_t            err;
    mesh_sign_t          *sign;
    mesh_doc_envelope_t   e;

    sign = mesh_sign_new(3, NULL);
    generation = mesh_doc_generation(3, 17);
    UNIT_EQ(mesh_doc_generation_epoch(generation), 3);

    value = mesh_doc_seal(sign, KEY, generation, BODY, &len);
    UNIT_NEED(value != NULL);
    UNIT_EQ(len, strlen(value));
    UNIT_HAS(value, "ngx-mesh/1 3298534883345 ");

    UNIT_NEED(mesh_doc_open(value, len, &e, &err) == 0);
    UNIT_OK(e.generation == generation);
    UNIT_STRN(e.body, e.body_len, BODY);
    UNIT_EQ(e.tombstone, 0);
    UNIT_EQ(mesh_doc_verify(sign, KEY, &e, &err), 0);

    free(value);

    value = mesh_doc_seal(sign, KEY, generation, "null", &len);
    UNIT_NEED(value != NULL && mesh_doc_open(value, len, &e, &err) == 0);
    UNIT_EQ(e.tombstone, 1);
    UNIT_EQ(mesh_doc_verify(sign, KEY, &e, &err), 0);

    free(value);
    mesh_sign_free(sign);
}


static void
forgeries_do_not_verify(void)
{
    char                 *value;
    size_t                i, len;
    mesh_err_t            err;
    mesh_sign_t          *sign, *other, *older;
    mesh_doc_envelope_t   e;

    sign = mesh_sign_new(3, NULL);
    other = mesh_sign_new(3, NULL);
    older = mesh_sign_new(2, NULL);

    value = mesh_doc_seal(sign, KEY, mesh_doc_generation(3, 17), BODY, &len);
    UNIT_NEED(value != NULL && mesh_doc_open(value, len, &e, &err) == 0);

    /* under another key, number, signer, epoch */

    UNIT_OK(mesh_doc_verify(sign, "mesh:ip:10.244.0.6", &e, &err) != 0);
    UNIT_HAS(err.text, "signature");

    e.generation++;
    UNIT_OK(mesh_doc_verify(sign, KEY, &e, &err) != 0);
    e.generation--;

    UNIT_OK(mesh_doc_verify(other, KEY, &e, &err) != 0);
    UNIT_OK(mesh_doc_verify(older, KEY, &e, &err) != 0);
    UNIT_HAS(err.text, "epoch 3");
    UNIT_EQ(mesh_doc_verify(sign, KEY, &e, &err), 0);

    /* each single bit of the value */

    for (i = 0; i < len * 8; i++) {
        value[i / 8] ^= (char) (1 << (i % 8));

        UNIT_OK(mesh_doc_open(value, len, &e, &err) != 0
                || mesh_doc_verify(sign, KEY, &e, &err) != 0);

        value[i / 8] ^= (char) (1 << (i % 8));
    }

    free(value);
    mesh_sign_free(sign);
    mesh_sign_free(other);
    mesh_sign_free(older);
}


static void
bad_headers_say_why(void)
{
    size_t                i;
    mesh_err_t            err;
    mesh_doc_envelope_t   e;

    static const struct {
        const char  *value;
        const char  *word;
    } rows[] = {
        { "", "no header" },
        { "ngx-mesh/1", "no header" },
        { "{\"workload\":\"a/b\"}\n", "no header" },
        { "ngx-mesh/2 1 x\n{}", "layout is 2" },
        { "ngx-mesh/x 1 x\n{}", "layout is no number" },
        { "ngx-mesh/1 0 x\n{}", "generation is no number" },
        { "ngx-mesh/1 18446744073709551616 x\n{}",
          "generation is no number" },
        { "ngx-mesh/1 -1 x\n{}", "generation is no number" },
        { "ngx-mesh/1 1 AAAA\n{}", "signature is not 64 bytes" },
        { "ngx-mesh/1 1 \n{}", "signature is not 64 bytes" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        UNIT_OK(mesh_doc_open(rows[i].value, strlen(rows[i].value), &e, &err)
                != 0);
        UNIT_HAS(err.text, rows[i].word);
    }
}


static void
every_cut_of_a_value_is_safe(void)
{
    char                 *value, *copy;
    size_t                i, len;
    mesh_err_t            err;
    mesh_sign_t          *sign;
    mesh_doc_envelope_t   e;

    sign = mesh_sign_new(3, NULL);
    value = mesh_doc_seal(sign, KEY, mesh_doc_generation(3, 1), BODY, &len);
    UNIT_NEED(value != NULL);

    for (i = 0; i < len; i++) {
        copy = malloc(i ? i : 1);
        memcpy(copy, value, i);

        UNIT_OK(mesh_doc_open(copy, i, &e, &err) != 0
                || mesh_doc_verify(sign, KEY, &e, &err) != 0);
        free(copy);
    }

    free(value);
    mesh_sign_free(sign);
}


UNIT_TESTS = {
    UNIT(keys_are_the_readmes),
    UNIT(addresses_have_one_form),
    UNIT(protocols_have_words),
    UNIT(what_is_sealed_opens),
    UNIT(forgeries_do_not_verify),
    UNIT(bad_headers_say_why),
    UNIT(every_cut_of_a_value_is_safe),
    UNIT_END
};
