
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Writing the snapshot.  It is checked by the function that nginx uses, and
 * compared with the file but for generation and checksum, so that what
 * changes nothing wakes no worker.  The first one of a process is written
 * anyway: workers answer by a datagram, which tells the agent of them.
 */

#include <mesh_core.h>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <mesh_addr.h>
#include <mesh_file.h>
#include <mesh_state_build.h>
#include <mesh_state_file.h>
#include <mesh_state_make.h>
#include <mesh_state_text.h>


#define MESH_STATE_FILE_ADDRESSES  16
#define MESH_STATE_FILE_TEXT_MAX   (64 * 1024 * 1024)


typedef struct {
    char         text[MESH_STATE_FILE_ADDRESSES][MESH_ADDRESS_TEXT];
    const char  *list[MESH_STATE_FILE_ADDRESSES];
    size_t       n;
    int          ipv6;
} mesh_state_local_t;


static int mesh_state_file_same(mesh_state_file_t *file,
    const mesh_state_head_t *head, size_t size);


int
mesh_state_file_init(mesh_state_file_t *file, const mesh_agent_conf_t *conf,
    mesh_err_t *err)
{
    int                 rc;
    char               *data;
    size_t              size;
    mesh_err_t          e;
    mesh_state_view_t   view;

    memset(file, 0, sizeof(mesh_state_file_t));

    file->conf = conf;

    if (mesh_agent_path(conf, MESH_RUN_STATE, file->path, sizeof(file->path),
                        err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    /* a file that cannot be used counts as none: a new one will replace it */

    rc = mesh_file_read(file->path, MESH_STATE_MAX_BYTES, &data, &size, &e);

    if (rc == MESH_OK) {

        if (mesh_state_check(data, size, &view) == NULL) {
            file->generation = view.head->generation;
        }

        free(data);
    }

    return MESH_OK;
}


/* the pod's own addresses: what other pods can reach */

static void
mesh_state_file_local(mesh_state_local_t *local)
{
    uint8_t           ip[16];
    mesh_addr_t      *sa;
    struct ifaddrs   *list, *ifa;

    memset(local, 0, sizeof(mesh_state_local_t));

    if (getifaddrs(&list) == -1) {
        return;
    }

    for (ifa = list; ifa; ifa = ifa->ifa_next) {

        if (ifa->ifa_addr == NULL || (ifa->ifa_flags & IFF_LOOPBACK)
            || local->n == MESH_STATE_FILE_ADDRESSES)
        {
            continue;
        }

        sa = (mesh_addr_t *) ifa->ifa_addr;

        memset(ip, 0, sizeof(ip));

        if (ifa->ifa_addr->sa_family == AF_INET) {
            ip[10] = 0xff;
            ip[11] = 0xff;
            memcpy(&ip[12], &sa->sin.sin_addr, 4);

        } else if (ifa->ifa_addr->sa_family == AF_INET6
                   && !IN6_IS_ADDR_LINKLOCAL(&sa->sin6.sin6_addr))
        {
            memcpy(ip, &sa->sin6.sin6_addr, 16);
            local->ipv6 = 1;

        } else {
            continue;
        }

        local->list[local->n] = mesh_ip_print(ip, local->text[local->n]);
        local->n++;
    }

    freeifaddrs(list);
}


static mesh_records_t *
mesh_state_file_documents(mesh_state_file_t *file,
    const mesh_subscribe_t *subscribe, const mesh_state_local_t *local)
{
    mesh_nobody_t            *nobody;
    mesh_records_t           *records;
    mesh_state_make_t         make;
    const mesh_agent_conf_t  *conf;

    conf = file->conf;

    memset(&make, 0, sizeof(mesh_state_make_t));

    make.namespace_ = conf->namespace_;
    make.pod = conf->pod;
    make.service_account = conf->service_account;
    make.identity = conf->id;
    make.trust_domain = conf->trust_domain;
    make.networks = conf->cluster_networks.value;
    make.nnetworks = conf->cluster_networks.n;
    make.addresses = local->list;
    make.naddresses = local->n;
    make.nnobody = mesh_subscribe_nobody(subscribe, &nobody);
    make.nobody = nobody;
    make.complete = mesh_subscribe_complete(subscribe);
    make.pass_unknown = strcmp(conf->unknown, "pass") == 0;

    records = mesh_state_make(mesh_subscribe_docs(subscribe), &make);

    free(nobody);

    return records;
}


static void
mesh_state_file_networks(mesh_records_t *r, const mesh_agent_conf_t *conf)
{
    size_t       i;
    uint8_t      ip[16], bits;
    const char  *text;

    for (i = 0; i < conf->cluster_networks.n; i++) {
        text = conf->cluster_networks.value[i];

        if (mesh_network_parse(text, strlen(text), ip, &bits) == 0) {
            mesh_records_network(r, ip, bits);
        }
    }
}


/* the text of --static; what it does not say is what the options say */

static mesh_records_t *
mesh_state_file_static(mesh_state_file_t *file,
    const mesh_state_local_t *local, mesh_err_t *err)
{
    char                     *text;
    size_t                    i, len;
    uint8_t                   ip[16];
    mesh_records_t           *r;
    mesh_workload_t          *self;
    const mesh_agent_conf_t  *conf;

    conf = file->conf;

    if (mesh_file_read(conf->static_, MESH_STATE_FILE_TEXT_MAX, &text, &len,
                       err)
        != MESH_OK)
    {
        return NULL;
    }

    r = mesh_state_text_parse(conf->static_, text, len, err);
    free(text);

    if (r == NULL) {
        return NULL;
    }

    if (r->trust_domain == NULL) {
        r->trust_domain = mesh_records_text(r, conf->trust_domain,
                                            strlen(conf->trust_domain));
    }

    if (r->networks == NULL) {
        mesh_state_file_networks(r, conf);
    }

    if (r->self_pod) {
        return r;
    }

    r->self_namespace = mesh_records_text(r, conf->namespace_,
                                          strlen(conf->namespace_));
    r->self_pod = mesh_records_text(r, conf->pod, strlen(conf->pod));

    for (self = r->workloads; self; self = self->next) {

        if (strcmp(self->namespace_, r->self_namespace) == 0
            && strcmp(self->pod, r->self_pod) == 0)
        {
            return r;
        }
    }

    self = mesh_records_workload(r);

    self->namespace_ = r->self_namespace;
    self->pod = r->self_pod;
    self->identity = mesh_records_text(r, conf->id, strlen(conf->id));
    self->service_account = mesh_records_text(r, conf->service_account,
                                              strlen(conf->service_account));
    self->meshed = 1;

    for (i = 0; i < local->n; i++) {

        if (mesh_ip_parse(local->list[i], strlen(local->list[i]), ip) == 0) {
            mesh_records_address(r, &self->addresses, ip, 0);
        }
    }

    return r;
}


int
mesh_state_file_write(mesh_state_file_t *file,
    const mesh_subscribe_t *subscribe, mesh_err_t *err)
{
    int                  rc;
    void                *state;
    size_t               size;
    unsigned             line;
    const char          *wrong;
    mesh_records_t      *records;
    mesh_state_head_t   *head;
    mesh_state_view_t    view;
    mesh_state_local_t   local;

    mesh_state_file_local(&local);

    file->ipv6 = local.ipv6;

    records = subscribe ? mesh_state_file_documents(file, subscribe, &local)
                        : mesh_state_file_static(file, &local, err);

    if (records == NULL) {
        return MESH_ERROR;
    }

    records->generation = file->generation + 1;

    state = mesh_state_build(records, &size, &line, err);

    mesh_records_free(records);

    if (state == NULL) {
        return file->conf->static_
               ? mesh_err_prefix(err, "%.128s:%u", file->conf->static_, line)
               : MESH_ERROR;
    }

    head = state;
    wrong = mesh_state_check(state, size, &view);

    if (wrong) {
        rc = mesh_err(err, "state would be refused: %s", wrong);

    } else if (file->first && mesh_state_file_same(file, head, size)) {
        rc = MESH_DECLINED;

    } else {
        rc = mesh_file_write(file->path, state, size, 0600, err);
    }

    if (rc == MESH_OK) {
        file->generation = head->generation;

        if (file->first == 0) {
            file->first = head->generation;
        }
    }

    free(state);

    return rc;
}


/* 1: the file on disk says the same, but for its generation and checksum */

static int
mesh_state_file_same(mesh_state_file_t *file, const mesh_state_head_t *head,
    size_t size)
{
    int                 same;
    char               *data;
    size_t              n;
    mesh_err_t          err;
    mesh_state_head_t  *old;

    if (mesh_file_read(file->path, MESH_STATE_MAX_BYTES, &data, &n, &err)
        != MESH_OK)
    {
        return 0;
    }

    same = 0;

    if (n == size) {
        old = (mesh_state_head_t *) data;

        same = (old->generation == file->generation);

        old->generation = head->generation;
        old->crc = head->crc;

        same = same && memcmp(data, head, size) == 0;
    }

    free(data);

    return same;
}
