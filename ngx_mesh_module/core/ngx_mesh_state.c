
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The snapshot in use.  A file is read into memory, never mapped: one that
 * is truncated under a mapping kills its reader.  It is checked as a whole
 * and only then takes the place of the one before; whatever is wrong with
 * it, that one stays, and the agent is told the reason.
 */


#include <ngx_mesh.h>
#include <ngx_mesh_agent.h>
#include <ngx_mesh_hold.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_state.h>
#include <ngx_mesh_watch.h>


#define NGX_MESH_STATE_REPORT_MS  10000
#define NGX_MESH_STATE_AGAIN_MS   100

#define NGX_MESH_STATE_POOL       4096


typedef struct {
    ngx_str_t                 path;
} ngx_mesh_state_conf_t;


/* what the agent is told, again and again: it may have been away */

typedef struct {
    uint64_t                  generation;
    const char               *refused;     /* NULL: taken into use */
    ngx_uint_t                known;       /* 0: there was no file yet */
} ngx_mesh_state_report_t;


static void *ngx_mesh_state_create_conf(ngx_cycle_t *cycle);
static char *ngx_mesh_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_mesh_state_init_process(ngx_cycle_t *cycle);
static void ngx_mesh_state_exit_process(ngx_cycle_t *cycle);
static void ngx_mesh_state_load(void *data, ngx_log_t *log);
static const char *ngx_mesh_state_read(ngx_mesh_state_conf_t *scf,
    ngx_mesh_state_t *state, ngx_log_t *log);
static const char *ngx_mesh_state_read_file(ngx_fd_t fd, u_char *buf,
    size_t size);
static ngx_int_t ngx_mesh_state_endpoints(ngx_mesh_state_t *state);
static uint64_t ngx_mesh_state_key(const mesh_state_endpoint_t *record,
    ngx_str_t *identity);
static void ngx_mesh_state_use(ngx_mesh_state_t *state);
static void ngx_mesh_state_cleanup(void *data);
static void ngx_mesh_state_report(ngx_event_t *ev);


