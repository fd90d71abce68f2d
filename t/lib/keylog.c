
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Test only: a library for LD_PRELOAD that makes every SSL_CTX of a process
 * write its TLS secrets (NSS key log format) to the file named by
 * MESH_KEYLOG, so that tshark can decrypt what the sidecars exchange.  The
 * name is read when the library is loaded: nginx clears its environment.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>


typedef SSL_CTX *(*keylog_new_pt)(const SSL_METHOD *method);


static char  keylog_path[512];


__attribute__((constructor)) static void
keylog_init(void)
{
    const char  *path;

    path = getenv("MESH_KEYLOG");

    if (path != NULL) {
        (void) snprintf(keylog_path, sizeof(keylog_path), "%s", path);
    }
}


static void
keylog_write(const SSL *ssl, const char *line)
{
    int     fd;
    char    text[1024];
    size_t  len;

    (void) ssl;

    fd = open(keylog_path, O_WRONLY|O_APPEND|O_CREAT, 0666);
    if (fd == -1) {
        return;
    }

    /* one write: lines of several processes do not mix */

    len = (size_t) snprintf(text, sizeof(text), "%s\n", line);

    if (len < sizeof(text) && write(fd, text, len) != (ssize_t) len) {
        perror("keylog");
    }

    (void) close(fd);
}


SSL_CTX *
SSL_CTX_new(const SSL_METHOD *method)
{
    SSL_CTX        *ctx;
    keylog_new_pt   next;

    next = (keylog_new_pt) dlsym(RTLD_NEXT, "SSL_CTX_new");
    if (next == NULL) {
        return NULL;
    }

    ctx = next(method);

    if (ctx != NULL && keylog_path[0] != '\0') {
        SSL_CTX_set_keylog_callback(ctx, keylog_write);
    }

    return ctx;
}
