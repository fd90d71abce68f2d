
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Only mappings "r-xp" of files are touched: nothing has ever written to
 * them, so what is dropped is in the file.  The loader's "r--p" segments look
 * alike but hold relocated data: they stay.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include <mesh_trim.h>


#define MESH_TRIM_LINE  4352               /* PATH_MAX and the rest */


/* "55d0c0a00000-55d0c0b00000 r-xp 00002000 fe:00 1234  /usr/sbin/nginx" */

static int
mesh_trim_line(const char *line)
{
    char           *p;
    unsigned long   start, end;

    start = strtoul(line, &p, 16);

    if (*p != '-') {
        return 0;
    }

    end = strtoul(p + 1, &p, 16);

    if (strncmp(p, " r-xp ", 6) != 0 || strchr(p, '/') == NULL
        || end <= start)
    {
        return 0;
    }

    return madvise((void *) start, end - start, MADV_DONTNEED) == 0;
}


int
mesh_trim_text(void)
{
    int      fd, found;
    char     buf[MESH_TRIM_LINE], *line, *eol;
    size_t   used;
    ssize_t  n;

    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    found = 0;
    used = 0;

    while ((n = read(fd, buf + used, sizeof(buf) - 1 - used)) > 0) {

        used += n;
        buf[used] = '\0';
        line = buf;

        while ((eol = strchr(line, '\n')) != NULL) {
            *eol = '\0';
            found += mesh_trim_line(line);
            line = eol + 1;
        }

        used -= line - buf;
        memmove(buf, line, used);
    }

    (void) close(fd);

    return found;
}
