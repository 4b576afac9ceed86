#include "exchange.h"

#include "agent/agent.h"
#include "agent/http/own_client.h"
#include "base/sys.h"

#include <stdio.h>

#define EXCHANGES_MAX 1000 /* of all connections at once: each takes two descriptors */
#define BODY_MAX_     ((size_t)256 << 20)
#define ANSWER_MAX    ((size_t)256 << 20) /* that is not a stream */
#define LARGE         ((size_t)64 << 10)  /* an answer that is passed on as it is, where that can be */

struct rpc_exchange {
    struct agent *agent;
    struct capnweb_call *call; /* until it is answered */
    const struct rpc_route *route;
    struct http_call *http;    /* until its end */
    struct capnweb_pipe *pipe; /* of a stream: until its end, which then is the exchange's */
    struct capnweb_value (*stream_result)(struct capnweb_call *call, const struct h1_head *head,
                                          struct capnweb_value stream);
    int status;
    bool peeking;      /* at the first event, before it is known whether there is a stream */
    struct buf answer; /* and the beginning of a stream until it can be written */
};

static void exchange_free(struct rpc_exchange *x)
{
    x->agent->rpc.exchanges--;
    buf_free(&x->answer);
    free(x);
}

/* --- pieces --- */

struct capnweb_member *rpc_object(struct capnweb_call *call, size_t count, struct capnweb_value *ret)
{
    struct capnweb_member *members = arena_calloc(call->arena, count, sizeof(*members));

    *ret = (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, members ? count : 0 } };
    return members;
}

struct capnweb_value rpc_timestamp(struct capnweb_call *call)
{
    char stamp[25];
    char *copy;

    format_timestamp(clock_realtime_ms(), stamp);
    copy = arena_strdup(call->arena, str_from(stamp));
    return CAPNWEB_TEXT(copy ? str_from(copy) : STR(""));
}

struct capnweb_value rpc_with(struct capnweb_call *call, const struct json *answer,
                              const struct capnweb_member *more, size_t count)
{
    size_t own = answer->type == JSON_OBJECT ? answer->object.count : 0;
    struct capnweb_value result;
    struct capnweb_member *members = rpc_object(call, own + count, &result);

    if (!members)
        return CAPNWEB_NOTHING;
    for (size_t i = 0; i < own; i++)
        members[i] = (struct capnweb_member){ answer->object.members[i].key,
                                              CAPNWEB_THE_JSON(&answer->object.members[i].value) };
    for (size_t i = 0; i < count; i++)
        members[own + i] = more[i];
    return result;
}

struct str rpc_text(const struct capnweb_call *call, size_t i)
{
    const struct capnweb_value *arg = capnweb_arg(call, i);

    return arg && arg->type == CAPNWEB_STRING ? arg->string : STR("");
}

char *rpc_escape(struct arena *arena, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = text.n < 65536 ? arena_alloc(arena, 3 * text.n + 1) : NULL;
    size_t n = 0;

    for (size_t i = 0; escaped && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._~:@", c));
        if (plain) {
            escaped[n++] = (char)c;
        } else {
            escaped[n++] = '%';
            escaped[n++] = digits[c >> 4];
            escaped[n++] = digits[c & 15];
        }
    }
    if (escaped)
        escaped[n] = '\0';
    return escaped;
}

/* --- the request --- */

static void spread(struct json_writer *w, const struct capnweb_value *object)
{
    for (size_t i = 0; object->type == CAPNWEB_OBJECT && i < object->object.count; i++) {
        const struct capnweb_member *member = &object->object.members[i];
        if (member->value.type == CAPNWEB_UNDEFINED)
            continue;
        json_key_str(w, member->key);
        capnweb_write_json(w, &member->value);
    }
}

/* -1: it does not fit. */
static int make_body(struct buf *body, const struct capnweb_call *call, const struct rpc_route *route)
{
    const char *name = route->members;
    struct json_writer w;

    json_writer_init(&w, body);
    json_object_begin(&w);
    for (size_t i = strchr(route->path, '%') ? 1 : 0; *name; i++) {
        size_t n = strcspn(name, " ");
        const struct capnweb_value *arg = capnweb_arg(call, i);
        if (arg && *name == '*') {
            spread(&w, arg);
        } else if (arg) {
            json_key_str(&w, (struct str){ name, n });
            capnweb_write_json(&w, arg);
        }
        name += n + (name[n] == ' ');
    }
    json_object_end(&w);
    return json_writer_finish(&w);
}

