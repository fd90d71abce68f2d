
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The CA in memory.  Whether an issuer fits a bundle is not reasoned about
 * but tried: a leaf is signed and verified as a peer would, so constraints
 * on path length, usage or dates need no rules of their own.
 */

#include <mesh_issuer.h>
#include <mesh_issuer_dir.h>
#include <mesh_file.h>

#include <openssl/crypto.h>


typedef struct {
    EVP_PKEY         *key;
    STACK_OF(X509)   *chain;          /* issuer first */
    char             *pem;            /* of the chain */
} mesh_issuer_pair_t;

typedef struct {
    STACK_OF(X509)   *roots;
    char             *pem;
} mesh_issuer_trust_t;


struct mesh_issuer_s {
    mesh_issuer_conf_t    conf;
    char                 *paths[MESH_ISSUER_FILES];    /* cert key trust */
    mesh_issuer_pair_t    pair;
    mesh_issuer_trust_t   trust;
};


static int mesh_issuer_names(mesh_issuer_t *issuer, mesh_err_t *err);
static int mesh_issuer_pair_read(mesh_issuer_t *issuer,
    mesh_issuer_pair_t *pair, mesh_err_t *err);
static int mesh_issuer_key_read(const char *path, EVP_PKEY **key,
    mesh_err_t *err);
static int mesh_issuer_trust_read(mesh_issuer_t *issuer,
    mesh_issuer_trust_t *trust, mesh_err_t *err);
static void mesh_issuer_pair_done(mesh_issuer_pair_t *pair);
static void mesh_issuer_trust_done(mesh_issuer_trust_t *trust);
static int mesh_issuer_fits(const mesh_issuer_t *issuer,
    const mesh_issuer_pair_t *pair, const mesh_issuer_trust_t *trust,
    time_t now, mesh_err_t *err);
static X509 *mesh_issuer_leaf(const mesh_issuer_t *issuer,
    const mesh_issuer_pair_t *pair, EVP_PKEY *key, const char *id,
    const char *uid, time_t now, mesh_err_t *err);


mesh_issuer_t *
mesh_issuer_new(const mesh_issuer_conf_t *conf, time_t now, mesh_err_t *err)
{
    mesh_issuer_t  *issuer;

    issuer = calloc(1, sizeof(mesh_issuer_t));

    if (issuer == NULL) {
        (void) mesh_err(err, "no memory for an issuer");
        return NULL;
    }

    issuer->conf = *conf;

    if (mesh_issuer_names(issuer, err) != MESH_OK) {
        goto failed;
    }

    if (conf->ca_dir != NULL
        && mesh_issuer_dir_make(conf->ca_dir, conf->trust_domain, now, err)
           != MESH_OK)
    {
        goto failed;
    }

    if (mesh_issuer_pair_read(issuer, &issuer->pair, err) != MESH_OK
        || mesh_issuer_trust_read(issuer, &issuer->trust, err) != MESH_OK
        || mesh_issuer_fits(issuer, &issuer->pair, &issuer->trust, now, err)
           != MESH_OK)
    {
        goto failed;
    }

    return issuer;

failed:

    mesh_issuer_free(issuer);

    return NULL;
}


void
mesh_issuer_free(mesh_issuer_t *issuer)
{
    int  i;

    if (issuer == NULL) {
        return;
    }

    mesh_issuer_pair_done(&issuer->pair);
    mesh_issuer_trust_done(&issuer->trust);

    for (i = 0; i < MESH_ISSUER_FILES; i++) {
        free(issuer->paths[i]);
    }

    free(issuer);
}


static int
mesh_issuer_names(mesh_issuer_t *issuer, mesh_err_t *err)
{
    int          i;
    const char  *given[MESH_ISSUER_FILES];

    static const char  *names[MESH_ISSUER_FILES] = {
        MESH_ISSUER_CERT, MESH_ISSUER_KEY, MESH_ISSUER_TRUST
    };

    given[0] = issuer->conf.cert;
    given[1] = issuer->conf.key;
    given[2] = issuer->conf.trust;

    for (i = 0; i < MESH_ISSUER_FILES; i++) {

        if (issuer->conf.ca_dir == NULL) {
            issuer->paths[i] = strdup(given[i]);

        } else if (asprintf(&issuer->paths[i], "%s/%s", issuer->conf.ca_dir,
                            names[i])
                   == -1)
        {
            issuer->paths[i] = NULL;
        }

        if (issuer->paths[i] == NULL) {
            return mesh_err(err, "no memory for names");
        }
    }

    return MESH_OK;
}


