
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * When a certificate is asked for, and with which bundle.  The bundle of the
 * last answer goes first, since it came over a verified connection; after a
 * failure the file has its turn, so that an operator can bring in a new root.
 */

#include <sys/random.h>

#include <mesh_backoff.h>
#include <mesh_certify.h>
#include <mesh_file.h>
#include <mesh_leaf.h>
#include <mesh_log.h>
#include <mesh_mem.h>


#define MESH_LEAF_LIFE_PCT        70
#define MESH_LEAF_JITTER_PCT      10
#define MESH_LEAF_RETRY_MIN_MS    500
#define MESH_LEAF_RETRY_MAX_MS    15000
#define MESH_LEAF_FILE_MAX        (256 * 1024)


struct mesh_leaf_s {
    mesh_leaf_conf_t   conf;
    struct event      *timer;
    mesh_certify_t    *certify;
    mesh_backoff_t     backoff;
    char              *trust;              /* of the last answer, or NULL */
    int                by_file;            /* this attempt's bundle */
};


static void mesh_leaf_on_timer(evutil_socket_t fd, short what, void *data);
static int mesh_leaf_ask(mesh_leaf_t *leaf, mesh_err_t *err);
static void mesh_leaf_on_certified(void *data, int rc,
    const mesh_certified_t *got, const mesh_err_t *err);
static void mesh_leaf_retry(mesh_leaf_t *leaf, const mesh_err_t *err);
static void mesh_leaf_arm(mesh_leaf_t *leaf, uint64_t ms);
static uint32_t mesh_leaf_random(void);


mesh_leaf_t *
mesh_leaf_new(const mesh_leaf_conf_t *conf)
{
    mesh_leaf_t  *leaf;

    leaf = mesh_mem_new(sizeof(mesh_leaf_t));
    leaf->conf = *conf;

    mesh_backoff_init(&leaf->backoff, MESH_LEAF_RETRY_MIN_MS,
                      MESH_LEAF_RETRY_MAX_MS);

    leaf->timer = mesh_mem_must(event_new(conf->base, -1, 0,
                                          mesh_leaf_on_timer, leaf));
    mesh_leaf_arm(leaf, 0);

    return leaf;
}


void
mesh_leaf_free(mesh_leaf_t *leaf)
{
    if (leaf->certify) {
        mesh_certify_cancel(leaf->certify);
    }

    event_free(leaf->timer);
    free(leaf->trust);
    free(leaf);
}


static void
mesh_leaf_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_leaf_t  *leaf = data;

    mesh_err_t  err;

    (void) fd;
    (void) what;

    if (mesh_leaf_ask(leaf, &err) != MESH_OK) {
        mesh_leaf_retry(leaf, &err);
    }
}


static int
mesh_leaf_ask(mesh_leaf_t *leaf, mesh_err_t *err)
{
    char                 *token, *trust;
    mesh_certify_conf_t   conf;

    trust = NULL;

    if (mesh_file_read(leaf->conf.token_file, MESH_LEAF_FILE_MAX, &token,
                       NULL, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    token[strcspn(token, "\r\n")] = '\0';

    leaf->by_file = (leaf->trust == NULL) || !leaf->by_file;

    if (leaf->by_file
        && mesh_file_read(leaf->conf.trust_file, MESH_LEAF_FILE_MAX, &trust,
                          NULL, err)
           != MESH_OK)
    {
        goto done;
    }

    memset(&conf, 0, sizeof(conf));
    conf.base = leaf->conf.base;
    conf.server = leaf->conf.server;
    conf.server_id = leaf->conf.server_id;
    conf.id = leaf->conf.id;
    conf.token = token;
    conf.trust = trust ? trust : leaf->trust;

    leaf->certify = mesh_certify_start(&conf, mesh_leaf_on_certified, leaf,
                                       err);

done:

    explicit_bzero(token, strlen(token));
    free(token);
    free(trust);

    return leaf->certify ? MESH_OK : MESH_ERROR;
}


static void
mesh_leaf_on_certified(void *data, int rc, const mesh_certified_t *got,
    const mesh_err_t *err)
{
    mesh_leaf_t  *leaf = data;

    int64_t  life_s;

    leaf->certify = NULL;

    if (rc != MESH_OK) {
        mesh_leaf_retry(leaf, err);
        return;
    }

    free(leaf->trust);
    leaf->trust = mesh_mem_str(got->trust);
    leaf->by_file = 1;                     /* the next one: by this bundle */

    mesh_backoff_reset(&leaf->backoff);

    life_s = mesh_max((int64_t) (got->not_after - time(NULL)), 1);

    mesh_log(MESH_LOG_NOTICE, 0, "got a certificate for %lld s",
             (long long) life_s);

    mesh_leaf_arm(leaf,
                  mesh_backoff_jitter((uint64_t) life_s * 10
                                      * MESH_LEAF_LIFE_PCT,
                                      MESH_LEAF_JITTER_PCT,
                                      mesh_leaf_random()));

    leaf->conf.renewed(leaf->conf.data, got->key, got->chain, got->trust);
}


static void
mesh_leaf_retry(mesh_leaf_t *leaf, const mesh_err_t *err)
{
    uint32_t  ms;

    ms = mesh_backoff_next(&leaf->backoff, mesh_leaf_random());

    mesh_log(MESH_LOG_ERROR, 0, "no certificate from %s: %s, again in %u ms",
             leaf->conf.server, err->text, ms);

    mesh_leaf_arm(leaf, ms);
}


static void
mesh_leaf_arm(mesh_leaf_t *leaf, uint64_t ms)
{
    struct timeval  tv;

    tv.tv_sec = (time_t) (ms / 1000);
    tv.tv_usec = (suseconds_t) (ms % 1000 * 1000);

    event_add(leaf->timer, &tv);
}


static uint32_t
mesh_leaf_random(void)
{
    uint32_t  n;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t) sizeof(n)) {
        return 0;
    }

    return n;
}
