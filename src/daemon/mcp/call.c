#include "daemon/mcp/call.h"

#include "daemon/mcp/mcp.h"
#include "net/sse.h"

#define BEAT_MS 15000

/* --- writing --- */

/* A message of ours as an event of the stream. */
static void send_event(struct mcp_call *call, struct str message)
{
    struct buf event;

    buf_init(&event, message.n + 64);
    if (sse_append(&event, "message", message) == 0)
        request_write(call->request, buf_str(&event));
    buf_free(&event);
}

static void on_beat(struct loop_timer *timer)
{
    struct mcp_call *call = container_of(timer, struct mcp_call, beat);

    request_write(call->request, STR(": waiting\n\n"));
    loop_timer_start(call->mcp->loop, &call->beat, BEAT_MS);
}

static void on_drained(struct request *request)
{
    struct mcp_call *call = request->state;

    if (call->http)
        http_call_resume(call->http);
}

/* --- the end --- */

/* From here on nothing happens for it any more. */
static void leave(struct mcp_call *call)
{
    if (!list_linked(&call->node))
        return;
    list_remove(&call->node);
    call->session->call_count--;
    loop_timer_stop(call->mcp->loop, &call->beat);
    if (call->http)
        http_call_cancel(call->http);
    call->http = NULL;
}

/* What stands in call->answer is the answer. */
static void respond(struct mcp_call *call)
{
    leave(call);
    if (!call->streams) {
        request_respond(call->request, 200, "application/json", buf_str(&call->answer_buf));
        return;
    }
    send_event(call, buf_str(&call->answer_buf));
    request_end(call->request);
}

static void end_with_error(struct mcp_call *call, int code, const char *text)
{
    buf_clear(&call->answer_buf);
    json_writer_init(&call->answer, &call->answer_buf);
    mcp_answer_error(&call->answer, call->id, code, text);
    json_writer_finish(&call->answer);
    respond(call);
}

/* A request that was cancelled gets no answer; but HTTP needs one where it is not a stream. */
void mcp_call_cancel(struct mcp_call *call)
{
    if (!call->streams) {
        end_with_error(call, MCP_REFUSED, "cancelled");
        return;
    }
    leave(call);
    request_end(call->request);
}

static void on_stop(struct request *request)
{
    struct mcp_call *call = request->state;

    if (list_linked(&call->node))
        end_with_error(call, MCP_INTERNAL_ERROR, "bermd stops and waits no longer for the tool");
}

static void cleanup(struct request *request)
{
    struct mcp_call *call = request->state;

    leave(call);
    sse_parser_free(&call->events);
    buf_free(&call->body);
    buf_free(&call->out.buf);
    buf_free(&call->errors.buf);
    buf_free(&call->answer_buf);
}

static void finish_result(struct mcp_call *call)
{
    struct json_writer *w = &call->answer;

    json_object_end(w);
    json_object_end(w);
    if (json_writer_finish(w) < 0)
        end_with_error(call, MCP_INTERNAL_ERROR, "the result is too large");
    else
        respond(call);
}

void mcp_call_finish(struct mcp_call *call, const struct json *structured, bool is_error)
{
    json_array_end(&call->answer);
    if (structured) {
        json_key(&call->answer, "structuredContent");
        json_value(&call->answer, structured);
    }
    json_pair_bool(&call->answer, "isError", is_error);
    finish_result(call);
}

void mcp_call_finish_resources(struct mcp_call *call, const char *next)
{
    json_array_end(&call->answer);
    if (next)
        json_pair_cstring(&call->answer, "nextCursor", next);
    finish_result(call);
}

/* Of a resource: the protocol has no result that tells an error. */
static int resource_error(const struct mcp_call *call)
{
    if (call->status == 404 || call->status == 410)
        return MCP_NO_RESOURCE;
    return call->status >= 400 && call->status < 500 ? MCP_INVALID_PARAMS : MCP_INTERNAL_ERROR;
}

void mcp_call_fail(struct mcp_call *call, const char *code, const char *text)
{
    struct json members[2] = { { .type = JSON_STRING, .string = str_from(text) },
                               { .type = JSON_STRING, .string = str_from(code) } };
    struct json_member pairs[2] = { { STR("error"), members[0] }, { STR("code"), members[1] } };
    struct json object = { .type = JSON_OBJECT, .object = { pairs, ARRAY_SIZE(pairs) } };

    if (!call->tool) {
        end_with_error(call, resource_error(call), text);
        return;
    }
    mcp_call_add_text(call, str_from(text));
    mcp_call_finish(call, &object, true);
}

/* --- content --- */

void mcp_call_add_text(struct mcp_call *call, struct str text)
{
    json_object_begin(&call->answer);
    json_pair_cstring(&call->answer, "type", "text");
    json_pair_string(&call->answer, "text", text);
    json_object_end(&call->answer);
}

void mcp_call_add_media(struct mcp_call *call, const char *type, struct str base64, const char *mime)
{
    json_object_begin(&call->answer);
    json_pair_cstring(&call->answer, "type", type);
    json_pair_string(&call->answer, "data", base64);
    json_pair_cstring(&call->answer, "mimeType", mime);
    json_object_end(&call->answer);
}

