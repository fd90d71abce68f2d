
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_TRIM_H_INCLUDED_
#define _MESH_TRIM_H_INCLUDED_

/*
 * Memory of an idle process.  Linux maps 16 pages around each page of code
 * that is touched ("fault-around"), and most of them, like the code of the
 * start itself, are never needed again.
 */


/*
 * Unmaps the pages of all code of this process: those that are needed come
 * back by themselves, out of the page cache, for a fraction of a microsecond
 * each.  Call it when a start or another rare piece of work is over.  Returns
 * the number of mappings, or -1 if /proc/self/maps cannot be read: then
 * nothing happened.
 */
int mesh_trim_text(void);


#endif /* _MESH_TRIM_H_INCLUDED_ */
