
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_kube_stream.c controller/base/;
 *       -ljansson -levent -lssl -lcrypto */

/*
 * Recordings cut at every byte must give what jansson makes of the whole
 * text; then what no API server sends.
 */

#include <mesh_core.h>
#include <mesh_file.h>
#include <mesh_kube_stream.h>
#include <mesh_mem.h>

#include "unit.h"


#define DATA  "t/data/kubernetes/"


typedef struct {
    json_t      *items;                    /* array of what came */
    unsigned     lost;
    mesh_err_t   why;
    int          enough;                   /* stop after so many; 0: never */
    json_t      *envelope;
    int          rc;                       /* of the read */
    int          end;
    mesh_err_t   err;
} seen_t;


static int
on_item(void *data, json_t *json)
{
    seen_t  *seen = data;

    json_array_append(seen->items, json);

    return seen->enough && (int) json_array_size(seen->items) == seen->enough
           ? MESH_ERROR : MESH_OK;
}


static void
on_lost(void *data, const mesh_err_t *err)
{
    seen_t  *seen = data;

    seen->lost++;
    seen->why = *err;
}


static const mesh_kube_stream_handler_t  handler = { on_item, on_lost };


/* reads text in two pieces, or in pieces of one byte (cut == SIZE_MAX) */

static void
read_cut(seen_t *seen, const mesh_kube_stream_conf_t *conf, const char *text,
    size_t len, size_t cut)
{
    char                *piece;
    size_t               i, n;
    mesh_kube_stream_t  *s;

    seen->items = json_array();
    seen->lost = 0;
    seen->envelope = NULL;
    seen->rc = MESH_OK;
    seen->err.text[0] = '\0';

    s = mesh_kube_stream_new(conf, &handler, seen);

    for (i = 0; i < len && seen->rc == MESH_OK; i += n) {
        n = (cut == SIZE_MAX) ? 1 : (i == 0 && cut) ? cut : len - i;
        n = mesh_min(n, len - i);

        piece = malloc(n);                 /* so that ASan sees the end */
        memcpy(piece, text + i, n);
        seen->rc = mesh_kube_stream_read(s, piece, n, &seen->err);
        free(piece);
    }

    seen->end = mesh_kube_stream_end(s, &seen->envelope, &seen->err);

    mesh_kube_stream_free(s);
}


static void
forget(seen_t *seen)
{
    json_decref(seen->items);

    if (seen->envelope) {
        json_decref(seen->envelope);
    }
}


static void
read_text(seen_t *seen, int watch, const char *text)
{
    mesh_kube_stream_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.watch = watch;

    read_cut(seen, &conf, text, strlen(text), 0);
}


/* the same the other way: one call of jansson, or one a line */

static json_t *
all_items(const char *text, size_t len, int watch)
{
    json_t      *items, *json;
    const char  *p, *end;

    if (!watch) {
        json = json_loadb(text, len, 0, NULL);
        items = json_incref(json_object_get(json, "items"));
        json_decref(json);
        return items;
    }

    items = json_array();

    for (p = text; p < text + len; p = end + 1) {
        end = memchr(p, '\n', (size_t) (text + len - p));
        json_array_append_new(items,
                              json_loadb(p, (size_t) (end - p), 0, NULL));
    }

    return items;
}


static void
cut_everywhere(const char *name, int watch)
{
    char                    *text;
    size_t                   len, cut;
    seen_t                   seen;
    json_t                  *want;
    mesh_kube_stream_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));
    conf.watch = watch;

    UNIT_NEED(mesh_file_read(name, 1 << 20, &text, &len, NULL) == MESH_OK);

    want = all_items(text, len, watch);

    UNIT_OK(json_array_size(want) > 0);

    /* every byte of a short one, some of a long one, and one by one */

    for (cut = 0; cut <= len; cut += len > 6000 ? 151 : 1) {
        read_cut(&seen, &conf, text, len, cut == len ? SIZE_MAX : cut);

        if (!UNIT_OK(json_equal(seen.items, want))
            || !UNIT_EQ(seen.rc, MESH_OK) || !UNIT_EQ(seen.end, MESH_OK))
        {
            printf("# %s at %zu: %s\n", name, cut, seen.err.text);
            forget(&seen);
            break;
        }

        UNIT_EQ(seen.lost, 0);
        UNIT_OK(watch || seen.envelope != NULL);
        forget(&seen);
    }

    /* torn at every byte: what came before is there, nothing else */

    for (cut = 1; cut < len; cut += len > 8000 ? 97 : 11) {
        read_cut(&seen, &conf, text, cut, 0);

        UNIT_EQ(seen.rc, MESH_OK);
        UNIT_EQ(seen.lost, 0);
        UNIT_OK(watch ? 1 : seen.end == MESH_AGAIN || text[cut] == '\n');
        UNIT_OK(json_array_size(seen.items) <= json_array_size(want));
        forget(&seen);
    }

    json_decref(want);
    free(text);
}


