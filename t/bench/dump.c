
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Preloaded into whatever callgrind runs: on SIGRTMIN it writes the costs
 * since the last time.  callgrind_control would do the same, but is not able
 * to reach a process of another user everywhere.
 */

#include <signal.h>
#include <string.h>
#include <valgrind/callgrind.h>


static void dump_handler(int signo);
static void __attribute__((constructor)) dump_init(void);


static void
dump_init(void)
{
    struct sigaction  sa;

    memset(&sa, 0, sizeof(struct sigaction));
    sa.sa_handler = dump_handler;
    sa.sa_flags = SA_RESTART;

    (void) sigaction(SIGRTMIN, &sa, NULL);
}


static void
dump_handler(int signo)
{
    (void) signo;

    CALLGRIND_DUMP_STATS;
}
