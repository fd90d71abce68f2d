
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/shared/mesh_trim.c */

/* A process that dropped its code goes on, with less of it in memory. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mesh_trim.h>
#include "unit.h"


/* pages of files that are mapped, kB, by /proc/self/status */

static long
file_kb(void)
{
    char   line[256];
    long   kb;
    FILE  *f;

    kb = -1;
    f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "RssFile:", 8) == 0) {
            kb = strtol(line + 8, NULL, 10);
        }
    }

    if (f) {
        fclose(f);
    }

    return kb;
}


static void
code_is_dropped_and_comes_back(void)
{
    long  before, after;

    before = file_kb();
    UNIT_OK(mesh_trim_text() >= 2);        /* this program and libc */
    after = file_kb();

    UNIT_OK(before > 0 && after < before);
    UNIT_STR(strstr("it still works", "works"), "works");
}


UNIT_TESTS = {
    UNIT(code_is_dropped_and_comes_back),
    UNIT_END
};
