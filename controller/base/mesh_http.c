
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * Heads and bodies of HTTP/1.1.  A head is parsed in place, once it is
 * whole; a body byte by byte where it is framing and in blocks where it is
 * data.  Nothing here reads or writes a socket.
 */

#include <mesh_http.h>


#define MESH_HTTP_CHUNK_SIZE      0       /* first digit */
#define MESH_HTTP_CHUNK_DIGITS    1
#define MESH_HTTP_CHUNK_EXT       2
#define MESH_HTTP_CHUNK_SIZE_LF   3
#define MESH_HTTP_CHUNK_DATA      4
#define MESH_HTTP_CHUNK_DATA_CR   5
#define MESH_HTTP_CHUNK_DATA_LF   6
#define MESH_HTTP_CHUNK_TRAILER   7       /* start of a line */
#define MESH_HTTP_CHUNK_LINE      8       /* within a trailer */
#define MESH_HTTP_CHUNK_LINE_LF   9
#define MESH_HTTP_CHUNK_LAST_LF   10
#define MESH_HTTP_CHUNK_DONE      11


typedef struct {
    int          status;
    const char  *reason;
} mesh_http_reason_t;


static char *mesh_http_line(char **next, char *last);
static int mesh_http_version(const char *word, int *minor);
static int mesh_http_headers(mesh_http_head_t *head, char *next, char *last,
    mesh_err_t *err);
static int mesh_http_header_add(mesh_http_head_t *head, char *line,
    mesh_err_t *err);
static int mesh_http_token(const char *text, size_t len);
static int mesh_http_text(const char *text);
static int mesh_http_length(const char *text, uint64_t *length);
static int mesh_http_body_add(mesh_http_body_t *body, const char *data,
    size_t len, mesh_err_t *err);
static int mesh_http_chunked_read(mesh_http_body_t *body, const char *data,
    size_t len, size_t *used, mesh_err_t *err);
static int mesh_http_chunk_control(mesh_http_body_t *body, unsigned char ch);
static int mesh_http_chunk_digit(mesh_http_body_t *body, unsigned char ch);


