
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Makes and checks mesh:signer, and signs and verifies with the Ed25519 key
 * in it.  The leaf signs layout, epoch and key, so a chain cannot be moved
 * to another key or epoch.  A chain is only as good as the bundle it is
 * checked with: this file never looks for trust anywhere else.
 */

#include <mesh_core.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <mesh_b64.h>
#include <mesh_sign.h>
#include <mesh_x509.h>


#define MESH_SIGN_KEY_BYTES       32       /* Ed25519 public key */
#define MESH_SIGN_SIGNATURE_MAX   256
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
    uint8_t       public[MESH_SIGN_KEY_BYTES];
} mesh_sign_value_t;


static char *mesh_sign_payload(const char *epoch, const char *key);
static char *mesh_sign_by_leaf(EVP_PKEY *leaf, const char *payload);
static int mesh_sign_value(mesh_sign_value_t *v, const char *text, size_t len,
    mesh_err_t *err);
static size_t mesh_sign_decode(uint8_t *data, size_t size, const char *text);
static int mesh_sign_vouched(const mesh_sign_value_t *v, EVP_PKEY *leaf);
static int mesh_sign_check_chain(mesh_sign_t *sign, STACK_OF(X509) *chain,
    const char *trust_pem, const char *identity, time_t now, mesh_err_t *err);


mesh_sign_t *
mesh_sign_new(uint64_t epoch, mesh_err_t *err)
{
    mesh_sign_t  *sign;

    sign = calloc(1, sizeof(mesh_sign_t));
    if (sign == NULL) {
        mesh_err(err, "no memory");
        return NULL;
    }

    sign->epoch = epoch;
    sign->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (sign->key == NULL) {
        mesh_err(err, "cannot make an Ed25519 key");
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
        return MESH_ERROR;
    }

    n = MESH_SIGN_BYTES;

    rc = EVP_DigestSignInit(ctx, NULL, NULL, NULL, sign->key) == 1
         && EVP_DigestSign(ctx, signature, &n, data, len) == 1
         && n == MESH_SIGN_BYTES;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc ? MESH_OK : MESH_ERROR;
}


int
mesh_sign_verify(const mesh_sign_t *sign, const void *data, size_t len,
    const uint8_t signature[MESH_SIGN_BYTES])
{
    int          rc;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return MESH_ERROR;
    }

    rc = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, sign->key) == 1
         && EVP_DigestVerify(ctx, signature, MESH_SIGN_BYTES, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc ? MESH_OK : MESH_ERROR;
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
    const char *chain_pem, mesh_err_t *err)
{
    char      *payload, *signature, *text;
    char       key[mesh_b64_encoded_bytes(MESH_SIGN_KEY_BYTES)], epoch[24];
    json_t    *json;
    size_t     n;
    uint8_t    public[MESH_SIGN_KEY_BYTES];
    EVP_PKEY  *leaf;

    text = NULL;
    payload = NULL;
    signature = NULL;

    leaf = mesh_x509_key_parse(leaf_key_pem, strlen(leaf_key_pem), err);
    if (leaf == NULL) {
        goto done;
    }

    n = sizeof(public);

    if (EVP_PKEY_get_raw_public_key(sign->key, public, &n) != 1) {
        mesh_err(err, "cannot read the Ed25519 key");
        goto done;
    }

    mesh_b64_encode(key, public, n);
    snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long) sign->epoch);

    payload = mesh_sign_payload(epoch, key);
    signature = payload ? mesh_sign_by_leaf(leaf, payload) : NULL;

    if (signature == NULL) {
        mesh_err(err, "the leaf's key cannot sign");
        goto done;
    }

    json = json_pack("{s:i, s:s, s:s, s:s, s:s}", "layout", MESH_SIGN_LAYOUT,
                     "epoch", epoch, "key", key, "chain", chain_pem,
                     "signature", signature);

    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);

    if (text == NULL) {
        mesh_err(err, "the chain is no text");
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
    uint8_t      signature[MESH_SIGN_SIGNATURE_MAX];
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
        text = malloc(mesh_b64_encoded_bytes(n));

        if (text) {
            mesh_b64_encode(text, signature, n);
        }
    }

    EVP_MD_CTX_free(ctx);

    return text;
}


mesh_sign_t *
mesh_sign_accept(const char *value, size_t len, const char *trust_pem,
    const char *identity, time_t now, mesh_err_t *err)
{
    mesh_sign_t        *sign;
    mesh_sign_value_t   v;
    STACK_OF(X509)     *chain;

    sign = NULL;
    chain = NULL;

    if (mesh_sign_value(&v, value, len, err) != MESH_OK) {
        goto failed;
    }

    chain = mesh_x509_chain_parse(v.chain, strlen(v.chain),
                                  MESH_X509_CHAIN_MAX, err);
    if (chain == NULL) {
        goto failed;
    }

    sign = calloc(1, sizeof(mesh_sign_t));
    if (sign == NULL) {
        mesh_err(err, "no memory");
        goto failed;
    }

    sign->epoch = v.epoch;

    if (mesh_sign_check_chain(sign, chain, trust_pem, identity, now, err)
        != MESH_OK)
    {
        goto failed;
    }

    if (mesh_sign_vouched(&v, X509_get0_pubkey(sk_X509_value(chain, 0)))
        != MESH_OK)
    {
        mesh_err(err, "the signature is not the leaf's");
        goto failed;
    }

    sign->key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, v.public,
                                            sizeof(v.public));
    if (sign->key == NULL) {
        mesh_err(err, "the Ed25519 key cannot be read");
        goto failed;
    }

    mesh_x509_chain_free(chain);
    json_decref(v.json);

    return sign;

