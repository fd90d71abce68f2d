
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_STATE_FILE_H_INCLUDED_
#define _MESH_STATE_FILE_H_INCLUDED_

/*
 * run_dir/state: made of documents, or of the text of --static, written when
 * its content changes, under a generation that grows by one.
 */

#include <mesh_core.h>
#include <mesh_agent_conf.h>
#include <mesh_subscribe.h>


typedef struct {
    const mesh_agent_conf_t  *conf;
    char                      path[PATH_MAX];
    uint64_t                  generation;  /* of the file, 0: none yet */
    uint64_t                  first;       /* the first one of this process */
    int                       ipv6;        /* the pod has a v6 address */
} mesh_state_file_t;


/* looks at the file that is there; MESH_ERROR: *err */
int mesh_state_file_init(mesh_state_file_t *file,
    const mesh_agent_conf_t *conf, mesh_err_t *err);

/*
 * Makes the state anew; subscribe is NULL with --static.  MESH_OK: written,
 * MESH_DECLINED: nothing changed, MESH_ERROR: *err, the file stays as it is.
 */
int mesh_state_file_write(mesh_state_file_t *file,
    const mesh_subscribe_t *subscribe, mesh_err_t *err);


#endif /* _MESH_STATE_FILE_H_INCLUDED_ */
