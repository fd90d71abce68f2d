
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * nginx's workers by /proc.  A worker whose master died is a child of init
 * (PR_SET_CHILD_SUBREAPER); a new one is a child of the new master.
 */

#include <mesh_core.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include <mesh_init_scan.h>
#include <mesh_log.h>


#define MESH_INIT_WORKER  "nginx: worker process"


/* the parent of a process by /proc/PID/stat, 0: it is gone */

static pid_t
mesh_init_parent(const char *pid)
{
    int          fd;
    char         path[64], text[512];
    ssize_t      n;
    const char  *p;

    (void) snprintf(path, sizeof(path), "/proc/%.16s/stat", pid);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, text, sizeof(text) - 1);
    (void) close(fd);

    if (n <= 0) {
        return 0;
    }

    text[n] = '\0';

    p = strrchr(text, ')');                /* "1 (name) S 0 .." */

    if (p == NULL || strlen(p) < 5) {
        return 0;
    }

    return (pid_t) strtol(p + 4, NULL, 10);
}


/* does its title say that it is a worker, exactly: not one that shuts down */

static int
mesh_init_is_worker(const char *pid, int exact)
{
    int      fd;
    char     path[64], text[64];
    ssize_t  n;

    (void) snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, text, sizeof(text) - 1);
    (void) close(fd);

    if (n <= 0) {
        return 0;
    }

    text[n] = '\0';

    return exact ? strcmp(text, MESH_INIT_WORKER) == 0
                 : strncmp(text, MESH_INIT_WORKER,
                           sizeof(MESH_INIT_WORKER) - 1) == 0;
}


/*
 * Counts the nginx workers whose parent is parent and sends them signo (0:
 * none).  A worker gets its title when it is ready to accept.  opendir()
 * would allocate, so /proc is read by getdents64(2).
 */

int
mesh_init_scan(pid_t parent, int exact, int signo)
{
    int    fd, found;
    long   n, i;
    pid_t  pid;
    char   buf[4096] __attribute__((aligned(8)));

    struct {
        uint64_t        ino;
        int64_t         off;
        unsigned short  reclen;
        unsigned char   type;
        char            name[];
    } *entry;

    fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1) {
        mesh_log(MESH_LOG_ERROR, errno, "open(\"/proc\") failed");
        return 0;
    }

    found = 0;

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (void *) (buf + i);

            if (entry->name[0] < '1' || entry->name[0] > '9'
                || mesh_init_parent(entry->name) != parent
                || !mesh_init_is_worker(entry->name, exact))
            {
                continue;
            }

            found++;
            pid = (pid_t) strtol(entry->name, NULL, 10);

            if (signo && kill(pid, signo) == -1) {
                mesh_log(MESH_LOG_ERROR, errno, "kill(%d, %d) failed", pid,
                         signo);
            }
        }
    }

    (void) close(fd);

    return found;
}
