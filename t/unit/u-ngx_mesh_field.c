
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/core/ngx_mesh_field.c */

/* Field lines: what is one, where it ends, and what belongs to a connection. */

#include <ngx_mesh_field.h>

#include "unit.h"


static char  field_text[256];


static ngx_str_t
str(const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return s;
}


/* "NAME=VALUE" of the line, "bad", or "end"; *rest is what is left */

static const char *
next_line(const char *text, const char **rest)
{
    u_char            *p, *end;
    ngx_int_t          rc;
    ngx_mesh_field_t   field;

    p = (u_char *) text;
    end = p + strlen(text);

    rc = ngx_mesh_field_next(&p, end, &field);

    *rest = (char *) p;

    if (rc != NGX_OK) {
        return (rc == NGX_DONE) ? "end" : "bad";
    }

    snprintf(field_text, sizeof(field_text), "%.*s=%.*s",
             (int) field.name.len, field.name.data,
             (int) field.value.len, field.value.data);

    return field_text;
}


static void
next_takes_lines(void)
{
    const char  *rest;

    UNIT_STR(next_line("A: b\r\nC: d", &rest), "A=b");
    UNIT_STR(rest, "C: d");
    UNIT_STR(next_line("A:b\nC: d", &rest), "A=b");
    UNIT_STR(rest, "C: d");
    UNIT_STR(next_line("A: \t b c \t\r\n", &rest), "A=b c");
    UNIT_STR(rest, "");
    UNIT_STR(next_line("A:\r\n", &rest), "A=");
    UNIT_STR(next_line("A: b:c", &rest), "A=b:c");
    UNIT_STR(next_line("x!#$%&'*+-.^_`|~9: \x80", &rest),
             "x!#$%&'*+-.^_`|~9=\x80");
}


static void
next_ends(void)
{
    const char  *rest;

    UNIT_STR(next_line("", &rest), "end");
    UNIT_STR(next_line("\r\nA: b", &rest), "end");
    UNIT_STR(rest, "A: b");
    UNIT_STR(next_line("\nA: b", &rest), "end");
    UNIT_STR(rest, "A: b");
}


static void
next_refuses(void)
{
    u_char            *p, nul[] = "A: b\0c\r\n";
    const char        *rest;
    ngx_mesh_field_t   field;

    UNIT_STR(next_line("no colon\r\nA: b\r\n", &rest), "bad");
    UNIT_STR(rest, "A: b\r\n");
    UNIT_STR(next_line(": b\r\n", &rest), "bad");
    UNIT_STR(next_line(" A: b\r\n", &rest), "bad");
    UNIT_STR(next_line("A : b\r\n", &rest), "bad");
    UNIT_STR(next_line("A(: b\r\n", &rest), "bad");
    UNIT_STR(next_line("A\x80: b\r\n", &rest), "bad");
    UNIT_STR(next_line("A: b\rc\r\n", &rest), "bad");
    UNIT_STR(next_line("A: b\x7f\r\n", &rest), "bad");
    UNIT_STR(next_line("\r: b\r\n", &rest), "bad");

    p = nul;
    UNIT_EQ(ngx_mesh_field_next(&p, nul + sizeof(nul) - 1, &field),
            NGX_DECLINED);
    UNIT_OK(p == nul + sizeof(nul) - 1);
}


static void
hop_knows_names(void)
{
    ngx_str_t    name;
    ngx_uint_t   i;

    static const char  *hops[] = {
        "Connection", "content-length", "KEEP-ALIVE", "Proxy-Connection",
        "TE", "Trailer", "transfer-encoding", "Upgrade"
    };
    static const char  *others[] = {
        "", "Content-Type", "TEE", "T", "Connection2", "Link"
    };

    for (i = 0; i < sizeof(hops) / sizeof(hops[0]); i++) {
        name = str(hops[i]);
        UNIT_EQ(ngx_mesh_field_hop(&name), 1);
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        name = str(others[i]);
        UNIT_EQ(ngx_mesh_field_hop(&name), 0);
    }
}


static void
lists_are_taken_apart(void)
{
    ngx_str_t  list, element, name;

    list = str(" , a;q=1 ,,\tb c, ;x, d");

    UNIT_EQ(ngx_mesh_field_element(&list, &element), NGX_OK);
    UNIT_STRN((char *) element.data, element.len, "a");
    UNIT_EQ(ngx_mesh_field_element(&list, &element), NGX_OK);
    UNIT_STRN((char *) element.data, element.len, "b c");
    UNIT_EQ(ngx_mesh_field_element(&list, &element), NGX_OK);
    UNIT_STRN((char *) element.data, element.len, "d");
    UNIT_EQ(ngx_mesh_field_element(&list, &element), NGX_DONE);
    UNIT_EQ(ngx_mesh_field_element(&list, &element), NGX_DONE);

    list = str("close, X-Hop;p");
    name = str("x-hop");
    UNIT_EQ(ngx_mesh_field_named(&list, &name), 1);
    name = str("x-ho");
    UNIT_EQ(ngx_mesh_field_named(&list, &name), 0);
    UNIT_EQ(list.len, strlen("close, X-Hop;p"));
}


UNIT_TESTS = {
    UNIT(next_takes_lines),
    UNIT(next_ends),
    UNIT(next_refuses),
    UNIT(hop_knows_names),
    UNIT(lists_are_taken_apart),
    UNIT_END
};
