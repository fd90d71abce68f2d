
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/ ; -levent */

/* Files that come, change and go, told once each. */

#include <mesh_file.h>
#include <mesh_watch_file.h>

#include <event2/event.h>

#include "unit.h"


static struct event_base  *base;
static char                dir[] = "/tmp/u-mesh_watch_file.XXXXXX";
static char                paths[2][512];
static int                 calls;


static void
changed(void *data)
{
    calls++;
    (void) event_base_loopbreak(data);
}


/* runs the loop until a call or, at most, for ms */

static int
calls_within(int ms)
{
    struct timeval  tv = { ms / 1000, ms % 1000 * 1000 };

    calls = 0;
    (void) event_base_loopexit(base, &tv);
    (void) event_base_dispatch(base);

    return calls;
}


static void
watch_tells_every_change_once(void)
{
    mesh_err_t          err;
    const char         *names[2] = { paths[0], paths[1] };
    mesh_watch_file_t  *watch;

    UNIT_NEED(mkdtemp(dir) != NULL);
    (void) snprintf(paths[0], sizeof(paths[0]), "%s/a", dir);
    (void) snprintf(paths[1], sizeof(paths[1]), "%s/b", dir);

    base = event_base_new();
    UNIT_NEED(base != NULL);
    UNIT_NEED(mesh_file_write(paths[0], "1", 1, 0600, &err) == MESH_OK);

    watch = mesh_watch_file_new(base, names, 2, 10, changed, base, &err);
    UNIT_NEED(watch != NULL);

    UNIT_EQ(calls_within(50), 0);

    (void) mesh_file_write(paths[0], "2", 1, 0600, &err);    /* same size */
    UNIT_EQ(calls_within(2000), 1);
    UNIT_EQ(calls_within(50), 0);

    (void) mesh_file_write(paths[1], "new", 3, 0600, &err);
    UNIT_EQ(calls_within(2000), 1);

    UNIT_OK(rename(paths[0], paths[1]) == 0);        /* one goes, one is new */
    UNIT_EQ(calls_within(2000), 1);

    UNIT_OK(unlink(paths[1]) == 0);
    UNIT_EQ(calls_within(2000), 1);
    UNIT_EQ(calls_within(50), 0);

    (void) mesh_file_write(paths[0], "mine", 4, 0600, &err);
    mesh_watch_file_reset(watch);
    UNIT_EQ(calls_within(50), 0);

    mesh_watch_file_free(watch);
    mesh_watch_file_free(NULL);
    event_base_free(base);
    UNIT_OK(unlink(paths[0]) == 0 && rmdir(dir) == 0);
}


static void
watch_has_a_limit(void)
{
    mesh_err_t   err;
    const char  *names[MESH_WATCH_FILE_MAX + 1] = { NULL };

    UNIT_OK(mesh_watch_file_new(NULL, names, MESH_WATCH_FILE_MAX + 1, 10,
                                changed, NULL, &err)
            == NULL);
    UNIT_HAS(err.text, "more than 8 files");
}


UNIT_TESTS = {
    UNIT(watch_tells_every_change_once),
    UNIT(watch_has_a_limit),
    UNIT_END
};
