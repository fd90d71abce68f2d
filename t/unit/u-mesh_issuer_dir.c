
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/identity/mesh_issuer_dir.c controller/base/; -lcrypto */

/* The first run, interrupted at every file, and files that were lost. */

#include <mesh_file.h>
#include <mesh_issuer.h>
#include <mesh_issuer_dir.h>

#include <sys/stat.h>

#include "unit.h"


#define NOW  1800000000


static const char  *names[] = {
    MESH_ISSUER_ROOT_KEY, MESH_ISSUER_ROOT_CERT, MESH_ISSUER_KEY,
    MESH_ISSUER_CERT, MESH_ISSUER_TRUST
};

static char        dir[] = "/tmp/u-mesh_issuer_dir.XXXXXX";
static mesh_err_t  err;


static const char *
path(const char *name)
{
    static char  buf[512];

    (void) snprintf(buf, sizeof(buf), "%s/ca/%s", dir, name);

    return buf;
}


static char *
content(const char *name)
{
    char  *text;

    return mesh_file_read(path(name), 65536, &text, NULL, &err) == MESH_OK
           ? text : NULL;
}


static int
make(void)
{
    char  ca[512];

    (void) snprintf(ca, sizeof(ca), "%s/ca", dir);

    return mesh_issuer_dir_make(ca, "cluster.local", NOW, &err);
}


static void
empty(void)
{
    size_t  i;

    for (i = 0; i < mesh_nelts(names); i++) {
        (void) unlink(path(names[i]));
    }
}


static X509 *
cert(const char *name)
{
    char            *text;
    X509            *one;
    STACK_OF(X509)  *certs;

    text = content(name);
    certs = text ? mesh_x509_chain_parse(text, strlen(text), 1, &err) : NULL;
    free(text);

    one = certs ? sk_X509_shift(certs) : NULL;
    mesh_x509_chain_free(certs);

    return one;
}


static void
first_run_makes_five_files(void)
{
    X509         *root, *issuer;
    size_t        i;
    time_t        from, to;
    struct stat   st;
    char         *one, *two;

    UNIT_NEED(mkdtemp(dir) != NULL);
    UNIT_EQ(make(), MESH_OK);

    for (i = 0; i < mesh_nelts(names); i++) {
        UNIT_NEED(stat(path(names[i]), &st) == 0);
        UNIT_EQ(st.st_mode & 0777, strstr(names[i], ".key") ? 0600 : 0644);
    }

    UNIT_OK(stat(path(""), &st) == 0 && (st.st_mode & 0777) == 0700);

    root = cert(MESH_ISSUER_ROOT_CERT);
    issuer = cert(MESH_ISSUER_CERT);
    UNIT_NEED(root != NULL && issuer != NULL);

    UNIT_EQ(mesh_x509_times(root, &from, &to), MESH_OK);
    UNIT_OK(from < NOW && to == NOW + MESH_ISSUER_ROOT_TTL);
    UNIT_EQ(mesh_x509_times(issuer, &from, &to), MESH_OK);
    UNIT_OK(from < NOW && to == NOW + MESH_ISSUER_TTL);
    UNIT_EQ(X509_verify(issuer, X509_get0_pubkey(root)), 1);
    X509_free(root);
    X509_free(issuer);

    one = content(MESH_ISSUER_ROOT_CERT);
    two = content(MESH_ISSUER_TRUST);
    UNIT_STR(one, two);
    free(two);

    UNIT_EQ(make(), MESH_OK);             /* a second run changes nothing */
    two = content(MESH_ISSUER_ROOT_CERT);
    UNIT_STR(one, two);
    free(one);
    free(two);
}


/* the files appear in the order of names: a crash leaves the first n */

static void
interrupted_runs_go_on(void)
{
    char    *before[5], *after;
    size_t   i, n;

    for (n = 0; n < mesh_nelts(names); n++) {
        empty();
        UNIT_EQ(make(), MESH_OK);

        for (i = 0; i < mesh_nelts(names); i++) {
            before[i] = content(names[i]);
        }

        for (i = n; i < mesh_nelts(names); i++) {
            (void) unlink(path(names[i]));
        }

        UNIT_EQ(make(), MESH_OK);

        for (i = 0; i < mesh_nelts(names); i++) {
            after = content(names[i]);
            UNIT_OK(after != NULL);

            if (i < n) {
                UNIT_STR(after, before[i]);
            }

            free(after);
            free(before[i]);
        }
    }
}