static void
lists_cut_everywhere(void)
{
    cut_everywhere(DATA "list-pods.json", 0);
    cut_everywhere(DATA "list-services.json", 0);
    cut_everywhere(DATA "list-endpointslices-v1.json", 0);
    cut_everywhere(DATA "list-httproutes.json", 0);
}


static void
watches_cut_everywhere(void)
{
    cut_everywhere(DATA "watch-pods.jsonl", 1);
    cut_everywhere(DATA "watch-services.jsonl", 1);
    cut_everywhere(DATA "watch-endpointslices-v1.jsonl", 1);
    cut_everywhere(DATA "watch-410-pods.jsonl", 1);
}


static void
envelope_is_the_rest(void)
{
    char                     *text;
    size_t                    len;
    seen_t                    seen;
    json_t                   *meta;
    mesh_kube_stream_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));

    /* a page: its token */

    UNIT_NEED(mesh_file_read(DATA "list-pods-limit1.json", 1 << 20, &text,
                             &len, NULL) == MESH_OK);
    read_cut(&seen, &conf, text, len, SIZE_MAX);
    free(text);

    UNIT_EQ(json_array_size(seen.items), 1);
    UNIT_NEED(seen.envelope != NULL);
    UNIT_EQ(json_array_size(json_object_get(seen.envelope, "items")), 0);

    meta = json_object_get(seen.envelope, "metadata");

    UNIT_STR(json_string_value(json_object_get(meta, "resourceVersion")),
             "267");
    UNIT_HAS(json_string_value(json_object_get(meta, "continue")), "eyJ2I");
    UNIT_EQ(json_integer_value(json_object_get(meta, "remainingItemCount")),
            1);
    forget(&seen);

    /* a Status has no items */

    UNIT_NEED(mesh_file_read(DATA "list-410-continue.json", 1 << 20, &text,
                             &len, NULL) == MESH_OK);
    read_cut(&seen, &conf, text, len, SIZE_MAX);
    free(text);

    UNIT_EQ(json_array_size(seen.items), 0);
    UNIT_NEED(seen.envelope != NULL);
    UNIT_EQ(json_integer_value(json_object_get(seen.envelope, "code")), 410);
    forget(&seen);

    /* null and other things than arrays are no items */

    read_text(&seen, 0, "{\"items\":null,\"kind\":\"PodList\"}");
    UNIT_EQ(seen.end, MESH_OK);
    UNIT_STR(json_string_value(json_object_get(seen.envelope, "kind")),
             "PodList");
    forget(&seen);

    read_text(&seen, 0, "{\"a\":{\"items\":[1,2]},\"items\":[ ] , \"b\":[]}");
    UNIT_EQ(seen.end, MESH_OK);
    UNIT_EQ(json_array_size(json_object_get(json_object_get(seen.envelope,
                                                            "a"), "items")),
            2);
    forget(&seen);
}


/* drop gives null: also for arrays, at the start and end, in pieces */

