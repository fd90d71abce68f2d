
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Stand-ins for the few functions of nginx that pure files of core/ call:
 * pools are lists of malloc'ed blocks, so that ASan sees every overrun and
 * every leak, and what is logged is kept for the test in unit_ngx_log.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "unit_ngx.h"


char                  unit_ngx_log[1024];
volatile ngx_msec_t   ngx_current_msec;
volatile ngx_time_t  *ngx_cached_time;
ngx_uint_t            ngx_pagesize = 4096;
ngx_uint_t            ngx_cacheline_size = 64;
ngx_pid_t             ngx_pid = 1;
ngx_int_t             ngx_process_slot;


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    ngx_pool_t  *pool;

    (void) size;

    pool = calloc(1, sizeof(ngx_pool_t));
    if (pool) {
        pool->log = log;
    }

    return pool;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    ngx_pool_large_t    *block, *next;
    ngx_pool_cleanup_t  *cleanup;

    for (cleanup = pool->cleanup; cleanup; cleanup = cleanup->next) {
        if (cleanup->handler) {
            cleanup->handler(cleanup->data);
        }
    }

    for (block = pool->large; block; block = next) {
        next = block->next;
        free(block->alloc);
        free(block);
    }

    free(pool);
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    ngx_pool_large_t  *block;

    block = malloc(sizeof(ngx_pool_large_t));
    if (block == NULL) {
        return NULL;
    }

    block->alloc = malloc(size);
    block->next = pool->large;
    pool->large = block;

    return block->alloc;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);
    if (p) {
        memset(p, 0, size);
    }

    return p;
}


ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    ngx_pool_large_t  *block;

    for (block = pool->large; block; block = block->next) {
        if (block->alloc == p) {
            free(p);
            block->alloc = NULL;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *cleanup;

    cleanup = ngx_pcalloc(pool, sizeof(ngx_pool_cleanup_t));
    if (cleanup == NULL) {
        return NULL;
    }

    if (size) {
        cleanup->data = ngx_pcalloc(pool, size);
    }

    cleanup->next = pool->cleanup;
    pool->cleanup = cleanup;

    return cleanup;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return malloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return calloc(1, size);
}


/* keeps the format, which tells one cause from another, not the arguments */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;

    snprintf(unit_ngx_log, sizeof(unit_ngx_log), "%s", fmt);
}
