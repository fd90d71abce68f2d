
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_kube_conf.c controller/kube/mesh_kube_text.c
 *       controller/base/; -lyaml -ljansson -levent -lm -lssl -lcrypto */

/*
 * Kubeconfigs as kubectl writes them, what is wrong with others, and files
 * that change.
 */

#include <mesh_core.h>
#include <mesh_b64.h>
#include <mesh_file.h>
#include <mesh_kube_conf.h>
#include <mesh_mem.h>
#include <mesh_x509.h>

#include "unit.h"


static char  dir[64] = "/tmp/u-mesh_kube_conf-XXXXXX";
static char *cert, *key, *cert64, *key64;


static const char *
path(const char *name)
{
    static char  buf[4][128];
    static int   i;

    i = (i + 1) % 4;
    snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);

    return buf[i];
}


static void
put(const char *name, const char *text)
{
    mesh_err_t  err;

    if (mesh_file_write(path(name), text, strlen(text), 0600, &err)
        != MESH_OK)
    {
        printf("# %s\n", err.text);
    }
}


static char *
encoded(const char *text)
{
    char  *out;

    out = malloc(mesh_b64_encoded_bytes(strlen(text)));
    mesh_b64_encode(out, text, strlen(text));

    return out;
}


/* a certificate and its key, the kubeconfig's place */

static int
prepare(void)
{
    X509              *x;
    EVP_PKEY          *pkey;
    STACK_OF(X509)    *chain;
    mesh_x509_want_t   want;

    if (cert) {
        return 1;
    }

    if (mkdtemp(dir) == NULL) {
        return 0;
    }

    memset(&want, 0, sizeof(want));
    want.name = "somebody";
    want.not_before = time(NULL) - 60;
    want.not_after = time(NULL) + 3600;
    want.ca = 1;
    want.pathlen = -1;

    pkey = mesh_x509_key_new(NULL);
    x = mesh_x509_sign(pkey, &want, NULL, pkey, NULL);
    chain = sk_X509_new_null();
    sk_X509_push(chain, x);

    cert = mesh_x509_chain_pem_new(chain, NULL);
    key = mesh_x509_key_pem_new(pkey, NULL);
    cert64 = encoded(cert);
    key64 = encoded(key);

    mesh_x509_chain_free(chain);
    EVP_PKEY_free(pkey);

    return cert && key;
}


/* %C %K: data of certificate and key */

static char *
expand(const char *text)
{
    char        *out;
    size_t       n;
    const char  *part;

    out = malloc(strlen(text) + 4 * (strlen(cert64) + strlen(key64)));

    for (n = 0; *text; text++) {
        part = (text[0] == '%' && text[1] == 'C') ? cert64
               : (text[0] == '%' && text[1] == 'K') ? key64 : NULL;

        if (part) {
            memcpy(out + n, part, strlen(part));
            n += strlen(part);
            text++;
            continue;
        }

        out[n++] = *text;
    }

    out[n] = '\0';

    return out;
}


static int
read_text(mesh_kube_conf_t *conf, const char *text, const char *context,
    mesh_err_t *err)
{
    char  *whole;

    whole = expand(text);
    put("config", whole);
    free(whole);

    err->text[0] = '\0';

    return mesh_kube_conf_read(conf, path("config"), context, err);
}


