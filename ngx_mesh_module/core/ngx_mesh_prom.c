
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Sums the process slots of the zone and writes them as Prometheus text.
 * Every metric is one line of a table: name, type, help, which cells of which
 * series.  Gauges of a process that is gone are left out: nobody counts them
 * down until another process gets its slot.
 */

#include <ngx_mesh.h>
#include <ngx_mesh_zone.h>
#include <ngx_mesh_series.h>
#include <ngx_mesh_metrics.h>
#include <ngx_mesh_error.h>
#include <ngx_mesh_prom.h>
#include <signal.h>


#define NGX_MESH_PROM_BUFFER      16384

#define NGX_MESH_PROM_GAUGE       0x01     /* of live processes only */
#define NGX_MESH_PROM_HISTOGRAM   0x02     /* all buckets and their sum */
#define NGX_MESH_PROM_BUCKETS     0x04     /* one number: all buckets */


typedef struct {
    ngx_pool_t                    *pool;
    ngx_chain_t                   *first;
    ngx_chain_t                   *last;
    off_t                          size;
    ngx_uint_t                     failed;

    ngx_mesh_zone_t               *zone;
    ngx_uint_t                     alive[NGX_MESH_ZONE_PROCS];
} ngx_mesh_prom_t;


typedef struct {
    const char                    *name;
    const char                    *help;
    ngx_mesh_series_kind_e         kind;
    ngx_uint_t                     cell;
    ngx_uint_t                     flags;
} ngx_mesh_prom_family_t;


typedef struct {
    const char                    *name;
    const char                    *type;
    const char                    *help;
} ngx_mesh_prom_counter_t;


static void ngx_mesh_prom_families(ngx_mesh_prom_t *out);
static void ngx_mesh_prom_family(ngx_mesh_prom_t *out,
    const ngx_mesh_prom_family_t *family);
static void ngx_mesh_prom_histogram(ngx_mesh_prom_t *out,
    const ngx_mesh_prom_family_t *family, ngx_mesh_series_t *series);
static uint64_t ngx_mesh_prom_sum(ngx_mesh_prom_t *out,
    ngx_mesh_series_t *series, ngx_uint_t cell, ngx_uint_t gauge);
static void ngx_mesh_prom_counters(ngx_mesh_prom_t *out);
static void ngx_mesh_prom_generations(ngx_mesh_prom_t *out);
static void ngx_mesh_prom_room(ngx_mesh_prom_t *out);
static void ngx_mesh_prom_build(ngx_mesh_prom_t *out);

static void ngx_mesh_prom_head(ngx_mesh_prom_t *out, const char *name,
    const char *type, const char *help);
static void ngx_mesh_prom_labels(ngx_mesh_prom_t *out,
    ngx_mesh_series_t *series, const char *le);
static void ngx_mesh_prom_code(ngx_mesh_prom_t *out,
    ngx_mesh_series_t *series);
static void ngx_mesh_prom_errno(ngx_mesh_prom_t *out, uint32_t err);
static void ngx_mesh_prom_value(ngx_mesh_prom_t *out, uint64_t n);
static void ngx_mesh_prom_number(ngx_mesh_prom_t *out, uint64_t n);
static void ngx_mesh_prom_str(ngx_mesh_prom_t *out, const char *s);
static void ngx_mesh_prom_write(ngx_mesh_prom_t *out, const void *data,
    size_t len);


/* names, labels and buckets of Linkerd 2 */

