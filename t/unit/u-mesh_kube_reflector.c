
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_kube_reflector.c
 *       controller/kube/mesh_kube_store.c controller/base/;
 *       -ljansson -levent -lssl -lcrypto */

/*
 * What is asked next, answer by answer; then a server of this file, with a
 * history that is compacted, cuts, refuses and repeats by the dice, in
 * virtual time: what is held ends equal to what the server has, and the
 * requests can be counted on.
 */

#include <mesh_core.h>
#include <mesh_kube_reflector.h>
#include <mesh_kube_store.h>

#include "unit.h"


static const mesh_kube_reflector_conf_t  conf = { "/api/v1/pods", 0, 500,
                                                  300 };
static const mesh_kube_reflector_conf_t  optional = { "/apis/x/v1/ys", 1, 5,
                                                      300 };

static char                              url[MESH_KUBE_URL_MAX];


static mesh_kube_outcome_t
outcome(int status, int code, unsigned retry_after_ms, int fresh)
{
    mesh_kube_outcome_t  out;

    memset(&out, 0, sizeof(out));
    out.status = status;
    out.code = code;
    out.retry_after_ms = retry_after_ms;
    out.fresh = (fresh != 0);

    return out;
}


static int
list_failed(mesh_kube_reflector_t *r, int status, unsigned retry_after_ms,
    int fresh, uint64_t now)
{
    mesh_kube_outcome_t  out;

    out = outcome(status, 0, retry_after_ms, fresh);

    return mesh_kube_reflector_list_failed(r, &out, now, 1u << 31);
}


static void
watch_ended(mesh_kube_reflector_t *r, int status, int code, uint64_t now)
{
    mesh_kube_outcome_t  out;

    out = outcome(status, code, 0, 0);

    mesh_kube_reflector_watch_ended(r, &out, now, 1u << 31);
}


/* a reflector that watches from version 10 */

static void
watching(mesh_kube_reflector_t *r, uint64_t now)
{
    mesh_kube_reflector_init(r, &conf);
    UNIT_EQ(mesh_kube_reflector_next(r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(r, "10", "", now, 0), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(r, now, 0), MESH_KUBE_WATCH);
}


static void
lists_in_pages_then_watches(void)
{
    mesh_kube_reflector_t  r;

    mesh_kube_reflector_init(&r, &conf);

    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WAIT);
    mesh_kube_reflector_url(&r, url);
    UNIT_STR(url, "/api/v1/pods?limit=500");

    UNIT_EQ(mesh_kube_reflector_page(&r, "10", "a+/=&", 2, 0), MESH_AGAIN);
    UNIT_OK(!r.synced);
    UNIT_EQ(mesh_kube_reflector_next(&r, 2, 0), MESH_KUBE_LIST);
    mesh_kube_reflector_url(&r, url);
    UNIT_STR(url, "/api/v1/pods?limit=500&continue=a%2B%2F%3D%26");

    /* the version of the first page counts */

    UNIT_EQ(mesh_kube_reflector_page(&r, "12", "", 3, 0), MESH_OK);
    UNIT_OK(r.synced);
    UNIT_EQ(mesh_kube_reflector_next(&r, 3, 100), MESH_KUBE_WATCH);
    mesh_kube_reflector_url(&r, url);
    UNIT_STR(url, "/api/v1/pods?watch=true&allowWatchBookmarks=true"
             "&timeoutSeconds=400&resourceVersion=10");

    mesh_kube_reflector_event(&r, "11", 0);
    mesh_kube_reflector_event(&r, "9", 0);
    UNIT_STR(r.version, "11");
    mesh_kube_reflector_event(&r, "15", 1);
    mesh_kube_reflector_event(&r, "", 0);
    watch_ended(&r, 200, 0, 4);
    UNIT_EQ(mesh_kube_reflector_next(&r, 4, 0), MESH_KUBE_WATCH);
    mesh_kube_reflector_url(&r, url);
    UNIT_HAS(url, "resourceVersion=15");
    UNIT_EQ(r.counts.events, 3);
    UNIT_EQ(r.counts.bookmarks, 1);

    mesh_kube_reflector_done(&r);
}


