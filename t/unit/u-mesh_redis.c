
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_redis.c controller/base/; -levent -lhiredis */

/*
 * The client against a small server of this file that says what each case
 * needs; t/watch has the real Redis.
 */

#include <mesh_core.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <mesh_file.h>
#include <mesh_redis.h>

#include "unit.h"


#define SOCKET    "/tmp/u-mesh_redis.%d.%s"


static struct event_base      *base;
static struct evconnlistener  *listener;
static struct bufferevent     *peer;        /* the server's end */
static const char             *answers[8];  /* to each command, in order */
static unsigned                nanswers;
static char                    heard[1024]; /* by the server */
static char                    said[1024];  /* by the client's callbacks */
static char                    address[128];
static mesh_redis_t           *redis;


static void
add(char *text, size_t size, const char *fmt, const char *word)
{
    size_t  len;

    len = strlen(text);
    snprintf(text + len, size - len, fmt, word);
}


/* commands are told apart by "*", which no argument here has */

static void
on_read(struct bufferevent *bev, void *data)
{
    int              n;
    char             text[512], *p;
    const char      *answer;

    (void) data;

    n = (int) bufferevent_read(bev, text, sizeof(text) - 1);
    text[n] = '\0';

    add(heard, sizeof(heard), "%s", text);

    for (p = text; *p; p++) {
        if (*p != '*') {
            continue;
        }

        answer = nanswers < 8 ? answers[nanswers++] : NULL;

        if (answer == NULL) {
            continue;
        }

        if (strcmp(answer, "close") == 0) {
            bufferevent_free(bev);
            peer = NULL;
            return;
        }

        evbuffer_add(bufferevent_get_output(bev), answer, strlen(answer));
    }
}


static void
on_event(struct bufferevent *bev, short what, void *data)
{
    (void) what;
    (void) data;

    bufferevent_free(bev);

    if (peer == bev) {
        peer = NULL;
    }
}


static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *data)
{
    (void) l;
    (void) sa;
    (void) len;
    (void) data;

    peer = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(peer, on_read, NULL, on_event, NULL);
    bufferevent_enable(peer, EV_READ|EV_WRITE);
}


static void
on_open(void *data, mesh_redis_t *r)
{
    (void) data;
    (void) r;

    add(said, sizeof(said), "open. ", NULL);
}


static void
on_close(void *data, const char *reason, unsigned retry_ms)
{
    (void) data;

    add(said, sizeof(said), "close %s. ", reason);
    UNIT_OK(retry_ms <= 200);
}


static void
on_subscribed(void *data, const char *channel)
{
    (void) data;

    add(said, sizeof(said), "subscribed %s. ", channel);
}


static void
on_message(void *data, const char *channel, const char *text, size_t len)
{
    (void) data;

    add(said, sizeof(said), "message %s ", channel);
    add(said, sizeof(said), "%s. ", text);
    UNIT_EQ(len, strlen(text));
}


static void
on_reply(void *data, const redisReply *reply)
{
    (void) data;

    if (reply == NULL) {
        add(said, sizeof(said), "reply none. ", NULL);
        return;
    }

    add(said, sizeof(said),
        reply->type == REDIS_REPLY_ERROR ? "error %s. " : "reply %s. ",
        reply->str);
}


static const mesh_redis_handler_t  handler = {
    on_open, on_close, on_subscribed, on_message
};


static void
server(void)
{
    struct sockaddr_un  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sun_family = AF_UNIX;
    snprintf(sa.sun_path, sizeof(sa.sun_path), SOCKET, (int) getpid(),
             "sock");
    (void) unlink(sa.sun_path);

    snprintf(address, sizeof(address), "unix:%s", sa.sun_path);

    listener = evconnlistener_new_bind(base, on_accept, NULL,
                                       LEV_OPT_CLOSE_ON_FREE, 8,
                                       (struct sockaddr *) &sa, sizeof(sa));
}


