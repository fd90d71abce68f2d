
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What depends on what.  A pod or service that an object's change can reach
 * is marked; an update makes the documents of marked items anew, pods first
 * because services look up pods by address, and emits what differs.
 */

#include <mesh_index_core.h>


static mesh_index_ns_t *mesh_index_ns(mesh_index_t *index, const char *name);
static void mesh_index_put_namespace(mesh_index_t *index, const char *name,
    mesh_object_t *object);
static void mesh_index_put_node(mesh_index_t *index, const char *name,
    mesh_object_t *object);
static void mesh_index_put_item(mesh_index_t *index, mesh_object_kind_e kind,
    const char *key, mesh_object_t *object);
static mesh_index_item_t *mesh_index_item_new(mesh_index_t *index,
    const mesh_object_t *object);
static void mesh_index_put_slice(mesh_index_t *index, const char *key,
    mesh_object_t *object);
static void mesh_index_link_slice(mesh_index_t *index, mesh_object_t *slice,
    int link);
static void mesh_index_link(mesh_map_t *map, const char *key,
    mesh_object_t *slice, int link);
static void mesh_index_mark(mesh_index_t *index, mesh_index_item_t *item);
static void mesh_index_mark_pod(mesh_index_t *index, mesh_index_ns_t *ns,
    const mesh_object_t *pod);
static void mesh_index_mark_service_of(mesh_index_t *index,
    const mesh_object_t *slice);
static void mesh_index_make(mesh_index_t *index, mesh_object_kind_e kind);
static void mesh_index_unclaim(mesh_index_t *index, mesh_index_item_t *item);
static void mesh_index_touch(mesh_index_t *index, mesh_index_doc_t *doc);
static size_t mesh_index_emit(mesh_index_t *index, mesh_index_emit_pt emit,
    void *data);
static mesh_index_claim_t *mesh_index_winner(const mesh_index_doc_t *doc);
static int mesh_index_better(const mesh_index_claim_t *a,
    const mesh_index_claim_t *b);
static int mesh_index_by_order(const void *a, const void *b);
static int mesh_index_by_key(const void *a, const void *b);
static void mesh_index_item_free(mesh_index_item_t *item);
static void mesh_index_doc_free(mesh_index_doc_t *doc);


mesh_index_t *
mesh_index_new(const char *trust_domain)
{
    mesh_index_t  *index;

    index = mesh_mem_new(sizeof(mesh_index_t));
    index->trust_domain = mesh_mem_str(trust_domain);

    return index;
}


void
mesh_index_free(mesh_index_t *index)
{
    size_t              i;
    mesh_map_t         *set;
    mesh_object_t      *object;
    mesh_index_ns_t    *ns;
    mesh_index_doc_t   *doc;
    mesh_index_item_t  *item;

    for (i = 0; (item = mesh_map_next(&index->items, &i, NULL)) != NULL; ) {
        mesh_index_unclaim(index, item);
        mesh_index_item_free(item);
    }

    for (i = 0; (doc = mesh_map_next(&index->docs, &i, NULL)) != NULL; ) {
        mesh_index_doc_free(doc);
    }

    for (i = 0; (ns = mesh_map_next(&index->namespaces, &i, NULL)) != NULL; )
    {
        mesh_object_unref(ns->object);
        free(ns);
    }

    for (i = 0; (object = mesh_map_next(&index->nodes, &i, NULL)) != NULL; ) {
        mesh_object_unref(object);
    }

    for (i = 0; (object = mesh_map_next(&index->slices, &i, NULL)) != NULL; )
    {
        mesh_object_unref(object);
    }

    for (i = 0;
         (set = mesh_map_next(&index->service_slices, &i, NULL)) != NULL; )
    {
        mesh_map_free(set);
        free(set);
    }

    for (i = 0; (set = mesh_map_next(&index->ip_slices, &i, NULL)) != NULL; )
    {
        mesh_map_free(set);
        free(set);
    }

    mesh_map_free(&index->items);
    mesh_map_free(&index->namespaces);
    mesh_map_free(&index->nodes);
    mesh_map_free(&index->slices);
    mesh_map_free(&index->service_slices);
    mesh_map_free(&index->ip_slices);
    mesh_map_free(&index->docs);

    free(index->dirty);
    free(index->touched);
    free(index->trust_domain);
    free(index);
}


