
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_MEM_H_INCLUDED_
#define _MESH_MEM_H_INCLUDED_

/*
 * Allocation for code that joins many small things and could not undo half
 * a join: without memory the process ends with a line in the log (and is
 * started again), instead of going on with a state that is not true.
 */

#include <mesh_core.h>


/* zeroed; free() */
void *mesh_mem_new(size_t size);

void *mesh_mem_grow(void *p, size_t n, size_t size);

/* NULL stays NULL */
char *mesh_mem_str(const char *text);

char *mesh_mem_printf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* p, of a call that fails only without memory; if it is NULL, the end */
void *mesh_mem_must(void *p);


#endif /* _MESH_MEM_H_INCLUDED_ */
