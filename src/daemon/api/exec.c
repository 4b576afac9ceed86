/*
 * exec.c - POST /v1/sandbox/{id}/exec: the bridge's request becomes the agent's, and the agent's event stream is
 * the bridge's. What is ours here: checking, the two body forms, and one terminal event whatever happens.
 */
#include "base/fault.h"
#include "daemon/api/paths.h"
#include "daemon/api/proxy.h"
#include "daemon/api/sandbox_spec.h"
#include "daemon/api/sse_guard.h"
#include "daemon/exec_cancel.h"
#include "net/sse.h"

#define EXEC_TYPE      "application/x-berm-exec"
#define EVENT_MAX      (1024 * 1024)
#define TIMEOUT_SLACK  15000 /* what the agent may be late with an exit, before the stream counts as broken */
#define TIMEOUT_MAX_MS INT32_MAX

struct exec {
    const struct json *body;
    struct buf agent_body; /* the document for the agent */
    uint64_t timeout_ms;   /* 0: none */
    struct sse_guard guard;
    bool keep; /* the command outlives its client */
    bool reads_stdin;
    bool has_line; /* the document's line has been read */
    bool body_ended;
    struct buf line;   /* its first bytes */
    struct buf ahead;  /* standard input that came with the line */
    size_t line_taken; /* bytes of the body that were the line */
};

/* --- checking --- */

/* 403 as the bridge has it; -1: answered. */
static int take_cwd(struct request *request, const char **ret)
{
    struct exec *exec = request->state;
    const struct json *cwd = json_get(exec->body, "cwd");
    struct berm_error err;

    *ret = NULL;
    if (!cwd || cwd->type != JSON_STRING)
        return 0;
    *ret = path_normalise(&request->arena, cwd->string, WORKSPACE);
    if (*ret && (exec->reads_stdin || path_in_workspace(*ret)))
        return 0;
    berm_fail_field(&err, "cwd",
                    *ret ? "cwd must resolve to a location within /workspace" : "cwd is not a usable path");
    request_fail_status(request, *ret ? 403 : 400, &err);
    return -1;
}

static int fail_field(struct request *request, const char *field, const char *message)
{
    struct berm_error err;

    berm_fail_field(&err, field, "%s", message);
    request_fail(request, &err);
    return -1;
}

static int write_argv(struct request *request, struct json_writer *w)
{
    struct exec *exec = request->state;
    const struct json *argv = json_get(exec->body, "argv"), *command = json_get(exec->body, "command");

    if (!argv && command && command->type == JSON_STRING) {
        json_pair_string(w, "command", command->string);
        return 0;
    }
    if (!argv || argv->type != JSON_ARRAY || argv->array.count == 0)
        return fail_field(request, "argv", "argv must be a non-empty array");
    json_key(w, "argv");
    json_array_begin(w);
    for (size_t i = 0; i < argv->array.count; i++) {
        const struct json *item = &argv->array.items[i];

        if (item->type != JSON_STRING)
            return fail_field(request, "argv", "argv must be an array of strings");
        if (memchr(item->string.p, '\0', item->string.n))
            return fail_field(request, "argv", "argv must not hold a NUL");
        json_string(w, item->string);
    }
    json_array_end(w);
    return 0;
}

static int write_env(struct request *request, struct json_writer *w)
{
    struct exec *exec = request->state;
    const struct json *env = json_get(exec->body, "env");
    struct berm_error err;

    if (!env || env->type == JSON_NULL)
        return 0;
    if (env->type != JSON_OBJECT)
        return fail_field(request, "env", "env must be an object of strings");
    if (environment_check(env, &err) < 0) {
        request_fail(request, &err);
        return -1;
    }
    json_key(w, "env");
    json_value(w, env);
    return 0;
}

/* What is in it is the agent's to check: it knows what it can enforce. */
static int write_limits(struct request *request, struct json_writer *w)
{
    struct exec *exec = request->state;
    const struct json *limits = json_get(exec->body, "limits");

    if (!limits || limits->type == JSON_NULL)
        return 0;
    if (limits->type != JSON_OBJECT)
        return fail_field(request, "limits", "limits must be an object");
    json_key(w, "limits");
    json_value(w, limits);
    return 0;
}

static void take_timeout(struct exec *exec)
{
    const struct json *timeout = json_get(exec->body, "timeout_ms");

    if (timeout && timeout->type == JSON_INT && timeout->integer > 0)
        exec->timeout_ms = (uint64_t)MIN(timeout->integer, (int64_t)TIMEOUT_MAX_MS);
    else if (timeout && timeout->type == JSON_DOUBLE && timeout->number >= 1)
        exec->timeout_ms = timeout->number < TIMEOUT_MAX_MS ? (uint64_t)timeout->number : TIMEOUT_MAX_MS;
}

