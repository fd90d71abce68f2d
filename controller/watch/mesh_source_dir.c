
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Which file holds which object, and which of two files counts (the first by
 * name).  A file that is being written is not read before it is closed: half
 * a file can be good YAML, and would delete the other half's objects.
 */

#include <mesh_core.h>

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include <mesh_file.h>
#include <mesh_log.h>
#include <mesh_map.h>
#include <mesh_mem.h>
#include <mesh_source_dir.h>
#include <mesh_yaml.h>


#define MESH_SOURCE_RESCAN_S      5
#define MESH_SOURCE_QUIET_NS      1000000000LL  /* not closed: unchanged for */
#define MESH_SOURCE_DIGEST        32
#define MESH_SOURCE_EVENTS        (IN_CLOSE_WRITE|IN_MOVED_TO|IN_MOVED_FROM   \
                                   |IN_DELETE|IN_DELETE_SELF|IN_MOVE_SELF     \
                                   |IN_ONLYDIR)


typedef struct mesh_source_file_s  mesh_source_file_t;


/* one object in one file */

typedef struct mesh_source_held_s {
    mesh_source_file_t           *file;
    mesh_object_t                *object;
    struct mesh_source_held_s    *next;    /* the same object elsewhere */
    uint8_t                       digest[MESH_SOURCE_DIGEST];
    unsigned                      line;
    unsigned                      round;   /* of the file, that saw it last */
} mesh_source_held_t;


struct mesh_source_file_s {
    char                         *name;
    mesh_map_t                    held;    /* object key -> held */
    struct timespec               mtime;
    off_t                         size;
    ino_t                         inode;
    unsigned                      round;
    unsigned                      seen;    /* by the scan of this number */
};


struct mesh_source_dir_s {
    char                         *path;
    const mesh_source_handler_t  *handler;
    void                         *data;

    struct event_base            *base;
    struct event                 *readable;
    struct event                 *timer;
    int                           inotify;
    int                           watch;   /* -1: the directory is gone */

    mesh_map_t                    files;   /* name -> file */
    mesh_map_t                    keys;    /* object key -> first held */
    unsigned                      scan;

    /* the file that is being read */
    mesh_source_file_t           *file;
    unsigned                      lost;    /* documents without an object */
};


static int mesh_source_watch(mesh_source_dir_t *dir, mesh_err_t *err);
static void mesh_source_on_inotify(evutil_socket_t fd, short what,
    void *data);
static void mesh_source_unwatch(mesh_source_dir_t *dir, uint32_t mask);
static void mesh_source_on_timer(evutil_socket_t fd, short what, void *data);
static int mesh_source_scan(mesh_source_dir_t *dir, int first,
    mesh_err_t *err);
static int mesh_source_is_manifest(const char *name);
static int mesh_source_look(mesh_source_dir_t *dir, const char *name,
    int closed);
static int mesh_source_read(mesh_source_dir_t *dir, const char *name,
    const struct stat *st);
static void mesh_source_on_document(void *data, json_t *json, unsigned line,
    const mesh_yaml_t *yaml, const mesh_err_t *err);
static void mesh_source_document(mesh_source_dir_t *dir, json_t *json,
    const char *list, unsigned line, const mesh_yaml_t *yaml);
static int mesh_source_is_list(json_t *json, const char **kind);
static void mesh_source_object(mesh_source_dir_t *dir, json_t *json,
    const char *list, unsigned line);
static void mesh_source_hold(mesh_source_dir_t *dir, const char *key,
    mesh_object_t *object, const uint8_t *digest, unsigned line);
static void mesh_source_drop(mesh_source_dir_t *dir, mesh_source_file_t *file,
    mesh_source_held_t *held, const char *key);
static void mesh_source_drop_unseen(mesh_source_dir_t *dir,
    mesh_source_file_t *file);
static void mesh_source_forget(mesh_source_dir_t *dir,
    mesh_source_file_t *file);
static void mesh_source_digest(json_t *json, uint8_t *digest);
static int64_t mesh_source_age_ns(const struct stat *st);
static void mesh_source_bad(mesh_source_dir_t *dir, unsigned line,
    const mesh_err_t *err);


