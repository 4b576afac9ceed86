#include "ws_transport.h"

#include "agent/agent.h"
#include "net/sse_parser.h"
#include "net/ws.h"
#include "own_client.h"
#include "routes.h"
#include "ws_message.h"

#include <stdio.h>

#define REQUESTS_MAX 1000               /* of one client at once */
#define ANSWER_MAX   ((size_t)1 << 30)  /* that is not a stream */
#define EVENT_MAX    ((size_t)64 << 20) /* of a stream */
#define ENVELOPE_MAX ((size_t)4096)     /* what is around an answer: names and the id */
#define ERROR_MAX    ((size_t)16 << 10)
#define LARGE        ((size_t)64 << 10) /* an answer that is not copied on its way out */
#define FIELDS_MAX   40
#define PATH_MAX_    ((size_t)32 << 10)

struct ws_request;

/* One client. */
struct ws_channel {
    struct ws_channel *prev, *next;
    struct agent *agent;
    struct ws *ws;
    struct ws_request *requests;
    unsigned count;
    bool blocked; /* the client does not read: its exchanges are paused */
};

/* One exchange. It outlives its client (`channel` is NULL then) unless it is a stream. */
struct ws_request {
    struct ws_request *prev, *next;
    struct ws_channel *channel;
    struct http_call *call;
    int status;
    bool streaming; /* its answer is of events */
    bool cancelled; /* before that was known */
    bool is_json;
    struct buf answer;
    struct sse_parser events;
    size_t id_n;
    char id[]; /* JSON text */
};

/* --- what we say --- */

static struct str id_of(const struct ws_request *request)
{
    return (struct str){ request->id, request->id_n };
}

static void heed(struct ws_channel *channel, bool room);
static void send_parts(struct ws_channel *channel, const struct str *parts, size_t count);

/* `"id":<id>,` if there is one. */
static void add_id(struct buf *out, struct str id)
{
    if (id.n > 0)
        buf_printf(out, "\"id\":%.*s,", (int)id.n, id.p);
}

/* `body` is JSON text; empty leaves it out. Its memory may be taken over, since it may be large. */
static void send_response(struct ws_channel *channel, struct str id, int status, struct buf *body)
{
    bool large = body->len >= LARGE;
    struct held_text *text = large ? held_text_new(body) : NULL;
    struct buf head;

    buf_init(&head, ENVELOPE_MAX);
    buf_printf(&head, "{\"type\":\"response\",");
    add_id(&head, id);
    buf_printf(&head, "\"status\":%d,%s", status, large || body->len > 0 ? "\"body\":" : "");
    if (text)
        heed(channel, ws_send_text(channel->ws, WS_TEXT, buf_str(&head), text, STR(",\"done\":true}")));
    else
        send_parts(channel,
                   (struct str[]){ buf_str(&head), buf_str(body),
                                   body->len > 0 ? STR(",\"done\":true}") : STR("\"done\":true}") },
                   3);
    held_text_unref(text);
    buf_free(&head);
}

static void send_error(struct ws_channel *channel, struct str id, const char *code, int status, const char *message)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, ERROR_MAX);
    buf_printf(&text, "{\"type\":\"error\",");
    add_id(&text, id);
    buf_printf(&text, "\"code\":\"%s\",\"status\":%d,\"message\":", code, status);
    json_writer_init(&w, &text);
    json_cstring(&w, message);
    send_parts(channel, (struct str[]){ buf_str(&text), STR("}") }, 2);
    buf_free(&text);
}

/* One event of a stream: `data` is any text, mostly JSON. */
static int send_event(struct ws_request *request, const struct sse_event *event)
{
    struct ws_channel *channel = request->channel;
    struct json_writer w;
    struct buf text;
    int rc;

    buf_init(&text, 6 * EVENT_MAX + ENVELOPE_MAX);
    buf_printf(&text, "{\"type\":\"stream\",");
    add_id(&text, id_of(request));
    if (!str_is(event->name, "message")) {
        buf_printf(&text, "\"event\":");
        json_writer_init(&w, &text);
        json_string(&w, event->name);
        buf_printf(&text, ",");
    }
    buf_printf(&text, "\"data\":");
    json_writer_init(&w, &text);
    json_string(&w, event->data);
    rc = json_writer_finish(&w);
    if (rc == 0)
        send_parts(channel, (struct str[]){ buf_str(&text), STR("}") }, 2);
    buf_free(&text);
    return rc;
}

