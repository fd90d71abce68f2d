
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SUBSCRIBE_H_INCLUDED_
#define _MESH_SUBSCRIBE_H_INCLUDED_

/*
 * Which documents this pod needs, and keeping them fresh: the own workload,
 * what workers asked for, what those documents lead to.  Subscribes first and
 * reads second, verifies each value, ignores what is older than what is held,
 * compares generations every 10 s, starts anew after each loss.
 *
 * Redis that is empty, unreachable or full of lies takes nothing away: only
 * a signed tombstone does.
 */

#include <mesh_core.h>

#include <event2/event.h>

#include <mesh_agent_conf.h>
#include <mesh_cert.h>
#include <mesh_docs.h>
#include <mesh_state_make.h>


#define MESH_SUBSCRIBE_CHECK_MS     10000
#define MESH_SUBSCRIBE_UNUSED_MS    (10 * 60 * 1000)
#define MESH_SUBSCRIBE_NOBODY_MS    60000
#define MESH_SUBSCRIBE_NOBODY_MAX   4096
#define MESH_SUBSCRIBE_BATCH        128    /* keys of one MGET, HMGET */
#define MESH_SUBSCRIBE_GATHER_MS    2      /* messages of one burst */


typedef struct mesh_subscribe_s  mesh_subscribe_t;

/* documents or negative answers changed; urgent: a connection waits */
typedef void (*mesh_subscribe_pt)(void *data, int urgent);


/* reads the documents on disk; mesh_subscribe_start() connects */
mesh_subscribe_t *mesh_subscribe_new(struct event_base *base,
    const mesh_agent_conf_t *conf, const mesh_cert_t *cert,
    mesh_subscribe_pt changed, void *data, mesh_err_t *err);
void mesh_subscribe_free(mesh_subscribe_t *subscribe);

/* connects, or connects anew: through the workers that are there now */
void mesh_subscribe_start(mesh_subscribe_t *subscribe, const char *why);

/* closes its connections for good; what is held stays */
void mesh_subscribe_stop(mesh_subscribe_t *subscribe);

/* 1: it was started once */
int mesh_subscribe_started(const mesh_subscribe_t *subscribe);

/* a worker holds connections to, or uses, "10.96.14.7:80" */
void mesh_subscribe_want(mesh_subscribe_t *subscribe, const char *address);
void mesh_subscribe_used(mesh_subscribe_t *subscribe, const char *address);

/* what is held, and whether a missing address counts as nobody's */
const mesh_docs_t *mesh_subscribe_docs(const mesh_subscribe_t *subscribe);
int mesh_subscribe_complete(const mesh_subscribe_t *subscribe);

/* the negative answers; *nobody is freed by the caller */
size_t mesh_subscribe_nobody(const mesh_subscribe_t *subscribe,
    mesh_nobody_t **nobody);


#endif /* _MESH_SUBSCRIBE_H_INCLUDED_ */
