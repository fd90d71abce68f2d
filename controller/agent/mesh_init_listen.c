
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The sockets of a sidecar.  An address that the kernel lacks is no fault:
 * IPv6 may be off.
 */

#include <mesh_core.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <mesh_init_listen.h>
#include <mesh_names.h>


#define MESH_INIT_BACKLOG  511


static int
mesh_init_listen(mesh_init_sockets_t *sockets, const char *ip, in_port_t port,
    mesh_err_t *err)
{
    int                   fd, on, number;
    socklen_t             len;
    struct sockaddr_in   *sin;
    struct sockaddr_in6  *sin6;

    union {
        struct sockaddr      any;
        struct sockaddr_in   v4;
        struct sockaddr_in6  v6;
    } sa;

    memset(&sa, 0, sizeof(sa));

    sin = &sa.v4;
    sin6 = &sa.v6;

    if (inet_pton(AF_INET, ip, &sin->sin_addr) == 1) {
        sin->sin_family = AF_INET;
        sin->sin_port = htons(port);
        len = sizeof(struct sockaddr_in);

    } else {
        (void) inet_pton(AF_INET6, ip, &sin6->sin6_addr);
        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons(port);
        len = sizeof(struct sockaddr_in6);
    }

    fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                0);

    if (fd == -1 && errno == EAFNOSUPPORT) {
        return MESH_OK;
    }

    on = 1;

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || (sa.any.sa_family == AF_INET6
            && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))
               == -1)
        || bind(fd, &sa.any, len) == -1
        || listen(fd, MESH_INIT_BACKLOG) == -1)
    {
        number = errno;

        if (fd != -1) {
            (void) close(fd);
        }

        if (number == EADDRNOTAVAIL && sa.any.sa_family == AF_INET6) {
            return MESH_OK;
        }

        return mesh_err_sys(err, number, "cannot listen on \"%s\" port %u",
                            ip, port);
    }

    sockets->fd[sockets->n++] = fd;

    return MESH_OK;
}


static int
mesh_init_listen_unix(mesh_init_sockets_t *sockets, const char *path,
    mesh_err_t *err)
{
    int                 fd;
    struct sockaddr_un  sa;

    memset(&sa, 0, sizeof(sa));

    sa.sun_family = AF_UNIX;
    (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);

    if (unlink(path) == -1 && errno != ENOENT) {
        return mesh_err_sys(err, errno, "unlink(\"%s\") failed", path);
    }

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1
        || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) == -1
        || chmod(path, 0600) == -1
        || listen(fd, MESH_INIT_BACKLOG) == -1)
    {
        return mesh_err_sys(err, errno, "cannot listen on \"unix:%s\"", path);
    }

    sockets->fd[sockets->n++] = fd;

    return MESH_OK;
}


int
mesh_init_sockets(mesh_init_sockets_t *sockets,
    const mesh_agent_conf_t *conf, mesh_err_t *err)
{
    char    path[sizeof(((struct sockaddr_un *) NULL)->sun_path)];
    size_t  n;

    static const struct {
        const char  *ip;
        in_port_t    port;
    } listen[] = {
        { "127.0.0.1", MESH_PORT_OUTBOUND },
        { "::1",       MESH_PORT_OUTBOUND },
        { "0.0.0.0",   MESH_PORT_INBOUND },
        { "::",        MESH_PORT_INBOUND },
        { "0.0.0.0",   MESH_PORT_ADMIN },
        { "::",        MESH_PORT_ADMIN }
    };

    for (n = 0; n < mesh_nelts(listen); n++) {
        if (mesh_init_listen(sockets, listen[n].ip, listen[n].port, err)
            != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    if (conf->redis) {
        if (mesh_agent_path(conf, MESH_RUN_REDIS_SOCK, path, sizeof(path),
                            err)
            != MESH_OK
            || mesh_init_listen_unix(sockets, path, err) != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    return MESH_OK;
}