/* --- back-pressure --- */

/* A client that does not take its answers is given no further ones to wait for, either. */
static void pause_all(struct ws_channel *channel)
{
    channel->blocked = true;
    ws_pause(channel->ws);
    for (struct ws_request *request = channel->requests; request; request = request->next)
        http_call_pause(request->call);
}

static void resume_all(struct ws_channel *channel)
{
    channel->blocked = false;
    ws_resume(channel->ws);
    for (struct ws_request *request = channel->requests; request; request = request->next)
        http_call_resume(request->call);
}

static void heed(struct ws_channel *channel, bool room)
{
    if (!room && !channel->blocked)
        pause_all(channel);
}

static void send_parts(struct ws_channel *channel, const struct str *parts, size_t count)
{
    heed(channel, ws_send_parts(channel->ws, WS_TEXT, parts, count));
}

/* --- one exchange --- */

static struct ws_request *request_new(struct ws_channel *channel, struct str id)
{
    struct ws_request *request = calloc(1, sizeof(*request) + id.n);

    if (!request)
        return NULL;
    request->channel = channel;
    request->id_n = id.n;
    if (id.n > 0)
        memcpy(request->id, id.p, id.n);
    buf_init(&request->answer, ANSWER_MAX);
    request->next = channel->requests;
    if (request->next)
        request->next->prev = request;
    channel->requests = request;
    channel->count++;
    return request;
}

static void request_unlink(struct ws_request *request)
{
    if (!request->channel)
        return;
    if (request->prev)
        request->prev->next = request->next;
    else
        request->channel->requests = request->next;
    if (request->next)
        request->next->prev = request->prev;
    request->channel->count--;
    request->channel = NULL;
}

static void request_free(struct ws_request *request)
{
    request_unlink(request);
    if (request->streaming)
        sse_parser_free(&request->events);
    buf_free(&request->answer);
    free(request);
}

/* A stream's end because its client wants no more of it. */
static void request_cancel(struct ws_request *request)
{
    http_call_cancel(request->call);
    buf_clear(&request->answer);
    if (request->channel)
        send_response(request->channel, id_of(request), 200, &request->answer);
    request_free(request);
}

static int on_event(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct ws_request *request = data;

    if (send_event(request, event) == 0)
        return 0;
    return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "pass an event on");
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct ws_request *request = data;
    struct str type = h1_header(head, "content-type");

    (void)call;
    request->status = head->status;
    request->is_json = str_has_prefix(type, STR("application/json"));
    if (!str_has_prefix(type, STR("text/event-stream"))) {
        if (head->framing == H1_CONTENT_LENGTH && head->content_length <= ANSWER_MAX && request->channel)
            buf_reserve(&request->answer, (size_t)head->content_length); /* in one piece if possible */
        return;
    }
    request->streaming = true;
    sse_parser_init(&request->events, EVENT_MAX, on_event, request);
    if (request->cancelled || !request->channel)
        request_cancel(request);
}

/* The answer cannot be passed on, or has broken off. */
static void request_fail(struct ws_request *request, const char *reason)
{
    if (request->channel)
        send_error(request->channel, id_of(request), request->streaming ? "STREAM_ERROR" : "INTERNAL_ERROR", 500,
                   reason);
    request_free(request);
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct ws_request *request = data;
    int rc = 0;

    if (!request->channel)
        return;
    if (request->streaming)
        rc = sse_parser_feed(&request->events, piece.p, piece.n, NULL);
    else if (request->is_json)
        rc = buf_append_str(&request->answer, piece);
    if (rc < 0) {
        http_call_cancel(call);
        request_fail(request, "The answer is too large");
    } else if (request->channel->blocked) {
        http_call_pause(call);
    }
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct ws_request *request = data;

    (void)call;
    if (err->code != BERM_OK) {
        request_fail(request, err->message);
        return;
    }
    if (request->channel)
        send_response(request->channel, id_of(request), request->streaming ? 200 : request->status,
                      &request->answer);
    request_free(request);
}

