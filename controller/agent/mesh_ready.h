
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_READY_H_INCLUDED_
#define _MESH_READY_H_INCLUDED_

/*
 * /ready on run_dir/admin.sock, which nginx serves on port 4191: 200 when
 * every condition is met, else 503 and a line for each that is not.  One of
 * them is the probe of the own redirect: what comes back from the probe
 * addresses says that nft and both listeners work.
 */

#include <mesh_core.h>

#include <event2/event.h>

#include <mesh_agent_conf.h>


#define MESH_READY_CONDITIONS  8

#define MESH_READY_OFTEN_MS    500         /* while a probe fails */
#define MESH_READY_SELDOM_MS   5000
#define MESH_READY_PROBE_MS    2000        /* for an answer */
#define MESH_READY_STALE_MS    15000       /* a success counts for so long */


/* MESH_OK: met; else *err says what is missing */
typedef int (*mesh_ready_pt)(void *data, mesh_err_t *err);


typedef struct {
    const char     *name;
    mesh_ready_pt   check;
    void           *data;
} mesh_condition_t;                        /* a table ends with name NULL */


typedef struct mesh_ready_s  mesh_ready_t;


mesh_ready_t *mesh_ready_new(struct event_base *base,
    const mesh_agent_conf_t *conf, const mesh_condition_t *conditions,
    mesh_err_t *err);
void mesh_ready_free(mesh_ready_t *ready);

/* starts probing, or probes at once; ipv6: the pod has a v6 address */
void mesh_ready_probe(mesh_ready_t *ready, int ipv6);


#endif /* _MESH_READY_H_INCLUDED_ */
