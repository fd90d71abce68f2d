
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/shared/mesh_state.c */

/*
 * A state file of any bytes: once as it is, once with a checksum that fits,
 * so that the checks behind the checksum are reached.  What they let through
 * is walked to the last string, with lookups for every address.
 */

#include <stdlib.h>
#include <string.h>

#include <mesh_state.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static size_t  fuzz_sum;                   /* keeps reads from being dropped */


static void
fuzz_text(const mesh_state_view_t *view, const mesh_state_str_t *s)
{
    if (strlen(mesh_state_text(view, s)) > s->len) {
        abort();
    }

    fuzz_sum += s->len;
}


static void
fuzz_walk(const mesh_state_view_t *view)
{
    uint32_t                      i, k;
    const mesh_state_addr_t      *addr;
    const mesh_state_service_t   *svc;
    const mesh_state_workload_t  *wl;
    const mesh_state_endpoint_t  *ep;

    for (i = 0; i < view->head->addrs.count; i++) {
        addr = &view->addrs[i];

        fuzz_sum += mesh_state_in_cluster(view, addr->ip);

        if (mesh_state_find(view, addr->ip, addr->port) == NULL
            && addr->kind != MESH_ADDR_EMPTY)
        {
            abort();
        }

        (void) mesh_state_find(view, addr->ip, (uint16_t) (addr->port + 1));
    }

    for (i = 0; i < view->head->services.count; i++) {
        svc = &view->services[i];

        fuzz_text(view, &svc->namespace_);
        fuzz_text(view, &svc->name);

        for (k = 0; k < svc->nendpoints; k++) {
            ep = &view->endpoints[svc->endpoint + k];
            fuzz_text(view, &ep->identity);

            if (ep->workload != MESH_STATE_NONE) {
                fuzz_text(view, &view->workloads[ep->workload].pod);
            }
        }
    }

    for (i = 0; i < view->head->workloads.count; i++) {
        wl = &view->workloads[i];

        fuzz_text(view, &wl->namespace_);
        fuzz_text(view, &wl->service_account);
        fuzz_text(view, &wl->identity);
        fuzz_text(view, &wl->owner_kind);
        fuzz_text(view, &wl->owner);
        fuzz_text(view, &wl->node);
        fuzz_text(view, &wl->zone);

        fuzz_sum += mesh_state_port_protocol(view, i, 8080);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                *copy;
    mesh_state_head_t   *head;
    mesh_state_view_t    view;

    /* exactly size bytes of the heap: ASan sees the first byte behind them */

    copy = malloc(size ? size : 1);
    if (copy == NULL) {
        return 0;
    }

    memcpy(copy, data, size);

    if (mesh_state_check(copy, size, &view) == NULL) {
        fuzz_walk(&view);
    }

    if (size >= sizeof(mesh_state_head_t)) {
        head = (mesh_state_head_t *) copy;
        head->crc = 0;
        head->crc = mesh_crc32c(0, copy, size);

        if (mesh_state_check(copy, size, &view) == NULL) {
            fuzz_walk(&view);
        }
    }

    free(copy);

    return 0;
}