static const ngx_mesh_prom_family_t  ngx_mesh_prom_table[] = {

    { "request_total", "HTTP requests",
      NGX_MESH_SERIES_HTTP, NGX_MESH_HTTP_REQUESTS, 0 },

    { "response_total", "HTTP responses that ended",
      NGX_MESH_SERIES_RESPONSE, NGX_MESH_RESPONSE_BUCKET,
      NGX_MESH_PROM_BUCKETS },

    { "response_latency_ms",
      "Milliseconds from a request's headers to its response's end",
      NGX_MESH_SERIES_RESPONSE, NGX_MESH_RESPONSE_BUCKET,
      NGX_MESH_PROM_HISTOGRAM },

    { "tcp_open_total", "TCP connections opened",
      NGX_MESH_SERIES_TCP, NGX_MESH_TCP_OPENED, 0 },

    { "tcp_open_connections", "TCP connections that are open",
      NGX_MESH_SERIES_TCP, NGX_MESH_TCP_OPEN, NGX_MESH_PROM_GAUGE },

    { "tcp_close_total", "TCP connections closed",
      NGX_MESH_SERIES_CLOSE, NGX_MESH_CLOSE_CLOSED, 0 },

    { "tcp_read_bytes_total", "Bytes read from peers",
      NGX_MESH_SERIES_TCP, NGX_MESH_TCP_READ, 0 },

    { "tcp_write_bytes_total", "Bytes written to peers",
      NGX_MESH_SERIES_TCP, NGX_MESH_TCP_WRITTEN, 0 },

    { NULL, NULL, 0, 0, 0 }
};


#define NGX_MESH_PROM_NAME_COUNTER(name)  "mesh_" #name "_total"
#define NGX_MESH_PROM_NAME_GAUGE(name)    "mesh_" #name
#define NGX_MESH_PROM_TYPE_COUNTER        "counter"
#define NGX_MESH_PROM_TYPE_GAUGE          "gauge"

