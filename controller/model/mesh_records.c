
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Memory of records and the words in which their parts are written.  The
 * arena takes chunks of 16 KiB; a bigger piece gets a chunk of its own.
 */

#include <mesh_core.h>

#include <arpa/inet.h>

#include <mesh_records.h>


#define MESH_RECORDS_CHUNK  (16 * 1024)


typedef struct mesh_chunk_s  mesh_chunk_t;

struct mesh_chunk_s {
    mesh_chunk_t  *next;
    size_t         used;
    size_t         size;
    uint64_t       data[];
};


static const uint8_t  mesh_ip_v4_prefix[12] =
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static const char  *mesh_protocol_words[] = {
    "detect", "http1", "http2", "opaque", "tls"
};


static mesh_chunk_t *
mesh_records_chunk(size_t size)
{
    mesh_chunk_t  *chunk;

    chunk = calloc(1, sizeof(mesh_chunk_t) + size);

    if (chunk == NULL) {
        fprintf(stderr, "out of memory: %zu bytes for records\n", size);
        exit(1);
    }

    chunk->size = size;

    return chunk;
}


mesh_records_t *
mesh_records_new(void)
{
    mesh_chunk_t    *chunk;
    mesh_records_t  *records;

    chunk = mesh_records_chunk(MESH_RECORDS_CHUNK);

    records = (mesh_records_t *) chunk->data;
    chunk->used = sizeof(mesh_records_t);
    records->chunks = chunk;

    return records;
}


void
mesh_records_free(mesh_records_t *records)
{
    mesh_chunk_t  *chunk, *next;

    if (records == NULL) {
        return;
    }

    for (chunk = records->chunks; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
}


void *
mesh_records_alloc(mesh_records_t *records, size_t size)
{
    void          *p;
    mesh_chunk_t  *chunk, *big;

    chunk = records->chunks;
    size = (size + 7) & ~(size_t) 7;

    if (size > MESH_RECORDS_CHUNK / 4) {
        big = mesh_records_chunk(size);
        big->used = size;
        big->next = chunk->next;
        chunk->next = big;

        return big->data;
    }

    if (chunk->size - chunk->used < size) {
        chunk = mesh_records_chunk(MESH_RECORDS_CHUNK);
        chunk->next = records->chunks;
        records->chunks = chunk;
    }

    p = (char *) chunk->data + chunk->used;
    chunk->used += size;

    return p;
}


char *
mesh_records_text(mesh_records_t *records, const char *text, size_t len)
{
    char  *copy;

    copy = mesh_records_alloc(records, len + 1);

    memcpy(copy, text, len);
    copy[len] = '\0';

    return copy;
}


mesh_workload_t *
mesh_records_workload(mesh_records_t *records)
{
    mesh_workload_t  *wl;

    wl = mesh_records_alloc(records, sizeof(mesh_workload_t));

    wl->next = records->workloads;
    records->workloads = wl;

    return wl;
}


mesh_service_t *
mesh_records_service(mesh_records_t *records)
{
    mesh_service_t  *service;

    service = mesh_records_alloc(records, sizeof(mesh_service_t));

    service->next = records->services;
    records->services = service;

    return service;
}


mesh_endpoint_t *
mesh_records_endpoint(mesh_records_t *records, mesh_service_t *service)
{
    mesh_endpoint_t  *endpoint;

    endpoint = mesh_records_alloc(records, sizeof(mesh_endpoint_t));

    endpoint->weight = 1;
    endpoint->next = service->endpoints;
    service->endpoints = endpoint;

    return endpoint;
}


mesh_address_t *
mesh_records_address(mesh_records_t *records, mesh_address_t **list,
    const uint8_t ip[16], uint16_t port)
{
    mesh_address_t  *address;

    address = mesh_records_alloc(records, sizeof(mesh_address_t));

    memcpy(address->ip, ip, 16);
    address->port = port;
    address->next = *list;
    *list = address;

    return address;
}


mesh_port_t *
mesh_records_port(mesh_records_t *records, mesh_workload_t *wl, uint16_t port,
    uint8_t protocol)
{
    mesh_port_t  *p;

    p = mesh_records_alloc(records, sizeof(mesh_port_t));

    p->port = port;
    p->protocol = protocol;
    p->next = wl->ports;
    wl->ports = p;

    return p;
}


mesh_network_t *
mesh_records_network(mesh_records_t *records, const uint8_t ip[16],
    uint8_t bits)
{
    mesh_network_t  *network;

    network = mesh_records_alloc(records, sizeof(mesh_network_t));

    memcpy(network->ip, ip, 16);
    network->bits = bits;
    network->next = records->networks;
    records->networks = network;

    return network;
}


int
mesh_ip_is_v4(const uint8_t ip[16])
{
    return memcmp(ip, mesh_ip_v4_prefix, 12) == 0;
}


int
mesh_ip_parse(const char *text, size_t len, uint8_t ip[16])
{
    char     buf[MESH_ADDRESS_TEXT];
    uint8_t  parsed[16];

    if (len == 0 || len >= sizeof(buf) || memchr(text, '\0', len)) {
        return -1;
    }

    memcpy(buf, text, len);
    buf[len] = '\0';

    if (inet_pton(AF_INET, buf, parsed + 12) == 1) {
        memcpy(ip, mesh_ip_v4_prefix, 12);
        memcpy(ip + 12, parsed + 12, 4);
        return 0;
    }

    if (inet_pton(AF_INET6, buf, parsed) != 1 || mesh_ip_is_v4(parsed)) {
        return -1;
    }

    memcpy(ip, parsed, 16);

    return 0;
}


int
mesh_address_parse(const char *text, size_t len, uint8_t ip[16],
    uint16_t *port)
{
    size_t       n;
    int64_t      number;
    const char  *colon;

    colon = memrchr(text, ':', len);
    if (colon == NULL) {
        return -1;
    }

    n = colon - text;

    number = mesh_number_parse(colon + 1, len - n - 1, 65535);
    if (number < 1) {
        return -1;
    }

    *port = (uint16_t) number;

    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        return mesh_ip_parse(text + 1, n - 2, ip) == 0 && !mesh_ip_is_v4(ip)
               ? 0 : -1;
    }

    return mesh_ip_parse(text, n, ip) == 0 && mesh_ip_is_v4(ip) ? 0 : -1;
}


