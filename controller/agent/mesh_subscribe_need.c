
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Keys are held because somebody needs them: the pod itself, an address that
 * a worker asked for, a document that such an address led to.  After each
 * change the set is computed anew, new keys are subscribed, the others are
 * dropped; then every address gets its answer anew.
 */

#include <mesh_core.h>

#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_subscribe_core.h>


static void mesh_subscribe_need(mesh_subscribe_t *s, const char *name);
static void mesh_subscribe_sweep(mesh_subscribe_t *s);


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

void
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


void
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


void
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
