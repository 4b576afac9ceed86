/*
 * pty.c - GET /v1/sandbox/{id}/pty: a terminal of the sandbox, by WebSocket.
 *
 * A named session has one terminal, which outlives its connections. Without a session each connection gets a
 * terminal of its own that ends with it, because clients of the bridge open one for every program.
 */
#include "base/sys.h"
#include "daemon/api/passage.h"
#include "daemon/api/proxy.h"
#include "daemon/api/sandbox_spec.h"
#include "net/ws.h"

/* A value of a query, with everything escaped that has a meaning in one. NULL without memory. */
static const char *escape(struct arena *arena, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = arena_alloc(arena, 3 * strlen(text) + 1), *at = escaped;

    for (; at && *text; text++) {
        uint8_t c = (uint8_t)*text;

        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._/", c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    if (at)
        *at = '\0';
    return escaped;
}

/* "&name=value" if the query has it, else "". NULL: answered. */
static const char *pass_parameter(struct request *request, const char *name)
{
    const char *value = NULL;

    if (request_query(request, name, &value) < 0)
        return NULL;
    if (!value)
        return "";
    value = escape(&request->arena, value);
    value = value ? arena_printf(&request->arena, "&%s=%s", name, value) : NULL;
    if (!value)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    return value;
}

/* -1: answered. */
static int check_number(struct request *request, const char *name)
{
    const char *value = NULL;
    uint64_t number;

    if (request_query(request, name, &value) < 0)
        return -1;
    if (!value || str_to_u64(str_from(value), &number) == 0)
        return 0;
    request_fail_with(request, BERM_E_INVALID_REQUEST, "cols and rows must be valid numbers");
    return -1;
}

/* Session-Id or `session`. *ret NULL: neither. -1: answered. */
static int take_session(struct request *request, const char **ret)
{
    struct berm_error err;

    if (request_take_session(request) < 0)
        return -1;
    *ret = request->session;
    if (*ret)
        return 0;
    if (request_query(request, "session", ret) < 0)
        return -1;
    if (!*ret || session_id_valid(str_from(*ret)))
        return 0;
    berm_fail_field(&err, "session", "Invalid session ID format");
    request_fail(request, &err);
    return -1;
}

/* The query of the agent's route. NULL: answered. */
static const char *agent_query(struct request *request)
{
    const char *session = NULL, *cols, *rows, *shell, *query;
    uint8_t random[16];
    char name[27];

    if (check_number(request, "cols") < 0 || check_number(request, "rows") < 0 ||
        take_session(request, &session) < 0)
        return NULL;
    cols = pass_parameter(request, "cols");
    rows = cols ? pass_parameter(request, "rows") : NULL;
    shell = rows ? pass_parameter(request, "shell") : NULL;
    if (!shell)
        return NULL;
    random_bytes(random, sizeof(random));
    base32_encode(random, sizeof(random), name);
    query = session ? arena_printf(&request->arena, "sessionId=%s", session)
                    : arena_printf(&request->arena, "sessionId=pty-%s&temporary=1", name);
    query = query ? arena_printf(&request->arena, "%s%s%s%s", query, cols, rows, shell) : NULL;
    if (!query)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    return query;
}

/* --- the call --- */

static bool on_head(struct request *request, const struct h1_head *head)
{
    (void)request;
    (void)head;
    return false;
}

static void on_refusal(struct request *request, int status, struct str body)
{
    request_fail_with(request, BERM_E_EXEC_TRANSPORT_ERROR, "terminal failed: status %d: %.*s", status,
                      (int)MIN(body.n, (size_t)100), body.p);
}

static const struct proxy_rules rules = { .on_head = on_head, .on_refusal = on_refusal };

static void call_agent(struct request *request)
{
    static const char *const names[] = { "Sec-WebSocket-Key", "Sec-WebSocket-Version" };
    struct http_field fields[1 + ARRAY_SIZE(names)] = { { "Upgrade", "websocket" } };
    const char *target = arena_printf(&request->arena, "/ws/pty?%s", (const char *)request->state);
    size_t count = 1;

    for (size_t i = 0; target && i < ARRAY_SIZE(names); i++) {
        struct str value = h1_header(request->head, names[i]);
        const char *copy = value.p ? arena_strdup(&request->arena, value) : NULL;

        if (copy)
            fields[count++] = (struct http_field){ names[i], copy };
    }
    if (target)
        proxy_start_upgrade(request, &rules, target, fields, count);
    else
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
}

void api_pty(struct request *request)
{
    if (!ws_requested(request->head)) {
        request_fail_with(request, BERM_E_INVALID_REQUEST, "WebSocket upgrade required");
        return;
    }
    request->state = (void *)(uintptr_t)agent_query(request);
    if (request->state)
        request_need_sandbox(request, call_agent);
}