static void
begin(const char *channel, const char *password, const char *first)
{
    char               file[128];
    mesh_err_t         err;
    mesh_redis_conf_t  conf;

    base = event_base_new();
    said[0] = '\0';
    heard[0] = '\0';
    nanswers = 0;
    memset(answers, 0, sizeof(answers));
    answers[0] = first;

    server();
    UNIT_NEED(listener != NULL);

    memset(&conf, 0, sizeof(conf));
    conf.address = address;
    conf.channel = channel;
    conf.timeout_ms = 300;
    conf.heartbeat_ms = 100;
    conf.backoff_min_ms = 20;
    conf.backoff_max_ms = 200;

    if (password) {
        snprintf(file, sizeof(file), SOCKET, (int) getpid(), "password");

        if (password[0]) {
            UNIT_EQ(mesh_file_write(file, password, strlen(password), 0600,
                                    NULL), MESH_OK);
        }

        conf.user = "agent";
        conf.password_file = file;
    }

    redis = mesh_redis_new(base, &conf, &handler, NULL, &err);
    UNIT_NEED(redis != NULL);

    (void) unlink(password && !password[0] ? file : "");
}


static void
end(void)
{
    char  file[128];

    mesh_redis_free(redis);

    if (peer) {
        bufferevent_free(peer);
        peer = NULL;
    }

    evconnlistener_free(listener);
    event_base_free(base);

    (void) unlink(address + 5);
    snprintf(file, sizeof(file), SOCKET, (int) getpid(), "password");
    (void) unlink(file);
}


static void
on_late(evutil_socket_t fd, short what, void *data)
{
    (void) fd;
    (void) what;

    *(int *) data = 1;
}


/* runs the loop until text has word, 1; 5 seconds at most, 0 */

static int
until(const char *text, const char *word)
{
    int              late;
    struct event    *timer;
    struct timeval   tv = { 5, 0 };

    late = 0;
    timer = evtimer_new(base, on_late, &late);
    evtimer_add(timer, &tv);

    while (!late && strstr(text, word) == NULL) {
        event_base_loop(base, EVLOOP_ONCE);
    }

    event_free(timer);

    if (late) {
        printf("# no \"%s\" in \"%s\"\n", word, text);
    }

    return !late;
}


static int
command(const char *a, const char *b)
{
    const char  *argv[2] = { a, b };

    return mesh_redis_command(redis, on_reply, NULL, 2, argv, NULL);
}


static void
addresses_are_checked(void)
{
    size_t             i;
    mesh_err_t         err;
    mesh_redis_conf_t  conf;

    static const char  *bad[] = {
        "", ":6379", "host:", "host:0", "host:65536", "host:x", "[::1",
        "[::1]x", "::1", "unix:", "host:-1"
    };
    static const char  *good[] = {
        "127.0.0.1:1", "[::1]:1", "127.0.0.1", "[::1]", "/run/x", "unix:x"
    };

    base = event_base_new();
    memset(&conf, 0, sizeof(conf));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        conf.address = bad[i];
        UNIT_OK(mesh_redis_new(base, &conf, &handler, NULL, &err) == NULL);
        UNIT_HAS(err.text, "is no address");
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        conf.address = good[i];
        redis = mesh_redis_new(base, &conf, &handler, NULL, &err);
        UNIT_NEED(redis != NULL);
        UNIT_OK(!mesh_redis_is_open(redis));
        UNIT_EQ(command("GET", "a"), -1);
        mesh_redis_free(redis);
    }

    event_base_free(base);
}


static void
commands_are_answered_in_order(void)
{
    begin(NULL, NULL, "+PONG\r\n");
    answers[1] = "$1\r\nx\r\n";
    answers[2] = "-ERR no\r\n";

    UNIT_OK(until(said, "open."));
    UNIT_OK(mesh_redis_is_open(redis));
    UNIT_EQ(command("GET", "a"), 0);
    UNIT_EQ(command("GET", "b"), 0);
    UNIT_OK(until(said, "error"));
    UNIT_STR(said, "open. reply x. error ERR no. ");
    end();
}


