
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Makes and checks mesh:signer, and signs and verifies with the Ed25519 key
 * in it.  The leaf signs layout, epoch and key, so a chain cannot be moved
 * to another key or epoch.  A chain is only as good as the bundle it is
 * checked with: this file never looks for trust anywhere else.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <mesh_sign.h>


#define MESH_SIGN_KEY_BYTES       32       /* Ed25519 public key */
#define MESH_SIGN_CHAIN_MAX       4        /* certificates */
#define MESH_SIGN_EPOCH_MAX       ((UINT64_C(1) << 24) - 1)


struct mesh_sign_s {
    EVP_PKEY     *key;
    uint64_t      epoch;
    time_t        not_after;
};


/* the parts of a value of mesh:signer; strings belong to json */

typedef struct {
    json_t       *json;
    uint64_t      epoch;
    const char   *epoch_text;
    const char   *key;
    const char   *chain;
    const char   *signature;
} mesh_sign_value_t;


static const char  mesh_sign_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";


static char *mesh_sign_payload(const char *epoch, const char *key);
static char *mesh_sign_by_leaf(EVP_PKEY *leaf, const char *payload);
static int mesh_sign_value(mesh_sign_value_t *v, const char *text, size_t len,
    char *err, size_t size);
static int mesh_sign_vouched(const mesh_sign_value_t *v, EVP_PKEY *leaf);
static STACK_OF(X509) *mesh_sign_chain(const char *pem);
static const char *mesh_sign_check_chain(STACK_OF(X509) *chain,
    const char *trust_pem, time_t now);
static const char *mesh_sign_check_name(X509 *leaf, const char *identity);
static time_t mesh_sign_time(const ASN1_TIME *t);


mesh_sign_t *
mesh_sign_new(uint64_t epoch, char *err, size_t size)
{
    mesh_sign_t  *sign;

    sign = calloc(1, sizeof(mesh_sign_t));
    if (sign == NULL) {
        snprintf(err, size, "no memory");
        return NULL;
    }

    sign->epoch = epoch;
    sign->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (sign->key == NULL) {
        snprintf(err, size, "cannot make an Ed25519 key");
        free(sign);
        return NULL;
    }

    return sign;
}


void
mesh_sign_free(mesh_sign_t *sign)
{
    if (sign) {
        EVP_PKEY_free(sign->key);
        free(sign);
    }
}


uint64_t
mesh_sign_epoch(const mesh_sign_t *sign)
{
    return sign->epoch;
}


time_t
mesh_sign_not_after(const mesh_sign_t *sign)
{
    return sign->not_after;
}


int
mesh_sign_same(const mesh_sign_t *a, const mesh_sign_t *b)
{
    return a->epoch == b->epoch && EVP_PKEY_eq(a->key, b->key) == 1;
}


int
mesh_sign_make(const mesh_sign_t *sign, const void *data, size_t len,
    uint8_t signature[MESH_SIGN_BYTES])
{
    int          rc;
    size_t       n;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return -1;
    }

    n = MESH_SIGN_BYTES;

    rc = EVP_DigestSignInit(ctx, NULL, NULL, NULL, sign->key) == 1
         && EVP_DigestSign(ctx, signature, &n, data, len) == 1
         && n == MESH_SIGN_BYTES;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc ? 0 : -1;
}


int
mesh_sign_verify(const mesh_sign_t *sign, const void *data, size_t len,
    const uint8_t signature[MESH_SIGN_BYTES])
{
    int          rc;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return -1;
    }

    rc = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, sign->key) == 1
         && EVP_DigestVerify(ctx, signature, MESH_SIGN_BYTES, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc ? 0 : -1;
}


/* what the leaf signs */

static char *
mesh_sign_payload(const char *epoch, const char *key)
{
    char  *text;

    if (asprintf(&text, "ngx-mesh/%d signer\n%s\n%s", MESH_SIGN_LAYOUT, epoch,
                 key) == -1)
    {
        return NULL;
    }

    return text;
}