mesh_source_dir_t *
mesh_source_dir_new(struct event_base *base, const char *path,
    const mesh_source_handler_t *handler, void *data, mesh_err_t *err)
{
    struct timeval      tv;
    mesh_source_dir_t  *dir;

    dir = mesh_mem_new(sizeof(mesh_source_dir_t));
    dir->path = mesh_mem_str(path);
    dir->handler = handler;
    dir->data = data;
    dir->base = base;
    dir->watch = -1;

    dir->inotify = inotify_init1(IN_CLOEXEC|IN_NONBLOCK);

    if (dir->inotify == -1) {
        mesh_err_sys(err, errno, "inotify_init1() failed");
        goto failed;
    }

    dir->readable = event_new(base, dir->inotify, EV_READ|EV_PERSIST,
                              mesh_source_on_inotify, dir);
    dir->timer = event_new(base, -1, EV_PERSIST, mesh_source_on_timer, dir);

    if (dir->readable == NULL || dir->timer == NULL) {
        mesh_err(err, "no memory");
        goto failed;
    }

    /* watched first, read second: no change is missed between the two */

    if (mesh_source_watch(dir, err) != MESH_OK
        || mesh_source_scan(dir, 1, err) != MESH_OK)
    {
        goto failed;
    }

    tv.tv_sec = MESH_SOURCE_RESCAN_S;
    tv.tv_usec = 0;

    event_add(dir->readable, NULL);
    event_add(dir->timer, &tv);

    handler->settled(data);

    return dir;

failed:

    mesh_source_dir_free(dir);

    return NULL;
}


void
mesh_source_dir_free(mesh_source_dir_t *dir)
{
    size_t               i, n;
    mesh_source_file_t  *file;
    mesh_source_held_t  *held;

    for (i = 0; (file = mesh_map_next(&dir->files, &i, NULL)) != NULL; ) {

        for (n = 0; (held = mesh_map_next(&file->held, &n, NULL)) != NULL; ) {
            mesh_object_unref(held->object);
            free(held);
        }

        mesh_map_free(&file->held);
        free(file->name);
        free(file);
    }

    mesh_map_free(&dir->files);
    mesh_map_free(&dir->keys);

    if (dir->readable) {
        event_free(dir->readable);
    }

    if (dir->timer) {
        event_free(dir->timer);
    }

    if (dir->inotify != -1) {
        close(dir->inotify);
    }

    free(dir->path);
    free(dir);
}


static int
mesh_source_watch(mesh_source_dir_t *dir, mesh_err_t *err)
{
    dir->watch = inotify_add_watch(dir->inotify, dir->path,
                                   MESH_SOURCE_EVENTS);

    if (dir->watch == -1) {
        return mesh_err_sys(err, errno, "cannot watch \"%s\"", dir->path);
    }

    return MESH_OK;
}


static void
mesh_source_on_inotify(evutil_socket_t fd, short what, void *data)
{
    mesh_source_dir_t  *dir = data;

    int                          all, changed;
    char                        *p;
    ssize_t                      n;
    mesh_err_t                   err;
    const struct inotify_event  *event;

    union {
        struct inotify_event     event;
        char                     bytes[16 * 1024];
    } buf;

    (void) what;

    all = 0;
    changed = 0;

    while ((n = read(fd, &buf, sizeof(buf))) > 0) {

        for (p = buf.bytes; p < buf.bytes + n;
             p += sizeof(struct inotify_event) + event->len)
        {
            event = (const struct inotify_event *) p;

            if (event->wd == dir->watch) {
                mesh_source_unwatch(dir, event->mask);
            }

            if (event->mask & (IN_Q_OVERFLOW|IN_DELETE_SELF|IN_MOVE_SELF)
                || event->len == 0)
            {
                all = 1;

            } else if (event->name[0] == '.') {

                /* "..data" of a mounted ConfigMap: all links lead elsewhere */

                all |= (event->mask & IN_MOVED_TO) != 0;

            } else if (mesh_source_is_manifest(event->name)) {
                changed |= mesh_source_look(dir, event->name, 1);
            }
        }
    }

    if (all && dir->watch != -1) {
        if (mesh_source_scan(dir, 0, &err) != MESH_OK) {
            mesh_log(MESH_LOG_ERROR, 0, "%s", err.text);
        }

        changed = 1;
    }

    if (changed) {
        dir->handler->settled(dir->data);
    }
}


