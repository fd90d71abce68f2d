
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_x509.c controller/base/mesh_err.c; -lcrypto */

/* A CA made here, certificates good and bad, at times that are passed in. */

#include <mesh_x509.h>

#include <openssl/x509v3.h>

#include "unit.h"


#define NOW   1800000000
#define ID    "spiffe://cluster.local/ns/shop/sa/web"


static mesh_err_t   err;
static EVP_PKEY    *root_key, *issuer_key, *leaf_key;
static X509        *root, *issuer;


static X509 *
make(EVP_PKEY *key, const char *id, int ca, time_t from, time_t to,
    X509 *from_cert, EVP_PKEY *from_key)
{
    mesh_x509_want_t  want;

    memset(&want, 0, sizeof(want));
    want.id = id;
    want.name = !ca ? NULL : (from_cert == NULL) ? "a root" : "an issuer";
    want.ca = ca;
    want.pathlen = (ca && from_cert != NULL) ? 0 : -1;
    want.not_before = from;
    want.not_after = to;

    return mesh_x509_sign(key, &want, from_cert, from_key, &err);
}


static int
verify(X509 *leaf, X509 *above, X509 *anchor, time_t at, int purpose)
{
    int              rc;
    STACK_OF(X509)  *chain, *bundle;

    chain = sk_X509_new_null();
    bundle = sk_X509_new_null();

    (void) sk_X509_push(chain, leaf);

    if (above != NULL) {
        (void) sk_X509_push(chain, above);
    }

    (void) sk_X509_push(bundle, anchor);

    rc = mesh_x509_verify(chain, bundle, at, purpose, &err);

    sk_X509_free(chain);
    sk_X509_free(bundle);

    return rc;
}


static void
key_goes_to_pem_and_back(void)
{
    char      *pem;
    EVP_PKEY  *back;

    root_key = mesh_x509_key_new(&err);
    issuer_key = mesh_x509_key_new(&err);
    leaf_key = mesh_x509_key_new(&err);
    UNIT_NEED(root_key != NULL && issuer_key != NULL && leaf_key != NULL);

    UNIT_OK(mesh_x509_key_is_p256(leaf_key));
    UNIT_OK(!mesh_x509_key_is_p256(NULL));

    pem = mesh_x509_key_pem_new(leaf_key, &err);
    UNIT_NEED(pem != NULL);
    UNIT_HAS(pem, "-----BEGIN PRIVATE KEY-----\n");

    back = mesh_x509_key_parse(pem, strlen(pem), &err);
    UNIT_OK(back != NULL && EVP_PKEY_eq(back, leaf_key) == 1);
    EVP_PKEY_free(back);

    UNIT_OK(mesh_x509_key_parse(pem, strlen(pem) / 2, &err) == NULL);
    UNIT_HAS(err.text, "cannot read key");
    mesh_x509_pem_free(pem);
    mesh_x509_pem_free(NULL);

    UNIT_OK(mesh_x509_key_parse("", 0, &err) == NULL);

    back = EVP_EC_gen("P-384");
    UNIT_OK(!mesh_x509_key_is_p256(back));
    EVP_PKEY_free(back);
    back = EVP_RSA_gen(1024);
    UNIT_OK(!mesh_x509_key_is_p256(back));
    EVP_PKEY_free(back);
}


static void
sign_makes_what_is_wanted(void)
{
    char               id[MESH_X509_ID_MAX + 1], serial[65], serial2[65];
    X509              *leaf, *other;
    time_t             from, to;
    mesh_x509_want_t   want;

    root = make(root_key, NULL, 1, NOW - 100, NOW + 100000, NULL, root_key);
    UNIT_NEED(root != NULL);
    issuer = make(issuer_key, NULL, 1, NOW - 100, NOW + 50000, root,
                  root_key);
    UNIT_NEED(issuer != NULL);
    leaf = make(leaf_key, ID, 0, NOW - 20, NOW + 100, issuer, issuer_key);
    UNIT_NEED(leaf != NULL);

    UNIT_EQ(mesh_x509_id(leaf, id, &err), MESH_OK);
    UNIT_STR(id, ID);
    UNIT_EQ(mesh_x509_times(leaf, &from, &to), MESH_OK);
    UNIT_EQ(from, NOW - 20);
    UNIT_EQ(to, NOW + 100);
    UNIT_OK(mesh_x509_fits(leaf, leaf_key));
    UNIT_OK(!mesh_x509_fits(leaf, issuer_key));
    UNIT_EQ(X509_get_version(leaf), X509_VERSION_3);
    UNIT_EQ(X509_check_ca(leaf), 0);
    UNIT_EQ(X509_check_ca(issuer), 1);
    UNIT_EQ(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    UNIT_EQ(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER
            | XKU_SSL_CLIENT);
    UNIT_EQ(X509_get_pathlen(issuer), 0);
    UNIT_EQ(X509_get_pathlen(root), -1);
    UNIT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);

    other = make(leaf_key, ID, 0, NOW, NOW + 1, issuer, issuer_key);
    mesh_x509_serial(leaf, serial, sizeof(serial));
    mesh_x509_serial(other, serial2, sizeof(serial2));
    UNIT_OK(strcmp(serial, serial2) != 0 && strlen(serial) > 24);
    X509_free(other);
    X509_free(leaf);

    memset(&want, 0, sizeof(want));
    want.id = ID;
    want.serial_number = "not_printable";
    UNIT_OK(mesh_x509_sign(leaf_key, &want, issuer, issuer_key, &err)
            == NULL);
    UNIT_HAS(err.text, "serialNumber \"not_printable\"");

    want.serial_number = "3f-1";
    leaf = mesh_x509_sign(leaf_key, &want, issuer, issuer_key, &err);
    UNIT_NEED(leaf != NULL);
    UNIT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf)), 1);
    X509_free(leaf);
}