static const char  kubectls[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "clusters:\n"
    "- name: other\n"
    "  cluster: {server: 'http://127.0.0.1:8001/'}\n"
    "- name: c\n"
    "  cluster:\n"
    "    certificate-authority-data: %C\n"
    "    server: https://10.0.0.1:6443\n"
    "    tls-server-name: kube\n"
    "    proxy-url: http://proxy:3128\n"
    "contexts:\n"
    "- {name: there, context: {cluster: c, user: u, namespace: mesh}}\n"
    "- {name: proxied, context: {cluster: other, user: ''}}\n"
    "- {name: token, context: {cluster: other, user: t}}\n"
    "current-context: there\n"
    "users:\n"
    "- name: t\n"
    "  user: {token: 'abc', tokenFile: ''}\n"
    "- name: u\n"
    "  user:\n"
    "    client-certificate-data: %C\n"
    "    client-certificate: /none/such\n"
    "    client-key-data: %K\n";


static void
reads_what_kubectl_writes(void)
{
    mesh_err_t        err;
    mesh_kube_conf_t  conf;

    UNIT_NEED(prepare());

    if (!UNIT_EQ(read_text(&conf, kubectls, NULL, &err), MESH_OK)) {
        printf("# %s\n", err.text);
        return;
    }

    UNIT_STR(conf.context, "there");
    UNIT_STR(conf.server, "https://10.0.0.1:6443");
    UNIT_STR(conf.server_name, "kube");
    UNIT_STR(conf.proxy, "http://proxy:3128");
    UNIT_STR(conf.namespace_, "mesh");
    UNIT_STR(conf.ca.text, cert);
    UNIT_STR(conf.cert.text, cert);
    UNIT_STR(conf.key.text, key);
    UNIT_OK(conf.token.text == NULL);
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_DECLINED);
    mesh_kube_conf_done(&conf);

    UNIT_EQ(read_text(&conf, kubectls, "proxied", &err), MESH_OK);
    UNIT_STR(conf.server, "http://127.0.0.1:8001");
    UNIT_STR(conf.namespace_, "default");
    UNIT_OK(conf.ca.text == NULL && conf.token.text == NULL);
    mesh_kube_conf_done(&conf);

    UNIT_EQ(read_text(&conf, kubectls, "token", &err), MESH_OK);
    UNIT_STR(conf.token.text, "abc");
    mesh_kube_conf_done(&conf);
}


static void
files_are_read_beside_it_and_followed(void)
{
    mesh_err_t        err;
    mesh_kube_conf_t  conf;

    static const char  text[] =
        "clusters: [{name: c, cluster: {server: 'https://a', "
        "certificate-authority: ca.pem}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {tokenFile: sub/token, token: old}}]\n"
        "current-context: x\n";

    UNIT_NEED(prepare());

    put("ca.pem", cert);
    UNIT_EQ(mesh_file_mkdir(path("sub"), 0700, &err), MESH_OK);
    put("sub/token", "first\n");

    if (!UNIT_EQ(read_text(&conf, text, NULL, &err), MESH_OK)) {
        printf("# %s\n", err.text);
        return;
    }

    UNIT_STR(conf.token.text, "first");
    UNIT_STR(conf.ca.text, cert);

    put("sub/token", "second \r\n");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_OK);
    UNIT_STR(conf.token.text, "second");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_DECLINED);

    /* one that is no token, or away: the last good one stays */

    put("sub/token", "");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_ERROR);
    UNIT_HAS(err.text, "sub/token\": no token: it is empty");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_DECLINED);
    UNIT_STR(conf.token.text, "second");
    unlink(path("sub/token"));
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_DECLINED);
    UNIT_STR(conf.token.text, "second");

    put("ca.pem", "-----BEGIN CERTIFICATE-----\nxx\n");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_ERROR);
    UNIT_HAS(err.text, "ca.pem\"");
    UNIT_STR(conf.ca.text, cert);

    /* the kubeconfig itself */

    put("sub/token", "third");
    put("ca.pem", cert);
    put("config", "clusters: [\n");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_ERROR);
    UNIT_HAS(err.text, "config\":");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_OK);
    UNIT_STR(conf.token.text, "third");
    put("config",
        "clusters: [{name: c, cluster: {server: 'https://b/prefix//'}}]\n"
        "contexts: [{name: x, context: {cluster: c}}]\n"
        "current-context: x\n");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_OK);
    UNIT_STR(conf.server, "https://b/prefix");
    UNIT_OK(conf.token.text == NULL);

    unlink(path("config"));
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_DECLINED);

    mesh_kube_conf_done(&conf);
}


