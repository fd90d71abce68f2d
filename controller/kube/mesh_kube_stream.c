
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * An incremental JSON scanner: it knows where objects begin and end and which
 * member it is in, nothing else; jansson reads each object when it is whole.
 * Events are told apart by their braces, as client-go does, not by line ends.
 * What structure is broken cannot be read on, what is in an object spoils
 * that object only.
 */

#include <mesh_kube_stream.h>
#include <mesh_mem.h>


#define MESH_KUBE_DEPTH_MAX    10240   /* no API server lets through more */
#define MESH_KUBE_TRACK_MAX    6       /* levels of keys that drop can name */
#define MESH_KUBE_PATH_MAX     256
#define MESH_KUBE_KEEP_BYTES   (64 * 1024)  /* of a buffer between objects */
#define MESH_KUBE_EVENT        "object "    /* before paths in an event */


typedef enum {
    MESH_KUBE_TOP = 0,         /* before a document or event */
    MESH_KUBE_VALUE,
    MESH_KUBE_VALUE_OR_END,    /* after "[" */
    MESH_KUBE_KEY,
    MESH_KUBE_KEY_OR_END,      /* after "{" */
    MESH_KUBE_COLON,
    MESH_KUBE_AFTER,           /* a value has ended */
    MESH_KUBE_STRING,
    MESH_KUBE_ESCAPE,
    MESH_KUBE_WORD,            /* number, true, false, null */
    MESH_KUBE_END              /* after the one document */
} mesh_kube_scan_e;


typedef struct {
    char                              *text;
    size_t                             len;
    size_t                             size;
} mesh_kube_buf_t;


struct mesh_kube_stream_s {
    mesh_kube_stream_conf_t            conf;
    const mesh_kube_stream_handler_t  *handler;
    void                              *data;

    mesh_kube_scan_e                   state;
    int                                is_key;     /* of a string */
    size_t                             depth;      /* open containers */
    uint8_t                            array[MESH_KUBE_DEPTH_MAX / 8];

    size_t                             base;       /* depth of the item */
    unsigned                           inside:1;   /* an item */
    unsigned                           items:1;    /* in a list's items */
    unsigned                           dropping:1;
    unsigned                           spoiled:1;  /* the item */
    size_t                             drop_depth;
    mesh_err_t                         spoil;

    char                               path[MESH_KUBE_PATH_MAX];
    size_t                             path_len[MESH_KUBE_TRACK_MAX + 1];

    mesh_kube_buf_t                    item;
    mesh_kube_buf_t                    envelope;
    const char                        *run;        /* not yet copied from */
    size_t                             count;      /* of objects, for errors */
};


static const char *mesh_kube_stream_byte(mesh_kube_stream_t *s,
    const char *p, mesh_err_t *err);
static const char *mesh_kube_stream_token(mesh_kube_stream_t *s,
    const char *p, mesh_err_t *err);
static const char *mesh_kube_stream_value(mesh_kube_stream_t *s,
    const char *p, mesh_err_t *err);
static int mesh_kube_stream_item_begins(mesh_kube_stream_t *s, const char *p,
    mesh_err_t *err);
static int mesh_kube_stream_open(mesh_kube_stream_t *s, int array,
    const char *after, mesh_err_t *err);
static const char *mesh_kube_stream_close(mesh_kube_stream_t *s,
    const char *p, mesh_err_t *err);
static int mesh_kube_stream_value_end(mesh_kube_stream_t *s,
    const char *after, mesh_err_t *err);
static int mesh_kube_stream_emit(mesh_kube_stream_t *s, mesh_err_t *err);
static const char *mesh_kube_stream_string(mesh_kube_stream_t *s,
    const char *p, const char *end);
static void mesh_kube_stream_key_add(mesh_kube_stream_t *s, const char *text,
    size_t len);
