
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Who writes.  mesh:epoch fences writers, but anybody with Redis's password
 * can set it; what counts is mesh:signer, which only the holder of a leaf of
 * the writer's identity can make.  So a writer that finds another epoch in
 * force steps down if that epoch's signer is genuine, and else (a wipe, a
 * forgery) claims a new epoch and writes everything again.
 */

#include <mesh_file.h>
#include <mesh_publish_core.h>


#define MESH_PUBLISH_PLAUSIBLE    (UINT64_C(1) << 23)
#define MESH_PUBLISH_CLOCK_S      120      /* an epoch of the clock */
#define MESH_PUBLISH_CLOCK_0      1735689600LL          /* 2025-01-01 */


typedef struct {
    mesh_publish_t         *publish;
    mesh_publish_reply_pt   reply;
    char                   *text;
    unsigned                session;
} mesh_publish_call_t;


static void mesh_publish_on_open(void *data, mesh_redis_t *redis);
static void mesh_publish_on_close(void *data, const char *reason,
    unsigned retry_ms);
static void mesh_publish_on_timer(evutil_socket_t fd, short what, void *data);
static int mesh_publish_load_epoch(mesh_publish_t *p, mesh_err_t *err);
static int mesh_publish_may_begin(const mesh_publish_t *p);
static void mesh_publish_begin(mesh_publish_t *p);
static void mesh_publish_read(mesh_publish_t *p, mesh_publish_reply_pt reply);
static void mesh_publish_on_read(mesh_publish_t *p, char *text,
    const redisReply *reply);
static uint64_t mesh_publish_genuine(const mesh_publish_t *p,
    const redisReply *value, int *own);
static void mesh_publish_resume(mesh_publish_t *p, const char *signer);
static const char *mesh_publish_text(const redisReply *reply, size_t i);
static void mesh_publish_claim(mesh_publish_t *p, const char *found,
    uint64_t genuine);
static uint64_t mesh_publish_next_epoch(const mesh_publish_t *p,
    const char *found, uint64_t genuine, time_t now);