typedef struct {
    const char  *text;
    const char  *why;
} wrong_t;


static void
says_what_is_wrong_and_where(void)
{
    size_t            i;
    mesh_err_t        err;
    mesh_kube_conf_t  conf;

#define BEGIN  "contexts: [{name: x, context: {cluster: c, user: u}}]\n"      \
               "current-context: x\n"
#define CLUSTER  "clusters: [{name: c, cluster: {server: 'https://a'}}]\n"

    static const wrong_t  wrong[] = {
        { "", "0 documents" },
        { "--- {}\n--- {}\n", "2 documents" },
        { "clusters: [\n", "config\":" },
        { "[]", "an array, expected an object" },
        { "{}", "current-context is missing" },
        { "current-context: x\n", "contexts is missing" },
        { "current-context: x\ncontexts: []\n",
          "contexts has none with the name \"x\"" },
        { "current-context: x\ncontexts: [{name: x}]\n",
          "contexts[0].context is missing" },
        { "current-context: x\ncontexts: [{context: {}}]\n",
          "contexts[0].name is missing" },
        { "current-context: x\ncontexts: [{name: x, context: {}}]\n",
          "contexts[0].context.cluster is missing" },
        { BEGIN "clusters: [{name: d, cluster: {}}]\n",
          "clusters has none with the name \"c\"" },
        { BEGIN "clusters: [{name: c, cluster: {}}]\n",
          "clusters[0].cluster.server is missing" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'ftp://a'}}]\n",
          "\"ftp://a\", expected https://HOST:PORT" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://u:p@a'}}]\n",
          "expected https://HOST:PORT" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://:1'}}]\n",
          "expected https://HOST:PORT" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https:// a'}}]\n",
          "expected https://HOST:PORT" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://a', "
          "certificate-authority-data: '?'}}]\n",
          "clusters[0].cluster.certificate-authority-data: no base64" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://a', "
          "certificate-authority-data: eHh4}}]\n",
          "clusters[0].cluster.certificate-authority-data: " },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://a', "
          "certificate-authority: none.pem}}]\n",
          "clusters[0].cluster.certificate-authority: cannot look at" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://a', "
          "insecure-skip-tls-verify: 1}}]\n", "insecure-skip-tls-verify is" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'https://a', "
          "insecure-skip-tls-verify: true, certificate-authority-data: %C}}]"
          "\nusers: [{name: u, user: {}}]\n", "expected one of them" },
        { BEGIN CLUSTER, "users is missing" },
        { BEGIN CLUSTER "users: [{name: v, user: {}}]\n",
          "users has none with the name \"u\"" },
        { BEGIN CLUSTER "users: [{name: u, user: {exec: {command: x}}}]\n",
          "users[0].user.exec is not supported, expected a token" },
        { BEGIN CLUSTER "users: [{name: u, user: {username: x}}]\n",
          "users[0].user.username is not supported" },
        { BEGIN CLUSTER "users: [{name: u, user: {token: 5}}]\n",
          "users[0].user.token is" },
        { BEGIN CLUSTER "users: [{name: u, user: {token: \"a\\nb\"}}]\n",
          "users[0].user.token: no token: it is not of visible ASCII" },
        { BEGIN CLUSTER "users: [{name: u, user: {tokenFile: none}}]\n",
          "users[0].user.tokenFile: cannot look at" },
        { BEGIN CLUSTER "users: [{name: u, user: {"
          "client-certificate-data: %C}}]\n", "given together" },
        { BEGIN CLUSTER "users: [{name: u, user: {client-key-data: %C}}]\n",
          "users[0].user.client-key-data: no private key in PEM" },
        { BEGIN "clusters: [{name: c, cluster: {server: 'http://a'}}]\n"
          "users: [{name: u, user: {token: t}}]\n", "without TLS" },
        { BEGIN "clusters: [{name: c, cluster: {server: "
          "'http://127.0.0.1.example.org'}}]\n"
          "users: [{name: u, user: {token: t}}]\n", "without TLS" }
    };

    UNIT_NEED(prepare());

    for (i = 0; i < mesh_nelts(wrong); i++) {
        if (!UNIT_EQ(read_text(&conf, wrong[i].text, NULL, &err), MESH_ERROR))
        {
            printf("# %s\n", wrong[i].text);
            mesh_kube_conf_done(&conf);
            continue;
        }

        UNIT_HAS(err.text, wrong[i].why);
        UNIT_HAS(err.text, "config\"");
    }

    UNIT_EQ(read_text(&conf, kubectls, "nowhere", &err), MESH_ERROR);
    UNIT_HAS(err.text, "contexts has none with the name \"nowhere\"");

    UNIT_EQ(mesh_kube_conf_read(&conf, path("none"), NULL, &err), MESH_ERROR);
    UNIT_HAS(err.text, "none\" (2: No such file or directory)");
}


