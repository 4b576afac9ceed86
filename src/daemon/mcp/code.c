/*
 * code.c - code_run: code in a context of the session's, which is made at its first use.
 *
 * A context is gone when its sandbox slept or was destroyed. Then the daemon makes another one, and the model is
 * told that what the code before had defined is gone.
 */
#include "daemon/mcp/call.h"

static const char *language_of(const struct mcp_call *call)
{
    const char *language = mcp_arg_text(call->args, "language");

    return language ? language : "python";
}

static const char *sandbox_of(const struct mcp_call *call)
{
    return mcp_arg_text(call->args, "sandbox");
}

/* --- what code shows --- */

static const struct {
    const char *member, *mime;
} images[] = { { "png", "image/png" }, { "jpeg", "image/jpeg" } };
static const char *const texts[] = { "text", "markdown", "html", "svg", "latex", "javascript" };

/* The representation that says most: a picture, then a text of any kind, then a document. */
static int add_result(struct mcp_call *call, const struct json *result, struct berm_error *err)
{
    struct str text = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        if (json_field_string(result, images[i].member, &text, err) < 0)
            return -1;
        if (text.n == 0)
            continue;
        mcp_call_add_media(call, "image", text, images[i].mime);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (json_field_string(result, texts[i], &text, err) < 0)
            return -1;
        if (text.n == 0)
            continue;
        mcp_call_add_text(call, text);
        return 0;
    }
    if (json_get(result, "json")) {
        _cleanup_(buf_free) struct buf document;
        struct json_writer w;

        buf_init(&document, MCP_EVENT_MAX);
        json_writer_init(&w, &document);
        json_value(&w, json_get(result, "json"));
        if (json_writer_finish(&w) == 0)
            mcp_call_add_text(call, buf_str(&document));
    }
    return 0;
}

static int add_exception(struct mcp_call *call, const struct json *event, struct berm_error *err)
{
    const struct json *traceback = NULL;
    struct str name = { 0 }, value = { 0 };
    _cleanup_(buf_free) struct buf text;

    buf_init(&text, MCP_EVENT_MAX);
    if (json_field_string(event, "ename", &name, err) < 0 || json_field_string(event, "evalue", &value, err) < 0 ||
        json_field_array(event, "traceback", &traceback, err) < 0)
        return -1;
    buf_printf(&text, "%.*s: %.*s", (int)name.n, name.p ? name.p : "", (int)value.n, value.p ? value.p : "");
    for (size_t i = 0; traceback && i < traceback->array.count; i++) {
        const struct json *line = &traceback->array.items[i];

        if (line->type == JSON_STRING && buf_append_str(&text, STR("\n")) == 0)
            buf_append_str(&text, line->string);
    }
    mcp_call_add_text(call, buf_str(&text));
    call->exit_code = 1;
    call->ended = true;
    return 0;
}

static int add_stream(struct mcp_call *call, struct mcp_text *text, const struct json *event,
                      struct berm_error *err)
{
    struct str piece = { 0 };

    if (json_field_string(event, "text", &piece, err) < 0)
        return -1;
    if (piece.n > 0 && mcp_text_add(call, text, piece) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "the output could not be kept");
    return 0;
}

static int code_event(struct mcp_call *call, const struct sse_event *event, struct berm_error *err)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *document;
    struct str type = { 0 };

    arena_init(&arena, 16 * MCP_EVENT_MAX);
    if (call->ended)
        return 0;
    if (json_parse(&arena, event->data, JSON_MAX_DEPTH, &document, err) < 0 ||
        json_field_string(document, "type", &type, err) < 0)
        return -1;
    if (str_is(type, "stdout"))
        return add_stream(call, &call->out, document, err);
    if (str_is(type, "stderr"))
        return add_stream(call, &call->errors, document, err);
    if (str_is(type, "result"))
        return add_result(call, document, err);
    if (str_is(type, "error"))
        return add_exception(call, document, err);
    if (str_is(type, "execution_complete"))
        call->ended = true;
    return 0;
}

static void code_done(struct mcp_call *call)
{
    if (!call->ended) {
        mcp_call_fail(call, "exec_transport_error", "the code's output ended without a result");
        return;
    }
    mcp_call_add_output(call);
    if (call->retried)
        mcp_call_add_text(call, STR("[a new interpreter was started: what earlier code had defined is gone]"));
    mcp_call_finish(call, NULL, call->exit_code != 0);
}

/* --- the requests --- */

static void make_context(struct mcp_call *call);

static bool code_refused(struct mcp_call *call)
{
    if (call->status != 404 || call->retried || mcp_arg_text(call->args, "context"))
        return false;
    call->retried = true;
    mcp_context_set(call->session, sandbox_of(call), language_of(call), NULL);
    make_context(call);
    return true;
}

static const struct mcp_take take_code = { .on_event = code_event,
                                           .on_done = code_done,
                                           .on_refused = code_refused };

/* POSTs {`key`: `value`, "code"?: ...} to a route of the sandbox. */
static void post(struct mcp_call *call, const char *pattern, const char *key, const char *value,
                 const struct mcp_take *take)
{
    const struct json *code = json_get(call->args, "code"), *timeout = json_get(call->args, "timeout_ms");
    struct arena *arena = &call->request->arena;
    struct mcp_request wanted = { .method = "POST" };
    _cleanup_(buf_free) struct buf body;
    struct berm_error err = { 0 };
    struct json_writer w;

    buf_init(&body, MCP_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, key, value);
    if (take == &take_code) {
        json_key(&w, "code");
        json_value(&w, code);
        if (timeout) {
            json_key(&w, "timeout_ms");
            json_value(&w, timeout);
        }
    }
    json_object_end(&w);
    wanted.target = mcp_target_build(call->tool, pattern, call->args, arena, &err);
    wanted.body =
        (struct str){ json_writer_finish(&w) == 0 ? arena_strdup(arena, buf_str(&body)) : NULL, body.len };
    if (wanted.target && wanted.body.p)
        mcp_call_fetch(call, &wanted, take);
    else
        mcp_call_fail(call, "payload_too_large", "the code is too long");
}

static void run_code(struct mcp_call *call, const char *context)
{
    post(call, "/v1/sandbox/{sandbox}/code", "context_id", context, &take_code);
}

static void context_done(struct mcp_call *call)
{
    const struct json *answer = NULL;
    const char *id = NULL;

    if (json_parse(&call->request->arena, buf_str(&call->body), 8, &answer, NULL) == 0)
        json_field_cstring(answer, "contextId", &id, NULL);
    if (!id) {
        mcp_call_fail(call, "protocol_error", "no context came");
        return;
    }
    mcp_context_set(call->session, sandbox_of(call), language_of(call), id);
    run_code(call, id);
}

static void make_context(struct mcp_call *call)
{
    static const struct mcp_take take = { .on_done = context_done };

    post(call, "/v1/sandbox/{sandbox}/contexts", "language", language_of(call), &take);
}

void mcp_start_code(struct mcp_call *call)
{
    const char *context = mcp_arg_text(call->args, "context");

    if (!context)
        context = mcp_context_find(call->session, sandbox_of(call), language_of(call));
    if (context)
        run_code(call, context);
    else
        make_context(call);
}
