
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_RECORDS_H_INCLUDED_
#define _MESH_RECORDS_H_INCLUDED_

/*
 * The mesh as one pod knows it, before it becomes /run/mesh/state: lists of
 * records in one arena.  mesh_state_text reads them from text, the agent
 * makes them from documents, mesh_state_build turns them into the snapshot.
 *
 * Everything that hangs here, strings too, lives until mesh_records_free();
 * nothing is freed alone.  An allocation that fails ends the program: the
 * agent is started again on its last good state, a command just fails.
 */

#include <stddef.h>
#include <stdint.h>
#include <mesh_state.h>


typedef struct mesh_records_s    mesh_records_t;
typedef struct mesh_workload_s   mesh_workload_t;
typedef struct mesh_endpoint_s   mesh_endpoint_t;
typedef struct mesh_service_s    mesh_service_t;
typedef struct mesh_address_s    mesh_address_t;
typedef struct mesh_port_s       mesh_port_t;
typedef struct mesh_network_s    mesh_network_t;


/*
 * Strings are NUL terminated; NULL means none.  line is the line of a text
 * that the record came from, for messages; 0: from elsewhere.
 */

struct mesh_address_s {
    mesh_address_t   *next;
    uint8_t           ip[16];             /* v4-mapped for v4 */
    uint16_t          port;               /* 0: any (a pod) */
    unsigned          line;
};


struct mesh_port_s {
    mesh_port_t      *next;
    uint16_t          port;
    uint8_t           protocol;           /* MESH_PROTO_.. */
    unsigned          line;
};


struct mesh_workload_s {
    mesh_workload_t  *next;
    char             *namespace_;
    char             *pod;
    char             *service_account;
    char             *identity;
    char             *owner_kind;
    char             *owner;
    char             *node;
    char             *zone;
    int               meshed;
    mesh_address_t   *addresses;
    mesh_port_t      *ports;
    uint32_t          index;              /* set by mesh_state_build */
    unsigned          line;
};


struct mesh_endpoint_s {
    mesh_endpoint_t  *next;
    uint8_t           ip[16];
    uint16_t          port;
    uint32_t          weight;
    char             *namespace_;         /* of the workload, or NULL */
    char             *pod;
    char             *identity;           /* own; NULL: the workload's */
    unsigned          line;
};


struct mesh_service_s {
    mesh_service_t   *next;
    char             *namespace_;
    char             *name;
    uint16_t          port;
    uint8_t           protocol;
    mesh_address_t   *addresses;
    mesh_endpoint_t  *endpoints;
    unsigned          line;
};


struct mesh_network_s {
    mesh_network_t   *next;
    uint8_t           ip[16];
    uint8_t           bits;               /* 0 .. 128; v4 /8 is 104 */
};


struct mesh_records_s {
    uint64_t          generation;
    int               complete;
    int               pass_unknown;
    char             *trust_domain;
    char             *self_namespace;     /* own workload, or NULL */
    char             *self_pod;
    unsigned          self_line;
    mesh_network_t   *networks;
    mesh_workload_t  *workloads;
    mesh_service_t   *services;
    mesh_address_t   *nobody;
    void             *chunks;             /* of the arena */
};


/* an empty set; the caller owns it */
mesh_records_t *mesh_records_new(void);
void mesh_records_free(mesh_records_t *records);

/* zeroed memory, and a copy of len bytes at text with a NUL behind */
void *mesh_records_alloc(mesh_records_t *records, size_t size);
char *mesh_records_text(mesh_records_t *records, const char *text, size_t len);

/* a new zeroed record at the head of its list (the builder sorts) */
mesh_workload_t *mesh_records_workload(mesh_records_t *records);
mesh_service_t *mesh_records_service(mesh_records_t *records);
mesh_endpoint_t *mesh_records_endpoint(mesh_records_t *records,
    mesh_service_t *service);
mesh_address_t *mesh_records_address(mesh_records_t *records,
    mesh_address_t **list, const uint8_t ip[16], uint16_t port);
mesh_port_t *mesh_records_port(mesh_records_t *records, mesh_workload_t *wl,
    uint16_t port, uint8_t protocol);
mesh_network_t *mesh_records_network(mesh_records_t *records,
    const uint8_t ip[16], uint8_t bits);


/* sorts all lists: by names, by addresses, by ports */
void mesh_records_sort(mesh_records_t *records);


/*
 * Addresses as text.  The parsers take exactly len bytes, return 0, or -1
 * when it is not an address; v4 becomes v4-mapped, a v4-mapped v6 text is
 * refused (it would be the same address twice).  A network's host bits must
 * be zero.  The printers write a NUL terminated text into buf of
 * MESH_ADDRESS_TEXT bytes and return it.
 */

#define MESH_ADDRESS_TEXT  64

int mesh_ip_parse(const char *text, size_t len, uint8_t ip[16]);
int mesh_address_parse(const char *text, size_t len, uint8_t ip[16],
    uint16_t *port);
int mesh_network_parse(const char *text, size_t len, uint8_t ip[16],
    uint8_t *bits);
char *mesh_ip_print(const uint8_t ip[16], char *buf);
char *mesh_address_print(const uint8_t ip[16], uint16_t port, char *buf);
char *mesh_network_print(const uint8_t ip[16], uint8_t bits, char *buf);

/* 1 if ip is v4-mapped */
int mesh_ip_is_v4(const uint8_t ip[16]);

/* the word of a protocol and back; NULL and -1 for an unknown one */
const char *mesh_protocol_word(uint8_t protocol);
int mesh_protocol_parse(const char *text, size_t len);

/* digits only, 0 .. max; -1 for anything else */
int64_t mesh_number_parse(const char *text, size_t len, int64_t max);


#endif /* _MESH_RECORDS_H_INCLUDED_ */
