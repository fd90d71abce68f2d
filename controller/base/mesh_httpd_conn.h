
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_HTTPD_CONN_H_INCLUDED_
#define _MESH_HTTPD_CONN_H_INCLUDED_

/*
 * What mesh_httpd.c (listeners, the number of connections) and
 * mesh_httpd_conn.c (one connection) share; nobody else includes it.
 */

#include <mesh_httpd.h>
#include <mesh_http.h>

#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>


#define MESH_HTTPD_HANDSHAKE   0
#define MESH_HTTPD_IDLE        1      /* waits for the first byte */
#define MESH_HTTPD_HEAD        2
#define MESH_HTTPD_BODY        3
#define MESH_HTTPD_HANDLER     4      /* waits for mesh_httpd_answer() */
#define MESH_HTTPD_ANSWER      5      /* the answer is on its way */
#define MESH_HTTPD_LINGER      6      /* closed for writing, reads to EOF */

#define MESH_HTTPD_LISTEN_MAX  8


typedef struct mesh_httpd_conn_s  mesh_httpd_conn_t;

TAILQ_HEAD(mesh_httpd_conns, mesh_httpd_conn_s);


struct mesh_httpd_s {
    mesh_httpd_conf_t         conf;
    struct evconnlistener    *listeners[MESH_HTTPD_LISTEN_MAX];
    char                     *unix_path;
    int                       nlisteners;
    int                       port;
    int                       paused;     /* does not accept */
    int                       starved;    /* because accept() failed */
    struct event             *resume;
    struct mesh_httpd_conns   conns;      /* oldest activity first */
    int                       nconns;
};


struct mesh_httpd_request_s {
    mesh_http_head_t          head;
    mesh_http_body_t          body;
    struct evbuffer          *headers;    /* of the answer */
    void                    (*on_close)(void *data);
    void                     *on_close_data;
};


struct mesh_httpd_conn_s {
    mesh_httpd_request_t      request;    /* first: a request is its conn */
    mesh_httpd_t             *httpd;
    struct bufferevent       *bev;
    struct event             *timer;
    TAILQ_ENTRY(mesh_httpd_conn_s)  link;
    int                       state;
    uint64_t                  since;      /* of the state, ms */
    int                       close;      /* after the answer */
    size_t                    scanned;
    char                      client[64];
};


/*
 * A connection for an accepted socket; NULL: no memory, and fd is closed.
 * It counts itself in httpd and frees itself.
 */
mesh_httpd_conn_t *mesh_httpd_conn_new(mesh_httpd_t *httpd,
    evutil_socket_t fd);
void mesh_httpd_conn_close(mesh_httpd_conn_t *c);

/* a connection has gone: there is room to accept one */
void mesh_httpd_unpause(mesh_httpd_t *httpd);

uint64_t mesh_httpd_now_ms(void);


#endif /* _MESH_HTTPD_CONN_H_INCLUDED_ */
