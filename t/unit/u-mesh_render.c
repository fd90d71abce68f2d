
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/render/ controller/model/ controller/base/; -ljansson */

/*
 * The renderer: no value of a pod can become anything else than one word of
 * nginx.conf, and what the template does wrong is told with its line.
 */

#include <mesh_core.h>
#include <mesh_lex.h>
#include <mesh_render.h>
#include "unit.h"


static mesh_render_value_t  values[] = {
    { "one",   { "word" },                 1 },
    { "list",  { "a b", "c", "d;e" },      3 },
    { "pair",  { "1", "2" },               2 },
    { "none",  { NULL },                   0 },
    { NULL,    { NULL },                   0 }
};

static mesh_err_t  err;


static char *
render(const char *text)
{
    char    *out;
    size_t   len;

    err.text[0] = '\0';
    out = NULL;

    if (mesh_render_template("t", text, strlen(text), values, &out, &len,
                             &err)
        != MESH_OK)
    {
        UNIT_OK(out == NULL);
        return NULL;
    }

    UNIT_EQ(len, strlen(out));

    return out;
}


static void
is(const char *text, const char *want)
{
    char  *out;

    out = render(text);
    UNIT_STR(out, want);
    free(out);
}


static void
names_are_filled(void)
{
    is("", "");
    is("a b;\n", "a b;\n");
    is("a ${one};\n", "a word;\n");
    is("${one} {", "word {\n");
    is("a\t${one}\t${one};\n", "a\tword\tword;\n");
    is("a $one ${ x;\n", NULL);
    UNIT_HAS(err.text, "t:1: \"${ x;\" is not a whole word");
    is("a $one;\n", "a $one;\n");
    is("  # says ${one}, ${nonsense\n", "  # says ${one}, ${nonsense\n");
}


static void
lists_repeat_their_line(void)
{
    is("x;\nallow ${list} y;\nz;\n",
       "x;\nallow \"a b\" y;\nallow c y;\nallow \"d;e\" y;\nz;\n");
    is("${one} ${pair};\n", "word 1;\nword 2;\n");
    is("${pair} ${one};\n", "1 word;\n2 word;\n");
}


static void
conditions_keep_or_drop(void)
{
    is("a;\n#if one\nb ${one};\n#end\nc;\n", "a;\nb word;\nc;\n");
    is("a;\n#if none\nb ${none};\n#end\nc;\n", "a;\nc;\n");
}


static void
mistakes_have_a_line(void)
{
    size_t  i;

    static const struct {
        const char  *text;
        const char  *error;
    } cases[] = {
        { "a;\nb ${two};\n",         "t:2: unknown name \"two\"" },
        { "a ${none};\n",            "t:1: \"none\" has no value" },
        { "a x${one};\n",            "t:1: \"${one};\" is not a whole word" },
        { "a ${one}x;\n",            "is not a whole word" },
        { "a ${one}/${one};\n",      "is not a whole word" },
        { "a \"${one}\";\n",         "is not a whole word" },
        { "a ${one",                 "is not a whole word" },
        { "a ${};\n",                "unknown name \"\"" },
        { "#if two\n#end\n",         "t:1: unknown name \"two\"" },
        { "a;\n#if one\nb;\n",       "t:2: \"#if\" has no end" },
        { "#if one\n#if none\n#end\n#end\n", "t:2: \"#if\" inside the one" },
        { "#end\n",                  "t:1: unexpected \"#end\"" },
        { "#if one\n#endif\n",       "t:2: unexpected \"#endif\"" },
        { "#if\n",                   "t:1: unexpected \"#if\"" },
        { "${list} ${pair};\n",      "t:1: \"pair\" has 2 values, expected 3" }
    };

    for (i = 0; i < mesh_nelts(cases); i++) {
        UNIT_OK(render(cases[i].text) == NULL);
        UNIT_HAS(err.text, cases[i].error);
    }
}


/* each of these comes back as one word between two others, or is refused */

static void
hostile_values_stay_words(void)
{
    char        *out;
    size_t       i;
    mesh_lex_t   lex;

    static const char  *hostile[] = {
        "", " ", ";", "{", "}", "#", "\"", "'", "\\", "\\\"", "\";", "';",
        "a;}", "x; load_module evil.so; #", "\" ; evil on ; \"",
        "\\\" ; evil on ; \\\"", "a b", "a\\ b", "\\\\\" evil", "a\\",
        "/run/mesh\\", "..//../", "*", "~", "http://x/{}", "\\n", "\\x41",
        "\xff\xfe", "\xc3\xa4", "unix:/x\"y", "trailing\\\\", "\\;", "\\{",
        "#if one", "#end", "if (", ")", "include /etc/passwd;"
    };

    static const char  *refused[] = {
        "$", "a$b", "${one}", "$host", "\n", "a\nb", "\r", "\t", "\001",
        "\177", "a\033[2J"
    };

    for (i = 0; i < mesh_nelts(hostile); i++) {
        values[0].items[0] = hostile[i];
        out = render("before ${one} after;\n");

        if (!UNIT_OK(out != NULL)) {
            continue;
        }

        mesh_lex_init(&lex, "out", out, strlen(out));
        UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_DIRECTIVE);
        UNIT_EQ(lex.nargs, 3);
        UNIT_STR(lex.args[1].text, hostile[i]);
        UNIT_STR(lex.args[2].text, "after");
        UNIT_EQ(mesh_lex_next(&lex), MESH_LEX_EOF);
        mesh_lex_done(&lex);
        free(out);
    }

    for (i = 0; i < mesh_nelts(refused); i++) {
        values[0].items[0] = refused[i];
        UNIT_OK(render("before ${one} after;\n") == NULL);
        UNIT_HAS(err.text, "t:1: value of \"one\": holds");
    }

    values[0].items[0] = "word";
}


