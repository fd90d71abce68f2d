
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_err.c */

/* Sentences: filled, given a number, given a prefix, cut. */

#include <mesh_core.h>

#include "unit.h"


static void
err_fills_and_returns_error(void)
{
    mesh_err_t  err;

    UNIT_EQ(mesh_err(&err, "port is %d", 7), MESH_ERROR);
    UNIT_STR(err.text, "port is 7");
    UNIT_EQ(mesh_err(NULL, "port is %d", 7), MESH_ERROR);
}


static void
err_sys_adds_the_number(void)
{
    mesh_err_t  err;

    UNIT_EQ(mesh_err_sys(&err, ENOENT, "open \"%s\" failed", "x"), MESH_ERROR);
    UNIT_STR(err.text, "open \"x\" failed (2: No such file or directory)");
    UNIT_EQ(mesh_err_sys(NULL, ENOENT, "x"), MESH_ERROR);
}


static void
err_prefix_goes_before(void)
{
    mesh_err_t  err;

    (void) mesh_err(&err, "line 3");
    UNIT_EQ(mesh_err_prefix(&err, "%s", "file"), MESH_ERROR);
    UNIT_STR(err.text, "file: line 3");
    UNIT_EQ(mesh_err_prefix(NULL, "x"), MESH_ERROR);
}


static void
err_cuts_what_does_not_fit(void)
{
    char        text[2000];
    size_t      n;
    mesh_err_t  err;

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';

    (void) mesh_err(&err, "%s", text);
    UNIT_EQ(strlen(err.text), sizeof(err.text) - 1);

    (void) mesh_err_sys(&err, ENOENT, "%s", text);
    UNIT_EQ(strlen(err.text), sizeof(err.text) - 1);

    /* every length of a prefix around the end of the buffer */

    for (n = 0; n < 600; n++) {
        (void) mesh_err(&err, "tail");
        (void) mesh_err_prefix(&err, "%.*s", (int) n, text);

        if (n + 6 < sizeof(err.text)) {
            UNIT_EQ(strlen(err.text), n + 6);

        } else {
            UNIT_OK(strlen(err.text) < sizeof(err.text));
        }

        (void) mesh_err(&err, "%s", text);
        (void) mesh_err_prefix(&err, "%.*s", (int) n, text);
        UNIT_OK(strlen(err.text) >= sizeof(err.text) - 3);
    }
}


UNIT_TESTS = {
    UNIT(err_fills_and_returns_error),
    UNIT(err_sys_adds_the_number),
    UNIT(err_prefix_goes_before),
    UNIT(err_cuts_what_does_not_fit),
    UNIT_END
};