static void
a_410_at_any_point_lists_anew(void)
{
    mesh_kube_reflector_t  r;

    /* between two pages: all in one, then in pages again */

    mesh_kube_reflector_init(&r, &conf);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "10", "more", 1, 0), MESH_AGAIN);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 410, 0, 0, 1), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    mesh_kube_reflector_url(&r, url);
    UNIT_STR(url, "/api/v1/pods?");
    UNIT_EQ(mesh_kube_reflector_page(&r, "20", "", 1, 0), MESH_OK);
    UNIT_STR(r.version, "20");

    /* as the answer to a watch, and as its event */

    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WATCH);
    watch_ended(&r, 410, 0, 1);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    mesh_kube_reflector_url(&r, url);
    UNIT_STR(url, "/api/v1/pods?limit=500");
    UNIT_EQ(mesh_kube_reflector_page(&r, "30", "", 1, 0), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WATCH);
    mesh_kube_reflector_event(&r, "31", 0);
    watch_ended(&r, 200, 410, 1);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "40", "", 1, 0), MESH_OK);
    UNIT_EQ(r.counts.relists, 2);

    /* again and again: not without a pause */

    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WATCH);
    watch_ended(&r, 200, 410, 1);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WAIT);
    UNIT_OK(r.at_ms >= 100);

    /* of a list that has no pages yet */

    UNIT_EQ(mesh_kube_reflector_next(&r, 500, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 410, 0, 0, 500), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, 500, 0), MESH_KUBE_WAIT);
    UNIT_OK(r.at_ms > 600);

    mesh_kube_reflector_done(&r);
}


static void
failures_wait_longer_and_longer(void)
{
    int                    i;
    uint64_t               now, waited;
    mesh_kube_reflector_t  r;

    mesh_kube_reflector_init(&r, &conf);

    for (i = 0, now = 1000, waited = 0; i < 20; i++) {
        UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
        UNIT_EQ(list_failed(&r, i % 2 ? 500 : 0, 0, 0, now), MESH_OK);
        UNIT_OK(r.at_ms - now >= waited
                || r.at_ms - now >= MESH_KUBE_BACKOFF_MAX_MS / 2);
        UNIT_OK(r.at_ms - now <= MESH_KUBE_BACKOFF_MAX_MS);
        waited = r.at_ms - now;
        now = r.at_ms;
    }

    UNIT_OK(waited >= MESH_KUBE_BACKOFF_MAX_MS / 2);
    UNIT_OK(!r.synced);

    /* Retry-After goes before it, within reason */

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 429, 1000, 0, now), MESH_OK);
    UNIT_OK(r.at_ms - now >= 1000 && r.at_ms - now <= 1100);
    now = r.at_ms;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 503, 86400000, 0, now), MESH_OK);
    UNIT_OK(r.at_ms - now <= 66000);
    now = r.at_ms;

    /* other credentials are tried at once */

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 401, 0, 1, now), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 401, 0, 0, now), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WAIT);

    /* a page whose server went: the next attempt goes on with it */

    now = r.at_ms;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "5", "tok", now, 0), MESH_AGAIN);
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 0, 0, 0, now), MESH_OK);
    UNIT_EQ(mesh_kube_reflector_next(&r, r.at_ms, 0), MESH_KUBE_LIST);
    mesh_kube_reflector_url(&r, url);
    UNIT_HAS(url, "&continue=tok");

    mesh_kube_reflector_done(&r);
}


static void
a_missing_resource_is_looked_for(void)
{
    int                    rc;
    uint64_t               now;
    mesh_kube_reflector_t  r;

    mesh_kube_reflector_init(&r, &optional);

    now = 1000;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 404, 0, 0, now), MESH_DECLINED);
    UNIT_OK(r.synced);
    UNIT_OK(r.absent);

    do {
        UNIT_OK(r.at_ms - now >= 2000 && r.at_ms - now <= 4000);
        now = r.at_ms;
        UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
        rc = list_failed(&r, 404, 0, 0, now);
    } while (rc == MESH_DECLINED);

    UNIT_EQ(rc, MESH_DONE);
    UNIT_OK(now - 1000 >= MESH_KUBE_ABSENT_GONE_MS && now < 16000);

    /* it appears: a fresh one says 429 first */

    now = r.at_ms;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 429, 1000, 0, now), MESH_OK);
    now = r.at_ms;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "5", "", now, 0), MESH_OK);
    UNIT_OK(!r.absent);

    /* and goes: its watch ends, then 404 counts from the start again */

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
    watch_ended(&r, 404, 0, now);
    now = r.at_ms;
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 404, 0, 0, now), MESH_DECLINED);

    mesh_kube_reflector_done(&r);

    /* one that no cluster lacks: a failure like others */

    mesh_kube_reflector_init(&r, &conf);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(list_failed(&r, 404, 0, 0, 1), MESH_OK);
    UNIT_OK(!r.synced);
    mesh_kube_reflector_done(&r);
}