/* the directory is gone, or has another name: the timer looks for it */

static void
mesh_source_unwatch(mesh_source_dir_t *dir, uint32_t mask)
{
    if (mask & IN_MOVE_SELF) {
        (void) inotify_rm_watch(dir->inotify, dir->watch);
        dir->watch = -1;
    }

    if (mask & IN_IGNORED) {
        dir->watch = -1;
    }
}


/* what inotify did not say: network file systems, a directory made anew */

static void
mesh_source_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_source_dir_t  *dir = data;

    mesh_err_t  err;

    (void) fd;
    (void) what;

    if (dir->watch == -1 && mesh_source_watch(dir, &err) != MESH_OK) {
        mesh_log(MESH_LOG_ERROR, 0, "%s, the last good objects stay",
                 err.text);
        return;
    }

    if (mesh_source_scan(dir, 0, &err) != MESH_OK) {
        mesh_log(MESH_LOG_ERROR, 0, "%s, the last good objects stay",
                 err.text);
        return;
    }

    dir->handler->settled(dir->data);
}


static int
mesh_source_scan(mesh_source_dir_t *dir, int first, mesh_err_t *err)
{
    int                  i, n;
    size_t               next;
    struct dirent      **list;
    mesh_source_file_t  *file, **gone;

    n = scandir(dir->path, &list, NULL, alphasort);

    if (n == -1) {
        return mesh_err_sys(err, errno, "cannot read \"%s\"", dir->path);
    }

    dir->scan++;

    for (i = 0; i < n; i++) {

        if (mesh_source_is_manifest(list[i]->d_name)) {
            (void) mesh_source_look(dir, list[i]->d_name, first);

            file = mesh_map_get(&dir->files, list[i]->d_name);

            if (file) {
                file->seen = dir->scan;
            }
        }

        free(list[i]);
    }

    free(list);

    gone = mesh_mem_new((dir->files.n + 1) * sizeof(mesh_source_file_t *));
    i = 0;

    for (next = 0; (file = mesh_map_next(&dir->files, &next, NULL)) != NULL; )
    {
        if (file->seen != dir->scan) {
            gone[i++] = file;
        }
    }

    while (i > 0) {
        mesh_source_forget(dir, gone[--i]);
    }

    free(gone);

    return MESH_OK;
}


static int
mesh_source_is_manifest(const char *name)
{
    const char  *dot;

    dot = strrchr(name, '.');

    return name[0] != '.' && dot != NULL
           && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0
               || strcmp(dot, ".json") == 0);
}


/*
 * Reads the file if it differs from what was read, or drops it if it is
 * gone; closed: whoever wrote it has closed it.  1: something was done.
 */

static int
mesh_source_look(mesh_source_dir_t *dir, const char *name, int closed)
{
    char                 path[PATH_MAX];
    struct stat          st;
    mesh_source_file_t  *file;

    file = mesh_map_get(&dir->files, name);

    snprintf(path, sizeof(path), "%s/%s", dir->path, name);

    if (stat(path, &st) == -1) {

        if (errno != ENOENT && errno != ENOTDIR) {
            mesh_log(MESH_LOG_ERROR, errno, "cannot look at \"%s\", what it "
                     "held stays", path);

            if (file) {
                file->seen = dir->scan;
            }

            return 0;
        }

        if (file) {
            mesh_source_forget(dir, file);
        }

        return file != NULL;
    }

    if (!S_ISREG(st.st_mode)) {
        return 0;
    }

    if (file
        && file->mtime.tv_sec == st.st_mtim.tv_sec
        && file->mtime.tv_nsec == st.st_mtim.tv_nsec
        && file->size == st.st_size
        && file->inode == st.st_ino)
    {
        return 0;
    }

    if (!closed && mesh_source_age_ns(&st) < MESH_SOURCE_QUIET_NS) {
        return 0;
    }

    return mesh_source_read(dir, name, &st);
}


