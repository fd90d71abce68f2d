
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_MAP_H_INCLUDED_
#define _MESH_MAP_H_INCLUDED_

/*
 * A hash table from text to pointers: open addressing, linear probing,
 * deletion by shifting back (Knuth, TAOCP 3, 6.4, algorithm R).  It owns the
 * keys, not the values.  All zero is an empty map.
 */

#include <mesh_core.h>


typedef struct {
    char        *key;             /* NULL: free */
    void        *value;
    uint64_t     hash;
} mesh_map_slot_t;


typedef struct {
    mesh_map_slot_t  *slots;
    size_t            size;       /* 0 or a power of two */
    size_t            n;
} mesh_map_t;


/* NULL if the key is not there */
void *mesh_map_get(const mesh_map_t *map, const char *key);

/* adds or replaces; value is not NULL; returns the value before, or NULL */
void *mesh_map_set(mesh_map_t *map, const char *key, void *value);

/* returns the value that was there, or NULL */
void *mesh_map_remove(mesh_map_t *map, const char *key);

/*
 * Walks in no order: *i is 0 at first; NULL at the end.  key may be NULL.
 * The map must not change meanwhile.
 */
void *mesh_map_next(const mesh_map_t *map, size_t *i, const char **key);

/* frees slots and keys; the map is empty again */
void mesh_map_free(mesh_map_t *map);


#endif /* _MESH_MAP_H_INCLUDED_ */
