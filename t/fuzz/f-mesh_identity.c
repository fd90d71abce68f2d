
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: ngx_mesh_module/shared/mesh_identity.c */

/*
 * An identity of any bytes, as a certificate of a stranger may bring: what is
 * accepted has its parts inside the text.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mesh_identity.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             *copy;
    mesh_identity_t   id;

    copy = malloc(size ? size : 1);
    if (copy == NULL) {
        return 0;
    }

    memcpy(copy, data, size);

    if (mesh_identity_parse(copy, size, &id) == NULL) {

        if (size <= 9
            || memcmp(copy, "spiffe://", 9) != 0
            || memchr(copy, '\0', size) != NULL
            || id.trust_domain != copy + 9
            || id.trust_domain_len == 0
            || id.trust_domain_len > size - 9)
        {
            abort();
        }

        if (id.namespace_
            && (id.namespace_ + id.namespace_len > copy + size
                || id.service_account + id.service_account_len
                   != copy + size))
        {
            abort();
        }
    }

    free(copy);

    return 0;
}