static int
mesh_source_read(mesh_source_dir_t *dir, const char *name,
    const struct stat *st)
{
    char                 path[PATH_MAX], *text;
    size_t               len;
    mesh_err_t           err;
    mesh_source_file_t  *file;

    snprintf(path, sizeof(path), "%s/%s", dir->path, name);

    if (mesh_file_read(path, MESH_YAML_MAX_BYTES, &text, &len, &err)
        != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "%s, what it held stays", err.text);
        return 0;
    }

    file = mesh_map_get(&dir->files, name);

    if (file == NULL) {
        file = mesh_mem_new(sizeof(mesh_source_file_t));
        file->name = mesh_mem_str(name);
        file->seen = dir->scan;

        mesh_map_set(&dir->files, name, file);
    }

    file->mtime = st->st_mtim;
    file->size = st->st_size;
    file->inode = st->st_ino;
    file->round++;

    dir->file = file;
    dir->lost = 0;

    (void) mesh_yaml_parse(text, len, mesh_source_on_document, dir);

    free(text);

    if (dir->lost == 0) {
        mesh_source_drop_unseen(dir, file);
    }

    return 1;
}


static void
mesh_source_on_document(void *data, json_t *json, unsigned line,
    const mesh_yaml_t *yaml, const mesh_err_t *err)
{
    mesh_source_dir_t  *dir = data;

    if (json == NULL) {
        mesh_source_bad(dir, line, err);
        dir->lost++;
        return;
    }

    mesh_source_document(dir, json, NULL, line, yaml);
    json_decref(json);
}


/* an object, or a list of them */

static void
mesh_source_document(mesh_source_dir_t *dir, json_t *json, const char *list,
    unsigned line, const mesh_yaml_t *yaml)
{
    size_t       i;
    json_t      *item;
    unsigned     at;
    const char  *kind;

    if (list || !mesh_source_is_list(json, &kind)) {
        mesh_source_object(dir, json, list, line);
        return;
    }

    json_array_foreach(json_object_get(json, "items"), i, item) {
        at = mesh_yaml_line(yaml, item);

        mesh_source_document(dir, item, kind, at ? at : line, yaml);
    }
}


static int
mesh_source_is_list(json_t *json, const char **kind)
{
    size_t  len;

    *kind = json_string_value(json_object_get(json, "kind"));

    if (*kind == NULL || !json_is_array(json_object_get(json, "items"))) {
        return 0;
    }

    len = strlen(*kind);

    return len >= 4 && strcmp(*kind + len - 4, "List") == 0;
}


static void
mesh_source_object(mesh_source_dir_t *dir, json_t *json, const char *list,
    unsigned line)
{
    int                  rc;
    char                 key[MESH_OBJECT_KEY_MAX];
    uint8_t              digest[MESH_SOURCE_DIGEST];
    mesh_err_t           err;
    mesh_object_t       *object;
    mesh_source_held_t  *held;
    mesh_object_kind_e   kind;

    rc = mesh_object_identify(json, list, &kind, key, &err);

    if (rc == MESH_DECLINED) {
        return;                     /* Deployments, ConfigMaps .. */
    }

    if (rc != MESH_OK) {
        mesh_source_bad(dir, line, &err);
        dir->lost++;
        return;
    }

    mesh_source_digest(json, digest);

    held = mesh_map_get(&dir->file->held, key);

    if (held && held->round == dir->file->round) {
        mesh_err(&err, "%s stands twice, line %u counts", key, held->line);
        mesh_source_bad(dir, line, &err);
        return;
    }

    if (held && memcmp(held->digest, digest, sizeof(digest)) == 0) {
        held->round = dir->file->round;
        held->line = line;
        return;
    }

    object = mesh_object_new(json, list, &err);

    if (object == NULL) {
        mesh_err_prefix(&err, "%s", key);
        mesh_source_bad(dir, line, &err);

        if (held) {
            held->round = dir->file->round;
        }

        return;
    }

    mesh_source_hold(dir, key, object, digest, line);
}


/* the object is in this file from now on; takes the reference */

