
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The log: levels, the format of a line, one write() per line.  The level
 * and the name of the program are the process's, set once by its main.
 */

#include <mesh_log.h>


#define MESH_LOG_LINE_MAX  2048


static size_t mesh_log_escape(char *dst, size_t size, const char *src);


static int          mesh_log_max = MESH_LOG_NOTICE;
static const char  *mesh_log_program = "mesh";


static const char  *mesh_log_names[] = {
    "none", "emerg", "alert", "crit", "error", "warn", "notice", "info",
    "debug"
};


void
mesh_log_init(const char *program, int level)
{
    mesh_log_program = program;
    mesh_log_max = level;
}


int
mesh_log_level(const char *name)
{
    size_t  i;

    for (i = 1; i < mesh_nelts(mesh_log_names); i++) {
        if (strcmp(name, mesh_log_names[i]) == 0) {
            return (int) i;
        }
    }

    return MESH_ERROR;
}


void
mesh_log(int level, int number, const char *fmt, ...)
{
    char     text[MESH_LOG_LINE_MAX], line[MESH_LOG_LINE_MAX];
    size_t   len, n;
    ssize_t  done;
    va_list  args;

    if (level > mesh_log_max) {
        return;
    }

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    len = mesh_log_format(line, sizeof(line), time(NULL), (int) getpid(),
                          mesh_log_program, level, number, text);

    for (n = 0; n < len; n += done) {
        done = write(STDERR_FILENO, line + n, len - n);

        if (done == -1 && errno == EINTR) {
            done = 0;
            continue;
        }

        if (done <= 0) {
            return;                   /* there is nowhere to report it */
        }
    }
}


size_t
mesh_log_format(char *buf, size_t size, time_t at, int pid,
    const char *program, int level, int number, const char *text)
{
    char       reason[128];
    size_t     len, last;
    struct tm  tm;

    last = size - 1;                  /* room for the line feed */

    if (localtime_r(&at, &tm) == NULL) {
        memset(&tm, 0, sizeof(tm));
    }

    len = strftime(buf, last, "%Y/%m/%d %H:%M:%S ", &tm);

    if (level < 1 || level > MESH_LOG_DEBUG) {
        level = MESH_LOG_DEBUG;
    }

    len += snprintf(buf + len, last - len, "[%s] %d#%s: ",
                    mesh_log_names[level], pid, program);

    len += mesh_log_escape(buf + len, last - len, text);

    if (number != 0) {
        (void) snprintf(buf + len, last - len, " (%d: %s)", number,
                        strerror_r(number, reason, sizeof(reason)));
        len += strlen(buf + len);
    }

    buf[len++] = '\n';

    return len;
}


static size_t
mesh_log_escape(char *dst, size_t size, const char *src)
{
    size_t         n;
    unsigned char  ch;

    n = 0;

    for ( /* void */ ; *src; src++) {
        ch = (unsigned char) *src;

        if (ch >= 0x20 && ch != 0x7f) {

            if (n + 1 >= size) {
                break;
            }

            dst[n++] = ch;
            continue;
        }

        if (n + 4 >= size) {
            break;
        }

        n += snprintf(dst + n, size - n, "\\x%02x", ch);
    }

    dst[n] = '\0';

    return n;
}
