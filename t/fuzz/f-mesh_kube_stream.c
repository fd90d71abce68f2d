
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_kube_stream.c controller/base/;
 *       -ljansson -levent -lssl -lcrypto */

/*
 * An answer of an API server: the first byte says whether it is a list or a
 * watch, and what is dropped; the second how it is cut.  Read whole or in
 * pieces it gives the same objects, and of a list that jansson reads, too,
 * those that jansson finds.
 */

#include <mesh_core.h>
#include <mesh_kube_stream.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct {
    json_t   *items;
    unsigned  lost;
    int       rc;
    json_t   *envelope;
} seen_t;


static const char *const  drop[] = {
    "a", "metadata managedFields", "b * c", NULL
};


static int
on_item(void *data, json_t *json)
{
    seen_t  *seen = data;

    json_array_append(seen->items, json);

    return MESH_OK;
}


static void
on_lost(void *data, const mesh_err_t *err)
{
    seen_t  *seen = data;

    (void) err;

    seen->lost++;
}


static const mesh_kube_stream_handler_t  handler = { on_item, on_lost };


static void
read_all(seen_t *seen, uint8_t kind, const char *text, size_t len,
    size_t step)
{
    char                     *piece;
    size_t                    i, n;
    mesh_err_t                err;
    mesh_kube_stream_t       *s;
    mesh_kube_stream_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.watch = kind & 1;
    conf.drop = (kind & 2) ? drop : NULL;
    conf.item_max_bytes = (kind & 4) ? 64 : 0;

    memset(seen, 0, sizeof(seen_t));
    seen->items = json_array();
    seen->rc = MESH_OK;

    s = mesh_kube_stream_new(&conf, &handler, seen);

    for (i = 0; i < len && seen->rc == MESH_OK; i += n) {
        n = step < len - i ? step : len - i;

        piece = malloc(n);
        memcpy(piece, text + i, n);
        seen->rc = mesh_kube_stream_read(s, piece, n, &err);
        free(piece);
    }

    if (seen->rc == MESH_OK) {
        seen->rc = mesh_kube_stream_end(s, &seen->envelope, &err);
    }

    mesh_kube_stream_free(s);
}


static void
forget(seen_t *seen)
{
    json_decref(seen->items);
    json_decref(seen->envelope);
}


/* every item is what jansson makes of it, if none was lost or dropped */

static void
compare(const seen_t *seen, const char *text, size_t len)
{
    size_t   i;
    json_t  *json, *items, *item;

    json = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
                      NULL);
    if (json == NULL) {
        return;
    }

    items = json_object_get(json, "items");

    if (!json_is_object(json)) {
        if (seen->rc == MESH_OK) {
            abort();
        }

    } else if (!json_is_array(items)) {
        if (seen->rc == MESH_OK && !json_equal(seen->envelope, json)) {
            abort();
        }

    } else if (seen->rc == MESH_OK && seen->lost == 0
               && !json_equal(seen->items, items))
    {
        abort();

    } else if (seen->rc != MESH_OK) {

        /* then one of the items is no object, or it is too deep for us */

        json_array_foreach(items, i, item) {
            if (!json_is_object(item)) {
                break;
            }
        }

        if (i == json_array_size(items) && len < 10000) {
            abort();
        }
    }

    json_decref(json);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    seen_t       whole, pieces;
    const char  *text;

    if (size < 2) {
        return 0;
    }

    text = (const char *) data + 2;
    size -= 2;

    read_all(&whole, data[0], text, size, size ? size : 1);
    read_all(&pieces, data[0], text, size, data[1] % 16 + 1);

    if (whole.rc != pieces.rc || whole.lost != pieces.lost
        || !json_equal(whole.items, pieces.items)
        || (whole.envelope && !json_equal(whole.envelope, pieces.envelope)))
    {
        abort();
    }

    if ((data[0] & 7) == 0) {
        compare(&whole, text, size);
    }

    forget(&whole);
    forget(&pieces);

    return 0;
}
