
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Getting and keeping the own certificate.  The bundle in hand is the one
 * that came with the pair in use; the one of --trust is for the beginning
 * and for a sidecar whose pair has run out meanwhile.
 */

#include <mesh_core.h>

#include <dirent.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <mesh_backoff.h>
#include <mesh_cert.h>
#include <mesh_certify.h>
#include <mesh_file.h>
#include <mesh_log.h>
#include <mesh_mem.h>
#include <mesh_names.h>
#include <mesh_x509.h>


#define MESH_CERT_FILE_MAX     (1024 * 1024)
#define MESH_CERT_TOKEN_MAX    (64 * 1024)
#define MESH_CERT_RETRY_MIN    200
#define MESH_CERT_RETRY_MAX    15000
#define MESH_CERT_TIMEOUT      10000
#define MESH_CERT_WAIT_MIN     1000        /* however short a life is */
#define MESH_CERT_WAIT_MAX     (24 * 3600 * 1000)   /* of one timer */


struct mesh_cert_s {
    struct event_base        *base;
    const mesh_agent_conf_t  *conf;
    mesh_cert_pt              changed;
    void                     *data;

    char                     *dir;         /* run_dir/identity */
    char                      server_id[MESH_ID_MAX_BYTES + 1];

    uint64_t                  epoch;       /* of the pair in use, or 0 */
    time_t                    not_before;
    time_t                    not_after;
    char                     *trust;       /* PEM */

    mesh_certify_t           *request;     /* NULL: none is under way */
    mesh_backoff_t            backoff;
    int                       regular;     /* the timer is no retry's */
    struct event             *timer;
};


static int mesh_cert_load(mesh_cert_t *cert, mesh_err_t *err);
static int mesh_cert_check(mesh_cert_t *cert, const char *chain,
    const char *key, const char *trust, time_t now, mesh_err_t *err);
static int mesh_cert_trust_load(mesh_cert_t *cert, mesh_err_t *err);
static void mesh_cert_timer(evutil_socket_t fd, short what, void *data);
static void mesh_cert_ask(mesh_cert_t *cert);
static void mesh_cert_answer(void *data, int rc, const mesh_certified_t *got,
    const mesh_err_t *err);
static int mesh_cert_store(mesh_cert_t *cert, const mesh_certified_t *got,
    uint64_t epoch, mesh_err_t *err);
static void mesh_cert_retry(mesh_cert_t *cert);
static void mesh_cert_renew(mesh_cert_t *cert);
static uint64_t mesh_cert_last(mesh_cert_t *cert);
static void mesh_cert_remove(mesh_cert_t *cert, uint64_t epoch);
static void mesh_cert_clean(mesh_cert_t *cert);


static uint32_t
mesh_cert_random(void)
{
    uint32_t  rnd;

    if (getrandom(&rnd, sizeof(rnd), 0) != sizeof(rnd)) {
        rnd = (uint32_t) time(NULL) ^ (uint32_t) getpid();
    }

    return rnd;
}


mesh_cert_t *
mesh_cert_new(struct event_base *base, const mesh_agent_conf_t *conf,
    mesh_cert_pt changed, void *data, mesh_err_t *err)
{
    mesh_err_t    e;
    mesh_cert_t  *cert;

    cert = mesh_mem_new(sizeof(mesh_cert_t));

    cert->base = base;
    cert->conf = conf;
    cert->changed = changed;
    cert->data = data;
    cert->dir = mesh_mem_printf("%s/identity", conf->run_dir);

    (void) snprintf(cert->server_id, sizeof(cert->server_id), "spiffe://%s/ns/"
                    MESH_SYSTEM_NAMESPACE "/sa/" MESH_SA_IDENTITY,
                    conf->trust_domain);

    mesh_backoff_init(&cert->backoff, MESH_CERT_RETRY_MIN,
                      MESH_CERT_RETRY_MAX);

    cert->timer = evtimer_new(base, mesh_cert_timer, cert);

    if (cert->timer == NULL) {
        (void) mesh_err(err, "no timer for the certificate");
        goto failed;
    }

    if (mesh_file_mkdir(cert->dir, 0700, err) != MESH_OK) {
        goto failed;
    }

    if (mesh_cert_load(cert, &e) == MESH_OK) {
        mesh_log(MESH_LOG_NOTICE, 0, "identity %" PRIu64 " is taken from "
                 "disk", cert->epoch);
        mesh_cert_renew(cert);

        return cert;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "no identity on disk: %s", e.text);

    if (mesh_cert_trust_load(cert, err) != MESH_OK) {
        goto failed;
    }

    event_active(cert->timer, EV_TIMEOUT, 1);

    return cert;

failed:

    mesh_cert_free(cert);

    return NULL;
}