static const char *make_path(struct capnweb_call *call, const struct rpc_route *route)
{
    const char *mark = strchr(route->path, '%');
    char *segment;

    if (!mark)
        return route->path;
    segment = rpc_escape(call->arena, rpc_text(call, 0));
    return segment
               ? arena_printf(call->arena, "%.*s%s%s", (int)(mark - route->path), route->path, segment, mark + 1)
               : NULL;
}

/* --- the answer: JSON --- */

static void answer_json(struct rpc_exchange *x)
{
    struct capnweb_call *call = TAKE_PTR(x->call);
    const struct json *json;

    if (x->status >= 300) {
        capnweb_reject(call, rpc_error_of(call, x->status, buf_str(&x->answer)));
        return;
    }
    if (!x->route->result && x->answer.len >= LARGE && capnweb_resolve_text(call, &x->answer))
        return;
    if (json_parse(call->arena, buf_str(&x->answer), JSON_MAX_DEPTH, &json, NULL) < 0) {
        rpc_reject_internal(call, "The answer does not fit in memory");
        return;
    }
    buf_free(&x->answer);
    capnweb_resolve(call, x->route->result ? x->route->result(call, json) : CAPNWEB_THE_JSON(json));
}

/* --- the answer: a stream --- */

static void on_ready(struct capnweb_pipe *pipe, void *data)
{
    struct rpc_exchange *x = data;

    if (x->answer.len > 0) {
        bool room = capnweb_pipe_write(pipe, buf_head(&x->answer), x->answer.len);
        buf_free(&x->answer);
        if (!room)
            return;
    }
    if (x->http)
        http_call_resume(x->http);
}

/* Also when the peer wants no more, or is gone: closing the connection ends the producer. */
static void on_pipe_end(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data)
{
    struct rpc_exchange *x = data;

    (void)pipe;
    (void)reason;
    if (x->http)
        http_call_cancel(x->http);
    exchange_free(x);
}

static void begin_stream(struct rpc_exchange *x, const struct h1_head *head)
{
    static const struct capnweb_pipe_ops ops = { on_ready, on_pipe_end };
    struct capnweb_call *call = TAKE_PTR(x->call);
    struct capnweb_value stream;

    http_call_pause(x->http);
    x->pipe = capnweb_pipe_new(call->session, &ops, x);
    if (!x->pipe) {
        http_call_cancel(x->http);
        rpc_reject_internal(call, "out of memory");
        exchange_free(x);
        return;
    }
    stream = CAPNWEB_OF_PIPE(x->pipe);
    capnweb_resolve(call, x->stream_result ? x->stream_result(call, head, stream) : stream);
}

/* "data: {...}" and an empty line. */
static const struct json *first_event(struct rpc_exchange *x, struct arena *arena)
{
    struct str text = buf_str(&x->answer);
    const struct json *event = NULL;
    const char *end;

    if (!str_has_prefix(text, STR("data: ")))
        return NULL;
    text = (struct str){ text.p + 6, text.n - 6 };
    end = memchr(text.p, '\n', text.n);
    if (!end || json_parse(arena, (struct str){ text.p, (size_t)(end - text.p) }, JSON_MAX_DEPTH, &event, NULL) < 0)
        return NULL;
    return event;
}

static void reject_event(struct rpc_exchange *x, struct str message)
{
    struct capnweb_call *call = TAKE_PTR(x->call);
    bool missing = memmem(message.p, message.n, "not found", 9) != NULL;
    struct capnweb_value context;
    struct capnweb_member *members = rpc_object(call, 2, &context);

    if (members) {
        members[0] = (struct capnweb_member){ STR("path"), CAPNWEB_TEXT(rpc_text(call, 0)) };
        members[1] = (struct capnweb_member){ STR("operation"), CAPNWEB_TEXT(str_from(x->route->operation)) };
    }
    http_call_cancel(x->http);
    rpc_reject(call, missing ? STR("FILE_NOT_FOUND") : STR("FILESYSTEM_ERROR"), message, context);
    exchange_free(x);
}

