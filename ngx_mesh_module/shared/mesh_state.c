
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Reading a snapshot: one full check when it is taken, then lookups that
 * trust it.  The writer is our own agent, yet the file may be torn, of
 * another version or flipped by a bad disk: nothing in it is followed before
 * mesh_state_check() has seen it.  The check is linear in the file's size,
 * the probe of the hash table too: a table without a free slot is refused.
 */


#include <string.h>

#include <mesh_names.h>
#include <mesh_state.h>


#define mesh_state_record(view, name, type)                                   \
    ((const type *) ((view)->blob + (view)->head->name.offset))


typedef struct {
    size_t       head;                     /* offset in mesh_state_head_t */
    size_t       bytes;                    /* of one record */
    const char  *error;
} mesh_state_layout_t;


static const char *mesh_state_check_head(const mesh_state_head_t *head,
    size_t size);
static const char *mesh_state_check_sections(const mesh_state_head_t *head,
    size_t size);
static const char *mesh_state_check_addrs(const mesh_state_view_t *view);
static const char *mesh_state_check_services(const mesh_state_view_t *view);
static const char *mesh_state_check_endpoints(const mesh_state_view_t *view);
static const char *mesh_state_check_workloads(const mesh_state_view_t *view);
static const char *mesh_state_check_ports(const mesh_state_view_t *view);
static const char *mesh_state_check_networks(const mesh_state_view_t *view);
static int mesh_state_check_str(const mesh_state_view_t *view,
    const mesh_state_str_t *str);
static int mesh_state_check_range(uint32_t first, uint32_t n, uint32_t count);
static uint32_t mesh_state_crc(const void *base, size_t size);


static const mesh_state_layout_t  mesh_state_sections[] = {
    { offsetof(mesh_state_head_t, addrs), sizeof(mesh_state_addr_t),
      "addresses reach past the end of the file" },
    { offsetof(mesh_state_head_t, services), sizeof(mesh_state_service_t),
      "services reach past the end of the file" },
    { offsetof(mesh_state_head_t, endpoints), sizeof(mesh_state_endpoint_t),
      "endpoints reach past the end of the file" },
    { offsetof(mesh_state_head_t, workloads), sizeof(mesh_state_workload_t),
      "workloads reach past the end of the file" },
    { offsetof(mesh_state_head_t, ports), sizeof(mesh_state_port_t),
      "ports reach past the end of the file" },
    { offsetof(mesh_state_head_t, networks), sizeof(mesh_state_network_t),
      "networks reach past the end of the file" },
    { offsetof(mesh_state_head_t, blob), 1,
      "strings reach past the end of the file" },
    { 0, 0, NULL }
};


/* CRC-32C, reflected polynomial 0x82f63b78 */

