
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The parsers of first bytes.  They decide what is handed to nginx's http
 * code, so they take only what that code answers well: a request line that
 * it would refuse with 400 or 405 is passed raw and reaches the application
 * as it is.  Every length of a ClientHello is checked against what encloses
 * it, and has to fill it exactly.
 */


#include <string.h>

#include <mesh_names.h>
#include <ngx_mesh_detect.h>


#define NGX_MESH_METHOD_MAX       32

#define NGX_MESH_EXT_SNI          0        /* RFC 6066 */
#define NGX_MESH_EXT_ALPN         16       /* RFC 7301 */

#define ngx_mesh_is(p, n, text)                                               \
    ((n) == sizeof(text) - 1 && memcmp(p, text, sizeof(text) - 1) == 0)


/* bytes that are left to read; reading past end only marks it as failed */

typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
    int                   failed;
} ngx_mesh_reader_t;


static ngx_mesh_detect_e ngx_mesh_detect_http(const unsigned char *p,
    size_t len);
static ngx_mesh_detect_e ngx_mesh_detect_request_line(const unsigned char *p,
    const unsigned char *target, const unsigned char *end);
static ngx_mesh_detect_e ngx_mesh_detect_minor(const unsigned char *p,
    const unsigned char *end);
static ngx_mesh_detect_e ngx_mesh_detect_hello(ngx_mesh_reader_t *r,
    ngx_mesh_hello_t *hello);
static void ngx_mesh_detect_sni(ngx_mesh_reader_t *r,
    ngx_mesh_hello_t *hello);
static void ngx_mesh_detect_alpn(ngx_mesh_reader_t *r,
    ngx_mesh_hello_t *hello);
static int ngx_mesh_detect_name(const unsigned char *p, size_t len);
static size_t ngx_mesh_read_number(ngx_mesh_reader_t *r, size_t bytes);
static ngx_mesh_reader_t ngx_mesh_read_vector(ngx_mesh_reader_t *r,
    size_t bytes);


static const char  ngx_mesh_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";


ngx_mesh_detect_e
ngx_mesh_detect(const unsigned char *data, size_t len,
    ngx_mesh_hello_t *hello)
{
    size_t  n;

    if (len == 0) {
        return NGX_MESH_DETECT_MORE;
    }

    if (len > NGX_MESH_DETECT_MAX_BYTES) {
        len = NGX_MESH_DETECT_MAX_BYTES;
    }

    if (data[0] == 0x16) {
        return ngx_mesh_detect_tls(data, len, hello);
    }

    n = len < sizeof(ngx_mesh_preface) - 1 ? len
                                           : sizeof(ngx_mesh_preface) - 1;

    if (memcmp(data, ngx_mesh_preface, n) == 0) {

        if (n == sizeof(ngx_mesh_preface) - 1) {
            return NGX_MESH_DETECT_HTTP2;
        }

        /* "P", "PR": POST, PROPFIND .. have differed by the third byte */

        return NGX_MESH_DETECT_MORE;
    }

    return ngx_mesh_detect_http(data, len);
}


static ngx_mesh_detect_e
ngx_mesh_detect_http(const unsigned char *p, size_t len)
{
    size_t                n;
    const unsigned char  *target;

    for (n = 0; n < len; n++) {

        if (p[n] == ' ') {
            break;
        }

        /* what ngx_http_parse_request_line() takes for a method */

        if ((p[n] < 'A' || p[n] > 'Z') && p[n] != '_' && p[n] != '-') {
            return NGX_MESH_DETECT_RAW;
        }

        if (n == NGX_MESH_METHOD_MAX) {
            return NGX_MESH_DETECT_RAW;
        }
    }

    if (n == len) {
        return NGX_MESH_DETECT_MORE;
    }

    if (n == 0 || ngx_mesh_is(p, n, "CONNECT") || ngx_mesh_is(p, n, "TRACE")) {
        return NGX_MESH_DETECT_RAW;
    }

    target = p + n + 1;

    return ngx_mesh_detect_request_line(p, target, p + len);
}


/*
 * The line has to end in HTTP/1.x: text protocols with verbs in capitals
 * ("SET a 1", "OPTIONS rtsp://h RTSP/1.0") differ only there.  A target that
 * is longer than what may be peeked at is taken for one of HTTP.
 */

