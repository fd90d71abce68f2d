
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * YAML documents to JSON trees, with the meaning that kubectl gives them.
 * The text is cut into documents before libyaml sees it: libyaml cannot go
 * on after an error, and one bad document must not hide the rest of a file.
 * A line "---" or "..." cannot stand inside a scalar, so the cut is exact.
 */

#include <mesh_core.h>

#include <math.h>

#include <yaml.h>

#include <mesh_yaml.h>


#define MESH_YAML_ANCHORS_MAX     1000
#define MESH_YAML_NUMBER_MAX      64       /* bytes of a number */


typedef struct {
    char                 *name;
    json_t               *json;
    size_t                nodes;           /* below it and itself */
    size_t                bytes;           /* of their text */
    unsigned              height;
} mesh_yaml_anchor_t;


typedef struct {
    const json_t         *json;
    unsigned              line;
} mesh_yaml_place_t;


struct mesh_yaml_s {
    yaml_parser_t         parser;
    mesh_err_t           *err;
    unsigned              first;           /* line of the text's line 0 */
    unsigned              line;            /* of the error */
    unsigned              depth;
    unsigned              height;          /* of the node just read */
    size_t                nodes;
    size_t                bytes;           /* of keys and scalars */

    mesh_yaml_anchor_t   *anchors;
    size_t                nanchors;

    mesh_yaml_place_t    *places;
    size_t                nplaces;
    size_t                places_max;
};


typedef struct {
    const char           *word;
    char                  type;            /* n null, t true, f false, x none */
} mesh_yaml_word_t;


/*
 * go-yaml 2, which is kubectl's, also takes y and n for booleans, and 12e3 and
 * 09 for numbers; other writers of YAML print such text without quotes, e.g.
 * a hash as a label.  kubectl quotes it, so reading it as text suits both.
 */

static const mesh_yaml_word_t  mesh_yaml_words[] = {
    { "", 'n' }, { "~", 'n' },
    { "null", 'n' }, { "Null", 'n' }, { "NULL", 'n' },
    { "true", 't' }, { "True", 't' }, { "TRUE", 't' },
    { "false", 'f' }, { "False", 'f' }, { "FALSE", 'f' },
    { "yes", 't' }, { "Yes", 't' }, { "YES", 't' },
    { "no", 'f' }, { "No", 'f' }, { "NO", 'f' },
    { "on", 't' }, { "On", 't' }, { "ON", 't' },
    { "off", 'f' }, { "Off", 'f' }, { "OFF", 'f' },
    { ".nan", 'x' }, { ".NaN", 'x' }, { ".NAN", 'x' },
    { ".inf", 'x' }, { ".Inf", 'x' }, { ".INF", 'x' },
    { "+.inf", 'x' }, { "+.Inf", 'x' }, { "+.INF", 'x' },
    { "-.inf", 'x' }, { "-.Inf", 'x' }, { "-.INF", 'x' },
    { NULL, 0 }
};


static const char *mesh_yaml_cut(const char *p, const char *last,
    unsigned *lines, const char **next);
static int mesh_yaml_marker(const char *p, const char *last, char c);
static int mesh_yaml_document(const char *text, size_t len, unsigned line,
    mesh_yaml_document_pt document, void *data);
static json_t *mesh_yaml_read(mesh_yaml_t *yaml);
static int mesh_yaml_next(mesh_yaml_t *yaml, yaml_event_t *event);
static json_t *mesh_yaml_node(mesh_yaml_t *yaml, const yaml_event_t *event);
static json_t *mesh_yaml_value(mesh_yaml_t *yaml, const yaml_event_t *event);
static json_t *mesh_yaml_sequence(mesh_yaml_t *yaml);
static json_t *mesh_yaml_mapping(mesh_yaml_t *yaml);
static int mesh_yaml_member(mesh_yaml_t *yaml, json_t *object,
    const yaml_event_t *name);
static json_t *mesh_yaml_alias(mesh_yaml_t *yaml, const yaml_event_t *event);
static int mesh_yaml_anchor(mesh_yaml_t *yaml, const yaml_event_t *event,
    json_t *json, size_t nodes, size_t bytes);
static int mesh_yaml_place(mesh_yaml_t *yaml, const json_t *json,
    unsigned line);
static json_t *mesh_yaml_number(const char *text);
static int mesh_yaml_is_float(const char *p);
static json_t *mesh_yaml_wrong(mesh_yaml_t *yaml, const yaml_event_t *event,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));


