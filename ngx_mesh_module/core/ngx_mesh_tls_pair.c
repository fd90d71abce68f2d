
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Is this certificate chain, key and bundle good for this pod?  The answer
 * is one sentence: it goes to the error log and to the agent.  The files are
 * opened below one directory descriptor, so that a link which is renamed
 * meanwhile cannot mix two pairs.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <mesh_identity.h>

#include <ngx_mesh_tls_pair.h>


static void ngx_mesh_tls_pair_epoch(ngx_mesh_tls_pair_t *pair,
    const char *dir);
static const char *ngx_mesh_tls_pair_read(ngx_mesh_tls_pair_t *pair, int dir,
    const ngx_mesh_tls_files_t *files, char *err);
static BIO *ngx_mesh_tls_pair_open(int dir, const char *name, char *err);
static STACK_OF(X509) *ngx_mesh_tls_pair_certs(int dir, const char *name,
    unsigned char *digest, char *err);
static X509_STORE *ngx_mesh_tls_pair_store(STACK_OF(X509) *certs);
static const char *ngx_mesh_tls_pair_err(char *err, const char *name,
    const char *what, const char *why);


const char *
ngx_mesh_tls_pair_load(ngx_mesh_tls_pair_t *pair,
    const ngx_mesh_tls_files_t *files, char err[NGX_MESH_TLS_ERR_MAX])
{
    int          dir;
    const char  *text;

    memset(pair, 0, sizeof(ngx_mesh_tls_pair_t));

    dir = AT_FDCWD;

    if (files->dir) {
        ngx_mesh_tls_pair_epoch(pair, files->dir);

        dir = open(files->dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        if (dir == -1) {
            return ngx_mesh_tls_pair_err(err, files->dir, "cannot be opened",
                                         strerror(errno));
        }
    }

    text = ngx_mesh_tls_pair_read(pair, dir, files, err);

    if (files->dir) {
        (void) close(dir);
    }

    ERR_clear_error();

    return text;
}


/* the last component of the link's target, or of a plain directory's name */

static void
ngx_mesh_tls_pair_epoch(ngx_mesh_tls_pair_t *pair, const char *dir)
{
    char         target[1024];
    size_t       len;
    ssize_t      n;
    const char  *p, *last;

    n = readlink(dir, target, sizeof(target) - 1);

    if (n > 0) {
        target[n] = '\0';
        dir = target;
    }

    len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/') {
        len--;
    }

    last = dir;

    for (p = dir; p < dir + len; p++) {
        if (*p == '/') {
            last = p + 1;
        }
    }

    len -= (size_t) (last - dir);

    if (len >= NGX_MESH_TLS_EPOCH_MAX) {
        len = NGX_MESH_TLS_EPOCH_MAX - 1;
    }

    memcpy(pair->epoch, last, len);
    pair->epoch[len] = '\0';
}


static const char *
ngx_mesh_tls_pair_read(ngx_mesh_tls_pair_t *pair, int dir,
    const ngx_mesh_tls_files_t *files, char *err)
{
    BIO             *bio;
    STACK_OF(X509)  *certs;

    certs = ngx_mesh_tls_pair_certs(dir, files->cert, pair->pair_digest, err);
    if (certs == NULL) {
        return err;
    }

    pair->leaf = sk_X509_shift(certs);
    pair->chain = certs;

    bio = ngx_mesh_tls_pair_open(dir, files->key, err);
    if (bio == NULL) {
        return err;
    }

    pair->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "");

    BIO_free(bio);

    if (pair->key == NULL) {
        return ngx_mesh_tls_pair_err(err, files->key, "has no private key",
                                     NULL);
    }

    certs = ngx_mesh_tls_pair_certs(dir, files->trust, pair->trust_digest,
                                    err);
    if (certs == NULL) {
        return err;
    }

    pair->store = ngx_mesh_tls_pair_store(certs);

    sk_X509_pop_free(certs, X509_free);

    if (pair->store == NULL) {
        return ngx_mesh_tls_pair_err(err, files->trust, "cannot be used",
                                     NULL);
    }

    return NULL;
}


