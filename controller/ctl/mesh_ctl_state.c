
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Snapshots of state as text and back.  What is compiled is checked by the
 * very function that nginx uses before anything is written.
 */

#include <mesh_core.h>

#include <mesh_ctl.h>
#include <mesh_file.h>
#include <mesh_state_build.h>
#include <mesh_state_text.h>


#define MESH_CTL_TEXT_MAX  (256 * 1024 * 1024)


static int
mesh_ctl_state_write(const char *out, const void *state, size_t size,
    mesh_err_t *err)
{
    if (out) {
        return mesh_file_write(out, state, size, 0644, err);
    }

    if (fwrite(state, 1, size, stdout) != size || fflush(stdout) != 0) {
        return mesh_err_sys(err, errno, "write to stdout failed");
    }

    return MESH_OK;
}


int
mesh_ctl_state_compile(int argc, char **argv)
{
    int                 rc, ch;
    char               *text;
    void               *state;
    size_t              len, size;
    const char         *out, *wrong;
    mesh_err_t          err;
    mesh_state_view_t   view;

    out = NULL;
    opterr = 0;

    while ((ch = getopt(argc, argv, "o:")) != -1) {

        if (ch != 'o') {
            (void) mesh_err(&err, "state compile: expected IN [-o OUT]");
            return mesh_ctl_usage(&err);
        }

        out = optarg;
    }

    if (argc - optind != 1) {
        (void) mesh_err(&err, "state compile: expected one file, IN [-o OUT]");
        return mesh_ctl_usage(&err);
    }

    if (mesh_file_read(argv[optind], MESH_CTL_TEXT_MAX, &text, &len, &err)
        != MESH_OK)
    {
        return mesh_ctl_trouble(&err);
    }

    state = mesh_state_text_compile(argv[optind], text, len, &size, &err);
    free(text);

    if (state == NULL) {
        return mesh_ctl_trouble(&err);
    }

    wrong = mesh_state_check(state, size, &view);

    if (wrong) {
        rc = mesh_err(&err, "%s: built a snapshot that is refused: %s",
                      argv[optind], wrong);

    } else {
        rc = mesh_ctl_state_write(out, state, size, &err);
    }

    free(state);

    return rc == MESH_OK ? MESH_CTL_OK : mesh_ctl_trouble(&err);
}


int
mesh_ctl_state_dump(int argc, char **argv)
{
    int                 rc;
    char               *state;
    size_t              size;
    const char         *wrong;
    mesh_err_t          err;
    mesh_records_t     *records;
    mesh_state_view_t   view;

    if (argc != 2) {
        (void) mesh_err(&err, "state dump: expected one file");
        return mesh_ctl_usage(&err);
    }

    if (mesh_file_read(argv[1], MESH_STATE_MAX_BYTES, &state, &size, &err)
        != MESH_OK)
    {
        return mesh_ctl_trouble(&err);
    }

    wrong = mesh_state_check(state, size, &view);

    if (wrong) {
        free(state);
        (void) mesh_err(&err, "%s: %s", argv[1], wrong);
        return mesh_ctl_trouble(&err);
    }

    records = mesh_state_unbuild(&view);
    rc = mesh_state_text_print(stdout, records);

    mesh_records_free(records);
    free(state);

    if (rc != MESH_OK) {
        (void) mesh_err_sys(&err, errno, "write to stdout failed");
        return mesh_ctl_trouble(&err);
    }

    return MESH_CTL_OK;
}
