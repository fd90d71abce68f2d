
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * The token file.  In memory stand only SHA-256 digests of the tokens: a
 * comparison of digests tells a stranger nothing by its time, and a core
 * dump holds no token.
 */

#include <mesh_token.h>
#include <mesh_file.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>


#define MESH_TOKEN_DIGEST   32
#define MESH_TOKEN_COLUMNS  4

#define MESH_TOKEN_PREFIX   "system:serviceaccount:"


typedef struct {
    uint8_t            digest[MESH_TOKEN_DIGEST];
    mesh_token_who_t   who;
} mesh_token_entry_t;


typedef struct {
    mesh_token_entry_t  *entries;     /* sorted by digest */
    size_t               n;
    size_t               size;
} mesh_token_table_t;


struct mesh_token_s {
    char                *path;
    mesh_token_table_t   table;
};


static int mesh_token_parse(mesh_token_table_t *table, char *text,
    mesh_err_t *err);
static int mesh_token_line(mesh_token_table_t *table, char *line,
    mesh_err_t *err);
static char *mesh_token_column(char **next);
static int mesh_token_add(mesh_token_table_t *table, char *columns[],
    mesh_err_t *err);
static int mesh_token_digest(const char *token, uint8_t *digest);
static int mesh_token_compare(const void *one, const void *two);


mesh_token_t *
mesh_token_new(const char *path, mesh_err_t *err)
{
    mesh_token_t  *tokens;

    tokens = calloc(1, sizeof(mesh_token_t));

    if (tokens == NULL) {
        (void) mesh_err(err, "no memory for tokens");
        return NULL;
    }

    tokens->path = strdup(path);

    if (tokens->path == NULL) {
        (void) mesh_err(err, "no memory for tokens");
        goto failed;
    }

    if (mesh_token_reload(tokens, err) != MESH_OK) {
        goto failed;
    }

    return tokens;

failed:

    mesh_token_free(tokens);

    return NULL;
}


void
mesh_token_free(mesh_token_t *tokens)
{
    if (tokens != NULL) {
        free(tokens->table.entries);
        free(tokens->path);
        free(tokens);
    }
}


size_t
mesh_token_count(const mesh_token_t *tokens)
{
    return tokens->table.n;
}


int
mesh_token_reload(mesh_token_t *tokens, mesh_err_t *err)
{
    int                  rc;
    char                *text;
    size_t               len;
    mesh_token_table_t   table;

    if (mesh_file_read(tokens->path, MESH_TOKEN_FILE_MAX, &text, &len, err)
        != MESH_OK)
    {
        return MESH_ERROR;
    }

    memset(&table, 0, sizeof(table));

    rc = MESH_OK;

    if (strlen(text) != len) {
        rc = mesh_err(err, "there is a zero byte");
    }

    if (rc == MESH_OK) {
        rc = mesh_token_parse(&table, text, err);
    }

    OPENSSL_cleanse(text, len);
    free(text);

    if (rc != MESH_OK) {
        free(table.entries);
        return mesh_err_prefix(err, "%s", tokens->path);
    }

    free(tokens->table.entries);
    tokens->table = table;

    return MESH_OK;
}


static int
mesh_token_parse(mesh_token_table_t *table, char *text, mesh_err_t *err)
{
    char    *line, *next;
    size_t   i, number;

    number = 0;

    for (line = text; line != NULL; line = next) {
        number++;
        next = strchr(line, '\n');

        if (next != NULL) {
            *next++ = '\0';
        }

        line[strcspn(line, "\r")] = '\0';

        if (line[0] != '\0' && mesh_token_line(table, line, err) != MESH_OK) {
            return mesh_err_prefix(err, "line %zu", number);
        }
    }

    if (table->n == 0) {
        return MESH_OK;
    }

    qsort(table->entries, table->n, sizeof(mesh_token_entry_t),
          mesh_token_compare);

    for (i = 1; i < table->n; i++) {

        if (mesh_token_compare(&table->entries[i - 1], &table->entries[i])
            == 0)
        {
            return mesh_err(err, "\"%s\" and \"%s\" have the same token",
                            table->entries[i - 1].who.user,
                            table->entries[i].who.user);
        }
    }

    return MESH_OK;
}


static int
mesh_token_line(mesh_token_table_t *table, char *line, mesh_err_t *err)
{
    int    n;
    char  *next, *columns[MESH_TOKEN_COLUMNS];

    next = line;

    for (n = 0; next != NULL; n++) {

        if (n == MESH_TOKEN_COLUMNS) {
            return mesh_err(err, "more than %d columns: groups need quotes",
                            MESH_TOKEN_COLUMNS);
        }

        columns[n] = mesh_token_column(&next);

        if (columns[n] == NULL) {
            return mesh_err(err, "column %d has a quote out of place", n + 1);
        }
    }

    if (n < 3) {
        return mesh_err(err, "%d columns, expected token,user,uid and maybe "
                        "\"groups\"", n);
    }

    return mesh_token_add(table, columns, err);
}


