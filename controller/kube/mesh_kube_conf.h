
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_CONF_H_INCLUDED_
#define _MESH_KUBE_CONF_H_INCLUDED_

/*
 * Which API server, and who we are to it: from a kubeconfig, or from what
 * Kubernetes puts into a pod.  Files are read again when they change; what is
 * wrong is said with the file and the path in it.
 */

#include <mesh_core.h>
#include <mesh_kube_text.h>


#define MESH_KUBE_POD_DIR                                                     \
    "/var/run/secrets/kubernetes.io/serviceaccount"


typedef struct {
    char                *source;          /* kubeconfig; NULL: in a cluster */
    char                *want;            /* context asked for, or NULL */
    mesh_kube_stamp_t    stamp;           /* of source */

    char                *context;         /* in use; NULL: in a cluster */
    char                *server;          /* "https://10.96.0.1:443" */
    char                *server_name;     /* of its certificate, or NULL */
    char                *proxy;           /* or NULL: none */
    char                *namespace_;      /* "default" if not given */
    int                  insecure;        /* its certificate is not looked at */

    mesh_kube_text_t     ca;              /* PEM; none: the system's */
    mesh_kube_text_t     cert;            /* PEM */
    mesh_kube_text_t     key;             /* PEM */
    mesh_kube_text_t     token;           /* without white space */
} mesh_kube_conf_t;


/* context NULL: its current-context */
int mesh_kube_conf_read(mesh_kube_conf_t *conf, const char *path,
    const char *context, mesh_err_t *err);

/* dir has token, ca.crt, namespace; host and port: as in the environment */
int mesh_kube_conf_in_cluster(mesh_kube_conf_t *conf, const char *dir,
    const char *host, const char *port, mesh_err_t *err);

/*
 * Reads what has changed.  MESH_OK: something did; MESH_DECLINED: nothing
 * did; MESH_ERROR: what is there cannot be used, what was before stays.
 */
int mesh_kube_conf_refresh(mesh_kube_conf_t *conf, mesh_err_t *err);

/* secrets are wiped */
void mesh_kube_conf_done(mesh_kube_conf_t *conf);


#endif /* _MESH_KUBE_CONF_H_INCLUDED_ */
