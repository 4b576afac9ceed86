/*
 * keys.h - the daemons that an edge serves: names and the hashes of their keys, from the lines of edge.link_keys.
 *
 *   NAME KEY          or          NAME sha256:<hex>
 *
 * A name may stand in several lines, so that a key can be replaced without a gap.
 */
#pragma once

#include "daemon/auth.h"
#include "daemon/link/name.h"

struct link_key {
    char name[LINK_NAME_MAX + 1];
    uint8_t hash[API_KEY_HASH_BYTES];
};

struct link_keys {
    struct link_key *items;
    size_t count;
};

/* Puts the file's keys in place of those read before; on failure those stay. */
int link_keys_load(struct link_keys *keys, const char *path, struct berm_error *err);
void link_keys_free(struct link_keys *keys);
/* Whose key this is, borrowed until the next load; NULL: nobody's. Takes the same time wherever it stands. */
const struct link_key *link_keys_find(const struct link_keys *keys, struct str key);
/* Whether this very key still stands there. */
bool link_keys_have(const struct link_keys *keys, const struct link_key *key);
bool link_keys_know_name(const struct link_keys *keys, const char *name);
