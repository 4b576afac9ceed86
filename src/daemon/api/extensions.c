/*
 * extensions.c - what the SDK has and the bridge lacks: routes below /v1/sandbox/{id}, each of which is one route
 * of the sandbox's control server. Bodies and answers are that server's; ids, keys, generations and the layout of
 * errors are those of every other route here. Unlike container.c nothing passes but what a row names.
 */
#include "daemon/api/extensions.h"

#include "base/sys.h"
#include "daemon/api/event_tail.h"
#include "daemon/api/paths.h"
#include "daemon/api/proxy.h"

enum body_source {
    BODY_NONE,
    BODY_CLIENT, /* passed on as it comes */
    BODY_PORT,   /* the client's JSON, with the port of the path as a member */
    BODY_LIST,   /* of GET files: made from the query */
};

struct extension {
    struct route route; /* first: request->route leads here */
    const char *method; /* of the control server's route */
    const char *target; /* ':' stands for the second parameter of the path */
    const char *query;  /* names that are passed on, separated by spaces */
    enum body_source body;
    bool takes_session; /* by the field Session-Id; others have the member sessionId */
    /*
     * What only a running sandbox has is not looked for by starting one. The members of the answer, or the code of
     * a 404. Both NULL: the sandbox is made or woken.
     */
    const char *idle;
    const char *missing;
};

static void api_extension(struct request *request);

#define SANDBOX "/v1/sandbox/:id/"
#define EXTENSION(verb, pattern, name)                                                                             \
    {                                                                                                              \
        verb, SANDBOX pattern, name, ROUTE_KEY, api_extension                                                      \
    }
/* With an Idempotency-Key, if the client wants that. */
#define EXTENSION_ONCE(verb, pattern, name)                                                                        \
    {                                                                                                              \
        verb, SANDBOX pattern, name, ROUTE_KEY, api_extension, true                                                \
    }

/* clang-format off */
static const struct extension extensions[] = {
    { EXTENSION("GET", "processes", "process.list"), "GET", "/api/process/list", .query = "status", .idle = "\"processes\":[]" },
    { EXTENSION_ONCE("POST", "processes", "process.start"), "POST", "/api/process/start", .body = BODY_CLIENT },
    { EXTENSION("DELETE", "processes", "process.kill_all"), "DELETE", "/api/process/kill-all", .idle = "\"cleanedCount\":0" },
    /* The id goes where it cannot be taken for "list" or "kill-all". */
    { EXTENSION("GET", "processes/:pid", "process.get"), "GET", "/api/process/-?id=:", .missing = "PROCESS_NOT_FOUND" },
    { EXTENSION("DELETE", "processes/:pid", "process.kill"), "DELETE", "/api/process/-?id=:", .query = "signal", .missing = "PROCESS_NOT_FOUND" },
    { EXTENSION("GET", "processes/:pid/logs", "process.logs"), "GET", "/api/process/-/logs?id=:", .query = "from", .missing = "PROCESS_NOT_FOUND" },
    { EXTENSION("GET", "processes/:pid/stream", "process.stream"), "GET", "/api/process/-/stream?id=:", .query = "from", .missing = "PROCESS_NOT_FOUND" },
    { EXTENSION_ONCE("POST", "processes/:pid/input", "process.input"), "POST", "/api/process/-/stdin?id=:", .body = BODY_CLIENT, .missing = "PROCESS_NOT_FOUND" },
    { EXTENSION("POST", "processes/:pid/signal", "process.signal"), "POST", "/api/process/-/signal?id=:", .body = BODY_CLIENT, .missing = "PROCESS_NOT_FOUND" },

    { EXTENSION("GET", "contexts", "context.list"), "GET", "/api/contexts", .idle = "\"contexts\":[]" },
    { EXTENSION_ONCE("POST", "contexts", "context.create"), "POST", "/api/contexts", .body = BODY_CLIENT },
    { EXTENSION("DELETE", "contexts/:cid", "context.delete"), "DELETE", "/api/contexts/:", .missing = "CONTEXT_NOT_FOUND" },
    { EXTENSION("POST", "contexts/:cid/interrupt", "context.interrupt"), "POST", "/api/contexts/:/interrupt", .missing = "CONTEXT_NOT_FOUND" },
    { EXTENSION_ONCE("POST", "code", "code.run"), "POST", "/api/execute/code", .body = BODY_CLIENT },

    { EXTENSION_ONCE("POST", "execute", "execute"), "POST", "/api/execute", .body = BODY_CLIENT, .takes_session = true },
    { EXTENSION_ONCE("POST", "exec-stream", "exec_stream"), "POST", "/api/execute/stream", .body = BODY_CLIENT, .takes_session = true },
    { EXTENSION("GET", "sessions", "session.list"), "GET", "/api/session/list", .idle = "\"data\":[]" },

    { EXTENSION("POST", "watch", "watch"), "POST", "/api/watch", .body = BODY_CLIENT },
    { EXTENSION("POST", "watch/check", "watch.check"), "POST", "/api/watch/check", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "git/checkout", "git.checkout"), "POST", "/api/git/checkout", .body = BODY_CLIENT },
    { EXTENSION("POST", "ports/:port/wait", "port.wait"), "POST", "/api/port-watch", .body = BODY_PORT },

    { EXTENSION("GET", "files", "files.list"), "POST", "/api/list-files", .body = BODY_LIST },
    { EXTENSION("POST", "files/list", "files.list"), "POST", "/api/list-files", .body = BODY_CLIENT },
    { EXTENSION("POST", "files/stat", "files.stat"), "POST", "/api/stat", .body = BODY_CLIENT },
    { EXTENSION("POST", "files/exists", "files.exists"), "POST", "/api/exists", .body = BODY_CLIENT },
    { EXTENSION("POST", "files/read", "files.read"), "POST", "/api/read", .body = BODY_CLIENT },
    { EXTENSION("POST", "files/read/stream", "files.read_stream"), "POST", "/api/read/stream", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "files/write", "files.write"), "POST", "/api/write", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "files/mkdir", "files.mkdir"), "POST", "/api/mkdir", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "files/move", "files.move"), "POST", "/api/move", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "files/rename", "files.rename"), "POST", "/api/rename", .body = BODY_CLIENT },
    { EXTENSION_ONCE("POST", "files/delete", "files.delete"), "POST", "/api/delete", .body = BODY_CLIENT },
};
/* clang-format on */