static BIO *
ngx_mesh_tls_pair_open(int dir, const char *name, char *err)
{
    int           fd;
    BIO          *bio;
    FILE         *file;
    struct stat   sb;

    fd = openat(dir, name, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        ngx_mesh_tls_pair_err(err, name, "cannot be opened", strerror(errno));
        return NULL;
    }

    if (fstat(fd, &sb) == -1 || !S_ISREG(sb.st_mode)
        || sb.st_size > NGX_MESH_TLS_FILE_MAX)
    {
        ngx_mesh_tls_pair_err(err, name,
                              "is not a regular file of at most 1 MiB", NULL);
        (void) close(fd);
        return NULL;
    }

    file = fdopen(fd, "r");

    if (file == NULL) {
        ngx_mesh_tls_pair_err(err, name, "cannot be read", strerror(errno));
        (void) close(fd);
        return NULL;
    }

    bio = BIO_new_fp(file, BIO_CLOSE);

    if (bio == NULL) {
        ngx_mesh_tls_pair_err(err, name, "cannot be read", "no memory");
        (void) fclose(file);
    }

    return bio;
}


/* all certificates of a file, at least one, and SHA-256 over their DER */

static STACK_OF(X509) *
ngx_mesh_tls_pair_certs(int dir, const char *name, unsigned char *digest,
    char *err)
{
    BIO             *bio;
    X509            *cert;
    EVP_MD_CTX      *md;
    unsigned int     n;
    unsigned long    code;
    unsigned char    one[NGX_MESH_TLS_DIGEST];
    STACK_OF(X509)  *certs;

    bio = ngx_mesh_tls_pair_open(dir, name, err);
    if (bio == NULL) {
        return NULL;
    }

    md = EVP_MD_CTX_new();
    certs = sk_X509_new_null();

    if (md == NULL || certs == NULL
        || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
    {
        goto memory;
    }

    ERR_clear_error();

    for ( ;; ) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

        if (cert == NULL) {
            break;
        }

        if (X509_digest(cert, EVP_sha256(), one, &n) != 1
            || EVP_DigestUpdate(md, one, n) != 1
            || sk_X509_push(certs, cert) == 0)
        {
            X509_free(cert);
            goto memory;
        }
    }

    code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) != ERR_LIB_PEM
        || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
    {
        ngx_mesh_tls_pair_err(err, name, "has a bad certificate", NULL);
        goto failed;
    }

    if (sk_X509_num(certs) == 0) {
        ngx_mesh_tls_pair_err(err, name, "has no certificate", NULL);
        goto failed;
    }

    if (EVP_DigestFinal_ex(md, digest, &n) != 1) {
        goto memory;
    }

    EVP_MD_CTX_free(md);
    BIO_free(bio);

    return certs;

memory:

    ngx_mesh_tls_pair_err(err, name, "cannot be read", "no memory");

failed:

    EVP_MD_CTX_free(md);
    sk_X509_pop_free(certs, X509_free);
    BIO_free(bio);

    return NULL;
}


static X509_STORE *
ngx_mesh_tls_pair_store(STACK_OF(X509) *certs)
{
    int          i;
    X509_STORE  *store;

    store = X509_STORE_new();
    if (store == NULL) {
        return NULL;
    }

    for (i = 0; i < sk_X509_num(certs); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(certs, i)) != 1) {
            X509_STORE_free(store);
            return NULL;
        }
    }

    return store;
}


const char *
ngx_mesh_tls_pair_check(ngx_mesh_tls_pair_t *pair, const char *identity,
    size_t len, time_t now, char err[NGX_MESH_TLS_ERR_MAX])
{
    int          rc, same;
    char        *id;
    size_t       n, i;
    const char  *text;

    static const int  purposes[] = {
        X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT
    };

    if (X509_check_private_key(pair->leaf, pair->key) != 1) {
        ERR_clear_error();
        return "key does not fit the certificate";
    }

    text = ngx_mesh_tls_cert_id(pair->leaf, &id, &n);
    if (text) {
        return ngx_mesh_tls_pair_err(err, NULL, "certificate", text);
    }

    same = (n == len && memcmp(id, identity, n) == 0);

    if (!same) {
        (void) snprintf(err, NGX_MESH_TLS_ERR_MAX,
                        "certificate is of \"%.*s\", not of \"%.*s\"",
                        (int) n, id, (int) len, identity);
    }

    OPENSSL_free(id);

    if (!same) {
        return err;
    }

    for (i = 0; i < sizeof(purposes) / sizeof(purposes[0]); i++) {

        rc = ngx_mesh_tls_chain_verify(pair->store, pair->leaf, pair->chain,
                                       purposes[i], now, NULL);
        if (rc != X509_V_OK) {
            return ngx_mesh_tls_pair_err(err, NULL,
                                         "chain does not verify against the "
                                         "trust bundle",
                                         X509_verify_cert_error_string(rc));
        }
    }

    return NULL;
}


