
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_OBJECT_H_INCLUDED_
#define _MESH_OBJECT_H_INCLUDED_

/*
 * Kubernetes objects as structs: of each only what the mesh needs, checked.
 * An object is immutable; who keeps it holds a reference.  Strings are never
 * NULL, "" stands for "not given".
 */

#include <mesh_core.h>
#include <mesh_doc.h>

#include <jansson.h>


#define MESH_OBJECT_KEY_MAX       600      /* "EndpointSlice/<ns>/<name>" */


typedef enum {
    MESH_OBJECT_NAMESPACE = 0,
    MESH_OBJECT_NODE,
    MESH_OBJECT_SERVICE,
    MESH_OBJECT_SLICE,
    MESH_OBJECT_POD,
    MESH_OBJECT_KINDS
} mesh_object_kind_e;


typedef struct {
    const char               *key;
    const char               *value;
} mesh_pair_t;


typedef struct {
    mesh_pair_t              *pairs;
    size_t                    n;
} mesh_pairs_t;


/* an annotation ngx-mesh.io/opaque-ports: "3306,4444-4450" */

typedef struct {
    uint16_t                  first;
    uint16_t                  last;
} mesh_port_range_t;


typedef struct {
    mesh_port_range_t        *ranges;
    size_t                    n;
    int                       given;       /* the annotation is there */
} mesh_opaque_t;


typedef struct {
    const char               *zone;
} mesh_node_t;


typedef struct {
    const char               *name;
    const char               *app_protocol;
    const char               *target_name;   /* named targetPort, or "" */
    uint16_t                  target;        /* else the number */
    uint16_t                  port;
} mesh_service_port_t;


typedef struct {
    mesh_pairs_t              selector;      /* n == 0: none */
    const char              **addresses;     /* cluster IPs, canonical */
    size_t                    naddresses;
    mesh_service_port_t      *ports;         /* TCP only */
    size_t                    nports;
    int                       family;        /* first one: 4, 6, 0: any */
    int                       publish_not_ready;
    int                       external;      /* ExternalName: a DNS alias */
} mesh_service_t;


typedef struct {
    const char               *name;
    const char               *app_protocol;
    uint16_t                  port;
} mesh_slice_port_t;


typedef struct {
    const char              **addresses;     /* canonical */
    size_t                    naddresses;
    const char               *pod;           /* targetRef: <ns>/<name> or "" */
    const char               *node;
    const char               *zone;
    int                       ready;
} mesh_slice_endpoint_t;


typedef struct {
    const char               *service;       /* label, the name only */
    mesh_slice_port_t        *ports;         /* TCP only */
    size_t                    nports;
    mesh_slice_endpoint_t    *endpoints;
    size_t                    nendpoints;
    int                       family;        /* 4, 6; 0: FQDN, of no use */
} mesh_slice_t;


typedef struct {
    const char               *name;
    uint16_t                  port;
} mesh_container_port_t;


typedef struct {
    const char               *service_account;
    const char               *node;
    const char               *created;       /* RFC 3339, UTC */
    mesh_doc_owner_t          owner;
    const char              **addresses;     /* canonical */
    size_t                    naddresses;
    mesh_container_port_t    *ports;         /* TCP only */
    size_t                    nports;
    int                       serving;       /* Running and Ready */
    int                       terminating;
    int                       over;          /* Succeeded or Failed */
    int                       host_network;
    int                       meshed;
} mesh_pod_t;


typedef struct mesh_object_s {
    mesh_object_kind_e        kind;
    const char               *namespace_;    /* "" for Namespace, Node */
    const char               *name;
    const char               *key;           /* unique: "Pod/shop/web-1" */
    mesh_pairs_t              labels;
    mesh_opaque_t             opaque;
    union {
        mesh_node_t           node;
        mesh_service_t        service;
        mesh_slice_t          slice;
        mesh_pod_t            pod;
    } u;

    unsigned                  refs;          /* private to mesh_object.c */
    struct mesh_object_chunk_s  *chunks;
} mesh_object_t;


/*
 * kind and key of a manifest, as far as it can be told without looking into
 * the rest.  list: kind of the list that it stood in ("PodList", "List"), or
 * NULL; items of typed lists have no kind of their own.  MESH_DECLINED: a
 * kind that the mesh does not look at.  key has MESH_OBJECT_KEY_MAX bytes.
 */
int mesh_object_identify(json_t *json, const char *list,
    mesh_object_kind_e *kind, char *key, mesh_err_t *err);

/* the whole object; the caller has the reference; NULL: *err has the path */
mesh_object_t *mesh_object_new(json_t *json, const char *list,
    mesh_err_t *err);

mesh_object_t *mesh_object_ref(mesh_object_t *object);
void mesh_object_unref(mesh_object_t *object);

/* "Service" .. */
const char *mesh_object_kind_name(mesh_object_kind_e kind);

/* the value of a label or selector, NULL if it is not there */
const char *mesh_pairs_get(const mesh_pairs_t *pairs, const char *key);

/* 1: labels have every pair of the selector */
int mesh_pairs_match(const mesh_pairs_t *selector,
    const mesh_pairs_t *labels);

/* 1: the annotation names the port */
int mesh_opaque_has(const mesh_opaque_t *opaque, uint16_t port);

/* appProtocol, then the name's word before "-", else MESH_PROTO_DETECT */
uint8_t mesh_object_protocol(const char *app_protocol, const char *name);


#endif /* _MESH_OBJECT_H_INCLUDED_ */
