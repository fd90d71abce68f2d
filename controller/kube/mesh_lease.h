
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_LEASE_H_INCLUDED_
#define _MESH_LEASE_H_INCLUDED_

/*
 * Leadership by a Lease (coordination.k8s.io/v1), as client-go's
 * tools/leaderelection has it, as a pure state machine: clock and dice are
 * arguments, mesh_kube_leader asks and answers.
 *
 * Others' clocks are not looked at: a Lease is over when we have seen it
 * unchanged for its duration.  With the presets a follower takes over at most
 * poll + duration + one request = 11 s and a little after a death, and less
 * than 15 s if one request is lost (3 s) on the way.
 *
 * A leader is one only until deadline after the moment in which its last
 * good renewal was sent, so the old one has stopped before the new one can
 * start.  A process that is stopped meanwhile cannot know: what it writes
 * then must be refused by the epoch that it writes with.
 */

#include <mesh_core.h>


#define MESH_LEASE_DURATION_S    9
#define MESH_LEASE_DURATION_MAX_S  60      /* of others, believed */
#define MESH_LEASE_POLL_MS       2000      /* renewals, and looks of others */
#define MESH_LEASE_DEADLINE_MS   6500
#define MESH_LEASE_RETRY_MS      500       /* after a failure */
#define MESH_LEASE_HOLDER_MAX    256
#define MESH_LEASE_VERSION_MAX   128
#define MESH_LEASE_TIME_BYTES    28        /* "2026-01-01T00:00:00.000000Z" */


typedef enum {
    MESH_LEASE_WAIT = 0,
    MESH_LEASE_GET,
    MESH_LEASE_CREATE,
    MESH_LEASE_UPDATE
} mesh_lease_do_e;


/* what a Lease says; of its times only that they change */

typedef struct {
    char             holder[MESH_LEASE_HOLDER_MAX];     /* "": nobody */
    char             version[MESH_LEASE_VERSION_MAX];   /* of the object */
    char             acquired[MESH_LEASE_TIME_BYTES];
    char             renewed[MESH_LEASE_TIME_BYTES];
    unsigned         duration_s;
    int64_t          transitions;
} mesh_lease_record_t;


typedef struct {
    char             me[MESH_LEASE_HOLDER_MAX];  /* never two of that name */

    mesh_lease_record_t  seen;           /* as of the last answer */
    mesh_lease_record_t  sent;           /* of the request under way */
    uint64_t         seen_ms;            /* it has not changed since */

    mesh_lease_do_e  task;               /* next, or under way */
    unsigned         busy:1;
    unsigned         leader:1;
    unsigned         beaten:1;           /* the last write was refused */
    unsigned         releasing:1;
    unsigned         giving_up:1;        /* the request under way does */
    unsigned         released:1;         /* or not ours to release */
    uint64_t         at_ms;              /* of the task */
    uint64_t         began_ms;           /* the request */
    uint64_t         renewed_ms;         /* when the last good one was sent */
    uint64_t         wrote_us;           /* the last renewTime */
} mesh_lease_t;


void mesh_lease_init(mesh_lease_t *lease, const char *me);

/*
 * What is to be done now; lease->sent is what to CREATE or UPDATE, version
 * included.  wall_us: microseconds of the epoch.  A leader whose time is up
 * is none when this returns.
 */
mesh_lease_do_e mesh_lease_next(mesh_lease_t *lease, uint64_t now_ms,
    uint64_t wall_us, uint32_t random);

/* ms until next() or the end of leadership, whichever is first */
uint64_t mesh_lease_wait(const mesh_lease_t *lease, uint64_t now_ms);

/* the answer: HTTP status, 0: none; record with 200 and 201, else NULL */
void mesh_lease_answer(mesh_lease_t *lease, int status,
    const mesh_lease_record_t *record, uint64_t now_ms, uint32_t random);

/* gives it up, if it is ours: next() says UPDATE once, then released is 1 */
void mesh_lease_release(mesh_lease_t *lease);

/* MicroTime, always with six digits of a fraction */
void mesh_lease_time(uint64_t wall_us, char buf[MESH_LEASE_TIME_BYTES]);


#endif /* _MESH_LEASE_H_INCLUDED_ */
