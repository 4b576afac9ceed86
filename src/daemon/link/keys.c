#include "daemon/link/keys.h"

#define LINK_KEYS_MAX 10000

static int add_line(struct str line, void *data, struct berm_error *err)
{
    struct link_keys *keys = data;
    struct link_key key = { 0 }, *items;
    size_t n = 0;

    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
        n++;
    if (!link_name_valid((struct str){ line.p, n }))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0,
                         "expected NAME KEY, with a name of 1 to %d of a-z and 0-9, a letter first", LINK_NAME_MAX);
    memcpy(key.name, line.p, n);
    if (auth_parse_key(str_trim((struct str){ line.p + n, line.n - n }), key.hash, err) < 0)
        return -1;
    items = reallocarray(keys->items, keys->count + 1, sizeof(*items));
    if (!items || keys->count >= LINK_KEYS_MAX)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "too many keys");
    keys->items = items;
    items[keys->count++] = key;
    return 0;
}

int link_keys_load(struct link_keys *keys, const char *path, struct berm_error *err)
{
    struct link_keys fresh = { 0 };

    if (auth_each_line(path, add_line, &fresh, err) < 0) {
        free(fresh.items);
        return -1;
    }
    free(keys->items);
    *keys = fresh;
    return 0;
}

void link_keys_free(struct link_keys *keys)
{
    free(keys->items);
    *keys = (struct link_keys){ 0 };
}

const struct link_key *link_keys_find(const struct link_keys *keys, struct str key)
{
    const struct link_key *found = NULL;
    uint8_t hash[API_KEY_HASH_BYTES];

    auth_hash(key, hash);
    for (size_t i = 0; i < keys->count; i++)
        if (bytes_equal_constant_time(keys->items[i].hash, hash, sizeof(hash)))
            found = &keys->items[i];
    return found;
}

bool link_keys_have(const struct link_keys *keys, const struct link_key *key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (!strcmp(keys->items[i].name, key->name) && !memcmp(keys->items[i].hash, key->hash, sizeof(key->hash)))
            return true;
    return false;
}

bool link_keys_know_name(const struct link_keys *keys, const char *name)
{
    for (size_t i = 0; i < keys->count; i++)
        if (!strcmp(keys->items[i].name, name))
            return true;
    return false;
}
