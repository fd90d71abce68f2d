
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * meshd: the control plane's program.  One role per process, so that the CA
 * key, the watch's token and Redis's password are never in one memory.
 */

#include <mesh_core.h>
#include <mesh_log.h>

#include <mesh_identity_role.h>
#include <mesh_watch_role.h>


typedef struct {
    const char  *name;
    int        (*run)(int argc, char **argv);
    const char  *help;
} meshd_role_t;


static void meshd_usage(FILE *out);


static const meshd_role_t  meshd_roles[] = {

    { "identity", mesh_identity_role,
      "the CA: a token and a request in, a certificate out" },

    { "watch", mesh_watch_role,
      "reads what a cluster is, writes what sidecars need to Redis" }
};


int
main(int argc, char **argv)
{
    size_t  i;

    mesh_log_init("meshd", MESH_LOG_NOTICE);

    if (argc < 2) {
        meshd_usage(stderr);
        return 2;
    }

    for (i = 0; i < mesh_nelts(meshd_roles); i++) {

        if (strcmp(argv[1], meshd_roles[i].name) == 0) {
            return meshd_roles[i].run(argc - 1, argv + 1);
        }
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        meshd_usage(stdout);
        return 0;
    }

    mesh_log(MESH_LOG_EMERG, 0, "unknown role \"%s\", expected one of those "
             "that \"meshd --help\" names", argv[1]);

    return 2;
}


static void
meshd_usage(FILE *out)
{
    size_t  i;

    fprintf(out, "usage: meshd ROLE OPTIONS\n\n");

    for (i = 0; i < mesh_nelts(meshd_roles); i++) {
        fprintf(out, "  %-10s %s\n", meshd_roles[i].name,
                meshd_roles[i].help);
    }

    fprintf(out, "\n\"meshd ROLE --help\" prints the options of a role.\n");
}