int
mesh_network_parse(const char *text, size_t len, uint8_t ip[16], uint8_t *bits)
{
    int          base, i;
    size_t       n;
    int64_t      number;
    const char  *slash;

    slash = memchr(text, '/', len);
    n = slash ? (size_t) (slash - text) : len;

    if (mesh_ip_parse(text, n, ip) != 0) {
        return -1;
    }

    base = mesh_ip_is_v4(ip) ? 96 : 0;
    number = 128 - base;

    if (slash) {
        number = mesh_number_parse(slash + 1, len - n - 1, 128 - base);
    }

    if (number < 0) {
        return -1;
    }

    *bits = (uint8_t) (base + number);

    for (i = *bits; i < 128; i++) {
        if (ip[i / 8] & (0x80 >> (i % 8))) {
            return -1;
        }
    }

    return 0;
}


char *
mesh_ip_print(const uint8_t ip[16], char *buf)
{
    if (mesh_ip_is_v4(ip)) {
        (void) inet_ntop(AF_INET, ip + 12, buf, MESH_ADDRESS_TEXT);

    } else {
        (void) inet_ntop(AF_INET6, ip, buf, MESH_ADDRESS_TEXT);
    }

    return buf;
}


char *
mesh_address_print(const uint8_t ip[16], uint16_t port, char *buf)
{
    char  text[MESH_ADDRESS_TEXT];

    mesh_ip_print(ip, text);

    (void) snprintf(buf, MESH_ADDRESS_TEXT,
                    mesh_ip_is_v4(ip) ? "%.45s:%u" : "[%.45s]:%u", text, port);

    return buf;
}


char *
mesh_network_print(const uint8_t ip[16], uint8_t bits, char *buf)
{
    int   base;
    char  text[MESH_ADDRESS_TEXT];

    mesh_ip_print(ip, text);

    base = (mesh_ip_is_v4(ip) && bits >= 96) ? 96 : 0;

    (void) snprintf(buf, MESH_ADDRESS_TEXT, "%.45s/%d", text, bits - base);

    return buf;
}


const char *
mesh_protocol_word(uint8_t protocol)
{
    return protocol <= MESH_PROTO_MAX ? mesh_protocol_words[protocol] : NULL;
}


int
mesh_protocol_parse(const char *text, size_t len)
{
    int  i;

    for (i = 0; i <= MESH_PROTO_MAX; i++) {

        if (strlen(mesh_protocol_words[i]) == len
            && memcmp(mesh_protocol_words[i], text, len) == 0)
        {
            return i;
        }
    }

    return -1;
}


int64_t
mesh_number_parse(const char *text, size_t len, int64_t max)
{
    size_t   i;
    int64_t  n;

    if (len == 0 || len > 19) {
        return -1;
    }

    n = 0;

    for (i = 0; i < len; i++) {

        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }

        if (n > max / 10 || n * 10 > max - (text[i] - '0')) {
            return -1;
        }

        n = n * 10 + (text[i] - '0');
    }

    return n;
}
