
/*
 * Copyright (C) ngx-mesh authors
 */

/* The table of options, and what the options say together. */

#include <mesh_core.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <mesh_agent_conf.h>
#include <mesh_identity.h>
#include <mesh_log.h>
#include <mesh_records.h>


#define MESH_CONF(field)  offsetof(mesh_agent_conf_t, field)


static const mesh_opt_t  mesh_agent_options[] = {

    { "namespace", "NAME", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CONF(namespace_), NULL, 0, 0,
      "namespace of the pod" },

    { "pod", "NAME", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CONF(pod), NULL, 0, 0,
      "name of the pod" },

    { "service-account", "NAME", MESH_OPT_STRING, 0,
      MESH_CONF(service_account), "default", 0, 0,
      "service account of the pod, its identity" },

    { "trust-domain", "NAME", MESH_OPT_STRING, 0,
      MESH_CONF(trust_domain), MESH_TRUST_DOMAIN, 0, 0,
      "trust domain of the mesh" },

    { "identity", "HOST:PORT", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CONF(identity), NULL, 0, 0,
      "where meshd identity serves" },

    { "trust", "FILE", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CONF(trust), NULL, 0, 0,
      "trust bundle to begin with, PEM" },

    { "token", "FILE", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CONF(token), NULL, 0, 0,
      "token of the service account, read at each request" },

    { "redis", "ADDRESS:PORT", MESH_OPT_STRING, 0,
      MESH_CONF(redis), NULL, 0, 0,
      "where Redis serves; required without --static" },

    { "redis-user", "NAME", MESH_OPT_STRING, 0,
      MESH_CONF(redis_user), NULL, 0, 0,
      "user of Redis" },

    { "redis-password-file", "FILE", MESH_OPT_STRING, 0,
      MESH_CONF(redis_password_file), NULL, 0, 0,
      "password of that user, read at each connect" },

    { "static", "FILE", MESH_OPT_STRING, 0,
      MESH_CONF(static_), NULL, 0, 0,
      "state text to use instead of Redis" },

    { "run-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CONF(run_dir), MESH_RUN_DIR, 0, 0,
      "the sidecar's own directory, kept through its restarts" },

    { "conf-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CONF(conf_dir), "/etc/ngx-mesh", 0, 0,
      "where nginx.conf.tmpl and transparent.conf are" },

    { "nginx", "FILE", MESH_OPT_STRING, 0,
      MESH_CONF(nginx), "/usr/sbin/nginx", 0, 0,
      "nginx" },

    { "modules-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CONF(modules_dir), "/usr/lib/nginx/modules", 0, 0,
      "where ngx_stream_module.so is" },

    { "mesh-module", "FILE", MESH_OPT_STRING, 0,
      MESH_CONF(mesh_module),
      "/usr/lib/nginx/modules/ngx_mesh_module.so", 0, 0,
      "the module of the mesh" },

    { "workers", "N", MESH_OPT_NUMBER, 0,
      MESH_CONF(workers), "1", 1, 64,
      "worker processes of nginx" },

    { "worker-connections", "N", MESH_OPT_NUMBER, 0,
      MESH_CONF(worker_connections), "4096", 64, 1048576,
      "connections of a worker, two for each that is proxied" },

    { "drain", "SECONDS", MESH_OPT_NUMBER, 0,
      MESH_CONF(drain_s), "5", 0, 3600,
      "how long to go on as before after SIGTERM" },

    { "cluster-networks", "NET", MESH_OPT_LIST, 0,
      MESH_CONF(cluster_networks), MESH_CLUSTER_NETWORKS, 0, 0,
      "networks of pods and services, may be repeated" },

    { "admin-networks", "NET", MESH_OPT_LIST, 0,
      MESH_CONF(admin_networks), MESH_CLUSTER_NETWORKS, 0, 0,
      "who may ask port 4191, may be repeated" },

    { "unknown-in-cluster", "refuse|pass", MESH_OPT_CHOICE, 0,
      MESH_CONF(unknown), "refuse", 0, 0,
      "what to do with addresses of the cluster that nobody has" },

    { "log-level", MESH_LOG_LEVELS, MESH_OPT_CHOICE, 0,
      MESH_CONF(log_level), "notice", 0, 0,
      "least level that is logged" },

    MESH_OPT_END
};


