#include "daemon/api/request.h"

#include "base/log.h"
#include "base/recycle.h"
#include "daemon/api/proxy.h"

#include <endian.h>
#include <stdarg.h>

#define FIELDS_MAX    (H1_MAX_HEADERS + 4)
#define REQUESTS_KEPT 64 /* of some 5 KB each */

static struct recycled old_requests;

/* --- the end --- */

static void log_request(const struct request *request, bool complete, uint64_t us)
{
    char peer[64];

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    http_peer_name(request->exchange, peer, sizeof(peer));
    log_info("request", "id", request->id, "route", api_route_name(request->route_index), "status",
             request->status ? log_num(request->status) : "none", "complete", complete ? "true" : "false",
             "sandbox", request->sandbox_id.n ? request->sandbox_id.p : NULL, "in",
             log_num((long long)request->bytes_in), "out", log_num((long long)request->bytes_out), "us",
             log_num((long long)us), "peer", peer, "client",
             request->sender.forwarded ? request->sender.client : NULL);
}

static void count_request(const struct request *request, uint64_t us)
{
    struct metrics *metrics = &request->daemon->metrics;
    size_t status = (size_t)request->status / 100;

    metrics->requests[request->route_index][status < METRICS_STATUS_MAX ? status : 5]++;
    metrics->bytes_in += request->bytes_in;
    metrics->bytes_out += request->bytes_out;
    histogram_add(&metrics->latency[request->route_index], us);
}

static void free_request(struct loop_deferred *deferred)
{
    struct request *request = container_of(deferred, struct request, free_later);

    arena_free(&request->arena);
    recycled_give(&old_requests, request, REQUESTS_KEPT);
}

static void on_close(struct http_exchange *exchange, bool complete, void *data)
{
    struct request *request = data;
    uint64_t us = (clock_monotonic_ns() - request->started_ns) / 1000;

    (void)exchange;
    count_request(request, us);
    log_request(request, complete, us);
    request->exchange = NULL;
    list_remove(&request->stream);
    if (request->cleanup)
        request->cleanup(request);
    proxy_close(request);
    if (request->counted)
        request->daemon->requests_active--;
    if (request->waiting)
        lifecycle_cancel(request->daemon, &request->wait);
    request->waiting = false;
    if (request->in_use)
        lifecycle_end_use(request->in_use);
    agent_link_unref(request->link);
    sandbox_unref(request->sandbox);
    /* A handler may be on the stack. */
    loop_defer(request->daemon->loop, &request->free_later);
}

/* --- input --- */

static void on_body_end(struct http_exchange *exchange, void *data)
{
    struct request *request = data;

    request->bytes_in = http_body(exchange).n;
    if (request->on_body_end)
        request->on_body_end(request);
}

static void on_stream_body(struct http_exchange *exchange, struct str piece, void *data)
{
    struct request *request = data;

    (void)exchange;
    request->bytes_in += piece.n;
    if (request->on_body)
        request->on_body(request, piece);
}

static void on_stream_end(struct http_exchange *exchange, void *data)
{
    struct request *request = data;

    (void)exchange;
    if (request->on_body_end)
        request->on_body_end(request);
}

static void on_drain(struct http_exchange *exchange, void *data)
{
    struct request *request = data;

    (void)exchange;
    if (request->on_drained)
        request->on_drained(request);
    proxy_drained(request);
}

static const struct http_exchange_callbacks collecting = { .on_body_end = on_body_end,
                                                           .on_drain = on_drain,
                                                           .on_close = on_close };
static const struct http_exchange_callbacks streaming = {
    .on_body = on_stream_body, .on_body_end = on_stream_end, .on_drain = on_drain, .on_close = on_close
};

static void find_sender(struct request *request)
{
    struct sender_peer peer = sender_peer_of(request->exchange);

    sender_find(&request->daemon->proxies, &peer, request->head, &request->sender);
}

struct request *request_new(struct daemon *daemon, struct http_exchange *exchange, const struct h1_head *head)
{
    struct request *request = recycled_take(&old_requests, sizeof(*request));
    uint64_t number = htobe64(daemon->request_seed + daemon->next_request++);

    if (!request)
        return NULL;
    lifecycle_settle(daemon); /* whatever it asks about is in the store */
    memset(request, 0, offsetof(struct request, arena_room));
    request->daemon = daemon;
    request->exchange = exchange;
    request->head = head;
    find_sender(request);
    request->started_ns = clock_monotonic_ns();
    request->route_index = api_route_none();
    request->free_later.callback = free_request;
    arena_init_in(&request->arena, REQUEST_ARENA_MAX, request->arena_room, sizeof(request->arena_room));
    hex_encode(&number, sizeof(number), request->id);
    http_exchange_set(exchange, &collecting, request);
    return request;
}

