
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_detect.c */

/*
 * First bytes of connections: whole, cut at every byte, damaged at every
 * length.  ClientHellos are put together here, so that each length in them
 * can be made wrong by itself.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_mesh_detect.h>

#include "unit.h"


#define MORE                      NGX_MESH_DETECT_MORE
#define RAW                       NGX_MESH_DETECT_RAW
#define HTTP1                     NGX_MESH_DETECT_HTTP1
#define HTTP2                     NGX_MESH_DETECT_HTTP2
#define TLS                       NGX_MESH_DETECT_TLS

#define detect_text(s)            detect(s, sizeof(s) - 1)


typedef struct {
    unsigned char  data[1024];
    size_t         len;
} hello_t;


static ngx_mesh_hello_t  detect_hello;


/* the heap ends where the data ends: ASan sees a read behind it */

static ngx_mesh_detect_e
detect(const void *data, size_t len)
{
    unsigned char      *copy;
    ngx_mesh_detect_e   kind;
    static char         sni[256];

    copy = malloc(len ? len : 1);
    if (copy == NULL) {
        abort();
    }

    memcpy(copy, data, len);
    memset(&detect_hello, 0, sizeof(detect_hello));

    kind = ngx_mesh_detect(copy, len, &detect_hello);

    if (detect_hello.sni) {
        memcpy(sni, detect_hello.sni, detect_hello.sni_len);
        detect_hello.sni = (unsigned char *) sni;
    }

    free(copy);

    return kind;
}


static void
hello_put(hello_t *h, const void *data, size_t len)
{
    memcpy(h->data + h->len, data, len);
    h->len += len;
}


static void
hello_number(hello_t *h, size_t n, size_t bytes)
{
    while (bytes--) {
        h->data[h->len++] = (unsigned char) (n >> (8 * bytes));
    }
}


/* an extension with a list in it, as SNI and ALPN are */

static void
hello_list(hello_t *h, size_t type, const void *list, size_t len)
{
    hello_number(h, type, 2);
    hello_number(h, len + 2, 2);
    hello_number(h, len, 2);
    hello_put(h, list, len);
}


static void
hello_sni(hello_t *h, const char *name)
{
    hello_t  list;

    list.len = 0;
    hello_number(&list, 0, 1);
    hello_number(&list, strlen(name), 2);
    hello_put(&list, name, strlen(name));

    hello_list(h, 0, list.data, list.len);
}


/* names separated by a space */

static void
hello_alpn(hello_t *h, const char *names)
{
    size_t       n;
    hello_t      list;

    list.len = 0;

    while (*names) {
        n = strcspn(names, " ");
        hello_number(&list, n, 1);
        hello_put(&list, names, n);
        names += n + (names[n] == ' ');
    }

    hello_list(h, 16, list.data, list.len);
}


/* record, handshake and body around the extensions */

static hello_t
hello_wrap(const hello_t *exts)
{
    hello_t  h;
    size_t   body;

    body = 2 + 32 + 1 + 4 + 2 + (exts ? 2 + exts->len : 0);

    h.len = 0;
    hello_number(&h, 0x160301, 3);
    hello_number(&h, 4 + body, 2);
    hello_number(&h, 1, 1);
    hello_number(&h, body, 3);
    hello_number(&h, 0x0303, 2);
    memset(h.data + h.len, 0xaa, 32);
    h.len += 32;
    hello_number(&h, 0, 1);
    hello_number(&h, 2, 2);
    hello_number(&h, 0x1301, 2);
    hello_number(&h, 0x0100, 2);

    if (exts) {
        hello_number(&h, exts->len, 2);
        hello_put(&h, exts->data, exts->len);
    }

    return h;
}


static hello_t
hello_new(const char *sni, const char *alpn)
{
    hello_t  exts;

    exts.len = 0;

    /* an extension that is nobody's (RFC 8701) */

    hello_number(&exts, 0x0a0a, 2);
    hello_number(&exts, 0, 2);

    if (sni) {
        hello_sni(&exts, sni);
    }

    if (alpn) {
        hello_alpn(&exts, alpn);
    }

    return hello_wrap(&exts);
}


static void
request_lines_are_http(void)
{
    UNIT_EQ(detect_text("GET / HTTP/1.1\r\n"), HTTP1);
    UNIT_EQ(detect_text("GET / HTTP/1.0\n"), HTTP1);
    UNIT_EQ(detect_text("POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\n"), HTTP1);
    UNIT_EQ(detect_text("PROPFIND /x HTTP/1.1\r\n"), HTTP1);
    UNIT_EQ(detect_text("M-SEARCH /x HTTP/1.1\r\n"), HTTP1);
    UNIT_EQ(detect_text("GET http://shop/cart HTTP/1.1\r\n"), HTTP1);
    UNIT_EQ(detect_text("OPTIONS /x HTTP/1.1\r\n"), HTTP1);
    UNIT_EQ(detect_text("GET /\xc3\xa4 HTTP/1.1\r\n"), HTTP1);
}


