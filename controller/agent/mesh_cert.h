
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_CERT_H_INCLUDED_
#define _MESH_CERT_H_INCLUDED_

/*
 * The identity of a sidecar: a pair and its trust bundle below
 * run_dir/identity/<epoch>/, "current" being a symbolic link that is renamed
 * in place, so nginx sees the three files change as one.  Renewed at 70 % of
 * life with a new key.  A pair on disk that is still good is used at start
 * without the network.
 */

#include <mesh_core.h>

#include <event2/event.h>

#include <mesh_agent_conf.h>


#define MESH_CERT_RENEW_PCT    70
#define MESH_CERT_JITTER_PCT   10
#define MESH_CERT_SKEW_S       20          /* not_before lies in the past */
#define MESH_CERT_KEEP         2           /* epochs that stay on disk */


typedef struct mesh_cert_s  mesh_cert_t;

/* there is a pair, or another one */
typedef void (*mesh_cert_pt)(void *data);


/* looks on disk, asks the network from the loop; NULL: *err */
mesh_cert_t *mesh_cert_new(struct event_base *base,
    const mesh_agent_conf_t *conf, mesh_cert_pt changed, void *data,
    mesh_err_t *err);
void mesh_cert_free(mesh_cert_t *cert);

/* the bundle in hand, PEM; never NULL */
const char *mesh_cert_trust(const mesh_cert_t *cert);

/* number of the pair in use, 0: none yet */
uint64_t mesh_cert_epoch(const mesh_cert_t *cert);

/* is there a pair that is good at the time now? */
int mesh_cert_good(const mesh_cert_t *cert, time_t now);

/* nginx refused the pair of this epoch: another one is asked for */
void mesh_cert_refused(mesh_cert_t *cert, uint64_t epoch);


/*
 * Milliseconds until a pair has to be renewed: 70 % of its life after it was
 * issued, which is MESH_CERT_SKEW_S after its not_before, 10 % of that more
 * or less by rnd; 0: now.
 */
uint64_t mesh_cert_renew_ms(time_t not_before, time_t not_after, time_t now,
    uint32_t rnd);


#endif /* _MESH_CERT_H_INCLUDED_ */
