
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What the configuration says of listeners: mesh_listen makes those that
 * connections are redirected to, and init_conf takes the virtual ones, which
 * http{} and stream{} declared like any other, out of the cycle.  They are
 * never bound; their handlers are called with connections of the former.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_accept.h>
#include <ngx_mesh_listen.h>


#define NGX_MESH_BACKLOG          4096


typedef struct {
    in_port_t                 port;
    ngx_mesh_direction_e      direction;
    ngx_uint_t                required;
    ngx_uint_t                http2;
    const char               *block;
    const char               *what;
} ngx_mesh_target_t;


static char *ngx_mesh_listen_add_addr(ngx_conf_t *cf, ngx_mesh_conf_t *mcf,
    ngx_url_t *u, ngx_addr_t *addr, ngx_mesh_direction_e direction);
static ngx_uint_t ngx_mesh_listen_is_virtual(struct sockaddr *sa,
    ngx_uint_t *target, ngx_uint_t *v6);
static ngx_int_t ngx_mesh_listen_missing(ngx_cycle_t *cycle,
    ngx_mesh_port_t *port);


/* by ngx_mesh_to_e; what is not required is used when it is there */

static const ngx_mesh_target_t  ngx_mesh_targets[NGX_MESH_TO_MAX] = {
    { 65001, NGX_MESH_OUTBOUND, 1, 0, "http", "HTTP/1 of applications" },
    { 65002, NGX_MESH_OUTBOUND, 1, 1, "http", "HTTP/2 of applications" },
    { 65003, NGX_MESH_OUTBOUND, 1, 0, "stream", "raw TCP of applications" },
    { 65004, NGX_MESH_OUTBOUND, 0, 0, "stream", "its twin with proxy_ssl" },
    { 65011, NGX_MESH_INBOUND, 1, 0, "http", "HTTP/1 in plaintext" },
    { 65012, NGX_MESH_INBOUND, 1, 1, "http", "HTTP/2 in plaintext" },
    { 65013, NGX_MESH_INBOUND, 1, 0, "http", "HTTP/1 over mesh TLS" },
    { 65014, NGX_MESH_INBOUND, 1, 1, "http", "HTTP/2 over mesh TLS" },
    { 65015, NGX_MESH_INBOUND, 1, 0, "stream", "raw TCP in plaintext" },
    { 65016, NGX_MESH_INBOUND, 1, 0, "stream", "raw TCP over mesh TLS" }
};


char *
ngx_mesh_listen_add(ngx_conf_t *cf, ngx_mesh_conf_t *mcf, ngx_str_t *url,
    ngx_mesh_direction_e direction)
{
    char         *rv;
    ngx_url_t     u;
    ngx_uint_t    n;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *url;
    u.listen = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        if (u.err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"", u.err,
                               url);
        }

        return NGX_CONF_ERROR;
    }

    for (n = 0; n < u.naddrs; n++) {
        rv = ngx_mesh_listen_add_addr(cf, mcf, &u, &u.addrs[n], direction);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_mesh_listen_add_addr(ngx_conf_t *cf, ngx_mesh_conf_t *mcf, ngx_url_t *u,
    ngx_addr_t *addr, ngx_mesh_direction_e direction)
{
    ngx_uint_t         i;
    ngx_listening_t   *ls;
    ngx_mesh_port_t   *port, **pp;

    if (addr->sockaddr->sa_family != AF_INET
        && addr->sockaddr->sa_family != AF_INET6)
    {
        return "takes addresses with ports only";
    }

    ls = cf->cycle->listening.elts;

    for (i = 0; i < cf->cycle->listening.nelts; i++) {
        if (ngx_cmp_sockaddr(ls[i].sockaddr, ls[i].socklen,
                             addr->sockaddr, addr->socklen, 1)
            == NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate \"%V\"",
                               &u->url);
            return NGX_CONF_ERROR;
        }
    }

    port = ngx_pcalloc(cf->pool, sizeof(ngx_mesh_port_t));
    if (port == NULL) {
        return NGX_CONF_ERROR;
    }

    port->conf = mcf;
    port->direction = direction;
    port->v6 = (addr->sockaddr->sa_family == AF_INET6);
    port->text = u->url;

    pp = ngx_array_push(&mcf->ports);
    if (pp == NULL) {
        return NGX_CONF_ERROR;
    }

    *pp = port;

    ls = ngx_create_listening(cf, addr->sockaddr, addr->socklen);
    if (ls == NULL) {
        return NGX_CONF_ERROR;
    }

    ls->addr_ntop = 1;
    ls->handler = ngx_mesh_accept;
    ls->pool_size = 1024;
    ls->backlog = NGX_MESH_BACKLOG;
    ls->keepalive = 1;
    ls->logp = &cf->cycle->new_log;
    ls->log.data = &ls->addr_text;
    ls->log.handler = ngx_accept_log_error;
    ls->servers = port;
#if (NGX_HAVE_INET6)
    ls->ipv6only = 1;
#endif

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mesh_listen_strip(ngx_cycle_t *cycle, ngx_mesh_conf_t *mcf)
{
    ngx_uint_t         i, n, target, v6;
    ngx_listening_t   *ls, *virt;
    ngx_mesh_port_t  **ports;

    ls = cycle->listening.elts;

    mcf->virtuals = ngx_palloc(cycle->pool, cycle->listening.nelts
                                            * sizeof(ngx_listening_t));
    if (mcf->virtuals == NULL) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < cycle->listening.nelts; i++) {

        if (!ngx_mesh_listen_is_virtual(ls[i].sockaddr, &target, &v6)) {
            ls[n++] = ls[i];
            continue;
        }

        virt = &mcf->virtuals[mcf->nvirtuals++];
        *virt = ls[i];

        mcf->targets[target][v6] = virt;
    }

    cycle->listening.nelts = n;

    ports = mcf->ports.elts;

    for (i = 0; i < mcf->ports.nelts; i++) {
        if (ngx_mesh_listen_missing(cycle, ports[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mesh_listen_is_virtual(struct sockaddr *sa, ngx_uint_t *target,
    ngx_uint_t *v6)
{
    ngx_uint_t       i;
    ngx_mesh_addr_t  addr;

    if (ngx_mesh_addr_set(&addr, sa) != NGX_OK
        || !ngx_mesh_addr_loopback(&addr))
    {
        return 0;
    }

    for (i = 0; i < NGX_MESH_TO_MAX; i++) {
        if (ngx_mesh_targets[i].port == addr.port) {
            *target = i;
            *v6 = (sa->sa_family == AF_INET6);

            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_mesh_listen_http2(struct sockaddr *sa)
{
    ngx_uint_t  target, v6;

    return ngx_mesh_listen_is_virtual(sa, &target, &v6)
           && ngx_mesh_targets[target].http2;
}


static ngx_int_t
ngx_mesh_listen_missing(ngx_cycle_t *cycle, ngx_mesh_port_t *port)
{
    ngx_uint_t                i;
    const ngx_mesh_target_t  *t;

    for (i = 0; i < NGX_MESH_TO_MAX; i++) {
        t = &ngx_mesh_targets[i];

        if (!t->required
            || t->direction != port->direction
            || port->conf->targets[i][port->v6])
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mesh_listen %V\" needs a server with "
                      "\"listen %s:%d\" in the %s block (%s)", &port->text,
                      port->v6 ? "[::1]" : "127.0.0.1", (int) t->port,
                      t->block, t->what);

        return NGX_ERROR;
    }

    return NGX_OK;
}
