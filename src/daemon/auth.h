/*
 * auth.h - API keys: those of a file and those of the store, held as SHA-256 hashes.
 *
 * A key made here is 256 random bits, so a plain hash protects it: there is nothing to guess. Comparing goes over
 * all keys and takes the same time whether and where one matches.
 */
#pragma once

#include "daemon/store.h"

#define API_KEY_TEXT_BYTES (5 + 52 + 1) /* "berm_", 256 bits in base32, NUL */

struct auth {
    struct api_key_row *stored; /* of the store */
    size_t stored_count;
    uint8_t (*filed)[API_KEY_HASH_BYTES]; /* of auth.keys_file */
    size_t filed_count;
};

int auth_load_store(struct auth *auth, struct store *store, struct berm_error *err);
/* Reads the file and puts its keys in place of those read before; on failure those stay. `path` NULL: no keys. */
int auth_load_file(struct auth *auth, const char *path, struct berm_error *err);
void auth_free(struct auth *auth);
/* The hash that a key is known by. */
void auth_hash(struct str text, uint8_t out[API_KEY_HASH_BYTES]);
/* What a keys file says of one key: itself, or "sha256:" and the hash. */
int auth_parse_key(struct str text, uint8_t out[API_KEY_HASH_BYTES], struct berm_error *err);
/* Calls `each` for every line of a keys file that is neither empty nor a comment, and forgets the text. */
int auth_each_line(const char *path, int (*each)(struct str line, void *data, struct berm_error *err), void *data,
                   struct berm_error *err);

/* The value of an Authorization field. `local`: the peer is on this machine, which is enough while there are no
 * keys. */
bool auth_allows(const struct auth *auth, struct str authorization, bool local);
bool auth_has_keys(const struct auth *auth);
/* Whether the value of an Authorization field is one of the keys. */
bool auth_is_key(const struct auth *auth, struct str authorization);
/* The hash under which a key is known, borrowed until the keys change; NULL: it is none of ours. */
const uint8_t *auth_find_key(const struct auth *auth, struct str text);
/* Whether there still is a key with this hash. */
bool auth_knows(const struct auth *auth, const uint8_t hash[API_KEY_HASH_BYTES]);

/* Makes a key and stores it. `ret_text` is the secret. */
int auth_create_key(struct auth *auth, struct store *store, struct str label, char ret_text[API_KEY_TEXT_BYTES],
                    const struct api_key_row **ret_row, struct berm_error *err);
int auth_delete_key(struct auth *auth, struct store *store, const char *id, bool *ret_found,
                    struct berm_error *err);

/* `n` bytes as lower-case base32 (RFC 4648, no padding) and a NUL; `out` holds (n * 8 + 4) / 5 + 1. */
void base32_encode(const uint8_t *bytes, size_t n, char *out);
