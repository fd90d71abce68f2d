
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Certificate requests, both ends: what we ask for, and the check that a
 * stranger asked for that and nothing more.  Of a request only the key and
 * the ID are ever used, so anything else in it is a misunderstanding at best
 * and is refused rather than ignored.
 */

#include <mesh_x509.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>


static int mesh_x509_csr_fill(X509_REQ *req, EVP_PKEY *key, const char *id,
    mesh_err_t *err);
static char *mesh_x509_csr_pem_new(X509_REQ *req, mesh_err_t *err);
static int mesh_x509_csr_check_key(X509_REQ *req, mesh_err_t *err);
static int mesh_x509_csr_check_attributes(X509_REQ *req, mesh_err_t *err);
static int mesh_x509_csr_check_extensions(X509_EXTENSIONS *exts, char *id,
    mesh_err_t *err);
static int mesh_x509_csr_check_names(GENERAL_NAMES *names, char *id,
    mesh_err_t *err);


char *
mesh_x509_csr_new(EVP_PKEY *key, const char *id, mesh_err_t *err)
{
    char      *pem;
    X509_REQ  *req;

    pem = NULL;
    req = X509_REQ_new();

    if (req == NULL) {
        (void) mesh_x509_err(err, "no memory for a request");
        return NULL;
    }

    if (mesh_x509_csr_fill(req, key, id, err) == MESH_OK) {
        pem = mesh_x509_csr_pem_new(req, err);
    }

    X509_REQ_free(req);

    return pem;
}


static int
mesh_x509_csr_fill(X509_REQ *req, EVP_PKEY *key, const char *id,
    mesh_err_t *err)
{
    int               rc;
    GENERAL_NAMES    *names;
    X509_EXTENSIONS  *exts;

    exts = NULL;
    names = mesh_x509_names_new(id);

    rc = (names != NULL
          && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1
          && X509_REQ_set_pubkey(req, key) == 1
          && X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 1,
                             X509V3_ADD_DEFAULT)
             == 1
          && X509_REQ_add_extensions(req, exts) == 1
          && X509_REQ_sign(req, key, EVP_sha256()) != 0)
         ? MESH_OK : mesh_x509_err(err, "could not make a request");

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);

    return rc;
}


static char *
mesh_x509_csr_pem_new(X509_REQ *req, mesh_err_t *err)
{
    BIO   *bio;
    char  *data, *pem;
    long   len;

    pem = NULL;
    bio = BIO_new(BIO_s_mem());

    if (bio == NULL || PEM_write_bio_X509_REQ(bio, req) != 1) {
        (void) mesh_x509_err(err, "could not write a request");
        goto done;
    }

    len = BIO_get_mem_data(bio, &data);
    pem = strndup(data, len);

    if (pem == NULL) {
        (void) mesh_err(err, "no memory for a request");
    }

done:

    BIO_free(bio);

    return pem;
}


X509_REQ *
mesh_x509_csr_parse(const char *pem, size_t len, mesh_err_t *err)
{
    BIO       *bio;
    X509_REQ  *req;

    bio = (len <= INT_MAX) ? BIO_new_mem_buf(pem, (int) len) : NULL;

    if (bio == NULL) {
        (void) mesh_err(err, "no memory for a request");
        return NULL;
    }

    req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);

    if (req == NULL) {
        (void) mesh_x509_err(err, "cannot read the request");
    }

    BIO_free(bio);

    return req;
}


int
mesh_x509_csr_check(X509_REQ *req, char *id, mesh_err_t *err)
{
    int               rc;
    X509_EXTENSIONS  *exts;

    if (X509_REQ_get_version(req) != X509_REQ_VERSION_1) {
        return mesh_err(err, "request is of an unknown version");
    }

    if (X509_NAME_entry_count(X509_REQ_get_subject_name(req)) != 0) {
        return mesh_err(err, "request has a subject, expected an empty one");
    }

    if (mesh_x509_csr_check_key(req, err) != MESH_OK
        || mesh_x509_csr_check_attributes(req, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    exts = X509_REQ_get_extensions(req);

    if (exts == NULL) {
        return mesh_x509_err(err, "request has no extensions that can be "
                             "read, expected a SAN");
    }

    rc = mesh_x509_csr_check_extensions(exts, id, err);

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);

    return rc;
}


static int
mesh_x509_csr_check_key(X509_REQ *req, mesh_err_t *err)
{
    EVP_PKEY  *key;

    key = X509_REQ_get0_pubkey(req);

    if (key == NULL) {
        return mesh_x509_err(err, "request has no key that can be read");
    }

    if (!mesh_x509_key_is_p256(key)) {
        return mesh_err(err, "request has a key that is no ECDSA P-256 key");
    }

    if (X509_REQ_verify(req, key) != 1) {
        ERR_clear_error();
        return mesh_err(err, "request is not signed by its key");
    }

    return MESH_OK;
}


static int
mesh_x509_csr_check_attributes(X509_REQ *req, mesh_err_t *err)
{
    X509_ATTRIBUTE  *attr;

    if (X509_REQ_get_attr_count(req) != 1) {
        return mesh_err(err, "request has %d attributes, expected one, the "
                        "extensions", X509_REQ_get_attr_count(req));
    }

    attr = X509_REQ_get_attr(req, 0);

    if (OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attr)) != NID_ext_req
        || X509_ATTRIBUTE_count(attr) != 1)
    {
        return mesh_err(err, "request has another attribute than one set of "
                        "extensions");
    }

    return MESH_OK;
}


static int
mesh_x509_csr_check_extensions(X509_EXTENSIONS *exts, char *id,
    mesh_err_t *err)
{
    int              rc;
    GENERAL_NAMES   *names;
    X509_EXTENSION  *ext;

    if (sk_X509_EXTENSION_num(exts) != 1) {
        return mesh_err(err, "request has %d extensions, expected one, the "
                        "SAN", sk_X509_EXTENSION_num(exts));
    }

    ext = sk_X509_EXTENSION_value(exts, 0);

    if (OBJ_obj2nid(X509_EXTENSION_get_object(ext)) != NID_subject_alt_name) {
        return mesh_err(err, "request has another extension than a SAN");
    }

    names = X509V3_EXT_d2i(ext);

    if (names == NULL) {
        return mesh_x509_err(err, "request has a SAN that cannot be read");
    }

    rc = mesh_x509_csr_check_names(names, id, err);

    GENERAL_NAMES_free(names);

    return rc;
}


static int
mesh_x509_csr_check_names(GENERAL_NAMES *names, char *id, mesh_err_t *err)
{
    int                   len;
    GENERAL_NAME         *name;
    const unsigned char  *data;

    if (sk_GENERAL_NAME_num(names) != 1) {
        return mesh_err(err, "request has %d names in its SAN, expected one",
                        sk_GENERAL_NAME_num(names));
    }

    name = sk_GENERAL_NAME_value(names, 0);

    if (name->type != GEN_URI) {
        return mesh_err(err, "request has a SAN that is no URI");
    }

    data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    len = ASN1_STRING_length(name->d.uniformResourceIdentifier);

    if (len < 10 || len > MESH_X509_ID_MAX
        || memchr(data, '\0', len) != NULL
        || strncmp((const char *) data, "spiffe://", 9) != 0)
    {
        return mesh_err(err, "request has a URI SAN that is no SPIFFE ID");
    }

    memcpy(id, data, len);
    id[len] = '\0';

    return MESH_OK;
}