static const mesh_http_reason_t  mesh_http_reasons[] = {
    { 100, "Continue" },
    { 200, "OK" },
    { 204, "No Content" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" }
};


size_t
mesh_http_head_bytes(const char *data, size_t len, size_t *scanned)
{
    size_t  i;

    /* LF LF too: such a head is whole, and refused by its parser */

    for (i = *scanned; i < len; i++) {

        if (data[i] != '\n') {
            continue;
        }

        if (i + 1 < len && data[i + 1] == '\n') {
            return i + 2;
        }

        if (i + 2 < len && data[i + 1] == '\r' && data[i + 2] == '\n') {
            return i + 3;
        }

        if (i + 2 >= len) {
            break;                        /* look at this LF again */
        }
    }

    *scanned = i;

    return 0;
}


int
mesh_http_request_take(mesh_http_head_t *head, char *text, size_t len,
    mesh_err_t *err)
{
    char    *line, *target, *version, *next, *query;
    size_t   hosts;

    memset(head, 0, sizeof(mesh_http_head_t));
    head->text = text;

    next = text;
    line = mesh_http_line(&next, text + len);

    if (line == NULL) {
        return mesh_err(err, "request line is malformed");
    }

    target = strchr(line, ' ');
    version = (target != NULL) ? strchr(target + 1, ' ') : NULL;

    if (version == NULL) {
        return mesh_err(err, "request line is malformed");
    }

    *target++ = '\0';
    *version++ = '\0';

    if (!mesh_http_token(line, strlen(line)) || target[0] != '/'
        || !mesh_http_text(target)
        || mesh_http_version(version, &head->minor) != MESH_OK)
    {
        return mesh_err(err, "request line is malformed, expected "
                        "\"METHOD /path HTTP/1.1\"");
    }

    query = strchr(target, '?');

    if (query != NULL) {
        *query++ = '\0';
    }

    head->method = line;
    head->path = target;
    head->query = query;

    if (mesh_http_headers(head, next, text + len, err) != MESH_OK) {
        return MESH_ERROR;
    }

    (void) mesh_http_header(head, "host", &hosts);

    if (hosts > 1 || (hosts == 0 && head->minor > 0)) {
        return mesh_err(err, "request has %zu Host headers, expected one",
                        hosts);
    }

    return MESH_OK;
}


int
mesh_http_response_take(mesh_http_head_t *head, char *text, size_t len,
    mesh_err_t *err)
{
    char  *line, *status, *next, *end;

    memset(head, 0, sizeof(mesh_http_head_t));
    head->text = text;

    next = text;
    line = mesh_http_line(&next, text + len);
    status = (line != NULL) ? strchr(line, ' ') : NULL;

    if (status == NULL) {
        return mesh_err(err, "status line is malformed");
    }

    *status++ = '\0';

    head->status = (int) strtol(status, &end, 10);

    if (mesh_http_version(line, &head->minor) != MESH_OK
        || end != status + 3 || (*end != ' ' && *end != '\0')
        || head->status < 100)
    {
        return mesh_err(err, "status line is malformed");
    }

    return mesh_http_headers(head, next, text + len, err);
}


void
mesh_http_head_done(mesh_http_head_t *head)
{
    free(head->text);
    memset(head, 0, sizeof(mesh_http_head_t));
}


/* the next line, its CRLF replaced by a NUL; NULL: no line, or a bare LF */

static char *
mesh_http_line(char **next, char *last)
{
    char  *line, *lf;

    line = *next;
    lf = memchr(line, '\n', last - line);

    if (lf == NULL || lf == line || lf[-1] != '\r') {
        return NULL;
    }

    lf[-1] = '\0';
    *next = lf + 1;

    return (memchr(line, '\0', lf - 1 - line) == NULL) ? line : NULL;
}


static int
mesh_http_version(const char *word, int *minor)
{
    if (strcmp(word, "HTTP/1.1") == 0) {
        *minor = 1;
        return MESH_OK;
    }

    if (strcmp(word, "HTTP/1.0") == 0) {
        *minor = 0;
        return MESH_OK;
    }

    return MESH_ERROR;
}


static int
mesh_http_headers(mesh_http_head_t *head, char *next, char *last,
    mesh_err_t *err)
{
    char  *line;

    for ( ;; ) {
        line = mesh_http_line(&next, last);

        if (line == NULL) {
            return mesh_err(err, "header line is malformed");
        }

        if (line[0] == '\0') {
            return MESH_OK;
        }

        if (mesh_http_header_add(head, line, err) != MESH_OK) {
            return MESH_ERROR;
        }
    }
}


static int
mesh_http_header_add(mesh_http_head_t *head, char *line, mesh_err_t *err)
{
    char                *value, *end;
    mesh_http_header_t  *header;

    value = strchr(line, ':');

    if (value == NULL || !mesh_http_token(line, value - line)) {
        return mesh_err(err, "header line is malformed");
    }

    if (head->nheaders == MESH_HTTP_HEADERS_MAX) {
        return mesh_err(err, "more than %d headers", MESH_HTTP_HEADERS_MAX);
    }

    *value++ = '\0';
    value += strspn(value, " \t");

    for (end = value + strlen(value);
         end > value && (end[-1] == ' ' || end[-1] == '\t');
         end--)
    {
        /* void */
    }

    *end = '\0';

    if (!mesh_http_text(value)) {
        return mesh_err(err, "header \"%s\" has a control character", line);
    }

    header = &head->headers[head->nheaders++];
    header->name = line;
    header->value = value;

    return MESH_OK;
}


static int
mesh_http_token(const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (!((text[i] >= 'a' && text[i] <= 'z')
              || (text[i] >= 'A' && text[i] <= 'Z')
              || (text[i] >= '0' && text[i] <= '9')
              || strchr("!#$%&'*+-.^_`|~", text[i]) != NULL))
        {
            return 0;
        }
    }

    return len > 0;
}


static int
mesh_http_text(const char *text)
{
    for ( /* void */ ; *text; text++) {

        if (((unsigned char) *text < 0x20 && *text != '\t') || *text == 0x7f) {
            return 0;
        }
    }

    return 1;
}


const char *
mesh_http_header(const mesh_http_head_t *head, const char *name,
    size_t *count)
{
    size_t       i, n;
    const char  *value;

    n = 0;
    value = NULL;

    for (i = 0; i < head->nheaders; i++) {

        if (strcasecmp(head->headers[i].name, name) != 0) {
            continue;
        }

        if (n++ == 0) {
            value = head->headers[i].value;
        }
    }

    if (count != NULL) {
        *count = n;
    }

    return value;
}