static ngx_mesh_detect_e
ngx_mesh_detect_request_line(const unsigned char *p,
    const unsigned char *target, const unsigned char *end)
{
    size_t                n;
    const unsigned char  *version;
    static const char     http[] = " HTTP/1.";

    if (target == end) {
        return NGX_MESH_DETECT_MORE;
    }

    /* origin-form or absolute-form; "OPTIONS *" is 400 in nginx */

    if (target[0] != '/'
        && (target[0] < 'a' || target[0] > 'z')
        && (target[0] < 'A' || target[0] > 'Z'))
    {
        return NGX_MESH_DETECT_RAW;
    }

    for (version = target; version < end; version++) {
        if (*version <= 0x20 || *version == 0x7f) {
            break;
        }
    }

    if (version == end) {
        return (end - p < NGX_MESH_DETECT_MAX_BYTES) ? NGX_MESH_DETECT_MORE
                                                     : NGX_MESH_DETECT_HTTP1;
    }

    n = end - version;

    if (n < sizeof(http) - 1) {
        return memcmp(version, http, n) == 0 ? NGX_MESH_DETECT_MORE
                                             : NGX_MESH_DETECT_RAW;
    }

    if (memcmp(version, http, sizeof(http) - 1) != 0) {
        return NGX_MESH_DETECT_RAW;
    }

    return ngx_mesh_detect_minor(version + sizeof(http) - 1, end);
}


/* a digit and the end of the line */

static ngx_mesh_detect_e
ngx_mesh_detect_minor(const unsigned char *p, const unsigned char *end)
{
    if (p == end) {
        return NGX_MESH_DETECT_MORE;
    }

    if (*p < '0' || *p > '9') {
        return NGX_MESH_DETECT_RAW;
    }

    p++;

    if (p < end && *p == '\r') {
        p++;
    }

    if (p == end) {
        return NGX_MESH_DETECT_MORE;
    }

    return (*p == '\n') ? NGX_MESH_DETECT_HTTP1 : NGX_MESH_DETECT_RAW;
}


ngx_mesh_detect_e
ngx_mesh_detect_tls(const unsigned char *data, size_t len,
    ngx_mesh_hello_t *hello)
{
    size_t             record;
    ngx_mesh_reader_t  r;

    if (len > 0 && data[0] != 0x16) {
        return NGX_MESH_DETECT_RAW;
    }

    if ((len > 1 && data[1] != 3) || (len > 2 && data[2] > 4)) {
        return NGX_MESH_DETECT_RAW;
    }

    if (len < 5) {
        return NGX_MESH_DETECT_MORE;
    }

    record = ((size_t) data[3] << 8) + data[4];

    if (record < 4 || record > 16384 || (len > 5 && data[5] != 1)) {
        return NGX_MESH_DETECT_RAW;
    }

    if (len < 5 + record) {
        return NGX_MESH_DETECT_MORE;
    }

    r.p = data + 6;
    r.end = data + 5 + record;
    r.failed = 0;

    return ngx_mesh_detect_hello(&r, hello);
}


/* RFC 8446, section 4.1.2; the same layout since TLS 1.0 */

static ngx_mesh_detect_e
ngx_mesh_detect_hello(ngx_mesh_reader_t *r, ngx_mesh_hello_t *hello)
{
    size_t             type;
    unsigned           sni, alpn;
    ngx_mesh_reader_t  body, exts, ext;

    memset(hello, 0, sizeof(ngx_mesh_hello_t));

    body = ngx_mesh_read_vector(r, 3);

    if (r->failed) {
        return NGX_MESH_DETECT_RAW;          /* goes on in another record */
    }

    (void) ngx_mesh_read_number(&body, 2);   /* legacy_version */

    if (body.end - body.p < 32) {
        return NGX_MESH_DETECT_RAW;
    }

    body.p += 32;                            /* random */

    (void) ngx_mesh_read_vector(&body, 1);   /* legacy_session_id */
    (void) ngx_mesh_read_vector(&body, 2);   /* cipher_suites */
    (void) ngx_mesh_read_vector(&body, 1);   /* compression_methods */

    if (body.failed) {
        return NGX_MESH_DETECT_RAW;
    }

    if (body.p == body.end) {
        return NGX_MESH_DETECT_TLS;          /* no extensions: TLS 1.0 */
    }

    exts = ngx_mesh_read_vector(&body, 2);

    if (body.failed || body.p != body.end) {
        return NGX_MESH_DETECT_RAW;
    }

    sni = 0;
    alpn = 0;

    while (exts.p < exts.end) {
        type = ngx_mesh_read_number(&exts, 2);
        ext = ngx_mesh_read_vector(&exts, 2);

        if (exts.failed) {
            return NGX_MESH_DETECT_RAW;
        }

        if (type == NGX_MESH_EXT_SNI && sni++ == 0) {
            ngx_mesh_detect_sni(&ext, hello);

        } else if (type == NGX_MESH_EXT_ALPN && alpn++ == 0) {
            ngx_mesh_detect_alpn(&ext, hello);
        }

        if (ext.failed || sni > 1 || alpn > 1) {
            return NGX_MESH_DETECT_RAW;
        }
    }

    return NGX_MESH_DETECT_TLS;
}