static ngx_command_t  ngx_mesh_state_commands[] = {

    { ngx_string("mesh_state"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_state,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_mesh_state_module_ctx = {
    ngx_string("mesh_state"),
    ngx_mesh_state_create_conf,
    NULL
};


ngx_module_t  ngx_mesh_state_module = {
    NGX_MODULE_V1,
    &ngx_mesh_state_module_ctx,            /* module context */
    ngx_mesh_state_commands,               /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_mesh_state_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mesh_state_exit_process,           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_mesh_state_t         *ngx_mesh_state_current;
static uint64_t                  ngx_mesh_state_serial;
static ngx_mesh_state_report_t   ngx_mesh_state_last;
static ngx_event_t               ngx_mesh_state_event;
static ngx_connection_t          ngx_mesh_state_dummy;


static void *
ngx_mesh_state_create_conf(ngx_cycle_t *cycle)
{
    return ngx_pcalloc(cycle->pool, sizeof(ngx_mesh_state_conf_t));
}


static char *
ngx_mesh_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_state_conf_t  *scf = conf;

    ngx_str_t  *value;

    if (scf->path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    scf->path = value[1];

    if (ngx_conf_full_name(cf->cycle, &scf->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mesh_state_init_process(ngx_cycle_t *cycle)
{
    ngx_mesh_state_conf_t  *scf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    scf = (ngx_mesh_state_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                 ngx_mesh_state_module);

    if (scf->path.data == NULL) {
        return NGX_OK;
    }

    ngx_mesh_state_dummy.fd = (ngx_socket_t) -1;

    ngx_mesh_state_event.handler = ngx_mesh_state_report;
    ngx_mesh_state_event.data = &ngx_mesh_state_dummy;
    ngx_mesh_state_event.log = cycle->log;
    ngx_mesh_state_event.cancelable = 1;

    return ngx_mesh_watch_add(cycle, &scf->path, ngx_mesh_state_load, scf);
}


static void
ngx_mesh_state_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_mesh_state_current) {
        ngx_mesh_state_release(ngx_mesh_state_current);
        ngx_mesh_state_current = NULL;
    }
}


static void
ngx_mesh_state_load(void *data, ngx_log_t *log)
{
    ngx_mesh_state_conf_t  *scf = data;

    ngx_pool_t        *pool;
    const char        *error;
    ngx_mesh_state_t  *state;

    state = NULL;
    error = "no memory";
    ngx_mesh_state_last.generation = 0;

    pool = ngx_create_pool(NGX_MESH_STATE_POOL, ngx_cycle->log);

    if (pool) {
        state = ngx_pcalloc(pool, sizeof(ngx_mesh_state_t));
    }

    if (state) {
        state->pool = pool;
        error = ngx_mesh_state_read(scf, state, log);
    }

    ngx_mesh_state_last.refused = error;
    ngx_mesh_state_last.known = 1;

    if (error == NULL) {
        ngx_mesh_state_last.generation = state->view.head->generation;
        ngx_mesh_state_use(state);

    } else {
        ngx_mesh_count(NGX_MESH_C_state_refused, 1);
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mesh state \"%V\" refused: %s, %s", &scf->path, error,
                      ngx_mesh_state_current ? "the one in use stays"
                                             : "there is none in use");

        if (pool) {
            ngx_destroy_pool(pool);
        }
    }

    ngx_mesh_state_report(&ngx_mesh_state_event);
}


/* fills *state from the file; NULL or what is wrong with it */

static const char *
ngx_mesh_state_read(ngx_mesh_state_conf_t *scf, ngx_mesh_state_t *state,
    ngx_log_t *log)
{
    size_t            size;
    u_char           *buf;
    ngx_fd_t          fd;
    const char       *error;
    ngx_file_info_t   fi;

    /* not blocking: the path may name a FIFO */

    fd = ngx_open_file(scf->path.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return (ngx_errno == NGX_ENOENT) ? "file is missing"
                                         : "file cannot be opened";
    }

    buf = NULL;
    size = 0;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        error = "it is not a file";

    } else if (ngx_file_size(&fi) > MESH_STATE_MAX_BYTES) {
        error = "file is too large";

    } else {
        size = ngx_file_size(&fi);
        buf = ngx_palloc(state->pool, size ? size : 1);

        error = buf ? ngx_mesh_state_read_file(fd, buf, size) : "no memory";
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &scf->path);
    }

    if (error) {
        return error;
    }

    error = mesh_state_check(buf, size, &state->view);

    if (error) {

        /* right as far as it names itself: worth to be told */

        if (size >= sizeof(mesh_state_head_t)) {
            ngx_mesh_state_last.generation =
                                      ((mesh_state_head_t *) buf)->generation;
        }

        return error;
    }

    if (ngx_mesh_state_endpoints(state) != NGX_OK) {
        return "no memory";
    }

    return NULL;
}


static const char *
ngx_mesh_state_read_file(ngx_fd_t fd, u_char *buf, size_t size)
{
    size_t   done;
    ssize_t  n;

    for (done = 0; done < size; done += n) {
        n = read(fd, buf + done, size - done);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            return "file cannot be read";
        }

        if (n == 0) {
            return "file became shorter while it was read";
        }
    }

    return NULL;
}


static ngx_int_t
ngx_mesh_state_endpoints(ngx_mesh_state_t *state)
{
    uint32_t                      i, n;
    ngx_str_t                     identity;
    ngx_sockaddr_t                sa;
    ngx_mesh_addr_t               addr;
    ngx_mesh_endpoint_t          *e;
    const mesh_state_view_t      *view;
    const mesh_state_endpoint_t  *record;
    u_char                        text[NGX_SOCKADDR_STRLEN];

    view = &state->view;
    n = view->head->endpoints.count;

    state->endpoints = ngx_pcalloc(state->pool,
                                   (n ? n : 1) * sizeof(ngx_mesh_endpoint_t));
    if (state->endpoints == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        e = &state->endpoints[i];
        record = &view->endpoints[i];

        e->record = record;
        e->socklen = ngx_mesh_addr_sockaddr(&sa, record->ip, record->port);

        e->sockaddr = ngx_palloc(state->pool, e->socklen);
        if (e->sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(e->sockaddr, &sa, e->socklen);

        ngx_memcpy(addr.ip, record->ip, 16);
        addr.port = record->port;

        e->name.len = ngx_mesh_addr_text(text, &addr);
        e->name.data = ngx_pnalloc(state->pool, e->name.len);
        if (e->name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(e->name.data, text, e->name.len);

        if (record->flags & MESH_WL_MESHED) {
            identity.len = record->identity.len;
            identity.data = (u_char *) mesh_state_text(view,
                                                       &record->identity);
            e->identity = identity;
        }

        e->slot = ngx_mesh_zone_slot(ngx_mesh_state_key(record,
                                                        &e->identity));
    }

    return NGX_OK;
}


/* FNV-1a of 64 bits over address, port and identity; 0 means a free slot */

static uint64_t
ngx_mesh_state_key(const mesh_state_endpoint_t *record, ngx_str_t *identity)
{
    size_t    i;
    uint64_t  key;

    key = 14695981039346656037ull;

    for (i = 0; i < 16; i++) {
        key = (key ^ record->ip[i]) * 1099511628211ull;
    }

    key = (key ^ (record->port >> 8)) * 1099511628211ull;
    key = (key ^ (record->port & 0xff)) * 1099511628211ull;

    for (i = 0; i < identity->len; i++) {
        key = (key ^ identity->data[i]) * 1099511628211ull;
    }

    return key ? key : 1;
}


static void
ngx_mesh_state_use(ngx_mesh_state_t *state)
{
    ngx_mesh_state_t  *old;

    state->refs = 1;
    state->serial = ++ngx_mesh_state_serial;

    old = ngx_mesh_state_current;
    ngx_mesh_state_current = state;

    if (old) {
        ngx_mesh_state_release(old);
    }

    ngx_mesh_count(NGX_MESH_C_state_loads, 1);
    ngx_mesh_metrics_generation(state->view.head->generation);

    ngx_log_debug1(NGX_LOG_DEBUG_CORE, ngx_cycle->log, 0,
                   "mesh state %uL is in use", state->view.head->generation);

    ngx_mesh_hold_wake(state);
}


static void
ngx_mesh_state_report(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_mesh_state_report_t  *last;

    last = &ngx_mesh_state_last;
    rc = NGX_OK;

    if (last->known && last->refused == NULL) {
        rc = ngx_mesh_agent_send("state %uL ok", last->generation);

    } else if (last->known) {
        rc = ngx_mesh_agent_send("state %uL refused %s", last->generation,
                                 last->refused);
    }

    /* NGX_ERROR is a full socket: the agent is there and reads on */

    ngx_add_timer(ev, rc == NGX_ERROR ? NGX_MESH_STATE_AGAIN_MS
                                      : NGX_MESH_STATE_REPORT_MS);
}


ngx_mesh_state_t *
ngx_mesh_state_get(void)
{
    if (ngx_mesh_state_current) {
        ngx_mesh_state_current->refs++;
    }

    return ngx_mesh_state_current;
}


void
ngx_mesh_state_release(ngx_mesh_state_t *state)
{
    if (--state->refs == 0) {
        ngx_destroy_pool(state->pool);
    }
}


ngx_mesh_state_t *
ngx_mesh_state_pin(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_mesh_state_current == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_mesh_state_cleanup;
    cln->data = ngx_mesh_state_get();

    return cln->data;
}


void
ngx_mesh_state_unpin(ngx_pool_t *pool, ngx_mesh_state_t *state)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_mesh_state_cleanup && cln->data == state) {
            cln->handler = NULL;
            ngx_mesh_state_release(state);
            return;
        }
    }
}


static void
ngx_mesh_state_cleanup(void *data)
{
    ngx_mesh_state_release(data);
}


ngx_int_t
ngx_mesh_state_verdict(ngx_mesh_state_t *state, const ngx_mesh_addr_t *addr,
    const mesh_state_addr_t **entry)
{
    const mesh_state_view_t  *view;

    *entry = NULL;

    if (ngx_mesh_addr_loopback(addr)) {
        return NGX_OK;
    }

    if (state == NULL) {
        return NGX_AGAIN;
    }

    view = &state->view;
    *entry = mesh_state_find(view, addr->ip, addr->port);

    if (*entry && (*entry)->kind != MESH_ADDR_NOBODY) {
        return NGX_OK;
    }

    if (!mesh_state_in_cluster(view, addr->ip)) {
        *entry = NULL;
        return NGX_OK;
    }

    if (*entry == NULL || !(view->head->flags & MESH_STATE_COMPLETE)) {
        *entry = NULL;
        return NGX_AGAIN;
    }

    *entry = NULL;

    return (view->head->flags & MESH_STATE_PASS_UNKNOWN) ? NGX_OK
                                                         : NGX_DECLINED;
}