static int mesh_agent_conf_check(mesh_agent_conf_t *conf, mesh_err_t *err);


int
mesh_agent_conf_parse(mesh_agent_conf_t *conf, int argc, char **argv,
    mesh_err_t *err)
{
    int  rc;

    memset(conf, 0, sizeof(mesh_agent_conf_t));

    rc = mesh_opt_parse(mesh_agent_options, argc, argv, conf, NULL, err);

    if (rc == MESH_DONE) {
        mesh_agent_conf_usage(stdout);
        return MESH_DONE;
    }

    return rc == MESH_OK ? mesh_agent_conf_check(conf, err) : MESH_ERROR;
}


void
mesh_agent_conf_usage(FILE *out)
{
    mesh_opt_usage(out, mesh_agent_options, "mesh-agent init|run");
}


static int
mesh_agent_conf_networks(const mesh_opt_list_t *list, const char *name,
    mesh_err_t *err)
{
    size_t   i;
    uint8_t  ip[16], bits;

    for (i = 0; i < list->n; i++) {

        if (mesh_network_parse(list->value[i], strlen(list->value[i]), ip,
                               &bits)
            != 0)
        {
            return mesh_err(err, "--%s=%.64s: expected a network without host "
                            "bits, as in \"10.0.0.0/8\"", name,
                            list->value[i]);
        }
    }

    return MESH_OK;
}


static int
mesh_agent_conf_check(mesh_agent_conf_t *conf, mesh_err_t *err)
{
    int               n;
    uint8_t           ip[16];
    uint16_t          port;
    const char       *wrong;
    mesh_identity_t   id;

    if (conf->static_) {
        conf->redis = NULL;

    } else if (conf->redis == NULL) {
        return mesh_err(err, "expected --redis=ADDRESS:PORT or --static=FILE");
    }

    if (conf->redis
        && mesh_address_parse(conf->redis, strlen(conf->redis), ip, &port))
    {
        return mesh_err(err, "--redis=%.64s: expected ADDRESS:PORT, as in "
                        "\"10.96.0.5:6379\"", conf->redis);
    }

    /* the longest name of a socket must fit into an address */

    if (conf->run_dir[0] != '/'
        || strlen(conf->run_dir) + sizeof("/" MESH_RUN_REDIS_SOCK)
           > sizeof(((struct sockaddr_un *) NULL)->sun_path))
    {
        return mesh_err(err, "--run-dir=%.64s: expected an absolute path of "
                        "at most 90 bytes", conf->run_dir);
    }

    if (conf->conf_dir[0] != '/') {
        return mesh_err(err, "--conf-dir=%.64s: expected an absolute path",
                        conf->conf_dir);
    }

    n = snprintf(conf->id, sizeof(conf->id), "spiffe://%s/ns/%s/sa/%s",
                 conf->trust_domain, conf->namespace_, conf->service_account);

    if (n < 0 || (size_t) n >= sizeof(conf->id)) {
        return mesh_err(err, "identity is longer than %d bytes",
                        MESH_ID_MAX_BYTES);
    }

    wrong = mesh_identity_parse(conf->id, strlen(conf->id), &id);

    if (wrong == NULL
        && (id.namespace_len != strlen(conf->namespace_)
            || id.service_account_len != strlen(conf->service_account)))
    {
        wrong = "a part of it is no name";
    }

    if (wrong) {
        return mesh_err(err, "identity \"%.128s\" of --trust-domain, "
                        "--namespace and --service-account: %s", conf->id,
                        wrong);
    }

    if (mesh_agent_conf_networks(&conf->cluster_networks, "cluster-networks",
                                 err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    return mesh_agent_conf_networks(&conf->admin_networks, "admin-networks",
                                    err);
}


int
mesh_agent_path(const mesh_agent_conf_t *conf, const char *name, char *buf,
    size_t size, mesh_err_t *err)
{
    int  n;

    n = snprintf(buf, size, "%s/%s", conf->run_dir, name);

    if (n < 0 || (size_t) n >= size) {
        return mesh_err(err, "path \"%.64s/%.64s\" is too long",
                        conf->run_dir, name);
    }

    return MESH_OK;
}