static void
watches_end_in_many_ways(void)
{
    int                    i;
    uint64_t               now;
    mesh_kube_reflector_t  r;

    /* after a while, or with news: at once */

    watching(&r, 1000);
    watch_ended(&r, 200, 0, 2000);
    UNIT_EQ(mesh_kube_reflector_next(&r, 2000, 0), MESH_KUBE_WATCH);
    mesh_kube_reflector_event(&r, "11", 0);
    watch_ended(&r, 200, 0, 2001);
    UNIT_EQ(mesh_kube_reflector_next(&r, 2001, 0), MESH_KUBE_WATCH);

    /* at once without, or with what we had: after a pause */

    mesh_kube_reflector_event(&r, "11", 0);
    watch_ended(&r, 200, 0, 2002);
    UNIT_EQ(mesh_kube_reflector_next(&r, 2002, 0), MESH_KUBE_WAIT);

    /* the server is away for long: the version is kept */

    for (i = 0, now = r.at_ms; i < 50; i++, now = r.at_ms) {
        UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
        watch_ended(&r, 0, 0, now);
    }

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
    mesh_kube_reflector_url(&r, url);
    UNIT_HAS(url, "resourceVersion=11");

    /* errors that are no 410: some watches, then a list */

    watch_ended(&r, 200, 0, now + 5000);
    UNIT_EQ(r.fails, 0);

    for (i = 0, now = r.at_ms; i < 3; i++, now = r.at_ms) {
        UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
        watch_ended(&r, 200, 500, now);
        UNIT_OK(r.at_ms > now);
    }

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "30", "", now, 0), MESH_OK);

    /* no bookmark in minutes: a list, in case we are ahead of the server */

    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
    mesh_kube_reflector_event(&r, "30", 1);
    now += 400000;
    watch_ended(&r, 200, 0, now);
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_WATCH);
    now += 400000;
    watch_ended(&r, 200, 0, now);
    UNIT_EQ(mesh_kube_reflector_next(&r, now, 0), MESH_KUBE_LIST);

    mesh_kube_reflector_done(&r);
}


static void
odd_metadata_is_a_failure(void)
{
    char                   *text;
    mesh_kube_reflector_t   r;

    mesh_kube_reflector_init(&r, &conf);

    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "", "", 1, 0), MESH_ERROR);
    UNIT_EQ(mesh_kube_reflector_next(&r, 1, 0), MESH_KUBE_WAIT);

    text = malloc(MESH_KUBE_CONTINUE_MAX + 2);
    memset(text, '+', MESH_KUBE_CONTINUE_MAX + 1);
    text[MESH_KUBE_CONTINUE_MAX + 1] = '\0';

    UNIT_EQ(mesh_kube_reflector_next(&r, 9000, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "1", text, 9000, 0), MESH_ERROR);

    text[MESH_KUBE_CONTINUE_MAX] = '\0';

    UNIT_EQ(mesh_kube_reflector_next(&r, 99000, 0), MESH_KUBE_LIST);
    UNIT_EQ(mesh_kube_reflector_page(&r, "1", text, 99000, 0), MESH_AGAIN);
    UNIT_EQ(mesh_kube_reflector_next(&r, 99000, 0), MESH_KUBE_LIST);
    mesh_kube_reflector_url(&r, url);
    UNIT_EQ(strlen(url), strlen("/api/v1/pods?limit=500&continue=")
                         + 3 * MESH_KUBE_CONTINUE_MAX);

    free(text);
    mesh_kube_reflector_done(&r);
}


