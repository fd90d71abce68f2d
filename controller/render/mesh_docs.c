
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Documents in memory and on disk.  A value goes to disk before it is held,
 * so what the state was made of is what a restart will find.
 */

#include <mesh_core.h>

#include <dirent.h>

#include <mesh_docs.h>
#include <mesh_file.h>
#include <mesh_log.h>
#include <mesh_mem.h>


#define MESH_DOCS_NAME_MAX  (NAME_MAX - 32)     /* room for ".PID.tmp" */


static int mesh_docs_hold(mesh_docs_t *docs, const char *key,
    const char *value, size_t len, mesh_err_t *err);


void
mesh_docs_init(mesh_docs_t *docs, const char *dir)
{
    memset(docs, 0, sizeof(mesh_docs_t));

    docs->dir = mesh_mem_str(dir);
}


void
mesh_docs_done(mesh_docs_t *docs)
{
    size_t        i;
    mesh_held_t  *held;

    i = 0;

    while ((held = mesh_map_next(&docs->map, &i, NULL)) != NULL) {
        free(held->value);
        free(held);
    }

    mesh_map_free(&docs->map);
    free(docs->dir);
    docs->dir = NULL;
}


static int
mesh_docs_plain(unsigned char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9')
           || ch == '-' || ch == '.' || ch == '_' || ch == '~';
}


int
mesh_docs_encode(const char *key, char *name, size_t size)
{
    size_t  n;

    static const char  hex[] = "0123456789ABCDEF";

    for (n = 0; *key; key++) {

        if (size < 4 || n >= size - 4) {
            return MESH_ERROR;
        }

        if (mesh_docs_plain(*key)) {
            name[n++] = *key;
            continue;
        }

        name[n++] = '%';
        name[n++] = hex[(unsigned char) *key >> 4];
        name[n++] = hex[(unsigned char) *key & 15];
    }

    name[n] = '\0';

    return (int) n;
}


static int
mesh_docs_hex(char ch)
{
    return ch >= '0' && ch <= '9' ? ch - '0'
           : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}


int
mesh_docs_decode(const char *name, char *key, size_t size)
{
    int     high, low;
    size_t  n;

    for (n = 0; *name; name++) {

        if (n + 1 >= size) {
            return MESH_ERROR;
        }

        if (mesh_docs_plain(*name)) {
            key[n++] = *name;
            continue;
        }

        if (*name != '%') {
            return MESH_ERROR;
        }

        high = mesh_docs_hex(name[1]);
        low = high == -1 ? -1 : mesh_docs_hex(name[2]);

        if (low == -1 || (high == 0 && low == 0)) {
            return MESH_ERROR;
        }

        key[n++] = (char) (high * 16 + low);
        name += 2;
    }

    key[n] = '\0';

    return MESH_OK;
}


/* the path of a key's file; MESH_DECLINED: kept in memory alone */

static int
mesh_docs_path(const mesh_docs_t *docs, const char *key, char *path,
    size_t size)
{
    int   n;
    char  name[MESH_DOCS_NAME_MAX];

    if (docs->dir == NULL
        || mesh_docs_encode(key, name, sizeof(name)) == MESH_ERROR)
    {
        return MESH_DECLINED;
    }

    n = snprintf(path, size, "%s/%s", docs->dir, name);

    return n < 0 || (size_t) n >= size ? MESH_DECLINED : MESH_OK;
}


static int
mesh_docs_load_file(mesh_docs_t *docs, const char *name, const char *key,
    mesh_err_t *err)
{
    int     rc;
    char   *value, path[PATH_MAX];
    size_t  len;

    (void) snprintf(path, sizeof(path), "%s/%s", docs->dir, name);

    rc = mesh_file_read(path, MESH_DOC_VALUE_MAX, &value, &len, err);

    if (rc == MESH_OK) {
        rc = mesh_docs_hold(docs, key, value, len, err);
        free(value);
    }

    return rc;
}


int
mesh_docs_load(mesh_docs_t *docs, mesh_err_t *err)
{
    int             rc;
    DIR            *dir;
    char            key[MESH_DOC_KEY_MAX];
    mesh_err_t      e;
    struct dirent  *entry;

    dir = opendir(docs->dir);

    if (dir == NULL) {
        rc = errno == ENOENT ? MESH_DECLINED : MESH_ERROR;
        (void) mesh_err_sys(err, errno, "opendir(\"%s\") failed", docs->dir);
        return rc;
    }

    while ((entry = readdir(dir)) != NULL) {

        /* mesh:signer is no document; what a crash left has no such name */

        if (entry->d_name[0] == '.'
            || mesh_docs_decode(entry->d_name, key, sizeof(key)) != MESH_OK
            || mesh_doc_key_kind(key) == MESH_DOC_NONE)
        {
            continue;
        }

        if (mesh_docs_load_file(docs, entry->d_name, key, &e) != MESH_OK) {
            mesh_log(MESH_LOG_ERROR, 0, "document \"%s\" on disk: %s", key,
                     e.text);
        }
    }

    (void) closedir(dir);

    return MESH_OK;
}


const mesh_held_t *
mesh_docs_get(const mesh_docs_t *docs, const char *key)
{
    return mesh_map_get(&docs->map, key);
}


const mesh_held_t *
mesh_docs_next(const mesh_docs_t *docs, size_t *i, const char **key)
{
    return mesh_map_next(&docs->map, i, key);
}


static int
mesh_docs_hold(mesh_docs_t *docs, const char *key, const char *value,
    size_t len, mesh_err_t *err)
{
    mesh_held_t  *held, *old;

    held = mesh_mem_new(sizeof(mesh_held_t));

    held->value = mesh_mem_new(len + 1);
    held->len = len;
    memcpy(held->value, value, len);

    if (mesh_doc_open(held->value, len, &held->envelope, err) != MESH_OK) {
        free(held->value);
        free(held);
        return MESH_ERROR;
    }

    old = mesh_map_set(&docs->map, key, held);

    if (old) {
        free(old->value);
        free(old);
    }

    return MESH_OK;
}


int
mesh_docs_put(mesh_docs_t *docs, const char *key, const char *value,
    size_t len, mesh_err_t *err)
{
    char  path[PATH_MAX];

    if (mesh_docs_path(docs, key, path, sizeof(path)) == MESH_OK) {

        if (mesh_file_mkdir(docs->dir, 0700, err) != MESH_OK
            || mesh_file_write(path, value, len, 0600, err) != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    return mesh_docs_hold(docs, key, value, len, err);
}


void
mesh_docs_drop(mesh_docs_t *docs, const char *key)
{
    char          path[PATH_MAX];
    mesh_err_t    err;
    mesh_held_t  *held;

    if (mesh_docs_path(docs, key, path, sizeof(path)) == MESH_OK
        && mesh_file_remove(path, &err) != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "%s", err.text);
    }

    held = mesh_map_remove(&docs->map, key);

    if (held) {
        free(held->value);
        free(held);
    }
}


int
mesh_docs_parse(const mesh_docs_t *docs, const char *key, mesh_doc_t *doc,
    mesh_err_t *err)
{
    const mesh_held_t  *held;

    held = mesh_map_get(&docs->map, key);

    if (held == NULL || held->envelope.tombstone) {
        return MESH_DECLINED;
    }

    return mesh_doc_parse(key, held->envelope.body, held->envelope.body_len,
                          doc, err) == 0 ? MESH_OK : MESH_ERROR;
}
