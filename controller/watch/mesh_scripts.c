
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * What the writer does in Redis.  mesh:epoch is the fence: each script that
 * writes compares it first, as text, so a writer whose epoch is not the one
 * in force changes nothing.  SHA-1 is what Redis has; it only tells whether
 * bytes are those that were written, the proof is the Ed25519 signature.
 *
 * pcall where call would do: a key of a wrong type is somebody's vandalism,
 * and must be put right, not end the script.
 */

#include <mesh_core.h>

#include <openssl/evp.h>

#include <mesh_log.h>
#include <mesh_scripts.h>


typedef struct {
    const char  *text;
    char         sha[MESH_SCRIPTS_SHA + 1];
} mesh_scripts_t;


static mesh_scripts_t  mesh_scripts[] = {

    /*
     * KEYS: epoch signer synced gens; ARGV: the epoch that was read, the new
     * one, the signer's value, the signer's channel.  1, or 0 if mesh:epoch
     * has changed since.
     */

    { "local function is(key, type) "
          "local t = redis.call('TYPE', key).ok "
          "return t == type or t == 'none' "
      "end "
      "for i = 1, 3 do "
          "if not is(KEYS[i], 'string') then redis.call('DEL', KEYS[i]) end "
      "end "
      "if not is(KEYS[4], 'hash') then redis.call('DEL', KEYS[4]) end "
      "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end "
      "redis.call('SET', KEYS[1], ARGV[2]) "
      "redis.call('SET', KEYS[2], ARGV[3]) "
      "redis.call('DEL', KEYS[3]) "
      "redis.call('PUBLISH', ARGV[4], ARGV[2]) "
      "return 1", "" },

    /*
     * KEYS: epoch gens key; ARGV: epoch generation value channel and the
     * seconds that a tombstone is kept, 0 for a document.  1, or 0: refused.
     */

    { "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
      "if ARGV[5] == '0' then "
          "redis.call('SET', KEYS[3], ARGV[3]) "
      "else "
          "redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[5]) "
      "end "
      "if type(redis.pcall('HSET', KEYS[2], KEYS[3], ARGV[2])) == 'table' then "
          "redis.call('DEL', KEYS[2]) "
          "redis.call('HSET', KEYS[2], KEYS[3], ARGV[2]) "
      "end "
      "redis.call('PUBLISH', ARGV[4], ARGV[2]) "
      "return 1", "" },

    /* KEYS: epoch gens key..; ARGV: epoch.  1, or 0: refused. */

    { "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
      "for i = 3, #KEYS do "
          "redis.pcall('HDEL', KEYS[2], KEYS[i]) "
          "redis.call('DEL', KEYS[i]) "
      "end "
      "return 1", "" },

    /* KEYS: epoch signer; ARGV: epoch value channel.  1, or 0: refused. */

    { "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
      "redis.call('SET', KEYS[2], ARGV[2]) "
      "redis.call('PUBLISH', ARGV[3], ARGV[1]) "
      "return 1", "" },

    /* KEYS: gens key..; per key "<SHA-1 of the value or ->:<generation>" */

    { "local out = {} "
      "for i = 2, #KEYS do "
          "local v = redis.pcall('GET', KEYS[i]) "
          "local g = redis.pcall('HGET', KEYS[1], KEYS[i]) "
          "out[i - 1] = (type(v) == 'string' and redis.sha1hex(v) or '-') "
              ".. ':' .. (type(g) == 'string' and g or '-') "
      "end "
      "return out", "" }
};


const char *
mesh_script_text(mesh_script_e script)
{
    return mesh_scripts[script].text;
}


const char *
mesh_script_sha(mesh_script_e script)
{
    mesh_scripts_t  *s;

    s = &mesh_scripts[script];

    if (s->sha[0] == '\0') {
        mesh_scripts_sha1(s->text, strlen(s->text), s->sha);
    }

    return s->sha;
}


void
mesh_scripts_sha1(const char *data, size_t len, char *hex)
{
    unsigned              i, n;
    uint8_t               digest[EVP_MAX_MD_SIZE];
    static const char     digits[] = "0123456789abcdef";

    if (EVP_Digest(data, len, digest, &n, EVP_sha1(), NULL) != 1) {
        mesh_log(MESH_LOG_EMERG, 0, "SHA-1 failed");
        abort();
    }

    for (i = 0; i < n; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }

    hex[2 * n] = '\0';
}