/* --- the request behind a message --- */

/* What frames a message or names its peer is not for clients to say. */
static bool field_allowed(struct str name)
{
    static const char *const refused[] = {
        "connection", "content-length",    "expect",  "host",         "keep-alive", "proxy-connection", "te",
        "trailer",    "transfer-encoding", "upgrade", "content-type",
    };

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (str_eq_nocase(name, str_from(refused[i])))
            return false;
    return true;
}

/* The strings among `headers`, behind the type of the body: how many fields. */
static size_t collect_fields(const struct json *headers, struct http_field fields[FIELDS_MAX])
{
    size_t count = 0;

    fields[count++] = (struct http_field){ "Content-Type", "application/json" };
    if (!headers || headers->type != JSON_OBJECT)
        return count;
    for (size_t i = 0; i < headers->object.count && count < FIELDS_MAX; i++) {
        const struct json_member *member = &headers->object.members[i];
        if (member->value.type == JSON_STRING && field_allowed(member->key))
            fields[count++] = (struct http_field){ member->key.p, member->value.string.p };
    }
    return count;
}

/* As a URL parser would have it: what may not be in a request target is escaped, a fragment is cut off. */
static char *target_of(struct arena *arena, struct str path)
{
    static const char digits[] = "0123456789ABCDEF";
    char *target = path.n <= PATH_MAX_ ? arena_alloc(arena, 3 * path.n + 1) : NULL;
    size_t n = 0;

    for (size_t i = 0; target && i < path.n && path.p[i] != '#'; i++) {
        uint8_t c = (uint8_t)path.p[i];
        if (c > ' ' && c < 0x7f && !strchr("\"<>`", c)) {
            target[n++] = (char)c;
        } else {
            target[n++] = '%';
            target[n++] = digits[c >> 4];
            target[n++] = digits[c & 15];
        }
    }
    if (target)
        target[n] = '\0';
    return target;
}

struct target {
    const char *method;
    const char *path;
    struct http_field fields[FIELDS_MAX];
    size_t field_count;
};

static const struct json *parse_part(struct arena *arena, struct str text)
{
    const struct json *value = NULL;

    return text.n > 0 && json_parse(arena, text, JSON_MAX_DEPTH, &value, NULL) == 0 ? value : NULL;
}

/* What is wrong with it, or NULL. */
static const char *read_target(struct arena *arena, const struct ws_message *message, struct target *ret)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "OPTIONS" };
    const struct json *method = parse_part(arena, message->method);
    const struct json *path = parse_part(arena, message->path);

    *ret = (struct target){ .method = message->method.n == 0 ? "GET" : NULL };
    for (size_t i = 0; method && method->type == JSON_STRING && i < ARRAY_SIZE(methods); i++)
        if (str_is(method->string, methods[i]))
            ret->method = methods[i];
    if (!ret->method)
        return "method must be one of GET, POST, PUT, DELETE and OPTIONS";
    if (!path || path->type != JSON_STRING || !str_has_prefix(path->string, STR("/")))
        return "path must be a string that begins with /";
    ret->path = target_of(arena, path->string);
    if (!ret->path)
        return "path is too long";
    ret->field_count = collect_fields(parse_part(arena, message->headers), ret->fields);
    return NULL;
}

static int start_call(struct ws_channel *channel, struct str id, const struct target *target, struct str body,
                      struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_end };
    struct http_client *client = own_client(channel->agent);
    struct ws_request *request = client ? request_new(channel, id) : NULL;

    if (!request)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
    request->call = http_call_start(client, target->method, target->path, target->fields, target->field_count,
                                    body.n, &callbacks, request, err);
    if (!request->call) {
        request_free(request);
        return -1;
    }
    if (body.n > 0) {
        http_call_write(request->call, body.p, body.n);
        http_call_end_body(request->call);
    }
    if (channel->blocked)
        http_call_pause(request->call);
    return 0;
}

