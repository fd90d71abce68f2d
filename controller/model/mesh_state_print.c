
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Records as state text, in the order of their lists; what is printed is
 * read by mesh_state_text_parse() as the same records.
 */

#include <mesh_core.h>

#include <mesh_names.h>
#include <mesh_state_text.h>


/* "    name value;" where there is a value, quoted if it has to be */

static void
mesh_text_print_word(FILE *out, const char *name, const char *value)
{
    char  buf[2 * MESH_ID_MAX_BYTES + 4];

    if (value && mesh_lex_quote(buf, sizeof(buf), value, strlen(value)) > 0) {
        fprintf(out, "    %s %s;\n", name, buf);
    }
}


static void
mesh_text_print_workload(FILE *out, const mesh_workload_t *wl)
{
    char                   buf[MESH_ADDRESS_TEXT];
    const mesh_port_t     *port;
    const mesh_address_t  *address;

    fprintf(out, "\nmesh_workload %s/%s {\n", wl->namespace_, wl->pod);

    mesh_text_print_word(out, "identity", wl->identity);

    fprintf(out, "    meshed %s;\n", wl->meshed ? "on" : "off");

    mesh_text_print_word(out, "service_account", wl->service_account);

    if (wl->owner) {
        fprintf(out, "    owner %s/%s;\n",
                wl->owner_kind ? wl->owner_kind : "unknown", wl->owner);
    }

    mesh_text_print_word(out, "node", wl->node);
    mesh_text_print_word(out, "zone", wl->zone);

    for (address = wl->addresses; address; address = address->next) {
        fprintf(out, "    address %s;\n", mesh_ip_print(address->ip, buf));
    }

    for (port = wl->ports; port; port = port->next) {
        fprintf(out, "    port %u %s;\n", port->port,
                mesh_protocol_word(port->protocol));
    }

    fprintf(out, "}\n");
}


static void
mesh_text_print_service(FILE *out, const mesh_service_t *service)
{
    char                    buf[MESH_ADDRESS_TEXT];
    const mesh_address_t   *address;
    const mesh_endpoint_t  *endpoint;

    fprintf(out, "\nmesh_service %s/%s:%u {\n", service->namespace_,
            service->name, service->port);

    for (address = service->addresses; address; address = address->next) {
        fprintf(out, "    address %s;\n",
                mesh_address_print(address->ip, address->port, buf));
    }

    fprintf(out, "    protocol %s;\n", mesh_protocol_word(service->protocol));

    for (endpoint = service->endpoints; endpoint; endpoint = endpoint->next) {

        fprintf(out, "    endpoint %s",
                mesh_address_print(endpoint->ip, endpoint->port, buf));

        if (endpoint->pod) {
            fprintf(out, " workload=%s/%s", endpoint->namespace_,
                    endpoint->pod);
        }

        if (endpoint->identity) {
            fprintf(out, " identity=%s", endpoint->identity);
        }

        fprintf(out, " weight=%u;\n", endpoint->weight);
    }

    fprintf(out, "}\n");
}


int
mesh_state_text_print(FILE *out, const mesh_records_t *records)
{
    char                    buf[MESH_ADDRESS_TEXT];
    const mesh_address_t   *address;
    const mesh_network_t   *network;
    const mesh_service_t   *service;
    const mesh_workload_t  *wl;

    fprintf(out, "generation %" PRIu64 ";\n", records->generation);
    fprintf(out, "complete %s;\n", records->complete ? "on" : "off");
    fprintf(out, "unknown_in_cluster %s;\n",
            records->pass_unknown ? "pass" : "refuse");

    if (records->trust_domain) {
        fprintf(out, "trust_domain %s;\n", records->trust_domain);
    }

    for (network = records->networks; network; network = network->next) {
        fprintf(out, "networks %s;\n",
                mesh_network_print(network->ip, network->bits, buf));
    }

    if (records->self_pod) {
        fprintf(out, "self %s/%s;\n", records->self_namespace,
                records->self_pod);
    }

    for (wl = records->workloads; wl; wl = wl->next) {
        mesh_text_print_workload(out, wl);
    }

    for (service = records->services; service; service = service->next) {
        mesh_text_print_service(out, service);
    }

    if (records->nobody) {
        fprintf(out, "\n");
    }

    for (address = records->nobody; address; address = address->next) {
        fprintf(out, "nobody %s;\n",
                mesh_address_print(address->ip, address->port, buf));
    }

    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