static void
other_lines_are_raw(void)
{
    UNIT_EQ(detect_text("SET a 1\r\n"), RAW);
    UNIT_EQ(detect_text("*1\r\n$4\r\nPING\r\n"), RAW);
    UNIT_EQ(detect_text("QUIT\r\n"), RAW);
    UNIT_EQ(detect_text("get key\r\n"), RAW);
    UNIT_EQ(detect_text("SSH-2.0-OpenSSH_9.2\r\n"), RAW);
    UNIT_EQ(detect_text("OPTIONS rtsp://h/x RTSP/1.0\r\n"), RAW);
    UNIT_EQ(detect_text("INVITE sip:bob@h SIP/2.0\r\n"), RAW);
    UNIT_EQ(detect_text("GET /\r\n"), RAW);
    UNIT_EQ(detect_text("GET / HTTP/2.0\r\n"), RAW);
    UNIT_EQ(detect_text("GET HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("GET / HTTP/1.\r\n"), RAW);
    UNIT_EQ(detect_text("GET / HTTP/1.1\r\r\n"), RAW);
    UNIT_EQ(detect_text("GET / HTTQ"), RAW);
    UNIT_EQ(detect_text(" GET / HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("\0\0\0\x08\x04\xd2\x16\x2f"), RAW);
    UNIT_EQ(detect_text("\r\n"), RAW);
    UNIT_EQ(detect_text("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH"), RAW);
}


/* what nginx answers with 400 or 405 reaches the application instead */

static void
refused_requests_are_raw(void)
{
    UNIT_EQ(detect_text("CONNECT shop:443 HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("TRACE / HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("OPTIONS * HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("brew /pot HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("GET2 / HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("GET /with space HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("GET /tab\there HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("GET / HTTP/1.1 \r\n"), RAW);
}


static void
http_comes_in_pieces(void)
{
    size_t             n;
    static const char  line[] = "DELETE /cart/7 HTTP/1.1\r\nHost: shop\r\n";

    for (n = 0; n < sizeof(line) - 1; n++) {
        UNIT_EQ(detect(line, n), n < sizeof("DELETE /cart/7 HTTP/1.1\r\n") - 1
                                 ? MORE : HTTP1);
    }
}


static void
preface_is_http2(void)
{
    size_t             n;
    static const char  preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12";

    for (n = 0; n < sizeof(preface) - 1; n++) {
        UNIT_EQ(detect(preface, n), n < 24 ? MORE : HTTP2);
    }

    UNIT_EQ(detect_text("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), RAW);
    UNIT_EQ(detect_text("PRI * HTTP/1.1\r\n"), RAW);
    UNIT_EQ(detect_text("PR"), MORE);
    UNIT_EQ(detect_text("PROPFIND / HTTP/1.1\r\n"), HTTP1);
}


/* longer than what is peeked at, and no end in sight: still a request */

static void
long_lines_are_http(void)
{
    unsigned char  *line;

    line = malloc(NGX_MESH_DETECT_MAX_BYTES + 100);
    UNIT_NEED(line != NULL);

    memset(line, 'a', NGX_MESH_DETECT_MAX_BYTES + 100);
    memcpy(line, "GET /", 5);

    UNIT_EQ(detect(line, NGX_MESH_DETECT_MAX_BYTES - 1), MORE);
    UNIT_EQ(detect(line, NGX_MESH_DETECT_MAX_BYTES), HTTP1);

    line[NGX_MESH_DETECT_MAX_BYTES + 50] = '\n';
    UNIT_EQ(detect(line, NGX_MESH_DETECT_MAX_BYTES + 100), HTTP1);

    free(line);
}


static void
hello_gives_sni(void)
{
    hello_t  h;

    h = hello_new("shop.example", "h2 http/1.1");

    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_STRN(detect_hello.sni, detect_hello.sni_len, "shop.example");
    UNIT_EQ(detect_hello.mesh, 0);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_NONE);

    h = hello_new(NULL, NULL);
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_OK(detect_hello.sni == NULL);

    h = hello_wrap(NULL);
    UNIT_EQ(detect(h.data, h.len), TLS);
}


static void
names_are_harmless(void)
{
    hello_t  h;

    h = hello_new("a\"b\n", NULL);
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_OK(detect_hello.sni == NULL);

    h = hello_new("", NULL);
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_OK(detect_hello.sni == NULL);
}


static void
alpn_tells_mesh(void)
{
    hello_t  h;

    h = hello_new(NULL, "mesh/1 http/1.1");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.mesh, 1);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_HTTP1);

    h = hello_new(NULL, "h2 mesh/1");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.mesh, 1);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_HTTP2);

    h = hello_new(NULL, "mesh/1 h2 http/1.1");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_HTTP2);

    h = hello_new("x.y", "mesh/1 mesh-tcp");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_TCP);

    h = hello_new(NULL, "mesh/1");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.mesh, 1);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_NONE);

    h = hello_new(NULL, "mesh/10 mesh-tcp");
    UNIT_EQ(detect(h.data, h.len), TLS);
    UNIT_EQ(detect_hello.mesh, 0);
    UNIT_EQ(detect_hello.inner, NGX_MESH_INNER_NONE);
}


static void
hello_comes_in_pieces(void)
{
    size_t   n;
    hello_t  h;

    h = hello_new("shop.example", "mesh/1 http/1.1");

    for (n = 0; n < h.len; n++) {
        UNIT_EQ(detect(h.data, n), MORE);
    }

    /* and what follows does not matter */

    h.data[h.len] = 0xff;
    UNIT_EQ(detect(h.data, h.len + 1), TLS);
}


static void
other_records_are_raw(void)
{
    hello_t  h;

    UNIT_EQ(detect_text("\x16\x02"), RAW);
    UNIT_EQ(detect_text("\x16\x03\x05"), RAW);
    UNIT_EQ(detect_text("\x16\x03\x01\x00\x03"), RAW);
    UNIT_EQ(detect_text("\x16\x03\x01\x40\x01"), RAW);
    UNIT_EQ(detect_text("\x16\x03\x01\x40\x00"), MORE);
    UNIT_EQ(detect_text("\x16\x03\x01\x00\x10\x02"), RAW);
    UNIT_EQ(detect_text("\x15\x03\x01\x00\x02\x01\x00"), RAW);

    /* a hello that goes on in the next record */

    h = hello_new("shop.example", NULL);
    h.data[8]++;
    UNIT_EQ(detect(h.data, h.len), RAW);
}


/* every byte of every length made wrong: never TLS with a name of ours */

static void
damaged_hellos_are_raw(void)
{
    size_t         i;
    hello_t        h, exts;
    unsigned char  saved;

    h = hello_new("shop.example", "mesh/1 http/1.1");

    for (i = 0; i < h.len; i++) {
        saved = h.data[i];

        h.data[i] = 0xff;
        (void) detect(h.data, h.len);
        h.data[i] = 0;
        (void) detect(h.data, h.len);
        h.data[i] = saved + 1;
        (void) detect(h.data, h.len);
        h.data[i] = saved;
    }

    exts.len = 0;
    hello_list(&exts, 0, "\0\0\x05" "ab", 5);
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    exts.len = 0;
    hello_list(&exts, 0, "", 0);
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    exts.len = 0;
    hello_list(&exts, 16, "\x06mesh/1\x00", 8);
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    exts.len = 0;
    hello_list(&exts, 16, "\x07mesh/1", 7);
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    /* the inner list ends before its extension */

    exts.len = 0;
    hello_alpn(&exts, "mesh/1 h2");
    exts.data[5] -= 3;
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    /* an extension longer than all of them */

    exts.len = 0;
    hello_number(&exts, 43, 2);
    hello_number(&exts, 9, 2);
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    /* the same one twice */

    exts.len = 0;
    hello_alpn(&exts, "h2");
    hello_alpn(&exts, "mesh/1 mesh-tcp");
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);

    exts.len = 0;
    hello_sni(&exts, "a");
    hello_sni(&exts, "b");
    h = hello_wrap(&exts);
    UNIT_EQ(detect(h.data, h.len), RAW);
}


static void
only_tls_counts(void)
{
    hello_t           h;
    ngx_mesh_hello_t  hello;

    UNIT_EQ(ngx_mesh_detect_tls((unsigned char *) "G", 1, &hello), RAW);
    UNIT_EQ(ngx_mesh_detect_tls((unsigned char *) "", 0, &hello), MORE);

    h = hello_new(NULL, "mesh/1 mesh-tcp");
    UNIT_EQ(ngx_mesh_detect_tls(h.data, 1, &hello), MORE);
    UNIT_EQ(ngx_mesh_detect_tls(h.data, h.len, &hello), TLS);
    UNIT_EQ(hello.inner, NGX_MESH_INNER_TCP);
}


UNIT_TESTS = {
    UNIT(request_lines_are_http),
    UNIT(other_lines_are_raw),
    UNIT(refused_requests_are_raw),
    UNIT(http_comes_in_pieces),
    UNIT(preface_is_http2),
    UNIT(long_lines_are_http),
    UNIT(hello_gives_sni),
    UNIT(names_are_harmless),
    UNIT(alpn_tells_mesh),
    UNIT(hello_comes_in_pieces),
    UNIT(other_records_are_raw),
    UNIT(damaged_hellos_are_raw),
    UNIT(only_tls_counts),
    UNIT_END
};
