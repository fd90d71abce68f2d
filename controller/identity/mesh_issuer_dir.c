
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Making the CA's files.  A key is written before its certificate, and the
 * bundle last: a certificate that is there always has its key.
 */

#include <mesh_issuer_dir.h>
#include <mesh_issuer.h>
#include <mesh_file.h>

#include <openssl/crypto.h>
#include <sys/stat.h>


#define MESH_ISSUER_DIR_BACKDATE  3600    /* s: clocks of other machines */


static int mesh_issuer_dir_has(const char *dir, const char *name);
static int mesh_issuer_dir_check(const char *dir, mesh_err_t *err);
static int mesh_issuer_dir_root(const char *dir, const char *trust_domain,
    time_t now, mesh_err_t *err);
static int mesh_issuer_dir_issuer(const char *dir, const char *trust_domain,
    EVP_PKEY *key, time_t now, mesh_err_t *err);
static EVP_PKEY *mesh_issuer_dir_key(const char *dir, const char *name,
    mesh_err_t *err);
static EVP_PKEY *mesh_issuer_dir_key_read(const char *dir, const char *name,
    mesh_err_t *err);
static STACK_OF(X509) *mesh_issuer_dir_certs(const char *dir,
    const char *name, mesh_err_t *err);
static int mesh_issuer_dir_write_cert(const char *dir, const char *name,
    X509 *cert, mesh_err_t *err);
static int mesh_issuer_dir_trust(const char *dir, mesh_err_t *err);