#define NGX_MESH_PROM_COUNTER_LINE(name, type, help)                          \
    { NGX_MESH_PROM_NAME_##type(name), NGX_MESH_PROM_TYPE_##type, help },

static const ngx_mesh_prom_counter_t  ngx_mesh_prom_counters_table[] = {
    NGX_MESH_COUNTERS(NGX_MESH_PROM_COUNTER_LINE)
    { NULL, NULL, NULL }
};


/* the label le of ngx_mesh_latency_us */

static const char  *ngx_mesh_prom_le[NGX_MESH_LATENCY_BUCKETS] = {
    "1", "2", "3", "4", "5",
    "10", "20", "30", "40", "50",
    "100", "200", "300", "400", "500",
    "1000", "2000", "3000", "4000", "5000",
    "10000", "20000", "30000", "40000", "50000",
    "+Inf"
};


static const struct {
    ngx_err_t    err;
    const char  *name;
} ngx_mesh_prom_errors[] = {
    { 0,               "" },
    { EPIPE,           "EPIPE" },
    { ECONNRESET,      "ECONNRESET" },
    { ECONNABORTED,    "ECONNABORTED" },
    { ECONNREFUSED,    "ECONNREFUSED" },
    { ETIMEDOUT,       "ETIMEDOUT" },
    { EHOSTUNREACH,    "EHOSTUNREACH" },
    { ENETUNREACH,     "ENETUNREACH" },
    { EPROTO,          "EPROTO" }
};


ngx_chain_t *
ngx_mesh_prom_text(ngx_mesh_zone_t *zone, ngx_pool_t *pool,
    ngx_mesh_prom_alive_pt alive, off_t *size)
{
    ngx_pid_t        pid;
    ngx_uint_t       i;
    ngx_mesh_prom_t  out;

    ngx_memzero(&out, sizeof(ngx_mesh_prom_t));

    out.pool = pool;
    out.zone = zone;

    ngx_mesh_prom_build(&out);

    if (zone) {

        for (i = 0; i < NGX_MESH_ZONE_PROCS; i++) {
            pid = (ngx_pid_t) zone->procs[i].pid;
            out.alive[i] = (pid && alive(pid));
        }

        ngx_mesh_prom_generations(&out);
        ngx_mesh_prom_families(&out);
        ngx_mesh_prom_counters(&out);
        ngx_mesh_prom_room(&out);
    }

    if (out.failed) {
        return NULL;
    }

    out.last->buf->last_buf = 1;
    out.last->buf->last_in_chain = 1;

    *size = out.size;

    return out.first;
}


ngx_uint_t
ngx_mesh_prom_alive(ngx_pid_t pid)
{
    return kill(pid, 0) == 0 || ngx_errno == NGX_EPERM;
}


static void
ngx_mesh_prom_families(ngx_mesh_prom_t *out)
{
    const ngx_mesh_prom_family_t  *family;

    for (family = ngx_mesh_prom_table; family->name; family++) {
        ngx_mesh_prom_family(out, family);
    }
}


static void
ngx_mesh_prom_family(ngx_mesh_prom_t *out,
    const ngx_mesh_prom_family_t *family)
{
    uint64_t            n;
    ngx_uint_t          i, bucket, first;
    ngx_mesh_series_t  *series;

    series = ngx_mesh_zone_at(out->zone, out->zone->series);
    first = 1;

    for (i = 0; i < out->zone->series_used; i++, series++) {

        if (series->kind != family->kind) {
            continue;
        }

        if (first) {
            first = 0;

            ngx_mesh_prom_head(out, family->name,
                     (family->flags & NGX_MESH_PROM_GAUGE) ? "gauge" :
                     (family->flags & NGX_MESH_PROM_HISTOGRAM) ? "histogram" :
                     "counter", family->help);
        }

        if (family->flags & NGX_MESH_PROM_HISTOGRAM) {
            ngx_mesh_prom_histogram(out, family, series);
            continue;
        }

        n = ngx_mesh_prom_sum(out, series, family->cell,
                              family->flags & NGX_MESH_PROM_GAUGE);

        if (family->flags & NGX_MESH_PROM_BUCKETS) {
            for (bucket = 1; bucket < NGX_MESH_LATENCY_BUCKETS; bucket++) {
                n += ngx_mesh_prom_sum(out, series, family->cell + bucket, 0);
            }
        }

        ngx_mesh_prom_str(out, family->name);
        ngx_mesh_prom_labels(out, series, NULL);
        ngx_mesh_prom_value(out, n);
    }
}


/* the sum is kept in microseconds and written in milliseconds, like le */

static void
ngx_mesh_prom_histogram(ngx_mesh_prom_t *out,
    const ngx_mesh_prom_family_t *family, ngx_mesh_series_t *series)
{
    u_char      fraction[3];
    uint64_t    n, us;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_MESH_LATENCY_BUCKETS; i++) {

        n += ngx_mesh_prom_sum(out, series, family->cell + i, 0);

        ngx_mesh_prom_str(out, family->name);
        ngx_mesh_prom_str(out, "_bucket");
        ngx_mesh_prom_labels(out, series, ngx_mesh_prom_le[i]);
        ngx_mesh_prom_value(out, n);
    }

    us = ngx_mesh_prom_sum(out, series, NGX_MESH_RESPONSE_SUM_US, 0);

    fraction[0] = (u_char) ('0' + us / 100 % 10);
    fraction[1] = (u_char) ('0' + us / 10 % 10);
    fraction[2] = (u_char) ('0' + us % 10);

    ngx_mesh_prom_str(out, family->name);
    ngx_mesh_prom_str(out, "_sum");
    ngx_mesh_prom_labels(out, series, NULL);
    ngx_mesh_prom_str(out, " ");
    ngx_mesh_prom_number(out, us / 1000);
    ngx_mesh_prom_str(out, ".");
    ngx_mesh_prom_write(out, fraction, sizeof(fraction));
    ngx_mesh_prom_str(out, "\n");

    ngx_mesh_prom_str(out, family->name);
    ngx_mesh_prom_str(out, "_count");
    ngx_mesh_prom_labels(out, series, NULL);
    ngx_mesh_prom_value(out, n);
}


static uint64_t
ngx_mesh_prom_sum(ngx_mesh_prom_t *out, ngx_mesh_series_t *series,
    ngx_uint_t cell, ngx_uint_t gauge)
{
    uint64_t       n;
    ngx_uint_t     i;
    ngx_atomic_t  *cells;

    n = 0;

    for (i = 0; i < NGX_MESH_ZONE_PROCS; i++) {

        cells = ngx_mesh_series_peek(out->zone, series, i);

        if (cells && (out->alive[i] || !gauge)) {
            n += cells[cell];
        }
    }

    return n;
}


static void
ngx_mesh_prom_counters(ngx_mesh_prom_t *out)
{
    uint64_t                        n;
    ngx_uint_t                      i, proc, gauge;
    ngx_atomic_t                   *cells;
    const ngx_mesh_prom_counter_t  *counter;

    cells = ngx_mesh_zone_at(out->zone, out->zone->counters);

    for (i = 0; i < out->zone->ncounters; i++) {

        counter = &ngx_mesh_prom_counters_table[i];
        gauge = (counter->type[0] == 'g');
        n = 0;

        for (proc = 0; proc < NGX_MESH_ZONE_PROCS; proc++) {
            if (out->alive[proc] || !gauge) {
                n += cells[proc * out->zone->ncounters + i];
            }
        }

        ngx_mesh_prom_head(out, counter->name, counter->type, counter->help);
        ngx_mesh_prom_str(out, counter->name);
        ngx_mesh_prom_value(out, n);
    }
}


