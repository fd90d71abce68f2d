
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/shared/mesh_state.c */

/*
 * Snapshots, laid out here by hand: what is right is found, and whatever can
 * be wrong with a file is refused with its own sentence.  Each test starts
 * from the same good file, damages one thing and gives it a fitting checksum,
 * so that the check behind the checksum has to see it.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mesh_names.h>
#include <mesh_state.h>

#include "unit.h"


#define STATE_SLOTS               8
#define STATE_IDENTITY            "spiffe://cluster.local/ns/shop/sa/cart"


typedef struct {
    mesh_state_head_t       head;
    mesh_state_addr_t       addrs[STATE_SLOTS];
    mesh_state_service_t    services[1];
    mesh_state_endpoint_t   endpoints[2];
    mesh_state_workload_t   workloads[1];
    mesh_state_port_t       ports[2];
    mesh_state_network_t    networks[3];
    char                    blob[128];
} state_file_t;


static const uint8_t  state_vip[16] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 14, 7
};

static const uint8_t  state_pod[16] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 244, 1, 9
};

static const uint8_t  state_pod6[16] = { 0xfd, 0, 2, 0x44, 0, 0, 0, 0,
                                         0, 0, 0, 0, 0, 0, 0, 9 };

static const uint8_t  state_none[16] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3
};

static const uint8_t  state_far[16] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9
};


static void
state_sum(state_file_t *f)
{
    f->head.crc = 0;
    f->head.crc = mesh_crc32c(0, f, sizeof(state_file_t));
}


static mesh_state_addr_t *
state_put(state_file_t *f, const uint8_t ip[16], uint16_t port, uint8_t kind,
    uint32_t index)
{
    uint32_t            i;
    mesh_state_addr_t  *addr;

    i = mesh_state_hash(ip, port);

    while (f->addrs[i % STATE_SLOTS].kind != MESH_ADDR_EMPTY) {
        i++;
    }

    addr = &f->addrs[i % STATE_SLOTS];

    memcpy(addr->ip, ip, 16);
    addr->port = port;
    addr->kind = kind;
    addr->index = index;
    addr->hash = mesh_state_hash(ip, port);

    return addr;
}


static mesh_state_str_t
state_str(state_file_t *f, const char *text)
{
    size_t            len, at;
    mesh_state_str_t  s;

    len = strlen(text);
    at = f->head.blob.count;

    memcpy(f->blob + at, text, len + 1);
    f->head.blob.count += (uint32_t) len + 1;

    s.offset = (uint32_t) (offsetof(state_file_t, blob) + at);
    s.len = (uint32_t) len;

    return s;
}


static mesh_state_section_t
state_section(size_t offset, uint32_t count)
{
    mesh_state_section_t  s;

    s.offset = (uint32_t) offset;
    s.count = count;

    return s;
}


/* on the heap, with exactly its size: ASan sees a read behind it */

static state_file_t *
state_new(void)
{
    state_file_t       *f;
    mesh_state_head_t  *head;

    f = calloc(1, sizeof(state_file_t));
    if (f == NULL) {
        abort();
    }

    head = &f->head;

    memcpy(head->magic, MESH_STATE_MAGIC, sizeof(head->magic));
    head->layout = MESH_STATE_LAYOUT;
    head->head_bytes = sizeof(mesh_state_head_t);
    head->size = sizeof(state_file_t);
    head->generation = 7;
    head->flags = MESH_STATE_COMPLETE;
    head->self = 0;

    head->addrs = state_section(offsetof(state_file_t, addrs), STATE_SLOTS);
    head->services = state_section(offsetof(state_file_t, services), 1);
    head->endpoints = state_section(offsetof(state_file_t, endpoints), 2);
    head->workloads = state_section(offsetof(state_file_t, workloads), 1);
    head->ports = state_section(offsetof(state_file_t, ports), 2);
    head->networks = state_section(offsetof(state_file_t, networks), 3);
    head->blob = state_section(offsetof(state_file_t, blob), 0);

    head->trust_domain = state_str(f, "cluster.local");

    f->services[0].namespace_ = state_str(f, "shop");
    f->services[0].name = state_str(f, "cart");
    f->services[0].port = 80;
    f->services[0].protocol = MESH_PROTO_HTTP1;
    f->services[0].nendpoints = 2;

    memcpy(f->endpoints[0].ip, state_pod, 16);
    f->endpoints[0].port = 8080;
    f->endpoints[0].flags = MESH_WL_MESHED;
    f->endpoints[0].weight = 1;
    f->endpoints[0].identity = state_str(f, STATE_IDENTITY);

    memcpy(f->endpoints[1].ip, state_pod6, 16);
    f->endpoints[1].port = 8080;
    f->endpoints[1].weight = 1000000;
    f->endpoints[1].workload = MESH_STATE_NONE;

    f->workloads[0].namespace_ = f->services[0].namespace_;
    f->workloads[0].pod = state_str(f, "cart-1");
    f->workloads[0].identity = f->endpoints[0].identity;
    f->workloads[0].flags = MESH_WL_MESHED;
    f->workloads[0].nports = 2;

    f->ports[0].port = 8080;
    f->ports[0].protocol = MESH_PROTO_HTTP1;
    f->ports[1].port = 9000;
    f->ports[1].protocol = MESH_PROTO_OPAQUE;

    /* 10/8, 172.16/12, fd00::/8 */

    memset(f->networks[0].ip + 10, 0xff, 2);
    f->networks[0].ip[12] = 10;
    f->networks[0].bits = 104;
    memset(f->networks[1].ip + 10, 0xff, 2);
    f->networks[1].ip[12] = 172;
    f->networks[1].ip[13] = 16;
    f->networks[1].bits = 108;
    f->networks[2].ip[0] = 0xfd;
    f->networks[2].bits = 8;

    (void) state_put(f, state_vip, 80, MESH_ADDR_SERVICE, 0);
    (void) state_put(f, state_pod, 0, MESH_ADDR_WORKLOAD, 0);
    (void) state_put(f, state_pod6, 0, MESH_ADDR_WORKLOAD, 0);
    (void) state_put(f, state_none, 80, MESH_ADDR_NOBODY, 0);

    state_sum(f);

    return f;
}


