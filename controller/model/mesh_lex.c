
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * nginx's words.  Two things surprise: a backslash stays in the word unless
 * it stands before ", ', \, t, r or n, and "${" does not open a block.
 */

#include <mesh_core.h>

#include <mesh_lex.h>


static mesh_lex_e mesh_lex_word(mesh_lex_t *lex);
static mesh_lex_e mesh_lex_quoted(mesh_lex_t *lex, char quote);
static const char *mesh_lex_escape(mesh_lex_t *lex, const char *p, size_t *n);
static int mesh_lex_space(char ch);
static int mesh_lex_control(char ch);
static void mesh_lex_skip(mesh_lex_t *lex);


void
mesh_lex_init(mesh_lex_t *lex, const char *file, const char *text, size_t len)
{
    memset(lex, 0, sizeof(mesh_lex_t));

    lex->file = file;
    lex->pos = text;
    lex->end = text + len;
    lex->line = 1;
}


void
mesh_lex_done(mesh_lex_t *lex)
{
    free(lex->words);
    lex->words = NULL;
}


mesh_lex_e
mesh_lex_fail(mesh_lex_t *lex, unsigned line, const char *fmt, ...)
{
    int      n;
    va_list  args;

    n = snprintf(lex->error, sizeof(lex->error), "%.255s:%u: ", lex->file,
                 line);

    va_start(args, fmt);
    (void) vsnprintf(lex->error + n, sizeof(lex->error) - n, fmt, args);
    va_end(args);

    return MESH_LEX_ERROR;
}


mesh_lex_e
mesh_lex_next(mesh_lex_t *lex)
{
    char  ch;

    lex->nargs = 0;
    lex->used = 0;

    for ( ;; ) {

        mesh_lex_skip(lex);

        if (lex->pos == lex->end) {
            return lex->nargs
                   ? mesh_lex_fail(lex, lex->line, "unexpected end of file, "
                                   "expected \";\" or \"{\"")
                   : MESH_LEX_EOF;
        }

        ch = *lex->pos;

        if (ch == ';' || ch == '{') {

            if (lex->nargs == 0) {
                return mesh_lex_fail(lex, lex->line, "unexpected \"%c\", "
                                     "expected a directive", ch);
            }

            lex->pos++;

            return ch == ';' ? MESH_LEX_DIRECTIVE : MESH_LEX_BLOCK;
        }

        if (ch == '}' && lex->nargs == 0) {
            lex->start = lex->line;
            lex->pos++;
            return MESH_LEX_END;
        }

        if (ch == '}') {
            return mesh_lex_fail(lex, lex->line, "unexpected \"}\", "
                                 "expected \";\" or \"{\"");
        }

        if (lex->nargs == 0) {
            lex->start = lex->line;
        }

        if (mesh_lex_word(lex) == MESH_LEX_ERROR) {
            return MESH_LEX_ERROR;
        }
    }
}


static int
mesh_lex_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}


/* no word holds these: a printed state must be readable again */

static int
mesh_lex_control(char ch)
{
    return ((unsigned char) ch < ' ' && !mesh_lex_space(ch)) || ch == 0x7f;
}


/* to the next byte that is neither space nor comment */

static void
mesh_lex_skip(mesh_lex_t *lex)
{
    int  comment;

    for (comment = 0; lex->pos < lex->end; lex->pos++) {

        if (*lex->pos == '\n') {
            lex->line++;
            comment = 0;

        } else if (*lex->pos == '#') {
            comment = 1;

        } else if (!comment && !mesh_lex_space(*lex->pos)) {
            return;
        }
    }
}


/* makes room for one more word, so that args never move under a directive */

static char *
mesh_lex_room(mesh_lex_t *lex)
{
    if (lex->words == NULL) {
        lex->size = (size_t) MESH_LEX_ARGS * 64 + 2 * MESH_LEX_WORD;
        lex->words = malloc(lex->size);
    }

    if (lex->words == NULL) {
        (void) mesh_lex_fail(lex, lex->line, "out of memory");
        return NULL;
    }

    if (lex->nargs == MESH_LEX_ARGS
        || lex->size - lex->used < MESH_LEX_WORD + 1)
    {
        (void) mesh_lex_fail(lex, lex->line, "too many words in directive "
                             "\"%.64s\", expected at most %d of %zu bytes",
                             lex->args[0].text, MESH_LEX_ARGS, lex->size);
        return NULL;
    }

    return lex->words + lex->used;
}


/* one word from lex->pos on; lex->pos is behind it then */

