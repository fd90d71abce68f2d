
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Keys and certificates: PEM in memory, signing, verification.  OpenSSL's
 * verification has no opinion about SPIFFE IDs: whoever trusts a certificate
 * calls mesh_x509_verify() and compares mesh_x509_id() as well.
 */

#include <mesh_x509.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>


/* 112 bits: RSA from 2048, SHA-256; what OpenSSL calls level 2 */

#define MESH_X509_AUTH_LEVEL  2


typedef struct {
    int          nid;
    const char  *leaf;            /* OpenSSL's text of the extension */
    const char  *ca;              /* or NULL: not in this kind */
} mesh_x509_ext_t;


static int mesh_x509_no_password(char *buf, int size, int rwflag, void *data);
static char *mesh_x509_bio_text(BIO *bio, mesh_err_t *err);
static int mesh_x509_fill(X509 *cert, EVP_PKEY *key,
    const mesh_x509_want_t *want, X509 *issuer, mesh_err_t *err);
static int mesh_x509_add_serial(X509 *cert, mesh_err_t *err);
static int mesh_x509_add_name(X509_NAME *name, const char *field,
    const char *value, mesh_err_t *err);
static int mesh_x509_add_extensions(X509 *cert, const mesh_x509_want_t *want,
    X509 *issuer, mesh_err_t *err);
static int mesh_x509_add_extension(X509 *cert, X509V3_CTX *ctx, int nid,
    const char *value, mesh_err_t *err);
static int mesh_x509_add_id(X509 *cert, const char *id, mesh_err_t *err);
static X509 *mesh_x509_next(BIO *bio, int *done, mesh_err_t *err);


static const mesh_x509_ext_t  mesh_x509_exts[] = {

    { NID_subject_key_identifier, "hash", "hash" },

    { NID_basic_constraints, "critical,CA:FALSE", NULL },

    { NID_key_usage, "critical,digitalSignature",
                     "critical,keyCertSign,cRLSign" },

    { NID_ext_key_usage, "serverAuth,clientAuth", NULL }
};


EVP_PKEY *
mesh_x509_key_new(mesh_err_t *err)
{
    EVP_PKEY  *key;

    key = EVP_EC_gen("P-256");

    if (key == NULL) {
        (void) mesh_x509_err(err, "could not make a P-256 key");
    }

    return key;
}


EVP_PKEY *
mesh_x509_key_parse(const char *pem, size_t len, mesh_err_t *err)
{
    BIO       *bio;
    EVP_PKEY  *key;

    if (len > INT_MAX) {
        (void) mesh_err(err, "key is too long");
        return NULL;
    }

    bio = BIO_new_mem_buf(pem, (int) len);

    if (bio == NULL) {
        (void) mesh_x509_err(err, "no memory for a key");
        return NULL;
    }

    key = PEM_read_bio_PrivateKey(bio, NULL, mesh_x509_no_password, NULL);

    if (key == NULL) {
        (void) mesh_x509_err(err, "cannot read key");
    }

    BIO_free(bio);

    return key;
}


/* without it, OpenSSL would ask at the terminal */

static int
mesh_x509_no_password(char *buf, int size, int rwflag, void *data)
{
    return -1;
}


char *
mesh_x509_key_pem_new(EVP_PKEY *key, mesh_err_t *err)
{
    BIO   *bio;
    char  *pem;

    bio = BIO_new(BIO_s_secmem());

    if (bio == NULL
        || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
           != 1)
    {
        (void) mesh_x509_err(err, "could not write key");
        BIO_free(bio);
        return NULL;
    }

    pem = mesh_x509_bio_text(bio, err);

    BIO_free(bio);

    return pem;
}


int
mesh_x509_key_is_p256(EVP_PKEY *key)
{
    int   explicit;
    char  group[32];

    if (key == NULL || !EVP_PKEY_is_a(key, "EC")) {
        return 0;
    }

    /* a curve that is spelt out may be P-256 with another generator */

    explicit = 0;

    if (EVP_PKEY_get_int_param(key,
                               OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &explicit)
        != 1
        || explicit)
    {
        ERR_clear_error();
        return 0;
    }

    if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1) {
        ERR_clear_error();
        return 0;
    }

    return strcmp(group, SN_X9_62_prime256v1) == 0;
}


void
mesh_x509_pem_free(char *pem)
{
    if (pem != NULL) {
        OPENSSL_cleanse(pem, strlen(pem));
        free(pem);
    }
}


static char *
mesh_x509_bio_text(BIO *bio, mesh_err_t *err)
{
    char  *data, *text;
    long   len;

    len = BIO_get_mem_data(bio, &data);

    text = malloc(len + 1);

    if (text == NULL) {
        (void) mesh_err(err, "no memory for PEM");
        return NULL;
    }

    memcpy(text, data, len);
    text[len] = '\0';

    return text;
}


