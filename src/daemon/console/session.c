#include "daemon/console/session.h"

#include "base/sys.h"
#include "daemon/auth.h" /* base32_encode() */

#include <openssl/sha.h>

void web_session_open(struct web_sessions *sessions, const uint8_t key_hash[API_KEY_HASH_BYTES], uint64_t now_ms,
                      char ret_token[WEB_SESSION_TOKEN_BYTES])
{
    struct web_session *session = &sessions->all[0];
    uint8_t secret[32];

    for (size_t i = 1; i < WEB_SESSIONS_MAX; i++)
        if (sessions->all[i].until_ms < session->until_ms)
            session = &sessions->all[i];
    random_bytes(secret, sizeof(secret));
    base32_encode(secret, sizeof(secret), ret_token);
    explicit_bzero(secret, sizeof(secret));
    SHA256((const unsigned char *)ret_token, strlen(ret_token), session->token_hash);
    memcpy(session->key_hash, key_hash, API_KEY_HASH_BYTES);
    session->until_ms = now_ms + WEB_SESSION_LIFE_MS;
}

struct web_session *web_session_find(struct web_sessions *sessions, struct str token, uint64_t now_ms)
{
    uint8_t hash[API_KEY_HASH_BYTES];
    struct web_session *found = NULL;

    if (token.n != WEB_SESSION_TOKEN_BYTES - 1)
        return NULL;
    SHA256((const unsigned char *)token.p, token.n, hash);
    for (size_t i = 0; i < WEB_SESSIONS_MAX; i++)
        if (bytes_equal_constant_time(sessions->all[i].token_hash, hash, sizeof(hash)) &&
            sessions->all[i].until_ms > now_ms)
            found = &sessions->all[i];
    return found;
}

void web_session_end(struct web_session *session)
{
    if (session)
        explicit_bzero(session, sizeof(*session));
}