static int mesh_publish_use_epoch(mesh_publish_t *p, uint64_t epoch);
static void mesh_publish_on_claim(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_load_scripts(mesh_publish_t *p);
static void mesh_publish_send_signer(mesh_publish_t *p);
static void mesh_publish_on_signer(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_on_check(mesh_publish_t *p, char *text,
    const redisReply *reply);
static void mesh_publish_on_reply(void *data, const redisReply *reply);
static void mesh_publish_replace(char **to, const char *text);


static const mesh_redis_handler_t  mesh_publish_handler = {
    mesh_publish_on_open,
    mesh_publish_on_close,
    NULL,
    NULL
};


mesh_publish_t *
mesh_publish_new(const mesh_publish_conf_t *conf, mesh_err_t *err)
{
    struct timeval      tv;
    mesh_publish_t     *p;
    mesh_redis_conf_t   redis;

    p = mesh_mem_new(sizeof(mesh_publish_t));

    p->identity = mesh_mem_str(conf->identity);
    p->epoch_file = mesh_mem_printf("%s/epoch", conf->state_dir);
    p->superseded = conf->superseded;
    p->epoch_set = conf->epoch_min;
    p->data = conf->data;
    p->tombstone_s = conf->tombstone_s ? conf->tombstone_s
                                       : MESH_PUBLISH_TOMBSTONE_S;
    TAILQ_INIT(&p->queue);

    if (mesh_file_mkdir(conf->state_dir, 0700, err) != MESH_OK
        || mesh_publish_load_epoch(p, err) != MESH_OK)
    {
        goto failed;
    }

    memset(&redis, 0, sizeof(redis));
    redis.address = conf->redis;
    redis.user = conf->user;
    redis.password_file = conf->password_file;
    redis.backoff_max_ms = 2000;

    p->redis = mesh_redis_new(conf->base, &redis, &mesh_publish_handler, p,
                              err);
    if (p->redis == NULL) {
        goto failed;
    }

    p->timer = mesh_mem_must(event_new(conf->base, -1, EV_PERSIST,
                                       mesh_publish_on_timer, p));
    tv.tv_sec = 1;
    tv.tv_usec = 0;

    event_add(p->timer, &tv);

    return p;

failed:

    mesh_publish_free(p);

    return NULL;
}


void
mesh_publish_free(mesh_publish_t *p)
{
    p->session++;

    if (p->redis) {
        mesh_redis_free(p->redis);
    }

    if (p->timer) {
        event_free(p->timer);
    }

    mesh_publish_docs_free(p);
    mesh_publish_replace(&p->leaf_key, NULL);
    mesh_sign_free(p->sign);

    free(p->leaf_chain);
    free(p->trust);
    free(p->identity);
    free(p->epoch_file);
    free(p->signer_value);
    free(p->synced_value);
    free(p);
}


void
mesh_publish_leaf(mesh_publish_t *p, const char *key, const char *chain,
    const char *trust)
{
    char        *value;
    mesh_err_t   err;

    mesh_publish_replace(&p->leaf_key, key);
    mesh_publish_replace(&p->leaf_chain, chain);
    mesh_publish_replace(&p->trust, trust);

    if (p->sign) {

        /* the same key, vouched for by the new leaf */

        value = mesh_sign_publish(p->sign, key, chain, &err);

        if (value == NULL) {
            mesh_log(MESH_LOG_ERROR, 0, "cannot renew the signer: %s",
                     err.text);
            return;
        }

        free(p->signer_value);
        p->signer_value = value;
    }

    if (p->state == MESH_PUBLISH_LIVE) {
        mesh_publish_send_signer(p);
        return;
    }

    mesh_publish_begin(p);
}


void
mesh_publish_start(mesh_publish_t *p)
{
    p->started = 1;
    mesh_publish_begin(p);
}


void
mesh_publish_stop(mesh_publish_t *p)
{
    p->started = 0;
    p->over = 0;
    p->claimed = 0;
    p->state = MESH_PUBLISH_IDLE;
    p->session++;
    p->inflight = 0;
    p->since_ms = 0;
}


/* of changes that overlap, the oldest; without a writer nothing is due */

void
mesh_publish_since(mesh_publish_t *p, uint64_t ms)
{
    if (p->state == MESH_PUBLISH_LIVE && p->since_ms == 0
        && (p->queued || p->inflight))
    {
        p->since_ms = ms;
    }
}


void
mesh_publish_state(const mesh_publish_t *p, mesh_publish_state_t *state)
{
    memset(state, 0, sizeof(mesh_publish_state_t));

    state->documents = p->docs.n;
    state->queued = p->queued;
    state->inflight = p->inflight;
    state->writes = p->writes;
    state->refusals = p->refusals;
    state->lag_ms = p->lag_ms;
    memcpy(state->lags, p->lags, sizeof(state->lags));

    if (p->state == MESH_PUBLISH_LIVE && p->claimed) {
        state->epoch = p->epoch;
        state->synced = p->synced;
    }
}


void
mesh_publish_epoch_min(mesh_publish_t *p, uint64_t epoch)
{
    p->epoch_min = epoch;
}


static void
mesh_publish_on_open(void *data, mesh_redis_t *redis)
{
    mesh_publish_t  *p = data;

    (void) redis;

    mesh_log(MESH_LOG_NOTICE, 0, "connected to Redis");

    mesh_publish_begin(p);
}


static void
mesh_publish_on_close(void *data, const char *reason, unsigned retry_ms)
{
    mesh_publish_t  *p = data;

    mesh_log(MESH_LOG_WARN, 0, "Redis: %s, again in %u ms", reason, retry_ms);

    p->state = MESH_PUBLISH_IDLE;
    p->session++;
    p->inflight = 0;
}


static void
mesh_publish_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_publish_t  *p = data;

    (void) fd;
    (void) what;

    if (p->state == MESH_PUBLISH_IDLE) {
        mesh_publish_begin(p);
        return;
    }

    if (p->state == MESH_PUBLISH_LIVE) {
        mesh_publish_read(p, mesh_publish_on_check);
        mesh_publish_audit(p);
    }
}


/* the highest epoch that this writer ever used; 0: never one */

static int
mesh_publish_load_epoch(mesh_publish_t *p, mesh_err_t *err)
{
    int        rc;
    char      *text, *end;

    rc = mesh_file_read(p->epoch_file, 64, &text, NULL, err);

    if (rc != MESH_OK) {
        return rc == MESH_DECLINED ? MESH_OK : MESH_ERROR;
    }

    p->used = strtoull(text, &end, 10);

    if (end == text || *end != '\n' || p->used > MESH_PUBLISH_EPOCH_MAX) {
        rc = mesh_err(err, "\"%s\" holds no epoch", p->epoch_file);
    }

    free(text);

    return rc;
}


static int
mesh_publish_may_begin(const mesh_publish_t *p)
{
    return p->state == MESH_PUBLISH_IDLE && p->started && !p->over
           && p->leaf_key != NULL && mesh_redis_is_open(p->redis);
}


static void
mesh_publish_begin(mesh_publish_t *p)
{
    if (!mesh_publish_may_begin(p)) {
        return;
    }

    p->state = MESH_PUBLISH_READING;

    mesh_publish_load_scripts(p);
    mesh_publish_read(p, mesh_publish_on_read);
}


void
mesh_publish_again(mesh_publish_t *p, const char *reason)
{
    mesh_log(MESH_LOG_WARN, 0, "%s, looking again who holds the mesh",
             reason);

    p->refusals++;
    p->since_ms = 0;

    /* the timer begins, at most a second later: no storm */

    p->state = MESH_PUBLISH_IDLE;
    p->session++;
    p->inflight = 0;
}


static void
mesh_publish_read(mesh_publish_t *p, mesh_publish_reply_pt reply)
{
    static const char  *argv[] = {
        "MGET", MESH_REDIS_EPOCH, MESH_REDIS_SIGNER, MESH_REDIS_SYNCED
    };

    /* what the signer is when this is sent */

    mesh_publish_send_take(p, reply, mesh_mem_str(p->signer_value),
                           mesh_nelts(argv), argv, NULL);
}


static void
mesh_publish_on_read(mesh_publish_t *p, char *text, const redisReply *reply)
{
    int          own, held;
    uint64_t     genuine;
    const char  *epoch;

    (void) text;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        mesh_publish_again(p, "Redis answers MGET with nonsense");
        return;
    }

    epoch = mesh_publish_text(reply, 0);
    genuine = mesh_publish_genuine(p, reply->element[1], &own);
    held = p->claimed && strcmp(epoch, p->epoch_text) == 0;

    /* two writers can claim one number if Redis is wiped between them */

    if (held && (own || genuine == 0)) {
        mesh_publish_resume(p, mesh_publish_text(reply, 1));
        return;
    }

    if (p->claimed && genuine > p->epoch
        && strtoull(epoch, NULL, 10) == genuine)
    {
        mesh_log(MESH_LOG_ERROR, 0, "epoch %s is refused: a newer writer "
                 "holds the mesh with epoch %llu", p->epoch_text,
                 (unsigned long long) genuine);

        p->over = 1;
        p->state = MESH_PUBLISH_IDLE;
        p->superseded(p->data, genuine);
        return;
    }

    mesh_publish_claim(p, epoch, genuine);
}