int
mesh_http_header_has(const mesh_http_head_t *head, const char *name,
    const char *word)
{
    size_t       i, n, len;
    const char  *p;

    len = strlen(word);

    for (i = 0; i < head->nheaders; i++) {

        if (strcasecmp(head->headers[i].name, name) != 0) {
            continue;
        }

        p = head->headers[i].value;

        while (*p) {
            p += strspn(p, " \t,");
            n = strcspn(p, " \t,");

            if (n == len && strncasecmp(p, word, len) == 0) {
                return 1;
            }

            p += n;
        }
    }

    return 0;
}


int
mesh_http_body_init(mesh_http_body_t *body, const mesh_http_head_t *head,
    size_t limit, mesh_err_t *err)
{
    size_t       lengths, codings;
    const char  *length, *coding;

    memset(body, 0, sizeof(mesh_http_body_t));
    body->limit = limit;

    length = mesh_http_header(head, "content-length", &lengths);
    coding = mesh_http_header(head, "transfer-encoding", &codings);

    if (lengths + codings > 1) {
        return mesh_err(err, "message has more than one length");
    }

    if (coding != NULL) {

        if (strcasecmp(coding, "chunked") != 0 || head->minor == 0) {
            return mesh_err(err, "transfer coding \"%.64s\" is not known",
                            coding);
        }

        body->framing = MESH_HTTP_BODY_CHUNKED;

        return MESH_OK;
    }

    if (length == NULL) {
        body->framing = (head->method == NULL) ? MESH_HTTP_BODY_CLOSE
                                               : MESH_HTTP_BODY_NONE;
        return MESH_OK;
    }

    if (mesh_http_length(length, &body->left) != MESH_OK) {
        return mesh_err(err, "content length \"%.64s\" is no number", length);
    }

    body->framing = MESH_HTTP_BODY_LENGTH;

    if (body->left > limit) {
        body->too_large = 1;
        return mesh_err(err, "body is longer than %zu bytes", limit);
    }

    return MESH_OK;
}


static int
mesh_http_length(const char *text, uint64_t *length)
{
    size_t  n;

    n = strspn(text, "0123456789");

    if (n == 0 || n > 18 || text[n] != '\0') {
        return MESH_ERROR;
    }

    *length = strtoull(text, NULL, 10);

    return MESH_OK;
}


int
mesh_http_body_read(mesh_http_body_t *body, const char *data, size_t len,
    size_t *used, mesh_err_t *err)
{
    size_t  n;

    *used = 0;

    switch (body->framing) {

    case MESH_HTTP_BODY_NONE:
        return MESH_OK;

    case MESH_HTTP_BODY_CHUNKED:
        return mesh_http_chunked_read(body, data, len, used, err);

    case MESH_HTTP_BODY_CLOSE:
        *used = len;

        if (mesh_http_body_add(body, data, len, err) != MESH_OK) {
            return MESH_ERROR;
        }

        return MESH_AGAIN;

    default: /* MESH_HTTP_BODY_LENGTH */

        n = mesh_min(len, body->left);

        if (mesh_http_body_add(body, data, n, err) != MESH_OK) {
            return MESH_ERROR;
        }

        *used = n;
        body->left -= n;

        return (body->left == 0) ? MESH_OK : MESH_AGAIN;
    }
}


void
mesh_http_body_done(mesh_http_body_t *body)
{
    free(body->data);
    memset(body, 0, sizeof(mesh_http_body_t));
}


static int
mesh_http_body_add(mesh_http_body_t *body, const char *data, size_t len,
    mesh_err_t *err)
{
    char    *grown;
    size_t   size;

    if (len == 0) {
        return MESH_OK;
    }

    if (len > body->limit - body->len) {
        body->too_large = 1;
        return mesh_err(err, "body is longer than %zu bytes", body->limit);
    }

    if (body->len + len + 1 > body->size) {
        size = mesh_max(body->size * 2, body->len + len + 1);

        grown = realloc(body->data, size);
        if (grown == NULL) {
            return mesh_err(err, "no memory for a body");
        }

        body->data = grown;
        body->size = size;
    }

    memcpy(body->data + body->len, data, len);
    body->len += len;
    body->data[body->len] = '\0';

    return MESH_OK;
}