void
mesh_index_put(mesh_index_t *index, mesh_object_t *object)
{
    switch (object->kind) {

    case MESH_OBJECT_NAMESPACE:
        mesh_index_put_namespace(index, object->name, object);
        break;

    case MESH_OBJECT_NODE:
        mesh_index_put_node(index, object->name, object);
        break;

    case MESH_OBJECT_SLICE:
        mesh_index_put_slice(index, object->key, object);
        break;

    default:
        mesh_index_put_item(index, object->kind, object->key, object);
        break;
    }
}


void
mesh_index_delete(mesh_index_t *index, mesh_object_kind_e kind,
    const char *key)
{
    switch (kind) {

    case MESH_OBJECT_NAMESPACE:
        mesh_index_put_namespace(index, strrchr(key, '/') + 1, NULL);
        break;

    case MESH_OBJECT_NODE:
        mesh_index_put_node(index, strrchr(key, '/') + 1, NULL);
        break;

    case MESH_OBJECT_SLICE:
        mesh_index_put_slice(index, key, NULL);
        break;

    default:
        mesh_index_put_item(index, kind, key, NULL);
        break;
    }
}


/* made at first use, by whichever object comes first; never freed */

static mesh_index_ns_t *
mesh_index_ns(mesh_index_t *index, const char *name)
{
    mesh_index_ns_t  *ns;

    ns = mesh_map_get(&index->namespaces, name);

    if (ns == NULL) {
        ns = mesh_mem_new(sizeof(mesh_index_ns_t));
        LIST_INIT(&ns->pods);
        LIST_INIT(&ns->services);

        mesh_map_set(&index->namespaces, name, ns);
    }

    return ns;
}


/* its annotation is the default of all that is in it */

static void
mesh_index_put_namespace(mesh_index_t *index, const char *name,
    mesh_object_t *object)
{
    mesh_object_t      *old;
    mesh_index_ns_t    *ns;
    mesh_index_item_t  *item;

    ns = mesh_index_ns(index, name);

    old = ns->object;
    ns->object = object ? mesh_object_ref(object) : NULL;

    if ((old && old->opaque.given) || (object && object->opaque.given)) {

        LIST_FOREACH(item, &ns->pods, in_ns) {
            mesh_index_mark(index, item);
        }

        LIST_FOREACH(item, &ns->services, in_ns) {
            mesh_index_mark(index, item);
        }
    }

    mesh_object_unref(old);
}


/* only the zone matters; heartbeats of the kubelet touch nothing */

static void
mesh_index_put_node(mesh_index_t *index, const char *name,
    mesh_object_t *object)
{
    int                 same;
    size_t              i;
    mesh_object_t      *old;
    mesh_index_ns_t    *ns;
    mesh_index_item_t  *item;

    if (object) {
        old = mesh_map_set(&index->nodes, name, mesh_object_ref(object));

    } else {
        old = mesh_map_remove(&index->nodes, name);
    }

    same = strcmp(old ? old->u.node.zone : "",
                  object ? object->u.node.zone : "") == 0;

    mesh_object_unref(old);

    if (same) {
        return;
    }

    for (i = 0; (ns = mesh_map_next(&index->namespaces, &i, NULL)) != NULL; )
    {
        LIST_FOREACH(item, &ns->pods, in_ns) {
            if (item->object && strcmp(item->object->u.pod.node, name) == 0) {
                mesh_index_mark(index, item);
                mesh_index_mark_pod(index, ns, item->object);
            }
        }
    }
}


static void
mesh_index_put_item(mesh_index_t *index, mesh_object_kind_e kind,
    const char *key, mesh_object_t *object)
{
    mesh_index_item_t  *item;

    item = mesh_map_get(&index->items, key);

    if (item == NULL) {
        if (object == NULL) {
            return;
        }

        item = mesh_index_item_new(index, object);
    }

    mesh_index_mark(index, item);

    if (kind == MESH_OBJECT_POD) {
        if (item->object) {
            mesh_index_mark_pod(index, item->ns, item->object);
        }

        if (object) {
            mesh_index_mark_pod(index, item->ns, object);
        }
    }

    if (object) {
        mesh_object_ref(object);
    }

    mesh_object_unref(item->object);
    item->object = object;
}


