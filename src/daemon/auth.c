#include "daemon/auth.h"

#include "base/loop.h"
#include "base/sys.h"

#include <fcntl.h>
#include <openssl/sha.h>

#define KEYS_FILE_MAX  (1024 * 1024)
#define KEY_TEXT_MIN   16 /* shorter ones could be guessed */
#define KEYS_MAX       10000
#define API_KEY_PREFIX "berm_"

void base32_encode(const uint8_t *bytes, size_t n, char *out)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 5; count -= 5)
            *out++ = alphabet[bits >> (count - 5) & 31];
    }
    if (count)
        *out++ = alphabet[bits << (5 - count) & 31];
    *out = '\0';
}

void auth_hash(struct str text, uint8_t out[API_KEY_HASH_BYTES])
{
    SHA256((const unsigned char *)text.p, text.n, out);
}

/* --- loading --- */

static int add_stored(struct auth *auth, const struct api_key_row *row)
{
    struct api_key_row *rows;

    if (auth->stored_count >= KEYS_MAX)
        return -1;
    rows = reallocarray(auth->stored, auth->stored_count + 1, sizeof(*rows));
    if (!rows)
        return -1;
    auth->stored = rows;
    rows[auth->stored_count++] = *row;
    return 0;
}

static int take_row(const struct api_key_row *row, void *data)
{
    return add_stored(data, row);
}

int auth_load_store(struct auth *auth, struct store *store, struct berm_error *err)
{
    return store_each_key(store, take_row, auth, err);
}

int auth_parse_key(struct str text, uint8_t out[API_KEY_HASH_BYTES], struct berm_error *err)
{
    if (str_has_prefix(text, STR("sha256:"))) {
        if (hex_decode((struct str){ text.p + 7, text.n - 7 }, out, API_KEY_HASH_BYTES) < 0)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "expected 64 lower-case hex digits after sha256:");
        return 0;
    }
    if (text.n < KEY_TEXT_MIN)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "a key has at least %d characters", KEY_TEXT_MIN);
    auth_hash(text, out);
    return 0;
}

static int add_filed(struct str line, void *data, struct berm_error *err)
{
    struct auth *auth = data;
    uint8_t hash[API_KEY_HASH_BYTES];
    uint8_t(*filed)[API_KEY_HASH_BYTES];

    if (auth_parse_key(line, hash, err) < 0)
        return -1;
    filed = reallocarray(auth->filed, auth->filed_count + 1, sizeof(*filed));
    if (!filed || auth->filed_count >= KEYS_MAX)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "too many keys");
    auth->filed = filed;
    memcpy(filed[auth->filed_count++], hash, sizeof(hash));
    return 0;
}

static int walk_lines(const char *path, struct str text, int (*each)(struct str, void *, struct berm_error *),
                      void *data, struct berm_error *err)
{
    unsigned number = 0;

    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t length = end ? (size_t)(end - text.p) - at : text.n - at;
        struct str line = { text.p + at, length };

        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(line);
        number++;
        if (line.n && line.p[0] != '#' && each(line, data, err) < 0)
            return berm_error_wrap(err, "%s:%u", path, number);
        at += length + 1;
    }
    return 0;
}

int auth_each_line(const char *path, int (*each)(struct str line, void *data, struct berm_error *err), void *data,
                   struct berm_error *err)
{
    char *text = malloc(KEYS_FILE_MAX);
    ssize_t n = text ? read_small_file(AT_FDCWD, path, text, KEYS_FILE_MAX) : -1;
    int rc = n < 0 ? berm_fail(err, BERM_E_SYSTEM, errno, "%s", path)
                   : walk_lines(path, (struct str){ text, (size_t)n }, each, data, err);

    if (text)
        explicit_bzero(text, KEYS_FILE_MAX);
    free(text);
    return rc;
}

int auth_load_file(struct auth *auth, const char *path, struct berm_error *err)
{
    struct auth fresh = { 0 };

    if (path && auth_each_line(path, add_filed, &fresh, err) < 0) {
        free(fresh.filed);
        return -1;
    }
    free(auth->filed);
    auth->filed = fresh.filed;
    auth->filed_count = fresh.filed_count;
    return 0;
}

