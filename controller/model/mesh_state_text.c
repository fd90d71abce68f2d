
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * One table per block says which directives there are; a handler takes the
 * words of one.  A handler returns NULL, or what it expected: the caller
 * adds file, line and the word that was found.
 */


#include <mesh_core.h>

#include <mesh_identity.h>
#include <mesh_names.h>
#include <mesh_state_build.h>
#include <mesh_state_text.h>


#define MESH_TEXT_WEIGHT_MAX  1000000


typedef struct {
    mesh_lex_t        lex;
    mesh_records_t   *records;
    mesh_workload_t  *workload;            /* of the block that is open */
    mesh_service_t   *service;
    mesh_word_t      *word;                /* the one that is wrong */
} mesh_text_t;


typedef const char *(*mesh_text_pt)(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);


typedef struct mesh_text_directive_s  mesh_text_directive_t;

struct mesh_text_directive_s {
    const char                   *name;
    unsigned                      min;     /* words behind the name */
    unsigned                      max;
    mesh_text_pt                  take;
    const mesh_text_directive_t  *block;   /* NULL: ends with ";" */
};


static const char *mesh_text_generation(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_complete(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_unknown(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_trust_domain(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_networks(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_self(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_workload(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_service(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_nobody(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);

static const char *mesh_text_wl_identity(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_meshed(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_account(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_owner(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_node(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_zone(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_address(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_wl_port(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);

static const char *mesh_text_svc_address(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_svc_protocol(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);
static const char *mesh_text_svc_endpoint(mesh_text_t *t, mesh_word_t *args,
    unsigned nargs);


static const mesh_text_directive_t  mesh_text_workload_block[] = {
    { "identity",           1, 1,   mesh_text_wl_identity,  NULL },
    { "meshed",             1, 1,   mesh_text_wl_meshed,    NULL },
    { "service_account",    1, 1,   mesh_text_wl_account,   NULL },
    { "owner",              1, 1,   mesh_text_wl_owner,     NULL },
    { "node",               1, 1,   mesh_text_wl_node,      NULL },
    { "zone",               1, 1,   mesh_text_wl_zone,      NULL },
    { "address",            1, 1,   mesh_text_wl_address,   NULL },
    { "port",               1, 2,   mesh_text_wl_port,      NULL },
    { NULL,                 0, 0,   NULL,                   NULL }
};


static const mesh_text_directive_t  mesh_text_service_block[] = {
    { "address",            1, 1,   mesh_text_svc_address,  NULL },
    { "protocol",           1, 1,   mesh_text_svc_protocol, NULL },
    { "endpoint",           1, 4,   mesh_text_svc_endpoint, NULL },
    { NULL,                 0, 0,   NULL,                   NULL }
};


static const mesh_text_directive_t  mesh_text_main[] = {
    { "generation",         1, 1,   mesh_text_generation,   NULL },
    { "complete",           1, 1,   mesh_text_complete,     NULL },
    { "unknown_in_cluster", 1, 1,   mesh_text_unknown,      NULL },
    { "trust_domain",       1, 1,   mesh_text_trust_domain, NULL },
    { "networks",           1, 255, mesh_text_networks,     NULL },
    { "self",               1, 1,   mesh_text_self,         NULL },
    { "mesh_workload",      1, 1,   mesh_text_workload,
                                    mesh_text_workload_block },
    { "mesh_service",       1, 1,   mesh_text_service,
                                    mesh_text_service_block },
    { "nobody",             1, 255, mesh_text_nobody,       NULL },
    { NULL,                 0, 0,   NULL,                   NULL }
};


static int
mesh_text_is(const mesh_word_t *word, const char *text)
{
    return strcmp(word->text, text) == 0;
}


static char *
mesh_text_copy(mesh_text_t *t, const mesh_word_t *word)
{
    return mesh_records_text(t->records, word->text, word->len);
}


/* "unknown directive .., expected one of .." from the table */

static mesh_lex_e
mesh_text_unknown_directive(mesh_text_t *t, const mesh_text_directive_t *table)
{
    char                          names[256];
    size_t                        n;
    const mesh_text_directive_t  *d;

    names[0] = '\0';

    for (n = 0, d = table; d->name && n < sizeof(names); d++) {
        n += snprintf(names + n, sizeof(names) - n, "%s%s", n ? " " : "",
                      d->name);
    }

    return mesh_lex_fail(&t->lex, t->lex.start, "unknown directive \"%.64s\", "
                         "expected one of: %s", t->lex.args[0].text, names);
}


static mesh_lex_e
mesh_text_directive(mesh_text_t *t, const mesh_text_directive_t *table,
    mesh_lex_e token, const mesh_text_directive_t **found)
{
    unsigned                      n;
    mesh_word_t                  *args;
    const char                   *expected;
    const mesh_text_directive_t  *d;

    args = t->lex.args;
    n = t->lex.nargs - 1;

    for (d = table; d->name && !mesh_text_is(&args[0], d->name); d++) {
        /* void */
    }

    if (d->name == NULL) {
        return mesh_text_unknown_directive(t, table);
    }

    if ((token == MESH_LEX_BLOCK) != (d->block != NULL)) {
        return mesh_lex_fail(&t->lex, t->lex.start, "directive \"%s\" ends "
                             "with \"%c\", expected \"%c\"", d->name,
                             d->block ? ';' : '{', d->block ? '{' : ';');
    }

    if (n < d->min || n > d->max) {
        return mesh_lex_fail(&t->lex, t->lex.start, "directive \"%s\" has %u "
                             "values, expected %u%s", d->name, n,
                             n < d->min ? d->min : d->max,
                             d->min == d->max ? ""
                             : n < d->min ? " or more" : " or fewer");
    }

    t->word = &args[1];

    expected = d->take(t, &args[1], n);

    if (expected) {
        return mesh_lex_fail(&t->lex, t->lex.start, "\"%s %.128s\", "
                             "expected %s", d->name, t->word->text, expected);
    }

    *found = d;

    return token;
}


static mesh_lex_e
mesh_text_block(mesh_text_t *t, const mesh_text_directive_t *table)
{
    unsigned                      line;
    mesh_lex_e                    token;
    const mesh_text_directive_t  *d;

    d = NULL;
    line = t->lex.start;

    for ( ;; ) {
        token = mesh_lex_next(&t->lex);

        if (token == MESH_LEX_ERROR) {
            return MESH_LEX_ERROR;
        }

        if (token == MESH_LEX_END) {

            if (table == mesh_text_main) {
                return mesh_lex_fail(&t->lex, t->lex.start, "unexpected "
                                     "\"}\", expected a directive");
            }

            return MESH_LEX_END;
        }

        if (token == MESH_LEX_EOF) {

            if (table != mesh_text_main) {
                return mesh_lex_fail(&t->lex, line, "block has no end, "
                                     "expected \"}\"");
            }

            return MESH_LEX_EOF;
        }

        if (mesh_text_directive(t, table, token, &d) == MESH_LEX_ERROR) {
            return MESH_LEX_ERROR;
        }

        if (d->block && mesh_text_block(t, d->block) == MESH_LEX_ERROR) {
            return MESH_LEX_ERROR;
        }
    }
}


mesh_records_t *
mesh_state_text_parse(const char *file, const char *text, size_t len,
    mesh_err_t *err)
{
    mesh_text_t     *t;
    mesh_records_t  *records;

    records = mesh_records_new();
    t = mesh_records_alloc(records, sizeof(mesh_text_t));

    t->records = records;

    mesh_lex_init(&t->lex, file, text, len);

    if (mesh_text_block(t, mesh_text_main) == MESH_LEX_ERROR) {
        (void) mesh_err(err, "%s", t->lex.error);
        mesh_lex_done(&t->lex);
        mesh_records_free(records);
        return NULL;
    }

    mesh_lex_done(&t->lex);

    return records;
}


void *
mesh_state_text_compile(const char *file, const char *text, size_t len,
    size_t *size, mesh_err_t *err)
{
    void            *state;
    unsigned         line;
    mesh_records_t  *records;

    records = mesh_state_text_parse(file, text, len, err);
    if (records == NULL) {
        return NULL;
    }

    state = mesh_state_build(records, size, &line, err);

    if (state == NULL) {
        (void) mesh_err_prefix(err, "%.200s:%u", file, line);
    }

    mesh_records_free(records);

    return state;
}


/* "on" and "off" */

static const char *
mesh_text_flag(const mesh_word_t *word, int *flag)
{
    if (!mesh_text_is(word, "on") && !mesh_text_is(word, "off")) {
        return "\"on\" or \"off\"";
    }

    *flag = mesh_text_is(word, "on");

    return NULL;
}


/* a label of Kubernetes names: letters of either case are let through */

static int
mesh_text_is_name(const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if ((text[i] < 'a' || text[i] > 'z')
            && (text[i] < 'A' || text[i] > 'Z')
            && (text[i] < '0' || text[i] > '9')
            && text[i] != '-' && text[i] != '.' && text[i] != '_')
        {
            return 0;
        }
    }

    return len > 0 && len <= 253;
}


/* "namespace/name" into two strings of the arena */

static int
mesh_text_pair(mesh_text_t *t, const char *text, size_t len, char **first,
    char **second)
{
    size_t       n;
    const char  *slash;

    slash = memchr(text, '/', len);
    if (slash == NULL) {
        return -1;
    }

    n = slash - text;

    if (!mesh_text_is_name(text, n)
        || !mesh_text_is_name(slash + 1, len - n - 1))
    {
        return -1;
    }

    *first = mesh_records_text(t->records, text, n);
    *second = mesh_records_text(t->records, slash + 1, len - n - 1);

    return 0;
}


static const char *
mesh_text_generation(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    int64_t  n;

    n = mesh_number_parse(args[0].text, args[0].len, INT64_MAX);
    if (n < 0) {
        return "a number";
    }

    t->records->generation = (uint64_t) n;

    return NULL;
}


static const char *
mesh_text_complete(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    return mesh_text_flag(&args[0], &t->records->complete);
}


static const char *
mesh_text_unknown(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    if (!mesh_text_is(&args[0], "refuse") && !mesh_text_is(&args[0], "pass")) {
        return "\"refuse\" or \"pass\"";
    }

    t->records->pass_unknown = mesh_text_is(&args[0], "pass");

    return NULL;
}


static const char *
mesh_text_trust_domain(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    if (!mesh_text_is_name(args[0].text, args[0].len)) {
        return "a trust domain, as in \"cluster.local\"";
    }

    t->records->trust_domain = mesh_text_copy(t, &args[0]);

    return NULL;
}


static const char *
mesh_text_networks(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    uint8_t   ip[16], bits;
    unsigned  i;

    for (i = 0; i < nargs; i++) {

        if (mesh_network_parse(args[i].text, args[i].len, ip, &bits) != 0) {
            t->word = &args[i];
            return "a network without host bits, as in \"10.0.0.0/8\" or "
                   "\"fd00::/8\"";
        }

        mesh_records_network(t->records, ip, bits);
    }

    return NULL;
}


static const char *
mesh_text_self(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    if (mesh_text_pair(t, args[0].text, args[0].len,
                       &t->records->self_namespace, &t->records->self_pod))
    {
        return "<namespace>/<pod>";
    }

    t->records->self_line = t->lex.start;

    return NULL;
}


static const char *
mesh_text_workload(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    t->workload = mesh_records_workload(t->records);
    t->workload->line = t->lex.start;

    if (mesh_text_pair(t, args[0].text, args[0].len, &t->workload->namespace_,
                       &t->workload->pod))
    {
        return "<namespace>/<pod>";
    }

    return NULL;
}


static const char *
mesh_text_service(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    int64_t      port;
    size_t       n;
    const char  *colon;

    t->service = mesh_records_service(t->records);
    t->service->line = t->lex.start;

    colon = memrchr(args[0].text, ':', args[0].len);
    n = colon ? (size_t) (colon - args[0].text) : args[0].len;

    port = colon ? mesh_number_parse(colon + 1, args[0].len - n - 1, 65535)
                 : -1;

    if (port < 1
        || mesh_text_pair(t, args[0].text, n, &t->service->namespace_,
                          &t->service->name))
    {
        return "<namespace>/<name>:<port>";
    }

    t->service->port = (uint16_t) port;

    return NULL;
}


static const char *
mesh_text_addresses(mesh_text_t *t, mesh_address_t **list, mesh_word_t *args,
    unsigned nargs)
{
    uint8_t    ip[16];
    uint16_t   port;
    unsigned   i;

    for (i = 0; i < nargs; i++) {

        if (mesh_address_parse(args[i].text, args[i].len, ip, &port) != 0) {
            t->word = &args[i];
            return "an address with a port, as in \"10.96.0.1:80\" or "
                   "\"[fd00:96::1]:80\"";
        }

        mesh_records_address(t->records, list, ip, port)->line = t->lex.start;
    }

    return NULL;
}


static const char *
mesh_text_nobody(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    return mesh_text_addresses(t, &t->records->nobody, args, nargs);
}


/* a SPIFFE ID into the arena, or NULL */

static char *
mesh_text_identity(mesh_text_t *t, const char *text, size_t len)
{
    mesh_identity_t  id;

    if (mesh_identity_parse(text, len, &id) != NULL) {
        return NULL;
    }

    return mesh_records_text(t->records, text, len);
}


static const char *
mesh_text_wl_identity(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    t->workload->identity = mesh_text_identity(t, args[0].text, args[0].len);

    return t->workload->identity ? NULL : "a SPIFFE ID, as in "
           "\"spiffe://cluster.local/ns/shop/sa/web\"";
}


static const char *
mesh_text_wl_meshed(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    return mesh_text_flag(&args[0], &t->workload->meshed);
}


static const char *
mesh_text_wl_account(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    t->workload->service_account = mesh_text_copy(t, &args[0]);

    return NULL;
}


static const char *
mesh_text_wl_owner(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    if (mesh_text_pair(t, args[0].text, args[0].len, &t->workload->owner_kind,
                       &t->workload->owner))
    {
        return "<kind>/<name>, as in \"deployment/web\"";
    }

    return NULL;
}


static const char *
mesh_text_wl_node(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    t->workload->node = mesh_text_copy(t, &args[0]);

    return NULL;
}


static const char *
mesh_text_wl_zone(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    t->workload->zone = mesh_text_copy(t, &args[0]);

    return NULL;
}


static const char *
mesh_text_wl_address(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    uint8_t  ip[16];

    if (mesh_ip_parse(args[0].text, args[0].len, ip) != 0) {
        return "an address without a port, as in \"10.244.0.5\" or "
               "\"fd00:244::5\"";
    }

    mesh_records_address(t->records, &t->workload->addresses, ip, 0)->line
        = t->lex.start;

    return NULL;
}


static const char *
mesh_text_wl_port(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    int      protocol;
    int64_t  port;

    port = mesh_number_parse(args[0].text, args[0].len, 65535);
    if (port < 1) {
        return "a port of 1 to 65535";
    }

    protocol = MESH_PROTO_DETECT;

    if (nargs == 2) {
        t->word = &args[1];
        protocol = mesh_protocol_parse(args[1].text, args[1].len);
    }

    if (protocol == -1) {
        return "one of: detect http1 http2 opaque tls";
    }

    mesh_records_port(t->records, t->workload, (uint16_t) port,
                      (uint8_t) protocol)->line = t->lex.start;

    return NULL;
}


static const char *
mesh_text_svc_address(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    return mesh_text_addresses(t, &t->service->addresses, args, nargs);
}


static const char *
mesh_text_svc_protocol(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    int  protocol;

    protocol = mesh_protocol_parse(args[0].text, args[0].len);
    if (protocol == -1) {
        return "one of: detect http1 http2 opaque tls";
    }

    t->service->protocol = (uint8_t) protocol;

    return NULL;
}


/* "name=value" of an endpoint */

static const char *
mesh_text_endpoint_option(mesh_text_t *t, mesh_endpoint_t *endpoint,
    const mesh_word_t *word)
{
    size_t       n, len;
    int64_t      weight;
    const char  *value;

    value = memchr(word->text, '=', word->len);

    if (value == NULL) {
        return "workload=, identity= or weight=";
    }

    n = ++value - word->text;
    len = word->len - n;

    if (strncmp(word->text, "workload=", n) == 0) {
        return mesh_text_pair(t, value, len, &endpoint->namespace_,
                              &endpoint->pod)
               ? "workload=<namespace>/<pod>" : NULL;
    }

    if (strncmp(word->text, "identity=", n) == 0) {
        endpoint->identity = mesh_text_identity(t, value, len);

        return endpoint->identity ? NULL : "identity=<SPIFFE ID>";
    }

    if (strncmp(word->text, "weight=", n) == 0) {
        weight = mesh_number_parse(value, len, MESH_TEXT_WEIGHT_MAX);
        endpoint->weight = (uint32_t) weight;

        return weight < 1 ? "weight=<1 to 1000000>" : NULL;
    }

    return "workload=, identity= or weight=";
}


static const char *
mesh_text_svc_endpoint(mesh_text_t *t, mesh_word_t *args, unsigned nargs)
{
    uint8_t           ip[16];
    unsigned          i;
    uint16_t          port;
    const char       *expected;
    mesh_endpoint_t  *endpoint;

    if (mesh_address_parse(args[0].text, args[0].len, ip, &port) != 0) {
        return "an address with a port, as in \"10.244.1.9:8080\"";
    }

    endpoint = mesh_records_endpoint(t->records, t->service);

    memcpy(endpoint->ip, ip, 16);
    endpoint->port = port;
    endpoint->line = t->lex.start;

    for (i = 1; i < nargs; i++) {

        expected = mesh_text_endpoint_option(t, endpoint, &args[i]);

        if (expected) {
            t->word = &args[i];
            return expected;
        }
    }

    return NULL;
}