/* what the check says of f with a fitting checksum */

static const char *
state_says(state_file_t *f)
{
    mesh_state_view_t  view;

    state_sum(f);

    return mesh_state_check(f, sizeof(state_file_t), &view);
}


static void
good_file_is_taken(void)
{
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();

    UNIT_STR(mesh_state_check(f, sizeof(state_file_t), &view), NULL);
    UNIT_EQ(view.head->generation, 7);
    UNIT_EQ(view.mask, STATE_SLOTS - 1);
    UNIT_STR(mesh_state_text(&view, &view.services[0].name), "cart");
    UNIT_STR(mesh_state_text(&view, &view.endpoints[0].identity),
             STATE_IDENTITY);
    UNIT_STR(mesh_state_text(&view, &view.endpoints[1].identity), "");

    free(f);
}


static void
head_alone_is_taken(void)
{
    mesh_state_head_t  head;
    mesh_state_view_t  view;

    memset(&head, 0, sizeof(head));
    memcpy(head.magic, MESH_STATE_MAGIC, sizeof(head.magic));
    head.layout = MESH_STATE_LAYOUT;
    head.head_bytes = sizeof(head);
    head.size = sizeof(head);
    head.self = MESH_STATE_NONE;
    head.crc = mesh_crc32c(0, &head, sizeof(head));

    UNIT_STR(mesh_state_check(&head, sizeof(head), &view), NULL);
    UNIT_OK(mesh_state_find(&view, state_vip, 80) == NULL);
    UNIT_EQ(mesh_state_in_cluster(&view, state_vip), 0);
    UNIT_EQ(mesh_state_port_protocol(&view, 0, 80), MESH_PROTO_DETECT);
}


static void
addresses_are_found(void)
{
    state_file_t             *f;
    mesh_state_view_t         view;
    const mesh_state_addr_t  *addr;

    f = state_new();

    UNIT_NEED(mesh_state_check(f, sizeof(state_file_t), &view) == NULL);

    addr = mesh_state_find(&view, state_vip, 80);
    UNIT_NEED(addr != NULL);
    UNIT_EQ(addr->kind, MESH_ADDR_SERVICE);
    UNIT_OK(mesh_state_find(&view, state_vip, 81) == NULL);

    addr = mesh_state_find(&view, state_pod, 12345);
    UNIT_NEED(addr != NULL);
    UNIT_EQ(addr->kind, MESH_ADDR_WORKLOAD);

    addr = mesh_state_find(&view, state_pod6, 1);
    UNIT_NEED(addr != NULL);

    addr = mesh_state_find(&view, state_none, 80);
    UNIT_NEED(addr != NULL);
    UNIT_EQ(addr->kind, MESH_ADDR_NOBODY);
    UNIT_OK(mesh_state_find(&view, state_none, 443) == NULL);
    UNIT_OK(mesh_state_find(&view, state_far, 80) == NULL);

    free(f);
}


