
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_PUBLISH_CORE_H_INCLUDED_
#define _MESH_PUBLISH_CORE_H_INCLUDED_

/*
 * Between mesh_publish.c, which decides who writes (epochs, the fence), and
 * mesh_publish_docs.c, which keeps what is written (the queue, the audit);
 * nobody else includes it.
 */

#include <sys/queue.h>

#include <mesh_log.h>
#include <mesh_map.h>
#include <mesh_mem.h>
#include <mesh_publish.h>
#include <mesh_redis.h>
#include <mesh_scripts.h>

#include <mesh_doc.h>


#define MESH_PUBLISH_EPOCH_MAX    ((UINT64_C(1) << 24) - 1)


typedef struct mesh_publish_doc_s  mesh_publish_doc_t;

TAILQ_HEAD(mesh_publish_queue_s, mesh_publish_doc_s);


/* a document, or a tombstone that has not expired */

struct mesh_publish_doc_s {
    char                        *key;
    char                        *body;       /* NULL: a tombstone */
    uint64_t                     generation;
    time_t                       expires;    /* of a tombstone, monotonic */
    char                         digest[MESH_SCRIPTS_DIGEST + 1];
    TAILQ_ENTRY(mesh_publish_doc_s)  in_queue;
    unsigned                     queued:1;
    unsigned                     written:1;  /* Redis has said so */
};


typedef enum {
    MESH_PUBLISH_IDLE = 0,       /* something is missing: see _may_begin */
    MESH_PUBLISH_READING,        /* who holds the mesh? */
    MESH_PUBLISH_CLAIMING,
    MESH_PUBLISH_LIVE
} mesh_publish_state_e;


struct mesh_publish_s {
    mesh_redis_t                *redis;
    struct event                *timer;      /* once a second */

    char                        *identity;
    char                        *epoch_file;
    unsigned                     tombstone_s;
    void                       (*superseded)(void *data, uint64_t epoch);
    void                        *data;

    char                        *leaf_key;   /* PEM */
    char                        *leaf_chain;
    char                        *trust;

    mesh_publish_state_e         state;
    unsigned                     session;    /* older replies are void */
    unsigned                     started:1;
    unsigned                     over:1;     /* superseded */
    unsigned                     claimed:1;  /* epoch is ours by claim */
    unsigned                     leftovers:1;  /* of older epochs are known */
    unsigned                     sync_sent:1;
    unsigned                     synced:1;

    uint64_t                     used;       /* highest epoch ever used */
    uint64_t                     epoch_min;  /* by the Lease */
    uint64_t                     epoch_set;  /* by an option; 0: the clock */
    uint64_t                     epoch;      /* ours, 0: none yet */
    uint64_t                     counter;
    char                         epoch_text[24];
    mesh_sign_t                 *sign;
    char                        *signer_value;
    char                        *synced_value;
    uint64_t                     began_ms;   /* the fill, monotonic */

    size_t                       queued;     /* in queue */
    uint64_t                     writes;
    uint64_t                     refusals;
    uint64_t                     since_ms;   /* of what is not confirmed */
    uint64_t                     lag_ms;
    uint64_t                     lags[MESH_PUBLISH_LAGS];

    mesh_map_t                   docs;       /* key -> doc */
    struct mesh_publish_queue_s  queue;
    size_t                       inflight;
    size_t                       cursor;     /* of the audit, in docs */
    char                         scan[24];   /* cursor of SCAN */
};


/* mesh_publish.c */

/* the session is broken or was refused: look again who holds the mesh */
void mesh_publish_again(mesh_publish_t *p, const char *reason);

uint64_t mesh_publish_now_ms(void);

/* a command whose reply is void once the session has changed */
typedef void (*mesh_publish_reply_pt)(mesh_publish_t *p, char *text,
    const redisReply *reply);

/*
 * Sends; text (may be NULL) goes with the reply and is freed after it.
 * reply is called with a good reply of the current session only: errors end
 * the session.
 */
void mesh_publish_send_take(mesh_publish_t *p, mesh_publish_reply_pt reply,
    char *text, int argc, const char **argv, const size_t *lens);


/* mesh_publish_docs.c */

/* queues all documents, those first that others lead to */
void mesh_publish_fill(mesh_publish_t *p);

/* queues what Redis has not confirmed, after a reconnect */
void mesh_publish_refill(mesh_publish_t *p);

/* sends what is queued, as far as the window is open */
void mesh_publish_pump(mesh_publish_t *p);

/* once a second: compares a part of Redis with what was written */
void mesh_publish_audit(mesh_publish_t *p);

/* asks which documents of older epochs there are */
void mesh_publish_ask_leftovers(mesh_publish_t *p);

void mesh_publish_docs_free(mesh_publish_t *p);


#endif /* _MESH_PUBLISH_CORE_H_INCLUDED_ */