void
mesh_cert_free(mesh_cert_t *cert)
{
    if (cert == NULL) {
        return;
    }

    if (cert->request) {
        mesh_certify_cancel(cert->request);
    }

    if (cert->timer) {
        event_free(cert->timer);
    }

    free(cert->trust);
    free(cert->dir);
    free(cert);
}


const char *
mesh_cert_trust(const mesh_cert_t *cert)
{
    return cert->trust;
}


uint64_t
mesh_cert_epoch(const mesh_cert_t *cert)
{
    return cert->epoch;
}


int
mesh_cert_good(const mesh_cert_t *cert, time_t now)
{
    return cert->epoch != 0 && now < cert->not_after;
}


void
mesh_cert_refused(mesh_cert_t *cert, uint64_t epoch)
{
    if (epoch == cert->epoch && cert->request == NULL) {
        mesh_cert_retry(cert);
    }
}


/* a file of the pair that "current" points to */

static int
mesh_cert_read(mesh_cert_t *cert, const char *name, char **text,
    mesh_err_t *err)
{
    char  path[PATH_MAX];

    (void) snprintf(path, sizeof(path), "%s/current/%s", cert->dir, name);

    return mesh_file_read(path, MESH_CERT_FILE_MAX, text, NULL, err);
}


/* takes the pair on disk, if it is a good one */

static int
mesh_cert_load(mesh_cert_t *cert, mesh_err_t *err)
{
    int      rc;
    char    *chain, *key, *trust, *end, path[PATH_MAX], target[64];
    ssize_t  n;

    (void) snprintf(path, sizeof(path), "%s/current", cert->dir);

    n = readlink(path, target, sizeof(target) - 1);
    if (n == -1) {
        return mesh_err_sys(err, errno, "readlink(\"%s\") failed", path);
    }

    target[n] = '\0';

    chain = NULL;
    key = NULL;
    trust = NULL;
    rc = MESH_ERROR;

    if (mesh_cert_read(cert, "cert.pem", &chain, err) == MESH_OK
        && mesh_cert_read(cert, "key.pem", &key, err) == MESH_OK
        && mesh_cert_read(cert, "trust.pem", &trust, err) == MESH_OK)
    {
        rc = mesh_cert_check(cert, chain, key, trust, time(NULL), err);
    }

    if (rc == MESH_OK) {
        cert->epoch = strtoull(target, &end, 10);

        if (end == target || *end != '\0' || cert->epoch == 0) {
            rc = mesh_err(err, "\"%s\" points to \"%s\", expected a number",
                          path, target);
            cert->epoch = 0;
        }
    }

    if (rc == MESH_OK) {
        cert->trust = trust;
        trust = NULL;
    }

    mesh_x509_pem_free(key);
    free(chain);
    free(trust);

    return rc;
}


/* what nginx and our peers will check, and that it is good for a while */

static int
mesh_cert_check(mesh_cert_t *cert, const char *chain, const char *key,
    const char *trust, time_t now, mesh_err_t *err)
{
    int              rc;
    X509            *leaf;
    EVP_PKEY        *pkey;
    STACK_OF(X509)  *certs, *bundle;
    char             id[MESH_X509_ID_MAX + 1];

    pkey = NULL;
    bundle = NULL;
    rc = MESH_ERROR;

    certs = mesh_x509_chain_parse(chain, strlen(chain), MESH_X509_CHAIN_MAX,
                                  err);

    if (certs == NULL
        || (pkey = mesh_x509_key_parse(key, strlen(key), err)) == NULL
        || (bundle = mesh_x509_chain_parse(trust, strlen(trust),
                                           MESH_X509_BUNDLE_MAX, err))
           == NULL)
    {
        goto done;
    }

    leaf = sk_X509_value(certs, 0);

    if (!mesh_x509_fits(leaf, pkey)) {
        (void) mesh_err(err, "the key does not fit the certificate");
        goto done;
    }

    if (mesh_x509_id(leaf, id, err) != MESH_OK) {
        goto done;
    }

    if (strcmp(id, cert->conf->id) != 0) {
        (void) mesh_err(err, "the certificate names \"%s\", expected \"%s\"",
                        id, cert->conf->id);
        goto done;
    }

    if (mesh_x509_verify(certs, bundle, now, MESH_X509_ANY, err) != MESH_OK) {
        goto done;
    }

    rc = mesh_x509_times(leaf, &cert->not_before, &cert->not_after);

    if (rc != MESH_OK) {
        (void) mesh_err(err, "the certificate's dates cannot be read");
    }

done:

    EVP_PKEY_free(pkey);

    if (certs) {
        mesh_x509_chain_free(certs);
    }

    if (bundle) {
        mesh_x509_chain_free(bundle);
    }

    return rc;
}


/* the bundle of --trust */

