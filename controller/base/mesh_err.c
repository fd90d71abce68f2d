
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The sentence that an error is.  What does not fit is cut: a sentence of
 * 511 bytes has said what it can.
 */

#include <mesh_core.h>


static void mesh_err_add_number(mesh_err_t *err, int number);


int
mesh_err(mesh_err_t *err, const char *fmt, ...)
{
    va_list  args;

    if (err == NULL) {
        return MESH_ERROR;
    }

    va_start(args, fmt);
    (void) vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);

    return MESH_ERROR;
}


int
mesh_err_sys(mesh_err_t *err, int number, const char *fmt, ...)
{
    va_list  args;

    if (err == NULL) {
        return MESH_ERROR;
    }

    va_start(args, fmt);
    (void) vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);

    mesh_err_add_number(err, number);

    return MESH_ERROR;
}


int
mesh_err_prefix(mesh_err_t *err, const char *fmt, ...)
{
    int       n;
    char      tail[sizeof(err->text)];
    size_t    room;
    va_list   args;

    if (err == NULL) {
        return MESH_ERROR;
    }

    memcpy(tail, err->text, sizeof(tail));

    va_start(args, fmt);
    n = vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);

    room = sizeof(err->text) - 1;

    if (n < 0 || (size_t) n + 2 > room) {
        return MESH_ERROR;
    }

    room -= n + 2;
    memcpy(err->text + n, ": ", 2);
    memcpy(err->text + n + 2, tail, strnlen(tail, room));
    err->text[n + 2 + strnlen(tail, room)] = '\0';

    return MESH_ERROR;
}


static void
mesh_err_add_number(mesh_err_t *err, int number)
{
    char    buf[128];
    size_t  len;

    len = strlen(err->text);

    (void) snprintf(err->text + len, sizeof(err->text) - len, " (%d: %s)",
                    number, strerror_r(number, buf, sizeof(buf)));
}