_Static_assert(ARRAY_SIZE(extensions) <= EXTENSIONS_MAX, "EXTENSIONS_MAX is too small");

size_t extension_count(void)
{
    return ARRAY_SIZE(extensions);
}

const struct route *extension_route(size_t index)
{
    return &extensions[index].route;
}

struct extension_call {
    const struct extension *extension;
    const char *target;
    struct buf body;        /* unless it is the client's */
    bool streams;           /* the answer is an event stream */
    struct event_tail tail; /* of a stream */
};

static void cleanup(struct request *request)
{
    struct extension_call *call = request->state;

    buf_free(&call->body);
}

/* --- errors --- */

/* Codes are the SDK's, in capitals; a sandbox's agent may say anything. */
static bool is_code(const char *code)
{
    size_t n = code ? strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;

    return n > 0 && n <= 64 && code[n] == '\0';
}

/* What the agent found wrong, in whichever of its layouts it says so. NULL: it does not. */
static const struct json *wrong_field(const struct json *context)
{
    const struct json *list = json_get(context, "validationErrors");

    list = list ? list : json_get(context, "errors");
    if (!list || list->type != JSON_ARRAY || list->array.count == 0)
        return NULL;
    return json_get(&list->array.items[0], "field");
}

/* The agent's context, with the wrong field where all our errors have it. */
static void write_context(struct json_writer *w, const char *code, const struct json *context)
{
    const struct json *field = wrong_field(context);

    json_key(w, "context");
    json_object_begin(w);
    if (field && field->type == JSON_STRING)
        json_pair_string(w, "field", field->string);
    else if (!strcmp(code, "INVALID_COMMAND"))
        json_pair_cstring(w, "field", "command");
    for (size_t i = 0; context && context->type == JSON_OBJECT && i < context->object.count; i++) {
        if (str_is(context->object.members[i].key, "field"))
            continue;
        json_key_str(w, context->object.members[i].key);
        json_value(w, &context->object.members[i].value);
    }
    json_object_end(w);
}

static void fail_as(struct request *request, int status, const char *code, const char *message,
                    const struct json *context)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "error", message);
    json_pair_cstring(w, "code", code);
    write_context(w, code, context);
    json_object_end(w);
    request_respond_json(request, status, w);
}

static void on_refusal(struct request *request, int status, struct str body)
{
    const struct json *answer = NULL;
    const char *message = NULL, *code = NULL;

    if (json_parse(&request->arena, body, 32, &answer, NULL) == 0) {
        json_field_cstring(answer, "message", &message, NULL);
        json_field_cstring(answer, "code", &code, NULL);
    }
    /* Upstream's 500 of a bad path in a rename or a move. */
    if (code && !strcmp(code, "SECURITY_VALIDATION_FAILED"))
        status = 400;
    if (status >= 400 && status < 600 && message && is_code(code))
        fail_as(request, status, code, message, json_get(answer, "context"));
    else
        request_fail_with(request, BERM_E_EXEC_TRANSPORT_ERROR, "the sandbox's agent answered nonsense");
}