static void look_at_first(struct rpc_exchange *x)
{
    const struct json *event = first_event(x, x->call->arena);
    const struct json *type = json_get(event, "type"), *error = json_get(event, "error");

    x->peeking = false;
    if (type && type->type == JSON_STRING && str_is(type->string, "error") && error && error->type == JSON_STRING)
        reject_event(x, error->string);
    else
        begin_stream(x, NULL);
}

/* --- HTTP --- */

static bool is_stream(const struct rpc_exchange *x, const struct h1_head *head)
{
    return head->status < 300 &&
           (x->stream_result || str_has_prefix(h1_header(head, "content-type"), STR("text/event-stream")));
}

static void on_head(struct http_call *http, const struct h1_head *head, void *data)
{
    struct rpc_exchange *x = data;

    (void)http;
    x->status = head->status;
    x->peeking = x->route->operation && is_stream(x, head);
    if (x->peeking)
        return;
    if (is_stream(x, head))
        begin_stream(x, head);
    else if (head->framing == H1_CONTENT_LENGTH && head->content_length <= ANSWER_MAX)
        buf_reserve(&x->answer, (size_t)head->content_length); /* in one piece if possible */
}

static void on_body(struct http_call *http, struct str piece, void *data)
{
    struct rpc_exchange *x = data;

    if (x->pipe) {
        if (!capnweb_pipe_write(x->pipe, piece.p, piece.n))
            http_call_pause(http);
    } else if (buf_append_str(&x->answer, piece) < 0) {
        http_call_cancel(http);
        rpc_reject_internal(x->call, "The answer is too large");
        exchange_free(x);
    } else if (x->peeking && memchr(piece.p, '\n', piece.n)) {
        look_at_first(x);
    }
}

static void on_end(struct http_call *http, const struct berm_error *err, void *data)
{
    struct rpc_exchange *x = data;

    (void)http;
    x->http = NULL;
    if (x->pipe) {
        if (err->code == BERM_OK)
            capnweb_pipe_close(x->pipe);
        else
            capnweb_pipe_abort(x->pipe, CAPNWEB_NOTHING);
        return;
    }
    if (err->code == BERM_OK)
        answer_json(x);
    else
        rpc_reject_internal(x->call, err->message);
    exchange_free(x);
}

/* --- starting --- */

bool rpc_exchange_admit(struct capnweb_call *call)
{
    if (rpc_agent(call)->rpc.exchanges < EXCHANGES_MAX)
        return true;
    rpc_reject(call, STR("RESOURCE_BUSY"), STR("Too many calls are under way at once"), CAPNWEB_NOTHING);
    return false;
}

static int start(struct rpc_exchange *x, const char *path, const struct buf *body, struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_end };
    static const struct http_field type = { "Content-Type", "application/json" };
    struct http_client *client = own_client(x->agent);

    if (!client)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
    x->http = http_call_start(client, x->route->method, path, &type, body ? 1 : 0, body ? body->len : 0, &callbacks,
                              x, err);
    if (!x->http)
        return -1;
    if (body) {
        http_call_write(x->http, buf_head(body), body->len);
        http_call_end_body(x->http);
    }
    return 0;
}

void rpc_exchange_start_with(struct capnweb_call *call, const struct rpc_route *route, const struct buf *body,
                             struct capnweb_value (*stream_result)(struct capnweb_call *call,
                                                                   const struct h1_head *head,
                                                                   struct capnweb_value stream))
{
    struct rpc_exchange *x;
    struct berm_error err = { .message = "out of memory" };
    const char *path = make_path(call, route);

    if (!rpc_exchange_admit(call))
        return;
    x = path ? calloc(1, sizeof(*x)) : NULL;
    if (!x) {
        rpc_reject_internal(call, "out of memory");
        return;
    }
    *x = (struct rpc_exchange){
        .agent = rpc_agent(call), .call = call, .route = route, .stream_result = stream_result
    };
    buf_init(&x->answer, ANSWER_MAX);
    x->agent->rpc.exchanges++;
    if (start(x, path, body, &err) < 0) {
        rpc_reject_internal(call, err.message);
        exchange_free(x);
    }
}

void rpc_exchange_start(struct capnweb_call *call, const struct rpc_route *route)
{
    struct buf body;

    buf_init(&body, BODY_MAX_);
    if (route->members && make_body(&body, call, route) < 0)
        rpc_reject_internal(call, "The arguments do not fit in memory");
    else
        rpc_exchange_start_with(call, route, route->members ? &body : NULL, NULL);
    buf_free(&body);
}
