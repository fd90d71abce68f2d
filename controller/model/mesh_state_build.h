
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_STATE_BUILD_H_INCLUDED_
#define _MESH_STATE_BUILD_H_INCLUDED_

/*
 * Records to the snapshot of mesh_state.h and back.  The bytes depend on the
 * records alone, not on the order in which they were made: everything is
 * sorted first, so two agents that know the same write the same.
 */

#include <mesh_core.h>
#include <mesh_records.h>


/*
 * The snapshot in memory of *size bytes that the caller frees, or NULL and
 * *err: an endpoint of an unknown workload, a meshed workload without an
 * identity, an address or a name that is there twice, too many bytes.  *line
 * is the line of the record that is wrong (may be NULL).  Lists of records
 * are sorted in place.
 */
void *mesh_state_build(mesh_records_t *records, size_t *size,
    unsigned *line, mesh_err_t *err);

/* the records of a checked snapshot; the caller frees them */
mesh_records_t *mesh_state_unbuild(const mesh_state_view_t *view);


#endif /* _MESH_STATE_BUILD_H_INCLUDED_ */
