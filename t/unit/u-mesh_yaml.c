
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/ ngx_mesh_module/shared/; -lyaml -ljansson -lm
 *       -lcrypto */

/*
 * What kubectl's YAML means, that a bad document takes no other down, and
 * where errors stand.
 */

#include <mesh_core.h>
#include <mesh_file.h>
#include <mesh_yaml.h>

#include "unit.h"


#define SEEN_MAX  16


typedef struct {
    char      text[512];               /* JSON, or the error */
    unsigned  line;
    int       bad;
} seen_t;


static seen_t    seen[SEEN_MAX];
static unsigned  nseen;


static void
on_document(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *err)
{
    char    *text;
    seen_t  *s;

    (void) data;
    (void) yaml;

    if (nseen == SEEN_MAX) {
        json_decref(json);
        return;
    }

    s = &seen[nseen++];
    s->line = line;
    s->bad = (json == NULL);

    if (json == NULL) {
        snprintf(s->text, sizeof(s->text), "%s", err->text);
        return;
    }

    text = json_dumps(json, JSON_COMPACT|JSON_ENCODE_ANY);
    snprintf(s->text, sizeof(s->text), "%s", text);

    free(text);
    json_decref(json);
}


static unsigned
parse(const char *text)
{
    memset(seen, 0, sizeof(seen));
    nseen = 0;

    return mesh_yaml_parse(text, strlen(text), on_document, NULL);
}