X509 *
mesh_x509_sign(EVP_PKEY *key, const mesh_x509_want_t *want, X509 *issuer,
    EVP_PKEY *issuer_key, mesh_err_t *err)
{
    X509          *cert;
    const EVP_MD  *digest;

    cert = X509_new();

    if (cert == NULL) {
        (void) mesh_x509_err(err, "no memory for a certificate");
        return NULL;
    }

    if (mesh_x509_fill(cert, key, want, issuer, err) != MESH_OK) {
        goto failed;
    }

    /* Edwards curves bring their own digest */

    digest = (EVP_PKEY_is_a(issuer_key, "ED25519")
              || EVP_PKEY_is_a(issuer_key, "ED448")) ? NULL : EVP_sha256();

    if (X509_sign(cert, issuer_key, digest) == 0) {
        (void) mesh_x509_err(err, "could not sign");
        goto failed;
    }

    return cert;

failed:

    X509_free(cert);

    return NULL;
}


static int
mesh_x509_fill(X509 *cert, EVP_PKEY *key, const mesh_x509_want_t *want,
    X509 *issuer, mesh_err_t *err)
{
    X509_NAME  *name;

    name = X509_get_subject_name(cert);

    if (mesh_x509_add_name(name, "CN", want->name, err) != MESH_OK
        || mesh_x509_add_name(name, "serialNumber", want->serial_number, err)
           != MESH_OK
        || mesh_x509_add_serial(cert, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (X509_set_version(cert, X509_VERSION_3) != 1
        || X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer)
                                             : name)
           != 1
        || ASN1_TIME_set(X509_getm_notBefore(cert), want->not_before) == NULL
        || ASN1_TIME_set(X509_getm_notAfter(cert), want->not_after) == NULL
        || X509_set_pubkey(cert, key) != 1)
    {
        return mesh_x509_err(err, "could not fill a certificate");
    }

    if (mesh_x509_add_extensions(cert, want, issuer, err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (want->id != NULL) {
        return mesh_x509_add_id(cert, want->id, err);
    }

    return MESH_OK;
}


static int
mesh_x509_add_serial(X509 *cert, mesh_err_t *err)
{
    int      rc;
    BIGNUM  *bn;

    rc = MESH_OK;
    bn = BN_new();

    /* 16 bytes of DER; the 128th bit would be a sign (RFC 5280, 4.1.2.2) */

    if (bn == NULL
        || BN_rand(bn, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1
        || BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) == NULL)
    {
        rc = mesh_x509_err(err, "could not make a serial number");
    }

    BN_free(bn);

    return rc;
}


static int
mesh_x509_add_name(X509_NAME *name, const char *field, const char *value,
    mesh_err_t *err)
{
    if (value == NULL) {
        return MESH_OK;
    }

    if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                   (const unsigned char *) value, -1, -1, 0)
        != 1)
    {
        (void) mesh_x509_err(err, "not fit for a subject");
        return mesh_err_prefix(err, "%s \"%s\"", field, value);
    }

    return MESH_OK;
}


