
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_INDEX_CORE_H_INCLUDED_
#define _MESH_INDEX_CORE_H_INCLUDED_

/*
 * Between mesh_index.c, which knows what depends on what, and
 * mesh_index_docs.c, which makes documents; nobody else includes it.
 *
 * Documents are claimed: usually by one item, but two services may be given
 * one address, and the address of a pod that is over is given to another.
 * The winner is a function of the claims, never of their order.
 */

#include <sys/queue.h>

#include <mesh_index.h>
#include <mesh_map.h>
#include <mesh_mem.h>


typedef struct mesh_index_item_s   mesh_index_item_t;
typedef struct mesh_index_claim_s  mesh_index_claim_t;
typedef struct mesh_index_doc_s    mesh_index_doc_t;
typedef struct mesh_index_ns_s     mesh_index_ns_t;


LIST_HEAD(mesh_index_items_s, mesh_index_item_s);
LIST_HEAD(mesh_index_claims_s, mesh_index_claim_s);


/* a pod or a service; object is NULL between delete and update */

struct mesh_index_item_s {
    mesh_object_t               *object;
    mesh_index_ns_t             *ns;
    char                        *key;
    struct mesh_index_claims_s   claims;
    LIST_ENTRY(mesh_index_item_s)  in_ns;
    int                          dirty;
};


struct mesh_index_claim_s {
    mesh_index_doc_t            *doc;
    mesh_index_item_t           *item;
    char                        *body;
    LIST_ENTRY(mesh_index_claim_s)  in_item;
    LIST_ENTRY(mesh_index_claim_s)  in_doc;
};


struct mesh_index_doc_s {
    char                        *key;
    char                        *body;     /* as emitted; NULL: not yet */
    struct mesh_index_claims_s   claims;
    int                          touched;
};


struct mesh_index_ns_s {
    mesh_object_t               *object;   /* NULL: no Namespace object */
    struct mesh_index_items_s    pods;
    struct mesh_index_items_s    services;
};


struct mesh_index_s {
    char                        *trust_domain;

    mesh_map_t                   items;    /* object key -> item */
    mesh_map_t                   namespaces;  /* name -> ns */
    mesh_map_t                   nodes;    /* name -> object */
    mesh_map_t                   slices;   /* object key -> object */
    mesh_map_t                   service_slices;  /* <ns>/<name> -> map of
                                                     slice key -> object */
    mesh_map_t                   ip_slices;  /* address -> the same */
    mesh_map_t                   docs;     /* document key -> doc */

    mesh_index_item_t          **dirty;
    size_t                       ndirty;
    size_t                       dirty_max;

    mesh_index_doc_t           **touched;
    size_t                       ntouched;
    size_t                       touched_max;

    size_t                       work;
};


/* mesh_index.c */

/* claims a document for the item; takes body */
void mesh_index_claim_take(mesh_index_t *index, mesh_index_item_t *item,
    const char *key, char *body);

/* the pod that an address belongs to, NULL if none */
const mesh_object_t *mesh_index_pod_of(const mesh_index_t *index,
    const char *ip);

/* the pod of <ns>/<name>, NULL if none */
const mesh_object_t *mesh_index_pod(const mesh_index_t *index,
    const char *name);


/* mesh_index_docs.c: claim all documents of the item */

void mesh_index_docs_pod(mesh_index_t *index, mesh_index_item_t *item);
void mesh_index_docs_service(mesh_index_t *index, mesh_index_item_t *item);


#endif /* _MESH_INDEX_CORE_H_INCLUDED_ */