static mesh_index_item_t *
mesh_index_item_new(mesh_index_t *index, const mesh_object_t *object)
{
    mesh_index_item_t  *item;

    item = mesh_mem_new(sizeof(mesh_index_item_t));

    item->key = mesh_mem_str(object->key);
    item->ns = mesh_index_ns(index, object->namespace_);
    LIST_INIT(&item->claims);

    if (object->kind == MESH_OBJECT_POD) {
        LIST_INSERT_HEAD(&item->ns->pods, item, in_ns);

    } else {
        LIST_INSERT_HEAD(&item->ns->services, item, in_ns);
    }

    mesh_map_set(&index->items, object->key, item);

    return item;
}


static void
mesh_index_put_slice(mesh_index_t *index, const char *key,
    mesh_object_t *object)
{
    mesh_object_t  *old;

    old = mesh_map_get(&index->slices, key);

    if (old) {
        mesh_index_mark_service_of(index, old);
        mesh_index_link_slice(index, old, 0);
        mesh_map_remove(&index->slices, key);
    }

    if (object) {
        mesh_map_set(&index->slices, key, mesh_object_ref(object));
        mesh_index_link_slice(index, object, 1);
        mesh_index_mark_service_of(index, object);
    }

    mesh_object_unref(old);
}


static void
mesh_index_link_slice(mesh_index_t *index, mesh_object_t *slice, int link)
{
    char           name[MESH_OBJECT_KEY_MAX];
    size_t         i, n;
    mesh_slice_t  *s;

    s = &slice->u.slice;

    snprintf(name, sizeof(name), "%s/%s", slice->namespace_, s->service);
    mesh_index_link(&index->service_slices, name, slice, link);

    for (i = 0; i < s->nendpoints; i++) {
        for (n = 0; n < s->endpoints[i].naddresses; n++) {
            mesh_index_link(&index->ip_slices, s->endpoints[i].addresses[n],
                            slice, link);
        }
    }
}


static void
mesh_index_link(mesh_map_t *map, const char *key, mesh_object_t *slice,
    int link)
{
    mesh_map_t  *set;

    set = mesh_map_get(map, key);

    if (link) {
        if (set == NULL) {
            set = mesh_mem_new(sizeof(mesh_map_t));
            mesh_map_set(map, key, set);
        }

        mesh_map_set(set, slice->key, slice);
        return;
    }

    if (set == NULL) {
        return;                     /* the same address stood there twice */
    }

    mesh_map_remove(set, slice->key);

    if (set->n == 0) {
        mesh_map_remove(map, key);
        mesh_map_free(set);
        free(set);
    }
}


static void
mesh_index_mark(mesh_index_t *index, mesh_index_item_t *item)
{
    if (item->dirty) {
        return;
    }

    item->dirty = 1;

    if (index->ndirty == index->dirty_max) {
        index->dirty_max = index->dirty_max ? index->dirty_max * 2 : 64;
        index->dirty = mesh_mem_grow(index->dirty, index->dirty_max,
                                     sizeof(mesh_index_item_t *));
    }

    index->dirty[index->ndirty++] = item;
}


/* services that a pod is, or was, an endpoint of */

static void
mesh_index_mark_pod(mesh_index_t *index, mesh_index_ns_t *ns,
    const mesh_object_t *pod)
{
    size_t                n, i;
    mesh_map_t           *set;
    mesh_object_t        *slice;
    mesh_index_item_t    *item;
    const mesh_pairs_t   *selector;

    LIST_FOREACH(item, &ns->services, in_ns) {
        if (item->dirty || item->object == NULL) {
            continue;
        }

        selector = &item->object->u.service.selector;

        if (selector->n && mesh_pairs_match(selector, &pod->labels)) {
            mesh_index_mark(index, item);
        }
    }

    for (n = 0; n < pod->u.pod.naddresses; n++) {
        set = mesh_map_get(&index->ip_slices, pod->u.pod.addresses[n]);

        for (i = 0;
             set && (slice = mesh_map_next(set, &i, NULL)) != NULL; )
        {
            mesh_index_mark_service_of(index, slice);
        }
    }
}