static void
verify_says_what_is_wrong(void)
{
    X509      *leaf, *self, *sub, *deep;
    EVP_PKEY  *key;

    leaf = make(leaf_key, ID, 0, NOW - 20, NOW + 100, issuer, issuer_key);
    UNIT_NEED(leaf != NULL);

    UNIT_EQ(verify(leaf, issuer, root, NOW, MESH_X509_SERVER), MESH_OK);
    UNIT_EQ(verify(leaf, issuer, root, NOW, MESH_X509_CLIENT), MESH_OK);
    UNIT_EQ(verify(leaf, issuer, root, NOW, MESH_X509_ANY), MESH_OK);

    UNIT_EQ(verify(leaf, issuer, root, NOW - 21, MESH_X509_ANY), MESH_ERROR);
    UNIT_HAS(err.text, "not yet valid at depth 0");
    UNIT_EQ(verify(leaf, issuer, root, NOW + 101, MESH_X509_ANY),
            MESH_ERROR);
    UNIT_HAS(err.text, "expired");
    UNIT_EQ(verify(leaf, issuer, root, NOW + 60000, MESH_X509_ANY),
            MESH_ERROR);

    UNIT_EQ(verify(leaf, NULL, root, NOW, MESH_X509_ANY), MESH_ERROR);
    UNIT_HAS(err.text, "unable to get local issuer");

    /* an issuer in the bundle is no anchor: only what is self-signed is */

    UNIT_EQ(verify(leaf, issuer, issuer, NOW, MESH_X509_ANY), MESH_ERROR);

    self = make(leaf_key, ID, 0, NOW - 20, NOW + 100, NULL, leaf_key);
    UNIT_EQ(verify(self, NULL, root, NOW, MESH_X509_ANY), MESH_ERROR);
    UNIT_HAS(err.text, "self-signed");

    /* a leaf signs nothing, and an issuer makes no issuers (pathlen 0) */

    sub = make(leaf_key, ID, 0, NOW - 20, NOW + 100, self, leaf_key);
    UNIT_EQ(verify(sub, leaf, root, NOW, MESH_X509_ANY), MESH_ERROR);

    key = mesh_x509_key_new(&err);
    deep = make(key, NULL, 1, NOW - 20, NOW + 100, issuer, issuer_key);
    X509_free(sub);
    sub = make(leaf_key, ID, 0, NOW - 20, NOW + 100, deep, key);
    UNIT_EQ(verify(sub, deep, root, NOW, MESH_X509_ANY), MESH_ERROR);

    EVP_PKEY_free(key);
    X509_free(deep);
    X509_free(sub);
    X509_free(self);
    X509_free(leaf);
}


static X509 *
with_san(const char *text)
{
    X509            *cert;
    X509_EXTENSION  *ext;

    cert = make(leaf_key, NULL, 0, NOW, NOW + 1, issuer, issuer_key);
    ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    (void) X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);

    return cert;
}


