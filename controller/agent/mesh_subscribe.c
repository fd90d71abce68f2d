
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Keys are held because somebody needs them: the pod itself, an address that
 * a worker asked for, a document that such an address led to.  After each
 * change the set is computed anew, new keys are subscribed, the others are
 * dropped.  A key is read when its subscription is confirmed, and mesh:signer
 * and mesh:synced go with every read, so a negative answer is judged by what
 * stood in Redis in the same moment.
 */

#include <mesh_core.h>

#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_redis.h>
#include <mesh_sign.h>
#include <mesh_subscribe.h>


#define MESH_SUBSCRIBE_HEAD  2             /* signer and synced of a read */


typedef enum {
    MESH_ASKED_PENDING = 0,
    MESH_ASKED_FOUND,
    MESH_ASKED_NOBODY
} mesh_asked_e;


typedef struct {
    uint8_t                   ip[16];
    uint16_t                  port;        /* 0: a pod known from disk */
    char                      text[MESH_ADDRESS_TEXT];   /* the address */
    mesh_asked_e              verdict;
    int64_t                   since_ms;    /* of the verdict */
    int64_t                   used_ms;
} mesh_asked_t;


typedef struct {
    unsigned                  needed:1;
    unsigned                  subscribed:1;   /* confirmed */
    unsigned                  dirty:1;        /* to be read */
    unsigned                  absent:1;       /* not there, and that counts */
} mesh_key_t;


struct mesh_subscribe_s {
    struct event_base        *base;
    const mesh_agent_conf_t  *conf;
    const mesh_cert_t        *cert;
    mesh_subscribe_pt         changed;
    void                     *data;

    mesh_docs_t               docs;
    mesh_map_t                keys;        /* key -> mesh_key_t */
    mesh_map_t                asked;       /* address -> mesh_asked_t */

    mesh_redis_t             *commands;
    mesh_redis_t             *channels;
    char                     *address;     /* unix:.. */

    mesh_sign_t              *sign;        /* the signer, NULL: none yet */
    char                     *signer;      /* its value */
    size_t                    signer_len;
    uint64_t                  epoch;       /* no older signer is taken */
    char                      watch_id[MESH_ID_MAX_BYTES + 1];

    struct event             *gather;
    struct event             *check;
    int                       gathering;
    unsigned                  dirty:1;     /* documents changed since told */
    unsigned                  stopped:1;
};


/* one command under way */

typedef struct {
    mesh_subscribe_t         *subscribe;
    size_t                    n;
    char                     *keys[MESH_SUBSCRIBE_BATCH];
} mesh_batch_t;


static void mesh_subscribe_from_disk(mesh_subscribe_t *s);
static void mesh_subscribe_update(mesh_subscribe_t *s);
static void mesh_subscribe_need(mesh_subscribe_t *s, const char *key);
static void mesh_subscribe_need_asked(mesh_subscribe_t *s,
    mesh_asked_t *asked);
static void mesh_subscribe_sweep(mesh_subscribe_t *s);
static mesh_asked_e mesh_subscribe_verdict(mesh_subscribe_t *s,
    mesh_asked_t *asked);
static void mesh_subscribe_later(mesh_subscribe_t *s);
static void mesh_subscribe_gather(evutil_socket_t fd, short what, void *data);
static void mesh_subscribe_check(evutil_socket_t fd, short what, void *data);
static void mesh_subscribe_age(mesh_subscribe_t *s);
static void mesh_subscribe_read(mesh_subscribe_t *s, mesh_batch_t *batch);
static void mesh_subscribe_values(void *data, const redisReply *reply);
static int mesh_subscribe_signer(mesh_subscribe_t *s,
    const redisReply *reply);
static int mesh_subscribe_live(mesh_subscribe_t *s, const redisReply *reply);
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


static const mesh_redis_handler_t  mesh_commands_handler = {
    mesh_commands_open, mesh_commands_close, NULL, NULL
};

static const mesh_redis_handler_t  mesh_channels_handler = {
    mesh_channels_open, mesh_channels_close, mesh_channels_subscribed,
    mesh_channels_message
};


