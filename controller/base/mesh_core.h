
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_CORE_H_INCLUDED_
#define _MESH_CORE_H_INCLUDED_

/*
 * Included first by every file of the controller: libc, verdicts, and the
 * sentence that an error is.
 */

#include <alloca.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <mesh_banned.h>


/* what functions of the type int return, nothing else */

#define MESH_OK          0
#define MESH_ERROR      -1
#define MESH_AGAIN      -2        /* not enough yet */
#define MESH_DONE       -4        /* done, and there is nothing to go on with */
#define MESH_DECLINED   -5        /* "not mine" or "not there", never a fault */


#define mesh_nelts(a)   (sizeof(a) / sizeof((a)[0]))

#define mesh_min(a, b)  ((a) < (b) ? (a) : (b))
#define mesh_max(a, b)  ((a) > (b) ? (a) : (b))


/*
 * What went wrong, one sentence without a full stop, for the place that logs
 * it.  Functions that can fail for more than one reason take a mesh_err_t
 * and fill it when they return MESH_ERROR or NULL.
 */

typedef struct {
    char  text[512];
} mesh_err_t;


/* fills *err (may be NULL); returns MESH_ERROR, for "return mesh_err(..)" */
int mesh_err(mesh_err_t *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* the same with " (2: No such file or directory)" of errno at the end */
int mesh_err_sys(mesh_err_t *err, int number, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* puts "prefix: " before the sentence that is there; returns MESH_ERROR */
int mesh_err_prefix(mesh_err_t *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


#endif /* _MESH_CORE_H_INCLUDED_ */