/* the exact port goes before the pod's entry for any port */

static void
exact_port_goes_first(void)
{
    state_file_t             *f;
    mesh_state_view_t         view;
    const mesh_state_addr_t  *addr;

    f = state_new();
    (void) state_put(f, state_pod, 443, MESH_ADDR_SERVICE, 0);

    UNIT_NEED(state_says(f) == NULL);
    UNIT_NEED(mesh_state_check(f, sizeof(state_file_t), &view) == NULL);

    addr = mesh_state_find(&view, state_pod, 443);
    UNIT_NEED(addr != NULL);
    UNIT_EQ(addr->kind, MESH_ADDR_SERVICE);

    addr = mesh_state_find(&view, state_pod, 444);
    UNIT_NEED(addr != NULL);
    UNIT_EQ(addr->kind, MESH_ADDR_WORKLOAD);

    free(f);
}


static void
networks_are_matched_by_bits(void)
{
    uint8_t             ip[16];
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();

    UNIT_NEED(mesh_state_check(f, sizeof(state_file_t), &view) == NULL);

    UNIT_EQ(mesh_state_in_cluster(&view, state_vip), 1);
    UNIT_EQ(mesh_state_in_cluster(&view, state_pod6), 1);
    UNIT_EQ(mesh_state_in_cluster(&view, state_far), 0);

    memcpy(ip, state_far, 16);
    ip[12] = 172;
    ip[13] = 16;
    UNIT_EQ(mesh_state_in_cluster(&view, ip), 1);
    ip[13] = 31;
    UNIT_EQ(mesh_state_in_cluster(&view, ip), 1);
    ip[13] = 32;
    UNIT_EQ(mesh_state_in_cluster(&view, ip), 0);

    f->networks[0].bits = 0;
    UNIT_NEED(state_says(f) == NULL);
    UNIT_EQ(mesh_state_in_cluster(&view, state_far), 1);

    f->networks[0].bits = 128;
    UNIT_NEED(state_says(f) == NULL);
    UNIT_EQ(mesh_state_in_cluster(&view, state_vip), 0);
    UNIT_EQ(mesh_state_in_cluster(&view, f->networks[0].ip), 1);

    free(f);
}


static void
ports_have_protocols(void)
{
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();

    UNIT_NEED(mesh_state_check(f, sizeof(state_file_t), &view) == NULL);

    UNIT_EQ(mesh_state_port_protocol(&view, 0, 8080), MESH_PROTO_HTTP1);
    UNIT_EQ(mesh_state_port_protocol(&view, 0, 9000), MESH_PROTO_OPAQUE);
    UNIT_EQ(mesh_state_port_protocol(&view, 0, 1), MESH_PROTO_DETECT);
    UNIT_EQ(mesh_state_port_protocol(&view, 1, 8080), MESH_PROTO_DETECT);
    UNIT_EQ(mesh_state_port_protocol(&view, MESH_STATE_NONE, 8080),
            MESH_PROTO_DETECT);

    free(f);
}


static void
every_bit_counts(void)
{
    size_t              i;
    char               *byte;
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();

    for (i = 0; i < sizeof(state_file_t); i++) {
        byte = (char *) f + i;

        *byte ^= 1 << (i % 8);
        UNIT_OK(mesh_state_check(f, sizeof(state_file_t), &view) != NULL);
        *byte ^= 1 << (i % 8);
    }

    UNIT_STR(mesh_state_check(f, sizeof(state_file_t), &view), NULL);

    free(f);
}


static void
every_truncation_is_refused(void)
{
    char               *copy;
    size_t              n;
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();

    for (n = 0; n < sizeof(state_file_t); n += 8) {
        copy = malloc(n ? n : 1);
        UNIT_NEED(copy != NULL);
        memcpy(copy, f, n);

        UNIT_OK(mesh_state_check(copy, n, &view) != NULL);

        free(copy);
    }

    free(f);
}


static void
heads_of_others_are_refused(void)
{
    state_file_t  *f;

    f = state_new();

    f->head.magic[0] = 'X';
    UNIT_HAS(state_says(f), "does not start with");
    f->head.magic[0] = 'M';

    f->head.layout = MESH_STATE_LAYOUT + 1;
    UNIT_HAS(state_says(f), "newer");
    f->head.layout = MESH_STATE_LAYOUT_MIN - 1;
    UNIT_HAS(state_says(f), "older");
    f->head.layout = MESH_STATE_LAYOUT;

    f->head.head_bytes++;
    UNIT_HAS(state_says(f), "head has a size");
    f->head.head_bytes--;

    f->head.size++;
    UNIT_HAS(state_says(f), "size that it names");
    f->head.size--;

    f->head.self = 1;
    UNIT_HAS(state_says(f), "own workload");
    f->head.self = MESH_STATE_NONE;
    UNIT_STR(state_says(f), NULL);

    free(f);
}


