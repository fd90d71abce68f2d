
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/agent/mesh_cert.c controller/agent/mesh_agent_conf.c
         controller/model/ controller/base/ ngx_mesh_module/shared/;
         -levent_openssl -levent -ljansson -lssl -lcrypto */

/*
 * When a pair is renewed.  Getting and keeping one is tested by
 * t/agent/identity.t with the real service.
 */

#include <mesh_core.h>
#include <mesh_cert.h>
#include "unit.h"


#define DAY   86400
#define BORN  (1000 - MESH_CERT_SKEW_S)    /* issued at 1000 */


static void
at_70_percent_give_or_take_a_tenth(void)
{
    uint32_t  i;
    uint64_t  wait_ms, least, most;

    least = UINT64_MAX;
    most = 0;

    for (i = 0; i < 10000; i++) {
        wait_ms = mesh_cert_renew_ms(BORN, 1000 + DAY, 1000, i * 429497u);
        least = mesh_min(least, wait_ms);
        most = mesh_max(most, wait_ms);
    }

    /* 63 % and 77 % of a day */

    UNIT_OK(least >= 54432000 && least < 54500000);
    UNIT_OK(most <= 66528000 && most > 66400000);
}


static void
life_that_has_passed_counts(void)
{
    uint64_t  fresh, later;

    fresh = mesh_cert_renew_ms(BORN, 1000 + DAY, 1000, 7);
    later = mesh_cert_renew_ms(BORN, 1000 + DAY, 1000 + 3600, 7);

    UNIT_EQ(fresh - later, 3600 * 1000);

    /* a clock that is behind waits for no more than a whole life */

    UNIT_EQ(mesh_cert_renew_ms(BORN, 1000 + DAY, 900, 7), fresh);
}


static void
what_is_over_is_renewed_now(void)
{
    UNIT_EQ(mesh_cert_renew_ms(BORN, 1100, 1090, 7), 0);
    UNIT_EQ(mesh_cert_renew_ms(BORN, 1100, 1100, 7), 0);
    UNIT_EQ(mesh_cert_renew_ms(BORN, 1100, 5000, 7), 0);
    UNIT_EQ(mesh_cert_renew_ms(BORN, 1000, 999, 7), 0);
    UNIT_EQ(mesh_cert_renew_ms(BORN, 900, 800, 7), 0);
}


/* short lives, as tests have them: the skew is no part of them */

static void
short_lives_are_no_hot_loop(void)
{
    uint32_t  i;
    uint64_t  wait_ms;

    for (i = 0; i < 1000; i++) {
        wait_ms = mesh_cert_renew_ms(BORN, 1005, 1000, i * 4294967u);
        UNIT_OK(wait_ms >= 3150 && wait_ms <= 3850);
    }
}


UNIT_TESTS = {
    UNIT(at_70_percent_give_or_take_a_tenth),
    UNIT(life_that_has_passed_counts),
    UNIT(what_is_over_is_renewed_now),
    UNIT(short_lives_are_no_hot_loop),
    UNIT_END
};