static const uint32_t  mesh_crc32c_table[256] = {
    0x00000000, 0xf26b8303, 0xe13b70f7, 0x1350f3f4, 0xc79a971f, 0x35f1141c,
    0x26a1e7e8, 0xd4ca64eb, 0x8ad958cf, 0x78b2dbcc, 0x6be22838, 0x9989ab3b,
    0x4d43cfd0, 0xbf284cd3, 0xac78bf27, 0x5e133c24, 0x105ec76f, 0xe235446c,
    0xf165b798, 0x030e349b, 0xd7c45070, 0x25afd373, 0x36ff2087, 0xc494a384,
    0x9a879fa0, 0x68ec1ca3, 0x7bbcef57, 0x89d76c54, 0x5d1d08bf, 0xaf768bbc,
    0xbc267848, 0x4e4dfb4b, 0x20bd8ede, 0xd2d60ddd, 0xc186fe29, 0x33ed7d2a,
    0xe72719c1, 0x154c9ac2, 0x061c6936, 0xf477ea35, 0xaa64d611, 0x580f5512,
    0x4b5fa6e6, 0xb93425e5, 0x6dfe410e, 0x9f95c20d, 0x8cc531f9, 0x7eaeb2fa,
    0x30e349b1, 0xc288cab2, 0xd1d83946, 0x23b3ba45, 0xf779deae, 0x05125dad,
    0x1642ae59, 0xe4292d5a, 0xba3a117e, 0x4851927d, 0x5b016189, 0xa96ae28a,
    0x7da08661, 0x8fcb0562, 0x9c9bf696, 0x6ef07595, 0x417b1dbc, 0xb3109ebf,
    0xa0406d4b, 0x522bee48, 0x86e18aa3, 0x748a09a0, 0x67dafa54, 0x95b17957,
    0xcba24573, 0x39c9c670, 0x2a993584, 0xd8f2b687, 0x0c38d26c, 0xfe53516f,
    0xed03a29b, 0x1f682198, 0x5125dad3, 0xa34e59d0, 0xb01eaa24, 0x42752927,
    0x96bf4dcc, 0x64d4cecf, 0x77843d3b, 0x85efbe38, 0xdbfc821c, 0x2997011f,
    0x3ac7f2eb, 0xc8ac71e8, 0x1c661503, 0xee0d9600, 0xfd5d65f4, 0x0f36e6f7,
    0x61c69362, 0x93ad1061, 0x80fde395, 0x72966096, 0xa65c047d, 0x5437877e,
    0x4767748a, 0xb50cf789, 0xeb1fcbad, 0x197448ae, 0x0a24bb5a, 0xf84f3859,
    0x2c855cb2, 0xdeeedfb1, 0xcdbe2c45, 0x3fd5af46, 0x7198540d, 0x83f3d70e,
    0x90a324fa, 0x62c8a7f9, 0xb602c312, 0x44694011, 0x5739b3e5, 0xa55230e6,
    0xfb410cc2, 0x092a8fc1, 0x1a7a7c35, 0xe811ff36, 0x3cdb9bdd, 0xceb018de,
    0xdde0eb2a, 0x2f8b6829, 0x82f63b78, 0x709db87b, 0x63cd4b8f, 0x91a6c88c,
    0x456cac67, 0xb7072f64, 0xa457dc90, 0x563c5f93, 0x082f63b7, 0xfa44e0b4,
    0xe9141340, 0x1b7f9043, 0xcfb5f4a8, 0x3dde77ab, 0x2e8e845f, 0xdce5075c,
    0x92a8fc17, 0x60c37f14, 0x73938ce0, 0x81f80fe3, 0x55326b08, 0xa759e80b,
    0xb4091bff, 0x466298fc, 0x1871a4d8, 0xea1a27db, 0xf94ad42f, 0x0b21572c,
    0xdfeb33c7, 0x2d80b0c4, 0x3ed04330, 0xccbbc033, 0xa24bb5a6, 0x502036a5,
    0x4370c551, 0xb11b4652, 0x65d122b9, 0x97baa1ba, 0x84ea524e, 0x7681d14d,
    0x2892ed69, 0xdaf96e6a, 0xc9a99d9e, 0x3bc21e9d, 0xef087a76, 0x1d63f975,
    0x0e330a81, 0xfc588982, 0xb21572c9, 0x407ef1ca, 0x532e023e, 0xa145813d,
    0x758fe5d6, 0x87e466d5, 0x94b49521, 0x66df1622, 0x38cc2a06, 0xcaa7a905,
    0xd9f75af1, 0x2b9cd9f2, 0xff56bd19, 0x0d3d3e1a, 0x1e6dcdee, 0xec064eed,
    0xc38d26c4, 0x31e6a5c7, 0x22b65633, 0xd0ddd530, 0x0417b1db, 0xf67c32d8,
    0xe52cc12c, 0x1747422f, 0x49547e0b, 0xbb3ffd08, 0xa86f0efc, 0x5a048dff,
    0x8ecee914, 0x7ca56a17, 0x6ff599e3, 0x9d9e1ae0, 0xd3d3e1ab, 0x21b862a8,
    0x32e8915c, 0xc083125f, 0x144976b4, 0xe622f5b7, 0xf5720643, 0x07198540,
    0x590ab964, 0xab613a67, 0xb831c993, 0x4a5a4a90, 0x9e902e7b, 0x6cfbad78,
    0x7fab5e8c, 0x8dc0dd8f, 0xe330a81a, 0x115b2b19, 0x020bd8ed, 0xf0605bee,
    0x24aa3f05, 0xd6c1bc06, 0xc5914ff2, 0x37faccf1, 0x69e9f0d5, 0x9b8273d6,
    0x88d28022, 0x7ab90321, 0xae7367ca, 0x5c18e4c9, 0x4f48173d, 0xbd23943e,
    0xf36e6f75, 0x0105ec76, 0x12551f82, 0xe03e9c81, 0x34f4f86a, 0xc69f7b69,
    0xd5cf889d, 0x27a40b9e, 0x79b737ba, 0x8bdcb4b9, 0x988c474d, 0x6ae7c44e,
    0xbe2da0a5, 0x4c4623a6, 0x5f16d052, 0xad7d5351
};


