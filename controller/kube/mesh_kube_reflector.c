
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What a server may do to a list or watch, and what is asked next.  Nothing
 * is asked again at once unless something has been gained since: the version
 * moved, the credentials changed, or a good second has passed.
 */

#include <mesh_kube_reflector.h>
#include <mesh_mem.h>


#define MESH_KUBE_FAILS_MAX    3           /* watches, then a list */


static void mesh_kube_reflector_task(mesh_kube_reflector_t *r,
    mesh_kube_do_e task, uint64_t at_ms);
static uint64_t mesh_kube_reflector_delay(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint32_t random);
static void mesh_kube_reflector_relist(mesh_kube_reflector_t *r);
static void mesh_kube_escape(char *out, const char *text);


void
mesh_kube_reflector_init(mesh_kube_reflector_t *r,
    const mesh_kube_reflector_conf_t *conf)
{
    memset(r, 0, sizeof(mesh_kube_reflector_t));

    r->conf = *conf;
    r->task = MESH_KUBE_LIST;

    mesh_backoff_init(&r->backoff, MESH_KUBE_BACKOFF_MIN_MS,
                      MESH_KUBE_BACKOFF_MAX_MS);
}


void
mesh_kube_reflector_done(mesh_kube_reflector_t *r)
{
    free(r->token);
    r->token = NULL;
}


mesh_kube_do_e
mesh_kube_reflector_next(mesh_kube_reflector_t *r, uint64_t now_ms,
    uint32_t random)
{
    if (r->busy || now_ms < r->at_ms) {
        return MESH_KUBE_WAIT;
    }

    r->busy = 1;
    r->began_ms = now_ms;

    if (r->task == MESH_KUBE_WATCH) {
        r->moved = 0;
        r->told = 0;
        r->watch_s = r->conf.watch_s + random % (r->conf.watch_s + 1);
        r->counts.watches++;
    }

    return r->task;
}


void
mesh_kube_reflector_url(const mesh_kube_reflector_t *r, char *url)
{
    char  *p;

    p = url + snprintf(url, MESH_KUBE_URL_MAX, "%s?", r->conf.path);

    if (r->task == MESH_KUBE_WATCH) {
        p += snprintf(p, 128, "watch=true&allowWatchBookmarks=true"
                      "&timeoutSeconds=%u&resourceVersion=", r->watch_s);
        mesh_kube_escape(p, r->version);
        return;
    }

    if (!r->whole) {
        p += snprintf(p, 64, "limit=%u", r->conf.limit);
    }

    if (r->token) {
        p += snprintf(p, 64, "&continue=");
        mesh_kube_escape(p, r->token);
    }
}


int
mesh_kube_reflector_page(mesh_kube_reflector_t *r, const char *version,
    const char *token, uint64_t now_ms, uint32_t random)
{
    mesh_kube_outcome_t  outcome;

    if (version[0] == '\0' || strlen(version) >= MESH_KUBE_VERSION_MAX
        || strlen(token) > MESH_KUBE_CONTINUE_MAX)
    {
        memset(&outcome, 0, sizeof(outcome));
        outcome.status = 200;

        (void) mesh_kube_reflector_list_failed(r, &outcome, now_ms, random);
        return MESH_ERROR;
    }

    /* all pages have the version of the first */

    if (r->token == NULL) {
        snprintf(r->list_version, sizeof(r->list_version), "%s", version);
    }

    free(r->token);
    r->token = NULL;
    r->absent = 0;

    if (token[0]) {
        r->token = mesh_mem_str(token);
        mesh_kube_reflector_task(r, MESH_KUBE_LIST, now_ms);
        return MESH_AGAIN;
    }

    memcpy(r->version, r->list_version, sizeof(r->version));

    r->whole = 0;
    r->synced = 1;
    r->counts.lists++;

    mesh_kube_reflector_task(r, MESH_KUBE_WATCH, now_ms);

    return MESH_OK;
}


int
mesh_kube_reflector_list_failed(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint64_t now_ms, uint32_t random)
{
    uint64_t  delay;

    r->counts.failures++;

    if (outcome->status == 410) {

        /* the pages grew old while we read them: all in one, this time */

        r->whole = (r->token != NULL);
        delay = r->whole ? 0 : mesh_kube_reflector_delay(r, outcome, random);

        mesh_kube_reflector_relist(r);
        mesh_kube_reflector_task(r, MESH_KUBE_LIST, now_ms + delay);

        return MESH_OK;
    }

    if (outcome->status == 404 && r->conf.optional) {

        if (!r->absent) {
            r->absent = 1;
            r->absent_ms = now_ms;
        }

        r->synced = 1;
        delay = mesh_backoff_jitter(MESH_KUBE_ABSENT_MS, 10, random);

        mesh_kube_reflector_relist(r);
        mesh_kube_reflector_task(r, MESH_KUBE_LIST, now_ms + delay);

        return now_ms - r->absent_ms >= MESH_KUBE_ABSENT_GONE_MS
               ? MESH_DONE : MESH_DECLINED;
    }

    delay = mesh_kube_reflector_delay(r, outcome, random);

    mesh_kube_reflector_task(r, MESH_KUBE_LIST, now_ms + delay);

    return MESH_OK;
}