static int64_t
mesh_subscribe_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


mesh_subscribe_t *
mesh_subscribe_new(struct event_base *base, const mesh_agent_conf_t *conf,
    const mesh_cert_t *cert, mesh_subscribe_pt changed, void *data,
    mesh_err_t *err)
{
    int                rc;
    char               dir[PATH_MAX];
    mesh_subscribe_t  *s;

    if (mesh_agent_path(conf, MESH_DOCS_DIR, dir, sizeof(dir), err)
        != MESH_OK)
    {
        return NULL;
    }

    s = mesh_mem_new(sizeof(mesh_subscribe_t));

    s->base = base;
    s->conf = conf;
    s->cert = cert;
    s->changed = changed;
    s->data = data;
    s->address = mesh_mem_printf("unix:%s/" MESH_RUN_REDIS_SOCK,
                                 conf->run_dir);

    (void) snprintf(s->watch_id, sizeof(s->watch_id), "spiffe://%s/ns/"
                    MESH_SYSTEM_NAMESPACE "/sa/" MESH_SA_WATCH,
                    conf->trust_domain);

    mesh_docs_init(&s->docs, dir);

    s->gather = evtimer_new(base, mesh_subscribe_gather, s);
    s->check = event_new(base, -1, EV_PERSIST, mesh_subscribe_check, s);

    if (s->gather == NULL || s->check == NULL) {
        (void) mesh_err(err, "no timers for documents");
        mesh_subscribe_free(s);
        return NULL;
    }

    rc = mesh_docs_load(&s->docs, err);

    if (rc == MESH_ERROR) {
        mesh_subscribe_free(s);
        return NULL;
    }

    mesh_subscribe_from_disk(s);

    if (s->docs.map.n) {
        mesh_log(MESH_LOG_NOTICE, 0, "%zu documents are taken from disk",
                 s->docs.map.n);
    }

    return s;
}


void
mesh_subscribe_free(mesh_subscribe_t *s)
{
    size_t   i;
    void    *value;

    if (s == NULL) {
        return;
    }

    if (s->commands) {
        mesh_redis_free(s->commands);
    }

    if (s->channels) {
        mesh_redis_free(s->channels);
    }

    if (s->gather) {
        event_free(s->gather);
    }

    if (s->check) {
        event_free(s->check);
    }

    for (i = 0; (value = mesh_map_next(&s->keys, &i, NULL)) != NULL; ) {
        free(value);
    }

    for (i = 0; (value = mesh_map_next(&s->asked, &i, NULL)) != NULL; ) {
        free(value);
    }

    mesh_map_free(&s->keys);
    mesh_map_free(&s->asked);
    mesh_docs_done(&s->docs);
    mesh_sign_free(s->sign);

    free(s->signer);
    free(s->address);
    free(s);
}


void
mesh_subscribe_start(mesh_subscribe_t *s, const char *why)
{
    mesh_err_t         err;
    struct timeval     tv;
    mesh_redis_conf_t  conf;

    if (s->stopped) {
        return;
    }

    if (s->commands) {
        mesh_redis_reconnect(s->commands, why);
        mesh_redis_reconnect(s->channels, why);
        return;
    }

    memset(&conf, 0, sizeof(conf));

    conf.address = s->address;
    conf.user = s->conf->redis_user;
    conf.password_file = s->conf->redis_password_file;

    s->commands = mesh_redis_new(s->base, &conf, &mesh_commands_handler, s,
                                 &err);

    conf.channel = MESH_REDIS_CHANNEL MESH_REDIS_SIGNER;

    if (s->commands) {
        s->channels = mesh_redis_new(s->base, &conf, &mesh_channels_handler,
                                     s, &err);
    }

    if (s->channels == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "no client of Redis: %s", err.text);
        return;
    }

    tv.tv_sec = MESH_SUBSCRIBE_CHECK_MS / 1000;
    tv.tv_usec = MESH_SUBSCRIBE_CHECK_MS % 1000 * 1000;

    (void) event_add(s->check, &tv);
}