/* the epoch of a signer that only a rightful writer can have made, or 0 */

static uint64_t
mesh_publish_genuine(const mesh_publish_t *p, const redisReply *value,
    int *own)
{
    uint64_t      epoch;
    mesh_err_t    err;
    mesh_sign_t  *sign;

    *own = 0;

    if (value->type != REDIS_REPLY_STRING) {
        return 0;
    }

    sign = mesh_sign_accept(value->str, (size_t) value->len, p->trust,
                            p->identity, time(NULL), &err);
    if (sign == NULL) {
        mesh_log(MESH_LOG_WARN, 0, "the signer in Redis does not count: %s",
                 err.text);
        return 0;
    }

    epoch = mesh_sign_epoch(sign);
    *own = p->sign && mesh_sign_same(sign, p->sign);

    mesh_sign_free(sign);

    return epoch;
}


/* the epoch in force is ours: what is missing is written, the audit sees
   whether Redis came back with an older copy of the rest */

static void
mesh_publish_resume(mesh_publish_t *p, const char *signer)
{
    p->state = MESH_PUBLISH_LIVE;
    p->sync_sent = 0;

    if (strcmp(signer, p->signer_value) != 0) {
        mesh_publish_send_signer(p);
    }

    if (!p->leftovers) {
        mesh_publish_ask_leftovers(p);
    }

    mesh_publish_refill(p);
}


static const char *
mesh_publish_text(const redisReply *reply, size_t i)
{
    return reply->element[i]->type == REDIS_REPLY_STRING
           ? reply->element[i]->str : "";
}


