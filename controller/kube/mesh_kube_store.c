
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Resource versions of one object are compared as numbers where they are
 * numbers, which API servers promise since 1.35 and etcd always gave; others
 * are only equal or not.  A deleted object leaves a tombstone for the life of
 * the watch, so that an event that comes late does not bring it back.
 */

#include <mesh_kube_store.h>
#include <mesh_mem.h>


typedef struct {
    mesh_kube_version_t    version;
    unsigned               round;        /* of the last list that had it */
    unsigned               gone;         /* a tombstone */
} mesh_kube_held_t;


static void mesh_kube_version(mesh_kube_version_t *version,
    const char *text);
static int mesh_kube_version_compare(const mesh_kube_version_t *a,
    const mesh_kube_version_t *b);
static mesh_kube_held_t *mesh_kube_store_hold(mesh_kube_store_t *store,
    const char *name);
static void mesh_kube_store_drop_tombstones(mesh_kube_store_t *store);
static void mesh_kube_store_drop(mesh_kube_store_t *store, int all,
    mesh_kube_store_gone_pt gone, void *data);


void
mesh_kube_store_list_begin(mesh_kube_store_t *store)
{
    store->round++;
}


int
mesh_kube_store_listed(mesh_kube_store_t *store, const char *name,
    const char *version)
{
    mesh_kube_held_t     *held;
    mesh_kube_version_t   is;

    mesh_kube_version(&is, version);

    held = mesh_map_get(&store->held, name);

    if (held && !held->gone
        && mesh_kube_version_compare(&held->version, &is) == 0)
    {
        held->round = store->round;
        return MESH_DECLINED;
    }

    held = mesh_kube_store_hold(store, name);
    held->version = is;
    held->round = store->round;

    return MESH_OK;
}


void
mesh_kube_store_list_end(mesh_kube_store_t *store, const char *version,
    int complete, mesh_kube_store_gone_pt gone, void *data)
{
    mesh_kube_store_drop_tombstones(store);

    if (complete) {
        mesh_kube_store_drop(store, 0, gone, data);
    }

    mesh_kube_version(&store->base, version);
}


void
mesh_kube_store_watch_begin(mesh_kube_store_t *store, const char *version)
{
    mesh_kube_store_drop_tombstones(store);
    mesh_kube_version(&store->base, version);
}


int
mesh_kube_store_changed(mesh_kube_store_t *store, const char *name,
    const char *version)
{
    mesh_kube_held_t     *held;
    mesh_kube_version_t   is, *than;

    mesh_kube_version(&is, version);

    held = mesh_map_get(&store->held, name);
    than = held ? &held->version : &store->base;

    if (mesh_kube_version_compare(&is, than) <= 0) {
        return MESH_DECLINED;
    }

    held = mesh_kube_store_hold(store, name);
    held->version = is;
    held->round = store->round;

    return MESH_OK;
}


/* the event has the version of the deletion, of old that of the object */

int
mesh_kube_store_deleted(mesh_kube_store_t *store, const char *name,
    const char *version)
{
    int                   rc;
    mesh_kube_held_t     *held;
    mesh_kube_version_t   is, *than;

    mesh_kube_version(&is, version);

    held = mesh_map_get(&store->held, name);
    than = held ? &held->version : &store->base;
    rc = mesh_kube_version_compare(&is, than);

    if (rc < 0 || (rc == 0 && held == NULL)) {
        return MESH_DECLINED;
    }

    /* also of an object whose first event is still to come */

    rc = (held && !held->gone) ? MESH_OK : MESH_DECLINED;

    held = mesh_kube_store_hold(store, name);
    held->version = is;
    held->gone = 1;

    store->count--;

    if (++store->tombstones > MESH_KUBE_TOMBSTONES_MAX) {
        mesh_kube_store_drop_tombstones(store);
    }

    return rc;
}


