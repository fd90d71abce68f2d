
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The core module: mesh_listen and mesh_detect, and the helpers that every
 * other file uses.  Its init_conf runs after the whole configuration was read
 * and before sockets are opened: there the virtual listeners of http{} and
 * stream{} leave the cycle.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_listen.h>


static void *ngx_mesh_create_conf(ngx_cycle_t *cycle);
static char *ngx_mesh_init_conf(ngx_cycle_t *cycle, void *conf);
static char *ngx_mesh_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_mesh_detect_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_mesh_commands[] = {

    { ngx_string("mesh_listen"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE2,
      ngx_mesh_listen,
      0,
      0,
      NULL },

    { ngx_string("mesh_detect"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_detect_conf,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_mesh_module_ctx = {
    ngx_string("mesh"),
    ngx_mesh_create_conf,
    ngx_mesh_init_conf
};


ngx_module_t  ngx_mesh_module = {
    NGX_MODULE_V1,
    &ngx_mesh_module_ctx,                  /* module context */
    ngx_mesh_commands,                     /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_mesh_create_conf(ngx_cycle_t *cycle)
{
    ngx_mesh_conf_t  *mcf;

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->virtuals = NULL;
     *     mcf->nvirtuals = 0;
     *     mcf->targets = { NULL };
     */

    mcf = ngx_pcalloc(cycle->pool, sizeof(ngx_mesh_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->detect_ms = NGX_CONF_UNSET_MSEC;

    if (ngx_array_init(&mcf->ports, cycle->pool, 4, sizeof(ngx_mesh_port_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_mesh_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_mesh_conf_t  *mcf = conf;

    ngx_conf_init_msec_value(mcf->detect_ms, 300);

    if (mcf->ports.nelts == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_mesh_listen_strip(cycle, mcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_mesh_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t             *value;
    ngx_mesh_direction_e   direction;

    value = cf->args->elts;

    if (ngx_strcmp(value[2].data, "outbound") == 0) {
        direction = NGX_MESH_OUTBOUND;

    } else if (ngx_strcmp(value[2].data, "inbound") == 0) {
        direction = NGX_MESH_INBOUND;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid direction \"%V\", it is \"outbound\" "
                           "or \"inbound\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    return ngx_mesh_listen_add(cf, conf, &value[1], direction);
}


static char *
ngx_mesh_detect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_conf_t  *mcf = conf;

    ngx_int_t   ms;
    ngx_str_t  *value, time;

    if (mcf->detect_ms != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "timeout=", 8) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    time.data = value[1].data + 8;
    time.len = value[1].len - 8;

    ms = ngx_parse_time(&time, 0);

    if (ms == NGX_ERROR || ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid timeout \"%V\"", &time);
        return NGX_CONF_ERROR;
    }

    mcf->detect_ms = ms;

    return NGX_CONF_OK;
}


uint64_t
ngx_mesh_now_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


ngx_int_t
ngx_mesh_addr_set(ngx_mesh_addr_t *addr, struct sockaddr *sa)
{
    struct sockaddr_in   *sin;
    struct sockaddr_in6  *sin6;

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        ngx_memzero(addr->ip, 10);
        addr->ip[10] = 0xff;
        addr->ip[11] = 0xff;
        ngx_memcpy(&addr->ip[12], &sin->sin_addr, 4);
        addr->port = ntohs(sin->sin_port);

        return NGX_OK;

    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        ngx_memcpy(addr->ip, &sin6->sin6_addr, 16);
        addr->port = ntohs(sin6->sin6_port);

        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


socklen_t
ngx_mesh_addr_sockaddr(ngx_sockaddr_t *sa, const u_char ip[16],
    in_port_t port)
{
    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

    if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) ip)) {
        sa->sockaddr_in.sin_family = AF_INET;
        sa->sockaddr_in.sin_port = htons(port);
        ngx_memcpy(&sa->sockaddr_in.sin_addr, &ip[12], 4);

        return sizeof(struct sockaddr_in);
    }

    sa->sockaddr_in6.sin6_family = AF_INET6;
    sa->sockaddr_in6.sin6_port = htons(port);
    ngx_memcpy(&sa->sockaddr_in6.sin6_addr, ip, 16);

    return sizeof(struct sockaddr_in6);
}


size_t
ngx_mesh_addr_text(u_char *buf, const ngx_mesh_addr_t *addr)
{
    socklen_t       len;
    ngx_sockaddr_t  sa;

    len = ngx_mesh_addr_sockaddr(&sa, addr->ip, addr->port);

    return ngx_sock_ntop(&sa.sockaddr, len, buf, NGX_SOCKADDR_STRLEN, 1);
}


ngx_uint_t
ngx_mesh_addr_loopback(const ngx_mesh_addr_t *addr)
{
    const struct in6_addr  *in6;

    in6 = (const struct in6_addr *) addr->ip;

    if (IN6_IS_ADDR_V4MAPPED(in6)) {
        return addr->ip[12] == 127;
    }

    return IN6_IS_ADDR_LOOPBACK(in6) ? 1 : 0;
}