const char *const *
mesh_issuer_paths(const mesh_issuer_t *issuer)
{
    return (const char *const *) issuer->paths;
}


static int
mesh_issuer_pair_read(mesh_issuer_t *issuer, mesh_issuer_pair_t *pair,
    mesh_err_t *err)
{
    char        *pem;
    size_t       len;
    const char  *path;

    memset(pair, 0, sizeof(mesh_issuer_pair_t));

    path = issuer->paths[0];

    if (mesh_file_read(path, MESH_ISSUER_FILE_MAX, &pem, &len, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    pair->chain = mesh_x509_chain_parse(pem, len, MESH_X509_CHAIN_MAX - 1,
                                        err);
    free(pem);

    if (pair->chain == NULL) {
        return mesh_err_prefix(err, "%s", path);
    }

    pair->pem = mesh_x509_chain_pem_new(pair->chain, err);

    if (pair->pem == NULL
        || mesh_issuer_key_read(issuer->paths[1], &pair->key, err) != MESH_OK)
    {
        goto failed;
    }

    if (!mesh_x509_fits(sk_X509_value(pair->chain, 0), pair->key)) {
        (void) mesh_err(err, "the key in \"%s\" is not the one of \"%s\"",
                        issuer->paths[1], path);
        goto failed;
    }

    return MESH_OK;

failed:

    mesh_issuer_pair_done(pair);

    return MESH_ERROR;
}


static int
mesh_issuer_key_read(const char *path, EVP_PKEY **key, mesh_err_t *err)
{
    char    *pem;
    size_t   len;

    if (mesh_file_read(path, MESH_ISSUER_FILE_MAX, &pem, &len, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    *key = mesh_x509_key_parse(pem, len, err);

    OPENSSL_cleanse(pem, len);
    free(pem);

    return (*key != NULL) ? MESH_OK : mesh_err_prefix(err, "%s", path);
}


static int
mesh_issuer_trust_read(mesh_issuer_t *issuer, mesh_issuer_trust_t *trust,
    mesh_err_t *err)
{
    int          i;
    char        *pem;
    X509        *root;
    size_t       len;
    const char  *path;

    memset(trust, 0, sizeof(mesh_issuer_trust_t));

    path = issuer->paths[2];

    if (mesh_file_read(path, MESH_ISSUER_FILE_MAX, &pem, &len, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    trust->roots = mesh_x509_chain_parse(pem, len, MESH_X509_BUNDLE_MAX, err);

    free(pem);

    if (trust->roots == NULL) {
        return mesh_err_prefix(err, "%s", path);
    }

    for (i = 0; i < sk_X509_num(trust->roots); i++) {
        root = sk_X509_value(trust->roots, i);

        if (X509_check_ca(root) != 1 || X509_self_signed(root, 1) != 1) {
            (void) mesh_err(err, "%s: certificate %d is no self-signed CA",
                            path, i + 1);
            goto failed;
        }
    }

    /* printed anew: what is served has no comments and no surprises */

    trust->pem = mesh_x509_chain_pem_new(trust->roots, err);

    if (trust->pem == NULL) {
        goto failed;
    }

    return MESH_OK;

failed:

    mesh_issuer_trust_done(trust);

    return MESH_ERROR;
}


static void
mesh_issuer_pair_done(mesh_issuer_pair_t *pair)
{
    EVP_PKEY_free(pair->key);
    mesh_x509_chain_free(pair->chain);
    free(pair->pem);
    memset(pair, 0, sizeof(mesh_issuer_pair_t));
}


static void
mesh_issuer_trust_done(mesh_issuer_trust_t *trust)
{
    mesh_x509_chain_free(trust->roots);
    free(trust->pem);
    memset(trust, 0, sizeof(mesh_issuer_trust_t));
}


int
mesh_issuer_reload(mesh_issuer_t *issuer, time_t now, int *changed,
    mesh_err_t *err)
{
    int                   rc;
    mesh_err_t            ignored;
    mesh_issuer_pair_t    pair;
    mesh_issuer_trust_t   trust;

    *changed = 0;

    if (mesh_issuer_trust_read(issuer, &trust, err) != MESH_OK) {
        return MESH_ERROR;            /* with no bundle nothing fits */
    }

    rc = mesh_issuer_pair_read(issuer, &pair, err);

    if (rc == MESH_OK) {
        rc = mesh_issuer_fits(issuer, &pair, &trust, now, err);
    }

    if (rc == MESH_OK) {

        if (strcmp(pair.pem, issuer->pair.pem) != 0) {
            *changed |= MESH_ISSUER_NEW_PAIR;
        }

        mesh_issuer_pair_done(&issuer->pair);
        issuer->pair = pair;

    } else {
        mesh_issuer_pair_done(&pair);

        if (mesh_issuer_fits(issuer, &issuer->pair, &trust, now, &ignored)
            != MESH_OK)
        {
            mesh_issuer_trust_done(&trust);
            return MESH_ERROR;        /* *err: of the new issuer */
        }
    }

    if (strcmp(trust.pem, issuer->trust.pem) != 0) {
        *changed |= MESH_ISSUER_NEW_TRUST;
    }

    mesh_issuer_trust_done(&issuer->trust);
    issuer->trust = trust;

    return rc;
}


static int
mesh_issuer_fits(const mesh_issuer_t *issuer, const mesh_issuer_pair_t *pair,
    const mesh_issuer_trust_t *trust, time_t now, mesh_err_t *err)
{
    int              i, rc;
    X509            *leaf;
    EVP_PKEY        *key;
    STACK_OF(X509)  *chain;

    rc = MESH_ERROR;
    leaf = NULL;
    chain = NULL;

    key = mesh_x509_key_new(err);

    if (key == NULL) {
        return MESH_ERROR;
    }

    leaf = mesh_issuer_leaf(issuer, pair, key, issuer->conf.server_id, NULL,
                            now, err);
    chain = (leaf != NULL) ? sk_X509_new_null() : NULL;

    if (chain == NULL || sk_X509_push(chain, leaf) == 0) {
        goto done;
    }

    for (i = 0; i < sk_X509_num(pair->chain); i++) {

        if (sk_X509_push(chain, sk_X509_value(pair->chain, i)) == 0) {
            goto done;
        }
    }

    if (mesh_x509_verify(chain, trust->roots, now, MESH_X509_SERVER, err)
        != MESH_OK
        || mesh_x509_verify(chain, trust->roots, now, MESH_X509_CLIENT, err)
           != MESH_OK)
    {
        (void) mesh_err_prefix(err, "the issuer in \"%s\" does not chain to "
                               "\"%s\"", issuer->paths[0], issuer->paths[2]);
        goto done;
    }

    rc = MESH_OK;

done:

    sk_X509_free(chain);              /* not what is in it */
    X509_free(leaf);
    EVP_PKEY_free(key);

    return rc;
}


static X509 *
mesh_issuer_leaf(const mesh_issuer_t *issuer, const mesh_issuer_pair_t *pair,
    EVP_PKEY *key, const char *id, const char *uid, time_t now,
    mesh_err_t *err)
{
    int                i;
    time_t             not_before, not_after;
    mesh_x509_want_t   want;

    memset(&want, 0, sizeof(want));
    want.id = id;
    want.serial_number = (uid != NULL && uid[0] != '\0') ? uid : NULL;
    want.not_before = now - MESH_ISSUER_SKEW;
    want.not_after = now + issuer->conf.leaf_ttl;

    for (i = 0; i < sk_X509_num(pair->chain); i++) {

        if (mesh_x509_times(sk_X509_value(pair->chain, i), &not_before,
                            &not_after)
            != MESH_OK)
        {
            (void) mesh_err(err, "the issuer has dates that cannot be read");
            return NULL;
        }

        want.not_after = mesh_min(want.not_after, not_after);
    }

    return mesh_x509_sign(key, &want, sk_X509_value(pair->chain, 0),
                          pair->key, err);
}


int
mesh_issuer_sign(mesh_issuer_t *issuer, EVP_PKEY *key, const char *id,
    const char *uid, time_t now, mesh_issued_t *issued, mesh_err_t *err)
{
    int              rc;
    char            *pem;
    X509            *leaf;
    time_t           not_before;
    STACK_OF(X509)  *one;

    if (mesh_issuer_ready(issuer, now, err) != MESH_OK) {
        return MESH_ERROR;
    }

    rc = MESH_ERROR;
    pem = NULL;
    one = sk_X509_new_null();
    leaf = mesh_issuer_leaf(issuer, &issuer->pair, key, id, uid, now, err);

    if (leaf == NULL || one == NULL || sk_X509_push(one, leaf) == 0
        || mesh_x509_times(leaf, &not_before, &issued->not_after) != MESH_OK)
    {
        goto done;
    }

    pem = mesh_x509_chain_pem_new(one, err);

    if (pem == NULL) {
        goto done;
    }

    if (asprintf(&issued->chain, "%s%s", pem, issuer->pair.pem) == -1) {
        (void) mesh_err(err, "no memory for a chain");
        goto done;
    }

    mesh_x509_serial(leaf, issued->serial, sizeof(issued->serial));
    rc = MESH_OK;

done:

    free(pem);
    sk_X509_free(one);
    X509_free(leaf);

    return rc;
}


int
mesh_issuer_renew(mesh_issuer_t *issuer, time_t now, mesh_err_t *err)
{
    X509    *cert;
    time_t   not_before, not_after;

    if (issuer->conf.ca_dir == NULL) {
        return MESH_DECLINED;
    }

    cert = sk_X509_value(issuer->pair.chain, 0);

    if (mesh_x509_times(cert, &not_before, &not_after) != MESH_OK
        || not_after - now > (not_after - not_before) * 3 / 10)
    {
        return MESH_DECLINED;
    }

    return mesh_issuer_dir_renew(issuer->conf.ca_dir,
                                 issuer->conf.trust_domain, issuer->pair.key,
                                 now, err);
}


const char *
mesh_issuer_trust(const mesh_issuer_t *issuer, size_t *len)
{
    *len = strlen(issuer->trust.pem);

    return issuer->trust.pem;
}


int
mesh_issuer_ready(const mesh_issuer_t *issuer, time_t now, mesh_err_t *err)
{
    int     i;
    time_t  not_before, not_after;

    for (i = 0; i < sk_X509_num(issuer->pair.chain); i++) {

        if (mesh_x509_times(sk_X509_value(issuer->pair.chain, i),
                            &not_before, &not_after)
            != MESH_OK
            || now < not_before || now >= not_after)
        {
            return mesh_err(err, "the issuer is expired or not yet valid");
        }
    }

    return MESH_OK;
}


void
mesh_issuer_describe(const mesh_issuer_t *issuer, char *buf, size_t size)
{
    char        name[128], serial[65];
    X509       *cert;
    time_t      not_before, not_after;
    struct tm   tm;

    cert = sk_X509_value(issuer->pair.chain, 0);

    if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName,
                                  name, sizeof(name))
        == -1)
    {
        (void) snprintf(name, sizeof(name), "-");
    }

    not_after = 0;
    (void) mesh_x509_times(cert, &not_before, &not_after);
    (void) gmtime_r(&not_after, &tm);
    mesh_x509_serial(cert, serial, sizeof(serial));

    (void) snprintf(buf, size, "issuer \"%s\" serial %s until %04d-%02d-%02d"
                    "T%02d:%02d:%02dZ, %d root%s", name, serial,
                    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                    tm.tm_min, tm.tm_sec, sk_X509_num(issuer->trust.roots),
                    sk_X509_num(issuer->trust.roots) == 1 ? "" : "s");
}
