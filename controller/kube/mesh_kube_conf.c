
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * A kubeconfig means what client-go says it means: data goes before files,
 * a token's file before the token, relative paths start where the kubeconfig
 * lies.  What would run programs (exec, auth-provider) or send passwords is
 * refused by name, not skipped: skipped, it would end in a 401 later.
 */

#include <mesh_b64.h>
#include <mesh_file.h>
#include <mesh_json.h>
#include <mesh_kube_conf.h>
#include <mesh_mem.h>
#include <mesh_yaml.h>


typedef struct {
    json_t              *json;
    unsigned             documents;
    unsigned             bad_line;
    mesh_err_t           err;
} mesh_kube_document_t;


/* a text: its member for a file, its member for the data itself */

typedef struct {
    const char          *file;
    const char          *data;
    int                  base64;
    int                  kind;
    size_t               offset;           /* in mesh_kube_conf_t */
} mesh_kube_member_t;


static const mesh_kube_member_t  mesh_kube_cluster_texts[] = {
    { "certificate-authority", "certificate-authority-data", 1,
      MESH_KUBE_PEM_CERT, offsetof(mesh_kube_conf_t, ca) },
    { NULL, NULL, 0, 0, 0 }
};


static const mesh_kube_member_t  mesh_kube_user_texts[] = {
    { "client-certificate", "client-certificate-data", 1,
      MESH_KUBE_PEM_CERT, offsetof(mesh_kube_conf_t, cert) },
    { "client-key", "client-key-data", 1,
      MESH_KUBE_PEM_KEY, offsetof(mesh_kube_conf_t, key) },
    { "tokenFile", "token", 0,
      MESH_KUBE_TOKEN, offsetof(mesh_kube_conf_t, token) },
    { NULL, NULL, 0, 0, 0 }
};


/* of a user; what we do without */

static const char *const  mesh_kube_unsupported[] = {
    "exec", "auth-provider", "username", "password", "as", "as-groups",
    "as-uid", "as-user-extra", NULL
};


static int mesh_kube_conf_document(mesh_kube_conf_t *conf, const char *path,
    json_t **json, mesh_err_t *err);
static void mesh_kube_conf_on_document(void *data, json_t *json,
    unsigned line, const mesh_yaml_t *yaml, const mesh_err_t *err);
static int mesh_kube_conf_load(mesh_kube_conf_t *conf, json_t *json,
    mesh_err_t *err);
static int mesh_kube_conf_named(const mesh_json_t *root, const char *list,
    const char *member, const char *name, mesh_json_t *place,
    mesh_json_t found[3], mesh_err_t *err);
static int mesh_kube_conf_cluster(mesh_kube_conf_t *conf,
    const mesh_json_t *cluster, mesh_err_t *err);
static int mesh_kube_conf_user(mesh_kube_conf_t *conf,
    const mesh_json_t *user, mesh_err_t *err);
static int mesh_kube_conf_texts(mesh_kube_conf_t *conf,
    const mesh_json_t *place, const mesh_kube_member_t *member,
    mesh_err_t *err);
static int mesh_kube_conf_inline(const mesh_json_t *place,
    const mesh_kube_member_t *member, mesh_kube_text_t *text,
    mesh_err_t *err);
static char *mesh_kube_conf_path(const mesh_kube_conf_t *conf,
    const char *path);
static int mesh_kube_conf_server(mesh_kube_conf_t *conf, const char *text,
    mesh_err_t *err);
static int mesh_kube_conf_is_local(const char *host);
static int mesh_kube_conf_check(const mesh_kube_conf_t *conf,
    mesh_err_t *err);
static int mesh_kube_conf_refresh_texts(mesh_kube_conf_t *conf,
    const mesh_kube_member_t *member, mesh_err_t *err);
static int mesh_kube_conf_string(const mesh_json_t *place, const char *name,
    char **text, mesh_err_t *err);


