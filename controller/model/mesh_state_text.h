
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_STATE_TEXT_H_INCLUDED_
#define _MESH_STATE_TEXT_H_INCLUDED_

/*
 * State as text in nginx's grammar, for people, for --static and for tests:
 *
 *     generation 7;
 *     complete on;
 *     unknown_in_cluster refuse;
 *     trust_domain cluster.local;
 *     networks 10.0.0.0/8 fd00::/8;
 *     self shop/web-1;
 *
 *     mesh_workload shop/web-1 {
 *         identity spiffe://cluster.local/ns/shop/sa/web;
 *         meshed on;
 *         service_account web;
 *         owner deployment/web;
 *         node n1;
 *         zone a;
 *         address 10.244.0.5;
 *         port 8080 http1;
 *     }
 *
 *     mesh_service shop/cart:80 {
 *         address 10.96.14.7:80;
 *         protocol http1;
 *         endpoint 10.244.1.9:8080 workload=shop/cart-1 weight=1;
 *         endpoint 10.1.1.1:99 identity=spiffe://cluster.local/ns/x/sa/y;
 *     }
 *
 *     nobody 10.1.2.3:80;
 */

#include <mesh_core.h>
#include <mesh_lex.h>
#include <mesh_records.h>


/*
 * The records of text, owned by the caller, or NULL and "file:line: what,
 * expected what" in *err.  Names that do not fit together are found later,
 * by mesh_state_build().
 */
mesh_records_t *mesh_state_text_parse(const char *file, const char *text,
    size_t len, mesh_err_t *err);

/* parse and build: the snapshot's bytes, freed by the caller, or NULL */
void *mesh_state_text_compile(const char *file, const char *text, size_t len,
    size_t *size, mesh_err_t *err);

/* prints records; 0, or -1 when out cannot be written */
int mesh_state_text_print(FILE *out, const mesh_records_t *records);


#endif /* _MESH_STATE_TEXT_H_INCLUDED_ */
