
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Keeps one connection to Redis.  hiredis 0.14 has three traps that shape
 * this file: a context must not be freed inside its connect callback, so
 * "open" is told from the reply to the first command (AUTH or PING); a PING
 * on a subscribed connection leaks, so the heartbeat there is a SUBSCRIBE of
 * a channel that is held anyway; names would be resolved by a blocking call,
 * so evdns does it.
 */

#include <mesh_core.h>

#include <fcntl.h>

#include <arpa/inet.h>

#include <event2/dns.h>
#include <event2/util.h>
#include <hiredis/async.h>
#include <hiredis/adapters/libevent.h>

#include <mesh_backoff.h>
#include <mesh_redis.h>


#define MESH_REDIS_PASSWORD_MAX   1024
#define MESH_REDIS_PORT_DEFAULT   "6379"


typedef enum {
    MESH_REDIS_WAITING = 0,          /* for the next attempt */
    MESH_REDIS_RESOLVING,
    MESH_REDIS_CONNECTING,           /* TCP, then AUTH or PING */
    MESH_REDIS_OPEN
} mesh_redis_state_e;


/* outlives the connection that asked, if the answer comes late */

typedef struct {
    mesh_redis_t                      *redis;
    struct evdns_getaddrinfo_request  *request;
} mesh_redis_lookup_t;


typedef struct {
    mesh_redis_t                      *redis;
    mesh_redis_reply_pt                reply;
    void                              *data;
} mesh_redis_call_t;


struct mesh_redis_s {
    struct event_base               *base;
    struct event                    *timer;
    struct evdns_base               *dns;
    mesh_redis_lookup_t             *lookup;
    redisAsyncContext               *context;

    const mesh_redis_handler_t      *handler;
    void                            *data;

    char                            *path;       /* unix socket, or NULL */
    char                            *host;
    char                            *port;
    char                            *user;
    char                            *password_file;
    char                            *channel;

    unsigned                         timeout_ms;
    unsigned                         heartbeat_ms;
    mesh_backoff_t                   backoff;

    mesh_redis_state_e               state;
    const char                      *fault;      /* why hello was not sent */
    unsigned                         beat:1;     /* heartbeat not answered */
    unsigned                         heard:1;    /* any reply since the beat */
};


static int mesh_redis_address(mesh_redis_t *redis, const char *address);
static int mesh_redis_copy(char **to, const char *from);
static void mesh_redis_start(mesh_redis_t *redis);
static void mesh_redis_resolve(mesh_redis_t *redis);
static void mesh_redis_resolved(int rc, struct evutil_addrinfo *list,
    void *data);
static void mesh_redis_connect(mesh_redis_t *redis, const char *host);
static void mesh_redis_on_connect(const redisAsyncContext *context,
    int status);
static void mesh_redis_on_disconnect(const redisAsyncContext *context,
    int status);
static int mesh_redis_hello(mesh_redis_t *redis);
static int mesh_redis_password(mesh_redis_t *redis, char *password,
    size_t size);
static void mesh_redis_on_hello(redisAsyncContext *context, void *reply,
    void *data);
static void mesh_redis_on_channel(redisAsyncContext *context, void *reply,
    void *data);
static void mesh_redis_opened(mesh_redis_t *redis);
static void mesh_redis_on_reply(redisAsyncContext *context, void *reply,
    void *data);
static void mesh_redis_on_beat(redisAsyncContext *context, void *reply,
    void *data);
static void mesh_redis_on_timer(evutil_socket_t fd, short what, void *data);
static void mesh_redis_beat(mesh_redis_t *redis);
static void mesh_redis_lost(mesh_redis_t *redis, const char *reason);
static void mesh_redis_drop(mesh_redis_t *redis);
static void mesh_redis_arm(mesh_redis_t *redis, unsigned ms);