int
mesh_issuer_dir_make(const char *dir, const char *trust_domain, time_t now,
    mesh_err_t *err)
{
    int        rc;
    EVP_PKEY  *key;

    if (mesh_issuer_dir_has(dir, MESH_ISSUER_CERT)
        && mesh_issuer_dir_has(dir, MESH_ISSUER_KEY)
        && mesh_issuer_dir_has(dir, MESH_ISSUER_TRUST))
    {
        return MESH_OK;
    }

    if (mesh_file_mkdir(dir, 0700, err) != MESH_OK
        || mesh_issuer_dir_check(dir, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (!mesh_issuer_dir_has(dir, MESH_ISSUER_ROOT_CERT)
        && mesh_issuer_dir_root(dir, trust_domain, now, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (!mesh_issuer_dir_has(dir, MESH_ISSUER_CERT)) {
        key = mesh_issuer_dir_key(dir, MESH_ISSUER_KEY, err);

        if (key == NULL) {
            return MESH_ERROR;
        }

        rc = mesh_issuer_dir_issuer(dir, trust_domain, key, now, err);

        EVP_PKEY_free(key);

        if (rc != MESH_OK) {
            return MESH_ERROR;
        }
    }

    if (!mesh_issuer_dir_has(dir, MESH_ISSUER_TRUST)) {
        return mesh_issuer_dir_trust(dir, err);
    }

    return MESH_OK;
}


static int
mesh_issuer_dir_has(const char *dir, const char *name)
{
    char  path[PATH_MAX];

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);

    return access(path, F_OK) == 0;
}


/* what a lost file must not be mistaken for: a first run */

static int
mesh_issuer_dir_check(const char *dir, mesh_err_t *err)
{
    int  root, root_key, cert, key, trust;

    root = mesh_issuer_dir_has(dir, MESH_ISSUER_ROOT_CERT);
    root_key = mesh_issuer_dir_has(dir, MESH_ISSUER_ROOT_KEY);
    cert = mesh_issuer_dir_has(dir, MESH_ISSUER_CERT);
    key = mesh_issuer_dir_has(dir, MESH_ISSUER_KEY);
    trust = mesh_issuer_dir_has(dir, MESH_ISSUER_TRUST);

    if (cert && !key) {
        return mesh_err(err, "\"%s\" has issuer.crt but no issuer.key", dir);
    }

    if (!root && (cert || trust)) {
        return mesh_err(err, "\"%s\" has %s but no root.crt, and %s is "
                        "missing", dir, cert ? "issuer.crt" : "trust.crt",
                        trust ? "issuer.crt" : "trust.crt");
    }

    if (root && !root_key && !cert) {
        return mesh_err(err, "\"%s\" has no issuer.crt, and no root.key to "
                        "make one", dir);
    }

    return MESH_OK;
}


static int
mesh_issuer_dir_root(const char *dir, const char *trust_domain, time_t now,
    mesh_err_t *err)
{
    int                rc;
    char               name[65];
    X509              *cert;
    EVP_PKEY          *key;
    mesh_x509_want_t   want;

    key = mesh_issuer_dir_key(dir, MESH_ISSUER_ROOT_KEY, err);

    if (key == NULL) {
        return MESH_ERROR;
    }

    /* 64: upper bound of a common name (X.520) */

    (void) snprintf(name, sizeof(name), "ngx-mesh root %s", trust_domain);

    memset(&want, 0, sizeof(want));
    want.name = name;
    want.not_before = now - MESH_ISSUER_DIR_BACKDATE;
    want.not_after = now + MESH_ISSUER_ROOT_TTL;
    want.ca = 1;
    want.pathlen = -1;

    cert = mesh_x509_sign(key, &want, NULL, key, err);

    rc = (cert != NULL)
         ? mesh_issuer_dir_write_cert(dir, MESH_ISSUER_ROOT_CERT, cert, err)
         : MESH_ERROR;

    X509_free(cert);
    EVP_PKEY_free(key);

    return rc;
}


static int
mesh_issuer_dir_issuer(const char *dir, const char *trust_domain,
    EVP_PKEY *key, time_t now, mesh_err_t *err)
{
    int                rc;
    char               name[65];
    X509              *cert;
    time_t             not_before, not_after;
    EVP_PKEY          *root_key;
    STACK_OF(X509)    *root;
    mesh_x509_want_t   want;

    rc = MESH_ERROR;
    cert = NULL;
    root = NULL;

    root_key = mesh_issuer_dir_key_read(dir, MESH_ISSUER_ROOT_KEY, err);

    if (root_key != NULL) {
        root = mesh_issuer_dir_certs(dir, MESH_ISSUER_ROOT_CERT, err);
    }

    if (root == NULL) {
        goto done;
    }

    if (!mesh_x509_fits(sk_X509_value(root, 0), root_key)) {
        (void) mesh_err(err, "\"%s\": root.key is not the key of root.crt",
                        dir);
        goto done;
    }

    if (mesh_x509_times(sk_X509_value(root, 0), &not_before, &not_after)
        != MESH_OK)
    {
        (void) mesh_err(err, "\"%s\": root.crt has dates that cannot be read",
                        dir);
        goto done;
    }

    (void) snprintf(name, sizeof(name), "ngx-mesh issuer %s", trust_domain);

    memset(&want, 0, sizeof(want));
    want.name = name;
    want.not_before = mesh_max(now - MESH_ISSUER_DIR_BACKDATE, not_before);
    want.not_after = mesh_min(now + MESH_ISSUER_TTL, not_after);
    want.ca = 1;
    want.pathlen = 0;

    cert = mesh_x509_sign(key, &want, sk_X509_value(root, 0), root_key, err);

    if (cert != NULL) {
        rc = mesh_issuer_dir_write_cert(dir, MESH_ISSUER_CERT, cert, err);
    }

done:

    X509_free(cert);
    mesh_x509_chain_free(root);
    EVP_PKEY_free(root_key);

    return rc;
}


int
mesh_issuer_dir_renew(const char *dir, const char *trust_domain,
    EVP_PKEY *key, time_t now, mesh_err_t *err)
{
    if (!mesh_issuer_dir_has(dir, MESH_ISSUER_ROOT_KEY)) {
        return MESH_DECLINED;
    }

    return mesh_issuer_dir_issuer(dir, trust_domain, key, now, err);
}


/* the key that is there, or a new one that is written first */

static EVP_PKEY *
mesh_issuer_dir_key(const char *dir, const char *name, mesh_err_t *err)
{
    int        rc;
    char      *pem, path[PATH_MAX];
    EVP_PKEY  *key;

    if (mesh_issuer_dir_has(dir, name)) {
        return mesh_issuer_dir_key_read(dir, name, err);
    }

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);

    key = mesh_x509_key_new(err);
    pem = (key != NULL) ? mesh_x509_key_pem_new(key, err) : NULL;

    rc = (pem != NULL) ? mesh_file_write(path, pem, strlen(pem), 0600, err)
                       : MESH_ERROR;

    mesh_x509_pem_free(pem);

    if (rc != MESH_OK) {
        EVP_PKEY_free(key);
        return NULL;
    }

    return key;
}


static EVP_PKEY *
mesh_issuer_dir_key_read(const char *dir, const char *name, mesh_err_t *err)
{
    char      *pem, path[PATH_MAX];
    size_t     len;
    EVP_PKEY  *key;

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);

    if (mesh_file_read(path, MESH_ISSUER_FILE_MAX, &pem, &len, err)
        != MESH_OK)
    {
        return NULL;
    }

    key = mesh_x509_key_parse(pem, len, err);

    if (key == NULL) {
        (void) mesh_err_prefix(err, "%s", path);
    }

    OPENSSL_cleanse(pem, len);
    free(pem);

    return key;
}


static STACK_OF(X509) *
mesh_issuer_dir_certs(const char *dir, const char *name, mesh_err_t *err)
{
    char            *pem, path[PATH_MAX];
    size_t           len;
    STACK_OF(X509)  *certs;

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);

    if (mesh_file_read(path, MESH_ISSUER_FILE_MAX, &pem, &len, err)
        != MESH_OK)
    {
        return NULL;
    }

    certs = mesh_x509_chain_parse(pem, len, MESH_X509_CHAIN_MAX, err);

    if (certs == NULL) {
        (void) mesh_err_prefix(err, "%s", path);
    }

    free(pem);

    return certs;
}


static int
mesh_issuer_dir_write_cert(const char *dir, const char *name, X509 *cert,
    mesh_err_t *err)
{
    int              rc;
    char            *pem, path[PATH_MAX];
    STACK_OF(X509)  *one;

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);

    one = sk_X509_new_null();

    if (one == NULL || sk_X509_push(one, cert) == 0) {
        sk_X509_free(one);
        return mesh_err(err, "no memory for a certificate");
    }

    pem = mesh_x509_chain_pem_new(one, err);

    sk_X509_free(one);

    if (pem == NULL) {
        return MESH_ERROR;
    }

    rc = mesh_file_write(path, pem, strlen(pem), 0644, err);

    free(pem);

    return rc;
}


static int
mesh_issuer_dir_trust(const char *dir, mesh_err_t *err)
{
    int              rc;
    STACK_OF(X509)  *root;

    root = mesh_issuer_dir_certs(dir, MESH_ISSUER_ROOT_CERT, err);

    if (root == NULL) {
        return MESH_ERROR;
    }

    rc = mesh_issuer_dir_write_cert(dir, MESH_ISSUER_TRUST,
                                    sk_X509_value(root, 0), err);

    mesh_x509_chain_free(root);

    return rc;
}
