
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/agent/mesh_agent_conf.c controller/model/ controller/base/
         ngx_mesh_module/shared/; -ljansson */

/* What options say together. */

#include <mesh_core.h>
#include <mesh_agent_conf.h>
#include "unit.h"


static mesh_err_t          err;
static mesh_agent_conf_t   conf;


static int
parse(const char *more)
{
    int    argc;
    char  *argv[16], *word, *save, text[1024];

    (void) snprintf(text, sizeof(text), "init --namespace=shop --pod=web-1 "
                    "--identity=i:1 --trust=/t --token=/k %s", more);
    argc = 0;

    for (word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
    {
        argv[argc++] = word;
    }

    argv[argc] = NULL;

    return mesh_agent_conf_parse(&conf, argc, argv, &err);
}


static void
defaults_are_the_design_s(void)
{
    UNIT_EQ(parse("--redis=10.96.0.5:6379 --service-account=web"), MESH_OK);
    UNIT_STR(conf.id, "spiffe://cluster.local/ns/shop/sa/web");
    UNIT_STR(conf.run_dir, "/run/mesh");
    UNIT_STR(conf.unknown, "refuse");
    UNIT_EQ(conf.workers, 1);
    UNIT_EQ(conf.cluster_networks.n, 5);
    UNIT_EQ(conf.admin_networks.n, 5);
}


static void
static_needs_no_redis(void)
{
    UNIT_EQ(parse("--static=/s"), MESH_OK);
    UNIT_OK(conf.redis == NULL);
    UNIT_EQ(parse("--static=/s --redis=10.0.0.1:1"), MESH_OK);
    UNIT_OK(conf.redis == NULL);
    UNIT_EQ(parse(""), MESH_ERROR);
    UNIT_HAS(err.text, "--redis=ADDRESS:PORT or --static=FILE");
}


static void
mistakes_name_the_option(void)
{
    size_t  i;

    static const struct {
        const char  *options;
        const char  *error;
    } cases[] = {
        { "--redis=redis:6379",                 "--redis=redis:6379" },
        { "--static=/s --run-dir=run",          "--run-dir=run" },
        { "--static=/s --conf-dir=conf",        "--conf-dir=conf" },
        { "--static=/s --namespace=a/b",        "identity" },
        { "--static=/s --trust-domain=A_B!",    "identity" },
        { "--static=/s --workers=0",            "workers" },
        { "--static=/s --drain=-1",             "drain" },
        { "--static=/s --unknown-in-cluster=x", "unknown-in-cluster" },
        { "--static=/s --log-level=loud",       "log-level" },
        { "--static=/s --cluster-networks=10.0.0.1/8",
          "--cluster-networks=10.0.0.1/8" },
        { "--static=/s --admin-networks=all",   "--admin-networks=all" },
        { "--static=/s --color=red",            "color" },
        { "--static=/s more",                   "more" }
    };

    for (i = 0; i < mesh_nelts(cases); i++) {
        err.text[0] = '\0';
        UNIT_EQ(parse(cases[i].options), MESH_ERROR);
        UNIT_HAS(err.text, cases[i].error);
    }
}


static void
paths_have_a_limit(void)
{
    char  buf[16];

    UNIT_EQ(parse("--static=/s"), MESH_OK);
    UNIT_EQ(mesh_agent_path(&conf, "state", buf, sizeof(buf), &err), MESH_OK);
    UNIT_STR(buf, "/run/mesh/state");
    UNIT_EQ(mesh_agent_path(&conf, "states", buf, sizeof(buf), &err),
            MESH_ERROR);

    UNIT_EQ(parse("--static=/s --run-dir=/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                  "xxxxxxxxxxxxxxxxx"), MESH_ERROR);
    UNIT_HAS(err.text, "--run-dir");
}


UNIT_TESTS = {
    UNIT(defaults_are_the_design_s),
    UNIT(static_needs_no_redis),
    UNIT(mistakes_name_the_option),
    UNIT(paths_have_a_limit),
    UNIT_END
};