void
mesh_kube_reflector_event(mesh_kube_reflector_t *r, const char *version,
    int bookmark)
{
    r->told = 1;

    if (bookmark) {
        r->counts.bookmarks++;

    } else {
        r->counts.events++;
    }

    if (version[0] == '\0' || strlen(version) >= MESH_KUBE_VERSION_MAX
        || strcmp(version, r->version) == 0)
    {
        return;
    }

    /* events that overtook each other must not take us back */

    if (strspn(version, "0123456789") == strlen(version)
        && strspn(r->version, "0123456789") == strlen(r->version)
        && (strlen(version) < strlen(r->version)
            || (strlen(version) == strlen(r->version)
                && strcmp(version, r->version) < 0)))
    {
        return;
    }

    snprintf(r->version, sizeof(r->version), "%s", version);

    r->moved = 1;
    r->fails = 0;
    mesh_backoff_reset(&r->backoff);
}


void
mesh_kube_reflector_watch_ended(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint64_t now_ms, uint32_t random)
{
    uint64_t        lasted, delay;
    mesh_kube_do_e  task;

    lasted = now_ms - r->began_ms;
    task = MESH_KUBE_WATCH;

    if (outcome->code == 410 || outcome->status == 410) {

        /* too old: what happened since is known to nobody */

        r->counts.relists++;
        r->fails++;

        delay = r->fails == 1 ? 0 : mesh_kube_reflector_delay(r, outcome,
                                                              random);
        mesh_kube_reflector_relist(r);
        mesh_kube_reflector_task(r, MESH_KUBE_LIST, now_ms + delay);
        return;
    }

    if (outcome->code == 0 && outcome->status == 200
        && (r->moved || lasted >= MESH_KUBE_SHORT_MS))
    {
        r->fails = 0;
        mesh_backoff_reset(&r->backoff);

        /* not one bookmark: our version may be of a future that a restored
           server does not know, which it does not say */

        if (!r->told && lasted >= MESH_KUBE_SILENT_MS) {
            mesh_kube_reflector_relist(r);
            task = MESH_KUBE_LIST;
        }

        mesh_kube_reflector_task(r, task, now_ms);
        return;
    }

    r->counts.failures++;
    r->fails++;

    delay = mesh_kube_reflector_delay(r, outcome, random);

    /* a server that is away comes back to the same version; one that is
       there and refuses the watch is asked for a list */

    if (outcome->status == 404
        || (outcome->status != 0 && r->fails >= MESH_KUBE_FAILS_MAX))
    {
        mesh_kube_reflector_relist(r);
        task = MESH_KUBE_LIST;
        r->fails = 0;
    }

    mesh_kube_reflector_task(r, task, now_ms + delay);
}


static void
mesh_kube_reflector_task(mesh_kube_reflector_t *r, mesh_kube_do_e task,
    uint64_t at_ms)
{
    r->busy = 0;
    r->task = task;
    r->at_ms = at_ms;
}


static uint64_t
mesh_kube_reflector_delay(mesh_kube_reflector_t *r,
    const mesh_kube_outcome_t *outcome, uint32_t random)
{
    uint64_t  delay;

    delay = mesh_backoff_next(&r->backoff, random);

    if (outcome->fresh) {
        return 0;
    }

    if (outcome->retry_after_ms) {
        delay = mesh_min(outcome->retry_after_ms, MESH_KUBE_RETRY_MAX_MS);
        delay += delay * (random % 100) / 1000;
    }

    return delay;
}


static void
mesh_kube_reflector_relist(mesh_kube_reflector_t *r)
{
    free(r->token);
    r->token = NULL;
}


/* as a value of a query */

static void
mesh_kube_escape(char *out, const char *text)
{
    static const char  hex[] = "0123456789ABCDEF";

    unsigned char  c;

    for ( /* void */ ; *text; text++) {
        c = (unsigned char) *text;

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
            || (c >= 'A' && c <= 'Z') || strchr("-._~", c))
        {
            *out++ = (char) c;

        } else {
            *out++ = '%';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }

    *out = '\0';
}