/* the server: a history of versions, the past up to some point forgotten */

#define NAMES    12
#define HISTORY  20000

typedef struct {
    int       name, deleted;
} change_t;

static change_t  history[HISTORY];         /* index: version */
static int       version, compacted;
static int       alive[NAMES];             /* version of, 0: not there */
static uint32_t  rnd_state;


static uint32_t
rnd(uint32_t n)
{
    rnd_state = rnd_state * 1664525 + 1013904223;

    return (rnd_state >> 8) % n;
}


static void
change(void)
{
    int  name;

    name = (int) rnd(NAMES);
    version++;

    history[version].name = name;
    history[version].deleted = alive[name] && rnd(3) == 0;
    alive[name] = history[version].deleted ? 0 : version;
}


/* what the client holds: versions, from the store's verdicts */

static int  have[NAMES];


static void
on_gone(void *data, const char *name)
{
    (void) data;
    have[name[0] - 'a'] = 0;
}


static void
send_list(mesh_kube_reflector_t *r, mesh_kube_store_t *store, uint64_t now)
{
    int   i, from, to, at;
    char  name[2], text[32], token[32];

    /* a token is "<version of the list>:<next name>" */

    from = 0;
    at = version;

    if (r->token) {
        at = (int) strtol(r->token, NULL, 10);
        from = (int) strtol(strchr(r->token, ':') + 1, NULL, 10);

    } else {
        mesh_kube_store_list_begin(store);
    }

    if (at < compacted || rnd(6) == 0) {
        (void) list_failed(r, at < compacted ? 410 : rnd(2) ? 500 : 0, 0, 0,
                           now);
        return;
    }

    to = r->whole ? NAMES : mesh_min(from + 5, NAMES);

    for (i = from; i < to; i++) {
        int  v, rv;

        /* name i as of version at */

        for (rv = 0, v = at; v > 0; v--) {
            if (history[v].name == i) {
                rv = history[v].deleted ? 0 : v;
                break;
            }
        }

        if (rv == 0) {
            continue;
        }

        snprintf(name, sizeof(name), "%c", 'a' + i);
        snprintf(text, sizeof(text), "%d", rv);

        if (mesh_kube_store_listed(store, name, text) == MESH_OK) {
            have[i] = rv;

        } else {
            UNIT_EQ(have[i], rv);
        }
    }

    snprintf(text, sizeof(text), "%d", at);
    token[0] = '\0';

    if (to < NAMES) {
        snprintf(token, sizeof(token), "%d:%d", at, to);
    }

    if (mesh_kube_reflector_page(r, text, token, now, 0) == MESH_OK) {
        mesh_kube_store_list_end(store, text, 1, on_gone, NULL);
    }
}


static void
send_event(mesh_kube_reflector_t *r, mesh_kube_store_t *store, int v)
{
    int   i;
    char  name[2], text[32];

    i = history[v].name;
    snprintf(name, sizeof(name), "%c", 'a' + i);
    snprintf(text, sizeof(text), "%d", v);

    if (history[v].deleted) {
        if (mesh_kube_store_deleted(store, name, text) == MESH_OK) {
            have[i] = 0;
        }

    } else if (mesh_kube_store_changed(store, name, text) == MESH_OK) {
        have[i] = v;
    }

    mesh_kube_reflector_event(r, text, 0);
}


/* some events, twice now and then, two of them in the wrong order */

static void
send_watch(mesh_kube_reflector_t *r, mesh_kube_store_t *store, uint64_t now,
    int calm)
{
    int  v, from, to;

    from = (int) strtol(r->version, NULL, 10);

    mesh_kube_store_watch_begin(store, r->version);

    if (from < compacted) {
        watch_ended(r, rnd(2) ? 410 : 200, 410, now);
        return;
    }

    if (!calm && rnd(8) == 0) {
        watch_ended(r, rnd(2) ? 503 : 0, 0, now);
        return;
    }

    to = calm ? version : from + (int) rnd((uint32_t) (version - from) + 1);

    for (v = from + 1; v <= to; v++) {
        if (v < to && rnd(4) == 0) {
            send_event(r, store, v + 1);
        }

        send_event(r, store, v);

        if (rnd(4) == 0) {
            send_event(r, store, v);
        }
    }

    watch_ended(r, 200, 0, calm ? now + 5000 : now);
}