static void
drops_what_is_named(void)
{
    size_t                    cut, len;
    seen_t                    seen;
    json_t                   *want;
    const char               *text;
    mesh_kube_stream_conf_t   conf;

    static const char *const  drop[] = {
        "metadata managedFields", "spec containers * env", "status",
        "metadata annotations kubectl.kubernetes.io/last-applied", NULL
    };

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));
    conf.drop = drop;

    text = "{\"items\":[{\"metadata\":{\"managedFields\":[{\"a\":[1,{}]}],"
           "\"name\":\"x\",\"annotations\":{\"a\":\"b\\\"]\","
           "\"kubectl.kubernetes.io/last-applied\":\"{\\\"}\",\"z\":\"\"}},"
           "\"spec\":{\"containers\":[{\"env\":[{\"a\":1}],\"b\":2},"
           "{\"c\":{\"env\":3},\"env\": -1e3 },{\"env\":null}],\"env\":4,"
           "\"status\":5},\"status\" : {} },{\"status\":true}]}";
    len = strlen(text);

    want = json_loads("[{\"metadata\":{\"managedFields\":null,"
                      "\"name\":\"x\",\"annotations\":{\"a\":\"b\\\"]\","
                      "\"kubectl.kubernetes.io/last-applied\":null,"
                      "\"z\":\"\"}},\"spec\":{\"containers\":["
                      "{\"env\":null,\"b\":2},{\"c\":{\"env\":3},"
                      "\"env\":null},{\"env\":null}],\"env\":4,"
                      "\"status\":5},\"status\":null},{\"status\":null}]",
                      0, NULL);

    for (cut = 0; cut <= len; cut++) {
        read_cut(&seen, &conf, text, len, cut == len ? SIZE_MAX : cut);
        UNIT_EQ(seen.rc, MESH_OK);
        UNIT_OK(json_equal(seen.items, want));
        forget(&seen);
    }

    json_decref(want);

    /* in an event the paths count from its object */

    conf.watch = 1;
    text = "{\"type\":\"ADDED\",\"status\":1,\"object\":{\"status\":{\"a\":"
           "1},\"metadata\":{\"managedFields\":[1]}}}";
    read_cut(&seen, &conf, text, strlen(text), SIZE_MAX);

    want = json_loads("[{\"type\":\"ADDED\",\"status\":1,\"object\":"
                      "{\"status\":null,\"metadata\":{\"managedFields\":null"
                      "}}}]", 0, NULL);
    UNIT_OK(json_equal(seen.items, want));

    json_decref(want);
    forget(&seen);
}


static void
a_bad_object_spoils_itself_only(void)
{
    seen_t                    seen;
    const char               *text;
    mesh_kube_stream_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));

    /* jansson: no such word, no UTF-8, a number that is too large */

    read_text(&seen, 0, "{\"items\":[{\"a\":1},{\"a\":trve},{\"a\":\"\xff\"},"
              "{\"a\":99999999999999999999},{\"a\":2}]}");
    UNIT_EQ(seen.rc, MESH_OK);
    UNIT_EQ(seen.end, MESH_OK);
    UNIT_EQ(seen.lost, 3);
    UNIT_HAS(seen.why.text, "object 4 is no JSON");
    UNIT_EQ(json_array_size(seen.items), 2);
    forget(&seen);

    /* too large */

    conf.item_max_bytes = 16;
    text = "{\"items\":[{\"a\":1},{\"a\":\"0123456789012345678901234\"},"
           "{\"a\":\"01234567\"}, {\"a\":\"012345678\"}, {\"a\":3}]}";
    read_cut(&seen, &conf, text, strlen(text), SIZE_MAX);
    UNIT_EQ(seen.rc, MESH_OK);
    UNIT_EQ(seen.lost, 2);
    UNIT_HAS(seen.why.text, "object 4 has more than 16 bytes");
    UNIT_EQ(json_array_size(seen.items), 3);
    forget(&seen);

    read_cut(&seen, &conf, text, strlen(text), 0);
    UNIT_EQ(seen.lost, 2);
    UNIT_EQ(json_array_size(seen.items), 3);
    forget(&seen);

    /* NUL in a string is JSON */

    read_text(&seen, 1, "{\"a\":\"x\\u0000y\"}\n{}");
    UNIT_EQ(json_array_size(seen.items), 2);
    forget(&seen);
}


static void
events_need_no_lines(void)
{
    seen_t  seen;

    memset(&seen, 0, sizeof(seen));

    read_text(&seen, 1, "{\"a\":1}{\"a\":2}\r\n\n {\"a\":\n3}\n{\"a\":4");
    UNIT_EQ(seen.rc, MESH_OK);
    UNIT_EQ(json_array_size(seen.items), 3);
    UNIT_EQ(seen.end, MESH_AGAIN);
    forget(&seen);

    read_text(&seen, 1, "");
    UNIT_EQ(seen.end, MESH_OK);
    forget(&seen);
}


static void
refuses_what_has_no_structure(void)
{
    size_t  i;
    seen_t  seen;

    static const char *const  bad[] = {
        "[]", "1", "\"a\"", "x", "{]", "{\"a\":[}", "{\"a\"}", "{\"a\":}",
        "{,}", "{\"a\":1,}", "{\"a\":1 2}", "{a:1}", "{\"a\":[1,]}",
        "{\"a\":[,1]}", "{\"a\":\"\n\"}", "{\"a\" 1}", "{\"items\":[1]}",
        "{\"items\":[[]]}", "{} {}", "{}x", "{\"items\":[{}}", "{\"a\":1}}",
        "404 page not found\n", "<html>"
    };

    memset(&seen, 0, sizeof(seen));

    for (i = 0; i < mesh_nelts(bad); i++) {
        read_text(&seen, 0, bad[i]);

        if (!UNIT_OK(seen.rc == MESH_ERROR || seen.end != MESH_OK)) {
            printf("# %s\n", bad[i]);
        }

        UNIT_OK(seen.err.text[0] != '\0');
        forget(&seen);
    }

    read_text(&seen, 1, "{}\n5");
    UNIT_EQ(seen.rc, MESH_ERROR);
    UNIT_HAS(seen.err.text, "object 2 begins with \"5\"");
    forget(&seen);
}


