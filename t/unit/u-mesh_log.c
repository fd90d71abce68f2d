
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_log.c */

/* The line of an event, and that it is written or not. */

#include <mesh_log.h>

#include "unit.h"


#define AT  1793448000                     /* 2026/10/31 12:00:00 UTC */


static void
format_is_that_of_nginx(void)
{
    char    line[256];
    size_t  len;

    (void) setenv("TZ", "UTC", 1);
    tzset();

    len = mesh_log_format(line, sizeof(line), AT, 123, "meshd",
                          MESH_LOG_ERROR, 0, "peer \"a\" opened");
    UNIT_STRN(line, len,
              "2026/10/31 12:00:00 [error] 123#meshd: peer \"a\" opened\n");

    len = mesh_log_format(line, sizeof(line), AT, 1, "meshd", MESH_LOG_NOTICE,
                          ENOENT, "open");
    UNIT_STRN(line, len, "2026/10/31 12:00:00 [notice] 1#meshd: open "
              "(2: No such file or directory)\n");
}


static void
format_keeps_one_line(void)
{
    char    line[256];
    size_t  len;

    len = mesh_log_format(line, sizeof(line), AT, 1, "m", MESH_LOG_INFO, 0,
                          "a\nb\r\x1b[1m\x7f\xc3\xa9");
    UNIT_STRN(line, len, "2026/10/31 12:00:00 [info] 1#m: "
              "a\\x0ab\\x0d\\x1b[1m\\x7f\xc3\xa9\n");
}


static void
format_fits_every_buffer(void)
{
    char    line[300], text[500];
    size_t  size, len;

    memset(text, 'x', sizeof(text) - 1);
    memset(text + 200, '\n', 20);
    text[sizeof(text) - 1] = '\0';

    for (size = 100; size <= sizeof(line); size++) {
        memset(line, '?', sizeof(line));
        len = mesh_log_format(line, size, AT, 1, "m", MESH_LOG_INFO, ENOENT,
                              text);
        UNIT_OK(len <= size && line[len - 1] == '\n');
        UNIT_OK(memchr(line, '\n', len - 1) == NULL);
        UNIT_OK(size == sizeof(line) || line[size] == '?');
    }
}


static void
level_has_names(void)
{
    UNIT_EQ(mesh_log_level("emerg"), MESH_LOG_EMERG);
    UNIT_EQ(mesh_log_level("debug"), MESH_LOG_DEBUG);
    UNIT_EQ(mesh_log_level("none"), MESH_ERROR);
    UNIT_EQ(mesh_log_level(""), MESH_ERROR);
}


static void
log_writes_what_the_level_lets_through(void)
{
    int      pipes[2], keep;
    char     buf[512];
    ssize_t  n;

    UNIT_NEED(pipe(pipes) == 0);
    keep = dup(STDERR_FILENO);
    UNIT_NEED(dup2(pipes[1], STDERR_FILENO) == STDERR_FILENO);

    mesh_log_init("meshd", MESH_LOG_WARN);
    mesh_log(MESH_LOG_NOTICE, 0, "quiet");
    mesh_log(MESH_LOG_WARN, 0, "loud %d", 1);

    (void) dup2(keep, STDERR_FILENO);
    (void) close(keep);
    (void) close(pipes[1]);

    n = read(pipes[0], buf, sizeof(buf) - 1);
    (void) close(pipes[0]);

    UNIT_NEED(n > 0);
    buf[n] = '\0';
    UNIT_HAS(buf, "[warn] ");
    UNIT_HAS(buf, "#meshd: loud 1\n");
    UNIT_OK(strstr(buf, "quiet") == NULL);
}


UNIT_TESTS = {
    UNIT(format_is_that_of_nginx),
    UNIT(format_keeps_one_line),
    UNIT(format_fits_every_buffer),
    UNIT(level_has_names),
    UNIT(log_writes_what_the_level_lets_through),
    UNIT_END
};
