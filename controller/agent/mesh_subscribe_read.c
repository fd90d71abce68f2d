
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Redis: a key is read when its subscription is confirmed, and mesh:signer
 * and mesh:synced go with every read, so a value is judged, and what is not
 * there counts, by what stood in Redis in the same moment.
 */

#include <mesh_core.h>

#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_subscribe_core.h>


#define MESH_SUBSCRIBE_HEAD  2             /* signer and synced of a read */


/* one command under way */

typedef struct {
    mesh_subscribe_t         *subscribe;
    size_t                    n;
    char                     *keys[MESH_SUBSCRIBE_BATCH];
} mesh_batch_t;


static void mesh_subscribe_read(mesh_subscribe_t *s, mesh_batch_t *batch);
static void mesh_subscribe_values(void *data, const redisReply *reply);
static int mesh_subscribe_signer(mesh_subscribe_t *s,
    const redisReply *reply);
static void mesh_subscribe_use_take(mesh_subscribe_t *s, mesh_sign_t *sign,
    const char *value, size_t len);
static int mesh_subscribe_live(mesh_subscribe_t *s, const redisReply *reply);
static int mesh_subscribe_genuine(mesh_subscribe_t *s, const char *name,
    const mesh_held_t *held);
static void mesh_subscribe_value(mesh_subscribe_t *s, const char *name,
    const redisReply *reply, int live);
static void mesh_subscribe_gens(void *data, const redisReply *reply);

static void mesh_commands_open(void *data, mesh_redis_t *redis);
static void mesh_channels_open(void *data, mesh_redis_t *redis);
static void mesh_commands_close(void *data, const char *reason,
    unsigned retry_ms);
static void mesh_channels_close(void *data, const char *reason,
    unsigned retry_ms);
static void mesh_channels_subscribed(void *data, const char *channel);
static void mesh_channels_message(void *data, const char *channel,
    const char *text, size_t len);


const mesh_redis_handler_t  mesh_commands_handler = {
    mesh_commands_open, mesh_commands_close, NULL, NULL
};

const mesh_redis_handler_t  mesh_channels_handler = {
    mesh_channels_open, mesh_channels_close, mesh_channels_subscribed,
    mesh_channels_message
};


/* reads what is dirty, in a moment: a burst of messages is one read */

void
mesh_subscribe_later(mesh_subscribe_t *s)
{
    struct timeval  tv;

    if (s->gathering) {
        return;
    }

    tv.tv_sec = 0;
    tv.tv_usec = MESH_SUBSCRIBE_GATHER_MS * 1000;

    s->gathering = 1;
    (void) evtimer_add(s->gather, &tv);
}


static mesh_batch_t *
mesh_subscribe_batch(mesh_subscribe_t *s)
{
    mesh_batch_t  *batch;

    batch = mesh_mem_new(sizeof(mesh_batch_t));
    batch->subscribe = s;

    return batch;
}


static void
mesh_subscribe_batch_free(mesh_batch_t *batch)
{
    size_t  i;

    for (i = 0; i < batch->n; i++) {
        free(batch->keys[i]);
    }

    free(batch);
}


void
mesh_subscribe_gather(evutil_socket_t fd, short what, void *data)
{
    size_t             i;
    const char        *name;
    mesh_key_t        *key;
    mesh_batch_t      *batch;
    mesh_subscribe_t  *s;

    s = data;
    s->gathering = 0;

    if (s->commands == NULL || !mesh_redis_is_open(s->commands)) {
        return;
    }

    batch = mesh_subscribe_batch(s);

    for (i = 0; (key = mesh_map_next(&s->keys, &i, &name)) != NULL; ) {

        if (!key->dirty) {
            continue;
        }

        if (batch->n == MESH_SUBSCRIBE_BATCH) {
            mesh_subscribe_read(s, batch);
            batch = mesh_subscribe_batch(s);
        }

        key->dirty = 0;
        batch->keys[batch->n++] = mesh_mem_str(name);
    }

    mesh_subscribe_read(s, batch);
}


/* MGET mesh:signer mesh:synced KEY..; the batch may be empty */

static void
mesh_subscribe_read(mesh_subscribe_t *s, mesh_batch_t *batch)
{
    size_t       i;
    const char  *argv[1 + MESH_SUBSCRIBE_HEAD + MESH_SUBSCRIBE_BATCH];

    argv[0] = "MGET";
    argv[1] = MESH_REDIS_SIGNER;
    argv[2] = MESH_REDIS_SYNCED;

    for (i = 0; i < batch->n; i++) {
        argv[3 + i] = batch->keys[i];
    }

    if (mesh_redis_command(s->commands, mesh_subscribe_values, batch,
                           (int) (3 + batch->n), argv, NULL)
        != 0)
    {
        mesh_subscribe_batch_free(batch);  /* all again when it opens */
    }
}


