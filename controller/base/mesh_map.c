
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * The hash table.  The hash is FNV-1a with a seed of this process: names
 * come from people who may try to make them collide.
 */

#include <sys/random.h>

#include <mesh_map.h>
#include <mesh_mem.h>


#define MESH_MAP_SIZE_MIN  16


static uint64_t mesh_map_hash(const char *key);
static mesh_map_slot_t *mesh_map_slot(const mesh_map_t *map, const char *key,
    uint64_t hash);
static void mesh_map_grow(mesh_map_t *map);


void *
mesh_map_get(const mesh_map_t *map, const char *key)
{
    if (map->n == 0) {
        return NULL;
    }

    return mesh_map_slot(map, key, mesh_map_hash(key))->value;
}


void *
mesh_map_set(mesh_map_t *map, const char *key, void *value)
{
    void             *old;
    uint64_t          hash;
    mesh_map_slot_t  *slot;

    if ((map->n + 1) * 4 > map->size * 3) {
        mesh_map_grow(map);
    }

    hash = mesh_map_hash(key);
    slot = mesh_map_slot(map, key, hash);

    if (slot->key == NULL) {
        slot->key = mesh_mem_str(key);
        slot->hash = hash;
        map->n++;
    }

    old = slot->value;
    slot->value = value;

    return old;
}


void *
mesh_map_remove(mesh_map_t *map, const char *key)
{
    void             *old;
    size_t            hole, i, home, mask;
    mesh_map_slot_t  *slot;

    if (map->n == 0) {
        return NULL;
    }

    slot = mesh_map_slot(map, key, mesh_map_hash(key));
    old = slot->value;

    if (slot->key == NULL) {
        return NULL;
    }

    free(slot->key);
    map->n--;

    mask = map->size - 1;
    hole = (size_t) (slot - map->slots);

    for (i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        home = map->slots[i].hash & mask;

        /* moves back only what the hole lies on the way of */

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }

    memset(&map->slots[hole], 0, sizeof(mesh_map_slot_t));

    return old;
}


void *
mesh_map_next(const mesh_map_t *map, size_t *i, const char **key)
{
    mesh_map_slot_t  *slot;

    while (*i < map->size) {
        slot = &map->slots[(*i)++];

        if (slot->key) {
            if (key) {
                *key = slot->key;
            }

            return slot->value;
        }
    }

    return NULL;
}


void
mesh_map_free(mesh_map_t *map)
{
    size_t  i;

    for (i = 0; i < map->size; i++) {
        free(map->slots[i].key);
    }

    free(map->slots);
    memset(map, 0, sizeof(mesh_map_t));
}


static uint64_t
mesh_map_hash(const char *key)
{
    static uint64_t  seed;

    uint64_t  h;

    if (seed == 0) {
        if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK)
            != (ssize_t) sizeof(seed))
        {
            seed = (uint64_t) (uintptr_t) &seed;
        }

        seed |= 1;
    }

    h = UINT64_C(14695981039346656037) ^ seed;

    while (*key) {
        h = (h ^ (uint8_t) *key++) * UINT64_C(1099511628211);
    }

    return h ^ (h >> 32);
}


/* where the key is, or would be */

static mesh_map_slot_t *
mesh_map_slot(const mesh_map_t *map, const char *key, uint64_t hash)
{
    size_t            i;
    mesh_map_slot_t  *slot;

    for (i = hash & (map->size - 1); /* void */ ; i = (i + 1) & (map->size - 1))
    {
        slot = &map->slots[i];

        if (slot->key == NULL
            || (slot->hash == hash && strcmp(slot->key, key) == 0))
        {
            return slot;
        }
    }
}


static void
mesh_map_grow(mesh_map_t *map)
{
    size_t       i;
    mesh_map_t   bigger;

    bigger.n = map->n;
    bigger.size = map->size ? map->size * 2 : MESH_MAP_SIZE_MIN;
    bigger.slots = mesh_mem_new(bigger.size * sizeof(mesh_map_slot_t));

    for (i = 0; i < map->size; i++) {
        if (map->slots[i].key) {
            *mesh_map_slot(&bigger, map->slots[i].key, map->slots[i].hash) =
                map->slots[i];
        }
    }

    free(map->slots);
    *map = bigger;
}