unsigned
mesh_yaml_parse(const char *text, size_t len,
    mesh_yaml_document_pt document, void *data)
{
    unsigned     line, lines, bad;
    mesh_err_t   err;
    const char  *p, *last, *end, *next;

    if (len > MESH_YAML_MAX_BYTES) {
        mesh_err(&err, "longer than %d bytes", MESH_YAML_MAX_BYTES);
        document(data, NULL, 1, NULL, &err);
        return 1;
    }

    bad = 0;
    line = 1;
    last = text + len;

    for (p = text; p < last; p = next) {
        end = mesh_yaml_cut(p, last, &lines, &next);

        if (mesh_yaml_document(p, (size_t) (end - p), line, document, data)
            != MESH_OK)
        {
            bad++;
        }

        line += lines;
    }

    return bad;
}


/*
 * The end of the document that starts at p, and where the next one starts;
 * lines is the distance of the two starts.
 */

static const char *
mesh_yaml_cut(const char *p, const char *last, unsigned *lines,
    const char **next)
{
    const char  *eol;

    *lines = 0;

    for ( ;; ) {
        eol = memchr(p, '\n', (size_t) (last - p));

        if (eol == NULL) {
            *next = last;
            return last;
        }

        p = eol + 1;
        (*lines)++;

        if (mesh_yaml_marker(p, last, '-')) {
            *next = p;
            return p;
        }

        if (mesh_yaml_marker(p, last, '.')) {
            eol = memchr(p, '\n', (size_t) (last - p));
            (*lines)++;
            *next = eol ? eol + 1 : last;
            return p;
        }
    }
}


static int
mesh_yaml_marker(const char *p, const char *last, char c)
{
    return last - p >= 3
           && p[0] == c && p[1] == c && p[2] == c
           && (last - p == 3 || p[3] == ' ' || p[3] == '\t' || p[3] == '\n'
               || p[3] == '\r');
}


static int
mesh_yaml_document(const char *text, size_t len, unsigned line,
    mesh_yaml_document_pt document, void *data)
{
    size_t        i;
    json_t       *json;
    mesh_err_t    err;
    mesh_yaml_t   yaml;

    /* directives (%YAML) belong to the document after them */

    if (len && text[0] == '%') {
        return MESH_OK;
    }

    memset(&yaml, 0, sizeof(yaml));
    memset(&err, 0, sizeof(err));
    yaml.err = &err;
    yaml.first = line;
    yaml.line = line;

    if (!yaml_parser_initialize(&yaml.parser)) {
        mesh_err(&err, "no memory");
        document(data, NULL, line, NULL, &err);
        return MESH_ERROR;
    }

    yaml_parser_set_encoding(&yaml.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&yaml.parser, (const unsigned char *) text,
                                 len);

    json = mesh_yaml_read(&yaml);

    if (json == NULL) {
        document(data, NULL, yaml.line, &yaml, &err);

    } else if (json_is_null(json)) {
        json_decref(json);

    } else {
        if (json_is_object(json) && json_object_size(json)) {
            line = yaml.places[yaml.nplaces - 1].line;    /* it ends last */
        }

        document(data, json, line, &yaml, &err);
    }

    for (i = 0; i < yaml.nanchors; i++) {
        free(yaml.anchors[i].name);
        json_decref(yaml.anchors[i].json);
    }

    free(yaml.anchors);
    free(yaml.places);
    yaml_parser_delete(&yaml.parser);

    return json ? MESH_OK : MESH_ERROR;
}


/* the one document of the parser's text; null if there is none */

static json_t *
mesh_yaml_read(mesh_yaml_t *yaml)
{
    int           type;
    json_t       *json, *extra;
    yaml_event_t  event;

    json = NULL;

    for ( ;; ) {
        if (mesh_yaml_next(yaml, &event) != MESH_OK) {
            json_decref(json);
            return NULL;
        }

        type = event.type;

        if (type == YAML_STREAM_START_EVENT
            || type == YAML_DOCUMENT_START_EVENT
            || type == YAML_DOCUMENT_END_EVENT)
        {
            yaml_event_delete(&event);
            continue;
        }

        if (type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&event);
            return json ? json : json_null();
        }

        extra = json ? mesh_yaml_wrong(yaml, &event, "a second document "
                                       "without \"---\" before it")
                     : mesh_yaml_node(yaml, &event);

        yaml_event_delete(&event);

        if (extra == NULL) {
            json_decref(json);
            return NULL;
        }

        json = extra;
    }
}


