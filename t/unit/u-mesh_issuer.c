
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/identity/mesh_issuer.c controller/identity/mesh_issuer_dir.c
         controller/base/; -lcrypto */

/* Signing, and what is taken of new files, at times that are passed in. */

#include <mesh_file.h>
#include <mesh_issuer.h>
#include <mesh_issuer_dir.h>

#include "unit.h"


#define NOW     1800000000
#define ID      "spiffe://cluster.local/ns/shop/sa/web"
#define SERVER  "spiffe://cluster.local/ns/ngx-mesh/sa/mesh-identity"


static char              dir[] = "/tmp/u-mesh_issuer.XXXXXX";
static char              dirs[3][512];    /* what is served, two others */
static mesh_err_t        err;
static mesh_issuer_t    *issuer;
static EVP_PKEY         *key;
static mesh_issued_t     issued;
static int               changed;


static mesh_issuer_t *
open_issuer(const char *ca, int64_t ttl, time_t now)
{
    mesh_issuer_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.ca_dir = ca;
    conf.trust_domain = "cluster.local";
    conf.server_id = SERVER;
    conf.leaf_ttl = ttl;

    return mesh_issuer_new(&conf, now, &err);
}


/* name of the served directory := the files of others, one after another */

static void
install(const char *name, const char *one, const char *two)
{
    char    to[600], from[600], *a, *b, *both;
    size_t  len;

    (void) snprintf(to, sizeof(to), "%s/%s", dirs[0], name);
    (void) snprintf(from, sizeof(from), "%s/%s", one, name);
    UNIT_EQ(mesh_file_read(from, 65536, &a, NULL, &err), MESH_OK);

    b = NULL;

    if (two != NULL) {
        (void) snprintf(from, sizeof(from), "%s/%s", two, name);
        UNIT_EQ(mesh_file_read(from, 65536, &b, NULL, &err), MESH_OK);
    }

    len = asprintf(&both, "%s%s", a, b ? b : "");
    UNIT_EQ(mesh_file_write(to, both, len, 0600, &err), MESH_OK);
    free(a);
    free(b);
    free(both);
}


static void
install_pair(const char *one)
{
    install(MESH_ISSUER_CERT, one, NULL);
    install(MESH_ISSUER_KEY, one, NULL);
}


/* MESH_OK: what is issued at now can be verified with the bundle at now */

static int
issue_and_verify(time_t now)
{
    int              rc;
    size_t           len;
    const char      *trust;
    STACK_OF(X509)  *chain, *bundle;

    memset(&issued, 0, sizeof(issued));

    if (mesh_issuer_sign(issuer, key, ID, "u-1", now, &issued, &err)
        != MESH_OK)
    {
        return MESH_DECLINED;
    }

    trust = mesh_issuer_trust(issuer, &len);
    chain = mesh_x509_chain_parse(issued.chain, strlen(issued.chain), 8,
                                  &err);
    bundle = mesh_x509_chain_parse(trust, len, 8, &err);
    rc = mesh_x509_verify(chain, bundle, now, MESH_X509_SERVER, &err);
    mesh_x509_chain_free(chain);
    mesh_x509_chain_free(bundle);
    free(issued.chain);

    return rc;
}


static void
leafs_are_signed(void)
{
    int             i;
    char            id[MESH_X509_ID_MAX + 1], text[256];
    X509           *leaf;
    time_t          from, to;
    STACK_OF(X509)  *chain;

    UNIT_NEED(mkdtemp(dir) != NULL);
    key = mesh_x509_key_new(&err);

    for (i = 0; i < 3; i++) {
        (void) snprintf(dirs[i], sizeof(dirs[i]), "%s/%d", dir, i);
        UNIT_EQ(mesh_issuer_dir_make(dirs[i], "cluster.local", NOW, &err),
                MESH_OK);
    }

    issuer = open_issuer(dirs[0], 86400, NOW);
    UNIT_NEED(issuer != NULL);

    UNIT_EQ(mesh_issuer_sign(issuer, key, ID, "u-1", NOW, &issued, &err),
            MESH_OK);
    UNIT_EQ(issued.not_after, NOW + 86400);

    chain = mesh_x509_chain_parse(issued.chain, strlen(issued.chain), 2,
                                  &err);
    UNIT_NEED(chain != NULL);
    UNIT_EQ(sk_X509_num(chain), 2);
    leaf = sk_X509_value(chain, 0);
    UNIT_EQ(mesh_x509_id(leaf, id, &err), MESH_OK);
    UNIT_STR(id, ID);
    UNIT_EQ(mesh_x509_times(leaf, &from, &to), MESH_OK);
    UNIT_EQ(from, NOW - MESH_ISSUER_SKEW);
    UNIT_OK(X509_NAME_get_text_by_NID(X509_get_subject_name(leaf),
                                      NID_serialNumber, text, sizeof(text))
            == 3 && strcmp(text, "u-1") == 0);
    mesh_x509_chain_free(chain);
    free(issued.chain);

    UNIT_EQ(issue_and_verify(NOW), MESH_OK);

    mesh_issuer_describe(issuer, text, sizeof(text));
    UNIT_HAS(text, "issuer \"ngx-mesh issuer cluster.local\" serial ");
    UNIT_HAS(text, " until 2028-01-15T08:00:00Z, 1 root");
}


static void
leafs_end_with_the_issuer(void)
{
    time_t  end;

    end = NOW + MESH_ISSUER_TTL;

    UNIT_EQ(issue_and_verify(end - 1000), MESH_OK);
    UNIT_EQ(issued.not_after, end);
    UNIT_EQ(issue_and_verify(end), MESH_DECLINED);
    UNIT_HAS(err.text, "expired");
    UNIT_EQ(mesh_issuer_ready(issuer, end - 1, &err), MESH_OK);
    UNIT_EQ(mesh_issuer_ready(issuer, NOW - 7200, &err), MESH_ERROR);
}