static void
id_is_exactly_one_uri(void)
{
    char            id[MESH_X509_ID_MAX + 1], uri[MESH_X509_ID_MAX + 32];
    X509           *cert;
    size_t          i;
    GENERAL_NAMES  *names;
    ASN1_STRING    *value;

    static const struct {
        const char  *san;
        const char  *wrong;
    } rows[] = {
        { "URI:" ID, NULL },
        { "URI:" ID ",DNS:web", NULL },
        { "URI:" ID ",URI:spiffe://b/c", "2 URI SANs" },
        { "URI:" ID ",URI:" ID, "2 URI SANs" },
        { "DNS:web", "0 URI SANs" },
        { "URI:https://web/", "no SPIFFE ID" },
        { "URI:spiffe://", "no SPIFFE ID" },
        { "URI:SPIFFE://a/b", "no SPIFFE ID" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        cert = with_san(rows[i].san);

        if (rows[i].wrong == NULL) {
            UNIT_EQ(mesh_x509_id(cert, id, &err), MESH_OK);
            UNIT_STR(id, ID);

        } else {
            UNIT_EQ(mesh_x509_id(cert, id, &err), MESH_ERROR);
            UNIT_HAS(err.text, rows[i].wrong);
        }

        X509_free(cert);
    }

    cert = make(leaf_key, NULL, 0, NOW, NOW + 1, issuer, issuer_key);
    UNIT_EQ(mesh_x509_id(cert, id, &err), MESH_ERROR);
    UNIT_STR(err.text, "certificate has no SAN");
    X509_free(cert);

    /* two extensions, a zero byte, the longest and one more */

    cert = with_san("URI:" ID);
    names = mesh_x509_names_new(ID);
    (void) X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1,
                             X509V3_ADD_APPEND);
    UNIT_EQ(mesh_x509_id(cert, id, &err), MESH_ERROR);
    X509_free(cert);

    value = sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier;
    (void) ASN1_STRING_set(value, ID "\0x", sizeof(ID) + 1);
    cert = make(leaf_key, NULL, 0, NOW, NOW + 1, issuer, issuer_key);
    (void) X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, 0);
    UNIT_EQ(mesh_x509_id(cert, id, &err), MESH_ERROR);
    X509_free(cert);
    GENERAL_NAMES_free(names);

    for (i = MESH_X509_ID_MAX; i <= MESH_X509_ID_MAX + 1; i++) {
        memset(uri, 'a', i);
        memcpy(uri, "spiffe://", 9);
        uri[i] = '\0';
        cert = make(leaf_key, uri, 0, NOW, NOW + 1, issuer, issuer_key);
        UNIT_EQ(mesh_x509_id(cert, id, &err),
                i == MESH_X509_ID_MAX ? MESH_OK : MESH_ERROR);
        X509_free(cert);
    }
}


static void
chain_parse_takes_certificates_only(void)
{
    char            *pem, text[16384];
    size_t           i, len;
    STACK_OF(X509)  *chain;

    chain = sk_X509_new_null();
    (void) sk_X509_push(chain, issuer);
    (void) sk_X509_push(chain, root);
    pem = mesh_x509_chain_pem_new(chain, &err);
    sk_X509_free(chain);
    UNIT_NEED(pem != NULL);
    len = strlen(pem);

    (void) snprintf(text, sizeof(text), "a comment\n%s# and more\n", pem);
    chain = mesh_x509_chain_parse(text, strlen(text), 2, &err);
    UNIT_NEED(chain != NULL);
    UNIT_EQ(sk_X509_num(chain), 2);
    UNIT_EQ(X509_cmp(sk_X509_value(chain, 1), root), 0);
    mesh_x509_chain_free(chain);

    UNIT_OK(mesh_x509_chain_parse(pem, len, 1, &err) == NULL);
    UNIT_STR(err.text, "more than 1 certificates");
    UNIT_OK(mesh_x509_chain_parse("", 0, 2, &err) == NULL);
    UNIT_STR(err.text, "no certificate in PEM format");
    UNIT_OK(mesh_x509_chain_parse("hello", 5, 2, &err) == NULL);

    free(pem);
    pem = mesh_x509_key_pem_new(leaf_key, &err);
    UNIT_NEED(pem != NULL);
    UNIT_OK(mesh_x509_chain_parse(pem, strlen(pem), 2, &err) == NULL);
    UNIT_HAS(err.text, "certificate 1: PEM of \"PRIVATE KEY\"");
    mesh_x509_pem_free(pem);

    chain = sk_X509_new_null();
    (void) sk_X509_push(chain, root);
    pem = mesh_x509_chain_pem_new(chain, &err);
    sk_X509_free(chain);
    UNIT_NEED(pem != NULL);
    len = strlen(pem);

    /* cut, or flipped, at every place: no crash, and no more than one */

    for (i = 0; i < len; i++) {
        (void) snprintf(text, sizeof(text), "%s", pem);
        text[i] ^= 0x11;
        chain = mesh_x509_chain_parse(text, len, 2, &err);
        UNIT_OK(chain == NULL || sk_X509_num(chain) == 1);
        mesh_x509_chain_free(chain);

        chain = mesh_x509_chain_parse(pem, i, 2, &err);
        UNIT_OK(chain == NULL || i >= len - 2);
        mesh_x509_chain_free(chain);
    }

    free(pem);
}


static void
everything_is_freed(void)
{
    X509_free(root);
    X509_free(issuer);
    EVP_PKEY_free(root_key);
    EVP_PKEY_free(issuer_key);
    EVP_PKEY_free(leaf_key);
    mesh_x509_chain_free(NULL);
}


UNIT_TESTS = {
    UNIT(key_goes_to_pem_and_back),
    UNIT(sign_makes_what_is_wanted),
    UNIT(verify_says_what_is_wrong),
    UNIT(id_is_exactly_one_uri),
    UNIT(chain_parse_takes_certificates_only),
    UNIT(everything_is_freed),
    UNIT_END
};