static int mesh_kube_stream_in_array(const mesh_kube_stream_t *s);
static size_t mesh_kube_stream_level(const mesh_kube_stream_t *s);
static void mesh_kube_stream_path(mesh_kube_stream_t *s, const char *key);
static int mesh_kube_stream_is_dropped(const mesh_kube_stream_t *s);
static int mesh_kube_stream_flush(mesh_kube_stream_t *s, const char *to,
    mesh_err_t *err);
static int mesh_kube_stream_unexpected(const mesh_kube_stream_t *s, char c,
    mesh_err_t *err);
static void mesh_kube_buf_add(mesh_kube_buf_t *buf, const char *text,
    size_t len);


mesh_kube_stream_t *
mesh_kube_stream_new(const mesh_kube_stream_conf_t *conf,
    const mesh_kube_stream_handler_t *handler, void *data)
{
    mesh_kube_stream_t  *s;

    s = mesh_mem_new(sizeof(mesh_kube_stream_t));

    s->conf = *conf;
    s->handler = handler;
    s->data = data;

    if (s->conf.item_max_bytes == 0) {
        s->conf.item_max_bytes = MESH_KUBE_ITEM_MAX_BYTES;
    }

    return s;
}


void
mesh_kube_stream_free(mesh_kube_stream_t *s)
{
    if (s == NULL) {
        return;
    }

    free(s->item.text);
    free(s->envelope.text);
    free(s);
}


size_t
mesh_kube_stream_bytes(const mesh_kube_stream_t *s)
{
    return s->item.size + s->envelope.size;
}


int
mesh_kube_stream_read(mesh_kube_stream_t *s, const char *text, size_t len,
    mesh_err_t *err)
{
    const char  *p, *end;

    p = text;
    end = text + len;
    s->run = text;

    while (p < end) {

        if (s->state == MESH_KUBE_STRING) {
            p = mesh_kube_stream_string(s, p, end);

            if (p == end) {
                break;
            }
        }

        p = mesh_kube_stream_byte(s, p, err);

        if (p == NULL) {
            return MESH_ERROR;
        }
    }

    return mesh_kube_stream_flush(s, end, err);
}


int
mesh_kube_stream_end(mesh_kube_stream_t *s, json_t **envelope,
    mesh_err_t *err)
{
    json_t        *json;
    json_error_t   error;

    if (s->conf.watch) {
        return s->state == MESH_KUBE_TOP ? MESH_OK : MESH_AGAIN;
    }

    if (s->state != MESH_KUBE_END) {
        return MESH_AGAIN;
    }

    if (envelope == NULL) {
        return MESH_OK;
    }

    json = json_loadb(s->envelope.text, s->envelope.len, JSON_ALLOW_NUL,
                      &error);

    if (json == NULL) {
        return mesh_err(err, "the answer is no JSON: %s", error.text);
    }

    *envelope = json;

    return MESH_OK;
}


/* one byte that is no plain text of a string; where to go on, or NULL */

static const char *
mesh_kube_stream_byte(mesh_kube_stream_t *s, const char *p, mesh_err_t *err)
{
    char  c;

    c = *p;

    if (s->state == MESH_KUBE_STRING || s->state == MESH_KUBE_ESCAPE
        || s->state == MESH_KUBE_WORD)
    {
        return mesh_kube_stream_token(s, p, err);
    }

    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        return p + 1;
    }

    switch (s->state) {

    case MESH_KUBE_TOP:
    case MESH_KUBE_VALUE:
        return mesh_kube_stream_value(s, p, err);

    case MESH_KUBE_VALUE_OR_END:
        return c == ']' ? mesh_kube_stream_close(s, p, err)
                        : mesh_kube_stream_value(s, p, err);

    case MESH_KUBE_KEY_OR_END:

        if (c == '}') {
            return mesh_kube_stream_close(s, p, err);
        }

        /* fall through */

    case MESH_KUBE_KEY:

        if (c == '"') {
            mesh_kube_stream_path(s, "");
            s->state = MESH_KUBE_STRING;
            s->is_key = 1;
            return p + 1;
        }

        break;

    case MESH_KUBE_COLON:

        if (c == ':') {
            s->state = MESH_KUBE_VALUE;
            return p + 1;
        }

        break;

    case MESH_KUBE_AFTER:

        if (c == ',') {
            s->state = mesh_kube_stream_in_array(s) ? MESH_KUBE_VALUE
                                                    : MESH_KUBE_KEY;
            return p + 1;
        }

        return mesh_kube_stream_close(s, p, err);

    default:
        break;
    }

    (void) mesh_kube_stream_unexpected(s, c, err);

    return NULL;
}