static void
mesh_index_mark_service_of(mesh_index_t *index, const mesh_object_t *slice)
{
    char                key[MESH_OBJECT_KEY_MAX];
    mesh_index_item_t  *item;

    snprintf(key, sizeof(key), "%s/%s/%s",
             mesh_object_kind_name(MESH_OBJECT_SERVICE), slice->namespace_,
             slice->u.slice.service);

    item = mesh_map_get(&index->items, key);

    if (item) {
        mesh_index_mark(index, item);
    }
}


size_t
mesh_index_update(mesh_index_t *index, mesh_index_emit_pt emit, void *data)
{
    size_t  n;

    mesh_index_make(index, MESH_OBJECT_POD);
    mesh_index_make(index, MESH_OBJECT_SERVICE);

    index->work += index->ndirty;

    for (n = 0; n < index->ndirty; n++) {
        index->dirty[n]->dirty = 0;

        if (index->dirty[n]->object == NULL) {
            mesh_map_remove(&index->items, index->dirty[n]->key);
            mesh_index_item_free(index->dirty[n]);
        }
    }

    index->ndirty = 0;

    return mesh_index_emit(index, emit, data);
}


/* the marked items of one kind */

static void
mesh_index_make(mesh_index_t *index, mesh_object_kind_e kind)
{
    size_t              n;
    mesh_index_item_t  *item;

    for (n = 0; n < index->ndirty; n++) {
        item = index->dirty[n];

        if (item->object == NULL) {
            mesh_index_unclaim(index, item);
            continue;
        }

        if (item->object->kind != kind) {
            continue;
        }

        mesh_index_unclaim(index, item);

        if (kind == MESH_OBJECT_POD) {
            mesh_index_docs_pod(index, item);

        } else {
            mesh_index_docs_service(index, item);
        }
    }
}


void
mesh_index_claim_take(mesh_index_t *index, mesh_index_item_t *item,
    const char *key, char *body)
{
    mesh_index_doc_t    *doc;
    mesh_index_claim_t  *claim;

    doc = mesh_map_get(&index->docs, key);

    if (doc == NULL) {
        doc = mesh_mem_new(sizeof(mesh_index_doc_t));
        doc->key = mesh_mem_str(key);
        LIST_INIT(&doc->claims);

        mesh_map_set(&index->docs, key, doc);
    }

    claim = mesh_mem_new(sizeof(mesh_index_claim_t));
    claim->doc = doc;
    claim->item = item;
    claim->body = body;

    LIST_INSERT_HEAD(&item->claims, claim, in_item);
    LIST_INSERT_HEAD(&doc->claims, claim, in_doc);

    mesh_index_touch(index, doc);
}


static void
mesh_index_unclaim(mesh_index_t *index, mesh_index_item_t *item)
{
    mesh_index_claim_t  *claim;

    while (!LIST_EMPTY(&item->claims)) {
        claim = LIST_FIRST(&item->claims);

        LIST_REMOVE(claim, in_item);
        LIST_REMOVE(claim, in_doc);

        mesh_index_touch(index, claim->doc);

        free(claim->body);
        free(claim);
    }
}


static void
mesh_index_touch(mesh_index_t *index, mesh_index_doc_t *doc)
{
    if (doc->touched) {
        return;
    }

    doc->touched = 1;

    if (index->ntouched == index->touched_max) {
        index->touched_max = index->touched_max ? index->touched_max * 2 : 64;
        index->touched = mesh_mem_grow(index->touched, index->touched_max,
                                       sizeof(mesh_index_doc_t *));
    }

    index->touched[index->ntouched++] = doc;
}


const mesh_object_t *
mesh_index_pod_of(const mesh_index_t *index, const char *ip)
{
    char                 key[MESH_DOC_KEY_MAX];
    mesh_index_doc_t    *doc;
    mesh_index_claim_t  *claim;

    doc = mesh_map_get(&index->docs, mesh_doc_key_ip(key, sizeof(key), ip));
    claim = doc ? mesh_index_winner(doc) : NULL;

    return claim ? claim->item->object : NULL;
}