/* --- the answer --- */

static void on_broken(struct request *request, const struct berm_error *err)
{
    const struct extension_call *call = request->state;

    if (!http_response_started(request->exchange))
        request_fail(request, err);
    else if (call->streams)
        event_tail_fail(&call->tail, request, err);
    else
        http_exchange_abort(request->exchange);
}

static void on_stop(struct request *request)
{
    const struct extension_call *call = request->state;

    event_tail_stop(&call->tail, request);
}

/* The only field of the agent's that is believed is which of the two kinds of answers it is. */
static bool on_head(struct request *request, const struct h1_head *head)
{
    static const struct http_field json_fields[] = { { "Content-Type", "application/json" } };
    static const struct http_field event_fields[] = { { "Content-Type", "text/event-stream" },
                                                      { "Cache-Control", "no-cache" } };
    struct extension_call *call = request->state;

    if (head->status != 200)
        return false;
    call->streams = str_has_prefix(h1_header(head, "Content-Type"), STR("text/event-stream"));
    event_tail_init(&call->tail);
    if (call->streams) {
        request_is_stream(request, on_stop);
        request_begin(request, 200, event_fields, ARRAY_SIZE(event_fields), HTTP_CHUNKED);
    } else {
        request_begin(request, 200, json_fields, ARRAY_SIZE(json_fields),
                      head->framing == H1_CONTENT_LENGTH ? head->content_length : HTTP_CHUNKED);
    }
    return true;
}

static void on_piece(struct request *request, struct str piece)
{
    struct extension_call *call = request->state;

    event_tail_write(&call->tail, request, piece);
}

static const struct proxy_rules rules = {
    .on_head = on_head, .on_piece = on_piece, .on_refusal = on_refusal, .on_broken = on_broken
};

/* --- the call --- */

static void call_agent(struct request *request)
{
    struct extension_call *call = request->state;
    bool uploads = call->extension->body == BODY_CLIENT;
    struct http_field fields[2] = { { "Content-Type", "application/json" }, { "X-Session-Id", request->session } };

    if (proxy_start(request, &rules, call->extension->method, call->target, fields,
                    call->extension->takes_session && request->session ? 2 : 1,
                    uploads ? proxy_body_length(request) : call->body.len) < 0)
        return;
    if (uploads && request->head->framing != H1_NO_BODY) {
        proxy_upload(request);
        return;
    }
    proxy_write(request, buf_str(&call->body));
    proxy_end_body(request);
}

static void answer_idle(struct request *request)
{
    const struct extension *extension = ((struct extension_call *)request->state)->extension;
    const char *text;
    char time[25];

    if (extension->missing) {
        fail_as(request, 404, extension->missing, "there is none: the sandbox does not run", NULL);
        return;
    }
    format_timestamp(clock_realtime_ms(), time);
    text = arena_printf(&request->arena, "{\"success\":true,%s,\"timestamp\":\"%s\"}", extension->idle, time);
    if (text)
        request_respond(request, 200, "application/json", str_from(text));
    else
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
}

static void find_running(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);

    if (!sandbox) {
        request_fail_with(request, BERM_E_SANDBOX_NOT_FOUND, "there is no sandbox %s", request->sandbox_id.p);
    } else if (sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_CREATING ||
               request->wait.if_generation) {
        request_need_sandbox(request, call_agent);
    } else {
        request->sandbox = sandbox_ref(sandbox);
        answer_idle(request);
    }
}

static void need_sandbox(struct request *request)
{
    const struct extension *extension = ((struct extension_call *)request->state)->extension;

    if (extension->idle || extension->missing)
        request_need_adoption(request, find_running);
    else
        request_need_sandbox(request, call_agent);
}

/* --- what goes to the agent --- */

static void fail_field(struct request *request, const char *field, const char *message)
{
    struct berm_error err;

    berm_fail_field(&err, field, "%s", message);
    request_fail(request, &err);
}

/* Decoded and encoded again, so that nothing of it can be taken for another part of the target. NULL: answered. */
static const char *take_parameter(struct request *request)
{
    char *text = arena_alloc(&request->arena, request->param.n + 1);

    if (text && percent_decode(request->param, text, request->param.n + 1) == 0 && !strchr(text, '/')) {
        char *encoded = path_encode(&request->arena, text);

        if (encoded)
            return encoded;
    }
    fail_field(request, "path", "the last part of the path is not a usable id");
    return NULL;
}