static int
mesh_yaml_next(mesh_yaml_t *yaml, yaml_event_t *event)
{
    size_t          line;
    yaml_parser_t  *parser;

    parser = &yaml->parser;

    if (yaml_parser_parse(parser, event)) {
        return MESH_OK;
    }

    line = parser->problem_mark.line;

    if (line == 0 && parser->problem_mark.index == 0) {
        line = parser->mark.line;          /* the reader sets no mark */
    }

    yaml->line = yaml->first + (unsigned) line;

    return mesh_err(yaml->err, "%s%s%s",
                    parser->context ? parser->context : "",
                    parser->context ? ", " : "",
                    parser->problem ? parser->problem : "not YAML");
}


/* a node of any kind that starts with event; NULL: the error is filled */

static json_t *
mesh_yaml_node(mesh_yaml_t *yaml, const yaml_event_t *event)
{
    size_t    nodes, bytes;
    json_t   *json;
    unsigned  line;

    if (++yaml->nodes > MESH_YAML_MAX_NODES) {
        return mesh_yaml_wrong(yaml, event, "more than %d nodes",
                               MESH_YAML_MAX_NODES);
    }

    if (event->type == YAML_ALIAS_EVENT) {
        return mesh_yaml_alias(yaml, event);
    }

    if (yaml->depth == MESH_YAML_MAX_DEPTH) {
        return mesh_yaml_wrong(yaml, event, "nested deeper than %d",
                               MESH_YAML_MAX_DEPTH);
    }

    nodes = yaml->nodes - 1;
    bytes = yaml->bytes;
    line = yaml->first + (unsigned) event->start_mark.line;

    yaml->depth++;
    yaml->height = 0;

    json = mesh_yaml_value(yaml, event);

    yaml->depth--;
    yaml->height++;

    if (json == NULL) {
        return NULL;
    }

    if (mesh_yaml_anchor(yaml, event, json, yaml->nodes - nodes,
                         yaml->bytes - bytes)
        != MESH_OK
        || (json_is_object(json) && json_object_size(json)
            && mesh_yaml_place(yaml, json, line) != MESH_OK))
    {
        json_decref(json);
        return NULL;
    }

    return json;
}


static json_t *
mesh_yaml_value(mesh_yaml_t *yaml, const yaml_event_t *event)
{
    json_t      *json;
    const char  *tag, *text;

    if (event->type == YAML_SEQUENCE_START_EVENT) {
        return mesh_yaml_sequence(yaml);
    }

    if (event->type == YAML_MAPPING_START_EVENT) {
        return mesh_yaml_mapping(yaml);
    }

    if (event->type != YAML_SCALAR_EVENT) {
        return mesh_yaml_wrong(yaml, event, "expected a value");
    }

    tag = (const char *) event->data.scalar.tag;
    text = (const char *) event->data.scalar.value;

    yaml->bytes += event->data.scalar.length;

    if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0) {
        if (strcmp(tag, YAML_INT_TAG) != 0
            && strcmp(tag, YAML_FLOAT_TAG) != 0
            && strcmp(tag, YAML_BOOL_TAG) != 0
            && strcmp(tag, YAML_NULL_TAG) != 0)
        {
            return mesh_yaml_wrong(yaml, event, "the tag \"%s\" is not known",
                                   tag);
        }

        json = mesh_yaml_scalar(text, event->data.scalar.length);

    } else if (tag
               || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    {
        json = json_stringn(text, event->data.scalar.length);

    } else {
        json = mesh_yaml_scalar(text, event->data.scalar.length);
    }

    if (json == NULL) {
        return mesh_yaml_wrong(yaml, event, "\"%.40s\" has no form in JSON",
                               text);
    }

    return json;
}


static json_t *
mesh_yaml_sequence(mesh_yaml_t *yaml)
{
    json_t        *array, *item;
    unsigned       height;
    yaml_event_t   event;

    height = 0;

    array = json_array();
    if (array == NULL) {
        return NULL;
    }

    for ( ;; ) {
        if (mesh_yaml_next(yaml, &event) != MESH_OK) {
            goto failed;
        }

        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            break;
        }

        item = mesh_yaml_node(yaml, &event);
        yaml_event_delete(&event);

        if (item == NULL || json_array_append_new(array, item) != 0) {
            goto failed;
        }

        height = mesh_max(height, yaml->height);
    }

    yaml->height = height;

    return array;

failed:

    json_decref(array);

    return NULL;
}


