
/*
 * Copyright (C) ngx-mesh authors
 */

/* Allocation that does not fail: it ends the process instead. */

#include <mesh_log.h>
#include <mesh_mem.h>


void *
mesh_mem_new(size_t size)
{
    return mesh_mem_must(calloc(1, size ? size : 1));
}


void *
mesh_mem_grow(void *p, size_t n, size_t size)
{
    return mesh_mem_must(reallocarray(p, n ? n : 1, size));
}


char *
mesh_mem_str(const char *text)
{
    return text ? mesh_mem_must(strdup(text)) : NULL;
}


char *
mesh_mem_printf(const char *fmt, ...)
{
    int       n;
    char     *text;
    va_list   args;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);

    return mesh_mem_must(n == -1 ? NULL : text);
}


void *
mesh_mem_must(void *p)
{
    if (p == NULL) {
        mesh_log(MESH_LOG_EMERG, ENOMEM, "cannot go on without memory");
        abort();
    }

    return p;
}
