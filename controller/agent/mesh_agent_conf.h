
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_AGENT_CONF_H_INCLUDED_
#define _MESH_AGENT_CONF_H_INCLUDED_

/*
 * Settings of mesh-agent: one table for init and run.  init checks them and
 * hands its own words on to run, so both see the same.
 */

#include <mesh_core.h>
#include <mesh_names.h>
#include <mesh_opt.h>


typedef struct {
    const char       *namespace_;
    const char       *pod;
    const char       *service_account;
    const char       *trust_domain;
    const char       *identity;            /* HOST:PORT of meshd identity */
    const char       *redis;               /* ADDRESS:PORT; NULL: --static */
    const char       *redis_user;
    const char       *redis_password_file;
    const char       *trust;               /* file */
    const char       *token;               /* file */
    const char       *run_dir;
    const char       *conf_dir;
    const char       *nginx;
    const char       *modules_dir;
    const char       *mesh_module;
    const char       *static_;             /* file of state text */
    const char       *unknown;             /* refuse or pass */
    const char       *log_level;
    int64_t           workers;
    int64_t           worker_connections;
    int64_t           drain_s;
    mesh_opt_list_t   cluster_networks;
    mesh_opt_list_t   admin_networks;

    char              id[MESH_ID_MAX_BYTES + 1];   /* own SPIFFE ID */
} mesh_agent_conf_t;


/*
 * Parses argv[1..] and the environment and checks what belongs together.
 * MESH_OK, MESH_DONE: help was printed, MESH_ERROR and *err.
 */
int mesh_agent_conf_parse(mesh_agent_conf_t *conf, int argc, char **argv,
    mesh_err_t *err);

/* the usage of all options */
void mesh_agent_conf_usage(FILE *out);

/* "run_dir/name" into buf; MESH_ERROR: too long */
int mesh_agent_path(const mesh_agent_conf_t *conf, const char *name,
    char *buf, size_t size, mesh_err_t *err);


#endif /* _MESH_AGENT_CONF_H_INCLUDED_ */
