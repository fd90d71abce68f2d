
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_opt.c controller/base/mesh_err.c */

/* One table, many command lines. */

#include <mesh_opt.h>

#include "unit.h"


typedef struct {
    const char       *name;
    int64_t           number;
    int               flag;
    mesh_opt_list_t   list;
    const char       *choice;
} conf_t;


static const mesh_opt_t  table[] = {

    { "name", "TEXT", MESH_OPT_STRING, MESH_OPT_REQUIRED,
      offsetof(conf_t, name), NULL, 0, 0, "a name" },

    { "a-number", "NUMBER", MESH_OPT_NUMBER, 0,
      offsetof(conf_t, number), "5", 1, 10, "a number" },

    { "flag", NULL, MESH_OPT_FLAG, 0,
      offsetof(conf_t, flag), NULL, 0, 0, "a flag" },

    { "list", "WORD", MESH_OPT_LIST, 0,
      offsetof(conf_t, list), "x y", 0, 0, "words" },

    { "choice", "red|green", MESH_OPT_CHOICE, 0,
      offsetof(conf_t, choice), "red", 0, 0, "a color" },

    MESH_OPT_END
};


static conf_t      conf;
static mesh_err_t  err;
static char       *argv[32];
static int         argc, rest;


/* words end with NULL */

static int
parse(int *rest_pt, ...)
{
    va_list  args;

    memset(&conf, 0, sizeof(conf));
    err.text[0] = '\0';

    argc = 0;
    argv[argc++] = "role";

    va_start(args, rest_pt);

    while ((argv[argc] = va_arg(args, char *)) != NULL) {
        argc++;
    }

    va_end(args);

    return mesh_opt_parse(table, argc, argv, &conf, rest_pt, &err);
}


static void
parse_takes_both_forms(void)
{
    UNIT_EQ(parse(NULL, "--name=n=1", "--a-number", "7", "--flag",
                  "--list=a", "--list", "b", "--choice=green", NULL),
            MESH_OK);
    UNIT_STR(conf.name, "n=1");
    UNIT_EQ(conf.number, 7);
    UNIT_EQ(conf.flag, 1);
    UNIT_EQ(conf.list.n, 2);
    UNIT_STR(conf.list.value[1], "b");
    UNIT_STR(conf.choice, "green");
}


static void
parse_fills_defaults(void)
{
    UNIT_EQ(parse(NULL, "--name", "n", NULL), MESH_OK);
    UNIT_EQ(conf.number, 5);
    UNIT_EQ(conf.flag, 0);
    UNIT_EQ(conf.list.n, 2);
    UNIT_STR(conf.list.value[0], "x");
    UNIT_STR(conf.list.value[1], "y");
    UNIT_STR(conf.choice, "red");

    UNIT_EQ(parse(NULL, "--name", "n", "--flag", "--flag=off", NULL),
            MESH_OK);
    UNIT_EQ(conf.flag, 0);
}


static void
parse_falls_back_to_the_environment(void)
{
    (void) setenv("MESH_NAME", "env", 1);
    (void) setenv("MESH_A_NUMBER", "9", 1);
    (void) setenv("MESH_LIST", "p q  r", 1);
    (void) setenv("MESH_FLAG", "on", 1);
    (void) setenv("MESH_CHOICE", "", 1);

    UNIT_EQ(parse(NULL, NULL), MESH_OK);
    UNIT_STR(conf.name, "env");
    UNIT_EQ(conf.number, 9);
    UNIT_EQ(conf.list.n, 3);
    UNIT_STR(conf.list.value[2], "r");
    UNIT_EQ(conf.flag, 1);
    UNIT_STR(conf.choice, "red");

    UNIT_EQ(parse(NULL, "--name=line", "--list=s", NULL), MESH_OK);
    UNIT_STR(conf.name, "line");
    UNIT_EQ(conf.list.n, 1);

    (void) setenv("MESH_A_NUMBER", "99", 1);
    UNIT_EQ(parse(NULL, NULL), MESH_ERROR);
    UNIT_STR(err.text, "environment of --a-number is \"99\", expected a "
             "number of 1 .. 10");

    (void) unsetenv("MESH_NAME");
    (void) unsetenv("MESH_A_NUMBER");
    (void) unsetenv("MESH_LIST");
    (void) unsetenv("MESH_FLAG");
    (void) unsetenv("MESH_CHOICE");
}