void auth_free(struct auth *auth)
{
    free(auth->stored);
    free(auth->filed);
    *auth = (struct auth){ 0 };
}

/* --- checking --- */

bool auth_has_keys(const struct auth *auth)
{
    return auth->stored_count + auth->filed_count > 0;
}

static bool bearer_token(struct str authorization, struct str *ret)
{
    struct str scheme = { authorization.p, 6 };

    if (authorization.n < 8 || !str_eq_nocase(scheme, STR("bearer")) || authorization.p[6] != ' ')
        return false;
    *ret = str_trim((struct str){ authorization.p + 7, authorization.n - 7 });
    return ret->n > 0;
}

static const uint8_t *find_hash(const struct auth *auth, const uint8_t hash[API_KEY_HASH_BYTES])
{
    const uint8_t *found = NULL;

    for (size_t i = 0; i < auth->stored_count; i++)
        if (bytes_equal_constant_time(auth->stored[i].hash, hash, API_KEY_HASH_BYTES))
            found = auth->stored[i].hash;
    for (size_t i = 0; i < auth->filed_count; i++)
        if (bytes_equal_constant_time(auth->filed[i], hash, API_KEY_HASH_BYTES))
            found = auth->filed[i];
    return found;
}

bool auth_knows(const struct auth *auth, const uint8_t hash[API_KEY_HASH_BYTES])
{
    return find_hash(auth, hash) != NULL;
}

const uint8_t *auth_find_key(const struct auth *auth, struct str text)
{
    uint8_t hash[API_KEY_HASH_BYTES];

    auth_hash(text, hash);
    return find_hash(auth, hash);
}

bool auth_is_key(const struct auth *auth, struct str authorization)
{
    struct str token;

    return bearer_token(authorization, &token) && auth_find_key(auth, token);
}

bool auth_allows(const struct auth *auth, struct str authorization, bool local)
{
    return auth_has_keys(auth) ? auth_is_key(auth, authorization) : local;
}

/* --- making and removing --- */

int auth_create_key(struct auth *auth, struct store *store, struct str label, char ret_text[API_KEY_TEXT_BYTES],
                    const struct api_key_row **ret_row, struct berm_error *err)
{
    struct api_key_row row = { .created_ms = clock_realtime_ms() };
    uint8_t secret[32], id[5];

    if (auth->stored_count >= KEYS_MAX)
        return berm_fail(err, BERM_E_CONFLICT, 0, "there are %d keys already", KEYS_MAX);
    if (str_copy(label, row.label, sizeof(row.label)) < 0)
        return berm_fail_field(err, "label", "label has at most %zu bytes and no NUL", sizeof(row.label) - 1);
    random_bytes(secret, sizeof(secret));
    random_bytes(id, sizeof(id));
    base32_encode(id, sizeof(id), row.id);
    memcpy(ret_text, API_KEY_PREFIX, sizeof(API_KEY_PREFIX) - 1);
    base32_encode(secret, sizeof(secret), ret_text + sizeof(API_KEY_PREFIX) - 1);
    explicit_bzero(secret, sizeof(secret));
    auth_hash(str_from(ret_text), row.hash);
    if (store_put_key(store, &row, err) < 0)
        return -1;
    if (add_stored(auth, &row) < 0) {
        bool found;

        store_delete_key(store, row.id, &found, NULL);
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "key");
    }
    *ret_row = &auth->stored[auth->stored_count - 1];
    return 0;
}

int auth_delete_key(struct auth *auth, struct store *store, const char *id, bool *ret_found, struct berm_error *err)
{
    if (store_delete_key(store, id, ret_found, err) < 0)
        return -1;
    for (size_t i = 0; i < auth->stored_count; i++) {
        if (strcmp(auth->stored[i].id, id))
            continue;
        memmove(&auth->stored[i], &auth->stored[i + 1], (auth->stored_count - i - 1) * sizeof(auth->stored[0]));
        auth->stored_count--;
        return 0;
    }
    return 0;
}
