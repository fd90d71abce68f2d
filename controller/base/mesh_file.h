
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_FILE_H_INCLUDED_
#define _MESH_FILE_H_INCLUDED_

/* Whole files: read with a limit, replaced as one, directories made. */

#include <mesh_core.h>


/*
 * Reads the whole file into memory that the caller frees, a NUL after it.
 * MESH_DECLINED: there is no such file (*err says so too); MESH_ERROR: it
 * cannot be read or is longer than limit bytes.  len may be NULL.
 */
int mesh_file_read(const char *path, size_t limit, char **data, size_t *len,
    mesh_err_t *err);

/*
 * Replaces the file as one: a temporary file beside it, fsync, rename, fsync
 * of the directory.  Readers see the old content or the new.
 */
int mesh_file_write(const char *path, const void *data, size_t len,
    mode_t mode, mesh_err_t *err);

/* makes the directory and those above it (these with mode | 0700) */
int mesh_file_mkdir(const char *path, mode_t mode, mesh_err_t *err);

/* removes the file; one that is not there is fine */
int mesh_file_remove(const char *path, mesh_err_t *err);


#endif /* _MESH_FILE_H_INCLUDED_ */