static int
mesh_http_chunked_read(mesh_http_body_t *body, const char *data, size_t len,
    size_t *used, mesh_err_t *err)
{
    size_t  i, n;

    i = 0;

    while (i < len && body->state != MESH_HTTP_CHUNK_DONE) {

        if (body->state == MESH_HTTP_CHUNK_DATA) {
            n = mesh_min(len - i, body->left);

            if (mesh_http_body_add(body, data + i, n, err) != MESH_OK) {
                return MESH_ERROR;
            }

            i += n;
            body->left -= n;

            if (body->left == 0) {
                body->state = MESH_HTTP_CHUNK_DATA_CR;
            }

            continue;
        }

        if (++body->control > MESH_HTTP_TRAILERS_MAX + 8 * body->len
            || mesh_http_chunk_control(body, (unsigned char) data[i++])
               != MESH_OK)
        {
            return mesh_err(err, "chunked body is malformed");
        }

        if (body->left > body->limit) {
            body->too_large = 1;
            return mesh_err(err, "body is longer than %zu bytes",
                            body->limit);
        }
    }

    *used = i;

    return (body->state == MESH_HTTP_CHUNK_DONE) ? MESH_OK : MESH_AGAIN;
}


static int
mesh_http_chunk_control(mesh_http_body_t *body, unsigned char ch)
{
    int  state;

    state = body->state;

    switch (state) {

    case MESH_HTTP_CHUNK_SIZE:
        body->left = 0;
        body->state = MESH_HTTP_CHUNK_DIGITS;
        return mesh_http_chunk_digit(body, ch);

    case MESH_HTTP_CHUNK_DIGITS:

        if (ch == '\r') {
            body->state = MESH_HTTP_CHUNK_SIZE_LF;
            return MESH_OK;
        }

        if (ch == ';') {
            body->state = MESH_HTTP_CHUNK_EXT;
            return MESH_OK;
        }

        return mesh_http_chunk_digit(body, ch);

    case MESH_HTTP_CHUNK_EXT:
    case MESH_HTTP_CHUNK_LINE:

        if (ch == '\r') {
            body->state = (state == MESH_HTTP_CHUNK_EXT)
                          ? MESH_HTTP_CHUNK_SIZE_LF : MESH_HTTP_CHUNK_LINE_LF;
            return MESH_OK;
        }

        return (ch < 0x20 && ch != '\t') ? MESH_ERROR : MESH_OK;

    case MESH_HTTP_CHUNK_SIZE_LF:
        body->state = (body->left > 0) ? MESH_HTTP_CHUNK_DATA
                                       : MESH_HTTP_CHUNK_TRAILER;
        return (ch == '\n') ? MESH_OK : MESH_ERROR;

    case MESH_HTTP_CHUNK_DATA_CR:
        body->state = MESH_HTTP_CHUNK_DATA_LF;
        return (ch == '\r') ? MESH_OK : MESH_ERROR;

    case MESH_HTTP_CHUNK_DATA_LF:
        body->state = MESH_HTTP_CHUNK_SIZE;
        return (ch == '\n') ? MESH_OK : MESH_ERROR;

    case MESH_HTTP_CHUNK_TRAILER:
        body->state = (ch == '\r') ? MESH_HTTP_CHUNK_LAST_LF
                                   : MESH_HTTP_CHUNK_LINE;
        return (ch == '\r' || ch > 0x20) ? MESH_OK : MESH_ERROR;

    case MESH_HTTP_CHUNK_LINE_LF:
        body->state = MESH_HTTP_CHUNK_TRAILER;
        return (ch == '\n') ? MESH_OK : MESH_ERROR;

    default: /* MESH_HTTP_CHUNK_LAST_LF */
        body->state = MESH_HTTP_CHUNK_DONE;
        return (ch == '\n') ? MESH_OK : MESH_ERROR;
    }
}


static int
mesh_http_chunk_digit(mesh_http_body_t *body, unsigned char ch)
{
    uint64_t  digit;

    if (ch >= '0' && ch <= '9') {
        digit = ch - '0';

    } else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f') {
        digit = (ch | 0x20) - 'a' + 10;

    } else {
        return MESH_ERROR;
    }

    if (body->left >> 59 != 0) {
        return MESH_ERROR;
    }

    body->left = body->left << 4 | digit;

    return MESH_OK;
}


const char *
mesh_http_reason(int status)
{
    size_t  i;

    for (i = 0; i < mesh_nelts(mesh_http_reasons); i++) {

        if (mesh_http_reasons[i].status == status) {
            return mesh_http_reasons[i].reason;
        }
    }

    return "Unknown";
}
