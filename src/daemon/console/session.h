/*
 * session.h - who is logged in to the console: a bounded table in memory, of hashes.
 *
 * A session stands for the API key it was opened with and ends with it. Its token is 256 random bits that the
 * daemon makes, never the client; only a hash is kept. Sessions end with the daemon. Pure: the caller gives the
 * time.
 */
#pragma once

#include "daemon/store.h" /* API_KEY_HASH_BYTES */

#define WEB_SESSIONS_MAX        256
#define WEB_SESSION_LIFE_MS     (12 * 3600 * (uint64_t)1000)
#define WEB_SESSION_TOKEN_BYTES (52 + 1) /* 256 bits in base32, NUL */

struct web_session {
    uint8_t token_hash[API_KEY_HASH_BYTES];
    uint8_t key_hash[API_KEY_HASH_BYTES];
    uint64_t until_ms; /* monotonic; 0: free */
};

struct web_sessions {
    struct web_session all[WEB_SESSIONS_MAX];
};

/* Opens one; a full table forgets the one that would end first. `ret_token` is the secret. */
void web_session_open(struct web_sessions *sessions, const uint8_t key_hash[API_KEY_HASH_BYTES], uint64_t now_ms,
                      char ret_token[WEB_SESSION_TOKEN_BYTES]);
/* The live session of a token, or NULL. */
struct web_session *web_session_find(struct web_sessions *sessions, struct str token, uint64_t now_ms);
void web_session_end(struct web_session *session); /* NULL is allowed */
