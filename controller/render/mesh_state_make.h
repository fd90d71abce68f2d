
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_STATE_MAKE_H_INCLUDED_
#define _MESH_STATE_MAKE_H_INCLUDED_

/*
 * Documents to records: the own workload, every held service with its
 * endpoints and their workloads, held workloads by their addresses, addresses
 * that nobody has.  What does not fit together (two services that claim an
 * address, an endpoint twice, a document that cannot be read) is left out and
 * logged; it never keeps the rest from being used.
 */

#include <mesh_docs.h>
#include <mesh_records.h>


typedef struct {
    uint8_t               ip[16];
    uint16_t              port;
} mesh_nobody_t;


typedef struct {
    const char           *namespace_;      /* own pod */
    const char           *pod;
    const char           *service_account;
    const char           *identity;
    const char           *trust_domain;

    const char           *const *networks;  /* clusterNetworks */
    size_t                nnetworks;

    const char           *const *addresses; /* own, while no document says */
    size_t                naddresses;

    const mesh_nobody_t  *nobody;
    size_t                nnobody;

    int                   complete;
    int                   pass_unknown;
} mesh_state_make_t;


/* the caller frees the records; the generation is 0 */
mesh_records_t *mesh_state_make(const mesh_docs_t *docs,
    const mesh_state_make_t *make);


#endif /* _MESH_STATE_MAKE_H_INCLUDED_ */
