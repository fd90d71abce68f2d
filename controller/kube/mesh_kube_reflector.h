
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_REFLECTOR_H_INCLUDED_
#define _MESH_KUBE_REFLECTOR_H_INCLUDED_

/*
 * What to ask an API server next, so that one resource is followed without a
 * gap: the reflector of client-go (tools/cache/reflector.go) as a pure state
 * machine.  Clock and dice are arguments; mesh_kube_informer does the rest.
 *
 *     list, in pages -> watch from the list's version -> watch again from
 *     the last version seen ... -> 410: list anew
 *
 * Lists are consistent reads (no resourceVersion), never what one server's
 * cache happens to hold: a restart does not go back in time.
 */

#include <mesh_core.h>
#include <mesh_backoff.h>


#define MESH_KUBE_VERSION_MAX     128
#define MESH_KUBE_CONTINUE_MAX    (16 * 1024)
#define MESH_KUBE_URL_MAX         (3 * MESH_KUBE_CONTINUE_MAX + 1024)

#define MESH_KUBE_BACKOFF_MIN_MS  200
#define MESH_KUBE_BACKOFF_MAX_MS  4000
#define MESH_KUBE_ABSENT_MS       3000     /* a missing resource: look again */
#define MESH_KUBE_ABSENT_GONE_MS  10000    /* then its objects are gone, too */
#define MESH_KUBE_RETRY_MAX_MS    60000    /* of Retry-After */
#define MESH_KUBE_SHORT_MS        1000     /* a watch that ends before is odd */
#define MESH_KUBE_SILENT_MS       150000   /* bookmarks come once a minute */


typedef struct {
    const char         *path;              /* "/api/v1/pods" */
    int                 optional;          /* 404 is normal: a CRD */
    unsigned            limit;             /* objects of a page */
    unsigned            watch_s;           /* a watch ends by itself after
                                              one to two times that */
} mesh_kube_reflector_conf_t;


typedef enum {
    MESH_KUBE_WAIT = 0,                    /* until at_ms, or for an answer */
    MESH_KUBE_LIST,
    MESH_KUBE_WATCH
} mesh_kube_do_e;


/* how a watch ended, or a list that did not do its work */

typedef struct {
    int                 status;            /* HTTP, also if the answer was cut
                                              later; 0: there was none */
    int                 code;              /* of an ERROR event; 0: none */
    unsigned            retry_after_ms;    /* 0: not said */
    unsigned            fresh:1;           /* the credentials are others now */
} mesh_kube_outcome_t;


typedef struct {
    uint64_t            lists;             /* complete ones */
    uint64_t            relists;           /* begun because of a 410 */
    uint64_t            watches;
    uint64_t            events;
    uint64_t            bookmarks;
    uint64_t            failures;
} mesh_kube_counts_t;


typedef struct {
    mesh_kube_reflector_conf_t  conf;

    mesh_kube_do_e      task;              /* LIST or WATCH is next, or on */
    unsigned            busy:1;            /* a request is under way */
    unsigned            synced:1;          /* listed, or known to be absent */
    unsigned            absent:1;
    unsigned            whole:1;           /* list without pages */
    unsigned            moved:1;           /* the version, in this watch */
    unsigned            told:1;            /* anything came in this watch */
    uint64_t            at_ms;             /* the task waits until then */
    uint64_t            began_ms;          /* the watch */
    uint64_t            absent_ms;         /* since then */

    unsigned            fails;             /* watches in a row, no progress */
    unsigned            watch_s;           /* of this watch, with the dice */
    mesh_backoff_t      backoff;

    char                version[MESH_KUBE_VERSION_MAX];
    char                list_version[MESH_KUBE_VERSION_MAX];
    char               *token;             /* continue; NULL: first page */

    mesh_kube_counts_t  counts;
} mesh_kube_reflector_t;


/* strings of conf must outlive it */
void mesh_kube_reflector_init(mesh_kube_reflector_t *r,
    const mesh_kube_reflector_conf_t *conf);
void mesh_kube_reflector_done(mesh_kube_reflector_t *r);

/* what is to be done now; LIST and WATCH: it counts as begun */
mesh_kube_do_e mesh_kube_reflector_next(mesh_kube_reflector_t *r,
    uint64_t now_ms, uint32_t random);

/* the path and query of what next() said; url has MESH_KUBE_URL_MAX bytes */
void mesh_kube_reflector_url(const mesh_kube_reflector_t *r, char *url);

/*
 * A page has come.  MESH_AGAIN: it goes on; MESH_OK: that was all; MESH_ERROR:
 * metadata that no list has, which counts as a failure.
 */
int mesh_kube_reflector_page(mesh_kube_reflector_t *r, const char *version,
    const char *token, uint64_t now_ms, uint32_t random);

/*
 * MESH_DECLINED: there is no such resource, which is as good as an empty
 * list; MESH_DONE: and for so long that what is held is gone; else MESH_OK.
 */
int mesh_kube_reflector_list_failed(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint64_t now_ms, uint32_t random);

/* an event, a bookmark too, has been taken; its object's version */
void mesh_kube_reflector_event(mesh_kube_reflector_t *r, const char *version,
    int bookmark);

/* in order or cut (status 200), refused, or by an ERROR event (code) */
void mesh_kube_reflector_watch_ended(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint64_t now_ms, uint32_t random);


#endif /* _MESH_KUBE_REFLECTOR_H_INCLUDED_ */