static void
ngx_mesh_prom_generations(ngx_mesh_prom_t *out)
{
    ngx_uint_t             i;
    ngx_mesh_zone_proc_t  *proc;

    ngx_mesh_prom_head(out, "mesh_state_generation", "gauge",
                       "Generation of the state in use, 0 for none");

    for (i = 0; i < NGX_MESH_ZONE_PROCS; i++) {

        if (!out->alive[i]) {
            continue;
        }

        proc = &out->zone->procs[i];

        ngx_mesh_prom_str(out, "mesh_state_generation{pid=\"");
        ngx_mesh_prom_number(out, proc->pid);
        ngx_mesh_prom_str(out, "\"}");
        ngx_mesh_prom_value(out, proc->generation);
    }
}


static void
ngx_mesh_prom_room(ngx_mesh_prom_t *out)
{
    ngx_mesh_zone_t  *zone;

    zone = out->zone;

    ngx_mesh_prom_head(out, "mesh_zone_series", "gauge",
                       "Series in the zone");
    ngx_mesh_prom_str(out, "mesh_zone_series");
    ngx_mesh_prom_value(out, zone->series_used);

    ngx_mesh_prom_head(out, "mesh_zone_series_max", "gauge",
                       "Series that the zone has room for");
    ngx_mesh_prom_str(out, "mesh_zone_series_max");
    ngx_mesh_prom_value(out, zone->nseries);

    ngx_mesh_prom_head(out, "mesh_zone_bytes", "gauge",
                       "Bytes of labels and counters in the zone");
    ngx_mesh_prom_str(out, "mesh_zone_bytes");
    ngx_mesh_prom_value(out, zone->cells_used + zone->text_used);

    ngx_mesh_prom_head(out, "mesh_zone_max_bytes", "gauge",
                       "Bytes of labels and counters that fit into the zone");
    ngx_mesh_prom_str(out, "mesh_zone_max_bytes");
    ngx_mesh_prom_value(out, zone->arena_bytes);
}


static void
ngx_mesh_prom_build(ngx_mesh_prom_t *out)
{
    ngx_mesh_prom_head(out, "mesh_build_info", "gauge",
                       "What the sidecar is made of");
    ngx_mesh_prom_str(out, "mesh_build_info{nginx=\"" NGINX_VERSION "\","
                      "state_layout=\"");
    ngx_mesh_prom_number(out, MESH_STATE_LAYOUT);
    ngx_mesh_prom_str(out, "\",zone_layout=\"");
    ngx_mesh_prom_number(out, NGX_MESH_ZONE_LAYOUT);
    ngx_mesh_prom_str(out, "\"}");
    ngx_mesh_prom_value(out, 1);
}


static void
ngx_mesh_prom_head(ngx_mesh_prom_t *out, const char *name, const char *type,
    const char *help)
{
    ngx_mesh_prom_str(out, "# HELP ");
    ngx_mesh_prom_str(out, name);
    ngx_mesh_prom_str(out, " ");
    ngx_mesh_prom_str(out, help);
    ngx_mesh_prom_str(out, "\n# TYPE ");
    ngx_mesh_prom_str(out, name);
    ngx_mesh_prom_str(out, " ");
    ngx_mesh_prom_str(out, type);
    ngx_mesh_prom_str(out, "\n");
}


static void
ngx_mesh_prom_labels(ngx_mesh_prom_t *out, ngx_mesh_series_t *series,
    const char *le)
{
    ngx_mesh_series_t  *labels;

    labels = series;

    if (series->kind == NGX_MESH_SERIES_RESPONSE
        || series->kind == NGX_MESH_SERIES_CLOSE)
    {
        labels = ngx_mesh_zone_at(out->zone, out->zone->series);
        labels += series->parent;
    }

    ngx_mesh_prom_str(out, "{");
    ngx_mesh_prom_write(out, ngx_mesh_zone_at(out->zone, labels->text),
                        labels->text_len);

    if (labels != series) {
        ngx_mesh_prom_code(out, series);
    }

    if (le) {
        ngx_mesh_prom_str(out, ",le=\"");
        ngx_mesh_prom_str(out, le);
        ngx_mesh_prom_str(out, "\"");
    }

    ngx_mesh_prom_str(out, "}");
}


