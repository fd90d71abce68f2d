
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_STATE_H_INCLUDED_
#define _MESH_STATE_H_INCLUDED_

/*
 * The layout of /run/mesh/state: an immutable snapshot of what one pod has
 * to know of the mesh.  mesh-agent writes it (controller/model), each nginx
 * worker reads it into memory, checks it once and looks addresses up in it.
 *
 * Plain C11: no nginx, no libevent, no malloc.  Integers are in host order
 * (writer and reader share a pod); the magic tells a foreign order apart.
 * Every offset counts bytes from the start of the file, every section starts
 * on an 8 byte boundary, every string is NUL terminated in the blob, and its
 * length does not count the NUL.  A string of length 0 has offset 0.
 *
 * Any change of this file raises MESH_STATE_LAYOUT; a reader accepts its own
 * layout and the one before.
 */

#include <stddef.h>
#include <stdint.h>


#define MESH_STATE_MAGIC          "MESHSTAT"
#define MESH_STATE_LAYOUT         1
#define MESH_STATE_LAYOUT_MIN     1        /* oldest layout that is read */

#define MESH_STATE_MAX_BYTES      (64 * 1024 * 1024)
#define MESH_STATE_NONE           UINT32_MAX          /* "no such index" */


/* head flags */

#define MESH_STATE_COMPLETE       0x01     /* a negative answer counts */
#define MESH_STATE_PASS_UNKNOWN   0x02     /* unknownInCluster: pass */


/* protocols of a port; DETECT is what nobody declared */

#define MESH_PROTO_DETECT         0
#define MESH_PROTO_HTTP1          1
#define MESH_PROTO_HTTP2          2
#define MESH_PROTO_OPAQUE         3        /* no detection: raw at once */
#define MESH_PROTO_TLS            4        /* the application's own TLS: raw */
#define MESH_PROTO_MAX            4


/* endpoint and workload flags */

#define MESH_WL_MESHED            0x01     /* has a sidecar: mTLS or nothing */


/* what an address is */

#define MESH_ADDR_EMPTY           0        /* free slot of the hash */
#define MESH_ADDR_SERVICE         1        /* index: services */
#define MESH_ADDR_WORKLOAD        2        /* index: workloads; port 0 */
#define MESH_ADDR_NOBODY          3        /* asked for, nobody's */
#define MESH_ADDR_MAX             3


typedef struct {
    uint32_t                offset;
    uint32_t                len;
} mesh_state_str_t;


typedef struct {
    uint32_t                offset;        /* of the section */
    uint32_t                count;         /* of records (blob: of bytes) */
} mesh_state_section_t;


typedef struct {                           /* 152 bytes */
    char                    magic[8];
    uint32_t                layout;
    uint32_t                head_bytes;    /* sizeof(mesh_state_head_t) */
    uint64_t                size;          /* of the whole file */
    uint64_t                generation;    /* agent's own, grows by one */
    uint32_t                crc;           /* CRC-32C, this field taken as 0 */
    uint32_t                flags;         /* MESH_STATE_COMPLETE .. */
    mesh_state_section_t    addrs;         /* hash table, power of two slots */
    mesh_state_section_t    services;      /* mesh_state_service_t */
    mesh_state_section_t    endpoints;     /* mesh_state_endpoint_t */
    mesh_state_section_t    workloads;     /* mesh_state_workload_t */
    mesh_state_section_t    ports;         /* mesh_state_port_t */
    mesh_state_section_t    networks;      /* mesh_state_network_t */
    mesh_state_section_t    blob;          /* strings */
    mesh_state_section_t    reserved[5];   /* zero; later: routes, policy */
    uint32_t                self;          /* own workload or MESH_STATE_NONE */
    uint32_t                reserved2;
    mesh_state_str_t        trust_domain;
} mesh_state_head_t;


/* v4 addresses are v4-mapped (::ffff:a.b.c.d), so one compare serves both */

typedef struct {                           /* 32 bytes */
    uint8_t                 ip[16];
    uint16_t                port;          /* host order; 0: any port */
    uint8_t                 kind;          /* MESH_ADDR_.. */
    uint8_t                 reserved;
    uint32_t                index;
    uint32_t                hash;          /* mesh_state_hash(ip, port) */
    uint32_t                reserved2;
} mesh_state_addr_t;


