
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_KUBE_TEXT_H_INCLUDED_
#define _MESH_KUBE_TEXT_H_INCLUDED_

/*
 * Certificates, keys and tokens, each with the file that it came from and
 * what that file looked like.  For mesh_kube_conf.c.
 */

#include <mesh_core.h>

#include <sys/stat.h>


#define MESH_KUBE_CONF_FILE_MAX   (1024 * 1024)
#define MESH_KUBE_TOKEN_MAX       (16 * 1024)
#define MESH_KUBE_CERTIFICATES    1024     /* of a bundle */


/* kinds of text */

#define MESH_KUBE_PEM_CERT        1
#define MESH_KUBE_PEM_KEY         2
#define MESH_KUBE_TOKEN           3


/* a file, as it was when it was read */

typedef struct {
    dev_t                dev;
    ino_t                inode;
    off_t                size;
    struct timespec      mtime;
} mesh_kube_stamp_t;


/* text from a file or from the kubeconfig itself */

typedef struct {
    char                *path;            /* NULL: no file */
    char                *text;            /* NULL: not given */
    mesh_kube_stamp_t    stamp;
} mesh_kube_text_t;


/* reads text->path, which replaces text->text if it is good */
int mesh_kube_text_read(mesh_kube_text_t *text, int kind, mesh_err_t *err);

/* of a token, white space at the end is cut off */
int mesh_kube_text_check(char *text, int kind, mesh_err_t *err);

void mesh_kube_text_done(mesh_kube_text_t *text);

int mesh_kube_stamp(const char *path, mesh_kube_stamp_t *stamp,
    mesh_err_t *err);

/* 0 also for a file that is away: for a moment that is no news */
int mesh_kube_stamp_differs(const char *path, const mesh_kube_stamp_t *stamp);


#endif /* _MESH_KUBE_TEXT_H_INCLUDED_ */
