
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_prom.c
 *       ngx_mesh_module/core/ngx_mesh_error.c
 *       ngx_mesh_module/core/ngx_mesh_series.c
 */

/* The text: families, sums over processes, gauges of the dead, long output. */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_prom.h>
#include <stdlib.h>
#include "unit.h"


#define ZONE_BYTES  (4 * 1024 * 1024)


const uint64_t  ngx_mesh_latency_us[NGX_MESH_LATENCY_BUCKETS];

static ngx_uint_t  buffers;                /* that may still be had */


ngx_buf_t *
ngx_create_temp_buf(ngx_pool_t *pool, size_t size)
{
    ngx_buf_t  *b;

    if (buffers-- == 0) {
        buffers = 0;
        return NULL;
    }

    b = calloc(1, sizeof(ngx_buf_t) + size);
    b->start = (u_char *) b + sizeof(ngx_buf_t);
    b->pos = b->start;
    b->last = b->start;
    b->end = b->start + size;

    return b;
}


ngx_chain_t *
ngx_alloc_chain_link(ngx_pool_t *pool)
{
    return calloc(1, sizeof(ngx_chain_t));
}


static ngx_mesh_zone_t *
zone_new(void)
{
    ngx_mesh_zone_t  *zone;

    zone = calloc(1, ZONE_BYTES);

    zone->ncounters = NGX_MESH_C_MAX;
    zone->nseries = 4096;
    zone->nindex = 8192;
    zone->counters = 4096;
    zone->series = 32768;
    zone->index = zone->series + 4096 * sizeof(ngx_mesh_series_t);
    zone->arena = zone->index + 8192 * 4;
    zone->arena_bytes = ZONE_BYTES - zone->arena;

    return zone;
}


static ngx_mesh_series_t *
make(ngx_mesh_zone_t *zone, ngx_mesh_series_kind_e kind, const char *text)
{
    return ngx_mesh_series_text(zone, kind, (u_char *) text, strlen(text), 0);
}


static void
set(ngx_mesh_zone_t *zone, ngx_mesh_series_t *series, ngx_uint_t proc,
    ngx_uint_t cell, ngx_atomic_uint_t n)
{
    ngx_mesh_series_cells(zone, series, proc)[cell] = n;
}


static ngx_uint_t
alive(ngx_pid_t pid)
{
    return pid == 100;
}


/* all that was written, as one string that the caller frees */

static char *
text_of(ngx_mesh_zone_t *zone)
{
    char         *text;
    off_t         size;
    size_t        n;
    ngx_chain_t  *cl, *next;

    cl = ngx_mesh_prom_text(zone, NULL, alive, &size);

    if (cl == NULL) {
        return NULL;
    }

    text = calloc(1, size + 1);
    n = 0;

    for ( /* void */ ; cl; cl = next) {
        memcpy(text + n, cl->buf->pos, cl->buf->last - cl->buf->pos);
        n += cl->buf->last - cl->buf->pos;
        next = cl->next;

        UNIT_EQ(cl->buf->last_buf, next == NULL);

        free(cl->buf);
        free(cl);
    }

    UNIT_EQ(n, size);

    return text;
}


static void
sums_processes(void)
{
    char               *text;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    buffers = 100;
    zone = zone_new();

    a = make(zone, NGX_MESH_SERIES_HTTP, "direction=\"inbound\"");
    set(zone, a, 0, NGX_MESH_HTTP_REQUESTS, 3);
    set(zone, a, 5, NGX_MESH_HTTP_REQUESTS, 4);

    text = text_of(zone);
    UNIT_NEED(text);

    UNIT_HAS(text, "# HELP request_total HTTP requests\n"
                   "# TYPE request_total counter\n"
                   "request_total{direction=\"inbound\"} 7\n");

    free(text);
    free(zone);
}


