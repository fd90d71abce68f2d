
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_DOCS_H_INCLUDED_
#define _MESH_DOCS_H_INCLUDED_

/*
 * The documents that a pod holds: verified values of Redis by their keys, in
 * memory and as one file each below run_dir/documents, the name being the
 * key percent-encoded (RFC 3986, section 2.1).  They are the last good state
 * of a sidecar that starts while everything else is dead.
 *
 * Who puts a value here has verified it; what is read from the directory
 * was verified before it was written there, and lies beside the private key.
 */

#include <mesh_core.h>
#include <mesh_doc.h>
#include <mesh_map.h>


#define MESH_DOCS_DIR  "documents"


typedef struct {
    char                 *value;           /* verbatim */
    size_t                len;
    mesh_doc_envelope_t   envelope;        /* points into value */
} mesh_held_t;


typedef struct {
    mesh_map_t            map;             /* key -> mesh_held_t */
    char                 *dir;             /* NULL: memory only */
} mesh_docs_t;


/* dir is made when the first document is written; NULL: none is */
void mesh_docs_init(mesh_docs_t *docs, const char *dir);
void mesh_docs_done(mesh_docs_t *docs);

/*
 * Reads what is in the directory.  A file that holds no document is logged
 * and left alone.  MESH_DECLINED: there is no directory; MESH_ERROR: *err.
 */
int mesh_docs_load(mesh_docs_t *docs, mesh_err_t *err);

/* NULL: not held */
const mesh_held_t *mesh_docs_get(const mesh_docs_t *docs, const char *key);

/*
 * Takes a copy of value, whose envelope was opened and verified.  On disk
 * first: MESH_ERROR and *err leave the one before.  A key whose file name
 * would be too long is held in memory alone.
 */
int mesh_docs_put(mesh_docs_t *docs, const char *key, const char *value,
    size_t len, mesh_err_t *err);

/* forgets a document, on disk too */
void mesh_docs_drop(mesh_docs_t *docs, const char *key);

/* walks as mesh_map_next() */
const mesh_held_t *mesh_docs_next(const mesh_docs_t *docs, size_t *i,
    const char **key);

/*
 * Parses the body of a held document; the caller calls mesh_doc_free().
 * MESH_DECLINED: not held, or a tombstone.
 */
int mesh_docs_parse(const mesh_docs_t *docs, const char *key, mesh_doc_t *doc,
    mesh_err_t *err);

/*
 * File names of keys: encode returns the length, or MESH_ERROR if it does
 * not fit; decode MESH_OK, or MESH_ERROR for what encode never makes.
 */
int mesh_docs_encode(const char *key, char *name, size_t size);
int mesh_docs_decode(const char *name, char *key, size_t size);


#endif /* _MESH_DOCS_H_INCLUDED_ */
