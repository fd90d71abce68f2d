
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_DOC_H_INCLUDED_
#define _MESH_DOC_H_INCLUDED_

/*
 * Documents in Redis: the signed envelope, and the JSON bodies as structs.
 * The reference of keys and layouts is README.md of this directory; meshd
 * watch writes them, mesh-agent reads them, both through this file.
 */

#include <mesh_core.h>

#include <jansson.h>

#include <mesh_names.h>
#include <mesh_sign.h>
#include <mesh_state.h>


#define MESH_DOC_LAYOUT           1
#define MESH_DOC_KEY_MAX          640      /* bytes of a key, with the NUL */
#define MESH_DOC_VALUE_MAX        (16 * 1024 * 1024)
#define MESH_DOC_IP_MAX           46       /* INET6_ADDRSTRLEN */

#define mesh_doc_generation(epoch, counter)                                   \
    (((uint64_t) (epoch) << 40) + (uint64_t) (counter))
#define mesh_doc_generation_epoch(generation)  ((uint64_t) (generation) >> 40)


typedef enum {
    MESH_DOC_NONE = 0,                     /* not a key of a document */
    MESH_DOC_VIP,
    MESH_DOC_IP,
    MESH_DOC_SERVICE,
    MESH_DOC_WORKLOAD,
    MESH_DOC_SYNCED
} mesh_doc_kind_e;


/* the envelope, opened: body points into the value */

typedef struct {
    uint64_t                generation;
    uint8_t                 signature[MESH_SIGN_BYTES];
    const char             *body;
    size_t                  body_len;
    int                     tombstone;     /* body is null: deleted */
} mesh_doc_envelope_t;


/* bodies; strings are never NULL, "" stands for "not known" */

typedef struct {
    const char             *kind;          /* "deployment", "statefulset" .. */
    const char             *name;
} mesh_doc_owner_t;


typedef struct {
    const char             *service;       /* <ns>/<name> */
    uint16_t                port;          /* service port */
} mesh_doc_vip_t;


typedef struct {
    const char             *workload;      /* <ns>/<pod> */
} mesh_doc_ip_t;


typedef struct {
    const char             *name;
    uint16_t                port;
    uint8_t                 protocol;      /* MESH_PROTO_.. */
} mesh_doc_port_t;


typedef struct {
    const char             *namespace_;
    const char             *pod;
    const char             *service_account;
    const char             *identity;      /* SPIFFE ID, meshed or not */
    const char             *node;
    const char             *zone;
    mesh_doc_owner_t        owner;
    const char            **addresses;     /* canonical */
    size_t                  naddresses;
    mesh_doc_port_t        *ports;
    size_t                  nports;
    int                     meshed;
} mesh_doc_workload_t;


typedef struct {
    const char             *address;       /* canonical */
    const char             *workload;      /* <ns>/<pod>; "": not a pod */
    const char             *service_account;
    const char             *identity;
    const char             *node;
    const char             *zone;
    mesh_doc_owner_t        owner;
    uint32_t                weight;        /* 1 .. 1000000 */
    uint16_t                port;
    int                     meshed;        /* mTLS with identity, or nothing */
} mesh_doc_endpoint_t;


typedef struct {
    const char             *name;
    mesh_doc_endpoint_t    *endpoints;     /* ready ones; 0 is legal */
    size_t                  nendpoints;
    uint16_t                port;
    uint8_t                 protocol;
} mesh_doc_service_port_t;


typedef struct {
    const char             *namespace_;
    const char             *name;
    const char            **addresses;     /* cluster IPs; headless: none */
    size_t                  naddresses;
    mesh_doc_service_port_t *ports;
    size_t                  nports;
} mesh_doc_service_t;


typedef struct {
    uint64_t                epoch;
} mesh_doc_synced_t;


typedef struct {
    mesh_doc_kind_e         kind;
    union {
        mesh_doc_vip_t      vip;
        mesh_doc_ip_t       ip;
        mesh_doc_service_t  service;
        mesh_doc_workload_t workload;
        mesh_doc_synced_t   synced;
    } u;
    json_t                 *json;          /* owns a parsed one's strings */
} mesh_doc_t;


/* keys; each returns key, cut to "" if it does not fit into size */

char *mesh_doc_key_vip(char *key, size_t size, const char *ip, uint16_t port);
char *mesh_doc_key_ip(char *key, size_t size, const char *ip);
char *mesh_doc_key_service(char *key, size_t size, const char *name);
char *mesh_doc_key_workload(char *key, size_t size, const char *name);

/* what kind of document a key names, MESH_DOC_NONE if none */
mesh_doc_kind_e mesh_doc_key_kind(const char *key);

/* canonical text of an address (v4-mapped becomes v4); 4, 6 or 0: no IP */
int mesh_doc_ip_canonical(const char *text, char ip[MESH_DOC_IP_MAX]);

/* detect http1 http2 opaque tls <-> MESH_PROTO_..; NULL, -1: unknown */
const char *mesh_doc_protocol_text(uint8_t protocol);
int mesh_doc_protocol_parse(const char *text);


/*
 * The value to be stored: header, signature over layout, key, generation and
 * body, then body ("null" makes a tombstone).  The caller frees; NULL if
 * signing failed.
 */
char *mesh_doc_seal(const mesh_sign_t *sign, const char *key,
    uint64_t generation, const char *body, size_t *len);

/* reads the header: 0, or -1 and a sentence in err; checks no signature */
int mesh_doc_open(const char *value, size_t len,
    mesh_doc_envelope_t *envelope, mesh_err_t *err);

/*
 * Checks that the key's signer made this envelope for this key, and that
 * the generation is of the signer's epoch: 0, or -1 and a sentence in err.
 */
int mesh_doc_verify(const mesh_sign_t *sign, const char *key,
    const mesh_doc_envelope_t *envelope, mesh_err_t *err);


/*
 * Body -> struct, by the kind of key; checks types, ranges, addresses, and
 * that the body speaks of the key.  0 and the caller calls mesh_doc_free, or
 * -1 and a sentence with the path ("ports[0].port: expected ..") in err.
 * Unknown members are skipped (N-1 reads N).
 */
int mesh_doc_parse(const char *key, const char *body, size_t len,
    mesh_doc_t *doc, mesh_err_t *err);

/* struct -> compact body, the same bytes for the same struct; caller frees */
char *mesh_doc_print(const mesh_doc_t *doc);

/* frees what mesh_doc_parse allocated */
void mesh_doc_free(mesh_doc_t *doc);


#endif /* _MESH_DOC_H_INCLUDED_ */