static void
the_password_is_sent_first(void)
{
    begin(NULL, "secret\n", "+OK\r\n");
    UNIT_OK(until(said, "open."));
    UNIT_HAS(heard, "*3\r\n$4\r\nAUTH\r\n$5\r\nagent\r\n$6\r\nsecret\r\n");
    end();

    begin(NULL, "wrong", "-WRONGPASS invalid\r\n");
    UNIT_OK(until(said, "close refused: WRONGPASS invalid. "));
    UNIT_OK(strstr(said, "open") == NULL);
    end();

    begin(NULL, "", NULL);
    UNIT_OK(until(said, "close cannot read the password file. "));
    end();
}


static void
a_loss_is_told_and_mended(void)
{
    begin(NULL, NULL, "+PONG\r\n");
    answers[1] = "close";
    answers[2] = "+PONG\r\n";

    UNIT_OK(until(said, "open."));
    UNIT_EQ(command("GET", "a"), 0);
    UNIT_EQ(command("GET", "b"), 0);
    UNIT_OK(until(said, "close"));
    UNIT_HAS(said, "open. reply none. reply none. close connection lost");
    UNIT_EQ(command("GET", "c"), -1);

    said[0] = '\0';
    UNIT_OK(until(said, "open."));

    said[0] = '\0';
    nanswers = 2;
    mesh_redis_reconnect(redis, "because");
    UNIT_OK(until(said, "open."));
    UNIT_STR(said, "close because. open. ");
    end();
}


static void
nobody_listens(void)
{
    begin(NULL, NULL, NULL);
    evconnlistener_free(listener);
    (void) unlink(address + 5);
    UNIT_OK(until(said, "close cannot connect"));

    said[0] = '\0';
    answers[0] = "+PONG\r\n";
    server();
    UNIT_OK(until(said, "open."));
    end();
}


static void
silence_is_a_loss(void)
{
    /* at the first word, and at a heartbeat */

    begin(NULL, NULL, NULL);
    UNIT_OK(until(said, "close timed out connecting. "));
    end();

    begin(NULL, NULL, "+PONG\r\n");
    answers[1] = "+PONG\r\n";
    UNIT_OK(until(said, "close no answer to a heartbeat. "));
    UNIT_HAS(said, "open. ");
    UNIT_EQ(nanswers, 3);
    end();
}


#define CONFIRM(channel)  "*3\r\n$9\r\nsubscribe\r\n" channel ":1\r\n"


static void
channels_are_confirmed_and_heard(void)
{
    begin("c:0", NULL, "+PONG\r\n");
    answers[1] = CONFIRM("$3\r\nc:0\r\n");
    answers[2] = CONFIRM("$3\r\nc:1\r\n")
                 "*3\r\n$7\r\nmessage\r\n$3\r\nc:1\r\n$2\r\n17\r\n";
    answers[3] = CONFIRM("$3\r\nc:0\r\n");
    answers[4] = CONFIRM("$3\r\nc:0\r\n");

    UNIT_OK(until(said, "open. subscribed c:0. "));
    UNIT_EQ(command("GET", "a"), -1);
    UNIT_EQ(mesh_redis_subscribe(redis, "c:1"), 0);
    UNIT_OK(until(said, "message c:1 17. "));
    UNIT_STR(said, "open. subscribed c:0. subscribed c:1. "
                   "message c:1 17. ");

    /* heartbeats are subscriptions, which nobody hears of */

    UNIT_OK(until(said, "close no answer to a heartbeat. "));
    UNIT_STR(said, "open. subscribed c:0. subscribed c:1. "
                   "message c:1 17. close no answer to a heartbeat. ");
    end();
}


static void
freeing_answers_what_is_under_way(void)
{
    begin(NULL, NULL, "+PONG\r\n");
    UNIT_OK(until(said, "open."));
    UNIT_EQ(command("GET", "a"), 0);
    end();
    UNIT_STR(said, "open. reply none. ");
}


UNIT_TESTS = {
    UNIT(addresses_are_checked),
    UNIT(commands_are_answered_in_order),
    UNIT(the_password_is_sent_first),
    UNIT(a_loss_is_told_and_mended),
    UNIT(nobody_listens),
    UNIT(silence_is_a_loss),
    UNIT(channels_are_confirmed_and_heard),
    UNIT(freeing_answers_what_is_under_way),
    UNIT_END
};
