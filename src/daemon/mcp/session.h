/*
 * session.h - the sessions of the Model Context Protocol: what the daemon remembers of a client between its
 * requests.
 *
 * A session is named by 160 random bits and belongs to whoever made it: with another API key it does not exist.
 * They live in memory only. A client whose session is gone (the daemon restarted, it was idle for an hour, or many
 * newer ones came) is told so by a 404, on which it begins a new one, as the protocol has it.
 */
#pragma once

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"

#include <openssl/sha.h>

#define MCP_SESSIONS_MAX     1024
#define MCP_SESSION_IDLE_MS  (60 * 60 * 1000)
#define MCP_CALLS_MAX        32 /* of one session at the same time */
#define MCP_SESSION_ID_BYTES 20
#define MCP_CONTEXTS_MAX     16

struct http_client;
struct mcp_call;

/* The code context that a session uses for a language in a sandbox while it names none. */
struct mcp_context {
    char *sandbox; /* NULL: free */
    char *language;
    char *id;
};

struct mcp_session {
    struct list node;  /* in struct mcp, the least recently used first */
    struct list calls; /* struct mcp_call: in flight */
    unsigned call_count;
    char id[2 * MCP_SESSION_ID_BYTES + 1];
    uint8_t owner[SHA256_DIGEST_LENGTH]; /* of its Authorization field */
    uint64_t used_ms;
    struct mcp_context contexts[MCP_CONTEXTS_MAX];
    unsigned next_context; /* the slot that is taken when all are in use */
};

struct mcp {
    struct loop *loop;
    struct http_client *client; /* connections to our own server */
    struct list sessions;
    size_t count;
};

/* NULL without memory. Idle or surplus sessions end here. */
struct mcp_session *mcp_session_new(struct mcp *mcp, struct str authorization);
/* The session, which counts as used now; NULL if there is none of that name for this caller. */
struct mcp_session *mcp_session_find(struct mcp *mcp, struct str id, struct str authorization);
/* Cancels its calls: they end without an answer. */
void mcp_session_end(struct mcp *mcp, struct mcp_session *session);

/* The id, or NULL. */
const char *mcp_context_find(const struct mcp_session *session, const char *sandbox, const char *language);
/* `id` NULL forgets it. Without memory nothing is remembered, which costs a new context the next time. */
void mcp_context_set(struct mcp_session *session, const char *sandbox, const char *language, const char *id);