static void
lost_files_are_named(void)
{
    size_t  i;

    static const struct {
        const char  *lost[4];
        int          rc;
        const char  *wrong;
    } rows[] = {
        { { "root.key" }, MESH_OK, "" },
        { { "root.key", "root.crt" }, MESH_OK, "" },
        { { "issuer.key" }, MESH_ERROR, "issuer.crt but no issuer.key" },
        { { "root.key", "issuer.crt" }, MESH_ERROR, "no root.key to make" },
        { { "root.key", "issuer.key", "issuer.crt" }, MESH_ERROR,
          "no root.key to make" },
        { { "root.key", "root.crt", "trust.crt" }, MESH_ERROR,
          "no root.crt, and trust.crt is missing" },
        { { "root.key", "root.crt", "issuer.key", "issuer.crt" }, MESH_ERROR,
          "no root.crt, and issuer.crt is missing" },
        { { "root.key", "root.crt", "issuer.key", "trust.crt" }, MESH_ERROR,
          "issuer.crt but no issuer.key" },
    };

    size_t  k;

    for (i = 0; i < mesh_nelts(rows); i++) {
        empty();
        UNIT_EQ(make(), MESH_OK);

        for (k = 0; k < 4 && rows[i].lost[k] != NULL; k++) {
            (void) unlink(path(rows[i].lost[k]));
        }

        err.text[0] = '\0';
        UNIT_EQ(make(), rows[i].rc);
        UNIT_HAS(err.text, rows[i].wrong);

        for (k = 0; rows[i].rc == MESH_ERROR && k < 4
                    && rows[i].lost[k] != NULL; k++)
        {
            UNIT_OK(access(path(rows[i].lost[k]), F_OK) == -1);
        }
    }
}


static void
foreign_files_are_refused(void)
{
    char  *key;

    empty();
    UNIT_EQ(make(), MESH_OK);
    key = content(MESH_ISSUER_KEY);
    UNIT_NEED(key != NULL);
    UNIT_EQ(mesh_file_write(path(MESH_ISSUER_ROOT_KEY), key, strlen(key),
                            0600, &err), MESH_OK);
    free(key);
    (void) unlink(path(MESH_ISSUER_CERT));
    UNIT_EQ(make(), MESH_ERROR);
    UNIT_HAS(err.text, "root.key is not the key of root.crt");

    UNIT_EQ(mesh_file_write(path(MESH_ISSUER_ROOT_KEY), "x", 1, 0600, &err),
            MESH_OK);
    UNIT_EQ(make(), MESH_ERROR);
    UNIT_HAS(err.text, "root.key: cannot read key");
}


static void
issuers_get_a_new_certificate(void)
{
    char        ca[512], *text;
    X509       *old, *new;
    EVP_PKEY   *key;
    time_t      from, to;

    empty();
    UNIT_EQ(make(), MESH_OK);
    (void) snprintf(ca, sizeof(ca), "%s/ca", dir);

    text = content(MESH_ISSUER_KEY);
    key = mesh_x509_key_parse(text, strlen(text), &err);
    free(text);
    old = cert(MESH_ISSUER_CERT);

    UNIT_EQ(mesh_issuer_dir_renew(ca, "cluster.local", key, NOW + 1000, &err),
            MESH_OK);
    new = cert(MESH_ISSUER_CERT);
    UNIT_NEED(old != NULL && new != NULL);
    UNIT_OK(X509_cmp(old, new) != 0 && mesh_x509_fits(new, key));
    UNIT_EQ(mesh_x509_times(new, &from, &to), MESH_OK);
    UNIT_EQ(to, NOW + 1000 + MESH_ISSUER_TTL);
    X509_free(new);

    /* never past the root */

    UNIT_EQ(mesh_issuer_dir_renew(ca, "cluster.local", key,
                                  NOW + MESH_ISSUER_ROOT_TTL - 1000, &err),
            MESH_OK);
    new = cert(MESH_ISSUER_CERT);
    UNIT_EQ(mesh_x509_times(new, &from, &to), MESH_OK);
    UNIT_EQ(to, NOW + MESH_ISSUER_ROOT_TTL);

    (void) unlink(path(MESH_ISSUER_ROOT_KEY));
    UNIT_EQ(mesh_issuer_dir_renew(ca, "cluster.local", key, NOW, &err),
            MESH_DECLINED);

    X509_free(old);
    X509_free(new);
    EVP_PKEY_free(key);

    empty();
    UNIT_OK(rmdir(ca) == 0 && rmdir(dir) == 0);
}


UNIT_TESTS = {
    UNIT(first_run_makes_five_files),
    UNIT(interrupted_runs_go_on),
    UNIT(lost_files_are_named),
    UNIT(foreign_files_are_refused),
    UNIT(issuers_get_a_new_certificate),
    UNIT_END
};