static void
long_values_are_refused(void)
{
    char  text[MESH_RENDER_WORD_MAX + 2], *out;

    memset(text, '"', sizeof(text));
    text[MESH_RENDER_WORD_MAX + 1] = '\0';
    values[0].items[0] = text;

    UNIT_OK(render("a ${one};\n") == NULL);
    UNIT_HAS(err.text, "longer than 2048 bytes");

    text[MESH_RENDER_WORD_MAX] = '\0';
    out = render("a ${one};\n");
    UNIT_OK(out != NULL);
    free(out);

    values[0].items[0] = "word";
}


static char *
nginx(mesh_render_conf_t *conf)
{
    char                *out;
    size_t               len;

    static const char    text[] =
        "${stream_module} ${mesh_module} ${pid_file} ${identity}\n"
        "${certificate} ${certificate_key} ${trust} ${state_file}\n"
        "${agent_socket} ${transparent_conf} ${temp_path} ${admin_url}\n"
        "${workers} ${worker_connections};\n"
        "allow ${admin_networks};\n"
        "#if ipv6\nv6;\n#end\n"
        "#if redis_socket\n"
        "${redis_socket} ${redis_identity} ${redis_endpoint}\n"
        "#end\n";

    if (mesh_render_nginx(conf, "t", text, sizeof(text) - 1, &out, &len, &err)
        != MESH_OK)
    {
        return NULL;
    }

    return out;
}


static void
settings_become_names(void)
{
    char                *out, longest[MESH_RENDER_WORD_MAX + 1];
    mesh_render_conf_t   conf;

    static const char   *networks[] = { "10.0.0.0/8", "fd00::/8" };

    memset(&conf, 0, sizeof(conf));

    conf.run_dir = "/run/mesh";
    conf.conf_dir = "/etc/ngx-mesh";
    conf.modules_dir = "/lib/m";
    conf.mesh_module = "/lib/mesh.so";
    conf.identity = "spiffe://td/ns/a/sa/b";
    conf.trust_domain = "td";
    conf.redis = "10.96.0.5:6379";
    conf.admin_networks = networks;
    conf.nadmin_networks = 2;
    conf.workers = 3;
    conf.worker_connections = 512;
    conf.ipv6 = 1;

    out = nginx(&conf);
    UNIT_STR(out,
        "/lib/m/ngx_stream_module.so /lib/mesh.so /run/mesh/nginx.pid "
        "spiffe://td/ns/a/sa/b\n"
        "/run/mesh/identity/current/cert.pem "
        "/run/mesh/identity/current/key.pem "
        "/run/mesh/identity/current/trust.pem /run/mesh/state\n"
        "unix:/run/mesh/agent.sock /etc/ngx-mesh/transparent.conf "
        "/run/mesh/temp http://unix:/run/mesh/admin.sock\n"
        "3 512;\n"
        "allow 10.0.0.0/8;\nallow fd00::/8;\n"
        "v6;\n"
        "unix:/run/mesh/redis.sock "
        "identity=spiffe://td/ns/ngx-mesh/sa/mesh-redis "
        "endpoint=10.96.0.5:6379\n");
    free(out);

    conf.redis = NULL;
    conf.ipv6 = 0;
    out = nginx(&conf);
    UNIT_OK(out && strstr(out, "redis") == NULL && strstr(out, "v6;") == NULL);
    free(out);

    memset(longest, 'x', MESH_RENDER_WORD_MAX);
    longest[MESH_RENDER_WORD_MAX] = '\0';
    conf.run_dir = longest;
    UNIT_OK(nginx(&conf) == NULL);
    UNIT_HAS(err.text, "is longer than");
}


UNIT_TESTS = {
    UNIT(names_are_filled),
    UNIT(lists_repeat_their_line),
    UNIT(conditions_keep_or_drop),
    UNIT(mistakes_have_a_line),
    UNIT(hostile_values_stay_words),
    UNIT(long_values_are_refused),
    UNIT(settings_become_names),
    UNIT_END
};
