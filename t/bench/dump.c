
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Preloaded into whatever callgrind runs: on SIGRTMIN it writes the costs
 * since the last time.  callgrind_control would do the same, but is not able
 * to reach a process of another user everywhere.
 *
 * The time of day goes as slowly as a program does under valgrind: what it
 * does once a second, like writing the date, would else count with a few
 * requests and not with some thousand.
 */

#define _GNU_SOURCE

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/time.h>
#include <valgrind/callgrind.h>


#define DUMP_SLOWER  64


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


int
gettimeofday(struct timeval *tv, void *tz)
{
    uint64_t         us;
    struct timespec  ts;

    static uint64_t  start;

    (void) tz;
    (void) clock_gettime(CLOCK_REALTIME, &ts);

    us = (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;

    if (start == 0) {
        start = us;
    }

    us = start + (us - start) / DUMP_SLOWER;

    tv->tv_sec = us / 1000000;
    tv->tv_usec = us % 1000000;

    return 0;
}


static void
dump_handler(int signo)
{
    (void) signo;

    CALLGRIND_DUMP_STATS;
}
