
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/ controller/base/ ngx_mesh_module/shared/ */

/*
 * Snapshots, read by the functions that nginx reads them with.  The records
 * of a test come from a random number generator of its own, so that many
 * shapes are built, always the same ones.
 */

#include <mesh_core.h>
#include <mesh_state_build.h>
#include "unit.h"


static uint32_t  seed;


static uint32_t
rnd(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


static void
v4(uint8_t ip[16], uint32_t n)
{
    memset(ip, 0, 10);
    ip[10] = 0xff;
    ip[11] = 0xff;
    ip[12] = 10;
    ip[13] = n >> 16;
    ip[14] = n >> 8;
    ip[15] = n;
}


static char *
text(mesh_records_t *r, const char *fmt, unsigned n)
{
    char  buf[128];

    (void) snprintf(buf, sizeof(buf), fmt, n);

    return mesh_records_text(r, buf, strlen(buf));
}


static mesh_workload_t *
workload(mesh_records_t *r, unsigned n, int meshed)
{
    uint8_t           ip[16];
    mesh_workload_t  *wl;

    wl = mesh_records_workload(r);
    wl->namespace_ = text(r, "ns-%u", n % 7);
    wl->pod = text(r, "pod-%u", n);
    wl->meshed = meshed;

    if (meshed) {
        wl->identity = text(r, "spiffe://td/ns/x/sa/%u", n % 5);
    }

    v4(ip, n);
    mesh_records_address(r, &wl->addresses, ip, 0);

    return wl;
}


static mesh_service_t *
service(mesh_records_t *r, unsigned n, unsigned nendpoints, unsigned npods)
{
    unsigned          i;
    uint8_t           ip[16];
    mesh_service_t   *s;
    mesh_endpoint_t  *e;

    s = mesh_records_service(r);
    s->namespace_ = text(r, "ns-%u", n % 3);
    s->name = text(r, "svc-%u", n);
    s->port = 80;
    s->protocol = n % (MESH_PROTO_MAX + 1);

    v4(ip, 0x800000 + n);
    mesh_records_address(r, &s->addresses, ip, 80);

    for (i = 0; i < nendpoints; i++) {
        e = mesh_records_endpoint(r, s);
        v4(e->ip, i);
        e->port = 8080;

        if (npods && i % 3) {
            e->namespace_ = text(r, "ns-%u", (i % npods) % 7);
            e->pod = text(r, "pod-%u", i % npods);
        }
    }

    return s;
}


static void
nothing_makes_a_snapshot(void)
{
    void                *state;
    size_t               size;
    mesh_err_t           err;
    mesh_records_t      *r;
    mesh_state_view_t    view;

    r = mesh_records_new();
    state = mesh_state_build(r, &size, NULL, &err);

    UNIT_NEED(state != NULL);
    UNIT_STR(mesh_state_check(state, size, &view), NULL);
    UNIT_EQ(view.head->self, MESH_STATE_NONE);
    UNIT_EQ(view.head->flags, 0);

    free(state);
    mesh_records_free(r);
}


/* all that was put in is found, in the way that nginx looks for it */

static void
everything_is_found(void)
{
    void                         *state;
    size_t                        size;
    uint8_t                       ip[16];
    unsigned                      n, round;
    mesh_err_t                    err;
    mesh_records_t               *r;
    mesh_state_view_t             view;
    const mesh_state_addr_t      *a;
    const mesh_state_service_t   *s;
    const mesh_state_endpoint_t  *e;

    for (round = 0; round < 12; round++) {
        seed = round;
        r = mesh_records_new();
        r->generation = round;

        for (n = 0; n < 1u << round; n++) {
            workload(r, n, n % 2);
            service(r, n, rnd(4), 1u << round);
        }

        r->self_namespace = "ns-0";
        r->self_pod = "pod-0";

        state = mesh_state_build(r, &size, NULL, &err);
        UNIT_NEED(state != NULL);
        UNIT_STR(mesh_state_check(state, size, &view), NULL);

        UNIT_EQ(view.head->addrs.count & (view.head->addrs.count - 1), 0);
        UNIT_OK(view.head->addrs.count >= 2 * 2 * (1u << round));
        UNIT_STR(mesh_state_text(&view,
                                 &view.workloads[view.head->self].pod),
                 "pod-0");

        for (n = 0; n < 1u << round; n++) {
            v4(ip, n);
            a = mesh_state_find(&view, ip, 1234);
            UNIT_NEED(a && a->kind == MESH_ADDR_WORKLOAD);
            UNIT_STR(mesh_state_text(&view, &view.workloads[a->index].pod),
                     text(r, "pod-%u", n));

            v4(ip, 0x800000 + n);
            a = mesh_state_find(&view, ip, 80);
            UNIT_NEED(a && a->kind == MESH_ADDR_SERVICE);
            s = &view.services[a->index];
            UNIT_STR(mesh_state_text(&view, &s->name),
                     text(r, "svc-%u", n));

            if (s->nendpoints > 1) {
                e = &view.endpoints[s->endpoint + 1];
                UNIT_EQ(e->flags, view.workloads[e->workload].flags);
                UNIT_EQ(e->identity.len,
                        view.workloads[e->workload].identity.len);
            }

            UNIT_OK(mesh_state_find(&view, ip, 81) == NULL);
        }

        free(state);
        mesh_records_free(r);
    }
}


static void
order_does_not_matter(void)
{
    void            *one, *two;
    size_t           size_one, size_two;
    unsigned         i;
    mesh_err_t       err;
    mesh_records_t  *r;

    r = mesh_records_new();

    for (i = 0; i < 40; i++) {
        workload(r, i, 1);
        service(r, i, 9, 40);
    }

    one = mesh_state_build(r, &size_one, NULL, &err);
    mesh_records_free(r);

    r = mesh_records_new();

    for (i = 40; i-- > 0; ) {
        service(r, i, 9, 40);
        workload(r, i, 1);
    }

    two = mesh_state_build(r, &size_two, NULL, &err);
    mesh_records_free(r);

    UNIT_NEED(one && two && size_one == size_two);
    UNIT_EQ(memcmp(one, two, size_one), 0);

    free(one);
    free(two);
}


static void
strings_are_there_once(void)
{
    void            *state;
    size_t           size, n;
    unsigned         i;
    const char      *p;
    mesh_err_t       err;
    mesh_records_t  *r;

    r = mesh_records_new();

    for (i = 0; i < 200; i++) {
        workload(r, i, 1);
    }

    state = mesh_state_build(r, &size, NULL, &err);
    UNIT_NEED(state != NULL);

    n = 0;

    for (p = state; (p = memmem(p, size - (p - (char *) state), "sa/3", 5));
         p++)
    {
        n++;
    }

    UNIT_EQ(n, 1);

    free(state);
    mesh_records_free(r);
}


/* what does not fit together is refused with the line that it is on */

static void
refuse(mesh_records_t *r, unsigned want, const char *sentence)
{
    void        *state;
    size_t       size;
    unsigned     line;
    mesh_err_t   err;

    line = 0;
    err.text[0] = '\0';

    state = mesh_state_build(r, &size, &line, &err);

    UNIT_OK(state == NULL);
    UNIT_EQ(line, want);
    UNIT_HAS(err.text, sentence);

    free(state);
    mesh_records_free(r);
}


static void
what_does_not_fit_is_refused(void)
{
    uint8_t           ip[16];
    mesh_records_t   *r;
    mesh_service_t   *s;
    mesh_workload_t  *wl;

    r = mesh_records_new();
    workload(r, 1, 1);
    workload(r, 1, 0)->line = 7;
    r->workloads->next->line = 7;
    refuse(r, 7, "workload \"ns-1/pod-1\" is there twice");

    r = mesh_records_new();
    service(r, 1, 0, 0)->line = 8;
    service(r, 1, 0, 0)->line = 8;
    refuse(r, 8, "service \"ns-1/svc-1:80\" is there twice");

    r = mesh_records_new();
    service(r, 1, 0, 0);
    s = service(r, 2, 0, 0);
    memcpy(ip, s->next->addresses->ip, 16);
    mesh_records_address(r, &s->addresses, ip, 80)->line = 9;
    s->next->addresses->line = 9;
    refuse(r, 9, "address \"10.128.0.1:80\" is there twice");

    r = mesh_records_new();
    wl = workload(r, 1, 0);
    mesh_records_address(r, &r->nobody, wl->addresses->ip, 0)->line = 3;
    wl->addresses->line = 3;
    refuse(r, 3, "address \"10.0.0.1\" is there twice");

    r = mesh_records_new();
    wl = workload(r, 1, 1);
    wl->identity = NULL;
    wl->line = 5;
    refuse(r, 5, "is meshed and has no identity");

    r = mesh_records_new();
    wl = workload(r, 1, 0);
    mesh_records_port(r, wl, 80, 0)->line = 6;
    mesh_records_port(r, wl, 80, 1)->line = 6;
    refuse(r, 6, "port 80 of workload \"ns-1/pod-1\" is there twice");

    r = mesh_records_new();
    s = service(r, 1, 2, 5);
    s->endpoints->line = 4;
    s->endpoints->next->line = 4;
    refuse(r, 4, "endpoint of unknown workload \"ns-1/pod-1\"");

    r = mesh_records_new();
    s = service(r, 1, 2, 0);
    v4(s->endpoints->ip, 0);
    s->endpoints->line = 2;
    s->endpoints->next->line = 2;
    refuse(r, 2, "endpoint \"10.0.0.0:8080\" is there twice");

    r = mesh_records_new();
    r->self_namespace = "a";
    r->self_pod = "b";
    r->self_line = 1;
    refuse(r, 1, "own workload \"a/b\" is unknown");
}


static void
too_much_is_refused(void)
{
    unsigned         i;
    mesh_records_t  *r;

    r = mesh_records_new();

    for (i = 0; i < 300000; i++) {
        workload(r, i, 1)->node = mesh_records_alloc(r, 200);
        memset(r->workloads->node, 'x', 199);
    }

    refuse(r, 0, "bytes, at most 67108864 are allowed");
}


UNIT_TESTS = {
    UNIT(nothing_makes_a_snapshot),
    UNIT(everything_is_found),
    UNIT(order_does_not_matter),
    UNIT(strings_are_there_once),
    UNIT(what_does_not_fit_is_refused),
    UNIT(too_much_is_refused),
    UNIT_END
};
