
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_mem.c controller/base/; */

/* Memory that is there is given as asked; without it the process ends. */

#include <mesh_core.h>

#include <signal.h>
#include <sys/wait.h>

#include <mesh_mem.h>

#include "unit.h"


static void
memory_is_as_asked(void)
{
    char  *p, *text;

    p = mesh_mem_new(100);
    UNIT_EQ(p[0] | p[99], 0);

    p = mesh_mem_grow(p, 300, 1);
    p[299] = 1;
    free(p);

    text = mesh_mem_str("abc");
    UNIT_STR(text, "abc");
    free(text);

    UNIT_OK(mesh_mem_str(NULL) == NULL);

    text = mesh_mem_printf("%s-%d", "a", 7);
    UNIT_STR(text, "a-7");
    free(text);
}


static void
without_memory_the_process_ends(void)
{
    int    status;
    pid_t  pid;

    fflush(stdout);

    pid = fork();

    if (pid == 0) {
        (void) fclose(stderr);
        (void) mesh_mem_must(NULL);
        _exit(0);
    }

    UNIT_EQ(waitpid(pid, &status, 0), pid);
    UNIT_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}


UNIT_TESTS = {
    UNIT(memory_is_as_asked),
    UNIT(without_memory_the_process_ends),
    UNIT_END
};
