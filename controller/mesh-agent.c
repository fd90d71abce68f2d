
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * mesh-agent init|run: one program, two processes of a sidecar.  Exit code 2
 * is wrong usage.
 */

#include <mesh_core.h>

#include <mesh_agent_conf.h>
#include <mesh_agent_role.h>
#include <mesh_init.h>


int
main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "init") == 0) {
        return mesh_init_main(argc, argv);
    }

    if (argc >= 2 && strcmp(argv[1], "run") == 0) {
        return mesh_agent_role(argc - 1, argv + 1);
    }

    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        mesh_agent_conf_usage(stdout);
        return 0;
    }

    fprintf(stderr, "usage: mesh-agent init|run OPTIONS, see mesh-agent "
            "--help\n");

    return 2;
}