void request_collect_body(struct request *request, size_t limit, void (*next)(struct request *request))
{
    request->on_body_end = next;
    http_collect_body(request->exchange, limit);
}

void request_stream_body(struct request *request)
{
    http_exchange_set(request->exchange, &streaming, request);
}

void request_is_stream(struct request *request, void (*on_stop)(struct request *request))
{
    request->on_stop = on_stop;
    list_append(&request->daemon->streams, &request->stream);
}

void api_stop_streams(struct daemon *daemon)
{
    struct list *node;

    while ((node = list_shift(&daemon->streams))) {
        struct request *request = container_of(node, struct request, stream);

        request->on_stop(request);
    }
}

int request_parse_json(struct request *request, const struct json **ret)
{
    struct str body = http_body(request->exchange);
    struct berm_error err;

    *ret = NULL;
    if (body.n == 0)
        return 0;
    if (json_parse(&request->arena, body, 64, ret, &err) == 0)
        return 0;
    request_fail_json(request, &err);
    return -1;
}

int request_query(struct request *request, const char *name, const char **ret)
{
    struct berm_error err;
    struct str raw;
    char *text;

    *ret = NULL;
    if (!query_get(request->head->query, name, &raw))
        return 0;
    text = arena_alloc(&request->arena, raw.n + 1);
    if (text && query_decode(raw, text, raw.n + 1) == 0) {
        *ret = text;
        return 0;
    }
    berm_fail_field(&err, name, "%s is not a valid query value", name);
    request_fail(request, &err);
    return -1;
}

/* "__DISABLE_SESSION__" means "no session" to the agent and cannot be a session's name. */
bool session_id_valid(struct str id)
{
    if (id.n == 0 || id.n > 128 || str_is(id, "__DISABLE_SESSION__"))
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';

        if (!plain && c != '.')
            return false;
        if (c == '.' && i > 0 && id.p[i - 1] == '.')
            return false;
    }
    return true;
}

int request_take_session(struct request *request)
{
    struct str id = h1_header(request->head, "Session-Id");

    if (!id.p)
        return 0;
    if (!session_id_valid(id)) {
        struct berm_error err;

        berm_fail_field(&err, "Session-Id", "Invalid session ID format");
        request_fail(request, &err);
        return -1;
    }
    request->session = arena_strdup(&request->arena, id);
    if (request->session)
        return 0;
    request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    return -1;
}

/* --- the sandbox --- */

struct sandbox *request_find_sandbox(struct request *request)
{
    return registry_find(&request->daemon->registry, request->sandbox_id);
}

static void take_sandbox(struct request *request, struct sandbox *sandbox)
{
    request->sandbox = sandbox_ref(sandbox);
    if (!sandbox->link)
        return;
    request->link = agent_link_ref(sandbox->link);
    request->in_use = sandbox;
    lifecycle_begin_use(sandbox);
}

static void on_sandbox(struct sandbox_wait *wait, struct sandbox *sandbox, const struct berm_error *err)
{
    struct request *request = container_of(wait, struct request, wait);

    request->waiting = false;
    if (!request->exchange)
        return;
    if (!sandbox) {
        request_fail(request, err);
        return;
    }
    take_sandbox(request, sandbox);
    request->next(request);
}

static void wait_for_sandbox(struct request *request, void (*next)(struct request *request))
{
    struct daemon *daemon = request->daemon;

    daemon->requests_active += !request->counted;
    daemon->last_request_ms = loop_now_ms(daemon->loop);
    request->counted = true;
    request->next = next;
    request->waiting = true;
    request->wait.id = request->sandbox_id.p;
    request->wait.done = on_sandbox;
    lifecycle_use(daemon, &request->wait);
}

void request_need_sandbox(struct request *request, void (*next)(struct request *request))
{
    http_watch_disconnect(request->exchange);
    wait_for_sandbox(request, next);
}

void request_need_agent(struct request *request, void (*next)(struct request *request))
{
    request->wait.asks_agent = true;
    request_need_sandbox(request, next);
}

void request_configure_sandbox(struct request *request, const struct sandbox_settings *settings,
                               void (*next)(struct request *request))
{
    request->wait.settings = settings;
    request->wait.configure = true;
    wait_for_sandbox(request, next);
}

static void on_adopted(struct sandbox_wait *wait)
{
    struct request *request = container_of(wait, struct request, wait);

    request->waiting = false;
    if (request->exchange)
        request->next(request);
}

void request_need_adoption(struct request *request, void (*next)(struct request *request))
{
    if (request->daemon->adopted) {
        next(request);
        return;
    }
    request->next = next;
    request->waiting = true;
    request->wait.id = "";
    request->wait.adopted = on_adopted;
    list_append(&request->daemon->adoption_waits, &request->wait.node);
}