static void
mesh_publish_claim(mesh_publish_t *p, const char *found, uint64_t genuine)
{
    char         *value;
    uint64_t      epoch;
    mesh_err_t    err;
    mesh_sign_t  *sign;
    const char   *argv[11];

    epoch = mesh_publish_next_epoch(p, found, genuine, time(NULL));

    p->state = MESH_PUBLISH_IDLE;

    if (mesh_publish_use_epoch(p, epoch) != MESH_OK) {
        return;
    }

    sign = mesh_sign_new(epoch, &err);
    value = sign ? mesh_sign_publish(sign, p->leaf_key, p->leaf_chain, &err)
                 : NULL;

    if (value == NULL) {
        mesh_log(MESH_LOG_ERROR, 0, "cannot make a signer: %s", err.text);
        mesh_sign_free(sign);
        return;
    }

    mesh_sign_free(p->sign);
    free(p->signer_value);

    p->claimed = 0;
    p->sign = sign;
    p->signer_value = value;
    p->epoch = epoch;
    p->counter = 0;
    snprintf(p->epoch_text, sizeof(p->epoch_text), "%llu",
             (unsigned long long) epoch);

    argv[0] = "EVALSHA";
    argv[1] = mesh_script_sha(MESH_SCRIPT_CLAIM);
    argv[2] = "4";
    argv[3] = MESH_REDIS_EPOCH;
    argv[4] = MESH_REDIS_SIGNER;
    argv[5] = MESH_REDIS_SYNCED;
    argv[6] = MESH_REDIS_GENS;
    argv[7] = found;
    argv[8] = p->epoch_text;
    argv[9] = p->signer_value;
    argv[10] = MESH_REDIS_CHANNEL MESH_REDIS_SIGNER;

    p->state = MESH_PUBLISH_CLAIMING;

    mesh_publish_send_take(p, mesh_publish_on_claim, NULL, 11, argv, NULL);
}


/*
 * One more than any that was ever used, as far as can be told.  What stands
 * in mesh:epoch without a genuine signer may be anything, and counts only if
 * it leaves room for many more.  If Redis and our own file are lost together
 * nothing can be told, but agents remember: the clock stands in.
 */

static uint64_t
mesh_publish_next_epoch(const mesh_publish_t *p, const char *found,
    uint64_t genuine, time_t now)
{
    char      *end;
    uint64_t   epoch, number, least;

    epoch = mesh_max(p->used, genuine);

    number = strtoull(found, &end, 10);

    if (found[0] >= '0' && found[0] <= '9' && *end == '\0'
        && number < MESH_PUBLISH_PLAUSIBLE)
    {
        epoch = mesh_max(epoch, number);
    }

    least = p->epoch_set ? p->epoch_set : mesh_publish_epoch_at(now);
    least = mesh_max(least, p->epoch_min);

    return mesh_max(epoch + 1, least);
}


uint64_t
mesh_publish_epoch_at(time_t now)
{
    uint64_t  epoch;

    if (now < MESH_PUBLISH_CLOCK_0) {
        return 1;
    }

    epoch = (uint64_t) (now - MESH_PUBLISH_CLOCK_0) / MESH_PUBLISH_CLOCK_S;

    return mesh_min(epoch + 1, MESH_PUBLISH_PLAUSIBLE);
}


/* on disk before it is used: not even a crash uses it twice */

static int
mesh_publish_use_epoch(mesh_publish_t *p, uint64_t epoch)
{
    char        text[32];
    mesh_err_t  err;

    if (epoch > MESH_PUBLISH_EPOCH_MAX) {
        mesh_log(MESH_LOG_ALERT, 0, "all epochs are used, wipe Redis and "
                 "remove \"%s\"", p->epoch_file);
        return MESH_ERROR;
    }

    snprintf(text, sizeof(text), "%llu\n", (unsigned long long) epoch);

    if (mesh_file_write(p->epoch_file, text, strlen(text), 0600, &err)
        != MESH_OK)
    {
        mesh_log(MESH_LOG_ERROR, 0, "cannot keep epoch %llu: %s",
                 (unsigned long long) epoch, err.text);
        return MESH_ERROR;
    }

    p->used = epoch;

    return MESH_OK;
}