/* Writes the agent's document. -1: answered. */
static int translate(struct request *request)
{
    struct exec *exec = request->state;
    const struct json *keep = json_get(exec->body, "keep_on_disconnect");
    struct json_writer w;
    const char *cwd;

    take_timeout(exec);
    json_writer_init(&w, &exec->agent_body);
    json_object_begin(&w);
    if (write_argv(request, &w) < 0 || take_cwd(request, &cwd) < 0 || write_env(request, &w) < 0 ||
        write_limits(request, &w) < 0)
        return -1;
    if (cwd)
        json_pair_cstring(&w, "cwd", cwd);
    if (exec->timeout_ms)
        json_pair_int(&w, "timeoutMs", (int64_t)exec->timeout_ms);
    if (request->session)
        json_pair_cstring(&w, "sessionId", request->session);
    exec->keep = keep && keep->type == JSON_BOOL && keep->boolean;
    if (exec->keep)
        json_pair_bool(&w, "keepOnDisconnect", true);
    else if (!request->session)
        json_pair_cstring(&w, "id", request->id);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0 && (!exec->reads_stdin || buf_append(&exec->agent_body, "\n", 1) == 0))
        return 0;
    request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the request is too large");
    return -1;
}

/* --- the answer --- */

static void write_bytes(void *data, struct str bytes)
{
    request_write(data, bytes);
}

static void begin_stream(struct request *request)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };

    request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
}

/* The last event, when the agent has not sent one. */
static void end_with_error(struct request *request, const struct berm_error *err)
{
    struct exec *exec = request->state;
    struct json_writer w;
    struct buf document, event;

    buf_init(&document, 4096);
    buf_init(&event, 8192);
    json_writer_init(&w, &document);
    json_object_begin(&w);
    json_pair_cstring(&w, "error", err->message);
    json_pair_cstring(&w, "code",
                      berm_err_wire(err->code == BERM_E_EXEC_ERROR ? err->code : BERM_E_EXEC_TRANSPORT_ERROR));
    if (err->code == BERM_E_SANDBOX_DIED)
        json_pair_cstring(&w, "reason", end_reason_name(agent_link_reason(request->link)));
    json_object_end(&w);
    if (!exec->guard.terminal && json_writer_finish(&w) == 0 &&
        sse_append(&event, "error", buf_str(&document)) == 0)
        request_write(request, buf_str(&event));
    exec->guard.terminal = true;
    request_end(request);
    buf_free(&document);
    buf_free(&event);
}

static bool on_head(struct request *request, const struct h1_head *head)
{
    if (head->status != 200)
        return false;
    begin_stream(request);
    return true;
}

static void on_piece(struct request *request, struct str piece)
{
    struct exec *exec = request->state;
    int rc = sse_guard_feed(&exec->guard, piece, write_bytes, request);
    struct berm_error err;

    FAULT_POINT("exec.streaming");
    if (rc == 0)
        return;
    berm_fail(&err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the sandbox's agent sent an event that is too large");
    proxy_close(request);
    end_with_error(request, &err);
}

static void on_complete(struct request *request)
{
    struct exec *exec = request->state;
    struct berm_error err;

    FAULT_POINT("exec.done");
    if (exec->guard.terminal) {
        request_end(request);
        return;
    }
    berm_fail(&err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the sandbox's agent ended the stream without a result");
    end_with_error(request, &err);
}

/* A command that cannot start is a result like any other: the bridge tells it in the stream, not by the status. */
static void on_refusal(struct request *request, int status, struct str body)
{
    const char *message = agent_error_message(request, body, NULL);
    struct berm_error err;

    if (status >= 400 && status < 500 && status != 410) {
        request_fail_with(request, BERM_E_INVALID_REQUEST, "%s", message);
        return;
    }
    berm_fail(&err, BERM_E_EXEC_ERROR, 0, "%s", message);
    begin_stream(request);
    end_with_error(request, &err);
}

static void on_broken(struct request *request, const struct berm_error *err)
{
    if (http_response_started(request->exchange))
        end_with_error(request, err);
    else
        request_fail(request, err);
}

static void on_stop(struct request *request)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "bermd stops and waits no longer for the command");
    proxy_close(request);
    on_broken(request, &err);
}

static const struct proxy_rules rules = { .on_head = on_head,
                                          .on_piece = on_piece,
                                          .on_complete = on_complete,
                                          .on_refusal = on_refusal,
                                          .on_broken = on_broken };

/* --- the call --- */

