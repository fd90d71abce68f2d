
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What all kinds have in common: who an object is, its labels and
 * annotations, its memory; and the words of protocols.  The kinds' own
 * readers are in mesh_object_kinds.c.
 */

#include <mesh_mem.h>
#include <mesh_object_kinds.h>


#define MESH_OBJECT_CHUNK_BYTES   1024


struct mesh_object_chunk_s {
    struct mesh_object_chunk_s  *next;
    size_t                       used;
    size_t                       size;
};


typedef struct {
    const char                  *kind;
    const char                  *api[2];     /* versions that are read */
    int                          namespaced;
    mesh_object_read_pt          read;       /* NULL: nothing but the meta */
} mesh_object_table_t;


typedef struct {
    const char                  *word;
    uint8_t                      protocol;
} mesh_object_word_t;


/* indexed by mesh_object_kind_e */

static const mesh_object_table_t  mesh_object_table[] = {
    { "Namespace", { "v1", "v1" }, 0, NULL },
    { "Node", { "v1", "v1" }, 0, mesh_object_read_node },
    { "Service", { "v1", "v1" }, 1, mesh_object_read_service },
    { "EndpointSlice", { "discovery.k8s.io/v1", "discovery.k8s.io/v1beta1" },
      1, mesh_object_read_slice },
    { "Pod", { "v1", "v1" }, 1, mesh_object_read_pod }
};


/* appProtocol; any other word is opaque: it is not HTTP */

static const mesh_object_word_t  mesh_object_app_protocols[] = {
    { "http", MESH_PROTO_HTTP1 },
    { "kubernetes.io/ws", MESH_PROTO_HTTP1 },
    { "kubernetes.io/h2c", MESH_PROTO_HTTP2 },
    { "http2", MESH_PROTO_HTTP2 },
    { "h2c", MESH_PROTO_HTTP2 },
    { "grpc", MESH_PROTO_HTTP2 },
    { "https", MESH_PROTO_TLS },
    { "tls", MESH_PROTO_TLS },
    { "kubernetes.io/wss", MESH_PROTO_TLS },
    { NULL, MESH_PROTO_OPAQUE }
};


/* the port name before "-"; any other word says nothing */

static const mesh_object_word_t  mesh_object_port_names[] = {
    { "http", MESH_PROTO_HTTP1 },
    { "http1", MESH_PROTO_HTTP1 },
    { "grpc", MESH_PROTO_HTTP2 },
    { "h2c", MESH_PROTO_HTTP2 },
    { "http2", MESH_PROTO_HTTP2 },
    { "https", MESH_PROTO_TLS },
    { "tls", MESH_PROTO_TLS },
    { "tcp", MESH_PROTO_OPAQUE },
    { "redis", MESH_PROTO_OPAQUE },
    { "mysql", MESH_PROTO_OPAQUE },
    { "postgres", MESH_PROTO_OPAQUE },
    { "mongo", MESH_PROTO_OPAQUE },
    { "smtp", MESH_PROTO_OPAQUE },
    { "kafka", MESH_PROTO_OPAQUE },
    { NULL, MESH_PROTO_DETECT }
};


static int mesh_object_kind(const mesh_json_t *root, const char *list,
    mesh_object_kind_e *kind, mesh_err_t *err);
static int mesh_object_api(const mesh_json_t *root, const char *kind,
    const mesh_object_table_t *table, mesh_err_t *err);
static int mesh_object_meta(const mesh_json_t *root, int namespaced,
    mesh_json_t *meta, const char **ns, const char **name, mesh_err_t *err);
static int mesh_object_annotations(mesh_object_t *object,
    const mesh_json_t *meta, mesh_err_t *err);
static const char *mesh_object_range(const char *p, mesh_port_range_t *range);
static uint8_t mesh_object_word(const mesh_object_word_t *words,
    const char *text, size_t len);


