/*
 * interpreter.c - runCodeStream: the events of a run become calls of the client's functions, one after the other,
 * so that their order is kept and a slow client slows the run down.
 */
#include "methods.h"

#include "agent/agent.h"
#include "agent/http/own_client.h"
#include "net/sse_parser.h"

#define EVENT_MAX  ((size_t)64 << 20)
#define ERROR_MAX_ ((size_t)1 << 20)

struct event {
    struct event *next;
    size_t n;
    char text[];
};

struct code_run {
    struct agent *agent;
    struct capnweb_call *call;
    struct http_call *http; /* until its end */
    int status;
    struct sse_parser parser;
    struct event *first, **last; /* that wait for the function which is being called */
    bool calling;
    bool deaf;         /* the connection is gone: the run goes on, and nobody hears of it */
    struct buf answer; /* of an error */
};

static void run_free(struct code_run *r)
{
    while (r->first) {
        struct event *event = r->first;
        r->first = event->next;
        free(event);
    }
    sse_parser_free(&r->parser);
    buf_free(&r->answer);
    r->agent->rpc.exchanges--;
    free(r);
}

/* --- events to calls --- */

static struct capnweb_value member(const struct json *event, const char *key)
{
    const struct json *value = json_get(event, key);

    return value ? CAPNWEB_THE_JSON(value) : CAPNWEB_NOTHING;
}

static struct capnweb_value text_payload(struct arena *arena, const struct json *event)
{
    struct capnweb_member *members = arena_calloc(arena, 2, sizeof(*members));

    if (!members)
        return CAPNWEB_NOTHING;
    members[0] = (struct capnweb_member){ STR("text"), member(event, "text") };
    members[1] = (struct capnweb_member){ STR("timestamp"), CAPNWEB_NUMBER(clock_realtime_ms()) };
    return (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, 2 } };
}

/* What the event has but for what is only of the event. */
static struct capnweb_value result_payload(struct arena *arena, const struct json *event)
{
    struct capnweb_member *members = arena_calloc(arena, event->object.count, sizeof(*members));
    size_t count = 0;

    if (!members)
        return CAPNWEB_NOTHING;
    for (size_t i = 0; i < event->object.count; i++) {
        const struct json_member *m = &event->object.members[i];
        if (!str_is(m->key, "type") && !str_is(m->key, "metadata"))
            members[count++] = (struct capnweb_member){ m->key, CAPNWEB_THE_JSON(&m->value) };
    }
    return (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, count } };
}

static struct capnweb_value error_payload(struct arena *arena, const struct json *event)
{
    struct capnweb_member *members = arena_calloc(arena, 3, sizeof(*members));

    if (!members)
        return CAPNWEB_NOTHING;
    members[0] = (struct capnweb_member){ STR("name"), member(event, "ename") };
    members[1] = (struct capnweb_member){ STR("message"), member(event, "evalue") };
    members[2] = (struct capnweb_member){ STR("traceback"), member(event, "traceback") };
    return (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, 3 } };
}

static const struct {
    const char *type, *function;
    struct capnweb_value (*payload)(struct arena *arena, const struct json *event);
} kinds[] = {
    { "stdout", "onStdout", text_payload },
    { "stderr", "onStderr", text_payload },
    { "result", "onResult", result_payload },
    { "error", "onError", error_payload },
};

static void step(struct code_run *r);

static void on_called(struct capnweb_import *result, bool ok, const struct capnweb_value *value, void *data)
{
    struct code_run *r = data;
    struct capnweb_call *call = r->call;

    r->calling = false;
    if (capnweb_call_abandoned(call))
        r->deaf = true;
    if (ok || r->deaf) {
        step(r);
    } else {
        if (r->http)
            http_call_cancel(r->http);
        capnweb_reject(call, capnweb_copy(call->arena, value));
        run_free(r);
    }
    capnweb_import_unref(result);
}

/* Whether a function is being called now. */
static bool call_function(struct code_run *r, const struct json *event, struct arena *arena)
{
    const struct json *type = json_get(event, "type");
    const struct capnweb_value *function = NULL;
    struct capnweb_import *result = NULL;

    for (size_t i = 0; type && type->type == JSON_STRING && i < ARRAY_SIZE(kinds); i++) {
        if (!str_is(type->string, kinds[i].type))
            continue;
        function = capnweb_get(capnweb_arg(r->call, 3), kinds[i].function);
        if (function && function->type == CAPNWEB_STUB) {
            struct capnweb_value payload = kinds[i].payload(arena, event);
            result = capnweb_call_start(function->import, NULL, 0, &payload, 1);
        }
    }
    if (result)
        capnweb_pull(result, on_called, r);
    return result != NULL;
}