static int
mesh_x509_add_extensions(X509 *cert, const mesh_x509_want_t *want,
    X509 *issuer, mesh_err_t *err)
{
    char                    constraints[64];
    size_t                  i;
    X509                   *from;
    X509V3_CTX              ctx;
    const char             *value;
    const mesh_x509_ext_t  *ext;

    from = (issuer != NULL) ? issuer : cert;

    X509V3_set_ctx(&ctx, from, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);

    for (i = 0; i < mesh_nelts(mesh_x509_exts); i++) {
        ext = &mesh_x509_exts[i];
        value = want->ca ? ext->ca : ext->leaf;

        if (value != NULL
            && mesh_x509_add_extension(cert, &ctx, ext->nid, value, err)
               != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    if (want->ca) {
        (void) snprintf(constraints, sizeof(constraints), "critical,CA:TRUE");

        if (want->pathlen >= 0) {
            (void) snprintf(constraints, sizeof(constraints),
                            "critical,CA:TRUE,pathlen:%d", want->pathlen);
        }

        if (mesh_x509_add_extension(cert, &ctx, NID_basic_constraints,
                                    constraints, err)
            != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    /*
     * An issuer that was given may have no key identifier to point to.  The
     * certificate itself is not asked: OpenSSL would keep what it sees now.
     */

    if (issuer != NULL && X509_get0_subject_key_id(issuer) == NULL) {
        return MESH_OK;
    }

    return mesh_x509_add_extension(cert, &ctx, NID_authority_key_identifier,
                                   "keyid", err);
}


static int
mesh_x509_add_extension(X509 *cert, X509V3_CTX *ctx, int nid,
    const char *value, mesh_err_t *err)
{
    int              rc;
    X509_EXTENSION  *ext;

    ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);

    rc = (ext != NULL && X509_add_ext(cert, ext, -1) == 1)
         ? MESH_OK : mesh_x509_err(err, "could not add an extension");

    X509_EXTENSION_free(ext);

    return rc;
}


static int
mesh_x509_add_id(X509 *cert, const char *id, mesh_err_t *err)
{
    int             rc;
    GENERAL_NAMES  *names;

    names = mesh_x509_names_new(id);

    rc = (names != NULL
          && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1,
                               X509V3_ADD_DEFAULT)
             == 1)
         ? MESH_OK : mesh_x509_err(err, "could not add the SAN");

    GENERAL_NAMES_free(names);

    return rc;
}


/* built, not parsed: OpenSSL's text of extensions gives commas a meaning */

GENERAL_NAMES *
mesh_x509_names_new(const char *id)
{
    GENERAL_NAME    *name;
    GENERAL_NAMES   *names;
    ASN1_IA5STRING  *uri;

    names = GENERAL_NAMES_new();
    name = GENERAL_NAME_new();
    uri = ASN1_IA5STRING_new();

    if (names == NULL || name == NULL || uri == NULL
        || ASN1_STRING_set(uri, id, -1) != 1)
    {
        goto failed;
    }

    GENERAL_NAME_set0_value(name, GEN_URI, uri);
    uri = NULL;

    if (sk_GENERAL_NAME_push(names, name) == 0) {
        goto failed;
    }

    return names;

failed:

    ASN1_IA5STRING_free(uri);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);

    return NULL;
}


STACK_OF(X509) *
mesh_x509_chain_parse(const char *pem, size_t len, int max, mesh_err_t *err)
{
    int              done;
    BIO             *bio;
    X509            *cert;
    STACK_OF(X509)  *chain;

    chain = sk_X509_new_null();
    bio = (len <= INT_MAX) ? BIO_new_mem_buf(pem, (int) len) : NULL;

    if (chain == NULL || bio == NULL) {
        (void) mesh_err(err, "no memory for certificates");
        goto failed;
    }

    for ( ;; ) {
        cert = mesh_x509_next(bio, &done, err);

        if (cert == NULL && done) {
            break;
        }

        if (cert == NULL) {
            (void) mesh_err_prefix(err, "certificate %d",
                                   sk_X509_num(chain) + 1);
            goto failed;
        }

        if (sk_X509_num(chain) == max) {
            X509_free(cert);
            (void) mesh_err(err, "more than %d certificates", max);
            goto failed;
        }

        if (sk_X509_push(chain, cert) == 0) {
            X509_free(cert);
            (void) mesh_err(err, "no memory for certificates");
            goto failed;
        }
    }

    if (sk_X509_num(chain) == 0) {
        (void) mesh_err(err, "no certificate in PEM format");
        goto failed;
    }

    BIO_free(bio);

    return chain;

failed:

    BIO_free(bio);
    mesh_x509_chain_free(chain);

    return NULL;
}


/* *done: the text has ended; else NULL is an error */

static X509 *
mesh_x509_next(BIO *bio, int *done, mesh_err_t *err)
{
    long                  len;
    char                 *name, *header;
    X509                 *cert;
    unsigned char        *data;
    const unsigned char  *p;

    *done = 0;
    name = NULL;
    header = NULL;
    data = NULL;

    if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {

        if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
            ERR_clear_error();
            *done = 1;
            return NULL;
        }

        (void) mesh_x509_err(err, "cannot read PEM");
        return NULL;
    }

    cert = NULL;

    if (strcmp(name, PEM_STRING_X509) != 0) {
        (void) mesh_err(err, "PEM of \"%s\", expected \"%s\"", name,
                        PEM_STRING_X509);
        goto done;
    }

    p = data;
    cert = d2i_X509(NULL, &p, len);

    if (cert == NULL) {
        (void) mesh_x509_err(err, "cannot read it");
        goto done;
    }

    if (p != data + len) {
        (void) mesh_err(err, "bytes after it");
        X509_free(cert);
        cert = NULL;
    }

done:

    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);

    return cert;
}


void
mesh_x509_chain_free(STACK_OF(X509) *chain)
{
    sk_X509_pop_free(chain, X509_free);
}


char *
mesh_x509_chain_pem_new(STACK_OF(X509) *chain, mesh_err_t *err)
{
    int    i;
    BIO   *bio;
    char  *pem;

    pem = NULL;
    bio = BIO_new(BIO_s_mem());

    if (bio == NULL) {
        (void) mesh_x509_err(err, "no memory for PEM");
        return NULL;
    }

    for (i = 0; i < sk_X509_num(chain); i++) {

        if (PEM_write_bio_X509(bio, sk_X509_value(chain, i)) != 1) {
            (void) mesh_x509_err(err, "could not write a certificate");
            goto failed;
        }
    }

    pem = mesh_x509_bio_text(bio, err);

failed:

    BIO_free(bio);

    return pem;
}


