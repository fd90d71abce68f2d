
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The SPIFFE-ID standard, section 2, to the letter: what is not allowed there
 * is refused here, never repaired.  Two texts name the same workload only if
 * they are equal byte for byte, so nothing is folded or decoded.
 */

#include <string.h>

#include <mesh_identity.h>
#include <mesh_names.h>


#define MESH_IDENTITY_SCHEME      "spiffe://"
#define MESH_IDENTITY_DOMAIN_MAX  255


static const char *mesh_identity_path(const char *p, const char *end);
static void mesh_identity_workload(const char *p, const char *end,
    mesh_identity_t *id);
static size_t mesh_identity_segment(const char *p, const char *end);


const char *
mesh_identity_parse(const char *text, size_t len, mesh_identity_t *id)
{
    size_t       n;
    const char  *p, *end, *err;

    memset(id, 0, sizeof(mesh_identity_t));

    n = sizeof(MESH_IDENTITY_SCHEME) - 1;

    if (len > MESH_ID_MAX_BYTES) {
        return "is longer than 2048 bytes";
    }

    if (len < n || memcmp(text, MESH_IDENTITY_SCHEME, n) != 0) {
        return "does not start with spiffe://";
    }

    p = text + n;
    end = text + len;

    id->trust_domain = p;

    while (p < end && *p != '/') {

        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
              || *p == '.' || *p == '-' || *p == '_'))
        {
            return "has a character in its trust domain that is not one of "
                   "a-z 0-9 . - _";
        }

        p++;
    }

    id->trust_domain_len = (size_t) (p - id->trust_domain);

    if (id->trust_domain_len == 0) {
        return "has no trust domain";
    }

    if (id->trust_domain_len > MESH_IDENTITY_DOMAIN_MAX) {
        return "has a trust domain longer than 255 bytes";
    }

    err = mesh_identity_path(p, end);
    if (err != NULL) {
        return err;
    }

    mesh_identity_workload(p, end, id);

    return NULL;
}


static const char *
mesh_identity_path(const char *p, const char *end)
{
    size_t  n, i;

    if (p == end) {
        return "has no path";
    }

    while (p < end) {

        p++;                                       /* the slash */
        n = mesh_identity_segment(p, end);

        if (n == 0) {
            return "has an empty path segment";
        }

        if (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.'))) {
            return "has a . or .. path segment";
        }

        for (i = 0; i < n; i++) {
            if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')
                  || (p[i] >= '0' && p[i] <= '9')
                  || p[i] == '.' || p[i] == '-' || p[i] == '_'))
            {
                return "has a character in its path that is not one of "
                       "a-z A-Z 0-9 . - _";
            }
        }

        p += n;
    }

    return NULL;
}


/* /ns/<namespace>/sa/<account>, and nothing after it */

static void
mesh_identity_workload(const char *p, const char *end, mesh_identity_t *id)
{
    size_t       n, nseg;
    size_t       len[4];
    const char  *seg[4];

    for (nseg = 0; p < end; nseg++) {

        p++;
        n = mesh_identity_segment(p, end);

        if (nseg == 4) {
            return;
        }

        seg[nseg] = p;
        len[nseg] = n;

        p += n;
    }

    if (nseg != 4
        || len[0] != 2 || memcmp(seg[0], "ns", 2) != 0
        || len[2] != 2 || memcmp(seg[2], "sa", 2) != 0)
    {
        return;
    }

    id->namespace_ = seg[1];
    id->namespace_len = len[1];
    id->service_account = seg[3];
    id->service_account_len = len[3];
}


static size_t
mesh_identity_segment(const char *p, const char *end)
{
    const char  *slash;

    slash = memchr(p, '/', (size_t) (end - p));

    return (size_t) ((slash != NULL ? slash : end) - p);
}