void
mesh_subscribe_stop(mesh_subscribe_t *s)
{
    (void) evtimer_del(s->gather);
    (void) event_del(s->check);

    s->stopped = 1;

    if (s->commands) {
        mesh_redis_free(s->commands);
        s->commands = NULL;
    }

    if (s->channels) {
        mesh_redis_free(s->channels);
        s->channels = NULL;
    }
}


int
mesh_subscribe_started(const mesh_subscribe_t *s)
{
    return s->commands != NULL;
}


const mesh_docs_t *
mesh_subscribe_docs(const mesh_subscribe_t *s)
{
    return &s->docs;
}


int
mesh_subscribe_complete(const mesh_subscribe_t *s)
{
    int         complete;
    mesh_doc_t  doc;
    mesh_err_t  err;

    if (mesh_docs_parse(&s->docs, MESH_REDIS_SYNCED, &doc, &err) != MESH_OK) {
        return 0;
    }

    complete = s->sign == NULL
               || doc.u.synced.epoch == mesh_sign_epoch(s->sign);

    mesh_doc_free(&doc);

    return complete;
}


size_t
mesh_subscribe_nobody(const mesh_subscribe_t *s, mesh_nobody_t **nobody)
{
    size_t         i, n;
    mesh_asked_t  *asked;

    *nobody = mesh_mem_new((s->asked.n + 1) * sizeof(mesh_nobody_t));
    n = 0;

    for (i = 0; (asked = mesh_map_next(&s->asked, &i, NULL)) != NULL; ) {

        if (asked->verdict == MESH_ASKED_NOBODY && asked->port) {
            memcpy((*nobody)[n].ip, asked->ip, 16);
            (*nobody)[n++].port = asked->port;
        }
    }

    return n;
}


static mesh_asked_t *
mesh_subscribe_ask(mesh_subscribe_t *s, const uint8_t ip[16], uint16_t port)
{
    char           text[MESH_ADDRESS_TEXT];
    int64_t        now_ms;
    mesh_asked_t  *asked;

    mesh_address_print(ip, port, text);

    now_ms = mesh_subscribe_now_ms();
    asked = mesh_map_get(&s->asked, text);

    if (asked == NULL) {
        asked = mesh_mem_new(sizeof(mesh_asked_t));

        memcpy(asked->ip, ip, 16);
        asked->port = port;
        asked->since_ms = now_ms;
        mesh_ip_print(ip, asked->text);

        (void) mesh_map_set(&s->asked, text, asked);
    }

    asked->used_ms = now_ms;

    return asked;
}


/* "<ip>:<port>" of a key: v6 has no brackets there */

static int
mesh_subscribe_split(const char *text, uint8_t ip[16], uint16_t *port)
{
    int64_t      number;
    const char  *colon;

    colon = strrchr(text, ':');

    if (colon == NULL || mesh_ip_parse(text, colon - text, ip) != 0) {
        return MESH_ERROR;
    }

    number = mesh_number_parse(colon + 1, strlen(colon + 1), 65535);

    *port = (uint16_t) number;

    return number > 0 ? MESH_OK : MESH_ERROR;
}


/* what was asked before the restart: the addresses that documents are for */

static void
mesh_subscribe_from_disk(mesh_subscribe_t *s)
{
    size_t              i;
    uint8_t             ip[16];
    uint16_t            port;
    uint64_t            epoch;
    const char         *key, *text;
    mesh_asked_t       *asked;
    const mesh_held_t  *held;

    for (i = 0; (held = mesh_docs_next(&s->docs, &i, &key)) != NULL; ) {

        epoch = mesh_doc_generation_epoch(held->envelope.generation);
        s->epoch = mesh_max(s->epoch, epoch);

        port = 0;

        switch (mesh_doc_key_kind(key)) {

        case MESH_DOC_VIP:
            text = key + sizeof(MESH_REDIS_VIP) - 1;

            if (mesh_subscribe_split(text, ip, &port) != MESH_OK) {
                continue;
            }

            break;

        case MESH_DOC_IP:
            text = key + sizeof(MESH_REDIS_IP) - 1;

            if (mesh_ip_parse(text, strlen(text), ip) != 0) {
                continue;
            }

            break;

        default:
            continue;
        }

        if (!held->envelope.tombstone) {
            asked = mesh_subscribe_ask(s, ip, port);
            asked->verdict = MESH_ASKED_FOUND;
        }
    }

    mesh_subscribe_update(s);
}


