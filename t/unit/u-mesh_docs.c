
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/render/mesh_docs.c controller/model/ controller/base/
        ngx_mesh_module/shared/; -ljansson -lcrypto */

/* Documents in memory and on disk, where a restart finds them. */

#include <mesh_core.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <mesh_docs.h>
#include <mesh_mem.h>
#include "unit.h"


static mesh_err_t    err;
static mesh_sign_t  *sign;


/* a directory that does not exist yet, in one that is new */

static char *
directory(void)
{
    char  top[] = "/tmp/u-mesh_docs-XXXXXX";

    UNIT_OK(mkdtemp(top) != NULL);

    return mesh_mem_printf("%s/documents", top);
}


static void
removed(char *dir)
{
    DIR            *d;
    char           *slash, path[PATH_MAX];
    struct dirent  *entry;

    d = opendir(dir);

    while (d && (entry = readdir(d)) != NULL) {
        (void) snprintf(path, sizeof(path), "%.3000s/%s", dir, entry->d_name);
        (void) unlink(path);
    }

    if (d) {
        (void) closedir(d);
    }

    (void) rmdir(dir);
    slash = strrchr(dir, '/');
    *slash = '\0';
    UNIT_EQ(rmdir(dir), 0);
    free(dir);
}


static int
put(mesh_docs_t *docs, const char *key, unsigned generation, const char *body)
{
    int      rc;
    char    *value;
    size_t   len;

    if (sign == NULL) {
        sign = mesh_sign_new(1, &err);
    }

    value = mesh_doc_seal(sign, key, mesh_doc_generation(1, generation), body,
                          &len);

    rc = value ? mesh_docs_put(docs, key, value, len, &err) : MESH_ERROR;
    free(value);

    return rc;
}


static void
names_come_back(void)
{
    int     n;
    char    name[256], key[256];
    size_t  i;

    static const char  *keys[] = {
        "mesh:svc:shop/cart", "mesh:vip:10.96.0.1:80", "mesh:ip:fd00::1", "%",
        "a b", "..", "\xff"
    };

    static const char  *bad[] = {
        "%", "%4", "%zz", "%3a", "a:b", "a/b", "%00", "\xff"
    };

    for (i = 0; i < mesh_nelts(keys); i++) {
        n = mesh_docs_encode(keys[i], name, sizeof(name));
        UNIT_EQ(n, strlen(name));
        UNIT_OK(strchr(name, '/') == NULL);
        UNIT_EQ(mesh_docs_decode(name, key, sizeof(key)), MESH_OK);
        UNIT_STR(key, keys[i]);
    }

    UNIT_EQ(mesh_docs_encode("mesh:svc:a/b", name, sizeof(name)), 18);
    UNIT_STR(name, "mesh%3Asvc%3Aa%2Fb");
    UNIT_EQ(mesh_docs_encode("abcdefgh", name, 8), MESH_ERROR);

    for (i = 0; i < mesh_nelts(bad); i++) {
        UNIT_EQ(mesh_docs_decode(bad[i], key, sizeof(key)), MESH_ERROR);
    }

    UNIT_EQ(mesh_docs_decode("abcd", key, 4), MESH_ERROR);
}


static void
documents_survive(void)
{
    char               *dir;
    mesh_doc_t          doc;
    mesh_docs_t         docs;
    const mesh_held_t  *held;

    dir = directory();

    mesh_docs_init(&docs, dir);
    UNIT_EQ(mesh_docs_load(&docs, &err), MESH_DECLINED);

    UNIT_EQ(put(&docs, "mesh:ip:10.0.0.1", 1, "{\"workload\":\"a/b\"}"),
            MESH_OK);
    UNIT_EQ(put(&docs, "mesh:ip:10.0.0.1", 2, "{\"workload\":\"a/c\"}"),
            MESH_OK);
    UNIT_EQ(put(&docs, "mesh:ip:10.0.0.2", 3, "null"), MESH_OK);
    UNIT_EQ(put(&docs, "mesh:ip:10.0.0.3", 4, "null"), MESH_OK);
    mesh_docs_drop(&docs, "mesh:ip:10.0.0.3");
    mesh_docs_drop(&docs, "mesh:ip:10.0.0.4");
    mesh_docs_done(&docs);

    mesh_docs_init(&docs, dir);
    UNIT_EQ(mesh_docs_load(&docs, &err), MESH_OK);
    UNIT_EQ(docs.map.n, 2);

    held = mesh_docs_get(&docs, "mesh:ip:10.0.0.1");
    UNIT_NEED(held != NULL);
    UNIT_EQ(held->envelope.generation, mesh_doc_generation(1, 2));
    UNIT_EQ(mesh_docs_parse(&docs, "mesh:ip:10.0.0.1", &doc, &err), MESH_OK);
    UNIT_STR(doc.u.ip.workload, "a/c");
    mesh_doc_free(&doc);

    UNIT_EQ(mesh_docs_parse(&docs, "mesh:ip:10.0.0.2", &doc, &err),
            MESH_DECLINED);
    UNIT_EQ(mesh_docs_parse(&docs, "mesh:ip:10.0.0.9", &doc, &err),
            MESH_DECLINED);

    mesh_docs_done(&docs);
    removed(dir);
}


/* what a crash or somebody else left does not stop a start */

static void
garbage_is_left_alone(void)
{
    int           fd;
    char         *dir, path[PATH_MAX];
    size_t        i;
    mesh_docs_t   docs;

    static const char  *names[] = {
        "mesh%3Aip%3A10.0.0.1",            /* a key, but not a document */
        "mesh%3Aip%3A10.0.0.2.77.tmp", "mesh%3Asigner", "x", ".hidden", "%zz"
    };

    dir = directory();
    UNIT_EQ(mkdir(dir, 0700), 0);

    for (i = 0; i < mesh_nelts(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        fd = open(path, O_WRONLY|O_CREAT, 0600);
        UNIT_EQ(write(fd, "garbage", 7), 7);
        (void) close(fd);
    }

    mesh_docs_init(&docs, dir);
    UNIT_EQ(mesh_docs_load(&docs, &err), MESH_OK);
    UNIT_EQ(docs.map.n, 0);

    UNIT_EQ(put(&docs, "mesh:ip:10.0.0.1", 1, "null"), MESH_OK);
    mesh_docs_done(&docs);

    mesh_docs_init(&docs, dir);
    UNIT_EQ(mesh_docs_load(&docs, &err), MESH_OK);
    UNIT_EQ(docs.map.n, 1);
    mesh_docs_done(&docs);
    removed(dir);
}


static void
long_keys_are_held_in_memory(void)
{
    char          *dir, key[400];
    mesh_docs_t    docs;

    (void) snprintf(key, sizeof(key), "mesh:wl:a/%0250d", 1);

    dir = directory();
    mesh_docs_init(&docs, dir);
    UNIT_EQ(put(&docs, key, 1, "null"), MESH_OK);
    UNIT_OK(mesh_docs_get(&docs, key) != NULL);
    UNIT_EQ(access(dir, F_OK), -1);
    mesh_docs_drop(&docs, key);
    mesh_docs_done(&docs);
    removed(dir);

    mesh_sign_free(sign);
    sign = NULL;
}


UNIT_TESTS = {
    UNIT(names_come_back),
    UNIT(documents_survive),
    UNIT(garbage_is_left_alone),
    UNIT(long_keys_are_held_in_memory),
    UNIT_END
};
