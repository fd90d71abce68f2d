
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/shared/mesh_identity.c */

/* Good and bad SPIFFE IDs, the bad ones each with the word that says why. */

#include <stdlib.h>

#include <mesh_identity.h>
#include <mesh_names.h>

#include "unit.h"


typedef struct {
    const char  *text;
    const char  *word;       /* of the refusal */
} bad_t;


/* a copy without a NUL behind it: ASan sees whoever reads on */

static const char *
parse(const char *text, size_t len, mesh_identity_t *id)
{
    char             *copy;
    const char       *err;
    mesh_identity_t   at;

    copy = malloc(len ? len : 1);
    if (copy == NULL) {
        return "no memory";
    }

    memcpy(copy, text, len);

    err = mesh_identity_parse(copy, len, &at);

    free(copy);

    return err ? err : mesh_identity_parse(text, len, id);
}


static void
parse_takes_our_path(void)
{
    const char       *text = "spiffe://cluster.local/ns/shop/sa/web";
    mesh_identity_t   id;

    UNIT_NEED(parse(text, strlen(text), &id) == NULL);
    UNIT_STRN(id.trust_domain, id.trust_domain_len, "cluster.local");
    UNIT_STRN(id.namespace_, id.namespace_len, "shop");
    UNIT_STRN(id.service_account, id.service_account_len, "web");
}


static void
parse_takes_other_paths_without_parts(void)
{
    size_t            i;
    mesh_identity_t   id;

    static const char  *good[] = {
        "spiffe://example.org/a",
        "spiffe://example.org/ns/shop",
        "spiffe://example.org/ns/shop/sa/web/x",
        "spiffe://example.org/ns/shop/pod/web",
        "spiffe://example.org/x/shop/sa/web",
        "spiffe://a_b-c.1/A/..a/.../_"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        UNIT_STR(parse(good[i], strlen(good[i]), &id), NULL);
        UNIT_OK(id.namespace_ == NULL);
        UNIT_OK(id.service_account == NULL);
    }
}


static void
parse_says_what_is_wrong(void)
{
    size_t            i;
    mesh_identity_t   id;

    static const bad_t  bad[] = {
        { "", "spiffe://" },
        { "spiffe:/", "spiffe://" },
        { "https://cluster.local/ns/shop/sa/web", "spiffe://" },
        { "SPIFFE://cluster.local/ns/shop/sa/web", "spiffe://" },
        { "spiffe://", "no trust domain" },
        { "spiffe:///ns/shop/sa/web", "no trust domain" },
        { "spiffe://Cluster.local/a", "trust domain" },
        { "spiffe://cluster.local:80/a", "trust domain" },
        { "spiffe://user@cluster.local/a", "trust domain" },
        { "spiffe://cluster%2elocal/a", "trust domain" },
        { "spiffe://cluster.local", "no path" },
        { "spiffe://cluster.local/", "empty path segment" },
        { "spiffe://cluster.local/a//b", "empty path segment" },
        { "spiffe://cluster.local/a/", "empty path segment" },
        { "spiffe://cluster.local/./a", ". or .." },
        { "spiffe://cluster.local/a/..", ". or .." },
        { "spiffe://cluster.local/a?b", "in its path" },
        { "spiffe://cluster.local/a#b", "in its path" },
        { "spiffe://cluster.local/a%62", "in its path" },
        { "spiffe://cluster.local/a b", "in its path" },
        { "spiffe://cluster.local?a", "trust domain" }
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        UNIT_HAS(parse(bad[i].text, strlen(bad[i].text), &id), bad[i].word);
    }
}


static void
parse_refuses_a_nul_inside(void)
{
    const char        text[] = "spiffe://cluster.local/ns/shop/sa/web\0evil";
    mesh_identity_t   id;

    UNIT_HAS(parse(text, sizeof(text) - 1, &id), "in its path");
}


static void
parse_keeps_the_limits(void)
{
    char              text[MESH_ID_MAX_BYTES + 1];
    mesh_identity_t   id;

    memset(text, 'a', sizeof(text));
    memcpy(text, "spiffe://td/", 12);

    UNIT_STR(parse(text, MESH_ID_MAX_BYTES, &id), NULL);
    UNIT_HAS(parse(text, MESH_ID_MAX_BYTES + 1, &id), "longer than 2048");

    memset(text, 'a', sizeof(text));
    memcpy(text, "spiffe://", 9);
    text[9 + 255] = '/';

    UNIT_STR(parse(text, 9 + 255 + 2, &id), NULL);
    UNIT_EQ(id.trust_domain_len, 255);

    text[9 + 255] = 'a';
    text[9 + 256] = '/';

    UNIT_HAS(parse(text, 9 + 256 + 2, &id), "longer than 255");
}


UNIT_TESTS = {
    UNIT(parse_takes_our_path),
    UNIT(parse_takes_other_paths_without_parts),
    UNIT(parse_says_what_is_wrong),
    UNIT(parse_refuses_a_nul_inside),
    UNIT(parse_keeps_the_limits),
    UNIT_END
};
