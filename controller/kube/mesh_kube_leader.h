
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_LEADER_H_INCLUDED_
#define _MESH_KUBE_LEADER_H_INCLUDED_

/* Leadership by a Lease of the API server: mesh_lease with a client. */

#include <mesh_core.h>
#include <mesh_kube_client.h>
#include <mesh_lease.h>


typedef struct mesh_kube_leader_s  mesh_kube_leader_t;


typedef struct {
    /* we lead; transitions of the Lease only grow from term to term */
    void         (*gained)(void *data, int64_t transitions);

    /* we do not any more: stop writing before this returns */
    void         (*lost)(void *data);

    /* after mesh_kube_leader_release(): given up, or it was not ours */
    void         (*released)(void *data);
} mesh_kube_leader_handler_t;


/* place: "<namespace>/<name>" of the Lease; me: who we are, unique */
mesh_kube_leader_t *mesh_kube_leader_new(struct event_base *base,
    mesh_kube_client_t *client, const char *place, const char *me,
    const mesh_kube_leader_handler_t *handler, void *data);
void mesh_kube_leader_free(mesh_kube_leader_t *leader);

int mesh_kube_leader_is(const mesh_kube_leader_t *leader);

/* the same after a look at the clock; lost may be called */
int mesh_kube_leader_look(mesh_kube_leader_t *leader);

/* gives it up, so that another one need not wait */
void mesh_kube_leader_release(mesh_kube_leader_t *leader);

/* this process, now: host name and random digits; MESH_LEASE_HOLDER_MAX */
void mesh_kube_leader_name(char *me);


#endif /* _MESH_KUBE_LEADER_H_INCLUDED_ */