static void
ngx_mesh_detect_sni(ngx_mesh_reader_t *r, ngx_mesh_hello_t *hello)
{
    size_t             type;
    ngx_mesh_reader_t  list, name;

    list = ngx_mesh_read_vector(r, 2);

    if (r->failed || r->p != r->end || list.p == list.end) {
        r->failed = 1;
        return;
    }

    while (list.p < list.end) {
        type = ngx_mesh_read_number(&list, 1);
        name = ngx_mesh_read_vector(&list, 2);

        if (list.failed) {
            r->failed = 1;
            return;
        }

        if (type == 0
            && hello->sni == NULL
            && ngx_mesh_detect_name(name.p, name.end - name.p))
        {
            hello->sni = name.p;
            hello->sni_len = name.end - name.p;
        }
    }
}


static void
ngx_mesh_detect_alpn(ngx_mesh_reader_t *r, ngx_mesh_hello_t *hello)
{
    size_t             n;
    ngx_mesh_inner_e   inner;
    ngx_mesh_reader_t  list, name;

    list = ngx_mesh_read_vector(r, 2);

    if (r->failed || r->p != r->end || list.p == list.end) {
        r->failed = 1;
        return;
    }

    inner = NGX_MESH_INNER_NONE;

    while (list.p < list.end) {
        name = ngx_mesh_read_vector(&list, 1);
        n = name.end - name.p;

        if (list.failed || n == 0) {
            r->failed = 1;
            return;
        }

        if (ngx_mesh_is(name.p, n, MESH_ALPN)) {
            hello->mesh = 1;

        } else if (inner != NGX_MESH_INNER_NONE) {
            continue;

        } else if (ngx_mesh_is(name.p, n, MESH_ALPN_HTTP1)) {
            inner = NGX_MESH_INNER_HTTP1;

        } else if (ngx_mesh_is(name.p, n, MESH_ALPN_HTTP2)) {
            inner = NGX_MESH_INNER_HTTP2;

        } else if (ngx_mesh_is(name.p, n, MESH_ALPN_TCP)) {
            inner = NGX_MESH_INNER_TCP;
        }
    }

    hello->inner = hello->mesh ? inner : NGX_MESH_INNER_NONE;
}


/* only what may stand in a log line and a label as it is */

static int
ngx_mesh_detect_name(const unsigned char *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > 255) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if ((p[i] < 'a' || p[i] > 'z')
            && (p[i] < 'A' || p[i] > 'Z')
            && (p[i] < '0' || p[i] > '9')
            && p[i] != '-' && p[i] != '.' && p[i] != '_')
        {
            return 0;
        }
    }

    return 1;
}


static size_t
ngx_mesh_read_number(ngx_mesh_reader_t *r, size_t bytes)
{
    size_t  n;

    if ((size_t) (r->end - r->p) < bytes) {
        r->failed = 1;
        r->p = r->end;
        return 0;
    }

    for (n = 0; bytes; bytes--) {
        n = (n << 8) + *r->p++;
    }

    return n;
}


/* a vector whose length stands before it in so many bytes; empty on failure */

static ngx_mesh_reader_t
ngx_mesh_read_vector(ngx_mesh_reader_t *r, size_t bytes)
{
    size_t             n;
    ngx_mesh_reader_t  v;

    n = ngx_mesh_read_number(r, bytes);

    if ((size_t) (r->end - r->p) < n) {
        r->failed = 1;
        n = 0;
    }

    v.p = r->p;
    v.end = r->p + n;
    v.failed = 0;

    r->p = v.end;

    return v;
}
