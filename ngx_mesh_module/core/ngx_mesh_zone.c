
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The shared memory of one sidecar: how it is shared out, what a reload may
 * inherit, and which process slot of it a worker owns.  The memory is one
 * allocation of the zone's slab pool, whose mutex is used once, at start.
 * Fresh pages are never written here: an idle sidecar pays for what it uses.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>


typedef struct {
    ngx_shm_zone_t           *shm_zone;
} ngx_mesh_zone_conf_t;


/* what shpool->data points to: stays as it is when the layout changes */

typedef struct {
    void                     *base;
    size_t                    size;
} ngx_mesh_zone_root_t;


static char *ngx_mesh_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_mesh_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static void *ngx_mesh_zone_create_conf(ngx_cycle_t *cycle);
static ngx_int_t ngx_mesh_zone_init_process(ngx_cycle_t *cycle);
static void ngx_mesh_zone_exit_process(ngx_cycle_t *cycle);
static void ngx_mesh_zone_attach(ngx_cycle_t *cycle);
static void ngx_mesh_zone_zero(ngx_mesh_zone_t *zone, ngx_uint_t proc);
static uint32_t ngx_mesh_zone_power(size_t n);


#define NGX_MESH_COUNTER_TYPE(name, type, help)  NGX_MESH_##type,

enum { NGX_MESH_COUNTER, NGX_MESH_GAUGE };

static const u_char  ngx_mesh_zone_types[] = {
    NGX_MESH_COUNTERS(NGX_MESH_COUNTER_TYPE)
};