void
mesh_subscribe_want(mesh_subscribe_t *s, const char *address)
{
    size_t    i, open;
    char      text[MESH_ADDRESS_TEXT];
    uint8_t   ip[16];
    uint16_t  port;

    mesh_asked_t  *asked;

    if (mesh_address_parse(address, strlen(address), ip, &port) != 0) {
        mesh_log(MESH_LOG_ERROR, 0, "a worker wants \"%.64s\", which is no "
                 "address", address);
        return;
    }

    asked = mesh_map_get(&s->asked, mesh_address_print(ip, port, text));

    if (asked) {
        asked->used_ms = mesh_subscribe_now_ms();
        return;                            /* under way, or in the state */
    }

    open = 0;

    for (i = 0; (asked = mesh_map_next(&s->asked, &i, NULL)) != NULL; ) {
        open += (asked->verdict != MESH_ASKED_FOUND);
    }

    if (open >= MESH_SUBSCRIBE_NOBODY_MAX) {
        mesh_log(MESH_LOG_WARN, 0, "\"%s\" is not asked for: %zu addresses "
                 "have no answer", text, open);
        return;
    }

    mesh_log(MESH_LOG_INFO, 0, "a worker wants \"%s\"", text);

    (void) mesh_subscribe_ask(s, ip, port);
    mesh_subscribe_update(s);
}


void
mesh_subscribe_used(mesh_subscribe_t *s, const char *address)
{
    char           text[MESH_ADDRESS_TEXT];
    uint8_t        ip[16];
    uint16_t       port;
    mesh_asked_t  *asked, *pod;

    if (mesh_address_parse(address, strlen(address), ip, &port) != 0) {
        return;
    }

    asked = mesh_map_get(&s->asked, mesh_address_print(ip, port, text));
    pod = mesh_map_get(&s->asked, mesh_address_print(ip, 0, text));

    if (asked) {
        asked->used_ms = mesh_subscribe_now_ms();
    }

    if (pod) {
        pod->used_ms = mesh_subscribe_now_ms();
    }

    if (asked == NULL && pod == NULL) {
        mesh_subscribe_want(s, address);   /* another address of a service */
    }
}


/* the key of what asked leads to, or "" */

static void
mesh_subscribe_target(mesh_subscribe_t *s, const char *key, char *target,
    size_t size)
{
    mesh_doc_t  doc;
    mesh_err_t  err;

    target[0] = '\0';

    if (mesh_docs_parse(&s->docs, key, &doc, &err) != MESH_OK) {
        return;
    }

    if (doc.kind == MESH_DOC_VIP) {
        mesh_doc_key_service(target, size, doc.u.vip.service);

    } else {
        mesh_doc_key_workload(target, size, doc.u.ip.workload);
    }

    mesh_doc_free(&doc);
}


static void
mesh_subscribe_need_asked(mesh_subscribe_t *s, mesh_asked_t *asked)
{
    char  key[MESH_DOC_KEY_MAX], target[MESH_DOC_KEY_MAX];

    if (asked->port) {
        mesh_doc_key_vip(key, sizeof(key), asked->text, asked->port);
        mesh_subscribe_need(s, key);
        mesh_subscribe_target(s, key, target, sizeof(target));

        if (target[0]) {
            mesh_subscribe_need(s, target);
            return;                        /* a service: no pod has it */
        }
    }

    mesh_doc_key_ip(key, sizeof(key), asked->text);
    mesh_subscribe_need(s, key);
    mesh_subscribe_target(s, key, target, sizeof(target));

    if (target[0]) {
        mesh_subscribe_need(s, target);
    }
}


static int
mesh_subscribe_is_absent(mesh_subscribe_t *s, const char *name)
{
    mesh_key_t  *key;

    key = mesh_map_get(&s->keys, name);

    return key && key->absent;
}


