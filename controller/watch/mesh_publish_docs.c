
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What is written.  Each document has its last body here; a queue of those
 * that Redis has to be told; and an audit, which walks through all of them
 * in some seconds and compares digests and generations with Redis's, so that
 * a forged or deleted value is put right without anybody asking for it.
 */

#include <mesh_publish_core.h>


#define MESH_PUBLISH_WINDOW       512      /* script calls under way */
#define MESH_PUBLISH_AUDIT_CALL   250      /* keys of one script call */
#define MESH_PUBLISH_AUDIT_MIN    250      /* keys a second */
#define MESH_PUBLISH_AUDIT_MAX    2500
#define MESH_PUBLISH_AUDIT_S      6        /* the whole walk, up to 15,000 */
#define MESH_PUBLISH_SCAN_COUNT   "1000"
#define MESH_PUBLISH_FIXED        3        /* argv of EVALSHA before KEYS */


static mesh_publish_doc_t *mesh_publish_doc(mesh_publish_t *p,
    const char *key);
static void mesh_publish_enqueue(mesh_publish_t *p, mesh_publish_doc_t *doc);
static int mesh_publish_by_order(const void *a, const void *b);
static int mesh_publish_write(mesh_publish_t *p, mesh_publish_doc_t *doc);
static int mesh_publish_call(mesh_publish_t *p, const char *key,
    uint64_t generation, const char *body, unsigned ttl_s, char *digest,
    char **copy, mesh_publish_reply_pt reply);