static void
mesh_publish_on_claim(mesh_publish_t *p, char *text, const redisReply *reply)
{
    (void) text;

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        mesh_publish_again(p, "another writer was quicker");
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "claimed epoch %s, writing %zu documents",
             p->epoch_text, p->docs.n);

    p->state = MESH_PUBLISH_LIVE;
    p->claimed = 1;
    p->leftovers = 0;
    p->sync_sent = 0;
    p->synced = 0;
    p->began_ms = mesh_publish_now_ms();

    mesh_publish_ask_leftovers(p);
    mesh_publish_fill(p);
}


/* each time: the replies are in the pipeline before what needs them */

static void
mesh_publish_load_scripts(mesh_publish_t *p)
{
    int          i;
    const char  *argv[3];

    argv[0] = "SCRIPT";
    argv[1] = "LOAD";

    for (i = 0; i < MESH_SCRIPTS; i++) {
        argv[2] = mesh_script_text(i);
        mesh_publish_send_take(p, NULL, NULL, 3, argv, NULL);
    }
}


static void
mesh_publish_send_signer(mesh_publish_t *p)
{
    const char  *argv[8];

    argv[0] = "EVALSHA";
    argv[1] = mesh_script_sha(MESH_SCRIPT_SIGNER);
    argv[2] = "2";
    argv[3] = MESH_REDIS_EPOCH;
    argv[4] = MESH_REDIS_SIGNER;
    argv[5] = p->epoch_text;
    argv[6] = p->signer_value;
    argv[7] = MESH_REDIS_CHANNEL MESH_REDIS_SIGNER;

    mesh_publish_send_take(p, mesh_publish_on_signer, NULL, 8, argv, NULL);
}


static void
mesh_publish_on_signer(mesh_publish_t *p, char *text, const redisReply *reply)
{
    (void) text;

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        mesh_publish_again(p, "the signer was refused");
        return;
    }

    mesh_log(MESH_LOG_NOTICE, 0, "wrote the signer of epoch %s",
             p->epoch_text);
}


/* once a second: the three keys that make the rest count */

static void
mesh_publish_on_check(mesh_publish_t *p, char *text, const redisReply *reply)
{
    const char  *wrong;

    wrong = NULL;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3
        || strcmp(mesh_publish_text(reply, 0), p->epoch_text) != 0)
    {
        wrong = "the epoch in Redis is not ours";

    } else if (strcmp(mesh_publish_text(reply, 1), text) != 0) {
        wrong = "the signer in Redis is not ours";
    }

    if (wrong) {
        mesh_publish_again(p, wrong);
        mesh_publish_begin(p);
        return;
    }

    if (p->synced
        && strcmp(mesh_publish_text(reply, 2), p->synced_value) != 0)
    {
        mesh_log(MESH_LOG_WARN, 0, "\"" MESH_REDIS_SYNCED "\" in Redis is "
                 "not ours, writing it again");

        p->synced = 0;
        p->sync_sent = 0;
        mesh_publish_pump(p);
    }
}


void
mesh_publish_send_take(mesh_publish_t *p, mesh_publish_reply_pt reply,
    char *text, int argc, const char **argv, const size_t *lens)
{
    mesh_publish_call_t  *call;

    call = mesh_mem_new(sizeof(mesh_publish_call_t));
    call->publish = p;
    call->reply = reply;
    call->text = text;
    call->session = p->session;

    if (mesh_redis_command(p->redis, mesh_publish_on_reply, call, argc, argv,
                           lens)
        != MESH_OK)
    {
        /* the connection is going: its close callback ends the session */

        free(text);
        free(call);
    }
}


static void
mesh_publish_on_reply(void *data, const redisReply *reply)
{
    mesh_publish_call_t  *call = data;

    char            reason[320];
    mesh_publish_t  *p;

    p = call->publish;

    if (reply == NULL || call->session != p->session) {
        /* void */

    } else if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(reason, sizeof(reason), "Redis says \"%s\"", reply->str);
        mesh_publish_again(p, reason);

    } else if (call->reply) {
        call->reply(p, call->text, reply);
    }

    free(call->text);
    free(call);
}


uint64_t
mesh_publish_now_ms(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}


/* keys do not stay in memory that is free */

static void
mesh_publish_replace(char **to, const char *text)
{
    if (*to) {
        explicit_bzero(*to, strlen(*to));
        free(*to);
    }

    *to = mesh_mem_str(text);
}
