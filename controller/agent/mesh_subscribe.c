
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Subscriptions: their life, and what workers ask for.  The keys that follow
 * from that are found in mesh_subscribe_need.c, values are read and judged in
 * mesh_subscribe_read.c.
 */

#include <mesh_core.h>

#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_subscribe_core.h>


static void mesh_subscribe_from_disk(mesh_subscribe_t *s);


int64_t
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