static void
sections_stay_inside(void)
{
    size_t                 i;
    state_file_t          *f;
    mesh_state_section_t  *s[7], saved;

    f = state_new();

    s[0] = &f->head.addrs;
    s[1] = &f->head.services;
    s[2] = &f->head.endpoints;
    s[3] = &f->head.workloads;
    s[4] = &f->head.ports;
    s[5] = &f->head.networks;
    s[6] = &f->head.blob;

    for (i = 0; i < 7; i++) {
        saved = *s[i];

        s[i]->count = UINT32_MAX;
        UNIT_HAS(state_says(f), "past the end");
        s[i]->count = saved.count;

        s[i]->offset = sizeof(state_file_t) + 8;
        UNIT_HAS(state_says(f), "past the end");

        s[i]->offset = saved.offset + 4;
        UNIT_HAS(state_says(f), "past the end");

        s[i]->offset = 8;
        UNIT_HAS(state_says(f), "past the end");

        *s[i] = saved;
    }

    UNIT_STR(state_says(f), NULL);

    free(f);
}


static void
hash_tables_are_sound(void)
{
    size_t               i;
    state_file_t        *f;
    mesh_state_addr_t   *addr, saved;

    f = state_new();

    f->head.addrs.count = 7;
    UNIT_HAS(state_says(f), "power of two");
    f->head.addrs.count = STATE_SLOTS;

    addr = NULL;

    for (i = 0; i < STATE_SLOTS; i++) {
        if (f->addrs[i].kind == MESH_ADDR_SERVICE) {
            addr = &f->addrs[i];
        }
    }

    UNIT_NEED(addr != NULL);
    saved = *addr;

    addr->kind = MESH_ADDR_MAX + 1;
    UNIT_HAS(state_says(f), "unknown kind");
    *addr = saved;

    addr->hash++;
    UNIT_HAS(state_says(f), "wrong hash");
    *addr = saved;

    addr->index = 1;
    UNIT_HAS(state_says(f), "service that does not exist");
    addr->kind = MESH_ADDR_WORKLOAD;
    UNIT_HAS(state_says(f), "workload that does not exist");
    *addr = saved;

    /* moved away from its run of slots: it would not be found */

    memset(f->addrs, 0, sizeof(f->addrs));
    f->addrs[(saved.hash + 1) % STATE_SLOTS] = saved;
    UNIT_HAS(state_says(f), "not found");

    for (i = 0; i < STATE_SLOTS; i++) {
        f->addrs[i] = saved;
    }

    UNIT_HAS(state_says(f), "no free slot");

    free(f);
}


/* a table that wraps around its end, full but for one slot */

static void
full_tables_are_searched(void)
{
    uint8_t             ip[16];
    uint16_t            port;
    state_file_t       *f;
    mesh_state_view_t   view;

    f = state_new();
    memset(f->addrs, 0, sizeof(f->addrs));
    memcpy(ip, state_pod, 16);

    for (port = 1; port < STATE_SLOTS; port++) {
        (void) state_put(f, ip, port, MESH_ADDR_NOBODY, 0);
    }

    UNIT_NEED(state_says(f) == NULL);
    UNIT_NEED(mesh_state_check(f, sizeof(state_file_t), &view) == NULL);

    for (port = 1; port < STATE_SLOTS; port++) {
        UNIT_OK(mesh_state_find(&view, ip, port) != NULL);
    }

    UNIT_OK(mesh_state_find(&view, ip, STATE_SLOTS) == NULL);

    free(f);
}