mesh_redis_t *
mesh_redis_new(struct event_base *base, const mesh_redis_conf_t *conf,
    const mesh_redis_handler_t *handler, void *data, mesh_err_t *err)
{
    mesh_redis_t  *redis;

    redis = calloc(1, sizeof(mesh_redis_t));
    if (redis == NULL) {
        mesh_err(err, "no memory");
        return NULL;
    }

    redis->base = base;
    redis->handler = handler;
    redis->data = data;
    redis->timeout_ms = conf->timeout_ms ? conf->timeout_ms : 5000;
    redis->heartbeat_ms = conf->heartbeat_ms ? conf->heartbeat_ms : 5000;

    mesh_backoff_init(&redis->backoff,
                      conf->backoff_min_ms ? conf->backoff_min_ms : 100,
                      conf->backoff_max_ms ? conf->backoff_max_ms : 5000);

    if (mesh_redis_address(redis, conf->address) != 0) {
        mesh_err(err, "\"%s\" is no address of a Redis, expected "
                 "HOST:PORT, [IP6]:PORT or unix:PATH", conf->address);
        goto failed;
    }

    if (mesh_redis_copy(&redis->user, conf->user) != 0
        || mesh_redis_copy(&redis->password_file, conf->password_file) != 0
        || mesh_redis_copy(&redis->channel, conf->channel) != 0)
    {
        mesh_err(err, "no memory");
        goto failed;
    }

    redis->timer = event_new(base, -1, 0, mesh_redis_on_timer, redis);
    if (redis->timer == NULL) {
        mesh_err(err, "no memory");
        goto failed;
    }

    /* from the loop, so that no callback comes before this returns */

    mesh_redis_arm(redis, 0);

    return redis;

failed:

    mesh_redis_free(redis);

    return NULL;
}


static int
mesh_redis_address(mesh_redis_t *redis, const char *address)
{
    size_t       len;
    const char  *colon, *host;

    if (strncmp(address, "unix:", 5) == 0) {
        return address[5] ? mesh_redis_copy(&redis->path, address + 5) : -1;
    }

    if (address[0] == '/') {
        return mesh_redis_copy(&redis->path, address);
    }

    host = address;
    colon = strrchr(address, ':');

    if (address[0] == '[') {
        host = address + 1;
        len = strcspn(host, "]");

        if (host[len] != ']') {
            return -1;
        }

        colon = host[len + 1] == ':' ? host + len + 1 : NULL;

        if (colon == NULL && host[len + 1] != '\0') {
            return -1;
        }

    } else {
        len = colon ? (size_t) (colon - address) : strlen(address);
    }

    if (len == 0 || len > 253 || (colon && colon[1] == '\0')
        || (host == address && memchr(host, ':', len)))
    {
        return -1;
    }

    redis->host = strndup(host, len);
    redis->port = strdup(colon ? colon + 1 : MESH_REDIS_PORT_DEFAULT);

    if (redis->host == NULL || redis->port == NULL
        || strspn(redis->port, "0123456789") != strlen(redis->port)
        || strlen(redis->port) > 5
        || strtol(redis->port, NULL, 10) < 1
        || strtol(redis->port, NULL, 10) > 65535)
    {
        return -1;
    }

    return 0;
}


static int
mesh_redis_copy(char **to, const char *from)
{
    if (from == NULL) {
        return 0;
    }

    *to = strdup(from);

    return *to ? 0 : -1;
}


void
mesh_redis_free(mesh_redis_t *redis)
{
    if (redis == NULL) {
        return;
    }

    mesh_redis_drop(redis);

    if (redis->dns) {
        evdns_base_free(redis->dns, 1);
    }

    if (redis->timer) {
        event_free(redis->timer);
    }

    free(redis->path);
    free(redis->host);
    free(redis->port);
    free(redis->user);
    free(redis->password_file);
    free(redis->channel);
    free(redis);
}


int
mesh_redis_is_open(const mesh_redis_t *redis)
{
    return redis->state == MESH_REDIS_OPEN;
}


static void
mesh_redis_start(mesh_redis_t *redis)
{
    struct in6_addr  addr;

    /* covers the whole attempt, to the answer of AUTH */

    mesh_redis_arm(redis, redis->timeout_ms);

    if (redis->path
        || inet_pton(AF_INET, redis->host, &addr) == 1
        || inet_pton(AF_INET6, redis->host, &addr) == 1)
    {
        mesh_redis_connect(redis, redis->host);
        return;
    }

    mesh_redis_resolve(redis);
}


