/*
 * container.c - /v1/sandbox/{id}/container/{rest}: any request, passed on to the sandbox's own control server.
 *
 * Fields are copied except those that belong to one hop or to us. The key never reaches the sandbox: besides being
 * a secret, the control server would take a bearer token for a session id.
 */
#include "daemon/api/event_tail.h"
#include "daemon/api/fields.h"
#include "daemon/api/paths.h"
#include "daemon/api/proxy.h"
#include "net/ws.h"

/* Besides those of the hop. */
static const struct str request_dropped[] = { STR_INIT("Host"), STR_INIT("Authorization"),
                                              STR_INIT("X-Sandbox-Id") };

/* --- the answer --- */

static void on_refusal(struct request *request, int status, struct str body)
{
    (void)status;
    (void)body;
    request_fail_with(request, BERM_E_SYSTEM, "out of memory");
}

static void on_piece(struct request *request, struct str piece)
{
    event_tail_write(request->state, request, piece);
}

static void on_stop(struct request *request)
{
    event_tail_stop(request->state, request);
}

/* A stream of events is passed on as it is, too, but told when the daemon stops waiting for its end. */
static int watch_tail(struct request *request)
{
    static const struct proxy_rules stream_rules = { .on_piece = on_piece, .on_refusal = on_refusal };
    struct event_tail *tail = arena_alloc(&request->arena, sizeof(*tail));

    if (!tail)
        return -1;
    event_tail_init(tail);
    request->state = tail;
    request->proxy.rules = &stream_rules;
    request_is_stream(request, on_stop);
    return 0;
}

static bool on_head(struct request *request, const struct h1_head *head)
{
    bool events = head->status == 200 && head->framing == H1_CHUNKED &&
                  str_has_prefix(h1_header(head, "Content-Type"), STR("text/event-stream"));
    struct field_list fields = { 0 };

    if (fields_copy_foreign(&fields, &request->arena, head, "sandbox") < 0 || (events && watch_tail(request) < 0)) {
        request->proxy.status = 0;
        return false;
    }
    request_begin(request, head->status, fields.items, fields.count,
                  head->framing == H1_CONTENT_LENGTH ? head->content_length
                  : head->framing == H1_NO_BODY      ? 0
                                                     : HTTP_CHUNKED);
    return true;
}

static const struct proxy_rules rules = { .on_head = on_head, .on_refusal = on_refusal };

/* --- the call --- */

static void pass_on(struct request *request)
{
    const struct h1_head *head = request->head;
    const char *target, *method = arena_strdup(&request->arena, head->method);
    struct field_list fields = { 0 };

    target = arena_printf(&request->arena, "/%.*s%s%.*s", (int)request->rest.n, request->rest.p,
                          head->query.n ? "?" : "", (int)head->query.n, head->query.p);
    if (!target || !method ||
        fields_copy(&fields, &request->arena, head, request_dropped, ARRAY_SIZE(request_dropped)) < 0 ||
        fields_add(&fields, "X-Sandbox-Id", request->sandbox_id.p) < 0) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    if (ws_requested(head)) {
        if (fields_add(&fields, "Upgrade", "websocket") < 0)
            request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        else
            proxy_start_upgrade(request, &rules, target, fields.items, fields.count);
        return;
    }
    if (proxy_start(request, &rules, method, target, fields.items, fields.count, proxy_body_length(request)) < 0)
        return;
    if (head->framing == H1_NO_BODY)
        proxy_end_body(request);
    proxy_upload(request);
}

/* The agent's internal routes begin with /berm/, however a client spells that. */
static bool is_internal(struct request *request)
{
    const char *path = path_from_url(&request->arena, request->rest);

    return !path || !strncmp(path, "/berm/", 6) || !strcmp(path, "/berm");
}

void api_container(struct request *request)
{
    if (is_internal(request)) {
        request_fail_with(request, BERM_E_NOT_FOUND, "Not Found");
        return;
    }
    /* The only protocol that the control server changes to; any other wish is ignored, as HTTP allows. */
    if (ws_requested(request->head)) {
        if (!str_is(request->head->method, "GET") || request->head->framing != H1_NO_BODY)
            request_fail_with(request, BERM_E_INVALID_REQUEST, "a WebSocket is opened by GET without a body");
        else
            request_need_sandbox(request, pass_on);
        return;
    }
    request_stream_body(request);
    http_body_pause(request->exchange);
    request_need_sandbox(request, pass_on);
}