static void mesh_publish_on_write(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_lag(mesh_publish_t *p);
static void mesh_publish_sync(mesh_publish_t *p);
static void mesh_publish_on_sync(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_on_leftovers(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_bury(mesh_publish_t *p, const char **keys, size_t n);
static void mesh_publish_scan(mesh_publish_t *p);
static void mesh_publish_audit_call(mesh_publish_t *p, const char **keys,
    size_t n);
static void mesh_publish_on_audit(mesh_publish_t *p, char *text,
    const redisReply *reply);
static int mesh_publish_differs(mesh_publish_t *p, const char *key,
    const redisReply *found);
static void mesh_publish_forget(mesh_publish_t *p, const char **keys,
    size_t n);
static void mesh_publish_on_forget(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_on_scan(mesh_publish_t *p, char *text,
    const redisReply *reply);


void
mesh_publish_put(mesh_publish_t *p, const char *key, const char *body)
{
    mesh_publish_doc_t  *doc;

    doc = mesh_map_get(&p->docs, key);

    if (doc == NULL) {
        if (body == NULL) {
            return;
        }

        doc = mesh_publish_doc(p, key);

    } else if (doc->body && body && strcmp(doc->body, body) == 0) {
        return;
    }

    free(doc->body);
    doc->body = mesh_mem_str(body);

    mesh_publish_enqueue(p, doc);
    mesh_publish_pump(p);
}


static mesh_publish_doc_t *
mesh_publish_doc(mesh_publish_t *p, const char *key)
{
    mesh_publish_doc_t  *doc;

    doc = mesh_mem_new(sizeof(mesh_publish_doc_t));
    doc->key = mesh_mem_str(key);

    mesh_map_set(&p->docs, key, doc);

    return doc;
}


static void
mesh_publish_enqueue(mesh_publish_t *p, mesh_publish_doc_t *doc)
{
    doc->written = 0;

    if (!doc->queued && p->state == MESH_PUBLISH_LIVE) {
        doc->queued = 1;
        p->queued++;
        TAILQ_INSERT_TAIL(&p->queue, doc, in_queue);
    }
}


void
mesh_publish_fill(mesh_publish_t *p)
{
    size_t               i;
    mesh_publish_doc_t  *doc;

    for (i = 0; (doc = mesh_map_next(&p->docs, &i, NULL)) != NULL; ) {
        doc->written = 0;
    }

    mesh_publish_refill(p);
}


void
mesh_publish_refill(mesh_publish_t *p)
{
    size_t                i, n;
    mesh_publish_doc_t   *doc, **list;

    list = mesh_mem_new((p->docs.n + 1) * sizeof(mesh_publish_doc_t *));
    n = 0;

    for (i = 0; (doc = mesh_map_next(&p->docs, &i, NULL)) != NULL; ) {
        if (!doc->written) {
            list[n++] = doc;
        }
    }

    qsort(list, n, sizeof(mesh_publish_doc_t *), mesh_publish_by_order);

    for (i = 0; i < n; i++) {
        mesh_publish_enqueue(p, list[i]);
    }

    free(list);

    mesh_publish_pump(p);
}


/* workloads and services before the addresses that lead to them */

static int
mesh_publish_by_order(const void *a, const void *b)
{
    static const int  order[] = {
        [MESH_DOC_WORKLOAD] = 1, [MESH_DOC_SERVICE] = 2, [MESH_DOC_IP] = 3,
        [MESH_DOC_VIP] = 4, [MESH_DOC_SYNCED] = 5
    };

    int                              rc;
    const mesh_publish_doc_t *const *p = a, *const *q = b;

    rc = order[mesh_doc_key_kind((*p)->key)]
         - order[mesh_doc_key_kind((*q)->key)];

    return rc ? rc : strcmp((*p)->key, (*q)->key);
}


void
mesh_publish_pump(mesh_publish_t *p)
{
    mesh_publish_doc_t  *doc;

    if (p->state != MESH_PUBLISH_LIVE) {
        return;
    }

    while (p->inflight < MESH_PUBLISH_WINDOW && !TAILQ_EMPTY(&p->queue)) {
        doc = TAILQ_FIRST(&p->queue);

        TAILQ_REMOVE(&p->queue, doc, in_queue);
        doc->queued = 0;
        p->queued--;

        if (mesh_publish_write(p, doc) != MESH_OK) {
            return;
        }
    }

    /* last of all: from here on what is not there does not exist */

    if (p->leftovers && !p->sync_sent && !p->synced && p->inflight == 0) {
        mesh_publish_sync(p);
    }
}


static int
mesh_publish_write(mesh_publish_t *p, mesh_publish_doc_t *doc)
{
    unsigned  ttl;

    ttl = doc->body ? 0 : p->tombstone_s;

    doc->generation = mesh_doc_generation(p->epoch, ++p->counter);
    doc->expires = (time_t) (mesh_publish_now_ms() / 1000 + ttl);

    if (mesh_publish_call(p, doc->key, doc->generation,
                          doc->body ? doc->body : "null", ttl, doc->digest,
                          NULL, mesh_publish_on_write)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    p->inflight++;

    return MESH_OK;
}


/* seals and sends; the text of the reply is "<generation> <key>" */

static int
mesh_publish_call(mesh_publish_t *p, const char *key, uint64_t generation,
    const char *body, unsigned ttl_s, char *digest, char **copy,
    mesh_publish_reply_pt reply)
{
    char        *value, number[24], ttl[16], channel[MESH_DOC_KEY_MAX + 16];
    size_t       len, lens[11], i;
    const char  *argv[11];

    value = mesh_doc_seal(p->sign, key, generation, body, &len);

    if (value == NULL) {
        mesh_publish_again(p, "cannot sign");
        return MESH_ERROR;
    }

    if (digest) {
        mesh_scripts_sha1(value, len, digest);
    }

    snprintf(number, sizeof(number), "%llu", (unsigned long long) generation);
    snprintf(ttl, sizeof(ttl), "%u", ttl_s);
    snprintf(channel, sizeof(channel), MESH_REDIS_CHANNEL "%s", key);

    argv[0] = "EVALSHA";
    argv[1] = mesh_script_sha(MESH_SCRIPT_WRITE);
    argv[2] = "3";
    argv[3] = MESH_REDIS_EPOCH;
    argv[4] = MESH_REDIS_GENS;
    argv[5] = key;
    argv[6] = p->epoch_text;
    argv[7] = number;
    argv[8] = value;
    argv[9] = channel;
    argv[10] = ttl;

    for (i = 0; i < mesh_nelts(argv); i++) {
        lens[i] = (i == 8) ? len : strlen(argv[i]);
    }

    mesh_publish_send_take(p, reply, mesh_mem_printf("%s %s", number, key),
                           mesh_nelts(argv), argv, lens);

    if (copy) {
        free(*copy);
        *copy = value;

    } else {
        free(value);
    }

    return MESH_OK;
}


static void
mesh_publish_on_write(mesh_publish_t *p, char *text, const redisReply *reply)
{
    char                *key;
    uint64_t             generation;
    mesh_publish_doc_t  *doc;

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        mesh_publish_again(p, "a document was refused");
        return;
    }

    p->inflight--;
    p->writes++;

    generation = strtoull(text, &key, 10);
    doc = mesh_map_get(&p->docs, key + 1);

    if (doc && doc->generation == generation && !doc->queued) {
        doc->written = 1;
    }

    mesh_publish_pump(p);

    if (p->inflight == 0 && p->queued == 0) {
        mesh_publish_lag(p);
    }
}


/* all that was put is confirmed: how old was the oldest of its events? */

static void
mesh_publish_lag(mesh_publish_t *p)
{
    static const uint64_t  bounds[] = MESH_PUBLISH_LAG_MS;

    size_t    i;
    uint64_t  ms;

    if (p->since_ms == 0) {
        return;
    }

    ms = mesh_publish_now_ms() - p->since_ms;

    for (i = 0; i < mesh_nelts(bounds) && ms > bounds[i]; i++) {
        /* void */
    }

    p->lags[i]++;
    p->lag_ms += ms;
    p->since_ms = 0;
}


static void
mesh_publish_sync(mesh_publish_t *p)
{
    char  body[64];

    snprintf(body, sizeof(body), "{\"epoch\":\"%s\"}", p->epoch_text);

    p->sync_sent = 1;

    (void) mesh_publish_call(p, MESH_REDIS_SYNCED,
                             mesh_doc_generation(p->epoch, ++p->counter),
                             body, 0, NULL, &p->synced_value,
                             mesh_publish_on_sync);
}


static void
mesh_publish_on_sync(mesh_publish_t *p, char *text, const redisReply *reply)
{
    (void) text;

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        mesh_publish_again(p, "\"" MESH_REDIS_SYNCED "\" was refused");
        return;
    }

    p->synced = 1;

    mesh_log(MESH_LOG_NOTICE, 0, "epoch %s is complete: %zu documents in "
             "%llu ms", p->epoch_text, p->docs.n,
             (unsigned long long) (mesh_publish_now_ms() - p->began_ms));
}


void
mesh_publish_ask_leftovers(mesh_publish_t *p)
{
    static const char  *argv[] = { "HKEYS", MESH_REDIS_GENS };

    mesh_publish_send_take(p, mesh_publish_on_leftovers, NULL, 2, argv, NULL);
}


/* an agent may hold what an older epoch wrote: it is told that it is gone */

static void
mesh_publish_on_leftovers(mesh_publish_t *p, char *text,
    const redisReply *reply)
{
    size_t       i, n;
    const char  *key;

    (void) text;

    n = 0;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
    {
        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            continue;
        }

        key = reply->element[i]->str;

        if (strlen(key) >= MESH_DOC_KEY_MAX
            || mesh_doc_key_kind(key) == MESH_DOC_NONE
            || mesh_doc_key_kind(key) == MESH_DOC_SYNCED
            || mesh_map_get(&p->docs, key))
        {
            continue;
        }

        mesh_publish_enqueue(p, mesh_publish_doc(p, key));
        n++;
    }

    if (n) {
        mesh_log(MESH_LOG_NOTICE, 0, "%zu documents of older epochs are gone",
                 n);
    }

    p->leftovers = 1;

    mesh_publish_pump(p);
}


void
mesh_publish_audit(mesh_publish_t *p)
{
    time_t               now;
    size_t               n, left, gone;
    const char          *keys[MESH_PUBLISH_AUDIT_CALL];
    const char          *dead[MESH_PUBLISH_AUDIT_CALL];
    mesh_publish_doc_t  *doc;

    now = (time_t) (mesh_publish_now_ms() / 1000);

    left = p->docs.n / MESH_PUBLISH_AUDIT_S + 1;
    left = mesh_max(left, (size_t) MESH_PUBLISH_AUDIT_MIN);
    left = mesh_min(left, (size_t) MESH_PUBLISH_AUDIT_MAX);
    left = mesh_min(left, p->docs.n);

    n = 0;
    gone = 0;

    for ( /* void */ ; left > 0; left--) {
        doc = mesh_map_next(&p->docs, &p->cursor, NULL);

        if (doc == NULL) {
            p->cursor = 0;
            break;
        }

        if (!doc->written) {
            continue;
        }

        /* around its end a tombstone may be there or not: clocks differ */

        if (doc->body == NULL && doc->expires - 2 <= now) {
            if (doc->expires <= now && gone < mesh_nelts(dead)) {
                dead[gone++] = doc->key;
            }

            continue;
        }

        keys[n++] = doc->key;

        if (n == mesh_nelts(keys)) {
            mesh_publish_audit_call(p, keys, n);
            n = 0;
        }
    }

    if (n) {
        mesh_publish_audit_call(p, keys, n);
    }

    if (gone) {
        mesh_publish_bury(p, dead, gone);
    }

    mesh_publish_scan(p);
}


/* tombstones whose time is over, here and in mesh:gens */

static void
mesh_publish_bury(mesh_publish_t *p, const char **keys, size_t n)
{
    size_t               i;
    mesh_publish_doc_t  *doc;

    mesh_publish_forget(p, keys, n);

    for (i = 0; i < n; i++) {
        doc = mesh_map_remove(&p->docs, keys[i]);

        free(doc->key);
        free(doc);
    }
}


/* strangers: keys that look like ours */

static void
mesh_publish_scan(mesh_publish_t *p)
{
    const char  *argv[6];

    argv[0] = "SCAN";
    argv[1] = p->scan[0] ? p->scan : "0";
    argv[2] = "MATCH";
    argv[3] = "mesh:*";
    argv[4] = "COUNT";
    argv[5] = MESH_PUBLISH_SCAN_COUNT;

    mesh_publish_send_take(p, mesh_publish_on_scan, NULL, 6, argv, NULL);
}


static void
mesh_publish_audit_call(mesh_publish_t *p, const char **keys, size_t n)
{
    char         count[16], *names, *name;
    size_t       i, len;
    const char  *argv[MESH_PUBLISH_AUDIT_CALL + MESH_PUBLISH_FIXED + 1];

    snprintf(count, sizeof(count), "%zu", n + 1);

    argv[0] = "EVALSHA";
    argv[1] = mesh_script_sha(MESH_SCRIPT_AUDIT);
    argv[2] = count;
    argv[3] = MESH_REDIS_GENS;

    /* the keys go along as lines: documents may be freed meanwhile */

    for (i = 0, len = 1; i < n; i++) {
        argv[MESH_PUBLISH_FIXED + 1 + i] = keys[i];
        len += strlen(keys[i]) + 1;
    }

    names = mesh_mem_new(len);
    name = names;

    for (i = 0; i < n; i++) {
        len = strlen(keys[i]);
        memcpy(name, keys[i], len);
        name[len] = '\n';
        name += len + 1;
    }

    mesh_publish_send_take(p, mesh_publish_on_audit, names,
                           (int) (MESH_PUBLISH_FIXED + 1 + n), argv, NULL);
}


static void
mesh_publish_on_audit(mesh_publish_t *p, char *text, const redisReply *reply)
{
    char    *key, *end;
    size_t   i, n;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return;
    }

    key = text;
    n = 0;

    for (i = 0; i < reply->elements; i++, key = end + 1) {
        end = strchr(key, '\n');

        if (end == NULL) {
            break;
        }

        *end = '\0';

        if (mesh_publish_differs(p, key, reply->element[i])) {
            n++;
        }
    }

    if (n) {
        mesh_log(MESH_LOG_WARN, 0, "%zu documents in Redis were not ours, "
                 "writing them again", n);

        mesh_publish_pump(p);
    }
}


/*
 * Replies come in the order of the commands: a document that was written
 * after the audit was sent is not confirmed yet, and is skipped.
 */

static int
mesh_publish_differs(mesh_publish_t *p, const char *key,
    const redisReply *found)
{
    char                 want[MESH_SCRIPTS_DIGEST + 32];
    mesh_publish_doc_t  *doc;

    doc = mesh_map_get(&p->docs, key);

    if (doc == NULL || !doc->written) {
        return 0;
    }

    snprintf(want, sizeof(want), "%s:%llu", doc->digest,
             (unsigned long long) doc->generation);

    if (found->type == REDIS_REPLY_STRING && strcmp(found->str, want) == 0) {
        return 0;
    }

    mesh_publish_enqueue(p, doc);

    return 1;
}


static void
mesh_publish_forget(mesh_publish_t *p, const char **keys, size_t n)
{
    char         count[16];
    size_t       i;
    const char  *argv[MESH_PUBLISH_AUDIT_CALL + MESH_PUBLISH_FIXED + 3];

    snprintf(count, sizeof(count), "%zu", n + 2);

    argv[0] = "EVALSHA";
    argv[1] = mesh_script_sha(MESH_SCRIPT_FORGET);
    argv[2] = count;
    argv[3] = MESH_REDIS_EPOCH;
    argv[4] = MESH_REDIS_GENS;

    for (i = 0; i < n; i++) {
        argv[5 + i] = keys[i];
    }

    argv[5 + n] = p->epoch_text;

    mesh_publish_send_take(p, mesh_publish_on_forget, NULL, (int) (6 + n),
                           argv, NULL);
}


static void
mesh_publish_on_forget(mesh_publish_t *p, char *text, const redisReply *reply)
{
    (void) text;

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        mesh_publish_again(p, "the end of a tombstone was refused");
    }
}