static void
mesh_subscribe_values(void *data, const redisReply *reply)
{
    int                live;
    size_t             i;
    mesh_batch_t      *batch;
    mesh_subscribe_t  *s;

    batch = data;
    s = batch->subscribe;

    if (reply == NULL) {
        mesh_subscribe_batch_free(batch);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != batch->n + MESH_SUBSCRIBE_HEAD)
    {
        mesh_log(MESH_LOG_ERROR, 0, "Redis does not answer MGET: \"%.*s\"",
                 reply->type == REDIS_REPLY_ERROR ? (int) reply->len : 0,
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "");

        mesh_subscribe_batch_free(batch);  /* the next check looks again */
        return;
    }

    if (mesh_subscribe_signer(s, reply->element[0]) == MESH_OK) {

        live = mesh_subscribe_live(s, reply->element[1]);

        mesh_subscribe_value(s, MESH_REDIS_SYNCED, reply->element[1], 0);

        for (i = 0; i < batch->n; i++) {
            mesh_subscribe_value(s, batch->keys[i],
                                 reply->element[MESH_SUBSCRIBE_HEAD + i],
                                 live);
        }
    }

    mesh_subscribe_batch_free(batch);
    mesh_subscribe_update(s);
}


/*
 * Takes a new signer; MESH_DECLINED: there is none to judge values by.  The
 * one in hand is judged anew with each identity: its bundle may be another,
 * and who is not trusted any more must not go on to sign.
 */

static int
mesh_subscribe_signer(mesh_subscribe_t *s, const redisReply *reply)
{
    size_t        i, len;
    time_t        now;
    uint64_t      identity;
    mesh_err_t    err;
    mesh_key_t   *key;
    const char   *value;
    mesh_sign_t  *sign;

    now = time(NULL);
    identity = mesh_cert_epoch(s->cert);

    if (reply->type == REDIS_REPLY_STRING) {
        value = reply->str;
        len = reply->len;

    } else if (s->sign) {
        value = s->signer;
        len = s->signer_len;

    } else {
        return MESH_DECLINED;
    }

    if (s->sign && identity == s->judged && len == s->signer_len
        && memcmp(value, s->signer, len) == 0)
    {
        return now <= mesh_sign_not_after(s->sign) + MESH_SIGN_SKEW_S
               ? MESH_OK : MESH_DECLINED;
    }

    sign = mesh_sign_accept(value, len, mesh_cert_trust(s->cert), s->watch_id,
                            now, &err);

    if (sign == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "\"" MESH_REDIS_SIGNER "\" is refused: "
                 "%s", err.text);

        return MESH_DECLINED;
    }

    if (mesh_sign_epoch(sign) < s->epoch) {
        mesh_log(MESH_LOG_ERROR, 0, "\"" MESH_REDIS_SIGNER "\" is refused: "
                 "epoch %" PRIu64 " is older than %" PRIu64,
                 mesh_sign_epoch(sign), s->epoch);

        mesh_sign_free(sign);

        return MESH_DECLINED;
    }

    if (s->sign == NULL || !mesh_sign_same(sign, s->sign)) {
        mesh_log(MESH_LOG_NOTICE, 0, "documents are signed by the writer of "
                 "epoch %" PRIu64, mesh_sign_epoch(sign));

        for (i = 0; (key = mesh_map_next(&s->keys, &i, NULL)) != NULL; ) {
            key->dirty = key->subscribed;
        }

        s->dirty = 1;                      /* complete may have changed */
        mesh_subscribe_later(s);
    }

    mesh_subscribe_use_take(s, sign, value, len);

    s->judged = identity;

    return MESH_OK;
}


/* the value may be the one in hand */

static void
mesh_subscribe_use_take(mesh_subscribe_t *s, mesh_sign_t *sign,
    const char *value, size_t len)
{
    char  *copy;

    copy = mesh_mem_new(len + 1);
    memcpy(copy, value, len);

    mesh_sign_free(s->sign);
    free(s->signer);

    s->sign = sign;
    s->epoch = mesh_sign_epoch(sign);
    s->signer = copy;
    s->signer_len = len;
}


/* opens and verifies; the envelope points into reply */

static int
mesh_subscribe_verify(mesh_subscribe_t *s, const char *name,
    const redisReply *reply, mesh_doc_envelope_t *envelope, mesh_err_t *err)
{
    if (mesh_doc_open(reply->str, reply->len, envelope, err) != 0
        || mesh_doc_verify(s->sign, name, envelope, err) != 0)
    {
        return MESH_ERROR;
    }

    return MESH_OK;
}


/* is Redis filled by the signer?  Then what is not there is nobody's */

