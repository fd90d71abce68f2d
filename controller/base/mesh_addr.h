
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_ADDR_H_INCLUDED_
#define _MESH_ADDR_H_INCLUDED_

/* Socket addresses and their text: "10.0.0.1:80", "[::1]:80". */

#include <mesh_core.h>

#include <netinet/in.h>
#include <sys/socket.h>


typedef struct {
    union {
        struct sockaddr      sa;
        struct sockaddr_in   sin;
        struct sockaddr_in6  sin6;
    };
    socklen_t                len;
} mesh_addr_t;


/* a literal address and a port of 0 .. 65535 */
int mesh_addr_parse(const char *text, mesh_addr_t *addr, mesh_err_t *err);

/* the same into buf; "unix:" for anything else than v4 and v6 */
void mesh_addr_text(const struct sockaddr *sa, char *buf, size_t size);

/* "name:port" or "[v6]:port": host gets the name or address, no look-up */
int mesh_addr_split(const char *text, char *host, size_t size, uint16_t *port,
    mesh_err_t *err);


#endif /* _MESH_ADDR_H_INCLUDED_ */