static void
a_bad_server_ends_in_the_truth(void)
{
    int                     i, round, steps, requests;
    uint64_t                now;
    mesh_kube_store_t       store;
    mesh_kube_do_e          todo;
    mesh_kube_reflector_t   r;

    for (round = 0; round < 200; round++) {
        rnd_state = 77u + (uint32_t) round;
        memset(alive, 0, sizeof(alive));
        memset(have, 0, sizeof(have));
        memset(&store, 0, sizeof(store));
        memset(history, 0, sizeof(history));
        version = 0;
        compacted = 0;
        requests = 0;

        for (i = 0; i < 10; i++) {
            change();
        }

        mesh_kube_reflector_init(&r, &conf);

        for (steps = 0, now = 1000; steps < 400; steps++, now += rnd(500)) {

            for (i = (int) rnd(4); i > 0; i--) {
                change();
            }

            if (rnd(10) == 0) {
                compacted = version - (int) rnd(3);
            }

            todo = mesh_kube_reflector_next(&r, now, rnd(1000));

            if (todo == MESH_KUBE_LIST) {
                send_list(&r, &store, now);
                requests++;

            } else if (todo == MESH_KUBE_WATCH) {
                send_watch(&r, &store, now, 0);
                requests++;
            }
        }

        /* peace: it has all of it after the longest pause and a few calls */

        for (i = 0; i < 40; i++, now += 5000) {
            todo = mesh_kube_reflector_next(&r, now, 0);

            if (todo == MESH_KUBE_LIST) {
                send_list(&r, &store, now);

            } else if (todo == MESH_KUBE_WATCH) {
                send_watch(&r, &store, now, 1);
            }
        }

        if (!UNIT_OK(memcmp(have, alive, sizeof(have)) == 0)) {
            printf("# round %d\n", round);
        }

        UNIT_OK(requests > 50);

        mesh_kube_store_done(&store);
        mesh_kube_reflector_done(&r);
    }
}


/* whatever a server does, as long as nothing is gained */

static void
no_answer_makes_a_busy_loop(void)
{
    int                     i, requests, statuses[4] = { 200, 0, 503, 404 };
    uint64_t                now;
    mesh_kube_do_e          todo;
    mesh_kube_outcome_t     out;
    mesh_kube_reflector_t   r;

    for (i = 0; i < 16; i++) {
        watching(&r, 0);
        watch_ended(&r, 200, 0, 0);
        requests = 0;

        for (now = 0; now < 600000; now += 10) {
            todo = mesh_kube_reflector_next(&r, now, 0);

            if (todo == MESH_KUBE_WAIT) {
                continue;
            }

            requests++;

            if (todo == MESH_KUBE_LIST && i & 4) {
                (void) mesh_kube_reflector_page(&r, "10", "", now, 0);
                continue;
            }

            out = outcome(statuses[i & 3], i & 8 ? 410 : 0, 0, 0);

            if (todo == MESH_KUBE_LIST) {
                (void) mesh_kube_reflector_list_failed(&r, &out, now, 0);

            } else {
                mesh_kube_reflector_event(&r, "10", 0);
                mesh_kube_reflector_watch_ended(&r, &out, now, 0);
            }
        }

        /* two a pause of at least 2 s, and the first few */

        if (!UNIT_OK(requests < 700)) {
            printf("# case %d: %d requests in 10 min\n", i, requests);
        }

        mesh_kube_reflector_done(&r);
    }
}


UNIT_TESTS = {
    UNIT(lists_in_pages_then_watches),
    UNIT(a_410_at_any_point_lists_anew),
    UNIT(failures_wait_longer_and_longer),
    UNIT(a_missing_resource_is_looked_for),
    UNIT(watches_end_in_many_ways),
    UNIT(odd_metadata_is_a_failure),
    UNIT(a_bad_server_ends_in_the_truth),
    UNIT(no_answer_makes_a_busy_loop),
    UNIT_END
};
