
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What a pod's nginx reads, made by the code that mesh-agent runs: nginx.conf
 * from the template, and the state from the documents that an agent keeps on
 * disk, with the generation of each document it came from.
 */

#include <mesh_core.h>

#include <mesh_ctl.h>
#include <mesh_docs.h>
#include <mesh_file.h>
#include <mesh_names.h>
#include <mesh_opt.h>
#include <mesh_render.h>
#include <mesh_state_build.h>
#include <mesh_state_make.h>
#include <mesh_state_text.h>


typedef struct {
    const char         *namespace_;
    const char         *pod;
    const char         *service_account;
    const char         *trust_domain;
    const char         *documents;
    const char         *redis;
    const char         *run_dir;
    const char         *conf_dir;
    const char         *modules_dir;
    const char         *mesh_module;
    const char         *unknown;
    int64_t             workers;
    int64_t             worker_connections;
    int                 ipv6;
    mesh_opt_list_t     cluster_networks;
    mesh_opt_list_t     admin_networks;

    char                id[MESH_ID_MAX_BYTES + 1];
} mesh_ctl_render_t;


#define MESH_CTL(field)  offsetof(mesh_ctl_render_t, field)


static const mesh_opt_t  mesh_ctl_render_options[] = {

    { "namespace", "NAME", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CTL(namespace_), NULL, 0, 0,
      "namespace of the pod" },

    { "pod", "NAME", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      MESH_CTL(pod), NULL, 0, 0,
      "name of the pod" },

    { "documents", "DIR", MESH_OPT_STRING, 0,
      MESH_CTL(documents), NULL, 0, 0,
      "documents of an agent; without it nginx.conf alone is printed" },

    { "service-account", "NAME", MESH_OPT_STRING, 0,
      MESH_CTL(service_account), "default", 0, 0,
      "service account of the pod" },

    { "trust-domain", "NAME", MESH_OPT_STRING, 0,
      MESH_CTL(trust_domain), MESH_TRUST_DOMAIN, 0, 0,
      "trust domain of the mesh" },

    { "redis", "ADDRESS:PORT", MESH_OPT_STRING, 0,
      MESH_CTL(redis), NULL, 0, 0,
      "where Redis serves; not given: as with --static" },

    { "run-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CTL(run_dir), MESH_RUN_DIR, 0, 0,
      "the sidecar's own directory" },

    { "conf-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CTL(conf_dir), "/etc/ngx-mesh", 0, 0,
      "where nginx.conf.tmpl is" },

    { "modules-dir", "DIR", MESH_OPT_STRING, 0,
      MESH_CTL(modules_dir), "/usr/lib/nginx/modules", 0, 0,
      "where ngx_stream_module.so is" },

    { "mesh-module", "FILE", MESH_OPT_STRING, 0,
      MESH_CTL(mesh_module), "/usr/lib/nginx/modules/ngx_mesh_module.so",
      0, 0,
      "the module of the mesh" },

    { "workers", "N", MESH_OPT_NUMBER, 0,
      MESH_CTL(workers), "1", 1, 64,
      "worker processes of nginx" },

    { "worker-connections", "N", MESH_OPT_NUMBER, 0,
      MESH_CTL(worker_connections), "4096", 64, 1048576,
      "connections of a worker, two for each that is proxied" },

    { "ipv6", NULL, MESH_OPT_FLAG, 0,
      MESH_CTL(ipv6), "on", 0, 0,
      "the pod's kernel has IPv6" },

    { "cluster-networks", "NET", MESH_OPT_LIST, 0,
      MESH_CTL(cluster_networks), MESH_CLUSTER_NETWORKS, 0, 0,
      "networks of pods and services, may be repeated" },

    { "admin-networks", "NET", MESH_OPT_LIST, 0,
      MESH_CTL(admin_networks), MESH_CLUSTER_NETWORKS, 0, 0,
      "who may ask port 4191, may be repeated" },

    { "unknown-in-cluster", "refuse|pass", MESH_OPT_CHOICE, 0,
      MESH_CTL(unknown), "refuse", 0, 0,
      "what to do with addresses of the cluster that nobody has" },

    MESH_OPT_END
};


