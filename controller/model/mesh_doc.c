
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The envelope of a document and the names of keys.  The signature covers
 * the key and the generation too, so a value copied to another key, or an
 * old one put back under a new number, is seen.  Bodies are the business of
 * mesh_doc_body.c.
 */

#include <mesh_core.h>

#include <arpa/inet.h>

#include <mesh_b64.h>
#include <mesh_doc.h>


#define MESH_DOC_MAGIC            "ngx-mesh/"
#define MESH_DOC_HEADER_MAX       160
#define MESH_DOC_SIGNATURE_CHARS  (mesh_b64_encoded_bytes(MESH_SIGN_BYTES) - 1)


typedef struct {
    const char       *prefix;
    mesh_doc_kind_e   kind;
} mesh_doc_prefix_t;


static const mesh_doc_prefix_t  mesh_doc_prefixes[] = {
    { MESH_REDIS_VIP, MESH_DOC_VIP },
    { MESH_REDIS_IP, MESH_DOC_IP },
    { MESH_REDIS_SVC, MESH_DOC_SERVICE },
    { MESH_REDIS_WL, MESH_DOC_WORKLOAD },
    { NULL, MESH_DOC_NONE }
};


/* indexed by MESH_PROTO_.. */

static const char  *mesh_doc_protocols[] = {
    "detect", "http1", "http2", "opaque", "tls"
};


static char *mesh_doc_key(char *key, size_t size, int n);
static char *mesh_doc_signed(const char *key, uint64_t generation,
    const char *body, size_t len, size_t *total);
static const char *mesh_doc_number(const char *p, const char *last,
    uint64_t *number);


char *
mesh_doc_key_vip(char *key, size_t size, const char *ip, uint16_t port)
{
    return mesh_doc_key(key, size, snprintf(key, size, MESH_REDIS_VIP "%s:%u",
                                            ip, port));
}


char *
mesh_doc_key_ip(char *key, size_t size, const char *ip)
{
    return mesh_doc_key(key, size, snprintf(key, size, MESH_REDIS_IP "%s",
                                            ip));
}


char *
mesh_doc_key_service(char *key, size_t size, const char *name)
{
    return mesh_doc_key(key, size, snprintf(key, size, MESH_REDIS_SVC "%s",
                                            name));
}


char *
mesh_doc_key_workload(char *key, size_t size, const char *name)
{
    return mesh_doc_key(key, size, snprintf(key, size, MESH_REDIS_WL "%s",
                                            name));
}


/* half a key would be another key */

static char *
mesh_doc_key(char *key, size_t size, int n)
{
    if (size && (n < 0 || (size_t) n >= size)) {
        key[0] = '\0';
    }

    return key;
}


mesh_doc_kind_e
mesh_doc_key_kind(const char *key)
{
    size_t                    len;
    const mesh_doc_prefix_t  *p;

    for (p = mesh_doc_prefixes; p->prefix; p++) {
        len = strlen(p->prefix);

        if (strncmp(key, p->prefix, len) == 0 && key[len]) {
            return p->kind;
        }
    }

    return strcmp(key, MESH_REDIS_SYNCED) == 0 ? MESH_DOC_SYNCED
                                               : MESH_DOC_NONE;
}


int
mesh_doc_ip_canonical(const char *text, char ip[MESH_DOC_IP_MAX])
{
    struct in_addr   v4;
    struct in6_addr  v6;

    if (inet_pton(AF_INET, text, &v4) == 1) {
        inet_ntop(AF_INET, &v4, ip, MESH_DOC_IP_MAX);
        return 4;
    }

    if (inet_pton(AF_INET6, text, &v6) != 1) {
        return 0;
    }

    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
        inet_ntop(AF_INET, &v6.s6_addr[12], ip, MESH_DOC_IP_MAX);
        return 4;
    }

    inet_ntop(AF_INET6, &v6, ip, MESH_DOC_IP_MAX);

    return 6;
}


const char *
mesh_doc_protocol_text(uint8_t protocol)
{
    return protocol <= MESH_PROTO_MAX ? mesh_doc_protocols[protocol] : NULL;
}


int
mesh_doc_protocol_parse(const char *text)
{
    int  i;

    for (i = 0; i <= MESH_PROTO_MAX; i++) {
        if (strcmp(text, mesh_doc_protocols[i]) == 0) {
            return i;
        }
    }

    return -1;
}


char *
mesh_doc_seal(const mesh_sign_t *sign, const char *key, uint64_t generation,
    const char *body, size_t *len)
{
    int       rc;
    char     *value, *bytes;
    char      text[mesh_b64_encoded_bytes(MESH_SIGN_BYTES)];
    size_t    total;
    uint8_t   signature[MESH_SIGN_BYTES];

    bytes = mesh_doc_signed(key, generation, body, strlen(body), &total);
    if (bytes == NULL) {
        return NULL;
    }

    rc = mesh_sign_make(sign, bytes, total, signature);
    free(bytes);

    if (rc != 0) {
        return NULL;
    }

    mesh_b64_encode(text, signature, sizeof(signature));

    rc = asprintf(&value, MESH_DOC_MAGIC "%d %llu %s\n%s", MESH_DOC_LAYOUT,
                  (unsigned long long) generation, text, body);
    if (rc == -1) {
        return NULL;
    }

    *len = (size_t) rc;

    return value;
}


