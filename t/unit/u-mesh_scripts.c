
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/watch/mesh_scripts.c controller/base/; -lcrypto */

/* Names of scripts are what Redis computes; t/watch runs the scripts. */

#include <mesh_core.h>
#include <mesh_scripts.h>

#include "unit.h"


static void
sha1_is_redis_own(void)
{
    char  hex[MESH_SCRIPTS_SHA + 1];

    mesh_scripts_sha1("abc", 3, hex);
    UNIT_STR(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}


static void
each_script_has_a_name_of_its_own(void)
{
    int  i, n;

    for (i = 0; i < MESH_SCRIPTS; i++) {
        UNIT_EQ(strlen(mesh_script_sha(i)), MESH_SCRIPTS_SHA);
        UNIT_OK(mesh_script_text(i)[0] != '\0');

        for (n = 0; n < i; n++) {
            UNIT_OK(strcmp(mesh_script_sha(i), mesh_script_sha(n)) != 0);
        }
    }
}


UNIT_TESTS = {
    UNIT(sha1_is_redis_own),
    UNIT(each_script_has_a_name_of_its_own),
    UNIT_END
};
