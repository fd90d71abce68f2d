
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_CLIENT_H_INCLUDED_
#define _MESH_KUBE_CLIENT_H_INCLUDED_

/*
 * The one place where requests to the API server are made: libcurl's multi
 * interface on the libevent loop.  HTTP/2 where the server has it, so that
 * all watches share a connection; gzip; credentials read again when their
 * files change; a limit on everything.
 */

#include <mesh_core.h>
#include <mesh_kube_conf.h>

#include <event2/event.h>


#define MESH_KUBE_CALLS_MAX       64         /* at a time */
#define MESH_KUBE_CONNECT_MS      5000
#define MESH_KUBE_HEAD_MS         30000      /* until the answer begins */
#define MESH_KUBE_RETRY_AFTER_MAX_MS  3600000


typedef struct mesh_kube_client_s  mesh_kube_client_t;
typedef struct mesh_kube_call_s    mesh_kube_call_t;


/* how a call has ended */

typedef struct {
    int           status;        /* HTTP, 0: there was no answer */
    int           whole;         /* it was not cut */
    unsigned      retry_after_ms;
    unsigned      fresh;         /* 401, and the credentials are others now */
    const char   *why;           /* a sentence, if not whole */
} mesh_kube_ended_t;


typedef struct {
    /* bytes of the body of an answer of that status; MESH_ERROR: no more */
    int         (*body)(void *data, int status, const char *text,
                        size_t len);

    /* once; the call is gone; new ones may be started */
    void        (*done)(void *data, const mesh_kube_ended_t *ended);
} mesh_kube_call_handler_t;


typedef struct {
    const char   *method;        /* "GET", "PUT", "POST", "PATCH" .. */
    const char   *path;          /* "/api/v1/pods?limit=500" */
    const char   *body;          /* NULL: none; copied */
    const char   *type;          /* of body; NULL: application/json */
    unsigned      total_ms;      /* for all of it; 0: no limit */
} mesh_kube_call_conf_t;


typedef struct {
    uint64_t      calls;
    uint64_t      failed;        /* without an answer, or cut */
    uint64_t      bytes;         /* of bodies, decoded */
    uint64_t      refreshed;     /* credentials */
} mesh_kube_client_counts_t;


/* takes conf, also if it fails (NULL) */
mesh_kube_client_t *mesh_kube_client_new(struct event_base *base,
    mesh_kube_conf_t *conf, const char *agent, mesh_err_t *err);

/* calls under way end without their done */
void mesh_kube_client_free(mesh_kube_client_t *client);

const mesh_kube_conf_t *mesh_kube_client_conf(
    const mesh_kube_client_t *client);
const mesh_kube_client_counts_t *mesh_kube_client_counts(
    const mesh_kube_client_t *client);

/* handler is called from the loop only; NULL: *err, no memory or too many */
mesh_kube_call_t *mesh_kube_call_start(mesh_kube_client_t *client,
    const mesh_kube_call_conf_t *conf,
    const mesh_kube_call_handler_t *handler, void *data, mesh_err_t *err);

/* done is not called; not from within body */
void mesh_kube_call_cancel(mesh_kube_call_t *call);


#endif /* _MESH_KUBE_CLIENT_H_INCLUDED_ */