char *
mesh_sign_publish(const mesh_sign_t *sign, const char *leaf_key_pem,
    const char *chain_pem, char *err, size_t size)
{
    BIO       *bio;
    char      *payload, *signature, *text;
    char       key[mesh_sign_base64_size(MESH_SIGN_KEY_BYTES)], epoch[24];
    json_t    *json;
    size_t     n;
    uint8_t    public[MESH_SIGN_KEY_BYTES];
    EVP_PKEY  *leaf;

    text = NULL;
    payload = NULL;
    signature = NULL;

    bio = BIO_new_mem_buf(leaf_key_pem, -1);
    leaf = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);

    if (leaf == NULL) {
        snprintf(err, size, "the leaf's key is no PEM private key");
        goto done;
    }

    n = sizeof(public);

    if (EVP_PKEY_get_raw_public_key(sign->key, public, &n) != 1) {
        snprintf(err, size, "cannot read the Ed25519 key");
        goto done;
    }

    mesh_sign_base64(key, public, n);
    snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long) sign->epoch);

    payload = mesh_sign_payload(epoch, key);
    signature = payload ? mesh_sign_by_leaf(leaf, payload) : NULL;

    if (signature == NULL) {
        snprintf(err, size, "the leaf's key cannot sign");
        goto done;
    }

    json = json_pack("{s:i, s:s, s:s, s:s, s:s}", "layout", MESH_SIGN_LAYOUT,
                     "epoch", epoch, "key", key, "chain", chain_pem,
                     "signature", signature);

    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);

    if (text == NULL) {
        snprintf(err, size, "the chain is no text");
    }

done:

    ERR_clear_error();
    EVP_PKEY_free(leaf);
    free(payload);
    free(signature);

    return text;
}


/* base64 of an ECDSA-SHA256 signature; the caller frees */

static char *
mesh_sign_by_leaf(EVP_PKEY *leaf, const char *payload)
{
    char        *text;
    size_t       n;
    uint8_t      signature[256];
    EVP_MD_CTX  *ctx;

    text = NULL;
    n = sizeof(signature);

    ctx = EVP_MD_CTX_new();

    if (ctx
        && EVP_PKEY_is_a(leaf, "EC")
        && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, leaf) == 1
        && EVP_DigestSign(ctx, signature, &n, (const uint8_t *) payload,
                          strlen(payload)) == 1)
    {
        text = malloc(mesh_sign_base64_size(n));

        if (text) {
            mesh_sign_base64(text, signature, n);
        }
    }

    EVP_MD_CTX_free(ctx);

    return text;
}


mesh_sign_t *
mesh_sign_accept(const char *value, size_t len, const char *trust_pem,
    const char *identity, time_t now, char *err, size_t size)
{
    uint8_t             public[MESH_SIGN_KEY_BYTES];
    const char         *wrong;
    mesh_sign_t        *sign;
    mesh_sign_value_t   v;
    STACK_OF(X509)     *chain;

    sign = NULL;
    chain = NULL;

    if (mesh_sign_value(&v, value, len, err, size) != 0) {
        goto done;
    }

    if (mesh_sign_unbase64(public, sizeof(public), v.key, strlen(v.key))
        != (int) sizeof(public))
    {
        wrong = "\"key\" is no Ed25519 key";
        goto wrong;
    }

    chain = mesh_sign_chain(v.chain);
    if (chain == NULL) {
        wrong = "\"chain\" is no PEM chain";
        goto wrong;
    }

    wrong = mesh_sign_check_name(sk_X509_value(chain, 0), identity);
    if (wrong) {
        goto wrong;
    }

    wrong = mesh_sign_check_chain(chain, trust_pem, now);
    if (wrong) {
        goto wrong;
    }

    if (mesh_sign_vouched(&v, X509_get0_pubkey(sk_X509_value(chain, 0)))
        != 0)
    {
        wrong = "the signature is not the leaf's";
        goto wrong;
    }

    sign = calloc(1, sizeof(mesh_sign_t));

    if (sign) {
        sign->epoch = v.epoch;
        sign->not_after =
            mesh_sign_time(X509_get0_notAfter(sk_X509_value(chain, 0)));
        sign->key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                public, sizeof(public));
    }

    if (sign == NULL || sign->key == NULL) {
        free(sign);
        sign = NULL;
        wrong = "the Ed25519 key cannot be read";
        goto wrong;
    }

    goto done;