static void
an_expired_issuer_does_not_start(void)
{
    UNIT_OK(open_issuer(dirs[1], 100, NOW + MESH_ISSUER_TTL + 1) == NULL);
    UNIT_HAS(err.text, "does not chain to");
    UNIT_HAS(err.text, "expired");
}


static void
the_root_is_rotated(void)
{
    size_t  len;

    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_OK);
    UNIT_EQ(changed, 0);

    /* a new issuer without its root: refused */

    install_pair(dirs[1]);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_ERROR);
    UNIT_EQ(changed, 0);
    UNIT_HAS(err.text, "does not chain to");
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);

    /* the bundle of both: now it is good */

    install(MESH_ISSUER_TRUST, dirs[1], dirs[2]);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_OK);
    UNIT_EQ(changed, MESH_ISSUER_NEW_PAIR | MESH_ISSUER_NEW_TRUST);
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);

    install_pair(dirs[2]);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_OK);
    UNIT_EQ(changed, MESH_ISSUER_NEW_PAIR);
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);

    install(MESH_ISSUER_TRUST, dirs[2], NULL);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_OK);
    UNIT_EQ(changed, MESH_ISSUER_NEW_TRUST);
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);

    /* the bundle may be taken although the issuer beside it is not */

    install_pair(dirs[1]);
    install(MESH_ISSUER_TRUST, dirs[2], dirs[2]);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_ERROR);
    UNIT_EQ(changed, MESH_ISSUER_NEW_TRUST);
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);
    (void) mesh_issuer_trust(issuer, &len);
    UNIT_OK(len > 1000);

    install_pair(dirs[2]);
    install(MESH_ISSUER_TRUST, dirs[1], NULL);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_ERROR);
    UNIT_EQ(changed, 0);
    UNIT_EQ(issue_and_verify(NOW), MESH_OK);
}


static void
broken_files_change_nothing(void)
{
    char    path[600];
    size_t  i;

    static const struct {
        const char  *name;
        const char  *text;
        const char  *wrong;
    } rows[] = {
        { MESH_ISSUER_CERT, "x", "no certificate in PEM" },
        { MESH_ISSUER_KEY, "x", "cannot read key" },
        { MESH_ISSUER_TRUST, "", "no certificate in PEM" },
        { MESH_ISSUER_CERT, NULL, "No such file" },
        { MESH_ISSUER_KEY, NULL, "No such file" },
        { MESH_ISSUER_TRUST, NULL, "No such file" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        install_pair(dirs[2]);
        install(MESH_ISSUER_TRUST, dirs[2], dirs[2]);
        UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_OK);

        (void) snprintf(path, sizeof(path), "%s/%s", dirs[0], rows[i].name);
        (void) unlink(path);

        if (rows[i].text != NULL) {
            (void) mesh_file_write(path, rows[i].text, strlen(rows[i].text),
                                   0600, &err);
        }

        UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_ERROR);
        UNIT_EQ(changed, 0);
        UNIT_HAS(err.text, rows[i].wrong);
        UNIT_EQ(issue_and_verify(NOW), MESH_OK);
    }

    install(MESH_ISSUER_TRUST, dirs[2], NULL);
    install_pair(dirs[2]);
    install(MESH_ISSUER_KEY, dirs[1], NULL);
    UNIT_EQ(mesh_issuer_reload(issuer, NOW, &changed, &err), MESH_ERROR);
    UNIT_HAS(err.text, "is not the one of");
}


static void
issuers_of_a_directory_renew_themselves(void)
{
    time_t  later;

    mesh_issuer_free(issuer);
    issuer = open_issuer(dirs[1], 86400, NOW);
    UNIT_NEED(issuer != NULL);

    UNIT_EQ(mesh_issuer_renew(issuer, NOW, &err), MESH_DECLINED);

    later = NOW + MESH_ISSUER_TTL * 8 / 10;
    UNIT_EQ(mesh_issuer_renew(issuer, later, &err), MESH_OK);
    UNIT_EQ(mesh_issuer_reload(issuer, later, &changed, &err), MESH_OK);
    UNIT_EQ(changed, MESH_ISSUER_NEW_PAIR);
    UNIT_EQ(mesh_issuer_renew(issuer, later, &err), MESH_DECLINED);
    UNIT_EQ(issue_and_verify(NOW + MESH_ISSUER_TTL + 86400), MESH_OK);
}


static void
everything_is_freed(void)
{
    int     i, k;
    char    path[600];

    static const char  *names[] = {
        MESH_ISSUER_ROOT_KEY, MESH_ISSUER_ROOT_CERT, MESH_ISSUER_KEY,
        MESH_ISSUER_CERT, MESH_ISSUER_TRUST
    };

    mesh_issuer_free(issuer);
    mesh_issuer_free(NULL);
    EVP_PKEY_free(key);

    for (i = 0; i < 3; i++) {
        for (k = 0; k < (int) mesh_nelts(names); k++) {
            (void) snprintf(path, sizeof(path), "%s/%s", dirs[i], names[k]);
            (void) unlink(path);
        }

        UNIT_OK(rmdir(dirs[i]) == 0);
    }

    UNIT_OK(rmdir(dir) == 0);
}


UNIT_TESTS = {
    UNIT(leafs_are_signed),
    UNIT(leafs_end_with_the_issuer),
    UNIT(an_expired_issuer_does_not_start),
    UNIT(the_root_is_rotated),
    UNIT(broken_files_change_nothing),
    UNIT(issuers_of_a_directory_renew_themselves),
    UNIT(everything_is_freed),
    UNIT_END
};