static void take_event(struct code_run *r)
{
    struct event *event = r->first;
    const struct json *json;
    struct arena arena;

    r->first = event->next;
    if (!r->first)
        r->last = &r->first;
    arena_init(&arena, 2 * EVENT_MAX);
    if (!r->deaf && json_parse(&arena, (struct str){ event->text, event->n }, JSON_MAX_DEPTH, &json, NULL) == 0 &&
        json->type == JSON_OBJECT)
        r->calling = call_function(r, json, &arena);
    arena_free(&arena);
    free(event);
}

/* Goes on with the next event, with reading, or to the end. */
static void step(struct code_run *r)
{
    while (!r->calling && r->first)
        take_event(r);
    if (r->calling)
        return;
    if (r->http) {
        http_call_resume(r->http);
        return;
    }
    capnweb_resolve(r->call, CAPNWEB_NOTHING);
    run_free(r);
}

/* --- the run --- */

static int on_event(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct code_run *r = data;
    struct event *copy = malloc(sizeof(*copy) + event->data.n + 1);

    if (!copy)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "keep an event");
    copy->next = NULL;
    copy->n = event->data.n;
    if (copy->n > 0)
        memcpy(copy->text, event->data.p, copy->n);
    *r->last = copy;
    r->last = &copy->next;
    return 0;
}

static void on_head(struct http_call *http, const struct h1_head *head, void *data)
{
    struct code_run *r = data;

    (void)http;
    r->status = head->status;
}

static void on_body(struct http_call *http, struct str piece, void *data)
{
    struct code_run *r = data;
    struct berm_error err;

    if (r->status >= 300) {
        (void)buf_append_str(&r->answer, piece); /* cut off, it is not JSON, and that is told */
        return;
    }
    if (sse_parser_feed(&r->parser, piece.p, piece.n, &err) < 0) {
        http_call_cancel(http);
        rpc_reject_internal(r->call, err.message);
        run_free(r);
        return;
    }
    if (!r->first)
        return;
    http_call_pause(http);
    step(r);
}

static void on_end(struct http_call *http, const struct berm_error *err, void *data)
{
    struct code_run *r = data;

    (void)http;
    r->http = NULL;
    if (err->code == BERM_OK && r->status < 300) {
        step(r);
        return;
    }
    if (err->code != BERM_OK)
        rpc_reject_internal(r->call, err->message);
    else
        capnweb_reject(r->call, rpc_error_of(r->call, r->status, buf_str(&r->answer)));
    run_free(r);
}

static int make_body(struct buf *body, const struct capnweb_call *call)
{
    static const struct {
        size_t arg;
        const char *member;
    } members[] = { { 0, "context_id" }, { 1, "code" }, { 2, "language" }, { 4, "timeout_ms" } };
    struct json_writer w;

    json_writer_init(&w, body);
    json_object_begin(&w);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const struct capnweb_value *arg = capnweb_arg(call, members[i].arg);
        if (!arg)
            continue;
        json_key(&w, members[i].member);
        capnweb_write_json(&w, arg);
    }
    json_object_end(&w);
    return json_writer_finish(&w);
}

static int start(struct code_run *r, const struct buf *body, struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_end };
    static const struct http_field type = { "Content-Type", "application/json" };
    struct http_client *client = own_client(r->agent);

    if (!client)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
    r->http = http_call_start(client, "POST", "/api/execute/code", &type, 1, body->len, &callbacks, r, err);
    if (!r->http)
        return -1;
    http_call_write(r->http, buf_head(body), body->len);
    http_call_end_body(r->http);
    return 0;
}

static void begin(struct capnweb_call *call, const struct buf *body)
{
    struct code_run *r = calloc(1, sizeof(*r));
    struct berm_error err;

    if (!r) {
        rpc_reject_internal(call, "out of memory");
        return;
    }
    r->agent = rpc_agent(call);
    r->call = call;
    r->last = &r->first;
    r->agent->rpc.exchanges++;
    sse_parser_init(&r->parser, EVENT_MAX, on_event, r);
    buf_init(&r->answer, ERROR_MAX_);
    if (start(r, body, &err) < 0) {
        rpc_reject_internal(call, err.message);
        run_free(r);
    }
}

void rpc_run_code_stream(struct capnweb_call *call)
{
    struct buf body;

    if (!rpc_exchange_admit(call))
        return;
    buf_init(&body, (size_t)64 << 20);
    if (make_body(&body, call) < 0)
        rpc_reject_internal(call, "The code does not fit in memory");
    else
        begin(call, &body);
    buf_free(&body);
}
