
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_LEX_H_INCLUDED_
#define _MESH_LEX_H_INCLUDED_

/*
 * The grammar of nginx configuration: words, "quoted" and 'quoted' words,
 * ";", "{", "}", comments from "#" to the end of the line.  The rules are
 * those of ngx_conf_read_token (nginx, src/core/ngx_conf_file.c), the code is
 * not.
 */

#include <stddef.h>


#define MESH_LEX_ARGS        256           /* words of one directive */
#define MESH_LEX_WORD        4096          /* bytes of one word */
#define MESH_LEX_ERROR_TEXT  512


typedef enum {
    MESH_LEX_EOF = 0,
    MESH_LEX_DIRECTIVE,                    /* ended by ";" */
    MESH_LEX_BLOCK,                        /* ended by "{" */
    MESH_LEX_END,                          /* "}" */
    MESH_LEX_ERROR                         /* error says what and where */
} mesh_lex_e;


typedef struct {
    const char  *text;
    size_t       len;
} mesh_word_t;


typedef struct {
    const char  *file;                     /* for messages */
    const char  *pos;
    const char  *end;
    unsigned     line;                     /* of pos */

    mesh_word_t  args[MESH_LEX_ARGS];      /* of the last directive */
    unsigned     nargs;
    unsigned     start;                    /* line of its first word */

    char        *words;                    /* where the words stand */
    size_t       used;
    size_t       size;

    char         error[MESH_LEX_ERROR_TEXT];
} mesh_lex_t;


/* text must outlive lex; mesh_lex_done() frees what the words stood in */
void mesh_lex_init(mesh_lex_t *lex, const char *file, const char *text,
    size_t len);
void mesh_lex_done(mesh_lex_t *lex);

/* the next directive into lex->args, valid until the next call */
mesh_lex_e mesh_lex_next(mesh_lex_t *lex);

/* sets lex->error to "file:line: ..." and returns MESH_LEX_ERROR */
mesh_lex_e mesh_lex_fail(mesh_lex_t *lex, unsigned line, const char *fmt, ...);

/*
 * Writes text as one nginx word: as it is where every byte is harmless, else
 * in double quotes with \ and " escaped.  Returns the bytes written without
 * the NUL, or -1 when size (of buf) is too small or text holds a control
 * byte other than tab, CR and LF: no word can hold those.
 */
long mesh_lex_quote(char *buf, size_t size, const char *text, size_t len);


#endif /* _MESH_LEX_H_INCLUDED_ */
