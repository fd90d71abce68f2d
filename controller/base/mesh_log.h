
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_LOG_H_INCLUDED_
#define _MESH_LOG_H_INCLUDED_

/*
 * One line per event to stderr, in nginx's format, so that one reader reads
 * the lines of all programs of a sidecar:
 *
 *     2026/11/24 12:00:00 [error] 123#meshd: text (2: No such file ..)
 *
 * A line is one write(): lines of several processes do not mix.
 */

#include <mesh_core.h>


#define MESH_LOG_EMERG    1
#define MESH_LOG_ALERT    2
#define MESH_LOG_CRIT     3
#define MESH_LOG_ERROR    4       /* someone must act */
#define MESH_LOG_WARN     5
#define MESH_LOG_NOTICE   6       /* default */
#define MESH_LOG_INFO     7
#define MESH_LOG_DEBUG    8

#define MESH_LOG_LEVELS   "emerg|alert|crit|error|warn|notice|info|debug"


/* program: a static string, what stands after the pid */
void mesh_log_init(const char *program, int level);

/* the level of a name of MESH_LOG_LEVELS, MESH_ERROR if it is none */
int mesh_log_level(const char *name);

/*
 * Control characters of the text are written as \xHH: nobody writes a
 * second line into the log.  number: an errno, or 0.
 */
void mesh_log(int level, int number, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* the line as it is written, for tests: at, pid given; returns its length */
size_t mesh_log_format(char *buf, size_t size, time_t at, int pid,
    const char *program, int level, int number, const char *text);


#endif /* _MESH_LOG_H_INCLUDED_ */
