
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/identity/mesh_token.c controller/base/mesh_file.c
         controller/base/mesh_err.c; -lcrypto */

/* The token file: columns, quotes, lookups, reloads. */

#include <mesh_file.h>
#include <mesh_token.h>

#include "unit.h"


static char             path[] = "/tmp/u-mesh_token.XXXXXX";
static mesh_err_t       err;
static mesh_token_t    *tokens;


static int
load(const char *text)
{
    if (mesh_file_write(path, text, strlen(text), 0600, &err) != MESH_OK) {
        return MESH_ERROR;
    }

    if (tokens == NULL) {
        tokens = mesh_token_new(path, &err);
        return (tokens != NULL) ? MESH_OK : MESH_ERROR;
    }

    return mesh_token_reload(tokens, &err);
}


static const char *
user_of(const char *token)
{
    const mesh_token_who_t  *who;

    return mesh_token_find(tokens, token, &who) == MESH_OK ? who->user : NULL;
}


static void
lines_are_read(void)
{
    int                      fd;
    const mesh_token_who_t  *who;

    fd = mkstemp(path);
    UNIT_NEED(fd != -1);
    (void) close(fd);

    UNIT_EQ(load("t1,system:serviceaccount:shop:web,u-1,\"a,b\"\r\n"
                 "\n"
                 "\"t,2\",\"a \"\"user\"\"\",\n"
                 "t3,bob,u3,group"), MESH_OK);
    UNIT_EQ(mesh_token_count(tokens), 3);

    UNIT_EQ(mesh_token_find(tokens, "t1", &who), MESH_OK);
    UNIT_STR(who->user, "system:serviceaccount:shop:web");
    UNIT_STR(who->uid, "u-1");
    UNIT_STR(user_of("t,2"), "a \"user\"");
    UNIT_STR(user_of("t3"), "bob");
    UNIT_STR(user_of("t"), NULL);
    UNIT_STR(user_of("t11"), NULL);
    UNIT_STR(user_of(""), NULL);
    UNIT_STR(user_of("T1"), NULL);
}


static void
bad_files_change_nothing(void)
{
    char    text[20000];
    size_t  i;

    static const struct {
        const char  *text;
        const char  *wrong;
    } rows[] = {
        { "x\n", "line 1: 1 columns, expected token,user,uid" },
        { "a,b,c\nx,y\n", "line 2: 2 columns" },
        { "a,b,c,d,e\n", "groups need quotes" },
        { ",b,c\n", "token has 0 bytes" },
        { "a,,c\n", "user has 0 bytes" },
        { "a,b,u d\n", "uid \"u d\" is not" },
        { "a,b,u_d\n", "uid \"u_d\" is not" },
        { "a,b,\"c\n\"\n", "column 3 has a quote out of place" },
        { "a,b,\"c\"d\n", "column 3 has a quote" },
        { "a,b\"c,d\n", "column 2 has a quote" },
        { "\"", "column 1 has a quote" },
        { "a,b,c\nd,e,f\na,g,h\n", "have the same token" },
        { "a,b,01234567890123456789012345678901234567890123456789"
          "012345678901234\n", "at most 64" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(load(rows[i].text), MESH_ERROR);
        UNIT_HAS(err.text, rows[i].wrong);
        UNIT_HAS(err.text, path);
        UNIT_STR(user_of("t3"), "bob");
    }

    memset(text, 'a', sizeof(text));
    memcpy(text + MESH_TOKEN_MAX + 1, ",b,c\n", 6);
    UNIT_EQ(load(text), MESH_ERROR);
    UNIT_HAS(err.text, "token has 8193 bytes");
    UNIT_EQ(load(text + 1), MESH_OK);

    memset(text, 'a', sizeof(text));
    memcpy(text, "t,", 2);
    memcpy(text + 2 + MESH_TOKEN_USER_MAX + 1, ",c\n", 4);
    UNIT_EQ(load(text), MESH_ERROR);
    UNIT_HAS(err.text, "user has 257 bytes");

    UNIT_EQ(mesh_file_write(path, "a,b\0,c\n", 7, 0600, &err), MESH_OK);
    UNIT_EQ(mesh_token_reload(tokens, &err), MESH_ERROR);
    UNIT_HAS(err.text, "zero byte");

    (void) unlink(path);
    UNIT_EQ(mesh_token_reload(tokens, &err), MESH_ERROR);
    UNIT_HAS(err.text, "No such file");
    UNIT_EQ(mesh_token_count(tokens), 1);
}


static void
reloads_replace(void)
{
    UNIT_EQ(load("n1,new,\n"), MESH_OK);
    UNIT_STR(user_of("t3"), NULL);
    UNIT_STR(user_of("n1"), "new");
    UNIT_EQ(load(""), MESH_OK);
    UNIT_EQ(mesh_token_count(tokens), 0);
    UNIT_STR(user_of("n1"), NULL);
}


static void
many_are_found(void)
{
    char     name[32], *text;
    FILE    *out;
    size_t   i, len;

    out = open_memstream(&text, &len);
    UNIT_NEED(out != NULL);

    for (i = 0; i < 5000; i++) {
        fprintf(out, "token-%zu,user-%zu,%zu\n", i, i, i);
    }

    (void) fclose(out);
    UNIT_EQ(load(text), MESH_OK);
    free(text);

    for (i = 0; i < 5000; i += 7) {
        (void) snprintf(name, sizeof(name), "token-%zu", i);
        UNIT_NEED(user_of(name) != NULL);
        UNIT_STR(user_of(name) + 5, name + 6);
    }

    UNIT_STR(user_of("token-5000"), NULL);
}


static void
ids_are_of_service_accounts(void)
{
    char              id[64];
    size_t            i;
    mesh_token_who_t  who;

    static const char  *rows[] = {
        "bob", "system:serviceaccount", "system:serviceaccount:",
        "system:serviceaccount:shop", "system:serviceaccount:shop:",
        "system:serviceaccount::web", "system:serviceaccount:shop:web:x",
        "system:serviceaccount:shop:we/b", "system:serviceaccount:sh/op:web",
        "system:node:a",
        "system:serviceaccount:a:012345678901234567890123456789012345678901"
    };

    memset(&who, 0, sizeof(who));
    (void) snprintf(who.user, sizeof(who.user), "%s",
                    "system:serviceaccount:shop:web");
    UNIT_EQ(mesh_token_id(&who, "cluster.local", id, sizeof(id)), MESH_OK);
    UNIT_STR(id, "spiffe://cluster.local/ns/shop/sa/web");

    for (i = 0; i < mesh_nelts(rows); i++) {
        (void) snprintf(who.user, sizeof(who.user), "%s", rows[i]);
        UNIT_EQ(mesh_token_id(&who, "cluster.local", id, sizeof(id)),
                MESH_DECLINED);
    }

    mesh_token_free(tokens);
    mesh_token_free(NULL);
    (void) unlink(path);
}


UNIT_TESTS = {
    UNIT(lines_are_read),
    UNIT(bad_files_change_nothing),
    UNIT(reloads_replace),
    UNIT(many_are_found),
    UNIT(ids_are_of_service_accounts),
    UNIT_END
};
