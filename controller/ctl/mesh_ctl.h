
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_CTL_H_INCLUDED_
#define _MESH_CTL_H_INCLUDED_

/*
 * Commands of meshctl: each is a line of the table in mesh_ctl.c and a
 * function in the file of its family.
 */

#include <mesh_core.h>


#define MESH_CTL_OK       0
#define MESH_CTL_TROUBLE  1
#define MESH_CTL_USAGE    2


typedef struct {
    const char  *name;                     /* one word or two */
    const char  *args;                     /* as help shows them */
    const char  *help;                     /* one line */

    /* argv[0] is the last word of the name; returns MESH_CTL_.. */
    int        (*run)(int argc, char **argv);
} mesh_ctl_command_t;


/* finds the command in argv, runs it, returns the exit code */
int mesh_ctl_main(int argc, char **argv);

/* "meshctl: sentence" on stderr; returns MESH_CTL_TROUBLE and .._USAGE */
int mesh_ctl_trouble(const mesh_err_t *err);
int mesh_ctl_usage(const mesh_err_t *err);


int mesh_ctl_state_compile(int argc, char **argv);
int mesh_ctl_state_dump(int argc, char **argv);
int mesh_ctl_render(int argc, char **argv);


#endif /* _MESH_CTL_H_INCLUDED_ */