static int
mesh_cert_trust_load(mesh_cert_t *cert, mesh_err_t *err)
{
    char  *trust;

    if (mesh_file_read(cert->conf->trust, MESH_CERT_FILE_MAX, &trust, NULL,
                       err)
        != MESH_OK)
    {
        return mesh_err_prefix(err, "--trust");
    }

    free(cert->trust);
    cert->trust = trust;

    return MESH_OK;
}


uint64_t
mesh_cert_renew_ms(time_t not_before, time_t not_after, time_t now,
    uint32_t rnd)
{
    time_t    issued;
    uint64_t  due_ms, gone_ms;

    issued = not_before + MESH_CERT_SKEW_S;

    if (not_after <= issued || now >= not_after) {
        return 0;
    }

    due_ms = (uint64_t) (not_after - issued) * 10 * MESH_CERT_RENEW_PCT;
    due_ms = mesh_backoff_jitter(due_ms, MESH_CERT_JITTER_PCT, rnd);

    gone_ms = now > issued ? (uint64_t) (now - issued) * 1000 : 0;

    return due_ms > gone_ms ? due_ms - gone_ms : 0;
}


static void
mesh_cert_wait(mesh_cert_t *cert, uint64_t wait_ms)
{
    struct timeval  tv;

    tv.tv_sec = wait_ms / 1000;
    tv.tv_usec = wait_ms % 1000 * 1000;

    (void) evtimer_add(cert->timer, &tv);
}


/* the timer for the renewal of the pair in use */

static void
mesh_cert_renew(mesh_cert_t *cert)
{
    uint64_t  wait_ms;

    wait_ms = mesh_cert_renew_ms(cert->not_before, cert->not_after,
                                 time(NULL), mesh_cert_random());

    mesh_log(MESH_LOG_INFO, 0, "identity %" PRIu64 " is renewed in %" PRIu64
             " ms", cert->epoch, wait_ms);

    cert->regular = 1;

    wait_ms = mesh_max(wait_ms, MESH_CERT_WAIT_MIN);

    mesh_cert_wait(cert, mesh_min(wait_ms, MESH_CERT_WAIT_MAX));
}


static void
mesh_cert_retry(mesh_cert_t *cert)
{
    cert->regular = 0;

    mesh_cert_wait(cert, mesh_backoff_next(&cert->backoff,
                                           mesh_cert_random()));
}


static void
mesh_cert_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_err_t    err;
    mesh_cert_t  *cert;

    cert = data;

    if (cert->request) {
        return;
    }

    /* not with the answer: nginx may refuse each pair that comes */

    if (cert->regular) {
        mesh_backoff_reset(&cert->backoff);
    }

    /* out of date: nothing of ours vouches for the old bundle any more */

    if (!mesh_cert_good(cert, time(NULL))
        && mesh_cert_trust_load(cert, &err) != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "%s", err.text);
    }

    mesh_cert_ask(cert);
}


static void
mesh_cert_ask(mesh_cert_t *cert)
{
    char                 *token;
    size_t                len;
    mesh_err_t            err;
    mesh_certify_conf_t   conf;

    if (mesh_file_read(cert->conf->token, MESH_CERT_TOKEN_MAX, &token, &len,
                       &err)
        != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "--token: %s", err.text);
        mesh_cert_retry(cert);
        return;
    }

    while (len && (token[len - 1] == '\n' || token[len - 1] == '\r')) {
        token[--len] = '\0';
    }

    memset(&conf, 0, sizeof(conf));

    conf.base = cert->base;
    conf.server = cert->conf->identity;
    conf.server_id = cert->server_id;
    conf.id = cert->conf->id;
    conf.token = token;
    conf.trust = cert->trust;
    conf.timeout_ms = MESH_CERT_TIMEOUT;

    cert->request = mesh_certify_start(&conf, mesh_cert_answer, cert, &err);

    explicit_bzero(token, len);
    free(token);

    if (cert->request == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "no certificate: %s", err.text);
        mesh_cert_retry(cert);
    }
}


