
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_PUBLISH_H_INCLUDED_
#define _MESH_PUBLISH_H_INCLUDED_

/*
 * The writer of Redis: claims an epoch, writes all documents signed, then
 * each change as one script call, and looks that Redis still holds what was
 * written.  Redis may be wiped, restarted or tampered with at any moment.
 */

#include <mesh_core.h>

#include <event2/event.h>


#define MESH_PUBLISH_TOMBSTONE_S  3600     /* how long a deletion is told */


typedef struct mesh_publish_s  mesh_publish_t;


typedef struct {
    struct event_base  *base;
    const char         *redis;           /* as in mesh_redis_conf_t */
    const char         *user;
    const char         *password_file;
    const char         *identity;        /* SPIFFE ID of the one writer */
    const char         *state_dir;       /* the highest epoch used, on disk */
    unsigned            tombstone_s;     /* 0: MESH_PUBLISH_TOMBSTONE_S */
    uint64_t            epoch_min;       /* 0: what the clock says */

    /* a newer writer holds the mesh by right: nothing is written any more */
    void              (*superseded)(void *data, uint64_t epoch);
    void               *data;
} mesh_publish_conf_t;


/* conf and its strings are copied; NULL: *err */
mesh_publish_t *mesh_publish_new(const mesh_publish_conf_t *conf,
    mesh_err_t *err);
void mesh_publish_free(mesh_publish_t *publish);

/*
 * The leaf that vouches for the signer (PEM), and the bundle that a signer
 * found in Redis is checked with.  Given again at each renewal.
 */
void mesh_publish_leaf(mesh_publish_t *publish, const char *key,
    const char *chain, const char *trust);

/* a document; body NULL: it is gone */
void mesh_publish_put(mesh_publish_t *publish, const char *key,
    const char *body);

/* all documents have been put once: writing may begin */
void mesh_publish_start(mesh_publish_t *publish);

/*
 * Nothing is written any more, also of what is under way; documents are put
 * on, and a later start claims an epoch of its own.
 */
void mesh_publish_stop(mesh_publish_t *publish);

/*
 * The epoch that the clock says: one every two minutes, so that a writer
 * that finds no trace of those before it is still newer than they were.
 */
uint64_t mesh_publish_epoch_at(time_t now);

/* epochs from now on are at least that: the Lease's transitions */
void mesh_publish_epoch_min(mesh_publish_t *publish, uint64_t epoch);

/* what has been put just now is due to events since then, monotonic ms */
void mesh_publish_since(mesh_publish_t *publish, uint64_t ms);


/* upper bounds of the lag's buckets, ms; the last one has none */

#define MESH_PUBLISH_LAGS         9
#define MESH_PUBLISH_LAG_MS       { 10, 25, 50, 100, 250, 500, 1000, 10000 }


typedef struct {
    size_t              documents;       /* tombstones included */
    size_t              queued;          /* to be written */
    size_t              inflight;        /* written, not yet confirmed */
    uint64_t            writes;          /* confirmed */
    uint64_t            refusals;        /* sessions that ended */
    uint64_t            epoch;           /* in force and ours, or 0 */
    int                 synced;          /* all of it is written */
    uint64_t            lag_ms;          /* sum, event to confirmation */
    uint64_t            lags[MESH_PUBLISH_LAGS];
} mesh_publish_state_t;

void mesh_publish_state(const mesh_publish_t *publish,
    mesh_publish_state_t *state);


#endif /* _MESH_PUBLISH_H_INCLUDED_ */