static void
mesh_redis_resolve(mesh_redis_t *redis)
{
    mesh_redis_lookup_t               *lookup;
    struct evutil_addrinfo             hints;
    struct evdns_getaddrinfo_request  *request;

    redis->state = MESH_REDIS_RESOLVING;

    /* a new base each time: resolv.conf may have changed */

    if (redis->dns) {
        evdns_base_free(redis->dns, 1);
    }

    redis->dns = evdns_base_new(redis->base,
                                EVDNS_BASE_INITIALIZE_NAMESERVERS
                                |EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (redis->dns == NULL) {
        mesh_redis_lost(redis, "cannot read resolv.conf");
        return;
    }

    lookup = calloc(1, sizeof(mesh_redis_lookup_t));
    if (lookup == NULL) {
        mesh_redis_lost(redis, "no memory");
        return;
    }

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = EVUTIL_AI_ADDRCONFIG;

    lookup->redis = redis;

    /* NULL: the callback has run already, and freed lookup */

    request = evdns_getaddrinfo(redis->dns, redis->host, redis->port, &hints,
                                mesh_redis_resolved, lookup);

    if (request) {
        lookup->request = request;
        redis->lookup = lookup;
    }
}


static void
mesh_redis_resolved(int rc, struct evutil_addrinfo *list, void *data)
{
    mesh_redis_lookup_t  *lookup = data;

    char                  reason[320], host[INET6_ADDRSTRLEN];
    const void           *addr;
    mesh_redis_t         *redis;

    redis = lookup->redis;

    if (redis) {
        redis->lookup = NULL;

        if (rc != 0 || list == NULL) {
            snprintf(reason, sizeof(reason), "cannot resolve \"%s\": %s",
                     redis->host, evutil_gai_strerror(rc));
            mesh_redis_lost(redis, reason);

        } else {
            if (list->ai_family == AF_INET6) {
                addr = &((struct sockaddr_in6 *) list->ai_addr)->sin6_addr;

            } else {
                addr = &((struct sockaddr_in *) list->ai_addr)->sin_addr;
            }

            inet_ntop(list->ai_family, addr, host, sizeof(host));

            mesh_redis_connect(redis, host);
        }
    }

    if (list) {
        evutil_freeaddrinfo(list);
    }

    free(lookup);
}


static void
mesh_redis_connect(mesh_redis_t *redis, const char *host)
{
    char                reason[256];
    redisAsyncContext  *context;

    redis->state = MESH_REDIS_CONNECTING;
    redis->fault = NULL;

    if (redis->path) {
        context = redisAsyncConnectUnix(redis->path);

    } else {
        context = redisAsyncConnect(host, (int) strtol(redis->port, NULL, 10));
    }

    if (context == NULL || context->err) {
        snprintf(reason, sizeof(reason), "cannot connect: %s",
                 context ? context->errstr : "no memory");

        if (context) {
            redisAsyncFree(context);
        }

        mesh_redis_lost(redis, reason);
        return;
    }

    fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);

    redis->context = context;
    context->data = redis;

    if (redisLibeventAttach(context, redis->base) != REDIS_OK
        || redisAsyncSetConnectCallback(context, mesh_redis_on_connect)
           != REDIS_OK
        || redisAsyncSetDisconnectCallback(context, mesh_redis_on_disconnect)
           != REDIS_OK)
    {
        mesh_redis_lost(redis, "cannot put the connection on the loop");
    }
}


static void
mesh_redis_on_connect(const redisAsyncContext *context, int status)
{
    char           reason[256];
    mesh_redis_t  *redis;

    redis = context->data;

    if (redis == NULL) {
        return;
    }

    if (status == REDIS_OK) {
        if (mesh_redis_hello(redis) != 0) {

            /* not inside this callback: hiredis still uses the context */

            mesh_redis_arm(redis, 0);
        }

        return;
    }

    snprintf(reason, sizeof(reason), "cannot connect: %s", context->errstr);

    redis->context = NULL;           /* hiredis frees it when we return */
    mesh_redis_lost(redis, reason);
}


static void
mesh_redis_on_disconnect(const redisAsyncContext *context, int status)
{
    char           reason[256];
    mesh_redis_t  *redis;

    redis = context->data;

    if (redis == NULL) {
        return;
    }

    snprintf(reason, sizeof(reason), "connection lost: %s",
             (status != REDIS_OK && context->errstr && context->errstr[0])
             ? context->errstr : "closed");

    redis->context = NULL;
    mesh_redis_lost(redis, reason);
}


/* the first command: AUTH if there is a password, else PING */

static int
mesh_redis_hello(mesh_redis_t *redis)
{
    int          argc, rc;
    char         password[MESH_REDIS_PASSWORD_MAX];
    const char  *argv[3];

    argc = 0;

    if (redis->password_file) {
        if (mesh_redis_password(redis, password, sizeof(password)) != 0) {
            redis->fault = "cannot read the password file";
            return -1;
        }

        argv[argc++] = "AUTH";

        if (redis->user) {
            argv[argc++] = redis->user;
        }

        argv[argc++] = password;

    } else {
        argv[argc++] = "PING";
    }

    rc = redisAsyncCommandArgv(redis->context, mesh_redis_on_hello, redis,
                               argc, argv, NULL);

    explicit_bzero(password, sizeof(password));

    if (rc != REDIS_OK) {
        redis->fault = "cannot send";
        return -1;
    }

    return 0;
}


