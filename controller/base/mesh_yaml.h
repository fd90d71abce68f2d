
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_YAML_H_INCLUDED_
#define _MESH_YAML_H_INCLUDED_

/*
 * YAML as kubectl reads and prints it (libyaml) -> jansson trees, one per
 * document.  JSON is YAML, so JSON files are read by the same call.
 */

#include <mesh_core.h>

#include <jansson.h>


/* limits: what is over one of them is an error of its document */

#define MESH_YAML_MAX_BYTES       (64 * 1024 * 1024)     /* of a file, and of
                                               a document's text, aliases
                                               counted each time */
#define MESH_YAML_MAX_DEPTH       64
#define MESH_YAML_MAX_NODES       2000000   /* of a document, aliases counted
                                               each time they are used */


typedef struct mesh_yaml_s  mesh_yaml_t;

/*
 * Called per document, in order.  Good: json is not NULL, the callee has the
 * reference (json_decref), line is where the document starts.  Bad: json is
 * NULL, line is where the error stands, *err says what.  yaml is for
 * mesh_yaml_line() and gone after the call.  Aliases share nodes: the tree
 * is for reading only.
 */
typedef void (*mesh_yaml_document_pt)(void *data, json_t *json,
    unsigned line, const mesh_yaml_t *yaml, const mesh_err_t *err);


/*
 * Reads all documents of a text; empty ones (comments, "null") are left out.
 * Text is cut into documents at lines "---" and "...", as kubectl does, and
 * each is parsed by itself, so that a bad one takes no other down.  Returns
 * the number of bad documents.
 */
unsigned mesh_yaml_parse(const char *text, size_t len,
    mesh_yaml_document_pt document, void *data);

/* the line where an object or array of the document starts; 0: not known */
unsigned mesh_yaml_line(const mesh_yaml_t *yaml, const json_t *json);

/*
 * What a plain scalar means: null, boolean, number or string, as to kubectl
 * (YAML 1.1 by go-yaml 2) but for what the table in mesh_yaml.c says; NULL
 * for .inf and .nan, which JSON lacks, and for bytes that are no UTF-8.  The
 * caller has the reference.
 */
json_t *mesh_yaml_scalar(const char *text, size_t len);


#endif /* _MESH_YAML_H_INCLUDED_ */