const char *
mesh_state_check(const void *base, size_t size, mesh_state_view_t *view)
{
    const char               *error;
    const mesh_state_head_t  *head;

    head = base;

    error = mesh_state_check_head(head, size);

    if (error == NULL) {
        error = mesh_state_check_sections(head, size);
    }

    if (error) {
        return error;
    }

    view->head = head;
    view->blob = base;
    view->addrs = mesh_state_record(view, addrs, mesh_state_addr_t);
    view->services = mesh_state_record(view, services, mesh_state_service_t);
    view->endpoints = mesh_state_record(view, endpoints,
                                        mesh_state_endpoint_t);
    view->workloads = mesh_state_record(view, workloads,
                                        mesh_state_workload_t);
    view->ports = mesh_state_record(view, ports, mesh_state_port_t);
    view->networks = mesh_state_record(view, networks, mesh_state_network_t);
    view->mask = head->addrs.count ? head->addrs.count - 1 : 0;

    if (head->self != MESH_STATE_NONE && head->self >= head->workloads.count) {
        return "own workload does not exist";
    }

    if (!mesh_state_check_str(view, &head->trust_domain)) {
        return "trust domain is not a string";
    }

    if ((error = mesh_state_check_addrs(view)) != NULL
        || (error = mesh_state_check_services(view)) != NULL
        || (error = mesh_state_check_endpoints(view)) != NULL
        || (error = mesh_state_check_workloads(view)) != NULL
        || (error = mesh_state_check_ports(view)) != NULL)
    {
        return error;
    }

    return mesh_state_check_networks(view);
}


static const char *
mesh_state_check_head(const mesh_state_head_t *head, size_t size)
{
    if (size < sizeof(mesh_state_head_t)) {
        return "file is shorter than its head";
    }

    if (size > MESH_STATE_MAX_BYTES) {
        return "file is too large";
    }

    if (memcmp(head->magic, MESH_STATE_MAGIC, sizeof(head->magic)) != 0) {
        return "file does not start with " MESH_STATE_MAGIC;
    }

    if (head->layout < MESH_STATE_LAYOUT_MIN) {
        return "layout is older than what this version reads";
    }

    if (head->layout > MESH_STATE_LAYOUT) {
        return "layout is newer than what this version reads";
    }

    if (head->head_bytes != sizeof(mesh_state_head_t)) {
        return "head has a size of another layout";
    }

    if (head->size != size) {
        return "file does not have the size that it names";
    }

    if (mesh_state_crc(head, size) != head->crc) {
        return "checksum does not match the content";
    }

    return NULL;
}


static const char *
mesh_state_check_sections(const mesh_state_head_t *head, size_t size)
{
    const mesh_state_layout_t   *l;
    const mesh_state_section_t  *s;

    for (l = mesh_state_sections; l->error; l++) {
        s = (const mesh_state_section_t *) ((const char *) head + l->head);

        if (s->count == 0 && s->offset == 0) {
            continue;
        }

        if (s->offset < sizeof(mesh_state_head_t)
            || s->offset > size
            || s->offset % 8 != 0
            || s->count > (size - s->offset) / l->bytes)
        {
            return l->error;
        }
    }

    return NULL;
}


/*
 * An entry is found if no free slot stands between its home and its place,
 * so the slots that are taken in a row, counted around the end, are enough
 * to tell.
 */

static const char *
mesh_state_check_addrs(const mesh_state_view_t *view)
{
    uint32_t                  i, n, run, start, count;
    const mesh_state_addr_t  *addr;

    count = view->head->addrs.count;

    if (count == 0) {
        return NULL;
    }

    if (count & (count - 1)) {
        return "address table has not a power of two slots";
    }

    for (start = 0; start < count; start++) {
        if (view->addrs[start].kind == MESH_ADDR_EMPTY) {
            break;
        }
    }

    if (start == count) {
        return "address table has no free slot";
    }

    for (n = 0, run = 0; n < count; n++) {
        i = (start + n) & view->mask;
        addr = &view->addrs[i];

        if (addr->kind == MESH_ADDR_EMPTY) {
            run = 0;
            continue;
        }

        if (addr->kind > MESH_ADDR_MAX) {
            return "address is of unknown kind";
        }

        if (addr->hash != mesh_state_hash(addr->ip, addr->port)) {
            return "address has a wrong hash";
        }

        if (((i - addr->hash) & view->mask) > run) {
            return "address stands in a slot where it is not found";
        }

        if (addr->kind == MESH_ADDR_SERVICE
            && addr->index >= view->head->services.count)
        {
            return "address names a service that does not exist";
        }

        if (addr->kind == MESH_ADDR_WORKLOAD
            && addr->index >= view->head->workloads.count)
        {
            return "address names a workload that does not exist";
        }

        run++;
    }

    return NULL;
}


