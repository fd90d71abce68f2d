
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_tls_pair.c
 *       ngx_mesh_module/shared/mesh_identity.c; -lssl -lcrypto
 */

/*
 * A CA made here, and pairs that are good, old, early, of somebody else, or
 * no pairs at all, in a directory of their own.
 */

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <ngx_mesh_tls_pair.h>

#include "unit.h"


#define NOW   1800000000
#define DAY   86400
#define WEB   "spiffe://cluster.local/ns/shop/sa/web"


static EVP_PKEY             *ca_key, *foreign_key, *web_key, *other_key;
static X509                 *ca, *foreign;
static char                  dir[] = "/tmp/u-tls-pair-XXXXXX";
static char                  err[NGX_MESH_TLS_ERR_MAX];
static ngx_mesh_tls_pair_t   pair;


static int
add_ext(X509 *cert, int nid, const char *value)
{
    int              ok;
    X509_EXTENSION  *ext;

    ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    ok = ext && X509_add_ext(cert, ext, -1);

    X509_EXTENSION_free(ext);

    return ok;
}


/* names: the subject alternative names of a leaf, NULL for a CA */

static X509 *
make(EVP_PKEY *key, const char *names, time_t from, time_t to, X509 *issuer,
    EVP_PKEY *issuer_key)
{
    X509         *cert;
    X509_NAME    *name;
    static long   serial = 1;

    cert = X509_new();

    (void) X509_set_version(cert, 2);
    (void) ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    (void) ASN1_TIME_set(X509_getm_notBefore(cert), from);
    (void) ASN1_TIME_set(X509_getm_notAfter(cert), to);
    (void) X509_set_pubkey(cert, key);

    name = X509_get_subject_name(cert);

    if (issuer == NULL) {
        (void) X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                          (unsigned char *) "ca", -1, -1, 0);
        issuer = cert;
    }

    (void) X509_set_issuer_name(cert, X509_get_subject_name(issuer));

    if (names) {
        (void) add_ext(cert, NID_basic_constraints, "critical,CA:FALSE");
        (void) add_ext(cert, NID_key_usage, "critical,digitalSignature");
        (void) add_ext(cert, NID_ext_key_usage, "serverAuth,clientAuth");

        if (names[0]) {
            (void) add_ext(cert, NID_subject_alt_name, names);
        }

    } else {
        (void) add_ext(cert, NID_basic_constraints, "critical,CA:TRUE");
        (void) add_ext(cert, NID_key_usage, "critical,keyCertSign");
    }

    (void) X509_sign(cert, issuer_key, EVP_sha256());

    return cert;
}


static const char *
path(const char *name)
{
    static char  buf[256];

    (void) snprintf(buf, sizeof(buf), "%s/%s", dir, name);

    return buf;
}


static void
write_certs(const char *name, X509 *a, X509 *b)
{
    FILE  *f;

    f = fopen(path(name), "w");

    if (f) {
        (void) PEM_write_X509(f, a);

        if (b) {
            (void) PEM_write_X509(f, b);
        }

        (void) fclose(f);
    }
}


static void
write_text(const char *name, const char *text)
{
    FILE  *f;

    f = fopen(path(name), "w");

    if (f) {
        (void) fputs(text, f);
        (void) fclose(f);
    }
}


static void
write_key(EVP_PKEY *key)
{
    FILE  *f;

    f = fopen(path("key.pem"), "w");

    if (f) {
        (void) PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
        (void) fclose(f);
    }
}


static void
write_good(X509 *leaf)
{
    write_certs("cert.pem", leaf, ca);
    write_key(web_key);
    write_certs("trust.pem", ca, NULL);
}


static const char *
load(void)
{
    ngx_mesh_tls_files_t  files = { dir, "cert.pem", "key.pem", "trust.pem" };

    ngx_mesh_tls_pair_free(&pair);

    return ngx_mesh_tls_pair_load(&pair, &files, err);
}


static const char *
load_and_check(void)
{
    const char  *text;

    text = load();

    return text ? text : ngx_mesh_tls_pair_check(&pair, WEB, strlen(WEB), NOW,
                                                 err);
}


static const char *
check_leaf(const char *names, time_t from, time_t to)
{
    X509  *leaf;

    leaf = make(web_key, names, from, to, ca, ca_key);
    write_good(leaf);
    X509_free(leaf);

    return load_and_check();
}


static void
setup(void)
{
    UNIT_NEED(mkdtemp(dir) != NULL);

    ca_key = EVP_EC_gen("P-256");
    foreign_key = EVP_EC_gen("P-256");
    web_key = EVP_EC_gen("P-256");
    other_key = EVP_EC_gen("P-256");

    ca = make(ca_key, NULL, NOW - 9 * DAY, NOW + 9 * DAY, NULL, ca_key);
    foreign = make(foreign_key, NULL, NOW - 9 * DAY, NOW + 9 * DAY, NULL,
                   foreign_key);
}


static void
good_pair_is_taken(void)
{
    UNIT_STR(check_leaf("URI:" WEB, NOW - 60, NOW + DAY), NULL);
    UNIT_OK(pair.leaf != NULL);
    UNIT_EQ(sk_X509_num(pair.chain), 1);
    UNIT_OK(strncmp(pair.epoch, "u-tls-pair-", 11) == 0);

    UNIT_STR(check_leaf("URI:" WEB ",DNS:web.shop", NOW - 60, NOW + DAY),
             NULL);
}