static int
mesh_subscribe_live(mesh_subscribe_t *s, const redisReply *reply)
{
    int                  live;
    mesh_doc_t           doc;
    mesh_err_t           err;
    mesh_doc_envelope_t  envelope;

    if (reply->type != REDIS_REPLY_STRING
        || mesh_subscribe_verify(s, MESH_REDIS_SYNCED, reply, &envelope, &err)
           != MESH_OK
        || envelope.tombstone
        || mesh_doc_parse(MESH_REDIS_SYNCED, envelope.body, envelope.body_len,
                          &doc, &err)
           != 0)
    {
        return 0;
    }

    live = doc.u.synced.epoch == mesh_sign_epoch(s->sign);

    mesh_doc_free(&doc);

    return live;
}


/*
 * What was read from disk was verified before it was written, but a file can
 * be damaged since: of the signer's own epoch only what its key signed stays.
 */

static int
mesh_subscribe_genuine(mesh_subscribe_t *s, const char *name,
    const mesh_held_t *held)
{
    mesh_err_t  err;

    if (mesh_doc_generation_epoch(held->envelope.generation)
        != mesh_sign_epoch(s->sign))
    {
        return 1;                          /* of an epoch that we cannot tell */
    }

    if (mesh_doc_verify(s->sign, name, &held->envelope, &err) == 0) {
        return 1;
    }

    mesh_log(MESH_LOG_ERROR, 0, "document \"%s\" that is held is damaged: %s",
             name, err.text);

    return 0;
}


static void
mesh_subscribe_value(mesh_subscribe_t *s, const char *name,
    const redisReply *reply, int live)
{
    mesh_doc_t           doc;
    mesh_err_t           err;
    mesh_key_t          *key;
    const mesh_held_t   *held;
    mesh_doc_envelope_t  envelope;

    key = mesh_map_get(&s->keys, name);

    if (key == NULL) {
        return;                            /* dropped meanwhile */
    }

    held = mesh_docs_get(&s->docs, name);

    if (reply->type != REDIS_REPLY_STRING) {

        if (live && held == NULL) {
            key->absent = 1;
        }

        return;
    }

    if (held && reply->len == held->len
        && memcmp(reply->str, held->value, held->len) == 0)
    {
        return;
    }

    if (mesh_subscribe_verify(s, name, reply, &envelope, &err) != MESH_OK) {
        goto refused;
    }

    if (held && envelope.generation <= held->envelope.generation
        && mesh_subscribe_genuine(s, name, held))
    {
        (void) mesh_err(&err, "generation %" PRIu64 " is not newer than %"
                        PRIu64, envelope.generation,
                        held->envelope.generation);
        goto refused;
    }

    if (!envelope.tombstone) {

        if (mesh_doc_parse(name, envelope.body, envelope.body_len, &doc, &err)
            != 0)
        {
            goto refused;
        }

        mesh_doc_free(&doc);
    }

    if (mesh_docs_put(&s->docs, name, reply->str, reply->len, &err)
        != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "document \"%s\" is not kept: %s", name,
                 err.text);
        return;
    }

    mesh_log(MESH_LOG_INFO, 0, "document \"%s\" generation %" PRIu64 "%s",
             name, envelope.generation,
             envelope.tombstone ? ", deleted" : "");

    key->absent = envelope.tombstone;
    s->dirty = 1;

    return;

refused:

    mesh_log(MESH_LOG_ERROR, 0, "document \"%s\" is refused: %s", name,
             err.text);
}


/* every 10 s: have we missed a message, does anybody still need what we hold */

void
mesh_subscribe_check(evutil_socket_t fd, short what, void *data)
{
    size_t             i, j;
    const char        *name, *argv[2 + MESH_SUBSCRIBE_BATCH];
    mesh_key_t        *key;
    mesh_batch_t      *batch;
    mesh_subscribe_t  *s;

    s = data;

    mesh_subscribe_age(s);
    mesh_subscribe_update(s);

    if (!mesh_redis_is_open(s->commands)) {
        return;
    }

    mesh_subscribe_later(s);               /* signer and synced */

    argv[0] = "HMGET";
    argv[1] = MESH_REDIS_GENS;

    i = 0;
    key = NULL;

    do {
        batch = mesh_subscribe_batch(s);

        while (batch->n < MESH_SUBSCRIBE_BATCH
               && (key = mesh_map_next(&s->keys, &i, &name)) != NULL)
        {
            if (key->subscribed) {
                batch->keys[batch->n++] = mesh_mem_str(name);
            }
        }

        for (j = 0; j < batch->n; j++) {
            argv[2 + j] = batch->keys[j];
        }

        if (batch->n == 0) {
            mesh_subscribe_batch_free(batch);
            return;
        }

        if (mesh_redis_command(s->commands, mesh_subscribe_gens, batch,
                               (int) (2 + batch->n), argv, NULL)
            != 0)
        {
            mesh_subscribe_batch_free(batch);
            return;
        }

    } while (key);
}


