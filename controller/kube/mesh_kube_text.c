
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Credentials as text: read whole, checked before they replace what is there,
 * wiped when they go.  A half-written file therefore changes nothing.
 */

#include <mesh_file.h>
#include <mesh_kube_text.h>
#include <mesh_x509.h>


int
mesh_kube_text_read(mesh_kube_text_t *text, int kind, mesh_err_t *err)
{
    char               *data;
    size_t              len;
    mesh_kube_stamp_t   stamp;

    /* looked at first: what comes between the two is read again */

    if (mesh_kube_stamp(text->path, &stamp, err) != MESH_OK
        || mesh_file_read(text->path, MESH_KUBE_CONF_FILE_MAX, &data, &len,
                          err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    text->stamp = stamp;

    if (mesh_kube_text_check(data, kind, err) != MESH_OK) {
        explicit_bzero(data, len);
        free(data);
        return mesh_err_prefix(err, "\"%s\"", text->path);
    }

    if (text->text) {
        explicit_bzero(text->text, strlen(text->text));
        free(text->text);
    }

    text->text = data;

    return MESH_OK;
}


int
mesh_kube_text_check(char *text, int kind, mesh_err_t *err)
{
    char            *p;
    size_t           len;
    STACK_OF(X509)  *chain;

    if (kind == MESH_KUBE_PEM_CERT) {
        chain = mesh_x509_chain_parse(text, strlen(text),
                                      MESH_KUBE_CERTIFICATES, err);
        if (chain == NULL) {
            return MESH_ERROR;
        }

        mesh_x509_chain_free(chain);
        return MESH_OK;
    }

    if (kind == MESH_KUBE_PEM_KEY) {
        return strstr(text, "PRIVATE KEY-----") != NULL
               ? MESH_OK : mesh_err(err, "no private key in PEM");
    }

    /* a token: a header is made of it */

    len = strlen(text);

    while (len && strchr(" \t\r\n", text[len - 1])) {
        text[--len] = '\0';
    }

    for (p = text; *p > ' ' && *p < 0x7f; p++) { /* void */ }

    if (len == 0 || len > MESH_KUBE_TOKEN_MAX || *p) {
        return mesh_err(err, "no token: it is %s",
                        len == 0 ? "empty"
                        : *p ? "not of visible ASCII" : "too long");
    }

    return MESH_OK;
}


void
mesh_kube_text_done(mesh_kube_text_t *text)
{
    if (text->text) {
        explicit_bzero(text->text, strlen(text->text));
    }

    free(text->text);
    free(text->path);
}


int
mesh_kube_stamp(const char *path, mesh_kube_stamp_t *stamp, mesh_err_t *err)
{
    struct stat  st;

    if (stat(path, &st) == -1) {
        (void) mesh_err_sys(err, errno, "cannot look at \"%s\"", path);
        return MESH_ERROR;
    }

    stamp->dev = st.st_dev;
    stamp->inode = st.st_ino;
    stamp->size = st.st_size;
    stamp->mtime = st.st_mtim;

    return MESH_OK;
}


int
mesh_kube_stamp_differs(const char *path, const mesh_kube_stamp_t *stamp)
{
    mesh_kube_stamp_t  now;

    return mesh_kube_stamp(path, &now, NULL) == MESH_OK
           && (now.dev != stamp->dev || now.inode != stamp->inode
               || now.size != stamp->size
               || now.mtime.tv_sec != stamp->mtime.tv_sec
               || now.mtime.tv_nsec != stamp->mtime.tv_nsec);
}