static void
bad_leaf_is_refused(void)
{
    UNIT_HAS(check_leaf("URI:" WEB, NOW - DAY, NOW - 1), "has expired");
    UNIT_HAS(check_leaf("URI:" WEB, NOW + 60, NOW + DAY), "not yet valid");
    UNIT_HAS(check_leaf("URI:spiffe://cluster.local/ns/shop/sa/cart",
                        NOW - 60, NOW + DAY),
             "certificate is of");
    UNIT_HAS(check_leaf("URI:" WEB ",URI:" WEB "2", NOW - 60, NOW + DAY),
             "more than one URI");
    UNIT_HAS(check_leaf("DNS:web.shop", NOW - 60, NOW + DAY), "no URI");
    UNIT_HAS(check_leaf("URI:https://web.shop/", NOW - 60, NOW + DAY),
             "spiffe://");
    UNIT_HAS(check_leaf("", NOW - 60, NOW + DAY),
             "no subject alternative name");
}


static void
parts_that_do_not_fit_are_refused(void)
{
    X509  *leaf;

    UNIT_STR(check_leaf("URI:" WEB, NOW - 60, NOW + DAY), NULL);

    write_key(other_key);
    UNIT_HAS(load_and_check(), "key does not fit");

    write_key(web_key);
    write_certs("trust.pem", foreign, NULL);
    UNIT_HAS(load_and_check(), "chain does not verify");

    leaf = make(web_key, "URI:" WEB, NOW - 60, NOW + DAY, foreign,
                foreign_key);
    write_good(leaf);
    X509_free(leaf);
    UNIT_HAS(load_and_check(), "chain does not verify");
}


static void
files_that_cannot_be_read_are_named(void)
{
    UNIT_STR(check_leaf("URI:" WEB, NOW - 60, NOW + DAY), NULL);

    write_text("key.pem", "");
    UNIT_HAS(load(), "\"key.pem\" has no private key");
    write_key(web_key);

    write_text("cert.pem", "nothing of the kind");
    UNIT_HAS(load(), "\"cert.pem\" has no certificate");

    write_text("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    UNIT_HAS(load(), "\"cert.pem\" has a bad certificate");

    (void) unlink(path("cert.pem"));
    UNIT_HAS(load(), "\"cert.pem\" cannot be opened (No such file");

    (void) mkdir(path("cert.pem"), 0700);
    UNIT_HAS(load(), "not a regular file");
    (void) rmdir(path("cert.pem"));
}


static void
digests_tell_bundle_and_leaf_apart(void)
{
    unsigned char  leaf[NGX_MESH_TLS_DIGEST], trust[NGX_MESH_TLS_DIGEST];

    UNIT_STR(check_leaf("URI:" WEB, NOW - 60, NOW + DAY), NULL);
    memcpy(leaf, pair.pair_digest, sizeof(leaf));
    memcpy(trust, pair.trust_digest, sizeof(trust));

    UNIT_STR(load_and_check(), NULL);
    UNIT_OK(memcmp(leaf, pair.pair_digest, sizeof(leaf)) == 0);

    UNIT_STR(check_leaf("URI:" WEB, NOW - 60, NOW + 2 * DAY), NULL);
    UNIT_OK(memcmp(leaf, pair.pair_digest, sizeof(leaf)) != 0);
    UNIT_OK(memcmp(trust, pair.trust_digest, sizeof(trust)) == 0);

    write_certs("trust.pem", ca, foreign);
    UNIT_STR(load_and_check(), NULL);
    UNIT_OK(memcmp(trust, pair.trust_digest, sizeof(trust)) != 0);
}


static void
link_gives_the_epoch(void)
{
    char                   link[300];
    ngx_mesh_tls_files_t   files = { link, "cert.pem", "key.pem",
                                     "trust.pem" };

    (void) snprintf(link, sizeof(link), "%s-link", dir);
    (void) symlink("identity/17", link);

    ngx_mesh_tls_pair_free(&pair);

    UNIT_HAS(ngx_mesh_tls_pair_load(&pair, &files, err), "cannot be opened");
    UNIT_STR(pair.epoch, "17");

    (void) unlink(link);
}


static void
chain_expires_with_its_first(void)
{
    X509            *leaf;
    time_t           until;
    X509_STORE      *store;
    STACK_OF(X509)  *none;

    leaf = make(web_key, "URI:" WEB, NOW - 60, NOW + DAY, ca, ca_key);
    store = X509_STORE_new();
    none = sk_X509_new_null();
    (void) X509_STORE_add_cert(store, ca);

    UNIT_EQ(ngx_mesh_tls_chain_verify(store, leaf, none,
                                      X509_PURPOSE_SSL_CLIENT, NOW, &until),
            X509_V_OK);
    UNIT_EQ(until, NOW + DAY);

    UNIT_EQ(ngx_mesh_tls_chain_verify(store, leaf, none,
                                      X509_PURPOSE_SSL_CLIENT, NOW + 2 * DAY,
                                      &until),
            X509_V_ERR_CERT_HAS_EXPIRED);

    sk_X509_free(none);
    X509_STORE_free(store);
    X509_free(leaf);
}


static void
teardown(void)
{
    (void) unlink(path("cert.pem"));
    (void) unlink(path("key.pem"));
    (void) unlink(path("trust.pem"));
    UNIT_EQ(rmdir(dir), 0);

    ngx_mesh_tls_pair_free(&pair);
    X509_free(ca);
    X509_free(foreign);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(foreign_key);
    EVP_PKEY_free(web_key);
    EVP_PKEY_free(other_key);
}


UNIT_TESTS = {
    UNIT(setup),
    UNIT(good_pair_is_taken),
    UNIT(bad_leaf_is_refused),
    UNIT(parts_that_do_not_fit_are_refused),
    UNIT(files_that_cannot_be_read_are_named),
    UNIT(digests_tell_bundle_and_leaf_apart),
    UNIT(link_gives_the_epoch),
    UNIT(chain_expires_with_its_first),
    UNIT(teardown),
    UNIT_END
};