/* what ends a string, is escaped in it, or belongs to a word */

static const char *
mesh_kube_stream_token(mesh_kube_stream_t *s, const char *p, mesh_err_t *err)
{
    char  c;

    c = *p;

    if (s->state == MESH_KUBE_ESCAPE) {
        mesh_kube_stream_key_add(s, p, 1);
        s->state = MESH_KUBE_STRING;
        return p + 1;
    }

    if (s->state == MESH_KUBE_WORD) {

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '+'
            || (c >= 'A' && c <= 'Z') || c == '-' || c == '.')
        {
            return p + 1;
        }

        return mesh_kube_stream_value_end(s, p, err) == MESH_OK ? p : NULL;
    }

    if (c == '\\') {
        mesh_kube_stream_key_add(s, p, 1);
        s->state = MESH_KUBE_ESCAPE;
        return p + 1;
    }

    if (c != '"') {
        (void) mesh_kube_stream_unexpected(s, c, err);
        return NULL;
    }

    if (s->is_key) {
        s->state = MESH_KUBE_COLON;
        return p + 1;
    }

    return mesh_kube_stream_value_end(s, p + 1, err) == MESH_OK ? p + 1
                                                                 : NULL;
}


/* the first byte of a value */

static const char *
mesh_kube_stream_value(mesh_kube_stream_t *s, const char *p, mesh_err_t *err)
{
    char    c;
    size_t  base;

    c = *p;
    base = s->conf.watch ? 0 : 2;

    if (!s->inside && s->depth == base && (s->conf.watch || s->items)) {
        if (mesh_kube_stream_item_begins(s, p, err) != MESH_OK) {
            return NULL;
        }

    } else if (s->depth == 0 && c != '{') {
        (void) mesh_kube_stream_unexpected(s, c, err);
        return NULL;
    }

    if (s->inside && !s->dropping && mesh_kube_stream_is_dropped(s)) {
        if (mesh_kube_stream_flush(s, p, err) != MESH_OK) {
            return NULL;
        }

        mesh_kube_buf_add(&s->item, "null", 4);

        s->dropping = 1;
        s->drop_depth = s->depth;
    }

    if (c == '"') {
        s->state = MESH_KUBE_STRING;
        s->is_key = 0;
        return p + 1;
    }

    if (c == '{' || c == '[') {
        return mesh_kube_stream_open(s, c == '[', p + 1, err) == MESH_OK
               ? p + 1 : NULL;
    }

    if ((c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f'
        || c == 'n')
    {
        s->state = MESH_KUBE_WORD;
        return p + 1;
    }

    (void) mesh_kube_stream_unexpected(s, c, err);

    return NULL;
}


static int
mesh_kube_stream_item_begins(mesh_kube_stream_t *s, const char *p,
    mesh_err_t *err)
{
    if (*p != '{') {
        return mesh_err(err, "object %zu begins with \"%c\", expected \"{\"",
                        s->count + 1, *p >= ' ' && *p <= '~' ? *p : '?');
    }

    s->run = p;                            /* white space before is nobody's */
    s->inside = 1;
    s->spoiled = 0;
    s->base = s->depth;
    s->item.len = 0;
    s->count++;

    return MESH_OK;
}


static int
mesh_kube_stream_open(mesh_kube_stream_t *s, int array, const char *after,
    mesh_err_t *err)
{
    uint8_t  bit;

    if (s->depth == MESH_KUBE_DEPTH_MAX) {
        return mesh_err(err, "object %zu has more than %d levels", s->count,
                        MESH_KUBE_DEPTH_MAX);
    }

    /* the list's items: from here on each is an object of its own */

    if (!s->conf.watch && s->depth == 1 && array
        && strcmp(s->path, "items") == 0)
    {
        if (mesh_kube_stream_flush(s, after, err) != MESH_OK) {
            return MESH_ERROR;
        }

        s->items = 1;
    }

    bit = (uint8_t) (1 << (s->depth % 8));

    if (array) {
        s->array[s->depth / 8] |= bit;

    } else {
        s->array[s->depth / 8] &= (uint8_t) ~bit;
    }

    s->depth++;
    s->state = array ? MESH_KUBE_VALUE_OR_END : MESH_KUBE_KEY_OR_END;

    if (array) {
        mesh_kube_stream_path(s, "*");
    }

    return MESH_OK;
}


static const char *
mesh_kube_stream_close(mesh_kube_stream_t *s, const char *p, mesh_err_t *err)
{
    size_t  level;

    if (*p != (mesh_kube_stream_in_array(s) ? ']' : '}')) {
        (void) mesh_kube_stream_unexpected(s, *p, err);
        return NULL;
    }

    if (s->items && !s->inside && s->depth == 2) {
        s->items = 0;
        s->run = p;                        /* the bracket is the envelope's */
    }

    s->depth--;

    level = mesh_kube_stream_level(s);

    if (level <= MESH_KUBE_TRACK_MAX) {
        s->path[s->path_len[level]] = '\0';
    }

    return mesh_kube_stream_value_end(s, p + 1, err) == MESH_OK ? p + 1
                                                                 : NULL;
}


/* after: where the value's last byte has been passed */

static int
mesh_kube_stream_value_end(mesh_kube_stream_t *s, const char *after,
    mesh_err_t *err)
{
    s->state = MESH_KUBE_AFTER;

    if (s->dropping && s->depth == s->drop_depth) {
        s->dropping = 0;
        s->run = after;
    }

    if (s->inside && s->depth == s->base) {
        if (mesh_kube_stream_flush(s, after, err) != MESH_OK
            || mesh_kube_stream_emit(s, err) != MESH_OK)
        {
            return MESH_ERROR;
        }
    }

    if (s->depth == 0) {
        s->state = s->conf.watch ? MESH_KUBE_TOP : MESH_KUBE_END;
    }

    return MESH_OK;
}


static int
mesh_kube_stream_emit(mesh_kube_stream_t *s, mesh_err_t *err)
{
    int            rc;
    json_t        *json;
    json_error_t   error;

    s->inside = 0;

    json = s->spoiled ? NULL
                      : json_loadb(s->item.text, s->item.len, JSON_ALLOW_NUL,
                                   &error);

    if (s->item.size > MESH_KUBE_KEEP_BYTES) {
        free(s->item.text);
        memset(&s->item, 0, sizeof(mesh_kube_buf_t));
    }

    if (json == NULL) {
        if (!s->spoiled) {
            mesh_err(&s->spoil, "object %zu is no JSON: %s", s->count,
                     error.text);
        }

        s->handler->lost(s->data, &s->spoil);
        return MESH_OK;
    }

    rc = s->handler->item(s->data, json);

    json_decref(json);

    return rc == MESH_ERROR ? mesh_err(err, "not wanted any more") : MESH_OK;
}


/* goes over a string's text; keys are remembered as they are written */

static const char *
mesh_kube_stream_string(mesh_kube_stream_t *s, const char *p,
    const char *end)
{
    const char  *from;

    from = p;

    while (p < end && *p != '"' && *p != '\\' && (unsigned char) *p >= ' ') {
        p++;
    }

    mesh_kube_stream_key_add(s, from, (size_t) (p - from));

    return p;
}


static void
mesh_kube_stream_key_add(mesh_kube_stream_t *s, const char *text, size_t len)
{
    size_t  level, n;

    level = mesh_kube_stream_level(s);

    if (!s->is_key || level > MESH_KUBE_TRACK_MAX) {
        return;
    }

    n = s->path_len[level];
    len = mesh_min(len, sizeof(s->path) - 1 - n);     /* cut: no match */

    memcpy(s->path + n, text, len);

    s->path_len[level] = n + len;
    s->path[n + len] = '\0';
}


static int
mesh_kube_stream_in_array(const mesh_kube_stream_t *s)
{
    return s->array[(s->depth - 1) / 8] >> ((s->depth - 1) % 8) & 1;
}


/* of the innermost container, 1: the object itself, or the document */

static size_t
mesh_kube_stream_level(const mesh_kube_stream_t *s)
{
    return s->depth - (s->inside ? s->base : 0);
}


/* the last component of the path becomes key, of which more may follow */

static void
mesh_kube_stream_path(mesh_kube_stream_t *s, const char *key)
{
    size_t  level, n;

    level = mesh_kube_stream_level(s);

    if (level == 0 || level > MESH_KUBE_TRACK_MAX) {
        return;
    }

    n = (level == 1) ? 0 : s->path_len[level - 1];

    n += (size_t) snprintf(s->path + n, sizeof(s->path) - n, "%s%s",
                           level == 1 ? "" : " ", key);

    s->path_len[level] = mesh_min(n, sizeof(s->path) - 1);
}


static int
mesh_kube_stream_is_dropped(const mesh_kube_stream_t *s)
{
    size_t              level;
    const char         *path;
    const char *const  *drop;

    level = mesh_kube_stream_level(s);

    if (s->conf.drop == NULL || level == 0 || level > MESH_KUBE_TRACK_MAX) {
        return 0;
    }

    path = s->path;

    if (s->conf.watch) {
        if (strncmp(path, MESH_KUBE_EVENT, sizeof(MESH_KUBE_EVENT) - 1) != 0)
        {
            return 0;
        }

        path += sizeof(MESH_KUBE_EVENT) - 1;
    }

    for (drop = s->conf.drop; *drop; drop++) {
        if (strcmp(path, *drop) == 0) {
            return 1;
        }
    }

    return 0;
}


/* copies what has been gone over to where it belongs */

static int
mesh_kube_stream_flush(mesh_kube_stream_t *s, const char *to,
    mesh_err_t *err)
{
    size_t  len;

    len = (size_t) (to - s->run);

    if (s->inside) {

        if (s->dropping || s->spoiled) {
            /* void */

        } else if (len > s->conf.item_max_bytes - s->item.len) {
            mesh_err(&s->spoil, "object %zu has more than %zu bytes",
                     s->count, s->conf.item_max_bytes);
            s->spoiled = 1;

        } else {
            mesh_kube_buf_add(&s->item, s->run, len);
        }

    } else if (!s->conf.watch && !s->items) {

        if (s->envelope.len + len > MESH_KUBE_ENVELOPE_MAX_BYTES) {
            return mesh_err(err, "the list has more than %d bytes beside its "
                            "items", MESH_KUBE_ENVELOPE_MAX_BYTES);
        }

        mesh_kube_buf_add(&s->envelope, s->run, len);
    }

    s->run = to;

    return MESH_OK;
}


static int
mesh_kube_stream_unexpected(const mesh_kube_stream_t *s, char c,
    mesh_err_t *err)
{
    return mesh_err(err, "byte 0x%02x is not expected in or after object %zu",
                    (unsigned char) c, s->count);
}


static void
mesh_kube_buf_add(mesh_kube_buf_t *buf, const char *text, size_t len)
{
    if (buf->len + len > buf->size) {
        buf->size = mesh_max(buf->size * 2, (size_t) 4096);
        buf->size = mesh_max(buf->size, buf->len + len);
        buf->text = mesh_mem_grow(buf->text, buf->size, 1);
    }

    memcpy(buf->text + buf->len, text, len);
    buf->len += len;
}