void
ngx_mesh_tls_pair_free(ngx_mesh_tls_pair_t *pair)
{
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    X509_STORE_free(pair->store);

    pair->leaf = NULL;
    pair->chain = NULL;
    pair->key = NULL;
    pair->store = NULL;
}


const char *
ngx_mesh_tls_cert_id(X509 *cert, char **id, size_t *len)
{
    int               i, crit, n;
    const char       *text, *err;
    GENERAL_NAME     *name;
    GENERAL_NAMES    *names;
    mesh_identity_t   identity;

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, &crit, NULL);

    if (names == NULL) {
        ERR_clear_error();
        return crit == -1 ? "has no subject alternative name"
                          : "has a bad subject alternative name";
    }

    err = "has no URI among its names";

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI) {
            continue;
        }

        if (err == NULL) {
            OPENSSL_free(*id);
            err = "has more than one URI among its names";
            break;
        }

        text = (const char *)
                   ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        n = ASN1_STRING_length(name->d.uniformResourceIdentifier);

        err = mesh_identity_parse(text, n, &identity);
        if (err) {
            break;
        }

        *id = OPENSSL_memdup(text, n);
        *len = n;

        if (*id == NULL) {
            err = "cannot be read";
            break;
        }
    }

    GENERAL_NAMES_free(names);

    return err;
}


time_t
ngx_mesh_tls_chain_expiry(STACK_OF(X509) *chain)
{
    int        i;
    time_t     t, first;
    struct tm  tm;

    first = 0;

    for (i = 0; i < sk_X509_num(chain); i++) {

        if (ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(chain, i)), &tm)
            != 1)
        {
            return 0;
        }

        t = timegm(&tm);

        if (i == 0 || t < first) {
            first = t;
        }
    }

    return first;
}


int
ngx_mesh_tls_chain_verify(X509_STORE *store, X509 *leaf,
    STACK_OF(X509) *untrusted, int purpose, time_t now, time_t *not_after)
{
    int              rc;
    X509_STORE_CTX  *ctx;

    ctx = X509_STORE_CTX_new();

    if (ctx == NULL || X509_STORE_CTX_init(ctx, store, leaf, untrusted) != 1) {
        rc = X509_V_ERR_OUT_OF_MEM;
        goto done;
    }

    if (X509_STORE_CTX_set_purpose(ctx, purpose) != 1) {
        rc = X509_V_ERR_INVALID_PURPOSE;
        goto done;
    }

    if (now) {
        X509_STORE_CTX_set_time(ctx, 0, now);
    }

    if (X509_verify_cert(ctx) != 1) {
        rc = X509_STORE_CTX_get_error(ctx);

        if (rc == X509_V_OK) {
            rc = X509_V_ERR_UNSPECIFIED;
        }

        goto done;
    }

    rc = X509_V_OK;

    if (not_after) {
        *not_after = ngx_mesh_tls_chain_expiry(X509_STORE_CTX_get0_chain(ctx));
    }

done:

    X509_STORE_CTX_free(ctx);
    ERR_clear_error();

    return rc;
}


static const char *
ngx_mesh_tls_pair_err(char *err, const char *name, const char *what,
    const char *why)
{
    (void) snprintf(err, NGX_MESH_TLS_ERR_MAX, "%s%s%s%s%s%s%s",
                    name ? "\"" : "", name ? name : "", name ? "\" " : "",
                    what, why ? (name ? " (" : ": ") : "", why ? why : "",
                    why && name ? ")" : "");

    return err;
}