int
mesh_kube_conf_read(mesh_kube_conf_t *conf, const char *path,
    const char *context, mesh_err_t *err)
{
    int      rc;
    json_t  *json;

    memset(conf, 0, sizeof(mesh_kube_conf_t));

    conf->source = mesh_mem_str(path);
    conf->want = mesh_mem_str(context);

    if (mesh_kube_conf_document(conf, path, &json, err) != MESH_OK) {
        mesh_kube_conf_done(conf);
        return MESH_ERROR;
    }

    rc = mesh_kube_conf_load(conf, json, err);

    if (rc == MESH_OK) {
        rc = mesh_kube_conf_check(conf, err);
    }

    json_decref(json);

    if (rc != MESH_OK) {
        mesh_err_prefix(err, "\"%s\"", path);
        mesh_kube_conf_done(conf);
        return MESH_ERROR;
    }

    return MESH_OK;
}


int
mesh_kube_conf_in_cluster(mesh_kube_conf_t *conf, const char *dir,
    const char *host, const char *port, mesh_err_t *err)
{
    char        *path, *text;
    mesh_err_t   ignored;

    memset(conf, 0, sizeof(mesh_kube_conf_t));

    if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0') {
        return mesh_err(err, "KUBERNETES_SERVICE_HOST and "
                        "KUBERNETES_SERVICE_PORT are not set: this is no "
                        "container of a cluster");
    }

    conf->server = mesh_mem_printf(strchr(host, ':') ? "https://[%s]:%s"
                                                     : "https://%s:%s",
                                   host, port);
    conf->ca.path = mesh_mem_printf("%s/ca.crt", dir);
    conf->token.path = mesh_mem_printf("%s/token", dir);

    path = mesh_mem_printf("%s/namespace", dir);

    if (mesh_file_read(path, 256, &text, NULL, &ignored) == MESH_OK) {
        text[strcspn(text, " \r\n")] = '\0';
        conf->namespace_ = text;

    } else {
        conf->namespace_ = mesh_mem_str("default");
    }

    free(path);

    if (mesh_kube_text_read(&conf->ca, MESH_KUBE_PEM_CERT, err) != MESH_OK
        || mesh_kube_text_read(&conf->token, MESH_KUBE_TOKEN, err) != MESH_OK)
    {
        mesh_kube_conf_done(conf);
        return MESH_ERROR;
    }

    return MESH_OK;
}


int
mesh_kube_conf_refresh(mesh_kube_conf_t *conf, mesh_err_t *err)
{
    int                a, b;
    mesh_kube_conf_t   fresh;
    mesh_kube_stamp_t  stamp;

    if (conf->source && mesh_kube_stamp_differs(conf->source, &conf->stamp)) {

        /* told once about each state of the file */

        if (mesh_kube_stamp(conf->source, &stamp, err) != MESH_OK) {
            memset(&conf->stamp, 0, sizeof(mesh_kube_stamp_t));
            return MESH_ERROR;
        }

        conf->stamp = stamp;

        if (mesh_kube_conf_read(&fresh, conf->source, conf->want, err)
            != MESH_OK)
        {
            return MESH_ERROR;
        }

        mesh_kube_conf_done(conf);
        *conf = fresh;

        return MESH_OK;
    }

    a = mesh_kube_conf_refresh_texts(conf, mesh_kube_cluster_texts, err);
    b = (a == MESH_ERROR) ? a : mesh_kube_conf_refresh_texts(conf,
                                            mesh_kube_user_texts, err);

    if (a == MESH_ERROR || b == MESH_ERROR) {
        return MESH_ERROR;
    }

    return (a == MESH_OK || b == MESH_OK) ? MESH_OK : MESH_DECLINED;
}


static int
mesh_kube_conf_refresh_texts(mesh_kube_conf_t *conf,
    const mesh_kube_member_t *member, mesh_err_t *err)
{
    int                rc;
    mesh_kube_text_t  *text;

    rc = MESH_DECLINED;

    for ( /* void */ ; member->file; member++) {
        text = (mesh_kube_text_t *) ((char *) conf + member->offset);

        if (text->path == NULL
            || !mesh_kube_stamp_differs(text->path, &text->stamp))
        {
            continue;
        }

        if (mesh_kube_text_read(text, member->kind, err) != MESH_OK) {
            return MESH_ERROR;
        }

        rc = MESH_OK;
    }

    return rc;
}