static void
gauges_of_the_dead_are_left_out(void)
{
    char               *text;
    ngx_atomic_t       *counters;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    buffers = 100;
    zone = zone_new();
    zone->procs[0].pid = 100;
    zone->procs[0].generation = 9;
    zone->procs[1].pid = 101;
    zone->procs[1].generation = 8;

    a = make(zone, NGX_MESH_SERIES_TCP, "peer=\"src\"");
    set(zone, a, 0, NGX_MESH_TCP_OPEN, 3);
    set(zone, a, 0, NGX_MESH_TCP_OPENED, 10);
    set(zone, a, 1, NGX_MESH_TCP_OPEN, 4);
    set(zone, a, 1, NGX_MESH_TCP_OPENED, 20);

    counters = ngx_mesh_zone_at(zone, zone->counters);
    counters[NGX_MESH_C_pool_idle] = 1;
    counters[zone->ncounters + NGX_MESH_C_pool_idle] = 2;
    counters[zone->ncounters + NGX_MESH_C_want] = 5;

    text = text_of(zone);
    UNIT_NEED(text);

    UNIT_HAS(text, "# TYPE tcp_open_connections gauge\n"
                   "tcp_open_connections{peer=\"src\"} 3\n");
    UNIT_HAS(text, "tcp_open_total{peer=\"src\"} 30\n");
    UNIT_HAS(text, "\nmesh_pool_idle 1\n");
    UNIT_HAS(text, "\nmesh_want_total 5\n");
    UNIT_HAS(text, "\nmesh_state_generation{pid=\"100\"} 9\n");
    UNIT_OK(strstr(text, "pid=\"101\"") == NULL);

    free(text);
    free(zone);
}


static void
histogram_is_cumulative(void)
{
    char               *text;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a, *child;

    buffers = 100;
    zone = zone_new();

    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"b\"");
    child = ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, a, 503, 0);

    set(zone, child, 0, NGX_MESH_RESPONSE_BUCKET, 2);
    set(zone, child, 1, NGX_MESH_RESPONSE_BUCKET + 5, 3);
    set(zone, child, 0, NGX_MESH_RESPONSE_BUCKET + 25, 1);
    set(zone, child, 0, NGX_MESH_RESPONSE_SUM_US, 1002003);

    text = text_of(zone);
    UNIT_NEED(text);

#define LABELS  "a=\"b\",status_code=\"503\",classification=\"failure\""

    UNIT_HAS(text, "response_total{" LABELS "} 6\n");
    UNIT_HAS(text, "# TYPE response_latency_ms histogram\n"
                   "response_latency_ms_bucket{" LABELS ",le=\"1\"} 2\n");
    UNIT_HAS(text, "_bucket{" LABELS ",le=\"5\"} 2\n");
    UNIT_HAS(text, "_bucket{" LABELS ",le=\"10\"} 5\n");
    UNIT_HAS(text, "_bucket{" LABELS ",le=\"50000\"} 5\n");
    UNIT_HAS(text, "_bucket{" LABELS ",le=\"+Inf\"} 6\n");
    UNIT_HAS(text, "response_latency_ms_sum{" LABELS "} 1002.003\n");
    UNIT_HAS(text, "response_latency_ms_count{" LABELS "} 6\n");

    free(text);
    free(zone);
}


static void
codes_are_classified(void)
{
    char               *text;
    ngx_uint_t          i;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    static const struct {
        uint32_t     code;
        const char  *labels;
    } cases[] = {
        { 200, "status_code=\"200\",classification=\"success\"" },
        { 404, "status_code=\"404\",classification=\"success\"" },
        { 499, "status_code=\"499\",classification=\"failure\"" },
        { 500, "status_code=\"500\",classification=\"failure\"" },
        { 0, "response_total{a=\"b\",classification=\"failure\"" },
        { 206 | NGX_MESH_RESPONSE_BROKEN,
          "status_code=\"206\",classification=\"failure\"" },
        { 200 | NGX_MESH_RESPONSE_GRPC(0),
          "status_code=\"200\",classification=\"success\","
          "grpc_status=\"0\"" },
        { 200 | NGX_MESH_RESPONSE_GRPC(5),
          "status_code=\"200\",classification=\"success\","
          "grpc_status=\"5\"" },
        { 200 | NGX_MESH_RESPONSE_GRPC(14),
          "status_code=\"200\",classification=\"failure\","
          "grpc_status=\"14\"" },
        { 200 | NGX_MESH_RESPONSE_GRPC(0) | NGX_MESH_RESPONSE_BROKEN,
          "status_code=\"200\",classification=\"failure\","
          "grpc_status=\"0\"" },
        { 503 | NGX_MESH_RESPONSE_ERROR(2),
          "status_code=\"503\",classification=\"failure\","
          "error=\"no-endpoints\"" },
        { 200 | NGX_MESH_RESPONSE_GRPC(16) | NGX_MESH_RESPONSE_ERROR(0),
          "status_code=\"200\",classification=\"success\","
          "grpc_status=\"16\",error=\"not-intercepted\"" }
    };

    buffers = 100;
    zone = zone_new();
    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"b\"");

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) ngx_mesh_series_child(zone, NGX_MESH_SERIES_RESPONSE, a,
                                     cases[i].code, 0);
    }

    text = text_of(zone);
    UNIT_NEED(text);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        UNIT_HAS(text, cases[i].labels);
    }

    free(text);
    free(zone);
}