/* Tells a piece of output to a client that asked for progress. */
static void tell_progress(struct mcp_call *call, struct str text)
{
    _cleanup_(buf_free) struct buf message;
    struct json_writer w;

    buf_init(&message, MCP_ANSWER_MAX);
    if (!call->streams || !call->token || text.n == 0)
        return;
    call->progress += text.n;
    json_writer_init(&w, &message);
    json_object_begin(&w);
    json_pair_cstring(&w, "jsonrpc", "2.0");
    json_pair_cstring(&w, "method", "notifications/progress");
    json_key(&w, "params");
    json_object_begin(&w);
    json_key(&w, "progressToken");
    json_value(&w, call->token);
    json_key(&w, "progress");
    json_uint(&w, call->progress);
    json_pair_string(&w, "message", text);
    json_object_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        send_event(call, buf_str(&message));
}

int mcp_text_add(struct mcp_call *call, struct mcp_text *text, struct str bytes)
{
    _cleanup_(buf_free) struct buf clean;
    size_t room = text->buf.max - text->buf.len;
    int rc;

    buf_init(&clean, 3 * bytes.n + 16);
    rc = utf8_stream_part(&text->utf8, &clean, bytes, false);
    tell_progress(call, buf_str(&clean));
    if (rc < 0 || text->dropped > 0 || clean.len > room) {
        text->dropped += bytes.n;
        return rc;
    }
    return buf_append_str(&text->buf, buf_str(&clean));
}

/* --- the request behind it --- */

/* {"error","code"} of the API, {"message","code"} or {"error","code"} of the agent. */
static void fail_by_answer(struct mcp_call *call)
{
    const struct json *answer = NULL;
    const char *text = NULL, *code = NULL;
    char fallback[64];

    if (json_parse(&call->request->arena, buf_str(&call->body), 16, &answer, NULL) == 0) {
        json_field_cstring(answer, "message", &text, NULL);
        if (!text)
            json_field_cstring(answer, "error", &text, NULL);
        json_field_cstring(answer, "code", &code, NULL);
    }
    snprintf(fallback, sizeof(fallback), "the request was refused with status %d", call->status);
    mcp_call_fail(call, code ? code : "error", text ? text : fallback);
}

static void on_head(struct http_call *http, const struct h1_head *head, void *data)
{
    struct mcp_call *call = data;

    (void)http;
    call->status = head->status;
    call->has_events = head->status < 300 && call->take->on_event &&
                       str_has_prefix(h1_header(head, "Content-Type"), STR("text/event-stream"));
}

static void on_body(struct http_call *http, struct str piece, void *data)
{
    struct mcp_call *call = data;
    struct berm_error err = { 0 };

    if (call->has_events) {
        if (sse_parser_feed(&call->events, piece.p, piece.n, &err) < 0 && list_linked(&call->node))
            mcp_call_fail(call, berm_err_wire(err.code), err.message);
    } else if (buf_append_str(&call->body, piece) < 0) {
        mcp_call_fail(call, "payload_too_large",
                      "the answer is too large to be given as content: take a part of it");
    }
    if (call->http && call->request->exchange &&
        http_respond_queued(call->request->exchange) > call->request->daemon->high_water)
        http_call_pause(http);
}

static void on_end(struct http_call *http, const struct berm_error *err, void *data)
{
    struct mcp_call *call = data;

    (void)http;
    call->http = NULL;
    if (err->code != BERM_OK)
        mcp_call_fail(call, berm_err_wire(err->code), err->message);
    else if (call->status < 300)
        call->take->on_done(call);
    else if (!call->take->on_refused || !call->take->on_refused(call))
        fail_by_answer(call);
}

static int on_event(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct mcp_call *call = data;

    return call->take->on_event(call, event, err);
}

static const struct http_call_callbacks callbacks = { .on_head = on_head, .on_body = on_body, .on_end = on_end };

static void reset_answer(struct mcp_call *call)
{
    sse_parser_free(&call->events);
    buf_free(&call->body);
    sse_parser_init(&call->events, MCP_EVENT_MAX, on_event, call);
    buf_init(&call->body, MCP_ANSWER_MAX);
    call->status = 0;
    call->has_events = false;
}

void mcp_call_fetch(struct mcp_call *call, const struct mcp_request *wanted, const struct mcp_take *take)
{
    struct str authorization = h1_header(call->request->head, "Authorization");
    struct http_field fields[5];
    struct berm_error err;
    size_t count = 0;

    reset_answer(call);
    call->take = take;
    fields[count++] =
        (struct http_field){ "Accept", call->tool ? "application/json, text/event-stream" : "application/json" };
    if (authorization.p)
        fields[count++] =
            (struct http_field){ "Authorization", arena_strdup(&call->request->arena, authorization) };
    if (wanted->session)
        fields[count++] = (struct http_field){ "Session-Id", wanted->session };
    if (wanted->generation)
        fields[count++] = (struct http_field){ "Berm-If-Generation", wanted->generation };
    if (wanted->body.p)
        fields[count++] = (struct http_field){ "Content-Type", "application/json" };
    if (authorization.p && !fields[1].value) {
        mcp_call_fail(call, "system_error", "out of memory");
        return;
    }
    call->http = http_call_start(call->mcp->client, wanted->method, wanted->target, fields, count, wanted->body.n,
                                 &callbacks, call, &err);
    if (!call->http) {
        mcp_call_fail(call, berm_err_wire(err.code), err.message);
        return;
    }
    if (wanted->body.n) {
        http_call_write(call->http, wanted->body.p, wanted->body.n);
        http_call_end_body(call->http);
    }
}