wrong:

    snprintf(err, size, "signer: %s", wrong);

done:

    ERR_clear_error();
    sk_X509_pop_free(chain, X509_free);
    json_decref(v.json);

    return sign;
}


static int
mesh_sign_value(mesh_sign_value_t *v, const char *text, size_t len,
    char *err, size_t size)
{
    int           layout;
    char         *end;
    json_error_t  error;

    memset(v, 0, sizeof(mesh_sign_value_t));

    if (len > MESH_SIGN_VALUE_MAX) {
        snprintf(err, size, "signer: longer than %d bytes",
                 MESH_SIGN_VALUE_MAX);
        return -1;
    }

    v->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (v->json == NULL) {
        snprintf(err, size, "signer: no JSON: %s", error.text);
        return -1;
    }

    if (json_unpack_ex(v->json, &error, 0, "{s:i, s:s, s:s, s:s, s:s}",
                       "layout", &layout, "epoch", &v->epoch_text,
                       "key", &v->key, "chain", &v->chain,
                       "signature", &v->signature) != 0)
    {
        snprintf(err, size, "signer: %s", error.text);
        return -1;
    }

    if (layout != MESH_SIGN_LAYOUT) {
        snprintf(err, size, "signer: layout is %d, expected %d", layout,
                 MESH_SIGN_LAYOUT);
        return -1;
    }

    v->epoch = strtoull(v->epoch_text, &end, 10);

    if (v->epoch_text[0] < '1' || v->epoch_text[0] > '9' || *end != '\0'
        || v->epoch > MESH_SIGN_EPOCH_MAX)
    {
        snprintf(err, size, "signer: \"epoch\" is no number from 1 to %llu",
                 (unsigned long long) MESH_SIGN_EPOCH_MAX);
        return -1;
    }

    return 0;
}


static int
mesh_sign_vouched(const mesh_sign_value_t *v, EVP_PKEY *leaf)
{
    int          n, rc;
    char        *payload;
    uint8_t      signature[256];
    EVP_MD_CTX  *ctx;

    n = mesh_sign_unbase64(signature, sizeof(signature), v->signature,
                           strlen(v->signature));

    if (n <= 0 || leaf == NULL || !EVP_PKEY_is_a(leaf, "EC")) {
        return -1;
    }

    payload = mesh_sign_payload(v->epoch_text, v->key);
    ctx = EVP_MD_CTX_new();

    rc = payload && ctx
         && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, leaf) == 1
         && EVP_DigestVerify(ctx, signature, (size_t) n,
                             (const uint8_t *) payload, strlen(payload)) == 1;

    EVP_MD_CTX_free(ctx);
    free(payload);

    return rc ? 0 : -1;
}


/* NULL if there is no certificate, or too many, or one cannot be read */

static STACK_OF(X509) *
mesh_sign_chain(const char *pem)
{
    BIO             *bio;
    X509            *cert;
    STACK_OF(X509)  *chain;

    chain = sk_X509_new_null();
    bio = BIO_new_mem_buf(pem, -1);

    if (chain == NULL || bio == NULL) {
        goto failed;
    }

    for ( ;; ) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

        if (cert == NULL) {
            break;
        }

        if (sk_X509_num(chain) == MESH_SIGN_CHAIN_MAX
            || sk_X509_push(chain, cert) <= 0)
        {
            X509_free(cert);
            goto failed;
        }
    }

    if (sk_X509_num(chain) == 0
        || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    {
        goto failed;
    }

    BIO_free(bio);

    return chain;

failed:

    BIO_free(bio);
    sk_X509_pop_free(chain, X509_free);

    return NULL;
}


