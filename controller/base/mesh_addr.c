
/*
 * Copyright (C) ngx-mesh authors
 */


/* Addresses as text, without a resolver: what is a literal and what is not. */

#include <mesh_addr.h>

#include <arpa/inet.h>


int
mesh_addr_split(const char *text, char *host, size_t size, uint16_t *port,
    mesh_err_t *err)
{
    char        *end;
    long         n;
    size_t       len;
    const char  *start, *colon;

    colon = strrchr(text, ':');

    if (text[0] == '[') {
        start = text + 1;
        len = strcspn(start, "]");

        if (start[len] != ']' || start + len + 1 != colon) {
            goto failed;
        }

    } else {
        start = text;
        len = strcspn(start, ":");

        if (colon == NULL || start + len != colon) {
            goto failed;              /* a v6 address needs brackets */
        }
    }

    if (len == 0 || len >= size || colon[1] < '0' || colon[1] > '9') {
        goto failed;
    }

    n = strtol(colon + 1, &end, 10);

    if (*end != '\0' || n > 65535) {
        goto failed;
    }

    memcpy(host, start, len);
    host[len] = '\0';
    *port = (uint16_t) n;

    return MESH_OK;

failed:

    return mesh_err(err, "\"%s\" is no address, expected HOST:PORT or "
                    "[IPV6]:PORT", text);
}


int
mesh_addr_parse(const char *text, mesh_addr_t *addr, mesh_err_t *err)
{
    char      host[INET6_ADDRSTRLEN];
    uint16_t  port;

    if (mesh_addr_split(text, host, sizeof(host), &port, err) != MESH_OK) {
        return MESH_ERROR;
    }

    memset(addr, 0, sizeof(mesh_addr_t));

    if (inet_pton(AF_INET, host, &addr->sin.sin_addr) == 1) {
        addr->sin.sin_family = AF_INET;
        addr->sin.sin_port = htons(port);
        addr->len = sizeof(struct sockaddr_in);
        return MESH_OK;
    }

    if (inet_pton(AF_INET6, host, &addr->sin6.sin6_addr) == 1) {
        addr->sin6.sin6_family = AF_INET6;
        addr->sin6.sin6_port = htons(port);
        addr->len = sizeof(struct sockaddr_in6);
        return MESH_OK;
    }

    return mesh_err(err, "\"%s\" is no address, expected IPV4:PORT or "
                    "[IPV6]:PORT", text);
}


void
mesh_addr_text(const struct sockaddr *sa, char *buf, size_t size)
{
    char                        host[INET6_ADDRSTRLEN];
    const struct sockaddr_in   *sin;
    const struct sockaddr_in6  *sin6;

    switch (sa->sa_family) {

    case AF_INET:
        sin = (const struct sockaddr_in *) sa;
        (void) inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
        (void) snprintf(buf, size, "%s:%d", host, ntohs(sin->sin_port));
        return;

    case AF_INET6:
        sin6 = (const struct sockaddr_in6 *) sa;
        (void) inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
        (void) snprintf(buf, size, "[%s]:%d", host, ntohs(sin6->sin6_port));
        return;

    default:
        (void) snprintf(buf, size, "unix:");
    }
}
