
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * HTTP/2 and gRPC: the virtual listeners of HTTP/2 speak it, in whatever way
 * this version of nginx wants to be told.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_mesh.h>
#include <ngx_mesh_listen.h>


static ngx_int_t ngx_http_mesh_grpc_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_mesh_grpc_listen(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_mesh_grpc_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_mesh_grpc_init,               /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_mesh_grpc_module = {
    NGX_MODULE_V1,
    &ngx_http_mesh_grpc_module_ctx,        /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_mesh_grpc_init(ngx_conf_t *cf)
{
    return ngx_http_mesh_grpc_listen(cf);
}


/*
 * What the parameter http2 of "listen" sets (with a warning from 1.25.1 on);
 * the directive http2, which came then, is not needed any more.
 */

static ngx_int_t
ngx_http_mesh_grpc_listen(ngx_conf_t *cf)
{
#if (NGX_HTTP_V2)

    ngx_uint_t                  i, n;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_OK;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {

        addr = port[i].addrs.elts;

        for (n = 0; n < port[i].addrs.nelts; n++) {
            if (ngx_mesh_listen_http2(addr[n].opt.sockaddr)) {
                addr[n].opt.http2 = 1;
            }
        }
    }

#endif

    return NGX_OK;
}
