
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/;
 *       -ljansson -lssl -lcrypto */

/* Only the writer's leaf, chained to the bundle in hand, makes a signer. */

#include <mesh_core.h>
#include <jansson.h>

#include <mesh_sign.h>
#include <mesh_x509.h>

#include "unit.h"


#define NOW     1800000000
#define WRITER  "spiffe://cluster.local/ns/ngx-mesh/sa/mesh-watch"
#define OTHER   "spiffe://cluster.local/ns/shop/sa/web"


/* a CA and a leaf of it */

typedef struct {
    EVP_PKEY  *ca_key;
    X509      *ca;
    char      *trust;                  /* PEM */
    char      *key;                    /* of the leaf, PEM */
    char      *chain;
} pki_t;


static char *
pem_of(X509 *a, X509 *b)
{
    char            *text;
    STACK_OF(X509)  *chain;

    chain = sk_X509_new_null();
    sk_X509_push(chain, a);

    if (b) {
        sk_X509_push(chain, b);
    }

    text = mesh_x509_chain_pem_new(chain, NULL);
    sk_X509_free(chain);

    return text;
}


static int
pki_new(pki_t *pki, const char *id, time_t from, time_t to)
{
    X509              *leaf;
    EVP_PKEY          *key;
    mesh_x509_want_t   want;

    memset(pki, 0, sizeof(pki_t));

    pki->ca_key = mesh_x509_key_new(NULL);
    key = mesh_x509_key_new(NULL);

    memset(&want, 0, sizeof(want));
    want.name = "test root";
    want.not_before = NOW - 86400;
    want.not_after = NOW + 86400 * 30;
    want.ca = 1;
    want.pathlen = -1;

    pki->ca = mesh_x509_sign(pki->ca_key, &want, NULL, pki->ca_key, NULL);

    memset(&want, 0, sizeof(want));
    want.id = id;
    want.not_before = from;
    want.not_after = to;

    leaf = mesh_x509_sign(key, &want, pki->ca, pki->ca_key, NULL);

    if (pki->ca == NULL || leaf == NULL) {
        return -1;
    }

    pki->trust = pem_of(pki->ca, NULL);
    pki->key = mesh_x509_key_pem_new(key, NULL);
    pki->chain = pem_of(leaf, NULL);

    X509_free(leaf);
    EVP_PKEY_free(key);

    return 0;
}


static void
pki_free(pki_t *pki)
{
    EVP_PKEY_free(pki->ca_key);
    X509_free(pki->ca);
    free(pki->trust);
    mesh_x509_pem_free(pki->key);
    free(pki->chain);
}


static void
an_own_key_signs_and_verifies(void)
{
    uint8_t       signature[MESH_SIGN_BYTES];
    mesh_sign_t  *a, *b;

    a = mesh_sign_new(5, NULL);
    b = mesh_sign_new(5, NULL);
    UNIT_NEED(a != NULL && b != NULL);

    UNIT_EQ(mesh_sign_epoch(a), 5);
    UNIT_EQ(mesh_sign_make(a, "text", 4, signature), 0);
    UNIT_EQ(mesh_sign_verify(a, "text", 4, signature), 0);
    UNIT_OK(mesh_sign_verify(a, "texu", 4, signature) != 0);
    UNIT_OK(mesh_sign_verify(a, "tex", 3, signature) != 0);
    UNIT_OK(mesh_sign_verify(b, "text", 4, signature) != 0);

    signature[63] ^= 1;
    UNIT_OK(mesh_sign_verify(a, "text", 4, signature) != 0);

    UNIT_OK(mesh_sign_same(a, a));
    UNIT_OK(!mesh_sign_same(a, b));

    mesh_sign_free(a);
    mesh_sign_free(b);
}


static void
a_published_key_is_accepted(void)
{
    char         *value;
    pki_t         pki;
    uint8_t       signature[MESH_SIGN_BYTES];
    mesh_err_t    err;
    mesh_sign_t  *own, *got;

    UNIT_NEED(pki_new(&pki, WRITER, NOW - 10, NOW + 3600) == 0);

    own = mesh_sign_new(7, NULL);
    value = mesh_sign_publish(own, pki.key, pki.chain, &err);
    UNIT_NEED(value != NULL);

    got = mesh_sign_accept(value, strlen(value), pki.trust, WRITER, NOW,
                           &err);
    UNIT_NEED(got != NULL);

    UNIT_EQ(mesh_sign_epoch(got), 7);
    UNIT_EQ(mesh_sign_not_after(got), NOW + 3600);
    UNIT_OK(mesh_sign_same(own, got));

    UNIT_EQ(mesh_sign_make(own, "x", 1, signature), 0);
    UNIT_EQ(mesh_sign_verify(got, "x", 1, signature), 0);

    /* only the public half went out */

    UNIT_OK(mesh_sign_make(got, "x", 1, signature) != 0);

    free(value);
    mesh_sign_free(own);
    mesh_sign_free(got);
    pki_free(&pki);
}


/* accepts at a time, with a bundle and a name: NULL or the error */

static const char *
refused(const char *value, const char *trust, const char *id, time_t now)
{
    static mesh_err_t  err;

    mesh_sign_t  *got;

    memset(&err, 0, sizeof(err));

    got = mesh_sign_accept(value, strlen(value), trust, id, now, &err);

    if (got) {
        mesh_sign_free(got);
        return NULL;
    }

    return err.text;
}


