
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_x509_csr.c controller/base/mesh_x509.c
         controller/base/mesh_err.c; -lcrypto */

/* Our own request passes; one that differs in one thing does not. */

#include <mesh_x509.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "unit.h"


#define ID    "spiffe://cluster.local/ns/shop/sa/web"


static mesh_err_t   err;
static EVP_PKEY    *key;
static char         id[MESH_X509_ID_MAX + 1];


/* an extension's name and text, or NULL and NULL */

static X509_REQ *
make(EVP_PKEY *with, const char *san, int nid, const char *value)
{
    X509_REQ         *req;
    X509_EXTENSION   *ext;
    X509_EXTENSIONS  *exts;

    req = X509_REQ_new();
    (void) X509_REQ_set_version(req, X509_REQ_VERSION_1);
    exts = sk_X509_EXTENSION_new_null();

    if (san != NULL) {
        ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
        (void) sk_X509_EXTENSION_push(exts, ext);
    }

    if (value != NULL) {
        ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
        (void) sk_X509_EXTENSION_push(exts, ext);
    }

    if (sk_X509_EXTENSION_num(exts) > 0) {
        (void) X509_REQ_add_extensions(req, exts);
    }

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);

    (void) X509_REQ_set_pubkey(req, with);

    return req;
}


static void
refused(X509_REQ *req, EVP_PKEY *with, const char *why)
{
    if (with != NULL) {
        (void) X509_REQ_sign(req, with, EVP_sha256());
    }

    UNIT_EQ(mesh_x509_csr_check(req, id, &err), MESH_ERROR);
    UNIT_HAS(err.text, why);
    X509_REQ_free(req);
}


static void
our_own_passes(void)
{
    char      *pem;
    X509_REQ  *req;

    key = mesh_x509_key_new(&err);
    UNIT_NEED(key != NULL);

    pem = mesh_x509_csr_new(key, ID, &err);
    UNIT_NEED(pem != NULL);

    req = mesh_x509_csr_parse(pem, strlen(pem), &err);
    UNIT_NEED(req != NULL);
    UNIT_EQ(mesh_x509_csr_check(req, id, &err), MESH_OK);
    UNIT_STR(id, ID);
    UNIT_OK(EVP_PKEY_eq(X509_REQ_get0_pubkey(req), key) == 1);

    X509_REQ_free(req);
    free(pem);
}


static void
anything_more_is_refused(void)
{
    X509_REQ  *req;

    refused(make(key, "URI:" ID ",DNS:web", 0, NULL), key, "2 names");
    refused(make(key, "URI:" ID ",URI:" ID, 0, NULL), key, "2 names");
    refused(make(key, "DNS:web", 0, NULL), key, "no URI");
    refused(make(key, "URI:https://x/", 0, NULL), key, "no SPIFFE ID");
    refused(make(key, "URI:" ID, NID_basic_constraints, "CA:TRUE"), key,
            "2 extensions");
    refused(make(key, NULL, NID_key_usage, "digitalSignature"), key,
            "another extension");
    refused(make(key, NULL, 0, NULL), key, "0 attributes");

    req = make(key, "URI:" ID, 0, NULL);
    (void) X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN",
                                      MBSTRING_ASC,
                                      (const unsigned char *) "a", -1, -1, 0);
    refused(req, key, "has a subject");

    req = make(key, "URI:" ID, 0, NULL);
    (void) X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword,
                                     MBSTRING_ASC,
                                     (const unsigned char *) "secret", -1);
    refused(req, key, "2 attributes");

    req = make(key, NULL, 0, NULL);
    (void) X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword,
                                     MBSTRING_ASC,
                                     (const unsigned char *) "secret", -1);
    refused(req, key, "another attribute");

    req = make(key, "URI:" ID, 0, NULL);
    (void) X509_REQ_set_version(req, 1);
    refused(req, key, "unknown version");
}


static void
another_key_is_refused(void)
{
    EVP_PKEY  *other;

    other = EVP_EC_gen("P-384");
    refused(make(other, "URI:" ID, 0, NULL), other, "no ECDSA P-256");
    EVP_PKEY_free(other);

    other = EVP_RSA_gen(2048);
    refused(make(other, "URI:" ID, 0, NULL), other, "no ECDSA P-256");
    EVP_PKEY_free(other);

    other = mesh_x509_key_new(&err);
    refused(make(key, "URI:" ID, 0, NULL), other, "not signed by its key");
    refused(make(key, "URI:" ID, 0, NULL), NULL, "not signed by its key");
    EVP_PKEY_free(other);
}


static void
damage_is_refused(void)
{
    int             len, i, taken;
    char           *pem, *text;
    BIO            *bio;
    X509_REQ       *req;
    unsigned char  *der, *damaged;
    const unsigned char  *p;

    pem = mesh_x509_csr_new(key, ID, &err);
    UNIT_NEED(pem != NULL);

    UNIT_OK(mesh_x509_csr_parse("", 0, &err) == NULL);
    UNIT_OK(mesh_x509_csr_parse("hello", 5, &err) == NULL);
    UNIT_OK(mesh_x509_csr_parse(pem, strlen(pem) / 2, &err) == NULL);
    UNIT_HAS(err.text, "cannot read the request");

    /* every bit of every eighth byte of the DER */

    req = mesh_x509_csr_parse(pem, strlen(pem), &err);
    UNIT_NEED(req != NULL);
    der = NULL;
    len = i2d_X509_REQ(req, &der);
    X509_REQ_free(req);
    UNIT_NEED(len > 0);

    taken = 0;

    for (i = 0; i < len * 8; i++) {
        damaged = OPENSSL_memdup(der, len);
        damaged[i / 8] ^= 1 << i % 8;
        p = damaged;
        req = d2i_X509_REQ(NULL, &p, len);

        if (req != NULL && mesh_x509_csr_check(req, id, &err) == MESH_OK) {
            taken++;
        }

        X509_REQ_free(req);
        OPENSSL_free(damaged);
    }

    UNIT_EQ(taken, 0);

    /* a certificate's PEM around it */

    bio = BIO_new(BIO_s_mem());
    (void) PEM_write_bio(bio, "CERTIFICATE", "", der, len);
    len = BIO_get_mem_data(bio, &text);
    UNIT_OK(mesh_x509_csr_parse(text, len, &err) == NULL);

    BIO_free(bio);
    OPENSSL_free(der);
    free(pem);
    EVP_PKEY_free(key);
}


UNIT_TESTS = {
    UNIT(our_own_passes),
    UNIT(anything_more_is_refused),
    UNIT(another_key_is_refused),
    UNIT(damage_is_refused),
    UNIT_END
};