static ngx_command_t  ngx_mesh_zone_commands[] = {

    { ngx_string("mesh_zone"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mesh_zone,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_mesh_zone_module_ctx = {
    ngx_string("mesh_zone"),
    ngx_mesh_zone_create_conf,
    NULL
};


ngx_module_t  ngx_mesh_zone_module = {
    NGX_MODULE_V1,
    &ngx_mesh_zone_module_ctx,             /* module context */
    ngx_mesh_zone_commands,                /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_mesh_zone_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mesh_zone_exit_process,            /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_mesh_zone_here_t  ngx_mesh_zone_here;


ngx_mesh_zone_t *
ngx_mesh_zone_first(void)
{
    /* another module's init_process may count before ours has run */

    if (ngx_process != NGX_PROCESS_WORKER || ngx_cycle->conf_ctx == NULL) {
        return NULL;
    }

    ngx_mesh_zone_attach((ngx_cycle_t *) ngx_cycle);

    return ngx_mesh_zone_here.zone;
}


ngx_mesh_slot_t *
ngx_mesh_zone_slot(uint64_t key)
{
    ngx_mesh_slot_t  *slot;
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_get();

    if (zone == NULL || key == 0) {
        return NULL;
    }

    slot = ngx_mesh_zone_slot_find(zone, key, ngx_mesh_now_us() / 1000000);

    if (slot == NULL) {
        ngx_mesh_count(NGX_MESH_C_zone_slots_full, 1);
    }

    return slot;
}


/*
 * A key may stand in one of NGX_MESH_ZONE_WAYS neighbours.  The one that was
 * seen longest ago is taken over if it has been idle and nothing is under
 * way in it; who still holds a pointer to it then shares it, which is wrong
 * by one endpoint's latency and no more.
 */

ngx_mesh_slot_t *
ngx_mesh_zone_slot_find(ngx_mesh_zone_t *zone, uint64_t key, ngx_uint_t now_s)
{
    u_char            *used;
    ngx_uint_t         i, n, p, first;
    ngx_mesh_slot_t   *slots, *slot, *oldest;
    ngx_atomic_uint_t  old, busy;

    slots = ngx_mesh_zone_at(zone, zone->slots);
    used = ngx_mesh_zone_at(zone, zone->slots_used);
    first = (key ^ (key >> 32)) & (zone->nslots - 1);
    oldest = NULL;

    for (n = 0; n < NGX_MESH_ZONE_WAYS; n++) {

        i = (first + n) & (zone->nslots - 1);
        slot = &slots[i];

        if (slot->key == 0) {
            used[i] = 1;
            (void) ngx_atomic_cmp_set(&slot->key, 0, key);
        }

        if (slot->key == key) {
            slot->seen_s = now_s;
            return slot;
        }

        if (oldest == NULL || slot->seen_s < oldest->seen_s) {
            oldest = slot;
        }
    }

    if (oldest->seen_s + NGX_MESH_ZONE_IDLE_S > now_s) {
        return NULL;
    }

    busy = 0;

    for (p = 0; p < NGX_MESH_ZONE_PROCS; p++) {
        busy |= oldest->outstanding[p];
    }

    old = oldest->key;

    if (busy || !ngx_atomic_cmp_set(&oldest->key, old, key)) {
        return NULL;
    }

    oldest->ewma_us = 0;
    oldest->stamp_us = 0;
    oldest->seen_s = now_s;

    return oldest;
}


void
ngx_mesh_zone_format(void *base, size_t size)
{
    size_t            offset;
    ngx_mesh_zone_t  *zone;

    zone = base;

    zone->layout = NGX_MESH_ZONE_LAYOUT;
    zone->head_bytes = sizeof(ngx_mesh_zone_t);
    zone->size = size;

    zone->ncounters = NGX_MESH_C_MAX;
    zone->nslots = ngx_mesh_zone_power(size / 8 / sizeof(ngx_mesh_slot_t));
    zone->nseries = ngx_mesh_zone_power(size / 8 / sizeof(ngx_mesh_series_t));
    zone->nindex = 2 * zone->nseries;

    offset = ngx_align(sizeof(ngx_mesh_zone_t), 64);

    zone->counters = offset;
    offset += NGX_MESH_ZONE_PROCS * NGX_MESH_C_MAX * sizeof(ngx_atomic_t);
    offset = ngx_align(offset, 64);

    zone->slots = offset;
    offset += zone->nslots * sizeof(ngx_mesh_slot_t);

    zone->slots_used = offset;
    offset += zone->nslots;
    offset = ngx_align(offset, 64);

    zone->series = offset;
    offset += zone->nseries * sizeof(ngx_mesh_series_t);

    zone->index = offset;
    offset += zone->nindex * sizeof(uint32_t);
    offset = ngx_align(offset, 64);

    zone->arena = offset;
    zone->arena_bytes = (size - offset) & ~(size_t) 63;

    ngx_memory_barrier();

    /* the magic last: a zone without it was not finished */

    ngx_memcpy(zone->magic, NGX_MESH_ZONE_MAGIC, sizeof(zone->magic));
}


const char *
ngx_mesh_zone_check(const void *base, size_t size)
{
    const ngx_mesh_zone_t  *zone;

    zone = base;

    if (ngx_memcmp(zone->magic, NGX_MESH_ZONE_MAGIC, sizeof(zone->magic))
        != 0)
    {
        return "magic does not match";
    }

    if (zone->layout != NGX_MESH_ZONE_LAYOUT
        || zone->head_bytes != sizeof(ngx_mesh_zone_t)
        || zone->ncounters != NGX_MESH_C_MAX)
    {
        return "layout version is another one";
    }

    if (zone->size != size) {
        return "size is another one";
    }

    return NULL;
}


void
ngx_mesh_zone_claim(ngx_mesh_zone_t *zone, ngx_uint_t proc, ngx_pid_t pid)
{
    if (proc != NGX_MESH_ZONE_SHARED) {
        ngx_mesh_zone_zero(zone, proc);
    }

    zone->procs[proc].generation = 0;
    zone->procs[proc].pid = pid;
}


/* what a process counts up and down, and so leaves behind when it dies */

static void
ngx_mesh_zone_zero(ngx_mesh_zone_t *zone, ngx_uint_t proc)
{
    u_char             *used;
    ngx_uint_t          i;
    ngx_atomic_t       *cells;
    ngx_mesh_slot_t    *slots;
    ngx_mesh_series_t  *series;

    cells = ngx_mesh_zone_at(zone, zone->counters);
    cells += proc * zone->ncounters;

    for (i = 0; i < zone->ncounters; i++) {
        if (ngx_mesh_zone_types[i] == NGX_MESH_GAUGE) {
            cells[i] = 0;
        }
    }

    slots = ngx_mesh_zone_at(zone, zone->slots);
    used = ngx_mesh_zone_at(zone, zone->slots_used);

    for (i = 0; i < zone->nslots; i++) {
        if (used[i]) {
            slots[i].outstanding[proc] = 0;
        }
    }

    series = ngx_mesh_zone_at(zone, zone->series);

    for (i = 0; i < zone->series_used; i++) {

        if (series[i].kind != NGX_MESH_SERIES_TCP) {
            continue;
        }

        cells = ngx_mesh_series_peek(zone, &series[i], proc);

        if (cells) {
            cells[NGX_MESH_TCP_OPEN] = 0;
        }
    }
}


static uint32_t
ngx_mesh_zone_power(size_t n)
{
    uint32_t  power;

    for (power = 64; power * 2 <= n; power *= 2) { /* void */ }

    return power;
}


static void
ngx_mesh_zone_attach(ngx_cycle_t *cycle)
{
    ngx_mesh_zone_conf_t  *zcf;

    ngx_mesh_zone_here.attached = 1;
    ngx_mesh_zone_here.proc = ngx_min(ngx_process_slot, NGX_MESH_ZONE_SHARED);
    ngx_mesh_zone_here.zone = NULL;

    zcf = (ngx_mesh_zone_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_mesh_zone_module);

    if (zcf == NULL || zcf->shm_zone == NULL) {
        return;
    }

    ngx_mesh_zone_here.zone = zcf->shm_zone->data;
    ngx_mesh_zone_here.counters = ngx_mesh_zone_counters(
                                                     ngx_mesh_zone_here.zone,
                                                     ngx_mesh_zone_here.proc);

    ngx_mesh_zone_claim(ngx_mesh_zone_here.zone, ngx_mesh_zone_here.proc,
                        ngx_pid);
}


static ngx_int_t
ngx_mesh_zone_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    /* a single process comes here again after each reload */

    if (!ngx_mesh_zone_here.attached || ngx_process == NGX_PROCESS_SINGLE) {
        ngx_mesh_zone_attach(cycle);
    }

    return NGX_OK;
}


static void
ngx_mesh_zone_exit_process(ngx_cycle_t *cycle)
{
    ngx_mesh_zone_t  *zone;

    zone = ngx_mesh_zone_here.zone;

    if (zone == NULL || ngx_mesh_zone_here.proc == NGX_MESH_ZONE_SHARED) {
        return;
    }

    zone->procs[ngx_mesh_zone_here.proc].pid = 0;

    ngx_mesh_zone_zero(zone, ngx_mesh_zone_here.proc);

    ngx_mesh_zone_here.zone = NULL;
}


static char *
ngx_mesh_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mesh_zone_conf_t *zcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (zcf->shm_zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    name = value[1];
    p = (u_char *) ngx_strlchr(name.data, name.data + name.len, ':');

    if (p == NULL || p == name.data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\", expected \"name:size\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_MESH_ZONE_MIN_BYTES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, the least is %uz bytes",
                           &value[1], (size_t) NGX_MESH_ZONE_MIN_BYTES);
        return NGX_CONF_ERROR;
    }

    if (size > NGX_MAX_UINT32_VALUE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too large, it must be "
                           "less than 4g", &value[1]);
        return NGX_CONF_ERROR;
    }

    zcf->shm_zone = ngx_shared_memory_add(cf, &name, size,
                                          &ngx_mesh_zone_module);
    if (zcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zcf->shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate zone \"%V\"", &name);
        return NGX_CONF_ERROR;
    }

    zcf->shm_zone->init = ngx_mesh_zone_init;
    zcf->shm_zone->data = zcf;

    return NGX_CONF_OK;
}


