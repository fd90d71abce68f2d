
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_x509_csr.c controller/base/mesh_x509.c
         controller/base/mesh_err.c; -lcrypto */

/*
 * A certificate request of a stranger, as PEM if it starts like one and as
 * its DER else (mutations of base64 rarely get past it): what is accepted is
 * P-256 and has an ID.
 */

#include <mesh_x509.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                  id[MESH_X509_ID_MAX + 1], *copy;
    X509_REQ             *req;
    mesh_err_t            err;
    const unsigned char  *p;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    if (size > 5 && memcmp(copy, "-----", 5) == 0) {
        req = mesh_x509_csr_parse(copy, size, &err);

    } else {
        p = (const unsigned char *) copy;
        req = d2i_X509_REQ(NULL, &p, (long) size);
    }

    if (req != NULL && mesh_x509_csr_check(req, id, &err) == MESH_OK
        && (strncmp(id, "spiffe://", 9) != 0
            || !mesh_x509_key_is_p256(X509_REQ_get0_pubkey(req))))
    {
        abort();
    }

    X509_REQ_free(req);
    free(copy);

    return 0;
}
