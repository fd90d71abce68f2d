
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/agent/ controller/render/ controller/model/
         controller/base/ ngx_mesh_module/shared/; -levent_openssl -levent
         -lhiredis -ljansson -lssl -lcrypto */

/* Back-off of restarts; processes are t/agent/init.t's. */

#include <mesh_core.h>
#include <mesh_init.h>
#include "unit.h"


static void
deaths_in_a_row_wait_longer(void)
{
    size_t   i;
    int64_t  backoff;

    static const int64_t  want[] = {
        0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000
    };

    backoff = 0;

    for (i = 0; i < mesh_nelts(want); i++) {
        UNIT_EQ(mesh_init_backoff(&backoff, 50), want[i]);
    }
}


static void
ten_good_seconds_forget(void)
{
    int64_t  backoff;

    backoff = 5000;
    UNIT_EQ(mesh_init_backoff(&backoff, 9999), 5000);
    UNIT_EQ(mesh_init_backoff(&backoff, 10000), 0);
    UNIT_EQ(mesh_init_backoff(&backoff, 1), 100);
}


UNIT_TESTS = {
    UNIT(deaths_in_a_row_wait_longer),
    UNIT(ten_good_seconds_forget),
    UNIT_END
};