static void
mesh_cert_answer(void *data, int rc, const mesh_certified_t *got,
    const mesh_err_t *err)
{
    uint64_t      epoch;
    mesh_err_t    e;
    mesh_cert_t  *cert;

    cert = data;
    cert->request = NULL;

    if (rc != MESH_OK) {
        mesh_log(MESH_LOG_ERROR, 0, "no certificate from \"%s\": %s",
                 cert->conf->identity, err->text);
        mesh_cert_retry(cert);
        return;
    }

    epoch = mesh_cert_last(cert) + 1;

    if (mesh_cert_store(cert, got, epoch, &e) != MESH_OK) {
        mesh_log(MESH_LOG_ERROR, 0, "certificate is not kept: %s", e.text);
        mesh_cert_remove(cert, epoch);
        mesh_cert_retry(cert);
        return;
    }

    cert->epoch = epoch;
    cert->not_before = got->not_before;
    cert->not_after = got->not_after;

    if (strcmp(cert->trust, got->trust) != 0) {
        mesh_log(MESH_LOG_NOTICE, 0, "trust bundle changed");
        free(cert->trust);
        cert->trust = mesh_mem_str(got->trust);
    }

    mesh_log(MESH_LOG_NOTICE, 0, "identity %" PRIu64 " of \"%s\", good for "
             "%lld s", epoch, cert->conf->id,
             (long long) (got->not_after - time(NULL)));

    mesh_cert_clean(cert);
    mesh_cert_renew(cert);

    cert->changed(cert->data);
}


static int
mesh_cert_store(mesh_cert_t *cert, const mesh_certified_t *got,
    uint64_t epoch, mesh_err_t *err)
{
    char    dir[PATH_MAX], path[PATH_MAX + 16], link[PATH_MAX], target[32];
    size_t  i;

    const struct {
        const char  *name;
        const char  *text;
        mode_t       mode;
    } files[] = {
        { "key.pem",   got->key,   0400 },
        { "cert.pem",  got->chain, 0444 },
        { "trust.pem", got->trust, 0444 }
    };

    (void) snprintf(target, sizeof(target), "%" PRIu64, epoch);
    (void) snprintf(dir, sizeof(dir), "%s/%s", cert->dir, target);

    if (mesh_file_mkdir(dir, 0700, err) != MESH_OK) {
        return MESH_ERROR;
    }

    for (i = 0; i < mesh_nelts(files); i++) {

        (void) snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);

        if (mesh_file_write(path, files[i].text, strlen(files[i].text),
                            files[i].mode, err)
            != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    (void) snprintf(link, sizeof(link), "%s/current.new", cert->dir);
    (void) snprintf(path, sizeof(path), "%s/current", cert->dir);

    if (unlink(link) == -1 && errno != ENOENT) {
        return mesh_err_sys(err, errno, "unlink(\"%s\") failed", link);
    }

    if (symlink(target, link) == -1) {
        return mesh_err_sys(err, errno, "symlink(\"%s\") failed", link);
    }

    if (rename(link, path) == -1) {
        return mesh_err_sys(err, errno, "rename(\"%s\") failed", link);
    }

    return MESH_OK;
}


/* the number of a directory of a pair, 0: it is none */

static uint64_t
mesh_cert_number(const char *name)
{
    char      *end;
    uint64_t   epoch;

    if (name[0] < '1' || name[0] > '9') {
        return 0;
    }

    epoch = strtoull(name, &end, 10);

    return *end == '\0' ? epoch : 0;
}


static uint64_t
mesh_cert_last(mesh_cert_t *cert)
{
    DIR            *dir;
    uint64_t        epoch, last;
    struct dirent  *entry;

    last = cert->epoch;
    dir = opendir(cert->dir);

    while (dir && (entry = readdir(dir)) != NULL) {
        epoch = mesh_cert_number(entry->d_name);
        last = mesh_max(last, epoch);
    }

    if (dir) {
        (void) closedir(dir);
    }

    return last;
}


static void
mesh_cert_remove(mesh_cert_t *cert, uint64_t epoch)
{
    int             rc;
    DIR            *dir;
    char            path[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
    struct dirent  *entry;

    (void) snprintf(path, sizeof(path), "%s/%" PRIu64, cert->dir, epoch);

    dir = opendir(path);

    while (dir && (entry = readdir(dir)) != NULL) {

        if (entry->d_name[0] == '.') {
            continue;
        }

        (void) snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);

        if (unlink(file) == -1) {
            mesh_log(MESH_LOG_ERROR, errno, "unlink(\"%s\") failed", file);
        }
    }

    if (dir) {
        (void) closedir(dir);
    }

    rc = rmdir(path);

    if (rc == -1 && errno != ENOENT) {
        mesh_log(MESH_LOG_ERROR, errno, "rmdir(\"%s\") failed", path);
    }
}


/*
 * Removes all epochs but the last two: a worker that reads "current" while
 * it is renamed still finds the files of the one before.
 */

static void
mesh_cert_clean(mesh_cert_t *cert)
{
    DIR            *dir;
    uint64_t        epoch;
    struct dirent  *entry;

    dir = opendir(cert->dir);

    while (dir && (entry = readdir(dir)) != NULL) {
        epoch = mesh_cert_number(entry->d_name);

        if (epoch && epoch + MESH_CERT_KEEP <= cert->epoch) {
            mesh_cert_remove(cert, epoch);
        }
    }

    if (dir) {
        (void) closedir(dir);
    }
}