void
mesh_kube_conf_done(mesh_kube_conf_t *conf)
{
    free(conf->source);
    free(conf->want);
    free(conf->context);
    free(conf->server);
    free(conf->server_name);
    free(conf->proxy);
    free(conf->namespace_);

    mesh_kube_text_done(&conf->ca);
    mesh_kube_text_done(&conf->cert);
    mesh_kube_text_done(&conf->key);
    mesh_kube_text_done(&conf->token);

    memset(conf, 0, sizeof(mesh_kube_conf_t));
}


static int
mesh_kube_conf_document(mesh_kube_conf_t *conf, const char *path,
    json_t **json, mesh_err_t *err)
{
    char                  *text;
    size_t                 len;
    mesh_kube_document_t   document;

    if (mesh_kube_stamp(path, &conf->stamp, err) != MESH_OK
        || mesh_file_read(path, MESH_KUBE_CONF_FILE_MAX, &text, &len, err)
           != MESH_OK)
    {
        return MESH_ERROR;
    }

    memset(&document, 0, sizeof(document));

    (void) mesh_yaml_parse(text, len, mesh_kube_conf_on_document, &document);

    explicit_bzero(text, len);
    free(text);

    if (document.bad_line == 0 && document.documents == 1) {
        *json = document.json;
        return MESH_OK;
    }

    json_decref(document.json);

    if (document.bad_line) {
        return mesh_err(err, "\"%s\":%u: %s", path, document.bad_line,
                        document.err.text);
    }

    return mesh_err(err, "\"%s\" has %u documents, expected one kubeconfig",
                    path, document.documents);
}


static void
mesh_kube_conf_on_document(void *data, json_t *json, unsigned line,
    const mesh_yaml_t *yaml, const mesh_err_t *err)
{
    mesh_kube_document_t  *document = data;

    (void) yaml;

    document->documents++;

    if (json == NULL) {
        document->bad_line = line ? line : 1;
        document->err = *err;
        return;
    }

    json_decref(document->json);
    document->json = json;
}