static void
records_are_sound(void)
{
    state_file_t  *f;

    f = state_new();

    f->services[0].protocol = MESH_PROTO_MAX + 1;
    UNIT_HAS(state_says(f), "service has an unknown protocol");
    f->services[0].protocol = 0;

    f->services[0].endpoint = 1;
    UNIT_HAS(state_says(f), "endpoints that do not exist");
    f->services[0].endpoint = UINT32_MAX;
    UNIT_HAS(state_says(f), "endpoints that do not exist");
    f->services[0].endpoint = 0;

    f->endpoints[0].port = 0;
    UNIT_HAS(state_says(f), "port 0");
    f->endpoints[0].port = 1;

    f->endpoints[0].weight = 0;
    UNIT_HAS(state_says(f), "weight");
    f->endpoints[0].weight = 1000001;
    UNIT_HAS(state_says(f), "weight");
    f->endpoints[0].weight = 1;

    f->endpoints[0].workload = 1;
    UNIT_HAS(state_says(f), "endpoint names a workload");
    f->endpoints[0].workload = 0;

    f->workloads[0].nports = 3;
    UNIT_HAS(state_says(f), "ports that do not exist");
    f->workloads[0].nports = 2;

    f->ports[1].protocol = MESH_PROTO_MAX + 1;
    UNIT_HAS(state_says(f), "port has an unknown protocol");
    f->ports[1].protocol = 0;

    f->networks[0].bits = 129;
    UNIT_HAS(state_says(f), "128 bits");
    f->networks[0].bits = 104;

    UNIT_STR(state_says(f), NULL);

    free(f);
}


static void
meshed_needs_an_identity(void)
{
    state_file_t  *f;

    f = state_new();

    f->endpoints[1].flags = MESH_WL_MESHED;
    UNIT_HAS(state_says(f), "endpoint is meshed but has no identity");
    f->endpoints[1].flags = 0;

    f->workloads[0].identity.offset = 0;
    f->workloads[0].identity.len = 0;
    UNIT_HAS(state_says(f), "workload is meshed but has no identity");
    f->workloads[0].flags = 0;
    UNIT_STR(state_says(f), NULL);

    free(f);
}


static void
strings_end_where_they_say(void)
{
    state_file_t      *f;
    mesh_state_str_t  *s, saved;

    f = state_new();
    s = &f->services[0].name;
    saved = *s;

    s->len--;
    UNIT_HAS(state_says(f), "not a string");
    s->len += 2;
    UNIT_HAS(state_says(f), "not a string");
    s->len = UINT32_MAX;
    UNIT_HAS(state_says(f), "not a string");
    s->len = 0;
    UNIT_HAS(state_says(f), "not a string");
    *s = saved;

    s->offset = 8;
    UNIT_HAS(state_says(f), "not a string");
    s->offset = sizeof(state_file_t);
    UNIT_HAS(state_says(f), "not a string");
    *s = saved;

    /* the last string without its NUL */

    f->head.blob.count--;
    UNIT_HAS(state_says(f), "not a string");

    free(f);
}


/* RFC 3720, appendix B.4, and the usual check value */

static void
crc_is_castagnoli(void)
{
    size_t         i;
    unsigned char  buf[32];

    UNIT_EQ(mesh_crc32c(0, "123456789", 9), 0xe3069283u);

    memset(buf, 0, sizeof(buf));
    UNIT_EQ(mesh_crc32c(0, buf, sizeof(buf)), 0x8a9136aau);

    memset(buf, 0xff, sizeof(buf));
    UNIT_EQ(mesh_crc32c(0, buf, sizeof(buf)), 0x62a8ab43u);

    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = (unsigned char) i;
    }

    UNIT_EQ(mesh_crc32c(0, buf, sizeof(buf)), 0x46dd794eu);
    UNIT_EQ(mesh_crc32c(mesh_crc32c(0, buf, 5), buf + 5, 27), 0x46dd794eu);
}


/* FNV-1a 32: writer and reader are different programs */

static void
hash_does_not_change(void)
{
    uint8_t  ip[16];

    memset(ip, 0, sizeof(ip));

    UNIT_EQ(mesh_state_hash(ip, 0), 0x4211a50du);
    UNIT_EQ(mesh_state_hash(state_vip, 80), 0x59c6b2a6u);
    UNIT_OK(mesh_state_hash(ip, 1) != mesh_state_hash(ip, 256));
    UNIT_OK(mesh_state_hash(state_vip, 80) != mesh_state_hash(state_pod, 80));
}


UNIT_TESTS = {
    UNIT(good_file_is_taken),
    UNIT(head_alone_is_taken),
    UNIT(addresses_are_found),
    UNIT(exact_port_goes_first),
    UNIT(networks_are_matched_by_bits),
    UNIT(ports_have_protocols),
    UNIT(every_bit_counts),
    UNIT(every_truncation_is_refused),
    UNIT(heads_of_others_are_refused),
    UNIT(sections_stay_inside),
    UNIT(hash_tables_are_sound),
    UNIT(full_tables_are_searched),
    UNIT(records_are_sound),
    UNIT(meshed_needs_an_identity),
    UNIT(strings_end_where_they_say),
    UNIT(crc_is_castagnoli),
    UNIT(hash_does_not_change),
    UNIT_END
};
