
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Lines to mesh-agent.  The socket is not connected: the agent may come and
 * go, and each datagram finds whoever listens at that moment.  Never waits.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_agent.h>
#include <ngx_mesh_metrics.h>


typedef struct {
    ngx_str_t            path;
    struct sockaddr_un   sun;
    socklen_t            len;
} ngx_mesh_agent_conf_t;


static void *ngx_mesh_agent_create_conf(ngx_cycle_t *cycle);
static char *ngx_mesh_agent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_socket_t ngx_mesh_agent_socket(void);


static ngx_command_t  ngx_mesh_agent_commands[] = {

    { ngx_string("mesh_agent"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_agent,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_mesh_agent_module_ctx = {
    ngx_string("mesh_agent"),
    ngx_mesh_agent_create_conf,
    NULL
};


ngx_module_t  ngx_mesh_agent_module = {
    NGX_MODULE_V1,
    &ngx_mesh_agent_module_ctx,            /* module context */
    ngx_mesh_agent_commands,               /* module directives */
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


/* made by the first datagram of a worker, gone with it */

static ngx_socket_t  ngx_mesh_agent_fd = (ngx_socket_t) -1;


static void *
ngx_mesh_agent_create_conf(ngx_cycle_t *cycle)
{
    return ngx_pcalloc(cycle->pool, sizeof(ngx_mesh_agent_conf_t));
}


static char *
ngx_mesh_agent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_agent_conf_t  *acf = conf;

    ngx_str_t  *value, path;

    if (acf->path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len < 6 || ngx_strncmp(value[1].data, "unix:", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid socket \"%V\", it starts with \"unix:\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    path.data = value[1].data + 5;
    path.len = value[1].len - 5;

    if (path.len >= sizeof(acf->sun.sun_path)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too long path in \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    acf->path = path;
    acf->sun.sun_family = AF_UNIX;
    ngx_memcpy(acf->sun.sun_path, path.data, path.len);
    acf->len = sizeof(struct sockaddr_un);

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mesh_agent_send(const char *fmt, ...)
{
    u_char                 *last, buf[MESH_AGENT_DATAGRAM_MAX];
    va_list                 args;
    ssize_t                 n;
    ngx_err_t               err;
    ngx_mesh_agent_conf_t  *acf;

    acf = (ngx_mesh_agent_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                 ngx_mesh_agent_module);

    if (acf == NULL || acf->path.len == 0) {
        return NGX_DECLINED;
    }

    if (ngx_mesh_agent_fd == (ngx_socket_t) -1) {
        ngx_mesh_agent_fd = ngx_mesh_agent_socket();

        if (ngx_mesh_agent_fd == (ngx_socket_t) -1) {
            return NGX_ERROR;
        }
    }

    va_start(args, fmt);
    last = ngx_vslprintf(buf, buf + sizeof(buf) - 1, fmt, args);
    va_end(args);

    *last++ = '\n';

    n = sendto(ngx_mesh_agent_fd, buf, last - buf, MSG_DONTWAIT|MSG_NOSIGNAL,
               (struct sockaddr *) &acf->sun, acf->len);

    if (n != -1) {
        return NGX_OK;
    }

    err = ngx_socket_errno;

    ngx_mesh_count(NGX_MESH_C_agent_lost, 1);

    if (err == NGX_ENOENT || err == NGX_ECONNREFUSED) {
        return NGX_DECLINED;
    }

    if (err != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "datagram to \"%V\" failed", &acf->path);
    }

    return NGX_ERROR;
}


static ngx_socket_t
ngx_mesh_agent_socket(void)
{
    ngx_socket_t  fd;

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_socket_n " failed");
    }

    return fd;
}