static void
a_pod_has_it_in_a_directory(void)
{
    mesh_err_t        err;
    mesh_kube_conf_t  conf;

    UNIT_NEED(prepare());
    UNIT_EQ(mesh_file_mkdir(path("pod"), 0700, &err), MESH_OK);

    UNIT_EQ(mesh_kube_conf_in_cluster(&conf, path("pod"), NULL, "443", &err),
            MESH_ERROR);
    UNIT_HAS(err.text, "KUBERNETES_SERVICE_HOST");
    UNIT_EQ(mesh_kube_conf_in_cluster(&conf, path("pod"), "10.96.0.1", "443",
                                      &err), MESH_ERROR);
    UNIT_HAS(err.text, "pod/ca.crt\"");

    put("pod/ca.crt", cert);
    UNIT_EQ(mesh_kube_conf_in_cluster(&conf, path("pod"), "10.96.0.1", "443",
                                      &err), MESH_ERROR);
    UNIT_HAS(err.text, "pod/token\"");

    put("pod/token", "one");
    put("pod/namespace", "ngx-mesh");
    UNIT_NEED(mesh_kube_conf_in_cluster(&conf, path("pod"), "10.96.0.1",
                                        "443", &err) == MESH_OK);
    UNIT_STR(conf.server, "https://10.96.0.1:443");
    UNIT_STR(conf.namespace_, "ngx-mesh");
    UNIT_STR(conf.token.text, "one");

    put("pod/token", "two");
    UNIT_EQ(mesh_kube_conf_refresh(&conf, &err), MESH_OK);
    UNIT_STR(conf.token.text, "two");
    mesh_kube_conf_done(&conf);

    unlink(path("pod/namespace"));
    UNIT_NEED(mesh_kube_conf_in_cluster(&conf, path("pod"), "fd00::1", "6443",
                                        &err) == MESH_OK);
    UNIT_STR(conf.server, "https://[fd00::1]:6443");
    UNIT_STR(conf.namespace_, "default");
    mesh_kube_conf_done(&conf);
}


static void
nothing_is_left(void)
{
    size_t  i;

    static const char *const  names[] = {
        "config", "ca.pem", "sub/token", "sub", "pod/ca.crt", "pod/token",
        "pod/namespace", "pod", "."
    };

    for (i = 0; i < mesh_nelts(names); i++) {
        (void) remove(path(names[i]));
    }

    (void) rmdir(dir);

    mesh_x509_pem_free(key);
    free(cert);
    free(cert64);
    free(key64);

    UNIT_OK(access(dir, F_OK) == -1);
}


UNIT_TESTS = {
    UNIT(reads_what_kubectl_writes),
    UNIT(files_are_read_beside_it_and_followed),
    UNIT(says_what_is_wrong_and_where),
    UNIT(a_pod_has_it_in_a_directory),
    UNIT(nothing_is_left),
    UNIT_END
};