/* a key whose generation is newer than what is held is read */

static void
mesh_subscribe_newer(mesh_subscribe_t *s, const char *name, const char *text,
    size_t len)
{
    char               *end;
    uint64_t            generation;
    mesh_key_t         *key;
    const mesh_held_t  *held;

    key = mesh_map_get(&s->keys, name);

    errno = 0;
    generation = strtoull(text, &end, 10);     /* hiredis ends it with a NUL */

    if (key == NULL || text[0] < '1' || text[0] > '9' || end != text + len
        || errno != 0)
    {
        return;
    }

    held = mesh_docs_get(&s->docs, name);

    if (held == NULL || generation > held->envelope.generation) {
        key->dirty = 1;
        mesh_subscribe_later(s);
    }
}


static void
mesh_subscribe_gens(void *data, const redisReply *reply)
{
    size_t             i;
    mesh_key_t        *key;
    mesh_batch_t      *batch;
    mesh_subscribe_t  *s;

    batch = data;
    s = batch->subscribe;

    if (reply && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == batch->n)
    {
        for (i = 0; i < batch->n; i++) {

            if (reply->element[i]->type == REDIS_REPLY_STRING) {
                mesh_subscribe_newer(s, batch->keys[i],
                                     reply->element[i]->str,
                                     reply->element[i]->len);
                continue;
            }

            /* never answered, e.g. because there was no signer then */

            key = mesh_map_get(&s->keys, batch->keys[i]);

            if (key && !key->absent
                && mesh_docs_get(&s->docs, batch->keys[i]) == NULL)
            {
                key->dirty = 1;
                mesh_subscribe_later(s);
            }
        }

    } else if (reply) {
        mesh_log(MESH_LOG_ERROR, 0, "Redis does not answer HMGET: \"%.*s\"",
                 reply->type == REDIS_REPLY_ERROR ? (int) reply->len : 0,
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "");
    }

    mesh_subscribe_batch_free(batch);
}


static void
mesh_commands_open(void *data, mesh_redis_t *redis)
{
    size_t             i;
    mesh_key_t        *key;
    mesh_subscribe_t  *s;

    s = data;

    for (i = 0; (key = mesh_map_next(&s->keys, &i, NULL)) != NULL; ) {
        key->dirty = key->subscribed;
    }

    mesh_subscribe_later(s);
}


static void
mesh_channels_open(void *data, mesh_redis_t *redis)
{
    size_t             i;
    const char        *name;
    mesh_subscribe_t  *s;

    s = data;

    for (i = 0; mesh_map_next(&s->keys, &i, &name) != NULL; ) {
        mesh_subscribe_channel(s, name, 1);
    }
}


static void
mesh_commands_close(void *data, const char *reason, unsigned retry_ms)
{
    mesh_log(MESH_LOG_WARN, 0, "Redis is gone: %s, again in %u ms", reason,
             retry_ms);
}


static void
mesh_channels_close(void *data, const char *reason, unsigned retry_ms)
{
    size_t             i;
    mesh_key_t        *key;
    mesh_subscribe_t  *s;

    s = data;

    for (i = 0; (key = mesh_map_next(&s->keys, &i, NULL)) != NULL; ) {
        key->subscribed = 0;
    }

    mesh_log(MESH_LOG_WARN, 0, "subscriptions are gone: %s, again in %u ms",
             reason, retry_ms);
}


/* "mesh:ch:KEY" */

static const char *
mesh_subscribe_key_of(const char *channel)
{
    size_t  n;

    n = sizeof(MESH_REDIS_CHANNEL) - 1;

    return strncmp(channel, MESH_REDIS_CHANNEL, n) == 0 ? channel + n
                                                        : channel;
}


static void
mesh_channels_subscribed(void *data, const char *channel)
{
    mesh_key_t        *key;
    mesh_subscribe_t  *s;

    s = data;
    key = mesh_map_get(&s->keys, mesh_subscribe_key_of(channel));

    if (key) {
        key->subscribed = 1;
        key->dirty = 1;
        mesh_subscribe_later(s);
    }
}


static void
mesh_channels_message(void *data, const char *channel, const char *text,
    size_t len)
{
    const char        *name;
    mesh_subscribe_t  *s;

    s = data;
    name = mesh_subscribe_key_of(channel);

    if (strcmp(name, MESH_REDIS_SIGNER) == 0) {
        mesh_subscribe_later(s);           /* it goes with every read */
        return;
    }

    mesh_subscribe_newer(s, name, text, len);
}