static void
errors_have_names(void)
{
    char               *text;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    buffers = 100;
    zone = zone_new();
    a = make(zone, NGX_MESH_SERIES_TCP, "a=\"b\"");

    (void) ngx_mesh_series_child(zone, NGX_MESH_SERIES_CLOSE, a, 0, 0);
    (void) ngx_mesh_series_child(zone, NGX_MESH_SERIES_CLOSE, a, ECONNRESET,
                                 0);
    (void) ngx_mesh_series_child(zone, NGX_MESH_SERIES_CLOSE, a, 999, 0);

    text = text_of(zone);
    UNIT_NEED(text);

    UNIT_HAS(text, "tcp_close_total{a=\"b\",errno=\"\"} 0\n");
    UNIT_HAS(text, "tcp_close_total{a=\"b\",errno=\"ECONNRESET\"} 0\n");
    UNIT_HAS(text, "tcp_close_total{a=\"b\",errno=\"999\"} 0\n");

    free(text);
    free(zone);
}


/* an entry that is written but not published is nobody's */

static void
unpublished_series_is_not_shown(void)
{
    char               *text;
    ngx_mesh_zone_t    *zone;
    ngx_mesh_series_t  *a;

    buffers = 100;
    zone = zone_new();
    a = make(zone, NGX_MESH_SERIES_HTTP, "a=\"b\"");
    a->kind = 0;

    text = text_of(zone);
    UNIT_NEED(text);
    UNIT_OK(strstr(text, "request_total") == NULL);

    free(text);
    free(zone);
}


static void
long_text_spans_buffers(void)
{
    char              *text, *p, labels[64];
    ngx_uint_t         i, n;
    ngx_mesh_zone_t   *zone;

    buffers = 100;
    zone = zone_new();

    for (i = 0; i < 1000; i++) {
        (void) snprintf(labels, sizeof(labels), "target_addr=\"%u\"",
                        (unsigned) i);
        (void) make(zone, NGX_MESH_SERIES_HTTP, labels);
    }

    text = text_of(zone);
    UNIT_NEED(text);

    n = 0;

    for (p = text; (p = strstr(p, "\nrequest_total{")); p++) {
        n++;
    }

    UNIT_EQ(n, 1000);

    free(text);

    buffers = 0;
    UNIT_OK(text_of(zone) == NULL);

    free(zone);
}


static void
no_zone_has_a_build(void)
{
    char  *text;

    buffers = 1;
    text = text_of(NULL);
    UNIT_NEED(text);
    UNIT_HAS(text, "mesh_build_info{nginx=\"" NGINX_VERSION "\"");

    free(text);
}


static void
this_process_is_alive(void)
{
    UNIT_OK(ngx_mesh_prom_alive(getpid()));
    UNIT_OK(!ngx_mesh_prom_alive(0x7ffffff0));
}


UNIT_TESTS = {
    UNIT(sums_processes),
    UNIT(gauges_of_the_dead_are_left_out),
    UNIT(histogram_is_cumulative),
    UNIT(codes_are_classified),
    UNIT(errors_have_names),
    UNIT(unpublished_series_is_not_shown),
    UNIT(long_text_spans_buffers),
    UNIT(no_zone_has_a_build),
    UNIT(this_process_is_alive),
    UNIT_END
};