/* read at each connect, so that a changed file needs no restart */

static int
mesh_redis_password(mesh_redis_t *redis, char *password, size_t size)
{
    int      fd;
    ssize_t  n;

    fd = open(redis->password_file, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    n = read(fd, password, size - 1);
    close(fd);

    if (n <= 0) {
        return -1;
    }

    password[n] = '\0';
    password[strcspn(password, "\r\n")] = '\0';

    return password[0] ? 0 : -1;
}


static void
mesh_redis_on_hello(redisAsyncContext *context, void *reply, void *data)
{
    char               reason[320];
    mesh_redis_t      *redis = data;
    const redisReply  *r = reply;

    if (r == NULL || redis->context != context) {
        return;
    }

    if (r->type == REDIS_REPLY_ERROR) {
        snprintf(reason, sizeof(reason), "refused: %s", r->str);
        mesh_redis_lost(redis, reason);
        return;
    }

    if (redis->channel == NULL) {
        mesh_redis_opened(redis);
        return;
    }

    if (mesh_redis_subscribe(redis, redis->channel) != 0) {
        mesh_redis_lost(redis, "cannot send");
    }
}


static void
mesh_redis_opened(mesh_redis_t *redis)
{
    redis->state = MESH_REDIS_OPEN;
    mesh_backoff_reset(&redis->backoff);
    redis->beat = 0;

    mesh_redis_arm(redis, redis->heartbeat_ms);

    redis->handler->open(redis->data, redis);
}


/* confirmations and messages of all channels; NULL when it is freed */

static void
mesh_redis_on_channel(redisAsyncContext *context, void *reply, void *data)
{
    mesh_redis_t      *redis = data;
    const char        *kind, *channel;
    const redisReply  *r = reply;

    if (r == NULL || redis->context != context) {
        return;
    }

    if (r->type != REDIS_REPLY_ARRAY || r->elements < 3
        || r->element[0]->type != REDIS_REPLY_STRING
        || r->element[1]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    kind = r->element[0]->str;
    channel = r->element[1]->str;
    redis->heard = 1;

    if (strcmp(kind, "message") == 0) {
        if (redis->handler->message
            && r->element[2]->type == REDIS_REPLY_STRING)
        {
            redis->handler->message(redis->data, channel, r->element[2]->str,
                                    (size_t) r->element[2]->len);
        }

        return;
    }

    if (strcmp(kind, "subscribe") != 0) {
        return;
    }

    if (redis->state != MESH_REDIS_OPEN) {
        mesh_redis_opened(redis);

        if (redis->context != context) {
            return;
        }

    } else if (redis->beat && strcmp(channel, redis->channel) == 0) {
        redis->beat = 0;
        mesh_redis_arm(redis, redis->heartbeat_ms);
        return;
    }

    if (redis->handler->subscribed) {
        redis->handler->subscribed(redis->data, channel);
    }
}


int
mesh_redis_command(mesh_redis_t *redis, mesh_redis_reply_pt reply,
    void *data, int argc, const char **argv, const size_t *lens)
{
    mesh_redis_call_t  *call;

    if (redis->state != MESH_REDIS_OPEN || redis->channel) {
        return -1;
    }

    call = malloc(sizeof(mesh_redis_call_t));
    if (call == NULL) {
        return -1;
    }

    call->redis = redis;
    call->reply = reply;
    call->data = data;

    if (redisAsyncCommandArgv(redis->context, mesh_redis_on_reply, call,
                              argc, argv, lens)
        != REDIS_OK)
    {
        free(call);
        return -1;
    }

    return 0;
}


static void
mesh_redis_on_reply(redisAsyncContext *context, void *reply, void *data)
{
    mesh_redis_call_t  *call = data;

    mesh_redis_call_t   c;

    (void) context;

    c = *call;
    free(call);

    if (reply) {
        c.redis->heard = 1;
    }

    if (c.reply) {
        c.reply(c.data, reply);
    }
}


int
mesh_redis_subscribe(mesh_redis_t *redis, const char *channel)
{
    const char  *argv[2];

    if (redis->context == NULL || redis->channel == NULL) {
        return -1;
    }

    argv[0] = "SUBSCRIBE";
    argv[1] = channel;

    return redisAsyncCommandArgv(redis->context, mesh_redis_on_channel, redis,
                                 2, argv, NULL) == REDIS_OK ? 0 : -1;
}


int
mesh_redis_unsubscribe(mesh_redis_t *redis, const char *channel)
{
    const char  *argv[2];

    if (redis->state != MESH_REDIS_OPEN || redis->channel == NULL) {
        return -1;
    }

    /* without the last channel hiredis would leave the subscribed state */

    if (strcmp(channel, redis->channel) == 0) {
        return 0;
    }

    argv[0] = "UNSUBSCRIBE";
    argv[1] = channel;

    return redisAsyncCommandArgv(redis->context, mesh_redis_on_channel, redis,
                                 2, argv, NULL) == REDIS_OK ? 0 : -1;
}


void
mesh_redis_reconnect(mesh_redis_t *redis, const char *reason)
{
    if (redis->state == MESH_REDIS_WAITING) {
        mesh_backoff_reset(&redis->backoff);
        mesh_redis_arm(redis, 0);
        return;
    }

    mesh_redis_drop(redis);

    mesh_backoff_reset(&redis->backoff);
    mesh_redis_arm(redis, 0);

    redis->handler->close(redis->data, reason, 0);
}


static void
mesh_redis_on_timer(evutil_socket_t fd, short what, void *data)
{
    mesh_redis_t  *redis = data;

    (void) fd;
    (void) what;

    switch (redis->state) {

    case MESH_REDIS_WAITING:
        mesh_redis_start(redis);
        break;

    case MESH_REDIS_RESOLVING:
        mesh_redis_lost(redis, "timed out resolving the name");
        break;

    case MESH_REDIS_CONNECTING:
        mesh_redis_lost(redis, redis->fault ? redis->fault
                                            : "timed out connecting");
        break;

    case MESH_REDIS_OPEN:

        if (redis->beat && !redis->heard) {
            mesh_redis_lost(redis, "no answer to a heartbeat");
            break;
        }

        mesh_redis_beat(redis);
        break;
    }
}


static void
mesh_redis_beat(mesh_redis_t *redis)
{
    int          rc;
    const char  *argv[1];

    redis->heard = 0;

    if (redis->beat) {

        /* the answer is behind a long pipeline that moves: wait on */

        mesh_redis_arm(redis, redis->timeout_ms);
        return;
    }

    redis->beat = 1;
    mesh_redis_arm(redis, redis->timeout_ms);

    if (redis->channel) {
        rc = mesh_redis_subscribe(redis, redis->channel);

    } else {
        argv[0] = "PING";
        rc = redisAsyncCommandArgv(redis->context, mesh_redis_on_beat, redis,
                                   1, argv, NULL) == REDIS_OK ? 0 : -1;
    }

    if (rc != 0) {
        mesh_redis_lost(redis, "cannot send");
    }
}


static void
mesh_redis_on_beat(redisAsyncContext *context, void *reply, void *data)
{
    mesh_redis_t  *redis = data;

    if (reply == NULL || redis->context != context) {
        return;
    }

    redis->beat = 0;
    mesh_redis_arm(redis, redis->heartbeat_ms);
}


/* the one place where a connection or an attempt ends by itself */

static void
mesh_redis_lost(mesh_redis_t *redis, const char *reason)
{
    unsigned  ms;
    uint32_t  rnd;

    mesh_redis_drop(redis);

    evutil_secure_rng_get_bytes(&rnd, sizeof(rnd));

    ms = mesh_backoff_next(&redis->backoff, rnd);

    mesh_redis_arm(redis, ms);

    redis->handler->close(redis->data, reason, ms);
}


/* leaves the state waiting without a connection; tells nobody */

static void
mesh_redis_drop(mesh_redis_t *redis)
{
    mesh_redis_lookup_t  *lookup;
    redisAsyncContext    *context;

    redis->state = MESH_REDIS_WAITING;
    redis->beat = 0;

    if (redis->timer) {
        event_del(redis->timer);
    }

    lookup = redis->lookup;

    if (lookup) {
        redis->lookup = NULL;
        lookup->redis = NULL;
        evdns_getaddrinfo_cancel(lookup->request);
    }

    context = redis->context;

    if (context) {
        redis->context = NULL;
        context->data = NULL;
        redisAsyncFree(context);
    }
}


static void
mesh_redis_arm(mesh_redis_t *redis, unsigned ms)
{
    struct timeval  tv;

    tv.tv_sec = ms / 1000;
    tv.tv_usec = (ms % 1000) * 1000;

    event_add(redis->timer, &tv);
}