int
mesh_x509_verify(STACK_OF(X509) *chain, STACK_OF(X509) *bundle, time_t at,
    int purpose, mesh_err_t *err)
{
    int                 i, rc;
    X509               *cert;
    X509_STORE         *store;
    X509_STORE_CTX     *ctx;
    X509_VERIFY_PARAM  *param;

    static const int  purposes[] = {
        0, X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_ANY
    };

    rc = MESH_ERROR;
    store = X509_STORE_new();
    ctx = X509_STORE_CTX_new();
    cert = sk_X509_value(chain, 0);

    if (store == NULL || ctx == NULL || cert == NULL) {
        (void) mesh_x509_err(err, "nothing to verify with");
        goto done;
    }

    for (i = 0; i < sk_X509_num(bundle); i++) {

        if (X509_STORE_add_cert(store, sk_X509_value(bundle, i)) != 1) {
            (void) mesh_x509_err(err, "cannot use the trust bundle");
            goto done;
        }
    }

    if (X509_STORE_CTX_init(ctx, store, cert, chain) != 1) {
        (void) mesh_x509_err(err, "cannot start to verify");
        goto done;
    }

    param = X509_STORE_CTX_get0_param(ctx);

    X509_VERIFY_PARAM_set_time(param, at);
    X509_VERIFY_PARAM_set_auth_level(param, MESH_X509_AUTH_LEVEL);

    if (X509_VERIFY_PARAM_set_purpose(param, purposes[purpose]) != 1) {
        (void) mesh_x509_err(err, "no such purpose");
        goto done;
    }

    if (X509_verify_cert(ctx) == 1) {
        rc = MESH_OK;
        goto done;
    }

    (void) mesh_err(err, "%s at depth %d",
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)),
            X509_STORE_CTX_get_error_depth(ctx));

done:

    ERR_clear_error();
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);

    return rc;
}


int
mesh_x509_id(X509 *cert, char *id, mesh_err_t *err)
{
    int                    i, critical, len, uris;
    GENERAL_NAME          *name;
    GENERAL_NAMES         *names;
    const unsigned char   *data;

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

    if (names == NULL) {
        ERR_clear_error();

        return mesh_err(err, critical == -1
                             ? "certificate has no SAN"
                             : "certificate has a SAN that cannot be read");
    }

    uris = 0;
    len = 0;
    data = NULL;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_URI) {
            uris++;
            data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
            len = ASN1_STRING_length(name->d.uniformResourceIdentifier);
        }
    }

    if (uris != 1) {
        (void) mesh_err(err, "certificate has %d URI SANs, expected one",
                        uris);
        goto failed;
    }

    if (len < 10 || len > MESH_X509_ID_MAX
        || memchr(data, '\0', len) != NULL
        || strncmp((const char *) data, "spiffe://", 9) != 0)
    {
        (void) mesh_err(err, "certificate has a URI SAN that is no SPIFFE ID");
        goto failed;
    }

    memcpy(id, data, len);
    id[len] = '\0';

    GENERAL_NAMES_free(names);

    return MESH_OK;

failed:

    GENERAL_NAMES_free(names);

    return MESH_ERROR;
}


int
mesh_x509_fits(X509 *cert, EVP_PKEY *key)
{
    EVP_PKEY  *public;

    public = X509_get0_pubkey(cert);

    if (public == NULL || EVP_PKEY_eq(public, key) != 1) {
        ERR_clear_error();
        return 0;
    }

    return 1;
}


int
mesh_x509_times(X509 *cert, time_t *not_before, time_t *not_after)
{
    struct tm  tm;

    if (ASN1_TIME_to_tm(X509_get0_notBefore(cert), &tm) != 1) {
        return MESH_ERROR;
    }

    *not_before = timegm(&tm);

    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1) {
        return MESH_ERROR;
    }

    *not_after = timegm(&tm);

    return MESH_OK;
}


void
mesh_x509_serial(X509 *cert, char *buf, size_t size)
{
    char    *hex;
    BIGNUM  *bn;

    bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    hex = (bn != NULL) ? BN_bn2hex(bn) : NULL;

    (void) snprintf(buf, size, "%s", hex != NULL ? hex : "?");

    OPENSSL_free(hex);
    BN_free(bn);
}


int
mesh_x509_err(mesh_err_t *err, const char *what)
{
    const char     *reason;
    unsigned long   code;

    code = ERR_peek_last_error();
    reason = (code != 0) ? ERR_reason_error_string(code) : NULL;

    if (reason == NULL) {
        (void) mesh_err(err, "%s", what);

    } else {
        (void) mesh_err(err, "%s: %s", what, reason);
    }

    ERR_clear_error();

    return MESH_ERROR;
}
