
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/ */

/*
 * State as text.  What compiles passes the module's own check, and printed
 * and compiled again it gives the same bytes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mesh_state_build.h>
#include <mesh_state_text.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_again(const mesh_state_view_t *view, const void *state, size_t size)
{
    char            *text;
    void            *again;
    FILE            *out;
    size_t           len, size_again;
    mesh_err_t       err;
    mesh_records_t  *records;

    records = mesh_state_unbuild(view);

    out = open_memstream(&text, &len);
    if (out == NULL || mesh_state_text_print(out, records) == -1) {
        abort();
    }

    (void) fclose(out);
    mesh_records_free(records);

    again = mesh_state_text_compile("again", text, len, &size_again, &err);

    if (again == NULL
        || size_again != size
        || memcmp(again, state, size) != 0)
    {
        fprintf(stderr, "%s\n%.*s", again ? "other bytes" : err.text,
                (int) len, text);
        abort();
    }

    free(again);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void               *state;
    size_t              len;
    const char         *why;
    mesh_err_t          err;
    mesh_state_view_t   view;

    state = mesh_state_text_compile("fuzz", (const char *) data, size, &len,
                                    &err);
    if (state == NULL) {
        return 0;
    }

    why = mesh_state_check(state, len, &view);

    if (why) {
        fprintf(stderr, "%s\n", why);
        abort();
    }

    fuzz_again(&view, state, len);
    free(state);

    return 0;
}