static void
deep_objects_cost_nothing(void)
{
    char                    *text;
    size_t                   n;
    seen_t                   seen;
    mesh_kube_stream_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));
    conf.watch = 1;

    /* deeper than jansson goes: lost, the next one is read */

    n = 5000;
    text = malloc(6 * n + 64);
    snprintf(text, 8, "{\"a\":");
    memset(text + 5, '[', n);
    memset(text + 5 + n, ']', n);
    snprintf(text + 5 + 2 * n, 64, "}{\"b\":1}");
    read_cut(&seen, &conf, text, strlen(text), SIZE_MAX);
    UNIT_EQ(seen.rc, MESH_OK);
    UNIT_EQ(seen.lost, 1);
    UNIT_EQ(json_array_size(seen.items), 1);
    forget(&seen);

    n = 20000;
    text = realloc(text, n + 64);
    snprintf(text, 8, "{\"a\":");
    memset(text + 5, '[', n);
    read_cut(&seen, &conf, text, n + 5, 0);
    UNIT_EQ(seen.rc, MESH_ERROR);
    UNIT_HAS(seen.err.text, "levels");
    forget(&seen);

    free(text);
}


static void
memory_is_bounded(void)
{
    char                     *big;
    size_t                    i, most;
    seen_t                    seen;
    mesh_err_t                err;
    mesh_kube_stream_t       *s;
    mesh_kube_stream_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    memset(&seen, 0, sizeof(seen));
    conf.item_max_bytes = 64 * 1024;
    seen.items = json_array();

    big = malloc(1 << 16);
    memset(big, 'x', 1 << 16);

    s = mesh_kube_stream_new(&conf, &handler, &seen);
    UNIT_EQ(mesh_kube_stream_read(s, "{\"items\":[{\"a\":\"", 16, &err),
            MESH_OK);

    for (i = 0, most = 0; i < 64; i++) {
        UNIT_EQ(mesh_kube_stream_read(s, big, 1 << 16, &err), MESH_OK);
        most = mesh_max(most, mesh_kube_stream_bytes(s));
    }

    UNIT_OK(most <= 256 * 1024);
    UNIT_EQ(mesh_kube_stream_read(s, "\"},{}]", 6, &err), MESH_OK);
    UNIT_EQ(seen.lost, 1);
    UNIT_EQ(json_array_size(seen.items), 1);

    /* beside the items, too */

    UNIT_EQ(mesh_kube_stream_read(s, ",\"b\":\"", 6, &err), MESH_OK);

    for (i = 0; i < 64; i++) {
        if (mesh_kube_stream_read(s, big, 1 << 16, &err) != MESH_OK) {
            break;
        }
    }

    UNIT_OK(i < 64);
    UNIT_HAS(err.text, "beside its items");
    UNIT_OK(mesh_kube_stream_bytes(s)
            <= 2 * MESH_KUBE_ENVELOPE_MAX_BYTES + 4096);

    mesh_kube_stream_free(s);
    json_decref(seen.items);
    free(big);
}


static void
a_handler_may_stop(void)
{
    seen_t  seen;

    memset(&seen, 0, sizeof(seen));
    seen.enough = 2;

    read_text(&seen, 1, "{}{}{}");
    UNIT_EQ(seen.rc, MESH_ERROR);
    UNIT_EQ(json_array_size(seen.items), 2);
    forget(&seen);
}


UNIT_TESTS = {
    UNIT(lists_cut_everywhere),
    UNIT(watches_cut_everywhere),
    UNIT(envelope_is_the_rest),
    UNIT(drops_what_is_named),
    UNIT(a_bad_object_spoils_itself_only),
    UNIT(events_need_no_lines),
    UNIT(refuses_what_has_no_structure),
    UNIT(deep_objects_cost_nothing),
    UNIT(memory_is_bounded),
    UNIT(a_handler_may_stop),
    UNIT_END
};
