
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * An idle sidecar is small: the code that only the start needed is unmapped,
 * in the master when a configuration is in force, in a worker a moment after
 * its start.  The master comes first, so that its workers do not even
 * inherit it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <mesh_trim.h>


#define NGX_MESH_TRIM_MS  1500


static ngx_int_t ngx_mesh_trim_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mesh_trim_init_process(ngx_cycle_t *cycle);
static void ngx_mesh_trim_handler(ngx_event_t *ev);


static ngx_core_module_t  ngx_mesh_trim_module_ctx = {
    ngx_string("mesh_trim"),
    NULL,
    NULL
};


ngx_module_t  ngx_mesh_trim_module = {
    NGX_MODULE_V1,
    &ngx_mesh_trim_module_ctx,             /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_mesh_trim_init_module,             /* init module */
    ngx_mesh_trim_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_event_t       ngx_mesh_trim_event;
static ngx_connection_t  ngx_mesh_trim_connection;    /* for debug logs */


static ngx_int_t
ngx_mesh_trim_init_module(ngx_cycle_t *cycle)
{
    /* not trimmed is no fault, it only costs memory */

    (void) mesh_trim_text();

    return NGX_OK;
}


static ngx_int_t
ngx_mesh_trim_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER) {
        return NGX_OK;
    }

    ngx_mesh_trim_connection.fd = (ngx_socket_t) -1;

    ngx_mesh_trim_event.handler = ngx_mesh_trim_handler;
    ngx_mesh_trim_event.data = &ngx_mesh_trim_connection;
    ngx_mesh_trim_event.log = cycle->log;
    ngx_mesh_trim_event.cancelable = 1;

    ngx_add_timer(&ngx_mesh_trim_event, NGX_MESH_TRIM_MS);

    return NGX_OK;
}


static void
ngx_mesh_trim_handler(ngx_event_t *ev)
{
    (void) mesh_trim_text();
}