const mesh_object_t *
mesh_index_pod(const mesh_index_t *index, const char *name)
{
    char                key[MESH_OBJECT_KEY_MAX];
    mesh_index_item_t  *item;

    snprintf(key, sizeof(key), "%s/%s",
             mesh_object_kind_name(MESH_OBJECT_POD), name);

    item = mesh_map_get(&index->items, key);

    return item ? item->object : NULL;
}


static size_t
mesh_index_emit(mesh_index_t *index, mesh_index_emit_pt emit, void *data)
{
    size_t               n, changed, gone;
    mesh_index_doc_t    *doc;
    mesh_index_claim_t  *claim;

    changed = 0;
    gone = 0;

    if (index->ntouched) {
        qsort(index->touched, index->ntouched, sizeof(mesh_index_doc_t *),
              mesh_index_by_order);
    }

    for (n = 0; n < index->ntouched; n++) {
        doc = index->touched[n];
        doc->touched = 0;

        claim = mesh_index_winner(doc);

        if (claim == NULL) {
            index->touched[gone++] = doc;
            continue;
        }

        if (doc->body && strcmp(doc->body, claim->body) == 0) {
            continue;
        }

        free(doc->body);
        doc->body = mesh_mem_str(claim->body);

        emit(data, doc->key, doc->body);
        changed++;
    }

    /* what leads to a document goes before the document */

    while (gone > 0) {
        doc = index->touched[--gone];

        if (doc->body) {
            emit(data, doc->key, NULL);
            changed++;
        }

        mesh_map_remove(&index->docs, doc->key);
        mesh_index_doc_free(doc);
    }

    index->ntouched = 0;

    return changed;
}


static mesh_index_claim_t *
mesh_index_winner(const mesh_index_doc_t *doc)
{
    mesh_index_claim_t  *claim, *best;

    best = NULL;

    LIST_FOREACH(claim, &doc->claims, in_doc) {
        if (best == NULL || mesh_index_better(claim, best)) {
            best = claim;
        }
    }

    return best;
}


/* of two pods the one that stays, then the younger; else by name */

static int
mesh_index_better(const mesh_index_claim_t *a, const mesh_index_claim_t *b)
{
    int                rc;
    const mesh_pod_t  *p, *q;

    if (a->item->object->kind == MESH_OBJECT_POD
        && b->item->object->kind == MESH_OBJECT_POD)
    {
        p = &a->item->object->u.pod;
        q = &b->item->object->u.pod;

        if (p->terminating != q->terminating) {
            return q->terminating;
        }

        rc = strcmp(p->created, q->created);
        if (rc) {
            return rc > 0;
        }
    }

    return strcmp(a->item->key, b->item->key) < 0;
}


/* by kind in the order of emission, then by key */

static int
mesh_index_by_order(const void *a, const void *b)
{
    static const int  order[] = {
        [MESH_DOC_WORKLOAD] = 1, [MESH_DOC_SERVICE] = 2, [MESH_DOC_IP] = 3,
        [MESH_DOC_VIP] = 4
    };

    int                            rc;
    const mesh_index_doc_t *const *p = a, *const *q = b;

    rc = order[mesh_doc_key_kind((*p)->key)]
         - order[mesh_doc_key_kind((*q)->key)];

    return rc ? rc : mesh_index_by_key(a, b);
}


static int
mesh_index_by_key(const void *a, const void *b)
{
    const mesh_index_doc_t *const *p = a, *const *q = b;

    return strcmp((*p)->key, (*q)->key);
}


void
mesh_index_each(const mesh_index_t *index, mesh_index_emit_pt emit,
    void *data)
{
    size_t             i;
    mesh_index_doc_t  *doc;

    for (i = 0; (doc = mesh_map_next(&index->docs, &i, NULL)) != NULL; ) {
        if (doc->body) {
            emit(data, doc->key, doc->body);
        }
    }
}


size_t
mesh_index_count(const mesh_index_t *index)
{
    return index->docs.n;
}


size_t
mesh_index_work(const mesh_index_t *index)
{
    return index->work;
}


static void
mesh_index_item_free(mesh_index_item_t *item)
{
    LIST_REMOVE(item, in_ns);
    mesh_object_unref(item->object);
    free(item->key);
    free(item);
}


static void
mesh_index_doc_free(mesh_index_doc_t *doc)
{
    free(doc->key);
    free(doc->body);
    free(doc);
}
