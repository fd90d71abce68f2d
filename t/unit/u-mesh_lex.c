
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/model/mesh_lex.c */

/*
 * nginx's words; whatever text is quoted comes back as the same text.
 * t/agent/words.t asks nginx itself.
 */

#include <mesh_core.h>
#include <mesh_lex.h>
#include "unit.h"


static mesh_lex_t  lex;


static mesh_lex_e
next(const char *text)
{
    mesh_lex_done(&lex);
    mesh_lex_init(&lex, "f", text, strlen(text));

    return mesh_lex_next(&lex);
}


static void
words_are_separated(void)
{
    UNIT_EQ(next("a  b\tc\nd;e;"), MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.nargs, 4);
    UNIT_STR(lex.args[0].text, "a");
    UNIT_STR(lex.args[3].text, "d");
    UNIT_EQ(lex.start, 1);

    UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.start, 2);
    UNIT_STR(lex.args[0].text, "e");

    UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_EOF);
    mesh_lex_done(&lex);
}


static void
blocks_open_and_end(void)
{
    UNIT_EQ(next("a b{}"), MESH_LEX_BLOCK);
    UNIT_EQ(lex.nargs, 2);
    UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_END);
    UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_EOF);

    UNIT_EQ(next("a ${b}c;"), MESH_LEX_DIRECTIVE);
    UNIT_STR(lex.args[1].text, "${b}c");

    UNIT_EQ(next("a b}c;"), MESH_LEX_DIRECTIVE);
    UNIT_STR(lex.args[1].text, "b}c");
    mesh_lex_done(&lex);
}


static void
comments_are_skipped(void)
{
    UNIT_EQ(next("# x; {\na # y\n b#c;"), MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.nargs, 2);
    UNIT_STR(lex.args[1].text, "b#c");
    UNIT_EQ(lex.start, 2);
    mesh_lex_done(&lex);
}


static void
quotes_hold_everything(void)
{
    UNIT_EQ(next("a \"x y;{}#'\" 'z \"' \"\";"), MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.nargs, 4);
    UNIT_STR(lex.args[1].text, "x y;{}#'");
    UNIT_STR(lex.args[2].text, "z \"");
    UNIT_EQ(lex.args[3].len, 0);

    UNIT_EQ(next("a \"b\"{"), MESH_LEX_BLOCK);
    UNIT_EQ(lex.nargs, 2);
    mesh_lex_done(&lex);
}


static void
backslashes_are_nginx_s(void)
{
    UNIT_EQ(next("a \"\\\"\\\\\\n\\t\\r\\.\" b\\ c \\;;"),
            MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.nargs, 4);
    UNIT_STR(lex.args[1].text, "\"\\\n\t\r\\.");
    UNIT_STR(lex.args[2].text, "b\\ c");
    UNIT_STR(lex.args[3].text, "\\;");
    mesh_lex_done(&lex);
}


static void
what_is_wrong_is_said(void)
{
    size_t  i;

    static const struct {
        const char  *text;
        const char  *error;
    } cases[] = {
        { "a",            "f:1: unexpected end of file, expected \";\"" },
        { "a\n b\n",      "f:3: unexpected end of file" },
        { ";",            "f:1: unexpected \";\", expected a directive" },
        { "\n{",          "f:2: unexpected \"{\", expected a directive" },
        { "a }",          "f:1: unexpected \"}\", expected \";\" or \"{\"" },
        { "a \"b",        "f:1: word has no end, expected \"" },
        { "a\n'b\nc",     "f:2: word has no end, expected '" },
        { "a \"b\"c;",    "f:1: unexpected \"c\" behind a quoted word" }
    };

    for (i = 0; i < mesh_nelts(cases); i++) {
        UNIT_EQ(next(cases[i].text), MESH_LEX_ERROR);
        UNIT_HAS(lex.error, cases[i].error);
    }

    mesh_lex_done(&lex);

    mesh_lex_init(&lex, "f", "a \0b;", 5);
    UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_ERROR);
    UNIT_HAS(lex.error, "byte 0");
    mesh_lex_done(&lex);
}


static void
limits_hold(void)
{
    char    *text;
    size_t   i;

    text = malloc(2 * MESH_LEX_WORD + 8);

    memset(text, 'x', MESH_LEX_WORD - 1);
    memcpy(text + MESH_LEX_WORD - 1, ";", 2);
    UNIT_EQ(next(text), MESH_LEX_DIRECTIVE);
    UNIT_EQ(lex.args[0].len, MESH_LEX_WORD - 1);

    memset(text, 'x', MESH_LEX_WORD);
    memcpy(text + MESH_LEX_WORD, ";", 2);
    UNIT_EQ(next(text), MESH_LEX_ERROR);
    UNIT_HAS(lex.error, "too long word");

    text[0] = '"';
    memset(text + 1, '\n', MESH_LEX_WORD);
    memcpy(text + MESH_LEX_WORD + 1, "\";", 3);
    UNIT_EQ(next(text), MESH_LEX_ERROR);
    UNIT_HAS(lex.error, "f:1: too long quoted word");

    for (i = 0; i < MESH_LEX_ARGS + 1; i++) {
        memcpy(text + 2 * i, "a ", 2);
    }

    text[2 * i] = '\0';
    UNIT_EQ(next(text), MESH_LEX_ERROR);
    UNIT_HAS(lex.error, "too many words");

    free(text);
    mesh_lex_done(&lex);
}


/* every pair of bytes that a word can hold */

static void
quoted_text_comes_back(void)
{
    int      a, b;
    long     n;
    char     text[3], quoted[16], line[32];

    for (a = 1; a < 256; a++) {
        for (b = 0; b < 256; b++) {

            text[0] = (char) a;
            text[1] = (char) b;
            text[2] = '\0';

            n = mesh_lex_quote(quoted, sizeof(quoted), text, strlen(text));

            if (n < 0) {
                UNIT_OK(strpbrk(text, "\001\002\003\004\005\006\007\010\013"
                                      "\014\016\017\020\021\022\023\024\025"
                                      "\026\027\030\031\032\033\034\035\036"
                                      "\037\177") != NULL);
                continue;
            }

            UNIT_EQ(n, strlen(quoted));
            (void) snprintf(line, sizeof(line), "x %s;", quoted);

            if (!UNIT_EQ(next(line), MESH_LEX_DIRECTIVE)
                || !UNIT_EQ(lex.nargs, 2))
            {
                return;
            }

            UNIT_STR(lex.args[1].text, text);
        }
    }

    mesh_lex_done(&lex);
}


static void
quoting_needs_room(void)
{
    char  buf[8];

    UNIT_EQ(mesh_lex_quote(buf, 5, "\"", 1), 4);
    UNIT_STR(buf, "\"\\\"\"");
    UNIT_EQ(mesh_lex_quote(buf, 4, "\"", 1), -1);
    UNIT_EQ(mesh_lex_quote(buf, 3, "", 0), 2);
    UNIT_STR(buf, "\"\"");
    UNIT_EQ(mesh_lex_quote(buf, 2, "", 0), -1);
}


UNIT_TESTS = {
    UNIT(words_are_separated),
    UNIT(blocks_open_and_end),
    UNIT(comments_are_skipped),
    UNIT(quotes_hold_everything),
    UNIT(backslashes_are_nginx_s),
    UNIT(what_is_wrong_is_said),
    UNIT(limits_hold),
    UNIT(quoted_text_comes_back),
    UNIT(quoting_needs_room),
    UNIT_END
};