/* the bytes that a signature covers; the caller frees */

static char *
mesh_doc_signed(const char *key, uint64_t generation, const char *body,
    size_t len, size_t *total)
{
    int     n;
    char   *bytes;
    size_t  size;

    size = strlen(key) + MESH_DOC_HEADER_MAX + len;

    bytes = malloc(size);
    if (bytes == NULL) {
        return NULL;
    }

    n = snprintf(bytes, size, MESH_DOC_MAGIC "%d\n%s\n%llu\n",
                 MESH_DOC_LAYOUT, key, (unsigned long long) generation);

    memcpy(bytes + n, body, len);
    *total = (size_t) n + len;

    return bytes;
}


int
mesh_doc_open(const char *value, size_t len, mesh_doc_envelope_t *envelope,
    mesh_err_t *err)
{
    size_t       n;
    uint8_t      signature[mesh_b64_decoded_bytes(MESH_DOC_SIGNATURE_CHARS)];
    uint64_t     layout;
    const char  *p, *last;

    if (len > MESH_DOC_VALUE_MAX) {
        mesh_err(err, "document is longer than %d bytes",
                 MESH_DOC_VALUE_MAX);
        return -1;
    }

    last = memchr(value, '\n', len < MESH_DOC_HEADER_MAX
                               ? len : MESH_DOC_HEADER_MAX);
    p = value;

    if (last == NULL || len < sizeof(MESH_DOC_MAGIC)
        || memcmp(p, MESH_DOC_MAGIC, sizeof(MESH_DOC_MAGIC) - 1) != 0)
    {
        mesh_err(err, "document has no header, expected \""
                 MESH_DOC_MAGIC "%d GENERATION SIGNATURE\"",
                 MESH_DOC_LAYOUT);
        return -1;
    }

    p = mesh_doc_number(p + sizeof(MESH_DOC_MAGIC) - 1, last, &layout);

    if (p == NULL || *p++ != ' ') {
        mesh_err(err, "document's layout is no number");
        return -1;
    }

    if (layout != MESH_DOC_LAYOUT) {
        mesh_err(err, "document's layout is %llu, expected %d",
                 (unsigned long long) layout, MESH_DOC_LAYOUT);
        return -1;
    }

    p = mesh_doc_number(p, last, &envelope->generation);

    if (p == NULL || *p++ != ' ') {
        mesh_err(err, "document's generation is no number");
        return -1;
    }

    if ((size_t) (last - p) != MESH_DOC_SIGNATURE_CHARS
        || mesh_b64_decode(signature, &n, p, MESH_DOC_SIGNATURE_CHARS)
           != MESH_OK
        || n != MESH_SIGN_BYTES)
    {
        mesh_err(err, "document's signature is not %d bytes in base64",
                 MESH_SIGN_BYTES);
        return -1;
    }

    memcpy(envelope->signature, signature, MESH_SIGN_BYTES);

    envelope->body = last + 1;
    envelope->body_len = len - (size_t) (envelope->body - value);
    envelope->tombstone = envelope->body_len == 4
                          && memcmp(envelope->body, "null", 4) == 0;

    return 0;
}


/* digits at p, no leading zero; NULL if there are none or too many */

static const char *
mesh_doc_number(const char *p, const char *last, uint64_t *number)
{
    uint64_t     n;
    const char  *start;

    start = p;
    n = 0;

    while (p < last && *p >= '0' && *p <= '9') {
        if (n > (UINT64_MAX - 9) / 10) {
            return NULL;
        }

        n = n * 10 + (uint64_t) (*p++ - '0');
    }

    if (p == start || *start == '0') {
        return NULL;
    }

    *number = n;

    return p;
}


int
mesh_doc_verify(const mesh_sign_t *sign, const char *key,
    const mesh_doc_envelope_t *envelope, mesh_err_t *err)
{
    int        rc;
    char      *bytes;
    size_t     total;
    uint64_t   epoch;

    epoch = mesh_doc_generation_epoch(envelope->generation);

    if (epoch != mesh_sign_epoch(sign)) {
        mesh_err(err, "document is of epoch %llu, the signer of %llu",
                 (unsigned long long) epoch,
                 (unsigned long long) mesh_sign_epoch(sign));
        return -1;
    }

    bytes = mesh_doc_signed(key, envelope->generation, envelope->body,
                            envelope->body_len, &total);
    if (bytes == NULL) {
        mesh_err(err, "no memory");
        return -1;
    }

    rc = mesh_sign_verify(sign, bytes, total, envelope->signature);
    free(bytes);

    if (rc != 0) {
        mesh_err(err, "document's signature is not the signer's");
    }

    return rc;
}