int
mesh_object_identify(json_t *json, const char *list,
    mesh_object_kind_e *kind, char *key, mesh_err_t *err)
{
    int           rc;
    const char   *ns, *name;
    mesh_json_t   root, meta;

    mesh_json_root(&root, json);

    rc = mesh_object_kind(&root, list, kind, err);
    if (rc != MESH_OK) {
        return rc;
    }

    if (mesh_object_meta(&root, mesh_object_table[*kind].namespaced, &meta,
                         &ns, &name, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    snprintf(key, MESH_OBJECT_KEY_MAX, "%s/%s/%s",
             mesh_object_table[*kind].kind, ns, name);

    return MESH_OK;
}


mesh_object_t *
mesh_object_new(json_t *json, const char *list, mesh_err_t *err)
{
    char                        key[MESH_OBJECT_KEY_MAX];
    const char                 *ns, *name;
    mesh_json_t                 root, meta;
    mesh_object_t              *object;
    mesh_object_kind_e          kind;
    const mesh_object_table_t  *table;

    if (mesh_object_identify(json, list, &kind, key, err) != MESH_OK) {
        return NULL;
    }

    table = &mesh_object_table[kind];

    object = mesh_mem_new(sizeof(mesh_object_t));
    object->refs = 1;
    object->kind = kind;

    mesh_json_root(&root, json);

    if (mesh_object_meta(&root, table->namespaced, &meta, &ns, &name, err)
        != MESH_OK)
    {
        goto failed;
    }

    object->namespace_ = mesh_object_str(object, ns);
    object->name = mesh_object_str(object, name);
    object->key = mesh_object_str(object, key);

    if (mesh_object_pairs(object, &meta, "labels", &object->labels, err)
        != MESH_OK
        || mesh_object_annotations(object, &meta, err) != MESH_OK
        || (table->read && table->read(object, &root, &meta, err) != MESH_OK))
    {
        goto failed;
    }

    return object;

failed:

    mesh_object_unref(object);

    return NULL;
}


static int
mesh_object_kind(const mesh_json_t *root, const char *list,
    mesh_object_kind_e *kind, mesh_err_t *err)
{
    int           i, rc;
    size_t        len;
    const char   *text;

    text = NULL;

    if (mesh_json_as_object(root, err) != MESH_OK) {
        return MESH_ERROR;
    }

    rc = mesh_json_string(root, "kind", &text, err);

    if (rc == MESH_ERROR) {
        return MESH_ERROR;
    }

    if (rc == MESH_OK) {
        len = strlen(text);

    } else {
        text = list ? list : "";
        len = strlen(text);
        len -= (len > 4) ? 4 : len;           /* "PodList" without "List" */

        if (len == 0) {
            return mesh_json_missing(root, "kind", err);
        }
    }

    for (i = 0; i < MESH_OBJECT_KINDS; i++) {
        if (strlen(mesh_object_table[i].kind) == len
            && memcmp(mesh_object_table[i].kind, text, len) == 0)
        {
            *kind = i;

            return mesh_object_api(root, rc == MESH_OK ? text : NULL,
                                   &mesh_object_table[i], err);
        }
    }

    return MESH_DECLINED;
}


/* other groups have kinds of the same name: they are not ours */

static int
mesh_object_api(const mesh_json_t *root, const char *kind,
    const mesh_object_table_t *table, mesh_err_t *err)
{
    const char  *api;

    if (kind == NULL) {
        return MESH_OK;                       /* the list's */
    }

    if (mesh_json_string(root, "apiVersion", &api, err) != MESH_OK) {
        return mesh_json_missing(root, "apiVersion", err);
    }

    if (strcmp(api, table->api[0]) == 0 || strcmp(api, table->api[1]) == 0) {
        return MESH_OK;
    }

    return MESH_DECLINED;
}


static int
mesh_object_meta(const mesh_json_t *root, int namespaced, mesh_json_t *meta,
    const char **ns, const char **name, mesh_err_t *err)
{
    if (mesh_json_object(root, "metadata", meta, err) != MESH_OK) {
        return mesh_json_missing(root, "metadata", err);
    }

    if (mesh_json_string(meta, "name", name, err) != MESH_OK) {
        return mesh_json_missing(meta, "name", err);
    }

    *ns = namespaced ? "default" : "";

    if (namespaced
        && mesh_json_string(meta, "namespace", ns, err) == MESH_ERROR)
    {
        return MESH_ERROR;
    }

    if (!mesh_object_is_name(*name)) {
        return mesh_err(err, "metadata.name is \"%.80s\", expected a name of "
                        "[a-z0-9.-]", *name);
    }

    if (namespaced && !mesh_object_is_name(*ns)) {
        return mesh_err(err, "metadata.namespace is \"%.80s\", expected a "
                        "name of [a-z0-9.-]", *ns);
    }

    return MESH_OK;
}


int
mesh_object_is_name(const char *text)
{
    size_t  len;

    len = strlen(text);

    return len > 0 && len <= 253
           && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}


int
mesh_object_pairs(mesh_object_t *object, const mesh_json_t *parent,
    const char *name, mesh_pairs_t *pairs, mesh_err_t *err)
{
    int           rc;
    json_t       *value;
    const char   *key, *text;
    mesh_json_t   map;

    rc = mesh_json_object(parent, name, &map, err);

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    pairs->pairs = mesh_object_alloc(object, json_object_size(map.value)
                                             * sizeof(mesh_pair_t));

    json_object_foreach(map.value, key, value) {
        if (mesh_json_string(&map, key, &text, err) != MESH_OK) {
            return mesh_json_missing(&map, key, err);
        }

        pairs->pairs[pairs->n].key = mesh_object_str(object, key);
        pairs->pairs[pairs->n].value = mesh_object_str(object, text);
        pairs->n++;
    }

    return MESH_OK;
}


/* the two that matter: opaque ports here, the status in the pod's reader */

static int
mesh_object_annotations(mesh_object_t *object, const mesh_json_t *meta,
    mesh_err_t *err)
{
    int           rc;
    size_t        n;
    const char   *text, *p;
    mesh_json_t   map;

    rc = mesh_json_object(meta, "annotations", &map, err);

    if (rc == MESH_OK) {
        rc = mesh_json_string(&map, MESH_ANNOTATION_OPAQUE, &text, err);
    }

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    for (n = 1, p = text; *p; p++) {
        n += (*p == ',');
    }

    object->opaque.given = 1;
    object->opaque.ranges =
        mesh_object_alloc(object, n * sizeof(mesh_port_range_t));

    p = text + strspn(text, " ");

    while (*p) {
        p = mesh_object_range(p,
                              &object->opaque.ranges[object->opaque.n++]);

        if (p == NULL) {
            return mesh_err(err, "metadata.annotations."
                            MESH_ANNOTATION_OPAQUE " is \"%.80s\", expected "
                            "ports as \"3306,4444-4450\"", text);
        }
    }

    return MESH_OK;
}


/* "N" or "N-M", then "," or the end; NULL: something else */

static const char *
mesh_object_range(const char *p, mesh_port_range_t *range)
{
    char           *end;
    unsigned long   first, last;

    if (*p < '0' || *p > '9') {
        return NULL;
    }

    first = strtoul(p, &end, 10);
    last = first;

    if (*end == '-') {
        p = end + 1;

        if (*p < '0' || *p > '9') {
            return NULL;
        }

        last = strtoul(p, &end, 10);
    }

    if (first < 1 || last > 65535 || first > last) {
        return NULL;
    }

    range->first = (uint16_t) first;
    range->last = (uint16_t) last;

    p = end + strspn(end, " ");

    if (*p == ',') {
        p++;
        p += strspn(p, " ");
        return p;
    }

    return *p == '\0' ? p : NULL;
}


mesh_object_t *
mesh_object_ref(mesh_object_t *object)
{
    object->refs++;

    return object;
}


void
mesh_object_unref(mesh_object_t *object)
{
    struct mesh_object_chunk_s  *chunk;

    if (object == NULL || --object->refs) {
        return;
    }

    while (object->chunks) {
        chunk = object->chunks;
        object->chunks = chunk->next;
        free(chunk);
    }

    free(object);
}


void *
mesh_object_alloc(mesh_object_t *object, size_t size)
{
    void                        *p;
    size_t                       room;
    struct mesh_object_chunk_s  *chunk;

    size = (size + 7) & ~(size_t) 7;
    chunk = object->chunks;

    if (chunk == NULL || chunk->size - chunk->used < size) {
        room = mesh_max(size, (size_t) MESH_OBJECT_CHUNK_BYTES);

        chunk = mesh_mem_new(sizeof(struct mesh_object_chunk_s) + room);
        chunk->size = room;
        chunk->next = object->chunks;
        object->chunks = chunk;
    }

    p = (char *) (chunk + 1) + chunk->used;
    chunk->used += size;

    return p;
}


const char *
mesh_object_str(mesh_object_t *object, const char *text)
{
    char    *p;
    size_t   len;

    len = strlen(text);

    if (len == 0) {
        return "";
    }

    p = mesh_object_alloc(object, len + 1);
    memcpy(p, text, len);

    return p;
}


const char *
mesh_object_kind_name(mesh_object_kind_e kind)
{
    return mesh_object_table[kind].kind;
}


const char *
mesh_pairs_get(const mesh_pairs_t *pairs, const char *key)
{
    size_t  i;

    for (i = 0; i < pairs->n; i++) {
        if (strcmp(pairs->pairs[i].key, key) == 0) {
            return pairs->pairs[i].value;
        }
    }

    return NULL;
}


int
mesh_pairs_match(const mesh_pairs_t *selector, const mesh_pairs_t *labels)
{
    size_t       i;
    const char  *value;

    for (i = 0; i < selector->n; i++) {
        value = mesh_pairs_get(labels, selector->pairs[i].key);

        if (value == NULL || strcmp(value, selector->pairs[i].value) != 0) {
            return 0;
        }
    }

    return 1;
}


int
mesh_opaque_has(const mesh_opaque_t *opaque, uint16_t port)
{
    size_t  i;

    for (i = 0; i < opaque->n; i++) {
        if (port >= opaque->ranges[i].first && port <= opaque->ranges[i].last)
        {
            return 1;
        }
    }

    return 0;
}


uint8_t
mesh_object_protocol(const char *app_protocol, const char *name)
{
    if (app_protocol[0]) {
        return mesh_object_word(mesh_object_app_protocols, app_protocol,
                                strlen(app_protocol));
    }

    return mesh_object_word(mesh_object_port_names, name,
                            strcspn(name, "-"));
}


static uint8_t
mesh_object_word(const mesh_object_word_t *words, const char *text,
    size_t len)
{
    while (words->word
           && (strlen(words->word) != len
               || strncasecmp(words->word, text, len) != 0))
    {
        words++;
    }

    return words->protocol;
}