static void
ngx_mesh_prom_code(ngx_mesh_prom_t *out, ngx_mesh_series_t *series)
{
    int                      grpc;
    uint32_t                 status;
    const ngx_mesh_error_t  *e;

    if (series->kind == NGX_MESH_SERIES_CLOSE) {
        ngx_mesh_prom_errno(out, series->code);
        return;
    }

    status = series->code & NGX_MESH_RESPONSE_STATUS;

    if (status) {
        ngx_mesh_prom_str(out, ",status_code=\"");
        ngx_mesh_prom_number(out, status);
        ngx_mesh_prom_str(out, "\"");
    }

    grpc = ngx_mesh_response_grpc(series->code);

    ngx_mesh_prom_str(out, (series->code & NGX_MESH_RESPONSE_BROKEN)
                           || ngx_mesh_error_failure(status, grpc)
                           ? ",classification=\"failure\""
                           : ",classification=\"success\"");

    if (grpc >= 0) {
        ngx_mesh_prom_str(out, ",grpc_status=\"");
        ngx_mesh_prom_number(out, grpc);
        ngx_mesh_prom_str(out, "\"");
    }

    e = ngx_mesh_error_at(ngx_mesh_response_error(series->code));

    if (e) {
        ngx_mesh_prom_str(out, ",error=\"");
        ngx_mesh_prom_str(out, e->code);
        ngx_mesh_prom_str(out, "\"");
    }
}


static void
ngx_mesh_prom_errno(ngx_mesh_prom_t *out, uint32_t err)
{
    ngx_uint_t  i;

    ngx_mesh_prom_str(out, ",errno=\"");

    for (i = 0; i < sizeof(ngx_mesh_prom_errors)
                    / sizeof(ngx_mesh_prom_errors[0]); i++)
    {
        if ((uint32_t) ngx_mesh_prom_errors[i].err == err) {
            ngx_mesh_prom_str(out, ngx_mesh_prom_errors[i].name);
            ngx_mesh_prom_str(out, "\"");
            return;
        }
    }

    ngx_mesh_prom_number(out, err);
    ngx_mesh_prom_str(out, "\"");
}


static void
ngx_mesh_prom_value(ngx_mesh_prom_t *out, uint64_t n)
{
    ngx_mesh_prom_str(out, " ");

    if ((int64_t) n < 0) {
        ngx_mesh_prom_str(out, "-");
        n = -n;
    }

    ngx_mesh_prom_number(out, n);
    ngx_mesh_prom_str(out, "\n");
}


static void
ngx_mesh_prom_number(ngx_mesh_prom_t *out, uint64_t n)
{
    u_char  *p, text[NGX_INT64_LEN];

    p = text + sizeof(text);

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    ngx_mesh_prom_write(out, p, text + sizeof(text) - p);
}


static void
ngx_mesh_prom_str(ngx_mesh_prom_t *out, const char *s)
{
    ngx_mesh_prom_write(out, s, ngx_strlen(s));
}


static void
ngx_mesh_prom_write(ngx_mesh_prom_t *out, const void *data, size_t len)
{
    size_t        n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    while (len && !out->failed) {

        if (out->last == NULL || out->last->buf->last == out->last->buf->end) {

            b = ngx_create_temp_buf(out->pool, NGX_MESH_PROM_BUFFER);
            cl = b ? ngx_alloc_chain_link(out->pool) : NULL;

            if (cl == NULL) {
                out->failed = 1;
                return;
            }

            cl->buf = b;
            cl->next = NULL;

            if (out->last) {
                out->last->next = cl;

            } else {
                out->first = cl;
            }

            out->last = cl;
        }

        b = out->last->buf;
        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, data, n);
        data = (const u_char *) data + n;
        len -= n;
        out->size += n;
    }
}