static void
scalars_mean_what_kubectl_says(void)
{
    size_t  i;

    static const struct {
        const char  *yaml;
        const char  *json;
    } rows[] = {
        { "a", "\"a\"" }, { "\"8080\"", "\"8080\"" }, { "8080", "8080" },
        { "'true'", "\"true\"" }, { "true", "true" }, { "No", "false" },
        { "on", "true" }, { "~", "null" }, { "-17", "-17" }, { "+5", "5" },
        { "0x1F", "31" }, { "0777", "511" }, { "0o17", "15" },
        { "0b101", "5" }, { "1_000", "1000" }, { "08", "\"08\"" },
        { "1.5", "1.5" }, { "1.e3", "1000.0" }, { ".5", "0.5" },
        { "12e34", "\"12e34\"" }, { "y", "\"y\"" }, { "N", "\"N\"" },
        { "10.96.0.1", "\"10.96.0.1\"" }, { "12:30:45", "\"12:30:45\"" },
        { "fd00::1", "\"fd00::1\"" }, { "5e", "\"5e\"" },
        { "2026-11-23T03:29:17Z", "\"2026-11-23T03:29:17Z\"" },
        { "!!str 80", "\"80\"" }, { "!!int 80", "80" }, { "\"\"", "\"\"" },
        { "99999999999999999999", "\"99999999999999999999\"" },
        { "|\n  a\n  b\n", "\"a\\nb\\n\"" }, { ">-\n  a\n  b\n", "\"a b\"" },
        { "9223372036854775807", "9223372036854775807" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char  text[128], want[128];

        snprintf(text, sizeof(text), "k: %s", rows[i].yaml);
        snprintf(want, sizeof(want), "{\"k\":%s}", rows[i].json);

        UNIT_EQ(parse(text), 0);
        UNIT_EQ(nseen, 1);
        UNIT_STR(seen[0].text, want);
    }
}


static void
json_is_yaml(void)
{
    UNIT_EQ(parse("{\"a\": [1, -2.5, \"x\\u00e9\\n\", null, true],\n"
                  "\t\"b\": {\"c\": {}}}\n"), 0);
    UNIT_STR(seen[0].text, "{\"a\":[1,-2.5,\"x\xc3\xa9\\n\",null,true],"
                           "\"b\":{\"c\":{}}}");
}


static void
documents_are_cut_at_markers(void)
{
    UNIT_EQ(parse("%YAML 1.1\n---\na: 1\n---\n# only words\n--- {b: 2}\n...\n"
                  "c: |\n  text\n   --- inside\n---\n---\nnull\n"), 0);
    UNIT_EQ(nseen, 3);
    UNIT_STR(seen[0].text, "{\"a\":1}");
    UNIT_EQ(seen[0].line, 3);
    UNIT_STR(seen[1].text, "{\"b\":2}");
    UNIT_EQ(seen[1].line, 6);
    UNIT_STR(seen[2].text, "{\"c\":\"text\\n --- inside\\n\"}");
    UNIT_EQ(seen[2].line, 8);
}


static void
a_bad_document_takes_no_other_down(void)
{
    UNIT_EQ(parse("a: 1\n---\nb: 2\nc: [1,\nd: }\n---\ne: 3\n---\n\tf: 4\n"),
            2);
    UNIT_NEED(nseen == 4);
    UNIT_STR(seen[0].text, "{\"a\":1}");
    UNIT_OK(seen[1].bad);
    UNIT_EQ(seen[1].line, 5);
    UNIT_STR(seen[2].text, "{\"e\":3}");
    UNIT_EQ(seen[2].line, 7);
    UNIT_OK(seen[3].bad);
    UNIT_EQ(seen[3].line, 9);
}


static void
errors_say_what_and_where(void)
{
    size_t  i;

    static const struct {
        const char  *yaml;
        const char  *word;
        unsigned     line;
    } rows[] = {
        { "a: 1\nb: 2\na: 3\n", "the key \"a\" stands twice", 3 },
        { "a: *x\n", "alias \"x\" has no anchor", 1 },
        { "a: &x [*x]\n", "alias \"x\" has no anchor", 1 },
        { "a: .inf\n", "no form in JSON", 1 },
        { "a: !!binary aGk=\n", "tag", 1 },
        { "a: !ours 1\n", "tag", 1 },
        { "x: 1\n? [a]\n: 1\n", "a key that is no scalar", 2 },
        { "a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys", 3 },
        { "a: \"b\n", "unexpected end of stream", 2 },
        { "a: \xff\xfe\n", "invalid leading UTF-8", 1 },
        { "a: b: c\n", "mapping values are not allowed", 1 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        UNIT_EQ(parse(rows[i].yaml), 1);
        UNIT_HAS(seen[0].text, rows[i].word);
        UNIT_EQ(seen[0].line, rows[i].line);
    }
}


static void
aliases_share_and_are_counted(void)
{
    int    i;
    char   bomb[2048];
    int    n;

    UNIT_EQ(parse("a: &x {p: 1}\nb: *x\nc: [*x, *x]\n"), 0);
    UNIT_STR(seen[0].text, "{\"a\":{\"p\":1},\"b\":{\"p\":1},"
                           "\"c\":[{\"p\":1},{\"p\":1}]}");

    /* nine levels of nine: 400 million nodes if it were let through */

    n = snprintf(bomb, sizeof(bomb), "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");

    for (i = 1; i < 9; i++) {
        n += snprintf(bomb + n, sizeof(bomb) - (size_t) n,
                      "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,"
                      "*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1, i - 1);
    }

    UNIT_EQ(parse(bomb), 1);
    UNIT_HAS(seen[0].text, "nodes");
}


/* few nodes, but each time a megabyte when the tree is printed */

static void
long_text_is_counted_each_time(void)
{
    size_t   n;
    char    *text;

    enum { LONG = 1024 * 1024, TIMES = 64 };

    text = malloc(LONG + 8 * TIMES + 64);

    n = (size_t) snprintf(text, 64, "a: &x ");
    memset(text + n, 'z', LONG);
    n += LONG;
    n += (size_t) snprintf(text + n, 64, "\nb: [*x");

    while (n < LONG + 8 * TIMES - 64) {
        n += (size_t) snprintf(text + n, 64, ", *x");
    }

    snprintf(text + n, 64, "]\n");

    UNIT_EQ(parse(text), 1);
    UNIT_HAS(seen[0].text, "bytes");

    free(text);
}


static void
depth_is_limited(void)
{
    char  text[2 * MESH_YAML_MAX_DEPTH + 16];

    memset(text, '[', MESH_YAML_MAX_DEPTH);
    memset(text + MESH_YAML_MAX_DEPTH, ']', MESH_YAML_MAX_DEPTH);
    text[2 * MESH_YAML_MAX_DEPTH] = '\0';

    UNIT_EQ(parse(text), 0);

    memset(text, '[', MESH_YAML_MAX_DEPTH + 1);
    text[MESH_YAML_MAX_DEPTH + 1] = '\0';

    UNIT_EQ(parse(text), 1);
    UNIT_HAS(seen[0].text, "deeper");

    /* an alias cannot go deeper either */

    UNIT_EQ(parse("a: &a [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]"
                  "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
                  "b: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*a]]]]]]]]]]]]]]]]]]]]]]"
                  "]]]]]]]]\n"), 1);
    UNIT_HAS(seen[0].text, "deeper");
}


static unsigned  line_of_item;


static void
on_lines(void *data, json_t *json, unsigned line, const mesh_yaml_t *yaml,
    const mesh_err_t *err)
{
    (void) data;
    (void) line;
    (void) err;

    line_of_item = mesh_yaml_line(yaml,
                                  json_array_get(json_object_get(json,
                                                                 "items"),
                                                 1));
    json_decref(json);
}


static void
items_know_their_line(void)
{
    const char  *text;

    text = "# list\nkind: List\nitems:\n- a: 1\n  b: 2\n- c: 3\n  d: {}\n";

    mesh_yaml_parse(text, strlen(text), on_lines, NULL);

    UNIT_EQ(line_of_item, 6);
}


static void
every_cut_of_a_text_is_safe(void)
{
    size_t       i, len;
    char        *copy;
    const char  *text;

    text = "a: &x [1, {b: \"c\\u0041\"}]\n--- !!map\nd: *x\n? e\n: |2\n   f\n"
           "...\n{\"g\": 'h'}\n";
    len = strlen(text);

    for (i = 0; i <= len; i++) {
        copy = malloc(i + 1);
        memcpy(copy, text, i);

        nseen = 0;
        (void) mesh_yaml_parse(copy, i, on_document, NULL);
        UNIT_OK(nseen <= 3);

        free(copy);
    }
}


static void
recordings_parse(void)
{
    char        *text;
    size_t       i, len;
    mesh_err_t   err;

    static const char  *files[] = {
        "t/data/kubernetes/list-pods.json",
        "t/data/kubernetes/list-services.json",
        "t/data/kubernetes/list-endpointslices-v1.json"
    };

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        UNIT_NEED(mesh_file_read(files[i], MESH_YAML_MAX_BYTES, &text, &len,
                                 &err) == MESH_OK);
        UNIT_EQ(parse(text), 0);
        UNIT_EQ(nseen, 1);

        free(text);
    }
}


UNIT_TESTS = {
    UNIT(scalars_mean_what_kubectl_says),
    UNIT(json_is_yaml),
    UNIT(documents_are_cut_at_markers),
    UNIT(a_bad_document_takes_no_other_down),
    UNIT(errors_say_what_and_where),
    UNIT(aliases_share_and_are_counted),
    UNIT(long_text_is_counted_each_time),
    UNIT(depth_is_limited),
    UNIT(items_know_their_line),
    UNIT(every_cut_of_a_text_is_safe),
    UNIT(recordings_parse),
    UNIT_END
};
