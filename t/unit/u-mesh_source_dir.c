
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/ controller/model/ controller/base/
 *       ngx_mesh_module/shared/; -levent -lhiredis -lyaml -ljansson -lm
 *       -lssl -lcrypto */

/*
 * Events of a directory: what came, what went, when a batch ends.  The loop
 * runs until the expected words have been said, or for ten seconds.
 */

#include <mesh_core.h>

#include <sys/stat.h>

#include <mesh_file.h>
#include <mesh_log.h>
#include <mesh_source_dir.h>

#include "unit.h"


#define SERVICE(name, port)                                                   \
    "---\nkind: Service\napiVersion: v1\n"                                    \
    "metadata: {name: " name ", namespace: a}\n"                              \
    "spec: {ports: [{port: " port "}]}\n"


static struct event_base  *base;
static mesh_source_dir_t  *source;
static char                dir[64];
static char                said[2048];


static void
say(const char *fmt, const char *key, unsigned n)
{
    size_t  len;

    len = strlen(said);
    snprintf(said + len, sizeof(said) - len, fmt, key, n);
}


static void
on_put(void *data, mesh_object_t *object)
{
    (void) data;

    say("+%s:%u ", object->key, object->kind == MESH_OBJECT_SERVICE
                                ? object->u.service.ports[0].port : 0);
}


static void
on_gone(void *data, mesh_object_kind_e kind, const char *key)
{
    (void) data;

    say(kind == MESH_OBJECT_SERVICE ? "-%s " : "?%s ", key, 0);
}


static void
on_settled(void *data)
{
    (void) data;

    say(". ", NULL, 0);
}


static const mesh_source_handler_t  handler = { on_put, on_gone, on_settled };


static const char *
path(const char *name)
{
    static char  text[128];

    snprintf(text, sizeof(text), "%s/%s", dir, name);

    return text;
}


static void
put(const char *name, const char *text)
{
    mesh_err_t  err;

    if (mesh_file_write(path(name), text, strlen(text), 0600, &err)
        != MESH_OK)
    {
        UNIT_STR(err.text, "");
    }
}


static void
on_late(evutil_socket_t fd, short what, void *data)
{
    (void) fd;
    (void) what;

    *(int *) data = 1;
}


/* runs the loop until something new ends with a batch */

static const char *
events(void)
{
    int             late;
    struct event   *timer;
    struct timeval  tv = { 10, 0 };

    late = 0;
    said[0] = '\0';

    timer = evtimer_new(base, on_late, &late);
    evtimer_add(timer, &tv);

    while (!late && (said[0] == '\0' || said[0] == '.')) {
        said[0] = '\0';
        event_base_loop(base, EVLOOP_ONCE);
    }

    event_free(timer);

    return said;
}


static void
begin(void)
{
    mesh_err_t  err;

    mesh_log_init("unit", MESH_LOG_EMERG);

    base = event_base_new();
    said[0] = '\0';
    source = mesh_source_dir_new(base, dir, &handler, NULL, &err);

    if (source == NULL) {
        UNIT_STR(err.text, "");
    }
}


static void
make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/u-mesh_source_dir-XXXXXX");
    UNIT_NEED(mkdtemp(dir) != NULL);
}


static void
end(void)
{
    char  command[160];

    if (source) {
        mesh_source_dir_free(source);
    }

    event_base_free(base);

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    UNIT_EQ(system(command), 0);
}


static void
the_first_reading_is_one_batch(void)
{
    make_dir();
    put("b.yaml", SERVICE("two", "2"));
    put("a.yml", SERVICE("one", "1") SERVICE("three", "3"));
    put("c.json", "{\"kind\":\"NodeList\",\"apiVersion\":\"v1\",\"items\":[{"
                  "\"metadata\":{\"name\":\"n1\"}}]}");
    put("ignored.txt", SERVICE("four", "4"));
    put(".hidden.yaml", SERVICE("five", "5"));
    UNIT_EQ(mkdir(path("sub.yaml"), 0700), 0);

    begin();
    UNIT_STR(said, "+Service/a/one:1 +Service/a/three:3 +Service/a/two:2 "
                   "+Node//n1:0 . ");
    end();
}