static const char *
mesh_sign_check_chain(STACK_OF(X509) *chain, const char *trust_pem,
    time_t now)
{
    int                 i, rc;
    X509               *leaf;
    const char         *wrong;
    X509_STORE         *store;
    X509_STORE_CTX     *ctx;
    STACK_OF(X509)     *trust;
    X509_VERIFY_PARAM  *param;

    leaf = sk_X509_value(chain, 0);
    wrong = "no memory";

    /* the skew is given to both ends */

    if (mesh_sign_time(X509_get0_notAfter(leaf)) + MESH_SIGN_SKEW_S < now) {
        return "the leaf has expired";
    }

    if (mesh_sign_time(X509_get0_notBefore(leaf)) - MESH_SIGN_SKEW_S > now) {
        return "the leaf is not valid yet";
    }

    trust = mesh_sign_chain(trust_pem);
    store = X509_STORE_new();
    ctx = X509_STORE_CTX_new();

    if (trust == NULL) {
        wrong = "the trust bundle is no PEM";
        goto done;
    }

    if (store == NULL || ctx == NULL) {
        goto done;
    }

    for (i = 0; i < sk_X509_num(trust); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(trust, i)) != 1) {
            goto done;
        }
    }

    if (X509_STORE_CTX_init(ctx, store, leaf, chain) != 1) {
        goto done;
    }

    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);

    /* issuers outlive leafs by far: the skew was dealt with above */

    if (mesh_sign_time(X509_get0_notAfter(leaf)) < now) {
        X509_VERIFY_PARAM_set_time(param, now - MESH_SIGN_SKEW_S);

    } else if (mesh_sign_time(X509_get0_notBefore(leaf)) > now) {
        X509_VERIFY_PARAM_set_time(param, now + MESH_SIGN_SKEW_S);

    } else {
        X509_VERIFY_PARAM_set_time(param, now);
    }

    rc = X509_verify_cert(ctx);

    wrong = (rc == 1) ? NULL
            : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));

done:

    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_pop_free(trust, X509_free);

    return wrong;
}


/* exactly one URI SAN, and it is identity */

static const char *
mesh_sign_check_name(X509 *leaf, const char *identity)
{
    int             i, n, same;
    size_t          len;
    GENERAL_NAME   *name;
    GENERAL_NAMES  *names;

    names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

    n = 0;
    same = 0;
    len = strlen(identity);

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI) {
            continue;
        }

        n++;

        same = (size_t) ASN1_STRING_length(name->d.ia5) == len
               && memcmp(ASN1_STRING_get0_data(name->d.ia5), identity, len)
                  == 0;
    }

    GENERAL_NAMES_free(names);

    if (n != 1) {
        return "the leaf has not exactly one URI SAN";
    }

    return same ? NULL : "the leaf is not the writer's";
}


static time_t
mesh_sign_time(const ASN1_TIME *t)
{
    struct tm  tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1) {
        return 0;
    }

    return timegm(&tm);
}


void
mesh_sign_base64(char *text, const void *data, size_t len)
{
    EVP_EncodeBlock((unsigned char *) text, data, (int) len);
}


int
mesh_sign_unbase64(uint8_t *data, size_t size, const char *text, size_t len)
{
    int       n;
    size_t    i, pad;
    uint8_t  *out;

    if (len == 0 || len % 4 || len > MESH_SIGN_VALUE_MAX) {
        return -1;
    }

    /* EVP would skip white space */

    for (i = 0; i < len; i++) {
        if (text[i] == '\0' || strchr(mesh_sign_alphabet, text[i]) == NULL) {
            return -1;
        }
    }

    pad = (text[len - 1] == '=') + (text[len - 2] == '=');

    if (memchr(text, '=', len - pad) || len / 4 * 3 - pad > size) {
        return -1;
    }

    /* EVP writes the padding as zero bytes, so it gets room of its own */

    out = malloc(len / 4 * 3);
    if (out == NULL) {
        return -1;
    }

    n = EVP_DecodeBlock(out, (const unsigned char *) text, (int) len);

    if (n >= (int) pad) {
        n -= (int) pad;
        memcpy(data, out, (size_t) n);
    }

    free(out);

    return n;
}