/* keys that are not in the list: nobody has signed them, so they just go */

static void
mesh_publish_on_scan(mesh_publish_t *p, char *text, const redisReply *reply)
{
    size_t             i, n, total;
    const char        *key, *keys[MESH_PUBLISH_AUDIT_CALL];
    const redisReply  *list;

    (void) text;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return;
    }

    snprintf(p->scan, sizeof(p->scan), "%s", reply->element[0]->str);

    if (!p->synced) {
        return;                     /* older epochs are still being told */
    }

    list = reply->element[1];
    n = 0;
    total = 0;

    for (i = 0; i < list->elements; i++) {
        key = list->element[i]->type == REDIS_REPLY_STRING
              ? list->element[i]->str : "";

        if (mesh_doc_key_kind(key) == MESH_DOC_NONE
            || mesh_doc_key_kind(key) == MESH_DOC_SYNCED
            || mesh_map_get(&p->docs, key))
        {
            continue;
        }

        keys[n++] = key;
        total++;

        if (n == mesh_nelts(keys)) {
            mesh_publish_forget(p, keys, n);
            n = 0;
        }
    }

    if (n) {
        mesh_publish_forget(p, keys, n);
    }

    if (total) {
        mesh_log(MESH_LOG_WARN, 0, "removed %zu keys from Redis that nobody "
                 "by right has written", total);
    }
}


void
mesh_publish_docs_free(mesh_publish_t *p)
{
    size_t               i;
    mesh_publish_doc_t  *doc;

    for (i = 0; (doc = mesh_map_next(&p->docs, &i, NULL)) != NULL; ) {
        free(doc->key);
        free(doc->body);
        free(doc);
    }

    mesh_map_free(&p->docs);
}