static json_t *
mesh_yaml_mapping(mesh_yaml_t *yaml)
{
    int            done;
    json_t        *object;
    unsigned       height;
    yaml_event_t   name;

    height = 0;

    object = json_object();
    if (object == NULL) {
        return NULL;
    }

    for ( ;; ) {
        if (mesh_yaml_next(yaml, &name) != MESH_OK) {
            goto failed;
        }

        done = (name.type == YAML_MAPPING_END_EVENT);

        if (!done && mesh_yaml_member(yaml, object, &name) != MESH_OK) {
            yaml_event_delete(&name);
            goto failed;
        }

        yaml_event_delete(&name);

        if (done) {
            break;
        }

        height = mesh_max(height, yaml->height);
    }

    yaml->height = height;

    return object;

failed:

    json_decref(object);

    return NULL;
}


/* one key, which has been read, and its value */

static int
mesh_yaml_member(mesh_yaml_t *yaml, json_t *object, const yaml_event_t *name)
{
    json_t        *value;
    const char    *key;
    yaml_event_t   event;

    if (name->type != YAML_SCALAR_EVENT) {
        mesh_yaml_wrong(yaml, name, "a key that is no scalar");
        return MESH_ERROR;
    }

    key = (const char *) name->data.scalar.value;
    yaml->bytes += name->data.scalar.length;

    if (strcmp(key, "<<") == 0
        && name->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
    {
        mesh_yaml_wrong(yaml, name, "merge keys are not supported");
        return MESH_ERROR;
    }

    if (json_object_get(object, key)) {
        mesh_yaml_wrong(yaml, name, "the key \"%.80s\" stands twice", key);
        return MESH_ERROR;
    }

    if (mesh_yaml_next(yaml, &event) != MESH_OK) {
        return MESH_ERROR;
    }

    value = mesh_yaml_node(yaml, &event);
    yaml_event_delete(&event);

    if (value == NULL) {
        return MESH_ERROR;
    }

    if (json_object_set_new(object, key, value) != 0) {
        mesh_yaml_wrong(yaml, name, "the key is no text");
        return MESH_ERROR;
    }

    return MESH_OK;
}


/* the same node again; what it costs to walk is counted each time */

static json_t *
mesh_yaml_alias(mesh_yaml_t *yaml, const yaml_event_t *event)
{
    size_t               i;
    const char          *name;
    mesh_yaml_anchor_t  *anchor;

    name = (const char *) event->data.alias.anchor;

    /* the last one of a name counts; one that is not closed is not there */

    for (i = yaml->nanchors; i > 0; i--) {
        if (strcmp(yaml->anchors[i - 1].name, name) == 0) {
            break;
        }
    }

    if (i == 0) {
        return mesh_yaml_wrong(yaml, event, "the alias \"%.80s\" has no "
                               "anchor before it", name);
    }

    anchor = &yaml->anchors[i - 1];

    if (yaml->depth + anchor->height > MESH_YAML_MAX_DEPTH) {
        return mesh_yaml_wrong(yaml, event, "nested deeper than %d",
                               MESH_YAML_MAX_DEPTH);
    }

    if (anchor->nodes > MESH_YAML_MAX_NODES - yaml->nodes) {
        return mesh_yaml_wrong(yaml, event, "more than %d nodes",
                               MESH_YAML_MAX_NODES);
    }

    if (yaml->bytes + anchor->bytes > MESH_YAML_MAX_BYTES) {
        return mesh_yaml_wrong(yaml, event, "more than %d bytes",
                               MESH_YAML_MAX_BYTES);
    }

    yaml->nodes += anchor->nodes;
    yaml->bytes += anchor->bytes;
    yaml->height = anchor->height;

    return json_incref(anchor->json);
}


static int
mesh_yaml_anchor(mesh_yaml_t *yaml, const yaml_event_t *event, json_t *json,
    size_t nodes, size_t bytes)
{
    const yaml_char_t   *name;
    mesh_yaml_anchor_t  *anchors;

    switch (event->type) {

    case YAML_SCALAR_EVENT:
        name = event->data.scalar.anchor;
        break;

    case YAML_SEQUENCE_START_EVENT:
        name = event->data.sequence_start.anchor;
        break;

    default:
        name = event->data.mapping_start.anchor;
        break;
    }

    if (name == NULL) {
        return MESH_OK;
    }

    if (yaml->nanchors == MESH_YAML_ANCHORS_MAX) {
        mesh_yaml_wrong(yaml, event, "more than %d anchors",
                        MESH_YAML_ANCHORS_MAX);
        return MESH_ERROR;
    }

    anchors = realloc(yaml->anchors,
                      (yaml->nanchors + 1) * sizeof(mesh_yaml_anchor_t));
    if (anchors == NULL) {
        return mesh_err(yaml->err, "no memory");
    }

    yaml->anchors = anchors;
    anchors += yaml->nanchors;

    anchors->name = strdup((const char *) name);
    if (anchors->name == NULL) {
        return mesh_err(yaml->err, "no memory");
    }

    anchors->json = json_incref(json);
    anchors->nodes = nodes;
    anchors->bytes = bytes;
    anchors->height = yaml->height;

    yaml->nanchors++;

    return MESH_OK;
}


static int
mesh_yaml_place(mesh_yaml_t *yaml, const json_t *json, unsigned line)
{
    size_t              max;
    mesh_yaml_place_t  *places;

    if (yaml->nplaces == yaml->places_max) {
        max = yaml->places_max ? yaml->places_max * 2 : 64;

        places = realloc(yaml->places, max * sizeof(mesh_yaml_place_t));
        if (places == NULL) {
            return mesh_err(yaml->err, "no memory");
        }

        yaml->places = places;
        yaml->places_max = max;
    }

    yaml->places[yaml->nplaces].json = json;
    yaml->places[yaml->nplaces].line = line;
    yaml->nplaces++;

    return MESH_OK;
}


unsigned
mesh_yaml_line(const mesh_yaml_t *yaml, const json_t *json)
{
    size_t  i;

    /* a linear walk: only errors ask */

    for (i = 0; i < yaml->nplaces; i++) {
        if (yaml->places[i].json == json) {
            return yaml->places[i].line;
        }
    }

    return 0;
}


json_t *
mesh_yaml_scalar(const char *text, size_t len)
{
    char                     number[MESH_YAML_NUMBER_MAX];
    size_t                   i, n;
    json_t                  *json;
    const mesh_yaml_word_t  *w;

    for (w = mesh_yaml_words; w->word; w++) {
        if (strlen(w->word) != len || memcmp(w->word, text, len) != 0) {
            continue;
        }

        switch (w->type) {
        case 'n':
            return json_null();
        case 't':
            return json_true();
        case 'f':
            return json_false();
        default:
            return NULL;
        }
    }

    if (len < sizeof(number) && strchr("+-.0123456789", text[0])) {
        for (i = 0, n = 0; i < len; i++) {
            if (text[i] != '_') {
                number[n++] = text[i];
            }
        }

        number[n] = '\0';

        json = mesh_yaml_number(number);
        if (json) {
            return json;
        }
    }

    return json_stringn(text, len);
}


/* text without underscores; NULL: it is no number */

static json_t *
mesh_yaml_number(const char *text)
{
    int          base, negative;
    char        *end;
    double       real;
    long long    n;
    const char  *p;

    p = text;
    negative = (*p == '-');

    if (*p == '-' || *p == '+') {
        p++;
    }

    base = 10;

    if (p[0] == '0' && p[1]) {
        base = 8;
        p++;

        if (*p == 'x' || *p == 'X') {
            base = 16;
            p++;

        } else if (*p == 'b' || *p == 'B') {
            base = 2;
            p++;

        } else if (*p == 'o' || *p == 'O') {
            p++;
        }
    }

    /* strtoll() would take white space and another sign */

    if (*p && strspn(p, "0123456789abcdefABCDEF") == strlen(p)) {
        errno = 0;
        n = strtoll(p, &end, base);

        if (*end == '\0' && errno == 0) {
            return json_integer(negative ? -n : n);
        }
    }

    if (!mesh_yaml_is_float(text)) {
        return NULL;
    }

    real = strtod(text, &end);

    return isfinite(real) ? json_real(real) : NULL;
}


/* [-+]? ( .[0-9]+ | [0-9]+.[0-9]* ) ( [eE][-+]?[0-9]+ )? */

static int
mesh_yaml_is_float(const char *p)
{
    size_t  whole, part;

    p += (*p == '-' || *p == '+');

    whole = strspn(p, "0123456789");
    p += whole;

    if (*p++ != '.') {
        return 0;
    }

    part = strspn(p, "0123456789");
    p += part;

    if (whole == 0 && part == 0) {
        return 0;
    }

    if (*p == 'e' || *p == 'E') {
        p++;
        p += (*p == '-' || *p == '+');

        part = strspn(p, "0123456789");
        p += part;

        if (part == 0) {
            return 0;
        }
    }

    return *p == '\0';
}


/* returns NULL, for "return mesh_yaml_wrong(..)" */

static json_t *
mesh_yaml_wrong(mesh_yaml_t *yaml, const yaml_event_t *event,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(yaml->err->text, sizeof(yaml->err->text), fmt, args);
    va_end(args);

    yaml->line = yaml->first + (unsigned) event->start_mark.line;

    return NULL;
}
