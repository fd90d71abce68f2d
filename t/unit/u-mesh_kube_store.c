
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_kube_store.c controller/base/;
 *       -ljansson -levent -lssl -lcrypto */

/*
 * What is news: one rule after the other, then a history that is delivered
 * twice, overtaken and in lists, compared with what it says.
 */

#include <mesh_core.h>
#include <mesh_kube_store.h>

#include "unit.h"


static char  gone_names[4096];


static void
on_gone(void *data, const char *name)
{
    size_t  len;

    (void) data;

    len = strlen(gone_names);
    snprintf(gone_names + len, sizeof(gone_names) - len, "%s ", name);
}


static void
end_list(mesh_kube_store_t *store, const char *version)
{
    gone_names[0] = '\0';
    mesh_kube_store_list_end(store, version, 1, on_gone, NULL);
}


static void
a_list_tells_what_is_new_and_gone(void)
{
    mesh_kube_store_t  store;

    memset(&store, 0, sizeof(store));

    mesh_kube_store_list_begin(&store);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/x", "5"), MESH_OK);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/y", "6"), MESH_OK);
    end_list(&store, "10");
    UNIT_STR(gone_names, "");
    UNIT_EQ(store.count, 2);

    mesh_kube_store_list_begin(&store);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/x", "5"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/z", "12"), MESH_OK);
    end_list(&store, "12");
    UNIT_STR(gone_names, "a/y ");
    UNIT_EQ(store.count, 2);

    /* an older version in a list counts: etcd came from a backup */

    mesh_kube_store_list_begin(&store);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/x", "4"), MESH_OK);
    UNIT_EQ(mesh_kube_store_listed(&store, "a/z", "12"), MESH_DECLINED);
    end_list(&store, "4");
    UNIT_STR(gone_names, "");

    /* not all of the list could be read: nothing is gone */

    mesh_kube_store_list_begin(&store);
    gone_names[0] = '\0';
    mesh_kube_store_list_end(&store, "5", 0, on_gone, NULL);
    UNIT_STR(gone_names, "");
    UNIT_EQ(store.count, 2);

    mesh_kube_store_clear(&store, on_gone, NULL);
    UNIT_EQ(strlen(gone_names), 8);
    UNIT_EQ(store.count, 0);

    mesh_kube_store_done(&store);
}


static void
an_event_counts_once(void)
{
    mesh_kube_store_t  store;

    memset(&store, 0, sizeof(store));

    mesh_kube_store_list_begin(&store);
    UNIT_EQ(mesh_kube_store_listed(&store, "x", "5"), MESH_OK);
    end_list(&store, "10");
    mesh_kube_store_watch_begin(&store, "10");

    UNIT_EQ(mesh_kube_store_changed(&store, "x", "5"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "11"), MESH_OK);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "11"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "9"), MESH_DECLINED);

    /* of one that is not held: only what is newer than the list */

    UNIT_EQ(mesh_kube_store_changed(&store, "y", "8"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "y", "10"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "y", "13"), MESH_OK);
    UNIT_EQ(mesh_kube_store_changed(&store, "z", "12"), MESH_OK);

    /* deletions, late news after them, and a new one of that name */

    UNIT_EQ(mesh_kube_store_deleted(&store, "x", "10"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_deleted(&store, "x", "15"), MESH_OK);
    UNIT_EQ(mesh_kube_store_deleted(&store, "x", "15"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "14"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "16"), MESH_OK);
    UNIT_EQ(mesh_kube_store_deleted(&store, "z", "12"), MESH_OK);
    UNIT_EQ(mesh_kube_store_deleted(&store, "none", "99"), MESH_DECLINED);
    UNIT_EQ(store.count, 2);
    UNIT_EQ(store.tombstones, 2);

    /* before the object itself */

    UNIT_EQ(mesh_kube_store_deleted(&store, "w", "14"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "w", "13"), MESH_DECLINED);
    UNIT_EQ(store.count, 2);

    /* the next watch begins where that one ended */

    mesh_kube_store_watch_begin(&store, "16");
    UNIT_EQ(store.tombstones, 0);
    UNIT_EQ(mesh_kube_store_changed(&store, "z", "12"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "z", "17"), MESH_OK);

    mesh_kube_store_done(&store);
}