void
mesh_kube_store_clear(mesh_kube_store_t *store, mesh_kube_store_gone_pt gone,
    void *data)
{
    mesh_kube_store_drop_tombstones(store);
    mesh_kube_store_drop(store, 1, gone, data);

    memset(&store->base, 0, sizeof(mesh_kube_version_t));
}


void
mesh_kube_store_done(mesh_kube_store_t *store)
{
    size_t             i;
    mesh_kube_held_t  *held;

    for (i = 0; (held = mesh_map_next(&store->held, &i, NULL)) != NULL; ) {
        free(held);
    }

    mesh_map_free(&store->held);
    memset(store, 0, sizeof(mesh_kube_store_t));
}


static void
mesh_kube_version(mesh_kube_version_t *version, const char *text)
{
    const unsigned char  *p;

    version->number = 0;
    version->ordered = (text[0] != '\0');

    for (p = (const unsigned char *) text; *p; p++) {

        if (*p < '0' || *p > '9'
            || version->number > (UINT64_MAX - 9) / 10)
        {
            version->ordered = 0;
            break;
        }

        version->number = version->number * 10 + (*p - '0');
    }

    if (version->ordered) {
        return;
    }

    version->number = UINT64_C(0xcbf29ce484222325);       /* FNV-1a */

    for (p = (const unsigned char *) text; *p; p++) {
        version->number = (version->number ^ *p) * UINT64_C(0x100000001b3);
    }
}


/* < 0, 0, > 0; versions without an order count as news unless equal */

static int
mesh_kube_version_compare(const mesh_kube_version_t *a,
    const mesh_kube_version_t *b)
{
    if (a->ordered != b->ordered || !a->ordered) {
        return a->ordered != b->ordered || a->number != b->number;
    }

    return a->number < b->number ? -1 : a->number > b->number;
}


static mesh_kube_held_t *
mesh_kube_store_hold(mesh_kube_store_t *store, const char *name)
{
    mesh_kube_held_t  *held;

    held = mesh_map_get(&store->held, name);

    if (held == NULL) {
        held = mesh_mem_new(sizeof(mesh_kube_held_t));
        mesh_map_set(&store->held, name, held);
        store->count++;

    } else if (held->gone) {
        held->gone = 0;
        store->tombstones--;
        store->count++;
    }

    return held;
}


/* what they told is told by the base from now on */

static void
mesh_kube_store_drop_tombstones(mesh_kube_store_t *store)
{
    size_t              i, n;
    const char         *name, **names;
    mesh_kube_held_t   *held;

    if (store->tombstones == 0) {
        return;
    }

    names = mesh_mem_new(store->tombstones * sizeof(char *));
    n = 0;

    for (i = 0; (held = mesh_map_next(&store->held, &i, &name)) != NULL; ) {

        if (!held->gone) {
            continue;
        }

        names[n++] = mesh_mem_str(name);

        if (held->version.ordered && store->base.ordered
            && held->version.number > store->base.number)
        {
            store->base = held->version;
        }
    }

    while (n > 0) {
        free(mesh_map_remove(&store->held, names[--n]));
        free((char *) names[n]);
    }

    free(names);

    store->tombstones = 0;
}


static void
mesh_kube_store_drop(mesh_kube_store_t *store, int all,
    mesh_kube_store_gone_pt gone, void *data)
{
    size_t              i, n;
    const char         *name, **names;
    mesh_kube_held_t   *held;

    names = mesh_mem_new((store->held.n + 1) * sizeof(char *));
    n = 0;

    for (i = 0; (held = mesh_map_next(&store->held, &i, &name)) != NULL; ) {
        if (all || held->round != store->round) {
            names[n++] = mesh_mem_str(name);
        }
    }

    while (n > 0) {
        free(mesh_map_remove(&store->held, names[--n]));
        store->count--;

        gone(data, names[n]);
        free((char *) names[n]);
    }

    free(names);
}
