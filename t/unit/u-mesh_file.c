
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_file.c controller/base/mesh_err.c */

/* Files in a directory of the test's own. */

#include <mesh_file.h>

#include <dirent.h>
#include <sys/stat.h>

#include "unit.h"


static char        dir[] = "/tmp/u-mesh_file.XXXXXX";
static mesh_err_t  err;


static const char *
path(const char *name)
{
    static char  buf[512];

    (void) snprintf(buf, sizeof(buf), "%s/%s", dir, name);

    return buf;
}


/* names in the directory, but for "." and ".." */

static int
count(void)
{
    int             n;
    DIR            *d;
    struct dirent  *entry;

    d = opendir(dir);
    n = 0;

    while (d != NULL && (entry = readdir(d)) != NULL) {
        n += (entry->d_name[0] != '.');
    }

    (void) closedir(d);

    return n;
}


static void
write_then_read(void)
{
    char         *data;
    size_t        len;
    struct stat   st;

    UNIT_NEED(mkdtemp(dir) != NULL);

    UNIT_EQ(mesh_file_write(path("a"), "one\0two", 7, 0600, &err), MESH_OK);
    UNIT_EQ(mesh_file_read(path("a"), 7, &data, &len, &err), MESH_OK);
    UNIT_EQ(len, 7);
    UNIT_OK(memcmp(data, "one\0two", 8) == 0);       /* and a NUL after it */
    free(data);

    UNIT_OK(stat(path("a"), &st) == 0 && (st.st_mode & 0777) == 0600);

    UNIT_EQ(mesh_file_write(path("a"), "", 0, 0644, &err), MESH_OK);
    UNIT_EQ(mesh_file_read(path("a"), 0, &data, NULL, &err), MESH_OK);
    UNIT_STR(data, "");
    free(data);

    UNIT_OK(stat(path("a"), &st) == 0 && (st.st_mode & 0777) == 0644);
    UNIT_EQ(count(), 1);                             /* nothing temporary */
}


static void
read_has_a_limit(void)
{
    char    *data, *big;
    size_t   len, size;

    size = 3 * 1024 * 1024 + 1;
    big = malloc(size);
    UNIT_NEED(big != NULL);
    memset(big, 'x', size);

    UNIT_EQ(mesh_file_write(path("big"), big, size, 0600, &err), MESH_OK);
    UNIT_EQ(mesh_file_read(path("big"), size, &data, &len, &err), MESH_OK);
    UNIT_OK(len == size && memcmp(data, big, size) == 0);
    free(data);

    UNIT_EQ(mesh_file_read(path("big"), size - 1, &data, &len, &err),
            MESH_ERROR);
    UNIT_HAS(err.text, "is longer than 3145728 bytes");
    free(big);

    UNIT_EQ(mesh_file_remove(path("big"), &err), MESH_OK);
    UNIT_EQ(mesh_file_remove(path("big"), &err), MESH_OK);
}


static void
read_tells_missing_from_broken(void)
{
    char  *data;

    UNIT_EQ(mesh_file_read(path("none"), 10, &data, NULL, &err),
            MESH_DECLINED);
    UNIT_HAS(err.text, "No such file");
    UNIT_EQ(mesh_file_read(dir, 10, &data, NULL, &err), MESH_ERROR);
    UNIT_HAS(err.text, "Is a directory");
}


static void
write_leaves_the_old_one_when_it_fails(void)
{
    char  *data;

    UNIT_EQ(mesh_file_write(path("none/a"), "x", 1, 0600, &err), MESH_ERROR);
    UNIT_HAS(err.text, "No such file");

    UNIT_EQ(mesh_file_mkdir(path("d/e"), 0750, &err), MESH_OK);
    UNIT_EQ(mesh_file_write(path("d"), "x", 1, 0600, &err), MESH_ERROR);
    UNIT_HAS(err.text, "rename");
    UNIT_EQ(count(), 2);                             /* a, d: no left-overs */

    UNIT_EQ(mesh_file_write("/dev/full/x", "x", 1, 0600, &err), MESH_ERROR);
    UNIT_EQ(mesh_file_read(path("a"), 10, &data, NULL, &err), MESH_OK);
    free(data);
}


static void
mkdir_makes_all_of_it(void)
{
    struct stat  st;

    UNIT_EQ(mesh_file_mkdir(path("d/e"), 0750, &err), MESH_OK);
    UNIT_OK(stat(path("d/e"), &st) == 0 && S_ISDIR(st.st_mode));
    UNIT_EQ(mesh_file_mkdir(path("a/b"), 0750, &err), MESH_ERROR);
    UNIT_HAS(err.text, "Not a directory");
    UNIT_EQ(mesh_file_mkdir(path("a"), 0750, &err), MESH_ERROR);
    UNIT_HAS(err.text, "is no directory");
    UNIT_EQ(mesh_file_mkdir("", 0750, &err), MESH_ERROR);
}


static void
write_takes_a_bare_name(void)
{
    UNIT_NEED(chdir(dir) == 0);
    UNIT_EQ(mesh_file_write("bare", "x", 1, 0600, &err), MESH_OK);
    UNIT_EQ(mesh_file_remove("bare", &err), MESH_OK);
    UNIT_EQ(mesh_file_remove("a", &err), MESH_OK);
    UNIT_EQ(mesh_file_remove("d", &err), MESH_ERROR);
    UNIT_OK(rmdir("d/e") == 0 && rmdir("d") == 0 && rmdir(dir) == 0);
}


UNIT_TESTS = {
    UNIT(write_then_read),
    UNIT(read_has_a_limit),
    UNIT(read_tells_missing_from_broken),
    UNIT(write_leaves_the_old_one_when_it_fails),
    UNIT(mkdir_makes_all_of_it),
    UNIT(write_takes_a_bare_name),
    UNIT_END
};