static void start_request(struct ws_channel *channel, const struct ws_message *message)
{
    struct target target;
    struct berm_error err = { .code = BERM_OK };
    struct str body = message->body;
    const char *problem;
    struct arena arena;

    arena_init(&arena, (size_t)1 << 20);
    problem = channel->count >= REQUESTS_MAX ? "too many requests at once" : read_target(&arena, message, &target);
    if (!problem) {
        if (strcmp(target.method, "POST") != 0 && strcmp(target.method, "PUT") != 0)
            body = STR("");
        if (start_call(channel, message->id, &target, body, &err) < 0)
            problem = err.message;
    }
    if (problem)
        send_error(channel, message->id, "INTERNAL_ERROR", 500, problem);
    arena_free(&arena);
}

/* --- one client --- */

static void cancel(struct ws_channel *channel, struct str id)
{
    struct ws_request *next;

    for (struct ws_request *request = channel->requests; request; request = next) {
        next = request->next;
        if (!str_eq(id_of(request), id))
            continue;
        request->cancelled = true;
        if (request->streaming)
            request_cancel(request);
    }
}

static void on_message(struct ws *ws, enum ws_type type, struct str text, void *data)
{
    struct ws_channel *channel = data;
    struct ws_message message;
    enum ws_message_kind kind = WS_MESSAGE_BROKEN;

    (void)ws;
    if (type == WS_TEXT || utf8_valid(text))
        kind = ws_message_read(text, &message);
    switch (kind) {
    case WS_MESSAGE_BROKEN:
        send_error(channel, STR(""), "PARSE_ERROR", 400, "The message is not JSON");
        break;
    case WS_MESSAGE_UNKNOWN:
        send_error(channel, STR(""), "INVALID_REQUEST", 400, "The message is neither a request nor a cancel");
        break;
    case WS_MESSAGE_REQUEST:
        start_request(channel, &message);
        break;
    case WS_MESSAGE_CANCEL:
        cancel(channel, message.id);
        break;
    }
}

static void on_drain(struct ws *ws, void *data)
{
    struct ws_channel *channel = data;

    (void)ws;
    resume_all(channel);
}

static void channel_unlink(struct ws_channel *channel)
{
    if (channel->prev)
        channel->prev->next = channel->next;
    else
        channel->agent->ws_transport.channels = channel->next;
    if (channel->next)
        channel->next->prev = channel->prev;
}

static void on_close(struct ws *ws, int code, struct str reason, void *data)
{
    struct ws_channel *channel = data;
    struct ws_request *next;

    (void)ws;
    (void)code;
    (void)reason;
    for (struct ws_request *request = channel->requests; request; request = next) {
        next = request->next;
        request_unlink(request);
        if (request->streaming)
            request_cancel(request);
        else
            http_call_resume(request->call); /* to its end */
    }
    channel_unlink(channel);
    free(channel);
}

void handle_ws(struct request *rq)
{
    static const struct ws_callbacks callbacks = { .on_message = on_message,
                                                   .on_drain = on_drain,
                                                   .on_close = on_close };
    struct agent *agent = rq->agent;
    struct ws_channel *channel = calloc(1, sizeof(*channel));
    struct ws_config config;

    ws_config_default(&config);
    if (channel) {
        channel->agent = agent;
        channel->ws = ws_accept(agent->loop, rq->ex, &config, &callbacks, channel);
    }
    if (!channel || !channel->ws) {
        free(channel);
        reply_upgrade_failed(rq);
        return;
    }
    channel->next = agent->ws_transport.channels;
    if (channel->next)
        channel->next->prev = channel;
    agent->ws_transport.channels = channel;
}

void reply_upgrade_failed(struct request *rq)
{
    http_respond(rq->ex, 503, "text/plain", STR("WebSocket upgrade failed"));
}