static void
mesh_source_hold(mesh_source_dir_t *dir, const char *key,
    mesh_object_t *object, const uint8_t *digest, unsigned line)
{
    mesh_source_held_t  *held, *first, **link;

    held = mesh_map_get(&dir->file->held, key);

    if (held == NULL) {
        held = mesh_mem_new(sizeof(mesh_source_held_t));
        held->file = dir->file;

        mesh_map_set(&dir->file->held, key, held);

        first = mesh_map_get(&dir->keys, key);

        for (link = &first; *link; link = &(*link)->next) {
            if (strcmp((*link)->file->name, dir->file->name) > 0) {
                break;
            }
        }

        if (first) {
            mesh_log(MESH_LOG_WARN, 0, "%s is in \"%s\" and \"%s\", the "
                     "first by name counts", key, first->file->name,
                     dir->file->name);
        }

        held->next = *link;
        *link = held;

        mesh_map_set(&dir->keys, key, first);
    }

    mesh_object_unref(held->object);

    held->object = object;
    held->line = line;
    held->round = dir->file->round;
    memcpy(held->digest, digest, MESH_SOURCE_DIGEST);

    if (mesh_map_get(&dir->keys, key) == held) {
        dir->handler->put(dir->data, object);
    }
}


/* the object is not in this file any more */

static void
mesh_source_drop(mesh_source_dir_t *dir, mesh_source_file_t *file,
    mesh_source_held_t *held, const char *key)
{
    int                  counted;
    mesh_source_held_t  *first, **link;

    first = mesh_map_get(&dir->keys, key);
    counted = (first == held);

    for (link = &first; *link != held; link = &(*link)->next) {
        /* void */
    }

    *link = held->next;

    if (first) {
        mesh_map_set(&dir->keys, key, first);

    } else {
        mesh_map_remove(&dir->keys, key);
    }

    if (counted && first) {
        dir->handler->put(dir->data, first->object);

    } else if (counted) {
        dir->handler->gone(dir->data, held->object->kind, key);
    }

    mesh_object_unref(held->object);
    free(held);

    mesh_map_remove(&file->held, key);
}


static void
mesh_source_drop_unseen(mesh_source_dir_t *dir, mesh_source_file_t *file)
{
    size_t                i, n;
    mesh_object_t        *object;
    mesh_source_held_t   *held, **unseen;

    unseen = mesh_mem_new((file->held.n + 1) * sizeof(mesh_source_held_t *));
    n = 0;

    for (i = 0; (held = mesh_map_next(&file->held, &i, NULL)) != NULL; ) {
        if (held->round != file->round) {
            unseen[n++] = held;
        }
    }

    while (n > 0) {
        object = mesh_object_ref(unseen[--n]->object);    /* has the key */

        mesh_source_drop(dir, file, unseen[n], object->key);
        mesh_object_unref(object);
    }

    free(unseen);
}


static void
mesh_source_forget(mesh_source_dir_t *dir, mesh_source_file_t *file)
{
    file->round++;
    mesh_source_drop_unseen(dir, file);

    mesh_map_remove(&dir->files, file->name);
    mesh_map_free(&file->held);

    free(file->name);
    free(file);
}


static void
mesh_source_digest(json_t *json, uint8_t *digest)
{
    char      *text;
    unsigned   n;

    text = mesh_mem_must(json_dumps(json, JSON_COMPACT|JSON_SORT_KEYS));

    if (EVP_Digest(text, strlen(text), digest, &n, EVP_sha256(), NULL) != 1) {
        mesh_log(MESH_LOG_EMERG, 0, "SHA-256 failed");
        abort();
    }

    free(text);
}


static int64_t
mesh_source_age_ns(const struct stat *st)
{
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);

    return (int64_t) (now.tv_sec - st->st_mtim.tv_sec) * 1000000000LL
           + (now.tv_nsec - st->st_mtim.tv_nsec);
}


/* the one place where a bad document is logged */

static void
mesh_source_bad(mesh_source_dir_t *dir, unsigned line, const mesh_err_t *err)
{
    mesh_log(MESH_LOG_ERROR, 0, "%s/%s:%u: %s", dir->path, dir->file->name,
             line, err->text);
}