static int
mesh_subscribe_holds(mesh_subscribe_t *s, const char *name)
{
    const mesh_held_t  *held;

    held = mesh_docs_get(&s->docs, name);

    return held && !held->envelope.tombstone;
}


static mesh_asked_e
mesh_subscribe_verdict(mesh_subscribe_t *s, mesh_asked_t *asked)
{
    int   absent;
    char  key[MESH_DOC_KEY_MAX], target[MESH_DOC_KEY_MAX];

    absent = 1;

    if (asked->port) {
        mesh_doc_key_vip(key, sizeof(key), asked->text, asked->port);
        mesh_subscribe_target(s, key, target, sizeof(target));

        if (target[0]) {
            return mesh_subscribe_holds(s, target) ? MESH_ASKED_FOUND
                                                   : MESH_ASKED_PENDING;
        }

        absent = mesh_subscribe_is_absent(s, key);
    }

    mesh_doc_key_ip(key, sizeof(key), asked->text);
    mesh_subscribe_target(s, key, target, sizeof(target));

    if (target[0]) {
        return mesh_subscribe_holds(s, target) ? MESH_ASKED_FOUND
                                               : MESH_ASKED_PENDING;
    }

    return absent && mesh_subscribe_is_absent(s, key) ? MESH_ASKED_NOBODY
                                                      : MESH_ASKED_PENDING;
}


/* the set of keys, the answers, and the news of both */

static void
mesh_subscribe_update(mesh_subscribe_t *s)
{
    int            urgent;
    char           own[MESH_DOC_KEY_MAX], name[MESH_DOC_KEY_MAX];
    size_t         i;
    int64_t        now_ms;
    mesh_key_t    *key;
    mesh_asked_e   verdict;
    mesh_asked_t  *asked;

    for (i = 0; (key = mesh_map_next(&s->keys, &i, NULL)) != NULL; ) {
        key->needed = 0;
    }

    (void) snprintf(name, sizeof(name), "%s/%s", s->conf->namespace_,
                    s->conf->pod);

    mesh_subscribe_need(s, MESH_REDIS_SYNCED);
    mesh_subscribe_need(s, mesh_doc_key_workload(own, sizeof(own), name));

    for (i = 0; (asked = mesh_map_next(&s->asked, &i, NULL)) != NULL; ) {
        mesh_subscribe_need_asked(s, asked);
    }

    mesh_subscribe_sweep(s);

    urgent = 0;
    now_ms = mesh_subscribe_now_ms();

    for (i = 0; (asked = mesh_map_next(&s->asked, &i, NULL)) != NULL; ) {

        verdict = mesh_subscribe_verdict(s, asked);

        if (verdict != asked->verdict) {
            urgent |= (verdict != MESH_ASKED_PENDING);
            asked->verdict = verdict;
            asked->since_ms = now_ms;
            s->dirty = 1;
        }
    }

    if (s->dirty) {
        s->dirty = 0;
        s->changed(s->data, urgent);
    }
}


static void
mesh_subscribe_channel(mesh_subscribe_t *s, const char *key, int on)
{
    int   rc;
    char  channel[MESH_DOC_KEY_MAX + sizeof(MESH_REDIS_CHANNEL)];

    if (s->channels == NULL || !mesh_redis_is_open(s->channels)) {
        return;                            /* all of them when it opens */
    }

    (void) snprintf(channel, sizeof(channel), MESH_REDIS_CHANNEL "%s", key);

    rc = on ? mesh_redis_subscribe(s->channels, channel)
            : mesh_redis_unsubscribe(s->channels, channel);

    if (rc != 0) {
        mesh_log(MESH_LOG_WARN, 0, "\"%s\" was not %s", channel,
                 on ? "subscribed" : "unsubscribed");
    }
}


static void
mesh_subscribe_need(mesh_subscribe_t *s, const char *name)
{
    mesh_key_t  *key;

    if (name[0] == '\0') {
        return;                            /* too long to be a key */
    }

    key = mesh_map_get(&s->keys, name);

    if (key == NULL) {
        key = mesh_mem_new(sizeof(mesh_key_t));
        (void) mesh_map_set(&s->keys, name, key);

        mesh_subscribe_channel(s, name, 1);
    }

    key->needed = 1;
}


