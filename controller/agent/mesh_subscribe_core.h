
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_SUBSCRIBE_CORE_H_INCLUDED_
#define _MESH_SUBSCRIBE_CORE_H_INCLUDED_

/*
 * What the three files of mesh_subscribe share: mesh_subscribe.c (its life,
 * what workers ask), mesh_subscribe_need.c (which keys, which answers) and
 * mesh_subscribe_read.c (Redis).  Nobody else includes this.
 */

#include <mesh_core.h>
#include <mesh_redis.h>
#include <mesh_sign.h>
#include <mesh_subscribe.h>


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
    uint64_t                  judged;      /* by the bundle of this pair */
    uint64_t                  epoch;       /* no older signer is taken */
    char                      watch_id[MESH_ID_MAX_BYTES + 1];

    struct event             *gather;
    struct event             *check;
    int                       gathering;
    unsigned                  dirty:1;     /* documents changed since told */
    unsigned                  stopped:1;
};


extern const mesh_redis_handler_t  mesh_commands_handler;
extern const mesh_redis_handler_t  mesh_channels_handler;


int64_t mesh_subscribe_now_ms(void);

/* computes keys and answers anew and tells of what changed */
void mesh_subscribe_update(mesh_subscribe_t *s);

/* forgets what was not used, or not there, for long; update follows */
void mesh_subscribe_age(mesh_subscribe_t *s);

/* subscribes a key, or ends that; nothing without a connection */
void mesh_subscribe_channel(mesh_subscribe_t *s, const char *key, int on);

/* reads what is dirty, in a moment: a burst of messages is one read */
void mesh_subscribe_later(mesh_subscribe_t *s);

/* timers: the moment is over; 10 s are */
void mesh_subscribe_gather(evutil_socket_t fd, short what, void *data);
void mesh_subscribe_check(evutil_socket_t fd, short what, void *data);


#endif /* _MESH_SUBSCRIBE_CORE_H_INCLUDED_ */