/* The length of what goes to the agent, if the client has told its own. */
static uint64_t upload_length(const struct request *request)
{
    const struct exec *exec = request->state;

    if (!exec->reads_stdin)
        return exec->agent_body.len;
    if (request->head->framing == H1_CONTENT_LENGTH)
        return exec->agent_body.len + (request->head->content_length - exec->line_taken);
    return request->head->framing == H1_NO_BODY ? exec->agent_body.len : HTTP_CHUNKED;
}

static void call_agent(struct request *request)
{
    static const struct http_field json_type[] = { { "Content-Type", "application/json" } };
    static const struct http_field exec_type[] = { { "Content-Type", EXEC_TYPE } };
    struct exec *exec = request->state;

    FAULT_POINT("exec.start");
    if (proxy_start(request, &rules, "POST", "/berm/v1/exec", exec->reads_stdin ? exec_type : json_type, 1,
                    upload_length(request)) < 0)
        return;
    if (exec->reads_stdin)
        http_body_unhurried(request->exchange);
    FAULT_POINT("exec.sent");
    if (exec->timeout_ms)
        http_call_set_idle_timeout(request->proxy.call, (uint32_t)exec->timeout_ms + TIMEOUT_SLACK);
    proxy_write(request, buf_str(&exec->agent_body));
    buf_free(&exec->agent_body);
    if (!exec->reads_stdin) {
        proxy_end_body(request);
        return;
    }
    proxy_write(request, buf_str(&exec->ahead));
    buf_free(&exec->ahead);
    if (exec->body_ended)
        proxy_end_body(request);
    else
        proxy_upload(request);
}

static void prepare(struct request *request)
{
    if (translate(request) == 0)
        request_need_agent(request, call_agent);
}

/* --- the body as JSON --- */

static void on_json(struct request *request)
{
    struct exec *exec = request->state;

    if (request_parse_json(request, &exec->body) < 0)
        return;
    if (!exec->body) {
        struct berm_error err;

        berm_fail(&err, BERM_E_INVALID_REQUEST, 0, "it is empty");
        request_fail_json(request, &err);
        return;
    }
    prepare(request);
}

/* --- the body as a line of JSON and standard input --- */

static void on_line(struct request *request)
{
    struct exec *exec = request->state;
    struct berm_error err;

    exec->has_line = true;
    http_body_pause(request->exchange);
    if (json_parse(&request->arena, buf_str(&exec->line), 64, &exec->body, &err) < 0) {
        request_fail_json(request, &err);
        return;
    }
    prepare(request);
}

static void on_exec_body(struct request *request, struct str piece)
{
    struct exec *exec = request->state;
    const char *newline;
    size_t n;

    if (exec->has_line) { /* came along although we paused */
        if (buf_append_str(&exec->ahead, piece) < 0)
            request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "too much standard input before the start");
        return;
    }
    newline = memchr(piece.p, '\n', piece.n);
    n = newline ? (size_t)(newline - piece.p) : piece.n;
    if (buf_append(&exec->line, piece.p, n) < 0) {
        exec->has_line = true;
        request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the first line is longer than %d bytes",
                          JSON_BODY_MAX);
        return;
    }
    if (!newline)
        return;
    exec->line_taken = exec->line.len + 1;
    buf_append(&exec->ahead, newline + 1, piece.n - n - 1);
    on_line(request);
}

static void on_exec_body_end(struct request *request)
{
    struct exec *exec = request->state;

    exec->body_ended = true;
    if (exec->has_line)
        return;
    exec->line_taken = exec->line.len;
    on_line(request);
}

static void cleanup(struct request *request)
{
    struct exec *exec = request->state;

    /* It still runs, and its client is gone. */
    if (request->proxy.call && !exec->keep && !request->session)
        exec_cancel(request->daemon->loop, request->link, request->id);
    buf_free(&exec->agent_body);
    buf_free(&exec->line);
    buf_free(&exec->ahead);
    sse_guard_free(&exec->guard);
}

void api_exec(struct request *request)
{
    struct str type = h1_header(request->head, "Content-Type");
    struct exec *exec;

    if (request_take_session(request) < 0)
        return;
    exec = arena_calloc(&request->arena, 1, sizeof(*exec));
    if (!exec) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    buf_init(&exec->agent_body, 2 * JSON_BODY_MAX);
    buf_init(&exec->line, JSON_BODY_MAX);
    buf_init(&exec->ahead, JSON_BODY_MAX);
    sse_guard_init(&exec->guard, EVENT_MAX);
    request->state = exec;
    request->cleanup = cleanup;
    request_is_stream(request, on_stop);
    exec->reads_stdin = str_eq_nocase(type, STR(EXEC_TYPE));
    if (!exec->reads_stdin) {
        request_collect_body(request, JSON_BODY_MAX, on_json);
        return;
    }
    request->on_body = on_exec_body;
    request->on_body_end = on_exec_body_end;
    request_stream_body(request);
}
