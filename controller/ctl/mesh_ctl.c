
/*
 * Copyright (C) ngx-mesh authors
 */

/* The table of commands; help and dispatch are made from it. */

#include <mesh_core.h>

#include <mesh_ctl.h>


static int mesh_ctl_help(int argc, char **argv);


static const mesh_ctl_command_t  mesh_ctl_commands[] = {

    { "state compile", "IN [-o OUT]",
      "turn state text into a snapshot (stdout without -o)",
      mesh_ctl_state_compile },

    { "state dump", "FILE",
      "print a snapshot as state text",
      mesh_ctl_state_dump },

    { "render", "--namespace=NAME --pod=NAME [--documents=DIR] ...",
      "print nginx.conf and state of a pod, see \"meshctl render --help\"",
      mesh_ctl_render },

    { "help", "",
      "print this",
      mesh_ctl_help },

    { NULL, NULL, NULL, NULL }
};


/* the number of words of name if argv starts with them, else 0 */

static int
mesh_ctl_match(const char *name, int argc, char **argv)
{
    int     words;
    size_t  n;

    for (words = 0; words < argc; /* void */ ) {

        n = strcspn(name, " ");

        if (strlen(argv[words]) != n || strncmp(argv[words], name, n) != 0) {
            return 0;
        }

        words++;

        if (name[n] == '\0') {
            return words;
        }

        name += n + 1;
    }

    return 0;
}


static void
mesh_ctl_print(FILE *out)
{
    const mesh_ctl_command_t  *command;

    fprintf(out, "usage: meshctl COMMAND\n\n");

    for (command = mesh_ctl_commands; command->name; command++) {
        fprintf(out, "    meshctl %s%s%s\n        %s\n", command->name,
                command->args[0] ? " " : "", command->args, command->help);
    }

    fprintf(out, "\nexit code: 0 success, 1 trouble, 2 wrong usage\n");
}


static int
mesh_ctl_help(int argc, char **argv)
{
    mesh_ctl_print(stdout);

    return fflush(stdout) == 0 ? MESH_CTL_OK : MESH_CTL_TROUBLE;
}


int
mesh_ctl_main(int argc, char **argv)
{
    int                        words;
    mesh_err_t                 err;
    const mesh_ctl_command_t  *command;

    if (argc < 2) {
        mesh_ctl_print(stderr);
        return MESH_CTL_USAGE;
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return mesh_ctl_help(argc, argv);
    }

    for (command = mesh_ctl_commands; command->name; command++) {

        words = mesh_ctl_match(command->name, argc - 1, argv + 1);

        if (words) {
            return command->run(argc - words, argv + words);
        }
    }

    (void) mesh_err(&err, "unknown command \"%.64s%s%.64s\", see \"meshctl "
                    "help\"", argv[1], argc > 2 ? " " : "",
                    argc > 2 ? argv[2] : "");

    return mesh_ctl_usage(&err);
}


int
mesh_ctl_trouble(const mesh_err_t *err)
{
    fprintf(stderr, "meshctl: %s\n", err->text);

    return MESH_CTL_TROUBLE;
}


int
mesh_ctl_usage(const mesh_err_t *err)
{
    fprintf(stderr, "meshctl: %s\n", err->text);

    return MESH_CTL_USAGE;
}