static const char *
mesh_state_check_services(const mesh_state_view_t *view)
{
    uint32_t                     i;
    const mesh_state_service_t  *service;

    for (i = 0; i < view->head->services.count; i++) {
        service = &view->services[i];

        if (!mesh_state_check_str(view, &service->namespace_)
            || !mesh_state_check_str(view, &service->name))
        {
            return "service has a name that is not a string";
        }

        if (service->protocol > MESH_PROTO_MAX) {
            return "service has an unknown protocol";
        }

        if (!mesh_state_check_range(service->endpoint, service->nendpoints,
                                    view->head->endpoints.count))
        {
            return "service has endpoints that do not exist";
        }
    }

    return NULL;
}


/*
 * A meshed endpoint without an identity would be reached in plaintext: the
 * one mistake of a writer that must never be taken.
 */

static const char *
mesh_state_check_endpoints(const mesh_state_view_t *view)
{
    uint32_t                      i;
    const mesh_state_endpoint_t  *endpoint;

    for (i = 0; i < view->head->endpoints.count; i++) {
        endpoint = &view->endpoints[i];

        if (!mesh_state_check_str(view, &endpoint->identity)
            || endpoint->identity.len > MESH_ID_MAX_BYTES)
        {
            return "endpoint has an identity that is not a string";
        }

        if ((endpoint->flags & MESH_WL_MESHED) && endpoint->identity.len == 0)
        {
            return "endpoint is meshed but has no identity";
        }

        if (endpoint->port == 0) {
            return "endpoint has port 0";
        }

        if (endpoint->weight == 0 || endpoint->weight > 1000000) {
            return "endpoint has a weight out of 1 .. 1000000";
        }

        if (endpoint->workload != MESH_STATE_NONE
            && endpoint->workload >= view->head->workloads.count)
        {
            return "endpoint names a workload that does not exist";
        }
    }

    return NULL;
}


static const char *
mesh_state_check_workloads(const mesh_state_view_t *view)
{
    uint32_t                      i;
    const mesh_state_workload_t  *wl;

    for (i = 0; i < view->head->workloads.count; i++) {
        wl = &view->workloads[i];

        if (!mesh_state_check_str(view, &wl->namespace_)
            || !mesh_state_check_str(view, &wl->pod)
            || !mesh_state_check_str(view, &wl->service_account)
            || !mesh_state_check_str(view, &wl->owner_kind)
            || !mesh_state_check_str(view, &wl->owner)
            || !mesh_state_check_str(view, &wl->node)
            || !mesh_state_check_str(view, &wl->zone))
        {
            return "workload has a name that is not a string";
        }

        if (!mesh_state_check_str(view, &wl->identity)
            || wl->identity.len > MESH_ID_MAX_BYTES)
        {
            return "workload has an identity that is not a string";
        }

        if ((wl->flags & MESH_WL_MESHED) && wl->identity.len == 0) {
            return "workload is meshed but has no identity";
        }

        if (!mesh_state_check_range(wl->port, wl->nports,
                                    view->head->ports.count))
        {
            return "workload has ports that do not exist";
        }
    }

    return NULL;
}


static const char *
mesh_state_check_ports(const mesh_state_view_t *view)
{
    uint32_t  i;

    for (i = 0; i < view->head->ports.count; i++) {
        if (view->ports[i].protocol > MESH_PROTO_MAX) {
            return "port has an unknown protocol";
        }
    }

    return NULL;
}


static const char *
mesh_state_check_networks(const mesh_state_view_t *view)
{
    uint32_t  i;

    for (i = 0; i < view->head->networks.count; i++) {
        if (view->networks[i].bits > 128) {
            return "network has more than 128 bits";
        }
    }

    return NULL;
}