/* --- answers --- */

void request_begin(struct request *request, int status, const struct http_field *fields, size_t count,
                   uint64_t length)
{
    struct http_field all[FIELDS_MAX];
    char generation[U64_TEXT];
    size_t n = 0;

    if (!request->exchange)
        return;
    lifecycle_settle(request->daemon);
    all[n++] = (struct http_field){ "Berm-Request-Id", request->id };
    if (request->link || request->sandbox) {
        int64_t number = request->link ? agent_link_generation(request->link) : request->sandbox->row.generation;

        all[n++] = (struct http_field){ "Berm-Generation", u64_text((uint64_t)number, generation).p };
    }
    for (size_t i = 0; i < count && n < FIELDS_MAX; i++)
        all[n++] = fields[i];
    request->status = status;
    http_respond_begin(request->exchange, status, all, n, length);
}

bool request_write(struct request *request, struct str bytes)
{
    if (!request->exchange)
        return true;
    request->bytes_out += bytes.n;
    return http_respond_write(request->exchange, bytes.p, bytes.n);
}

ssize_t request_splice(struct request *request, int from, size_t most)
{
    ssize_t n = http_respond_splice(request->exchange, from, most);

    if (n > 0)
        request->bytes_out += (uint64_t)n;
    return n;
}

void request_end(struct request *request)
{
    if (request->exchange)
        http_respond_end(request->exchange);
}

void request_respond(struct request *request, int status, const char *content_type, struct str body)
{
    struct http_field field = { "Content-Type", content_type };

    request_begin(request, status, &field, content_type != NULL, body.n);
    if (body.n)
        request_write(request, body);
    request_end(request);
}

void request_respond_empty(struct request *request, int status)
{
    request_respond(request, status, NULL, STR(""));
}

struct json_answer {
    struct json_writer writer;
    struct buf buf;
};

struct json_writer *request_json(struct request *request)
{
    struct json_answer *answer = arena_calloc(&request->arena, 1, sizeof(*answer));

    if (!answer) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return NULL;
    }
    buf_init(&answer->buf, REQUEST_ARENA_MAX);
    json_writer_init(&answer->writer, &answer->buf);
    return &answer->writer;
}

void request_respond_json(struct request *request, int status, struct json_writer *w)
{
    if (json_writer_finish(w) == 0)
        request_respond(request, status, "application/json", buf_str(w->out));
    else
        request_respond(request, 500, "application/json",
                        STR("{\"error\":\"the answer could not be written\",\"code\":\"internal_error\","
                            "\"context\":{}}"));
    buf_free(w->out);
}

void error_json(struct json_writer *w, const struct berm_error *err, const char *reason, const char *detail)
{
    json_object_begin(w);
    json_pair_cstring(w, "error", err->message);
    json_pair_cstring(w, "code", berm_err_wire(err->code));
    json_key(w, "context");
    json_object_begin(w);
    if (err->field[0])
        json_pair_cstring(w, "field", err->field);
    if (reason)
        json_pair_cstring(w, "reason", reason);
    if (detail)
        json_pair_cstring(w, "detail", detail);
    json_object_end(w);
    json_object_end(w);
}

static const char *reason_of(const struct request *request, const struct berm_error *err)
{
    if (err->code != BERM_E_SANDBOX_DIED || !request->link)
        return NULL;
    return end_reason_name(agent_link_reason(request->link));
}

static void respond_error(struct request *request, int status, const struct berm_error *err, const char *detail)
{
    struct json_writer w;
    struct buf body;

    if (!request->exchange || http_response_started(request->exchange))
        return;
    if (berm_err_status(err->code) >= 500)
        log_warn("request.failed", "id", request->id, "code", berm_err_wire(err->code), "error", err->message);
    buf_init(&body, 16 * 1024);
    json_writer_init(&w, &body);
    if (request->write_error)
        request->write_error(&w, err);
    else
        error_json(&w, err, reason_of(request, err), detail);
    request_respond_json(request, status, &w);
}

void request_fail_status(struct request *request, int status, const struct berm_error *err)
{
    respond_error(request, status, err, NULL);
}

void request_fail_json(struct request *request, const struct berm_error *why)
{
    struct berm_error err;

    berm_fail_field(&err, "body", "Invalid JSON body");
    respond_error(request, 400, &err, why->message);
}

void request_fail(struct request *request, const struct berm_error *err)
{
    request_fail_status(request, berm_err_status(err->code), err);
}

void request_fail_with(struct request *request, enum berm_err code, const char *format, ...)
{
    struct berm_error err;
    char message[sizeof(err.message)];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    berm_fail(&err, code, 0, "%s", message);
    request_fail(request, &err);
}
