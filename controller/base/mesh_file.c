
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Whole files.  Writing never touches the file that is there: what a reader
 * sees, also after a power cut, is one content or the other.
 */

#include <mesh_file.h>

#include <fcntl.h>
#include <sys/stat.h>


#define MESH_FILE_STEP  16384


static int mesh_file_read_fd(int fd, const char *path, size_t limit,
    char **data, size_t *len, mesh_err_t *err);
static int mesh_file_fill(int fd, const char *path, const void *data,
    size_t len, mode_t mode, mesh_err_t *err);
static int mesh_file_sync_directory(const char *path, mesh_err_t *err);


int
mesh_file_read(const char *path, size_t limit, char **data, size_t *len,
    mesh_err_t *err)
{
    int  fd, rc;

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        rc = (errno == ENOENT) ? MESH_DECLINED : MESH_ERROR;
        (void) mesh_err_sys(err, errno, "open \"%s\" failed", path);
        return rc;
    }

    rc = mesh_file_read_fd(fd, path, limit, data, len, err);

    (void) close(fd);

    return rc;
}


static int
mesh_file_read_fd(int fd, const char *path, size_t limit, char **data,
    size_t *len, mesh_err_t *err)
{
    char     *buf, *grown;
    size_t    size, used;
    ssize_t   n;

    buf = NULL;
    size = 0;
    used = 0;

    for ( ;; ) {

        if (size - used < 2) {
            size += MESH_FILE_STEP + size;

            grown = realloc(buf, size);
            if (grown == NULL) {
                (void) mesh_err(err, "no memory for \"%s\"", path);
                goto failed;
            }

            buf = grown;
        }

        n = read(fd, buf + used, size - used - 1);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            (void) mesh_err_sys(err, errno, "read \"%s\" failed", path);
            goto failed;
        }

        if (n == 0) {
            break;
        }

        used += n;

        if (used > limit) {
            (void) mesh_err(err, "\"%s\" is longer than %zu bytes", path,
                            limit);
            goto failed;
        }
    }

    buf[used] = '\0';
    *data = buf;

    if (len != NULL) {
        *len = used;
    }

    return MESH_OK;

failed:

    free(buf);

    return MESH_ERROR;
}


int
mesh_file_write(const char *path, const void *data, size_t len, mode_t mode,
    mesh_err_t *err)
{
    int   fd, n;
    char  temp[PATH_MAX];

    n = snprintf(temp, sizeof(temp), "%s.%d.tmp", path, (int) getpid());

    if (n < 0 || (size_t) n >= sizeof(temp)) {
        return mesh_err(err, "name \"%s\" is too long", path);
    }

    fd = open(temp, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC|O_NOFOLLOW, mode);

    if (fd == -1) {
        return mesh_err_sys(err, errno, "open \"%s\" failed", temp);
    }

    if (mesh_file_fill(fd, temp, data, len, mode, err) != MESH_OK) {
        (void) close(fd);
        goto failed;
    }

    if (close(fd) == -1) {
        (void) mesh_err_sys(err, errno, "close \"%s\" failed", temp);
        goto failed;
    }

    if (rename(temp, path) == -1) {
        (void) mesh_err_sys(err, errno, "rename \"%s\" to \"%s\" failed",
                            temp, path);
        goto failed;
    }

    return mesh_file_sync_directory(path, err);

failed:

    (void) unlink(temp);

    return MESH_ERROR;
}


static int
mesh_file_fill(int fd, const char *path, const void *data, size_t len,
    mode_t mode, mesh_err_t *err)
{
    ssize_t      n;
    const char  *p, *last;

    /* the umask, or a left-over file, may have given another mode */

    if (fchmod(fd, mode) == -1) {
        return mesh_err_sys(err, errno, "fchmod \"%s\" failed", path);
    }

    last = (const char *) data + len;

    for (p = data; p < last; p += n) {
        n = write(fd, p, last - p);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            return mesh_err_sys(err, errno, "write \"%s\" failed", path);
        }
    }

    if (fsync(fd) == -1) {
        return mesh_err_sys(err, errno, "fsync \"%s\" failed", path);
    }

    return MESH_OK;
}


static int
mesh_file_sync_directory(const char *path, mesh_err_t *err)
{
    int          fd, rc;
    char         dir[PATH_MAX];
    const char  *slash;

    slash = strrchr(path, '/');

    (void) snprintf(dir, sizeof(dir), "%.*s",
                    slash == NULL ? 1 : (int) mesh_max(slash - path, 1),
                    slash == NULL ? "." : path);

    fd = open(dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        return mesh_err_sys(err, errno, "open \"%s\" failed", dir);
    }

    rc = MESH_OK;

    /* EINVAL: a file system that has nothing to sync */

    if (fsync(fd) == -1 && errno != EINVAL) {
        rc = mesh_err_sys(err, errno, "fsync \"%s\" failed", dir);
    }

    (void) close(fd);

    return rc;
}


int
mesh_file_mkdir(const char *path, mode_t mode, mesh_err_t *err)
{
    int          n;
    char        *p, dir[PATH_MAX];
    struct stat  st;

    n = snprintf(dir, sizeof(dir), "%s", path);

    if (n <= 0 || (size_t) n >= sizeof(dir)) {
        return mesh_err(err, "name \"%s\" is empty or too long", path);
    }

    for (p = dir + 1; *p; p++) {

        if (*p != '/') {
            continue;
        }

        *p = '\0';

        if (mkdir(dir, mode | 0700) == -1 && errno != EEXIST) {
            return mesh_err_sys(err, errno, "mkdir \"%s\" failed", dir);
        }

        *p = '/';
    }

    if (mkdir(dir, mode) == 0) {
        return MESH_OK;
    }

    if (errno != EEXIST) {
        return mesh_err_sys(err, errno, "mkdir \"%s\" failed", dir);
    }

    if (stat(dir, &st) == -1) {
        return mesh_err_sys(err, errno, "stat \"%s\" failed", dir);
    }

    if (!S_ISDIR(st.st_mode)) {
        return mesh_err(err, "\"%s\" is no directory", dir);
    }

    return MESH_OK;
}


int
mesh_file_remove(const char *path, mesh_err_t *err)
{
    if (unlink(path) == -1 && errno != ENOENT) {
        return mesh_err_sys(err, errno, "unlink \"%s\" failed", path);
    }

    return MESH_OK;
}