failed:

    mesh_err_prefix(err, "signer");

    ERR_clear_error();
    mesh_sign_free(sign);
    mesh_x509_chain_free(chain);
    json_decref(v.json);

    return NULL;
}


static int
mesh_sign_value(mesh_sign_value_t *v, const char *text, size_t len,
    mesh_err_t *err)
{
    int           layout;
    char         *end;
    json_error_t  error;

    memset(v, 0, sizeof(mesh_sign_value_t));

    if (len > MESH_SIGN_VALUE_MAX) {
        return mesh_err(err, "longer than %d bytes", MESH_SIGN_VALUE_MAX);
    }

    v->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (v->json == NULL) {
        return mesh_err(err, "no JSON: %s", error.text);
    }

    if (json_unpack_ex(v->json, &error, 0, "{s:i, s:s, s:s, s:s, s:s}",
                       "layout", &layout, "epoch", &v->epoch_text,
                       "key", &v->key, "chain", &v->chain,
                       "signature", &v->signature) != 0)
    {
        return mesh_err(err, "%s", error.text);
    }

    if (layout != MESH_SIGN_LAYOUT) {
        return mesh_err(err, "layout is %d, expected %d", layout,
                        MESH_SIGN_LAYOUT);
    }

    v->epoch = strtoull(v->epoch_text, &end, 10);

    if (v->epoch_text[0] < '1' || v->epoch_text[0] > '9' || *end != '\0'
        || v->epoch > MESH_SIGN_EPOCH_MAX)
    {
        return mesh_err(err, "\"epoch\" is no number from 1 to %llu",
                        (unsigned long long) MESH_SIGN_EPOCH_MAX);
    }

    if (mesh_sign_decode(v->public, sizeof(v->public), v->key)
        != MESH_SIGN_KEY_BYTES)
    {
        return mesh_err(err, "\"key\" is no Ed25519 key");
    }

    return MESH_OK;
}


/* bytes written, 0 if text is no base64 or too much of it */

static size_t
mesh_sign_decode(uint8_t *data, size_t size, const char *text)
{
    size_t   len, n;
    uint8_t  buf[MESH_SIGN_SIGNATURE_MAX];

    len = strlen(text);

    if (mesh_b64_decoded_bytes(len) > sizeof(buf)
        || mesh_b64_decode(buf, &n, text, len) != MESH_OK
        || n > size)
    {
        return 0;
    }

    memcpy(data, buf, n);

    return n;
}


static int
mesh_sign_vouched(const mesh_sign_value_t *v, EVP_PKEY *leaf)
{
    int          rc;
    char        *payload;
    size_t       n;
    uint8_t      signature[MESH_SIGN_SIGNATURE_MAX];
    EVP_MD_CTX  *ctx;

    n = mesh_sign_decode(signature, sizeof(signature), v->signature);

    if (n == 0 || leaf == NULL || !EVP_PKEY_is_a(leaf, "EC")) {
        return MESH_ERROR;
    }

    payload = mesh_sign_payload(v->epoch_text, v->key);
    ctx = EVP_MD_CTX_new();

    rc = payload && ctx
         && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, leaf) == 1
         && EVP_DigestVerify(ctx, signature, n, (const uint8_t *) payload,
                             strlen(payload)) == 1;

    EVP_MD_CTX_free(ctx);
    free(payload);

    return rc ? MESH_OK : MESH_ERROR;
}


/* whose the leaf is, and that the bundle vouches for it now */

static int
mesh_sign_check_chain(mesh_sign_t *sign, STACK_OF(X509) *chain,
    const char *trust_pem, const char *identity, time_t now, mesh_err_t *err)
{
    int              rc;
    char             id[MESH_X509_ID_MAX + 1];
    X509            *leaf;
    time_t           not_before;
    STACK_OF(X509)  *bundle;

    leaf = sk_X509_value(chain, 0);

    if (mesh_x509_id(leaf, id, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (strcmp(id, identity) != 0) {
        return mesh_err(err, "the leaf is of \"%s\", expected \"%s\"", id,
                        identity);
    }

    if (mesh_x509_times(leaf, &not_before, &sign->not_after) != MESH_OK) {
        return mesh_err(err, "the leaf's dates cannot be read");
    }

    /* clocks differ: the skew is given to both ends of the leaf's life */

    if (now >= sign->not_after
        && now <= sign->not_after + MESH_SIGN_SKEW_S)
    {
        now = sign->not_after - 1;         /* the second itself is over */

    } else if (now < not_before && now >= not_before - MESH_SIGN_SKEW_S) {
        now = not_before;
    }

    bundle = mesh_x509_chain_parse(trust_pem, strlen(trust_pem),
                                   MESH_X509_BUNDLE_MAX, err);
    if (bundle == NULL) {
        return mesh_err_prefix(err, "trust bundle");
    }

    rc = mesh_x509_verify(chain, bundle, now, MESH_X509_ANY, err);

    mesh_x509_chain_free(bundle);

    return rc;
}