static int
mesh_ctl_render_conf(const mesh_ctl_render_t *ctl, mesh_err_t *err)
{
    int                  rc;
    char                *template, *text, path[PATH_MAX];
    size_t               n, len;
    mesh_render_conf_t   conf;

    (void) snprintf(path, sizeof(path), "%s/nginx.conf.tmpl", ctl->conf_dir);

    if (mesh_file_read(path, MESH_RENDER_CONF_MAX, &template, &n, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    memset(&conf, 0, sizeof(mesh_render_conf_t));

    conf.run_dir = ctl->run_dir;
    conf.conf_dir = ctl->conf_dir;
    conf.modules_dir = ctl->modules_dir;
    conf.mesh_module = ctl->mesh_module;
    conf.identity = ctl->id;
    conf.trust_domain = ctl->trust_domain;
    conf.redis = ctl->redis;
    conf.admin_networks = (const char **) ctl->admin_networks.value;
    conf.nadmin_networks = ctl->admin_networks.n;
    conf.workers = (unsigned) ctl->workers;
    conf.worker_connections = (unsigned) ctl->worker_connections;
    conf.ipv6 = ctl->ipv6;

    rc = mesh_render_nginx(&conf, path, template, n, &text, &len, err);

    free(template);

    if (rc == MESH_OK) {
        fwrite(text, 1, len, stdout);
        free(text);
    }

    return rc;
}


static int
mesh_ctl_render_origin_cmp(const void *one, const void *two)
{
    return strcmp(*(const char * const *) one, *(const char * const *) two);
}


/* the documents by name, each with its generation: epoch and counter */

static void
mesh_ctl_render_origins(const mesh_docs_t *docs)
{
    size_t              i, n;
    uint64_t            generation;
    const char         *key, **keys;
    const mesh_held_t  *held;

    keys = calloc(docs->map.n + 1, sizeof(char *));
    if (keys == NULL) {
        return;
    }

    n = 0;

    for (i = 0; mesh_docs_next(docs, &i, &key) != NULL; ) {
        keys[n++] = key;
    }

    qsort(keys, n, sizeof(char *), mesh_ctl_render_origin_cmp);

    for (i = 0; i < n; i++) {
        held = mesh_docs_get(docs, keys[i]);
        generation = held->envelope.generation;

        printf("# %s  generation %" PRIu64 ".%" PRIu64 "%s\n", keys[i],
               mesh_doc_generation_epoch(generation),
               generation & (((uint64_t) 1 << 40) - 1),
               held->envelope.tombstone ? "  deleted" : "");
    }

    free(keys);
}


static int
mesh_ctl_render_state(const mesh_ctl_render_t *ctl, mesh_err_t *err)
{
    void               *state;
    size_t              size;
    mesh_docs_t         docs;
    mesh_records_t     *records;
    mesh_state_view_t   view;
    mesh_state_make_t   make;

    mesh_docs_init(&docs, ctl->documents);

    if (mesh_docs_load(&docs, err) != MESH_OK) {
        mesh_docs_done(&docs);
        return MESH_ERROR;
    }

    memset(&make, 0, sizeof(mesh_state_make_t));

    make.namespace_ = ctl->namespace_;
    make.pod = ctl->pod;
    make.service_account = ctl->service_account;
    make.identity = ctl->id;
    make.trust_domain = ctl->trust_domain;
    make.networks = ctl->cluster_networks.value;
    make.nnetworks = ctl->cluster_networks.n;
    make.complete = mesh_docs_get(&docs, MESH_REDIS_SYNCED) != NULL;
    make.pass_unknown = strcmp(ctl->unknown, "pass") == 0;

    records = mesh_state_make(&docs, &make);

    /* through the snapshot, so that what is printed is what nginx would get */

    state = mesh_state_build(records, &size, NULL, err);
    mesh_records_free(records);

    if (state == NULL) {
        mesh_docs_done(&docs);
        return MESH_ERROR;
    }

    printf("\n# state, made of\n#\n");
    mesh_ctl_render_origins(&docs);
    printf("\n");

    if (mesh_state_check(state, size, &view) == NULL) {
        records = mesh_state_unbuild(&view);
        (void) mesh_state_text_print(stdout, records);
        mesh_records_free(records);
    }

    free(state);
    mesh_docs_done(&docs);

    return MESH_OK;
}


int
mesh_ctl_render(int argc, char **argv)
{
    int                 n, rc;
    mesh_err_t          err;
    mesh_ctl_render_t   ctl;

    memset(&ctl, 0, sizeof(mesh_ctl_render_t));

    rc = mesh_opt_parse(mesh_ctl_render_options, argc, argv, &ctl, NULL, &err);

    if (rc == MESH_DONE) {
        mesh_opt_usage(stdout, mesh_ctl_render_options, "meshctl render");
        return MESH_CTL_OK;
    }

    if (rc != MESH_OK) {
        return mesh_ctl_usage(&err);
    }

    n = snprintf(ctl.id, sizeof(ctl.id), "spiffe://%s/ns/%s/sa/%s",
                 ctl.trust_domain, ctl.namespace_, ctl.service_account);

    if (n < 0 || (size_t) n >= sizeof(ctl.id)) {
        (void) mesh_err(&err, "identity is longer than %d bytes",
                        MESH_ID_MAX_BYTES);
        return mesh_ctl_usage(&err);
    }

    if (mesh_ctl_render_conf(&ctl, &err) != MESH_OK
        || (ctl.documents && mesh_ctl_render_state(&ctl, &err) != MESH_OK))
    {
        return mesh_ctl_trouble(&err);
    }

    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void) mesh_err_sys(&err, errno, "write to stdout failed");
        return mesh_ctl_trouble(&err);
    }

    return MESH_CTL_OK;
}