static int
mesh_kube_conf_load(mesh_kube_conf_t *conf, json_t *json, mesh_err_t *err)
{
    int           rc;
    const char   *name, *cluster, *user;
    mesh_json_t   root, context, found[3];

    mesh_json_root(&root, json);

    if (mesh_json_as_object(&root, err) != MESH_OK) {
        return MESH_ERROR;
    }

    name = conf->want;

    if (name == NULL
        && mesh_json_string(&root, "current-context", &name, err) != MESH_OK)
    {
        return mesh_json_missing(&root, "current-context", err);
    }

    conf->context = mesh_mem_str(name);

    if (mesh_kube_conf_named(&root, "contexts", "context", name, &context,
                             found, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (mesh_json_string(&context, "cluster", &cluster, err) != MESH_OK) {
        return mesh_json_missing(&context, "cluster", err);
    }

    user = NULL;

    if (mesh_json_string(&context, "user", &user, err) == MESH_ERROR
        || mesh_kube_conf_string(&context, "namespace", &conf->namespace_,
                                 err) == MESH_ERROR)
    {
        return MESH_ERROR;
    }

    if (conf->namespace_ == NULL) {
        conf->namespace_ = mesh_mem_str("default");
    }

    rc = mesh_kube_conf_named(&root, "clusters", "cluster", cluster, &context,
                              found, err);

    if (rc != MESH_OK
        || mesh_kube_conf_cluster(conf, &context, err) != MESH_OK)
    {
        return MESH_ERROR;
    }

    if (user == NULL || user[0] == '\0') {
        return MESH_OK;                    /* nobody: a proxy knows who */
    }

    rc = mesh_kube_conf_named(&root, "users", "user", user, &context, found,
                              err);
    if (rc != MESH_OK) {
        return MESH_ERROR;
    }

    return mesh_kube_conf_user(conf, &context, err);
}


/* list[i].member of the first with that name; found: the places above it */

static int
mesh_kube_conf_named(const mesh_json_t *root, const char *list,
    const char *member, const char *name, mesh_json_t *place,
    mesh_json_t found[3], mesh_err_t *err)
{
    size_t       i;
    const char  *text;

    if (mesh_json_array(root, list, &found[0], err) != MESH_OK) {
        return mesh_json_missing(root, list, err);
    }

    for (i = 0; i < mesh_json_size(&found[0]); i++) {
        mesh_json_item(&found[0], i, &found[1]);

        if (mesh_json_string(&found[1], "name", &text, err) != MESH_OK) {
            return mesh_json_missing(&found[1], "name", err);
        }

        if (strcmp(text, name) != 0) {
            continue;
        }

        if (mesh_json_object(&found[1], member, place, err) != MESH_OK) {
            return mesh_json_missing(&found[1], member, err);
        }

        return MESH_OK;
    }

    return mesh_err(err, "%s has none with the name \"%.80s\"", list, name);
}


static int
mesh_kube_conf_cluster(mesh_kube_conf_t *conf, const mesh_json_t *cluster,
    mesh_err_t *err)
{
    const char  *server;

    if (mesh_json_string(cluster, "server", &server, err) != MESH_OK) {
        return mesh_json_missing(cluster, "server", err);
    }

    if (mesh_kube_conf_server(conf, server, err) != MESH_OK) {
        return mesh_err_prefix(err, "clusters: server");
    }

    if (mesh_json_boolean(cluster, "insecure-skip-tls-verify",
                          &conf->insecure, err) == MESH_ERROR
        || mesh_kube_conf_string(cluster, "tls-server-name",
                                 &conf->server_name, err) == MESH_ERROR
        || mesh_kube_conf_string(cluster, "proxy-url", &conf->proxy, err)
           == MESH_ERROR)
    {
        return MESH_ERROR;
    }

    return mesh_kube_conf_texts(conf, cluster, mesh_kube_cluster_texts, err);
}


static int
mesh_kube_conf_user(mesh_kube_conf_t *conf, const mesh_json_t *user,
    mesh_err_t *err)
{
    char         path[256];
    size_t       i;
    mesh_json_t  value;

    for (i = 0; mesh_kube_unsupported[i]; i++) {

        if (mesh_json_any(user, mesh_kube_unsupported[i], &value, err)
            == MESH_OK)
        {
            mesh_json_path(&value, path, sizeof(path));

            return mesh_err(err, "%s is not supported, expected a token or a "
                            "client certificate", path);
        }
    }

    return mesh_kube_conf_texts(conf, user, mesh_kube_user_texts, err);
}


static int
mesh_kube_conf_texts(mesh_kube_conf_t *conf, const mesh_json_t *place,
    const mesh_kube_member_t *member, mesh_err_t *err)
{
    int                rc;
    char               path[256];
    const char        *file;
    mesh_json_t        value;
    mesh_kube_text_t  *text;

    for ( /* void */ ; member->file; member++) {
        text = (mesh_kube_text_t *) ((char *) conf + member->offset);

        rc = mesh_kube_conf_inline(place, member, text, err);

        if (rc == MESH_ERROR) {
            return MESH_ERROR;
        }

        /* data goes before its file; of tokens it is the other way round */

        if (rc == MESH_OK && member->kind != MESH_KUBE_TOKEN) {
            continue;
        }

        rc = mesh_json_any(place, member->file, &value, err);

        if (rc == MESH_OK) {
            rc = mesh_json_as_string(&value, &file, err);
        }

        if (rc == MESH_DECLINED || (rc == MESH_OK && file[0] == '\0')) {
            continue;
        }

        if (rc == MESH_ERROR) {
            return MESH_ERROR;
        }

        text->path = mesh_kube_conf_path(conf, file);

        if (mesh_kube_text_read(text, member->kind, err) != MESH_OK) {
            mesh_json_path(&value, path, sizeof(path));
            return mesh_err_prefix(err, "%s", path);
        }
    }

    return MESH_OK;
}


static int
mesh_kube_conf_inline(const mesh_json_t *place,
    const mesh_kube_member_t *member, mesh_kube_text_t *text,
    mesh_err_t *err)
{
    int           rc;
    char         *copy, *p, path[256];
    size_t        len;
    const char   *data;
    mesh_json_t   value;

    rc = mesh_json_any(place, member->data, &value, err);

    if (rc == MESH_OK) {
        rc = mesh_json_as_string(&value, &data, err);
    }

    if (rc != MESH_OK || data[0] == '\0') {
        return rc == MESH_ERROR ? MESH_ERROR : MESH_DECLINED;
    }

    copy = mesh_mem_str(data);

    if (member->base64) {

        for (p = copy; *data; data++) {
            if (strchr(" \t\r\n", *data) == NULL) {
                *p++ = *data;
            }
        }

        len = (size_t) (p - copy);
        p = mesh_mem_new(mesh_b64_decoded_bytes(len) + 1);
        rc = mesh_b64_decode(p, &len, copy, len);

        explicit_bzero(copy, strlen(copy));
        free(copy);
        copy = p;

        if (rc != MESH_OK) {
            mesh_err(err, "no base64");

        } else {
            copy[len] = '\0';
        }
    }

    text->text = copy;

    if (rc == MESH_OK) {
        rc = mesh_kube_text_check(copy, member->kind, err);
    }

    if (rc != MESH_OK) {
        mesh_json_path(&value, path, sizeof(path));
        return mesh_err_prefix(err, "%s", path);
    }

    return MESH_OK;
}


static char *
mesh_kube_conf_path(const mesh_kube_conf_t *conf, const char *path)
{
    const char  *slash;

    slash = strrchr(conf->source, '/');

    if (path[0] == '/' || slash == NULL) {
        return mesh_mem_str(path);
    }

    return mesh_mem_printf("%.*s/%s", (int) (slash - conf->source),
                           conf->source, path);
}


static int
mesh_kube_conf_server(mesh_kube_conf_t *conf, const char *text,
    mesh_err_t *err)
{
    size_t       len, scheme;
    const char  *p;

    scheme = strncmp(text, "https://", 8) == 0 ? 8
             : strncmp(text, "http://", 7) == 0 ? 7 : 0;

    for (p = text; *p > ' ' && *p < 0x7f && strchr("@?#\"\\", *p) == NULL; p++)
    {
        /* void */
    }

    if (scheme == 0 || *p || text[scheme] == '\0' || text[scheme] == '/'
        || text[scheme] == ':')
    {
        return mesh_err(err, "\"%.200s\", expected https://HOST:PORT", text);
    }

    len = strlen(text);

    while (text[len - 1] == '/') {
        len--;
    }

    conf->server = mesh_mem_printf("%.*s", (int) len, text);

    return MESH_OK;
}


static int
mesh_kube_conf_is_local(const char *host)
{
    size_t       i, len;
    const char  *rest;

    static const char *const  local[] = { "localhost", "127.0.0.1", "[::1]" };

    for (i = 0; i < mesh_nelts(local); i++) {
        len = strlen(local[i]);
        rest = host + len;

        if (strncmp(host, local[i], len) == 0
            && (*rest == '\0' || *rest == ':' || *rest == '/'))
        {
            return 1;
        }
    }

    return 0;
}


/* what fits together; fails shut */

static int
mesh_kube_conf_check(const mesh_kube_conf_t *conf, mesh_err_t *err)
{
    if (conf->insecure && conf->ca.text) {
        return mesh_err(err, "insecure-skip-tls-verify is set, and a "
                        "certificate authority is given, expected one of "
                        "them");
    }

    if ((conf->cert.text == NULL) != (conf->key.text == NULL)) {
        return mesh_err(err, "client-certificate and client-key are given "
                        "together or not at all");
    }

    if (strncmp(conf->server, "http://", 7) == 0 && conf->token.text
        && !mesh_kube_conf_is_local(conf->server + 7))
    {
        return mesh_err(err, "the token would be sent to \"%.200s\" without "
                        "TLS", conf->server);
    }

    return MESH_OK;
}


static int
mesh_kube_conf_string(const mesh_json_t *place, const char *name, char **text,
    mesh_err_t *err)
{
    int          rc;
    const char  *value;

    rc = mesh_json_string(place, name, &value, err);

    if (rc == MESH_OK && value[0]) {
        *text = mesh_mem_str(value);
    }

    return rc;
}