/* one column, unquoted in place (RFC 4180); *next is NULL after the last */

static char *
mesh_token_column(char **next)
{
    char  *column, *p, *out;

    column = *next;
    *next = NULL;

    if (column[0] != '"') {
        p = column + strcspn(column, ",\"");

        if (*p == '"') {
            return NULL;
        }

        if (*p == ',') {
            *p = '\0';
            *next = p + 1;
        }

        return column;
    }

    out = column;

    for (p = column + 1; *p; p++) {

        if (*p != '"') {
            *out++ = *p;
            continue;
        }

        if (p[1] == '"') {
            *out++ = *p++;
            continue;
        }

        if (p[1] == ',') {
            *next = p + 2;

        } else if (p[1] != '\0') {
            return NULL;
        }

        *out = '\0';

        return column;
    }

    return NULL;                      /* the quote is not closed */
}


static int
mesh_token_add(mesh_token_table_t *table, char *columns[], mesh_err_t *err)
{
    size_t               size;
    const char          *token, *user, *uid;
    mesh_token_entry_t  *entry, *grown;

    token = columns[0];
    user = columns[1];
    uid = columns[2];

    if (token[0] == '\0' || strlen(token) > MESH_TOKEN_MAX) {
        return mesh_err(err, "token has %zu bytes, expected 1 .. %d",
                        strlen(token), MESH_TOKEN_MAX);
    }

    if (user[0] == '\0' || strlen(user) > MESH_TOKEN_USER_MAX) {
        return mesh_err(err, "user has %zu bytes, expected 1 .. %d",
                        strlen(user), MESH_TOKEN_USER_MAX);
    }

    /* what a PrintableString may hold and a uid does */

    if (strlen(uid) > MESH_TOKEN_UID_MAX
        || uid[strspn(uid, "abcdefghijklmnopqrstuvwxyz"
                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:")]
           != '\0')
    {
        return mesh_err(err, "uid \"%.64s\" is not of at most %d letters, "
                        "digits, \"-\", \".\", \":\"", uid,
                        MESH_TOKEN_UID_MAX);
    }

    if (table->n == table->size) {
        size = table->size ? table->size * 2 : 64;

        grown = realloc(table->entries, size * sizeof(mesh_token_entry_t));
        if (grown == NULL) {
            return mesh_err(err, "no memory for tokens");
        }

        table->entries = grown;
        table->size = size;
    }

    entry = &table->entries[table->n];

    if (mesh_token_digest(token, entry->digest) != MESH_OK) {
        return mesh_err(err, "cannot make a digest");
    }

    (void) snprintf(entry->who.user, sizeof(entry->who.user), "%s", user);
    (void) snprintf(entry->who.uid, sizeof(entry->who.uid), "%s", uid);

    table->n++;

    return MESH_OK;
}


static int
mesh_token_digest(const char *token, uint8_t *digest)
{
    return EVP_Digest(token, strlen(token), digest, NULL, EVP_sha256(), NULL)
           == 1 ? MESH_OK : MESH_ERROR;
}


static int
mesh_token_compare(const void *one, const void *two)
{
    const mesh_token_entry_t  *first = one, *second = two;

    return memcmp(first->digest, second->digest, MESH_TOKEN_DIGEST);
}


int
mesh_token_find(const mesh_token_t *tokens, const char *token,
    const mesh_token_who_t **who)
{
    mesh_token_entry_t   key;
    mesh_token_entry_t  *entry;

    if (tokens->table.n == 0
        || mesh_token_digest(token, key.digest) != MESH_OK)
    {
        return MESH_DECLINED;
    }

    entry = bsearch(&key, tokens->table.entries, tokens->table.n,
                    sizeof(mesh_token_entry_t), mesh_token_compare);

    if (entry == NULL) {
        return MESH_DECLINED;
    }

    *who = &entry->who;

    return MESH_OK;
}


int
mesh_token_id(const mesh_token_who_t *who, const char *trust_domain,
    char *id, size_t size)
{
    int          n;
    size_t       len;
    const char  *namespace, *account;

    len = sizeof(MESH_TOKEN_PREFIX) - 1;

    if (strncmp(who->user, MESH_TOKEN_PREFIX, len) != 0) {
        return MESH_DECLINED;
    }

    namespace = who->user + len;
    account = strchr(namespace, ':');

    if (account == NULL || account == namespace || account[1] == '\0'
        || strpbrk(account + 1, ":/") != NULL
        || memchr(namespace, '/', account - namespace) != NULL)
    {
        return MESH_DECLINED;
    }

    n = snprintf(id, size, "spiffe://%s/ns/%.*s/sa/%s", trust_domain,
                 (int) (account - namespace), namespace, account + 1);

    return (n > 0 && (size_t) n < size) ? MESH_OK : MESH_DECLINED;
}
