
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * meshctl: what people type.  The commands are a table in ctl/; exit code 0
 * is success, 1 trouble (one line on stderr), 2 wrong usage.
 */

#include <mesh_core.h>

#include <mesh_ctl.h>


int
main(int argc, char **argv)
{
    return mesh_ctl_main(argc, argv);
}
