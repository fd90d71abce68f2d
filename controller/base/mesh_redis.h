
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_REDIS_H_INCLUDED_
#define _MESH_REDIS_H_INCLUDED_

/*
 * One connection to Redis on a libevent loop (hiredis): connects, says AUTH,
 * comes back after a loss with jittered back-off, sends heartbeats so that a
 * dead peer is noticed, and tells its owner through callbacks.  It keeps no
 * commands for later: what is under way when the connection goes is called
 * back with a NULL reply, and the owner starts anew in its open callback.
 *
 * A connection is either for commands or, if conf.channel is given, for
 * subscriptions (RESP2 does not mix them): an agent has one of each.
 *
 * Callbacks may call every function here but mesh_redis_free.
 */

#include <mesh_core.h>

#include <event2/event.h>
#include <hiredis/hiredis.h>


typedef struct mesh_redis_s  mesh_redis_t;


typedef struct {
    const char  *address;            /* HOST:PORT, [IP6]:PORT or unix:PATH */
    const char  *user;               /* NULL: the default user */
    const char  *password_file;      /* NULL: no AUTH; read at each connect */
    const char  *channel;            /* not NULL: for subscriptions; this one
                                        is always held and is the heartbeat */
    unsigned     timeout_ms;         /* connect + AUTH, heartbeat; 0: 5000 */
    unsigned     heartbeat_ms;       /* 0: 5000 */
    unsigned     backoff_min_ms;     /* 0: 100 */
    unsigned     backoff_max_ms;     /* 0: 5000 */
} mesh_redis_conf_t;


typedef struct {
    /* connected and authenticated: send now */
    void       (*open)(void *data, mesh_redis_t *redis);

    /* lost, or an attempt failed; it tries again by itself in retry_ms */
    void       (*close)(void *data, const char *reason, unsigned retry_ms);

    /* may be NULL: the server confirmed SUBSCRIBE: read the key now */
    void       (*subscribed)(void *data, const char *channel);

    /* may be NULL: a message of a subscribed channel */
    void       (*message)(void *data, const char *channel, const char *text,
                    size_t len);
} mesh_redis_handler_t;


/*
 * Called exactly once per accepted command.  reply is NULL if the connection
 * went before the answer came (the command may have been carried out; such
 * calls come before the next open), may be of type REDIS_REPLY_ERROR, and is
 * freed by the caller of the callback.
 */
typedef void (*mesh_redis_reply_pt)(void *data, const redisReply *reply);


/*
 * Starts to connect at once; conf is copied, handler must outlive the object.
 * Returns NULL and a sentence in err if the address is no address.
 */
mesh_redis_t *mesh_redis_new(struct event_base *base,
    const mesh_redis_conf_t *conf, const mesh_redis_handler_t *handler,
    void *data, mesh_err_t *err);

/* commands under way get their NULL reply; close is not called */
void mesh_redis_free(mesh_redis_t *redis);

/* 1 between open and close */
int mesh_redis_is_open(const mesh_redis_t *redis);

/*
 * Sends a command of argc arguments (lens NULL: they are C strings); reply
 * may be NULL.  Returns 0, or -1 if there is no connection (reply is not
 * called).  Commands are pipelined in order.
 */
int mesh_redis_command(mesh_redis_t *redis, mesh_redis_reply_pt reply,
    void *data, int argc, const char **argv, const size_t *lens);

/* for connections with conf.channel only; 0, or -1 if not connected */
int mesh_redis_subscribe(mesh_redis_t *redis, const char *channel);
int mesh_redis_unsubscribe(mesh_redis_t *redis, const char *channel);

/* drops the connection and connects again at once; close, then open */
void mesh_redis_reconnect(mesh_redis_t *redis, const char *reason);

#endif /* _MESH_REDIS_H_INCLUDED_ */