static void
versions_need_not_be_numbers(void)
{
    mesh_kube_store_t  store;

    memset(&store, 0, sizeof(store));

    mesh_kube_store_list_begin(&store);
    UNIT_EQ(mesh_kube_store_listed(&store, "x", "abc"), MESH_OK);
    end_list(&store, "def");
    mesh_kube_store_watch_begin(&store, "def");

    UNIT_EQ(mesh_kube_store_changed(&store, "x", "abc"), MESH_DECLINED);
    UNIT_EQ(mesh_kube_store_changed(&store, "x", "aaa"), MESH_OK);
    UNIT_EQ(mesh_kube_store_changed(&store, "y", "9"), MESH_OK);
    UNIT_EQ(mesh_kube_store_changed(&store, "y", "bbb"), MESH_OK);
    UNIT_EQ(mesh_kube_store_deleted(&store, "x", "a"), MESH_OK);

    /* 2^64 and more are no numbers of ours, but they are different ones */

    UNIT_EQ(mesh_kube_store_changed(&store, "z", "18446744073709551616"),
            MESH_OK);
    UNIT_EQ(mesh_kube_store_changed(&store, "z", "18446744073709551617"),
            MESH_OK);

    mesh_kube_store_done(&store);
}


static void
tombstones_are_bounded(void)
{
    int                i;
    char               name[32], version[32];
    mesh_kube_store_t  store;

    memset(&store, 0, sizeof(store));

    mesh_kube_store_watch_begin(&store, "1");

    for (i = 0; i < 3 * MESH_KUBE_TOMBSTONES_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        snprintf(version, sizeof(version), "%d", 2 + 2 * i);
        UNIT_EQ(mesh_kube_store_changed(&store, name, version), MESH_OK);
        snprintf(version, sizeof(version), "%d", 3 + 2 * i);
        UNIT_EQ(mesh_kube_store_deleted(&store, name, version), MESH_OK);
        UNIT_NEED(store.held.n <= MESH_KUBE_TOMBSTONES_MAX);
    }

    UNIT_EQ(store.count, 0);
    UNIT_EQ(mesh_kube_store_changed(&store, "n0", "2"), MESH_DECLINED);

    mesh_kube_store_done(&store);
}


#define NAMES   6
#define EVENTS  40

typedef struct {
    int  name, version, deleted;
} event_t;


/* events of a history, each once to three times, in any order */

static void
overtaken_events_end_in_the_truth(void)
{
    int                 i, n, k, round, alive[NAMES];
    char                name[16], version[16];
    event_t             events[EVENTS], sent[EVENTS * 3], swap;
    uint32_t            rnd;
    mesh_kube_store_t   store;

    rnd = 7;

    for (round = 0; round < 500; round++) {
        memset(&store, 0, sizeof(store));
        memset(alive, 0, sizeof(alive));
        mesh_kube_store_watch_begin(&store, "100");

        for (i = 0, n = 0; i < EVENTS; i++) {
            rnd = rnd * 1664525 + 1013904223;
            k = (int) (rnd >> 16) % NAMES;

            events[i].name = k;
            events[i].version = 101 + i;
            events[i].deleted = alive[k] && (rnd >> 30) == 0;
            alive[k] = !events[i].deleted;

            for (k = 0; k <= (int) (rnd >> 8) % 3; k++) {
                sent[n++] = events[i];
            }
        }

        for (i = n - 1; i > 0; i--) {
            rnd = rnd * 1664525 + 1013904223;
            k = (int) (rnd >> 16) % (i + 1);
            swap = sent[i];
            sent[i] = sent[k];
            sent[k] = swap;
        }

        for (i = 0; i < n; i++) {
            snprintf(name, sizeof(name), "n%d", sent[i].name);
            snprintf(version, sizeof(version), "%d", sent[i].version);

            if (sent[i].deleted) {
                (void) mesh_kube_store_deleted(&store, name, version);

            } else {
                (void) mesh_kube_store_changed(&store, name, version);
            }
        }

        for (i = 0, k = 0; i < NAMES; i++) {
            k += alive[i];
        }

        if (!UNIT_EQ(store.count, k)) {
            printf("# round %d\n", round);
            mesh_kube_store_done(&store);
            break;
        }

        mesh_kube_store_done(&store);
    }
}


UNIT_TESTS = {
    UNIT(a_list_tells_what_is_new_and_gone),
    UNIT(an_event_counts_once),
    UNIT(versions_need_not_be_numbers),
    UNIT(tombstones_are_bounded),
    UNIT(overtaken_events_end_in_the_truth),
    UNIT_END
};