static void
changes_are_told_and_nothing_else(void)
{
    char  old[128];

    make_dir();
    put("a.yaml", SERVICE("one", "1") SERVICE("two", "2"));
    begin();

    put("a.yaml", "# the same\n" SERVICE("one", "1") SERVICE("two", "22")
                  SERVICE("three", "3"));
    UNIT_STR(events(), "+Service/a/two:22 +Service/a/three:3 . ");

    put("a.yaml", SERVICE("three", "3"));
    UNIT_HAS(events(), "-Service/a/one");
    UNIT_HAS(said, "-Service/a/two");
    UNIT_OK(strstr(said, "three") == NULL);

    /* one batch: whoever looks at its end sees no change */

    snprintf(old, sizeof(old), "%s", path("a.yaml"));
    UNIT_EQ(rename(old, path("b.yaml")), 0);
    UNIT_STR(events(), "-Service/a/three +Service/a/three:3 . ");

    UNIT_EQ(unlink(path("b.yaml")), 0);
    UNIT_STR(events(), "-Service/a/three . ");
    end();
}


static void
bad_documents_keep_what_was(void)
{
    make_dir();
    put("a.yaml", SERVICE("one", "1") SERVICE("two", "2"));
    begin();

    /* two's new version is wrong, one is gone for all that can be told */

    put("a.yaml", SERVICE("two", "99999") SERVICE("three", "3"));
    UNIT_HAS(events(), "+Service/a/three:3");
    UNIT_HAS(said, "-Service/a/one");
    UNIT_OK(strstr(said, "two") == NULL);

    /* a document that says nothing may be two's */

    put("a.yaml", "kind: [\n" SERVICE("three", "33"));
    UNIT_STR(events(), "+Service/a/three:33 . ");

    put("a.yaml", SERVICE("three", "33"));
    UNIT_STR(events(), "-Service/a/two . ");
    end();
}


static void
of_two_files_the_first_counts(void)
{
    make_dir();
    put("b.yaml", SERVICE("one", "2"));
    begin();

    put("c.yaml", SERVICE("one", "3") SERVICE("two", "3"));
    UNIT_STR(events(), "+Service/a/two:3 . ");

    put("a.yaml", SERVICE("one", "1"));
    UNIT_STR(events(), "+Service/a/one:1 . ");

    UNIT_EQ(unlink(path("a.yaml")), 0);
    UNIT_STR(events(), "+Service/a/one:2 . ");

    UNIT_EQ(unlink(path("b.yaml")), 0);
    UNIT_STR(events(), "+Service/a/one:3 . ");

    UNIT_EQ(unlink(path("c.yaml")), 0);
    UNIT_HAS(events(), "-Service/a/one");
    end();
}


static void
an_object_twice_in_a_file_counts_once(void)
{
    make_dir();
    put("a.yaml", SERVICE("one", "1") SERVICE("one", "2"));
    begin();
    UNIT_STR(said, "+Service/a/one:1 . ");
    end();
}


static void
a_directory_that_is_not_there_is_an_error(void)
{
    mesh_err_t  err;

    base = event_base_new();

    UNIT_OK(mesh_source_dir_new(base, "/none/such", &handler, NULL, &err)
            == NULL);
    UNIT_HAS(err.text, "/none/such");

    event_base_free(base);
}


UNIT_TESTS = {
    UNIT(the_first_reading_is_one_batch),
    UNIT(changes_are_told_and_nothing_else),
    UNIT(bad_documents_keep_what_was),
    UNIT(of_two_files_the_first_counts),
    UNIT(an_object_twice_in_a_file_counts_once),
    UNIT(a_directory_that_is_not_there_is_an_error),
    UNIT_END
};
