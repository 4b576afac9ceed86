/* archive.c - POST /v1/sandbox/{id}/persist and /hydrate: the workspace as a tar stream, out and in. */
#include "daemon/api/proxy.h"

/* --- persist --- */

/* "tar failed (exit N): ..." is the agent's message as well; whatever else went wrong gets the bridge's prefix. */
static void fail_as(struct request *request, enum berm_err code, const char *tar, const char *other,
                    struct str body)
{
    const char *message = agent_error_message(request, body, NULL);
    static const char prefix[] = "tar failed ";

    if (!strncmp(message, prefix, strlen(prefix)))
        request_fail_with(request, code, "%s %s", tar, message + strlen(prefix));
    else
        request_fail_with(request, code, "%s: %s", other, message);
}

static void persist_refusal(struct request *request, int status, struct str body)
{
    (void)status;
    fail_as(request, BERM_E_WORKSPACE_ARCHIVE_READ_ERROR, "tar failed", "persist failed", body);
}

static const struct proxy_rules persist_rules = { .on_head = proxy_pass_bytes, .on_refusal = persist_refusal };

static void persist(struct request *request)
{
    const char *target = request->state;

    if (proxy_start(request, &persist_rules, "GET", target, NULL, 0, 0) == 0)
        proxy_end_body(request);
}

void api_persist(struct request *request)
{
    struct str raw = { "", 0 };
    const char *excludes;
    struct berm_error err;

    if (request_query(request, "excludes", &excludes) < 0)
        return;
    if (excludes && strstr(excludes, "..")) {
        berm_fail_field(&err, "excludes", "exclude paths must not contain \"..\"");
        request_fail(request, &err);
        return;
    }
    query_get(request->head->query, "excludes", &raw);
    request->state = arena_printf(&request->arena, "/berm/v1/archive?excludes=%.*s", (int)raw.n, raw.p);
    if (!request->state)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else
        request_need_sandbox(request, persist);
}

/* --- hydrate --- */

static void hydrate_answer(struct request *request, int status, struct str body)
{
    if (status >= 200 && status < 300)
        request_respond(request, 200, "application/json", STR("{\"ok\":true}"));
    else
        fail_as(request, BERM_E_WORKSPACE_ARCHIVE_WRITE_ERROR, "tar extract failed", "hydrate failed", body);
}

static const struct proxy_rules hydrate_rules = { .on_head = proxy_read_answer, .on_refusal = hydrate_answer };

static void hydrate(struct request *request)
{
    bool collected = request->head->framing != H1_CONTENT_LENGTH;
    struct str body = collected ? http_body(request->exchange) : (struct str){ NULL, 0 };
    uint64_t length = collected ? body.n : request->head->content_length;

    if (proxy_start(request, &hydrate_rules, "PUT", "/berm/v1/archive", NULL, 0, length) < 0)
        return;
    if (!collected) {
        proxy_upload(request);
        return;
    }
    proxy_write(request, body);
    proxy_end_body(request);
}

/* True: it is neither empty nor too large. Else it has been answered. */
static bool check_size(struct request *request, uint64_t size)
{
    uint64_t limit = request->daemon->config.max_hydrate;
    struct berm_error err;

    if (size > 0 && size <= limit)
        return true;
    if (size == 0)
        berm_fail_field(&err, "body", "Empty tar payload");
    else
        berm_fail_field(&err, "body", "tar payload too large: %llu bytes exceeds the %llu-byte limit",
                        (unsigned long long)size, (unsigned long long)limit);
    request_fail(request, &err);
    return false;
}

static void on_collected(struct request *request)
{
    if (check_size(request, http_body(request->exchange).n))
        request_need_sandbox(request, hydrate);
}

/*
 * What says its length is streamed. A chunked body shows its size only at its end, and nothing of one that is too
 * large may be written, so it is collected; one byte over the limit is let in, to be refused here in the bridge's
 * words.
 */
void api_hydrate(struct request *request)
{
    if (request->head->framing == H1_CHUNKED) {
        request_collect_body(request, (size_t)request->daemon->config.max_hydrate + 1, on_collected);
        return;
    }
    if (!check_size(request, request->head->framing == H1_CONTENT_LENGTH ? request->head->content_length : 0))
        return;
    request_stream_body(request);
    http_body_pause(request->exchange);
    request_need_sandbox(request, hydrate);
}