/* --- the start --- */

/* `params.name`, `params.arguments`, `params._meta.progressToken`. Returns an error code with *err, or 0. */
static int take_params(struct mcp_call *call, const struct mcp_message *message, struct berm_error *err)
{
    const struct json *name = json_get(message->params, "name"), *args = json_get(message->params, "arguments");
    const struct json *token = json_get(json_get(message->params, "_meta"), "progressToken");

    if (!name || name->type != JSON_STRING)
        return berm_fail_field(err, "name", "params.name must be a string"), MCP_INVALID_PARAMS;
    call->tool = mcp_tool_find(name->string);
    if (!call->tool)
        return berm_fail_field(err, "name", "there is no tool of that name"), MCP_INVALID_PARAMS;
    if (args && args->type != JSON_OBJECT)
        return berm_fail_field(err, "arguments", "params.arguments must be an object"), MCP_INVALID_PARAMS;
    call->args = args;
    if (token && (token->type == JSON_STRING || token->type == JSON_INT))
        call->token = token;
    return 0;
}

static bool id_in_use(const struct mcp_session *session, const struct json *id)
{
    for (struct list *node = session->calls.next; node != &session->calls; node = node->next)
        if (mcp_id_eq(container_of(node, struct mcp_call, node)->id, id))
            return true;
    return false;
}

static void run(struct mcp_call *call)
{
    struct mcp_request wanted;
    struct berm_error err;
    bool fits = mcp_args_check(call->tool, call->args, &err) == 0;

    if (fits && call->tool->start) {
        call->tool->start(call);
        return;
    }
    if (fits && mcp_request_build(call->tool, call->args, &call->request->arena, &wanted, &err) == 0)
        mcp_call_fetch(call, &wanted, call->tool->take);
    else
        mcp_call_fail(call, berm_err_wire(err.code), err.message);
}

static void init(struct mcp_call *call, const char *array)
{
    buf_init(&call->answer_buf, 2 * MCP_ANSWER_MAX);
    json_writer_init(&call->answer, &call->answer_buf);
    mcp_answer_begin(&call->answer, call->id);
    json_key(&call->answer, "result");
    json_object_begin(&call->answer);
    json_key(&call->answer, array);
    json_array_begin(&call->answer);
    buf_init(&call->out.buf, MCP_TEXT_MAX);
    buf_init(&call->errors.buf, MCP_TEXT_MAX);
    sse_parser_init(&call->events, MCP_EVENT_MAX, on_event, call);
    buf_init(&call->body, MCP_ANSWER_MAX);
    loop_timer_init(&call->beat, on_beat);
    call->streams = mcp_takes_events(call->request);
}

static void begin(struct mcp_call *call)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };
    struct request *request = call->request;

    request->state = call;
    request->cleanup = cleanup;
    request->on_drained = on_drained;
    request_is_stream(request, on_stop);
    http_watch_disconnect(request->exchange);
    list_append(&call->session->calls, &call->node);
    call->session->call_count++;
    if (call->streams) {
        request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
        loop_timer_start(call->mcp->loop, &call->beat, BEAT_MS);
    }
}

struct mcp_call *mcp_call_new(struct mcp *mcp, struct mcp_session *session, struct request *request,
                              const struct mcp_message *message)
{
    struct mcp_call *call = arena_calloc(&request->arena, 1, sizeof(*call));

    if (!call) {
        mcp_refuse(request, 500, MCP_INTERNAL_ERROR, "out of memory");
        return NULL;
    }
    call->mcp = mcp;
    call->session = session;
    call->request = request;
    call->id = message->id;
    return call;
}

int mcp_call_begin(struct mcp_call *call, const char *array)
{
    struct mcp_session *session = call->session;

    if (id_in_use(session, call->id)) {
        mcp_respond_error(call->request, call->id, MCP_INVALID_REQUEST, "a request with that id is still running");
        return -1;
    }
    if (session->call_count >= MCP_CALLS_MAX) {
        mcp_respond_error(call->request, call->id, MCP_REFUSED, "too many calls are running in this session");
        return -1;
    }
    init(call, array);
    begin(call);
    return 0;
}

void mcp_call_start(struct mcp *mcp, struct mcp_session *session, struct request *request,
                    const struct mcp_message *message)
{
    struct mcp_call *call = mcp_call_new(mcp, session, request, message);
    struct berm_error err;
    int code;

    if (!call)
        return;
    code = take_params(call, message, &err);
    if (code != 0)
        mcp_respond_error(request, message->id, code, err.message);
    else if (mcp_call_begin(call, "content") == 0)
        run(call);
}