static int
mesh_state_check_str(const mesh_state_view_t *view,
    const mesh_state_str_t *str)
{
    const char                  *text;
    const mesh_state_section_t  *blob;

    if (str->len == 0) {
        return str->offset == 0;
    }

    blob = &view->head->blob;

    /* one byte more than len: the NUL */

    if (str->offset < blob->offset
        || str->offset - blob->offset >= blob->count
        || str->len >= blob->count - (str->offset - blob->offset))
    {
        return 0;
    }

    text = view->blob + str->offset;

    return memchr(text, '\0', (size_t) str->len + 1) == text + str->len;
}


static int
mesh_state_check_range(uint32_t first, uint32_t n, uint32_t count)
{
    return first <= count && n <= count - first;
}


static uint32_t
mesh_state_crc(const void *base, size_t size)
{
    size_t                 tail;
    uint32_t               crc;
    const unsigned char   *p;
    static const uint32_t  zero = 0;

    p = base;
    tail = offsetof(mesh_state_head_t, crc) + sizeof(zero);

    crc = mesh_crc32c(0, p, offsetof(mesh_state_head_t, crc));
    crc = mesh_crc32c(crc, &zero, sizeof(zero));

    return mesh_crc32c(crc, p + tail, size - tail);
}


uint32_t
mesh_state_hash(const uint8_t ip[16], uint16_t port)
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u;

    for (i = 0; i < 16; i++) {
        hash = (hash ^ ip[i]) * 16777619u;
    }

    hash = (hash ^ (port >> 8)) * 16777619u;
    hash = (hash ^ (port & 0xff)) * 16777619u;

    return hash;
}


static const mesh_state_addr_t *
mesh_state_find_exact(const mesh_state_view_t *view, const uint8_t ip[16],
    uint16_t port)
{
    uint32_t                  i, hash;
    const mesh_state_addr_t  *addr;

    if (view->head->addrs.count == 0) {
        return NULL;
    }

    hash = mesh_state_hash(ip, port);

    /* ends: mesh_state_check() saw a free slot */

    for (i = hash; /* void */ ; i++) {
        addr = &view->addrs[i & view->mask];

        if (addr->kind == MESH_ADDR_EMPTY) {
            return NULL;
        }

        if (addr->hash == hash
            && addr->port == port
            && memcmp(addr->ip, ip, 16) == 0)
        {
            return addr;
        }
    }
}


const mesh_state_addr_t *
mesh_state_find(const mesh_state_view_t *view, const uint8_t ip[16],
    uint16_t port)
{
    const mesh_state_addr_t  *addr;

    addr = mesh_state_find_exact(view, ip, port);

    if (addr == NULL && port != 0) {
        addr = mesh_state_find_exact(view, ip, 0);
    }

    return addr;
}


int
mesh_state_in_cluster(const mesh_state_view_t *view, const uint8_t ip[16])
{
    uint32_t                     i, bytes, rest;
    const mesh_state_network_t  *net;

    for (i = 0; i < view->head->networks.count; i++) {
        net = &view->networks[i];
        bytes = net->bits / 8;
        rest = net->bits % 8;

        if (memcmp(net->ip, ip, bytes) != 0) {
            continue;
        }

        if (rest == 0 || ((net->ip[bytes] ^ ip[bytes]) >> (8 - rest)) == 0) {
            return 1;
        }
    }

    return 0;
}


uint8_t
mesh_state_port_protocol(const mesh_state_view_t *view, uint32_t workload,
    uint16_t port)
{
    uint32_t                      i;
    const mesh_state_port_t      *p;
    const mesh_state_workload_t  *wl;

    if (workload >= view->head->workloads.count) {
        return MESH_PROTO_DETECT;
    }

    wl = &view->workloads[workload];
    p = &view->ports[wl->nports ? wl->port : 0];

    for (i = 0; i < wl->nports; i++) {
        if (p[i].port == port) {
            return p[i].protocol;
        }
    }

    return MESH_PROTO_DETECT;
}


uint32_t
mesh_crc32c(uint32_t crc, const void *data, size_t len)
{
    const unsigned char  *p, *end;

    crc = ~crc;

    for (p = data, end = p + len; p < end; p++) {
        crc = (crc >> 8) ^ mesh_crc32c_table[(crc ^ *p) & 0xff];
    }

    return ~crc;
}