static void
parse_says_what_was_expected(void)
{
    size_t  i;

    static const struct {
        char        *word;
        const char  *text;
    } rows[] = {
        { "--a-number=", "option --a-number is \"\", expected a number of "
                         "1 .. 10" },
        { "--a-number=5x", "is \"5x\"" },
        { "--a-number=0", "1 .. 10" },
        { "--a-number=99999999999999999999", "1 .. 10" },
        { "--flag=yes", "option --flag is \"yes\", expected on or off" },
        { "--name=", "option --name is empty, expected TEXT" },
        { "--choice=gre", "expected one of red|green" },
        { "--choice=", "expected one of red|green" },
        { "--list=", "is empty" },
        { "--nam=x", "unknown option \"--nam\"" },
        { "--names=x", "unknown option \"--names\"" },
        { "--name", "option \"--name\" needs a value, expected TEXT" },
        { "word", "unexpected word \"word\"" },
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(parse(NULL, rows[i].word, NULL), MESH_ERROR);
        UNIT_HAS(err.text, rows[i].text);
    }

    UNIT_EQ(parse(NULL, NULL), MESH_ERROR);
    UNIT_STR(err.text, "option \"--name=TEXT\" is required (or MESH_NAME in "
             "the environment)");

    UNIT_EQ(parse(NULL, "--name=n", "--", "x", NULL), MESH_ERROR);
    UNIT_STR(err.text, "unexpected word \"x\"");
}


static void
parse_leaves_words_at_the_end(void)
{
    UNIT_EQ(parse(&rest, "one", "--name", "n", "two", "--flag", "--",
                  "--three", NULL), MESH_OK);
    UNIT_EQ(rest, argc - 3);
    UNIT_STR(argv[rest], "one");
    UNIT_STR(argv[rest + 1], "two");
    UNIT_STR(argv[rest + 2], "--three");
    UNIT_EQ(conf.flag, 1);

    UNIT_EQ(parse(&rest, "--name", "n", NULL), MESH_OK);
    UNIT_EQ(rest, argc);
}


static void
parse_limits_lists(void)
{
    int   i;
    char  long_list[1024];

    for (i = 1; i <= MESH_OPT_LIST_MAX + 1; i++) {
        argv[i] = "--list=a";
    }

    memset(&conf, 0, sizeof(conf));
    UNIT_EQ(mesh_opt_parse(table, i, argv, &conf, NULL, &err), MESH_ERROR);
    UNIT_HAS(err.text, "more than 16 times");

    memset(long_list, 'a', sizeof(long_list) - 1);
    long_list[sizeof(long_list) - 1] = '\0';
    (void) setenv("MESH_LIST", long_list, 1);

    UNIT_EQ(parse(NULL, "--name=n", NULL), MESH_ERROR);
    UNIT_HAS(err.text, "longer than 511 bytes");
    (void) unsetenv("MESH_LIST");
}


static void
usage_is_the_table(void)
{
    char   *text;
    FILE   *out;
    size_t  len;

    UNIT_EQ(parse(NULL, "--help", NULL), MESH_DONE);
    UNIT_EQ(parse(NULL, "-h", NULL), MESH_DONE);

    out = open_memstream(&text, &len);
    UNIT_NEED(out != NULL);
    mesh_opt_usage(out, table, "meshd test");
    (void) fclose(out);

    UNIT_HAS(text, "usage: meshd test OPTIONS\n");
    UNIT_HAS(text, "  --name=TEXT\n        a name (required)\n");
    UNIT_HAS(text, "  --a-number=NUMBER\n        a number (default: 5)\n");
    UNIT_HAS(text, "  --flag\n");
    free(text);
}


UNIT_TESTS = {
    UNIT(parse_takes_both_forms),
    UNIT(parse_fills_defaults),
    UNIT(parse_falls_back_to_the_environment),
    UNIT(parse_says_what_was_expected),
    UNIT(parse_leaves_words_at_the_end),
    UNIT(parse_limits_lists),
    UNIT(usage_is_the_table),
    UNIT_END
};
