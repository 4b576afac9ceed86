/* sessions.c - shells that keep their state between commands. They live in the agent; here are the bridge's shapes.
 */
#include "base/sys.h"
#include "daemon/api/proxy.h"
#include "daemon/api/sandbox_spec.h"

struct session_call {
    const char *id;
    struct buf body; /* for the agent */
};

static void cleanup(struct request *request)
{
    struct session_call *call = request->state;

    buf_free(&call->body);
}

static struct session_call *new_call(struct request *request)
{
    struct session_call *call = arena_calloc(&request->arena, 1, sizeof(*call));

    if (!call) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return NULL;
    }
    buf_init(&call->body, JSON_BODY_MAX);
    request->state = call;
    request->cleanup = cleanup;
    return call;
}

static void call_agent(struct request *request, const struct proxy_rules *rules, const char *target)
{
    static const struct http_field fields[] = { { "Content-Type", "application/json" } };
    struct session_call *call = request->state;

    if (proxy_start(request, rules, "POST", target, fields, ARRAY_SIZE(fields), call->body.len) < 0)
        return;
    proxy_write(request, buf_str(&call->body));
    proxy_end_body(request);
}

/* --- create --- */

static void created(struct request *request, int status, struct str body)
{
    struct session_call *call = request->state;
    struct json_writer *w;

    if (status != 200) {
        request_fail_with(request, BERM_E_SESSION_ERROR, "session create failed: %s",
                          agent_error_message(request, body, NULL));
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "id", call->id);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static const struct proxy_rules create_rules = { .on_head = proxy_read_answer, .on_refusal = created };

static void create(struct request *request)
{
    call_agent(request, &create_rules, "/api/session/create");
}

/* The id that the client chose or a new one. -1: answered. */
static int take_id(struct request *request, const struct json *body, struct session_call *call)
{
    struct berm_error err;
    uint8_t random[16];
    char text[27];

    if (json_field_cstring(body, "id", &call->id, &err) < 0) {
        request_fail(request, &err);
        return -1;
    }
    if (!call->id) {
        random_bytes(random, sizeof(random));
        base32_encode(random, sizeof(random), text);
        call->id = arena_printf(&request->arena, "session-%s", text);
    }
    if (call->id && session_id_valid(str_from(call->id)))
        return 0;
    berm_fail_field(&err, "id", "Invalid session ID format");
    request_fail(request, &err);
    return -1;
}

static int write_env(struct json_writer *w, const struct json *body, struct berm_error *err)
{
    const struct json *env = NULL;

    if (json_field_object(body, "env", &env, err) < 0)
        return -1;
    if (!env)
        return 0;
    if (environment_check(env, err) < 0)
        return -1;
    json_key(w, "env");
    json_object_begin(w);
    for (size_t i = 0; i < env->object.count; i++) {
        const struct json_member *member = &env->object.members[i];

        if (member->value.type == JSON_NULL)
            continue;
        json_pair_string(w, member->key.p, member->value.string);
    }
    json_object_end(w);
    return 0;
}

static void on_create_body(struct request *request)
{
    struct str text = http_body(request->exchange);
    struct session_call *call = new_call(request);
    const struct json *body = NULL;
    const char *cwd = NULL;
    struct berm_error err;
    struct json_writer w;

    if (!call)
        return;
    /* The bridge takes a body it cannot read as {}. */
    if (text.n && json_parse(&request->arena, text, 16, &body, NULL) < 0)
        body = NULL;
    if (take_id(request, body, call) < 0)
        return;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_pair_cstring(&w, "id", call->id);
    if (json_field_cstring(body, "cwd", &cwd, &err) < 0 || write_env(&w, body, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    if (cwd)
        json_pair_cstring(&w, "cwd", cwd);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the request is too large");
    else
        request_need_sandbox(request, create);
}

void api_session_create(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_create_body);
}

/* --- delete --- */

static void deleted(struct request *request, int status, struct str body)
{
    struct session_call *call = request->state;
    char timestamp[25];
    struct json_writer *w;

    if (status != 200) {
        request_fail_with(request, BERM_E_SESSION_ERROR, "session delete failed: %s",
                          agent_error_message(request, body, NULL));
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    format_timestamp(clock_realtime_ms(), timestamp);
    json_object_begin(w);
    json_pair_bool(w, "success", true);
    json_pair_cstring(w, "sessionId", call->id);
    json_pair_cstring(w, "timestamp", timestamp);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static const struct proxy_rules delete_rules = { .on_head = proxy_read_answer, .on_refusal = deleted };

static void delete_session(struct request *request)
{
    call_agent(request, &delete_rules, "/api/session/delete");
}

/* A sandbox that does not run has no sessions, and is not started for this. */
static void find_and_delete(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);

    if (sandbox && (sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_CREATING))
        request_need_sandbox(request, delete_session);
    else
        request_fail_with(request, BERM_E_SESSION_ERROR, "session delete failed: Session not found");
}

void api_session_delete(struct request *request)
{
    struct session_call *call = new_call(request);
    char *id = call ? arena_alloc(&request->arena, request->param.n + 1) : NULL;
    struct json_writer w;

    if (!call)
        return;
    if (!id || percent_decode(request->param, id, request->param.n + 1) < 0 || !session_id_valid(str_from(id))) {
        struct berm_error err;

        berm_fail_field(&err, "sid", "Invalid session ID format");
        request_fail(request, &err);
        return;
    }
    call->id = id;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_pair_cstring(&w, "sessionId", id);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else
        request_need_adoption(request, find_and_delete);
}
