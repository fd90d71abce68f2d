
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/base/mesh_b64.c */

/* RFC 4648 section 10, all bytes, and what is refused. */

#include <mesh_b64.h>

#include "unit.h"


static void
encode_as_the_rfc(void)
{
    char    buf[16];
    size_t  i;

    static const char  *rows[][2] = {
        { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" }
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(mesh_b64_encode(buf, rows[i][0], strlen(rows[i][0])),
                strlen(rows[i][1]));
        UNIT_STR(buf, rows[i][1]);
    }
}


static void
decode_undoes_encode(void)
{
    char     text[mesh_b64_encoded_bytes(256)];
    size_t   i, len, got;
    uint8_t  data[256], back[mesh_b64_decoded_bytes(mesh_b64_encoded_bytes(
                                                                      256))];

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t) (i * 7 + 3);
    }

    for (i = 0; i <= sizeof(data); i++) {
        len = mesh_b64_encode(text, data, i);
        UNIT_EQ(mesh_b64_decode(back, &got, text, len), MESH_OK);
        UNIT_EQ(got, i);
        UNIT_OK(memcmp(back, data, i) == 0);
    }
}


static void
decode_is_strict(void)
{
    size_t   i, len;
    uint8_t  buf[16];

    static const char  *rows[] = {
        "Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zm 8=",
        "Zg==Zg==", "Zg=a", "Zm9v\n", "Zm-_", "=Zm8"
    };

    for (i = 0; i < mesh_nelts(rows); i++) {
        UNIT_EQ(mesh_b64_decode(buf, &len, rows[i], strlen(rows[i])),
                MESH_ERROR);
    }

    UNIT_EQ(mesh_b64_decode(buf, &len, "Zm9\0", 4), MESH_ERROR);
}


UNIT_TESTS = {
    UNIT(encode_as_the_rfc),
    UNIT(decode_undoes_encode),
    UNIT(decode_is_strict),
    UNIT_END
};