/* Appends the parts of the query that the row names. */
static int add_query(struct request *request, struct buf *target, const char *names)
{
    char separator = memchr(buf_head(target), '?', target->len) ? '&' : '?';
    char name[32];
    struct str raw;
    size_t n;

    for (; names && *names; names += n + (names[n] == ' ')) {
        n = strcspn(names, " ");
        snprintf(name, sizeof(name), "%.*s", (int)n, names);
        if (!query_get(request->head->query, name, &raw))
            continue;
        if (buf_printf(target, "%c%s=%.*s", separator, name, (int)raw.n, raw.p) < 0)
            return -1;
        separator = '&';
    }
    return 0;
}

static int write_target(struct request *request, const struct extension *extension, struct buf *target)
{
    const char *colon = strchr(extension->target, ':'), *parameter;

    if (!colon) {
        if (buf_append_str(target, str_from(extension->target)) < 0)
            return -1;
    } else {
        parameter = take_parameter(request);
        if (!parameter || buf_printf(target, "%.*s%s%s", (int)(colon - extension->target), extension->target,
                                     parameter, colon + 1) < 0)
            return -1;
    }
    return add_query(request, target, extension->query);
}

/* -1: answered. */
static int make_target(struct request *request, struct extension_call *call)
{
    struct buf target;
    int rc;

    buf_init(&target, 32 * 1024);
    rc = write_target(request, call->extension, &target);
    if (rc == 0)
        call->target = arena_strdup(&request->arena, buf_str(&target));
    buf_free(&target);
    if (call->target)
        return 0;
    if (!http_response_started(request->exchange))
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    return -1;
}

static void send_body(struct request *request, struct json_writer *w)
{
    if (json_writer_finish(w) == 0)
        need_sandbox(request);
    else
        request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the request is too large");
}

static void on_port_body(struct request *request)
{
    struct extension_call *call = request->state;
    const struct json *body;
    struct json_writer w;
    uint64_t port;

    if (request_parse_json(request, &body) < 0)
        return;
    if (str_to_u64(request->param, &port) < 0 || port == 0 || port > 65535) {
        fail_field(request, "port", "port must be between 1 and 65535");
        return;
    }
    if (body && body->type != JSON_OBJECT) {
        fail_field(request, "body", "the body must be an object");
        return;
    }
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_pair_int(&w, "port", (int64_t)port);
    for (size_t i = 0; body && i < body->object.count; i++) {
        if (str_is(body->object.members[i].key, "port"))
            continue;
        json_key_str(&w, body->object.members[i].key);
        json_value(&w, &body->object.members[i].value);
    }
    json_object_end(&w);
    send_body(request, &w);
}

/* A flag of the query. -1: answered. */
static int put_flag(struct request *request, struct json_writer *w, const char *name)
{
    const char *value;

    if (request_query(request, name, &value) < 0)
        return -1;
    if (!value)
        return 0;
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        fail_field(request, name, "must be true or false");
        return -1;
    }
    json_pair_bool(w, name, strcmp(value, "true") == 0);
    return 0;
}

static void list_from_query(struct request *request)
{
    struct extension_call *call = request->state;
    const char *path, *session;
    struct json_writer w;

    if (request_query(request, "path", &path) < 0 || request_query(request, "sessionId", &session) < 0)
        return;
    if (!path) {
        fail_field(request, "path", "path is missing from the query");
        return;
    }
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_pair_cstring(&w, "path", path);
    if (session)
        json_pair_cstring(&w, "sessionId", session);
    json_key(&w, "options");
    json_object_begin(&w);
    if (put_flag(request, &w, "recursive") < 0 || put_flag(request, &w, "includeHidden") < 0)
        return;
    json_object_end(&w);
    json_object_end(&w);
    send_body(request, &w);
}

/* Where the control server does not look at the field, to leave it out would run things in another session. */
static int take_session(struct request *request, const struct extension *extension)
{
    if (request_take_session(request) < 0)
        return -1;
    if (!request->session || extension->takes_session || extension->body == BODY_NONE)
        return 0;
    fail_field(request, "Session-Id", "this route takes the session as the member sessionId");
    return -1;
}

static void api_extension(struct request *request)
{
    const struct extension *extension = (const void *)request->route;
    struct extension_call *call = arena_calloc(&request->arena, 1, sizeof(*call));

    if (!call) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    call->extension = extension;
    buf_init(&call->body, 2 * JSON_BODY_MAX);
    request->state = call;
    request->cleanup = cleanup;
    if (take_session(request, extension) < 0 || make_target(request, call) < 0)
        return;
    switch (extension->body) {
    case BODY_NONE:
        need_sandbox(request);
        break;
    case BODY_CLIENT:
        request_stream_body(request);
        http_body_pause(request->exchange);
        need_sandbox(request);
        break;
    case BODY_PORT:
        request_collect_body(request, JSON_BODY_MAX, on_port_body);
        break;
    case BODY_LIST:
        list_from_query(request);
        break;
    }
}