/*
 * Runs in the master and for "nginx -t": data is what the last cycle's zone
 * had, if name, size and module are the same.  The memory is as large as the
 * pool has pages, which follows from size alone.
 */

static ngx_int_t
ngx_mesh_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    const char            *reason;
    ngx_slab_pool_t       *shpool;
    ngx_mesh_zone_root_t  *root;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    root = shpool->data;

    if (root) {
        reason = ngx_mesh_zone_check(root->base, root->size);

        if (reason) {
            ngx_log_error(NGX_LOG_WARN, shm_zone->shm.log, 0,
                          "zone \"%V\" is not inherited: %s, "
                          "its counters start again",
                          &shm_zone->shm.name, reason);

            ngx_memzero(root->base, root->size);
            ngx_mesh_zone_format(root->base, root->size);
        }

        shm_zone->data = root->base;

        return NGX_OK;
    }

    root = ngx_slab_alloc(shpool, sizeof(ngx_mesh_zone_root_t));

    if (root == NULL) {
        goto failed;
    }

    root->size = shpool->pfree * ngx_pagesize;
    root->base = ngx_slab_alloc(shpool, root->size);

    if (root->base == NULL) {
        goto failed;
    }

#if (NGX_DEBUG_MALLOC)
    ngx_memzero(root->base, root->size);
#endif

    ngx_mesh_zone_format(root->base, root->size);

    shpool->data = root;
    shm_zone->data = root->base;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "zone \"%V\" is too small", &shm_zone->shm.name);

    return NGX_ERROR;
}


static void *
ngx_mesh_zone_create_conf(ngx_cycle_t *cycle)
{
    /* ngx_pcalloc() sets: shm_zone = NULL */

    return ngx_pcalloc(cycle->pool, sizeof(ngx_mesh_zone_conf_t));
}