/* drops what nobody needs any more; removal moves slots, so one a walk */

static void
mesh_subscribe_sweep(mesh_subscribe_t *s)
{
    size_t       i;
    char        *name;
    const char  *found;
    mesh_key_t  *key;

    do {
        name = NULL;

        for (i = 0; (key = mesh_map_next(&s->keys, &i, &found)) != NULL; ) {
            if (!key->needed) {
                name = mesh_mem_str(found);
                break;
            }
        }

        if (name) {
            mesh_subscribe_channel(s, name, 0);
            mesh_docs_drop(&s->docs, name);
            free(mesh_map_remove(&s->keys, name));
            free(name);

            s->dirty = 1;
        }

    } while (name);

    do {
        name = NULL;

        for (i = 0; mesh_docs_next(&s->docs, &i, &found) != NULL; ) {
            if (mesh_map_get(&s->keys, found) == NULL) {
                name = mesh_mem_str(found);
                break;
            }
        }

        if (name) {
            mesh_docs_drop(&s->docs, name);
            free(name);

            s->dirty = 1;
        }

    } while (name);
}


/* reads what is dirty, in a moment: a burst of messages is one read */

static void
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


static void
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


/* takes a new signer; MESH_DECLINED: there is none to judge values by */

static int
mesh_subscribe_signer(mesh_subscribe_t *s, const redisReply *reply)
{
    size_t        i;
    time_t        now;
    mesh_err_t    err;
    mesh_key_t   *key;
    mesh_sign_t  *sign;

    now = time(NULL);

    if (reply->type != REDIS_REPLY_STRING
        || (s->sign && reply->len == s->signer_len
            && memcmp(reply->str, s->signer, s->signer_len) == 0))
    {
        /* the same or none: the one in hand, while its leaf is good */

        return s->sign && now <= mesh_sign_not_after(s->sign)
                                 + MESH_SIGN_SKEW_S
               ? MESH_OK : MESH_DECLINED;
    }

    sign = mesh_sign_accept(reply->str, reply->len, mesh_cert_trust(s->cert),
                            s->watch_id, now, &err);

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

    mesh_sign_free(s->sign);
    free(s->signer);

    s->sign = sign;
    s->epoch = mesh_sign_epoch(sign);
    s->signer = mesh_mem_new(reply->len + 1);
    s->signer_len = reply->len;

    memcpy(s->signer, reply->str, reply->len);

    return MESH_OK;
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

    if (held && envelope.generation <= held->envelope.generation) {
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


static void
mesh_subscribe_age(mesh_subscribe_t *s)
{
    char          *text;
    size_t         i;
    int64_t        now_ms, limit_ms;
    const char    *found;
    mesh_asked_t  *asked;

    now_ms = mesh_subscribe_now_ms();

    do {
        text = NULL;

        for (i = 0; (asked = mesh_map_next(&s->asked, &i, &found)) != NULL; )
        {
            limit_ms = asked->verdict == MESH_ASKED_FOUND
                       ? asked->used_ms + MESH_SUBSCRIBE_UNUSED_MS
                       : asked->since_ms + MESH_SUBSCRIBE_NOBODY_MS;

            if (now_ms >= limit_ms) {
                text = mesh_mem_str(found);
                break;
            }
        }

        if (text) {
            mesh_log(MESH_LOG_INFO, 0, "\"%s\" is not asked for any more",
                     text);

            s->dirty |= (asked->verdict == MESH_ASKED_NOBODY);

            free(mesh_map_remove(&s->asked, text));
            free(text);
        }

    } while (text);
}


/* every 10 s: have we missed a message, does anybody still need what we hold */

static void
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
    int64_t             generation;
    mesh_key_t         *key;
    const mesh_held_t  *held;

    key = mesh_map_get(&s->keys, name);
    generation = mesh_number_parse(text, len, INT64_MAX);

    if (key == NULL || generation < 0) {
        return;
    }

    held = mesh_docs_get(&s->docs, name);

    if (held == NULL
        || (uint64_t) generation > held->envelope.generation)
    {
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