static mesh_lex_e
mesh_lex_word(mesh_lex_t *lex)
{
    char         *word;
    int           variable;
    size_t        n;
    const char   *p;

    if (*lex->pos == '"' || *lex->pos == '\'') {
        return mesh_lex_quoted(lex, *lex->pos);
    }

    word = mesh_lex_room(lex);
    if (word == NULL) {
        return MESH_LEX_ERROR;
    }

    variable = 0;
    n = 0;

    for (p = lex->pos; p < lex->end && n < MESH_LEX_WORD; /* void */ ) {

        if (mesh_lex_space(*p) || *p == ';' || (*p == '{' && !variable)) {
            break;
        }

        variable = (*p == '$');

        p = mesh_lex_escape(lex, p, &n);
        if (p == NULL) {
            return MESH_LEX_ERROR;
        }
    }

    if (n >= MESH_LEX_WORD) {
        return mesh_lex_fail(lex, lex->line, "too long word, expected at "
                             "most %d bytes", MESH_LEX_WORD - 1);
    }

    word[n] = '\0';

    lex->args[lex->nargs].text = word;
    lex->args[lex->nargs++].len = n;
    lex->used += n + 1;
    lex->pos = p;

    return MESH_LEX_DIRECTIVE;
}


static mesh_lex_e
mesh_lex_quoted(mesh_lex_t *lex, char quote)
{
    char        *word;
    size_t       n;
    unsigned     line;
    const char  *p;

    word = mesh_lex_room(lex);
    if (word == NULL) {
        return MESH_LEX_ERROR;
    }

    line = lex->line;
    n = 0;

    for (p = lex->pos + 1; p < lex->end && *p != quote; /* void */ ) {

        if (n >= MESH_LEX_WORD - 1) {
            return mesh_lex_fail(lex, line, "too long quoted word, maybe a "
                                 "missing %c, expected at most %d bytes",
                                 quote, MESH_LEX_WORD - 1);
        }

        p = mesh_lex_escape(lex, p, &n);
        if (p == NULL) {
            return MESH_LEX_ERROR;
        }
    }

    if (p == lex->end) {
        return mesh_lex_fail(lex, line, "word has no end, expected %c", quote);
    }

    p++;

    if (p < lex->end && !mesh_lex_space(*p) && *p != ';' && *p != '{') {
        return mesh_lex_fail(lex, lex->line, "unexpected \"%c\" behind a "
                             "quoted word, expected a space, \";\" or \"{\"",
                             *p);
    }

    word[n] = '\0';

    lex->args[lex->nargs].text = word;
    lex->args[lex->nargs++].len = n;
    lex->used += n + 1;
    lex->pos = p;

    return MESH_LEX_DIRECTIVE;
}


/* copies one byte, or an escape of two, to the current word; NULL: bad byte */

static const char *
mesh_lex_escape(mesh_lex_t *lex, const char *p, size_t *n)
{
    char  ch, *word;

    word = lex->words + lex->used;
    ch = *p;

    if (mesh_lex_control(ch)) {
        (void) mesh_lex_fail(lex, lex->line, "control byte 0x%02x, expected "
                             "text", (unsigned char) ch);
        return NULL;
    }

    if (ch == '\n') {
        lex->line++;
    }

    if (ch != '\\' || lex->end - p < 2) {
        word[(*n)++] = ch;
        return p + 1;
    }

    switch (p[1]) {

    case '"':
    case '\'':
    case '\\':
        word[(*n)++] = p[1];
        return p + 2;

    case 't':
        word[(*n)++] = '\t';
        return p + 2;

    case 'r':
        word[(*n)++] = '\r';
        return p + 2;

    case 'n':
        word[(*n)++] = '\n';
        return p + 2;

    case '\n':
        word[(*n)++] = ch;
        return p + 1;                      /* looked at in the next turn */

    default:
        word[(*n)++] = ch;

        if (mesh_lex_control(p[1])) {
            return p + 1;                  /* refused in the next turn */
        }

        if (*n < MESH_LEX_WORD) {
            word[(*n)++] = p[1];           /* escaped: it ends no word */
        }

        return p + 2;
    }
}


static int
mesh_lex_plain(const char *text, size_t len)
{
    size_t  i;

    static const char  safe[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789._/:@+=,*[]%~-";

    for (i = 0; i < len; i++) {
        if (text[i] == '\0' || strchr(safe, text[i]) == NULL) {
            return 0;
        }
    }

    return len != 0;
}


long
mesh_lex_quote(char *buf, size_t size, const char *text, size_t len)
{
    int     quotes;
    size_t  i, n;

    quotes = !mesh_lex_plain(text, len);
    n = 0;

    if (2 * len + 3 > size) {              /* all escaped, quotes, NUL */
        return -1;
    }

    if (quotes) {
        buf[n++] = '"';
    }

    for (i = 0; i < len; i++) {

        if (mesh_lex_control(text[i])) {
            return -1;
        }

        if (text[i] == '"' || text[i] == '\\') {
            buf[n++] = '\\';
        }

        buf[n++] = text[i];
    }

    if (quotes) {
        buf[n++] = '"';
    }

    buf[n] = '\0';

    return (long) n;
}