typedef struct {                           /* one port of one service */
    mesh_state_str_t        namespace_;
    mesh_state_str_t        name;
    uint16_t                port;
    uint8_t                 protocol;      /* MESH_PROTO_.. */
    uint8_t                 reserved;
    uint32_t                endpoint;      /* first index of endpoints */
    uint32_t                nendpoints;    /* consecutive; 0 is legal */
    uint32_t                reserved2;
} mesh_state_service_t;


typedef struct {
    uint8_t                 ip[16];
    uint16_t                port;
    uint8_t                 flags;         /* MESH_WL_MESHED */
    uint8_t                 reserved;
    uint32_t                weight;        /* 1 .. 1000000, usual: 1 */
    uint32_t                workload;      /* index or MESH_STATE_NONE */
    uint32_t                reserved2;
    mesh_state_str_t        identity;      /* expected SPIFFE ID, if meshed */
} mesh_state_endpoint_t;


typedef struct {                           /* a pod */
    mesh_state_str_t        namespace_;
    mesh_state_str_t        pod;
    mesh_state_str_t        service_account;
    mesh_state_str_t        identity;
    mesh_state_str_t        owner_kind;    /* "deployment", "statefulset" .. */
    mesh_state_str_t        owner;
    mesh_state_str_t        node;
    mesh_state_str_t        zone;
    uint32_t                flags;         /* MESH_WL_MESHED */
    uint32_t                port;          /* first index of ports */
    uint32_t                nports;        /* declared ports, consecutive */
    uint32_t                reserved;
} mesh_state_workload_t;


typedef struct {                           /* a declared container port */
    uint16_t                port;
    uint8_t                 protocol;      /* MESH_PROTO_.. */
    uint8_t                 reserved[5];
} mesh_state_port_t;


typedef struct {                           /* clusterNetworks */
    uint8_t                 ip[16];        /* host bits are zero */
    uint8_t                 bits;          /* 0 .. 128; v4 /8 is 104 */
    uint8_t                 reserved[7];
} mesh_state_network_t;


/* a checked file in memory: pointers into it, valid while the memory is */

typedef struct {
    const mesh_state_head_t      *head;
    const mesh_state_addr_t      *addrs;
    const mesh_state_service_t   *services;
    const mesh_state_endpoint_t  *endpoints;
    const mesh_state_workload_t  *workloads;
    const mesh_state_port_t      *ports;
    const mesh_state_network_t   *networks;
    const char                   *blob;    /* start of the file */
    uint32_t                      mask;    /* addrs.count - 1 */
} mesh_state_view_t;


/*
 * Checks size bytes at base (8 byte aligned) to the last index and string:
 * after this no lookup can leave the memory.  Returns NULL and fills *view,
 * or a sentence that says what is wrong ("checksum does not match ..").
 */
const char *mesh_state_check(const void *base, size_t size,
    mesh_state_view_t *view);

/* FNV-1a over ip and port (big endian); the hash of mesh_state_addr_t */
uint32_t mesh_state_hash(const uint8_t ip[16], uint16_t port);

/*
 * The entry for exactly ip and port, else for ip and port 0 (a pod), else
 * NULL: the state does not know the address.  O(1), linear probing.
 */
const mesh_state_addr_t *mesh_state_find(const mesh_state_view_t *view,
    const uint8_t ip[16], uint16_t port);

/* 1 if ip lies inside clusterNetworks */
int mesh_state_in_cluster(const mesh_state_view_t *view,
    const uint8_t ip[16]);

/* protocol that the workload declares for port, MESH_PROTO_DETECT if none */
uint8_t mesh_state_port_protocol(const mesh_state_view_t *view,
    uint32_t workload, uint16_t port);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), crc of the bytes before or 0 */
uint32_t mesh_crc32c(uint32_t crc, const void *data, size_t len);

/* the text of a string record; "" for length 0 */
#define mesh_state_text(view, s)  ((s)->len ? (view)->blob + (s)->offset : "")


#endif /* _MESH_STATE_H_INCLUDED_ */