static void
foreign_expired_and_other_leafs_are_refused(void)
{
    char         *value, *late, *other;
    pki_t         pki, foreign, web;
    mesh_sign_t  *own;

    UNIT_NEED(pki_new(&pki, WRITER, NOW - 10, NOW + 3600) == 0);
    UNIT_NEED(pki_new(&foreign, WRITER, NOW - 10, NOW + 3600) == 0);
    UNIT_NEED(pki_new(&web, OTHER, NOW - 10, NOW + 3600) == 0);

    own = mesh_sign_new(7, NULL);
    value = mesh_sign_publish(own, pki.key, pki.chain, NULL);
    late = mesh_sign_publish(own, foreign.key, foreign.chain, NULL);
    other = mesh_sign_publish(own, web.key, web.chain, NULL);
    UNIT_NEED(value != NULL && late != NULL && other != NULL);

    UNIT_OK(refused(value, pki.trust, WRITER, NOW) == NULL);
    UNIT_HAS(refused(late, pki.trust, WRITER, NOW), "signer");
    UNIT_HAS(refused(other, web.trust, WRITER, NOW), OTHER);
    UNIT_HAS(refused(value, pki.trust, OTHER, NOW), WRITER);
    UNIT_HAS(refused(value, "no PEM", WRITER, NOW), "trust bundle");

    /* clocks may differ by the skew, at both ends */

    UNIT_OK(refused(value, pki.trust, WRITER, NOW + 3600 + 20) == NULL);
    UNIT_HAS(refused(value, pki.trust, WRITER, NOW + 3600 + 21), "expired");
    UNIT_OK(refused(value, pki.trust, WRITER, NOW - 10 - 20) == NULL);
    UNIT_HAS(refused(value, pki.trust, WRITER, NOW - 10 - 21), "not yet");

    free(value);
    free(late);
    free(other);
    mesh_sign_free(own);
    pki_free(&pki);
    pki_free(&foreign);
    pki_free(&web);
}


/* value with one member replaced */

static char *
with(const char *value, const char *name, const char *text)
{
    char    *out;
    json_t  *json;

    json = json_loads(value, 0, NULL);
    json_object_set_new(json, name, json_string(text));
    out = json_dumps(json, JSON_COMPACT);
    json_decref(json);

    return out;
}


static void
every_member_is_signed(void)
{
    char         *value, *second, *bad, *key;
    pki_t         pki;
    size_t        i;
    json_t       *json;
    mesh_sign_t  *a, *b;

    UNIT_NEED(pki_new(&pki, WRITER, NOW - 10, NOW + 3600) == 0);

    a = mesh_sign_new(7, NULL);
    b = mesh_sign_new(7, NULL);
    value = mesh_sign_publish(a, pki.key, pki.chain, NULL);
    second = mesh_sign_publish(b, pki.key, pki.chain, NULL);
    UNIT_NEED(value != NULL && second != NULL);

    json = json_loads(second, 0, NULL);
    key = strdup(json_string_value(json_object_get(json, "key")));
    json_decref(json);

    const struct { const char *name, *text, *word; }  rows[] = {
        { "key", key, "signature is not the leaf's" },
        { "key", "AAAA", "no Ed25519 key" },
        { "epoch", "8", "signature is not the leaf's" },
        { "epoch", "07", "no number" },
        { "epoch", "16777216", "no number" },
        { "epoch", "7x", "no number" },
        { "signature", "AAAA", "signature is not the leaf's" },
        { "signature", "", "signature is not the leaf's" },
        { "chain", "nothing", "signer" },
        { "layout", "1", "signer" },
        { "layout", "2", "signer" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bad = with(value, rows[i].name, rows[i].text);
        UNIT_HAS(refused(bad, pki.trust, WRITER, NOW), rows[i].word);
        free(bad);
    }

    free(key);
    free(value);
    free(second);
    mesh_sign_free(a);
    mesh_sign_free(b);
    pki_free(&pki);
}


static void
garbage_and_cut_values_are_refused(void)
{
    char         *value, *copy;
    pki_t         pki;
    size_t        i, len;
    mesh_err_t    err;
    mesh_sign_t  *own;

    UNIT_NEED(pki_new(&pki, WRITER, NOW - 10, NOW + 3600) == 0);

    own = mesh_sign_new(7, NULL);
    value = mesh_sign_publish(own, pki.key, pki.chain, NULL);
    UNIT_NEED(value != NULL);

    UNIT_HAS(refused("", pki.trust, WRITER, NOW), "no JSON");
    UNIT_HAS(refused("[]", pki.trust, WRITER, NOW), "signer");
    UNIT_HAS(refused("{\"layout\":2,\"epoch\":\"7\",\"key\":\"\","
                     "\"chain\":\"\",\"signature\":\"\"}", pki.trust, WRITER,
                     NOW), "layout is 2");

    len = strlen(value);

    for (i = 0; i < len; i += 7) {
        copy = malloc(i + 1);
        memcpy(copy, value, i);

        UNIT_OK(mesh_sign_accept(copy, i, pki.trust, WRITER, NOW, &err)
                == NULL);
        free(copy);
    }

    free(value);
    mesh_sign_free(own);
    pki_free(&pki);
}


UNIT_TESTS = {
    UNIT(an_own_key_signs_and_verifies),
    UNIT(a_published_key_is_accepted),
    UNIT(foreign_expired_and_other_leafs_are_refused),
    UNIT(every_member_is_signed),
    UNIT(garbage_and_cut_values_are_refused),
    UNIT_END
};
