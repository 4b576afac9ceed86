#include "daemon/mcp/session.h"

#include "daemon/mcp/call.h"

static void hash_owner(struct str authorization, uint8_t out[SHA256_DIGEST_LENGTH])
{
    SHA256((const unsigned char *)(authorization.p ? authorization.p : ""), authorization.n, out);
}

static struct mcp_session *oldest(struct mcp *mcp)
{
    return container_of(mcp->sessions.next, struct mcp_session, node);
}

static void forget_context(struct mcp_context *context)
{
    free(context->sandbox);
    free(context->language);
    free(context->id);
    *context = (struct mcp_context){ 0 };
}

void mcp_session_end(struct mcp *mcp, struct mcp_session *session)
{
    while (!list_empty(&session->calls))
        mcp_call_cancel(container_of(session->calls.next, struct mcp_call, node));
    for (size_t i = 0; i < MCP_CONTEXTS_MAX; i++)
        forget_context(&session->contexts[i]);
    list_remove(&session->node);
    mcp->count--;
    free(session);
}

static void end_surplus(struct mcp *mcp)
{
    while (mcp->count > 0 &&
           (mcp->count >= MCP_SESSIONS_MAX || loop_now_ms(mcp->loop) - oldest(mcp)->used_ms > MCP_SESSION_IDLE_MS))
        mcp_session_end(mcp, oldest(mcp));
}

static void touch(struct mcp *mcp, struct mcp_session *session)
{
    session->used_ms = loop_now_ms(mcp->loop);
    list_remove(&session->node);
    list_append(&mcp->sessions, &session->node);
}

struct mcp_session *mcp_session_new(struct mcp *mcp, struct str authorization)
{
    struct mcp_session *session;
    uint8_t random[MCP_SESSION_ID_BYTES];

    end_surplus(mcp);
    session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    list_init(&session->calls);
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), session->id);
    hash_owner(authorization, session->owner);
    touch(mcp, session);
    mcp->count++;
    return session;
}

/* The id is a secret of its own kind, so that all are compared in full. */
struct mcp_session *mcp_session_find(struct mcp *mcp, struct str id, struct str authorization)
{
    struct mcp_session *found = NULL;
    uint8_t owner[SHA256_DIGEST_LENGTH];

    if (id.n != 2 * MCP_SESSION_ID_BYTES)
        return NULL;
    hash_owner(authorization, owner);
    for (struct list *node = mcp->sessions.next; node != &mcp->sessions; node = node->next) {
        struct mcp_session *session = container_of(node, struct mcp_session, node);

        if (bytes_equal_constant_time(session->id, id.p, id.n) &&
            bytes_equal_constant_time(session->owner, owner, sizeof(owner)))
            found = session;
    }
    if (found && found->call_count == 0 && loop_now_ms(mcp->loop) - found->used_ms > MCP_SESSION_IDLE_MS) {
        mcp_session_end(mcp, found);
        return NULL;
    }
    if (found)
        touch(mcp, found);
    return found;
}

/* --- code contexts --- */

static struct mcp_context *find_context(const struct mcp_session *session, const char *sandbox,
                                        const char *language)
{
    for (size_t i = 0; i < MCP_CONTEXTS_MAX; i++) {
        const struct mcp_context *context = &session->contexts[i];

        if (context->sandbox && strcmp(context->sandbox, sandbox) == 0 && strcmp(context->language, language) == 0)
            return (struct mcp_context *)(uintptr_t)context;
    }
    return NULL;
}

const char *mcp_context_find(const struct mcp_session *session, const char *sandbox, const char *language)
{
    const struct mcp_context *context = find_context(session, sandbox, language);

    return context ? context->id : NULL;
}

void mcp_context_set(struct mcp_session *session, const char *sandbox, const char *language, const char *id)
{
    struct mcp_context *context = find_context(session, sandbox, language);

    if (!context && !id)
        return;
    if (!context)
        context = &session->contexts[session->next_context++ % MCP_CONTEXTS_MAX];
    forget_context(context);
    if (!id)
        return;
    *context = (struct mcp_context){ .sandbox = strdup(sandbox), .language = strdup(language), .id = strdup(id) };
    if (!context->sandbox || !context->language || !context->id)
        forget_context(context);
}
