/*
 * events.c - the life of sandboxes: GET /v1/sandbox/{id}/events as a list, or as a stream for clients that accept
 * one; GET /v1/events as a stream of all. A stream of one sandbox goes on behind Last-Event-ID and ends with the
 * sandbox; it keeps nothing awake.
 */
#include "daemon/api/api.h"
#include "daemon/event_feed.h"
#include "net/sse.h"

#include "base/sys.h"

#define KEEP_ALIVE_MS 15000
#define QUEUE_MAX     ((size_t)1 << 20) /* of a client that does not read */
#define LISTENERS_MAX 512

struct events_stream {
    struct feed_listener listener;
    struct request *request;
    struct loop_timer keep_alive;
    int64_t after; /* the number of the last event that the client has */
    bool failed;
};

static void write_event(struct json_writer *w, const char *sandbox, const struct store_event *event)
{
    char time[25];

    format_timestamp(event->time_ms, time);
    json_object_begin(w);
    if (sandbox)
        json_pair_cstring(w, "sandbox", sandbox);
    json_pair_int(w, "number", event->number);
    json_pair_cstring(w, "time", time);
    json_pair_cstring(w, "event", event->event);
    json_pair_cstring(w, "reason", event->reason[0] ? event->reason : NULL);
    json_pair_cstring(w, "detail", event->detail[0] ? event->detail : NULL);
    json_pair_int(w, "generation", event->generation);
    json_object_end(w);
}

/* The sandbox, as request->sandbox. NULL: answered. */
static struct sandbox *take_sandbox(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);

    if (!sandbox) {
        request_fail_with(request, BERM_E_SANDBOX_NOT_FOUND, "there is no sandbox %s", request->sandbox_id.p);
        return NULL;
    }
    request->sandbox = sandbox_ref(sandbox);
    if (!request->wait.if_generation || request->wait.if_generation == sandbox->row.generation)
        return sandbox;
    request_fail_with(request, BERM_E_STALE_GENERATION, "generation %lld does not run",
                      (long long)request->wait.if_generation);
    return NULL;
}

/* --- the list --- */

static int list_event(const struct store_event *event, void *data)
{
    write_event(data, NULL, event);
    return 0;
}

static void list_events(struct request *request)
{
    struct sandbox *sandbox = take_sandbox(request);
    struct json_writer *w = sandbox ? request_json(request) : NULL;
    struct berm_error err;

    if (!w)
        return;
    json_object_begin(w);
    json_key(w, "events");
    json_array_begin(w);
    if (store_each_event(request->daemon->store, sandbox->row.seq, list_event, w, &err) < 0) {
        buf_free(w->out);
        request_fail(request, &err);
        return;
    }
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* --- the stream --- */

static void send_event(struct events_stream *stream, const char *sandbox, const struct store_event *event)
{
    struct request *request = stream->request;
    struct buf document, text;
    struct json_writer w;

    if (!request->exchange || stream->failed)
        return;
    buf_init(&document, 4096);
    buf_init(&text, 8192);
    json_writer_init(&w, &document);
    write_event(&w, sandbox, event);
    stream->failed = json_writer_finish(&w) < 0 ||
                     (request->sandbox_id.n && buf_printf(&text, "id: %lld\n", (long long)event->number) < 0) ||
                     sse_append(&text, NULL, buf_str(&document)) < 0 ||
                     http_respond_queued(request->exchange) > QUEUE_MAX;
    if (stream->failed) /* a client that comes back tells what it has */
        http_exchange_abort(request->exchange);
    else
        request_write(request, buf_str(&text));
    buf_free(&document);
    buf_free(&text);
}

static void on_event(struct feed_listener *listener, const struct sandbox *sandbox, const struct store_event *event)
{
    struct events_stream *stream = container_of(listener, struct events_stream, listener);
    struct request *request = stream->request;

    if (request->sandbox_id.n && request->sandbox != sandbox)
        return;
    send_event(stream, sandbox ? sandbox->row.id : NULL, event);
    if (request->sandbox_id.n && sandbox->state == SANDBOX_DESTROYED && !stream->failed)
        request_end(request);
}

static int replay(const struct store_event *event, void *data)
{
    struct events_stream *stream = data;

    if (event->number > stream->after)
        send_event(stream, stream->request->sandbox->row.id, event);
    return 0;
}

static void on_keep_alive(struct loop_timer *timer)
{
    struct events_stream *stream = container_of(timer, struct events_stream, keep_alive);

    request_write(stream->request, STR(":\n\n"));
    loop_timer_start(stream->request->daemon->loop, timer, KEEP_ALIVE_MS);
}

static void on_daemon_end(struct feed_listener *listener)
{
    request_end(container_of(listener, struct events_stream, listener)->request);
}

static void close_stream(struct request *request)
{
    struct events_stream *stream = request->state;

    loop_timer_stop(request->daemon->loop, &stream->keep_alive);
    if (list_linked(&stream->listener.node))
        request->daemon->event_listener_count--;
    list_remove(&stream->listener.node);
}

/* -1: answered. */
static int take_last_id(struct request *request, int64_t *ret)
{
    struct str text = h1_header(request->head, "Last-Event-ID");
    struct berm_error err;
    uint64_t value;

    *ret = INT64_MAX;
    if (!text.p || !request->sandbox_id.n)
        return 0;
    if (str_to_u64(text, &value) < 0 || value > INT64_MAX) {
        berm_fail_field(&err, "Last-Event-ID", "Last-Event-ID must be the number of an event");
        request_fail(request, &err);
        return -1;
    }
    *ret = (int64_t)value;
    return 0;
}

static void start_stream(struct request *request)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };
    struct events_stream *stream = arena_calloc(&request->arena, 1, sizeof(*stream));
    struct daemon *daemon = request->daemon;

    if (!stream) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    if (take_last_id(request, &stream->after) < 0)
        return;
    if (daemon->event_listener_count == LISTENERS_MAX) {
        request_fail_with(request, BERM_E_CAPACITY_EXCEEDED, "too many clients follow events");
        return;
    }
    stream->request = request;
    stream->listener.tell = on_event;
    stream->listener.end = on_daemon_end;
    loop_timer_init(&stream->keep_alive, on_keep_alive);
    request->state = stream;
    request->cleanup = close_stream;
    list_append(&daemon->event_listeners, &stream->listener.node);
    daemon->event_listener_count++;
    http_watch_disconnect(request->exchange);
    request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    request_write(request, STR(":\n\n")); /* the client knows that nothing is missed from here on */
    if (request->sandbox)
        store_each_event(daemon->store, request->sandbox->row.seq, replay, stream, NULL);
    loop_timer_start(daemon->loop, &stream->keep_alive, KEEP_ALIVE_MS);
}

static void follow_one(struct request *request)
{
    if (take_sandbox(request))
        start_stream(request);
}

static bool wants_stream(const struct request *request)
{
    struct str accept = h1_header(request->head, "Accept");

    return accept.n && memmem(accept.p, accept.n, "text/event-stream", strlen("text/event-stream"));
}

void api_sandbox_events(struct request *request)
{
    request_need_adoption(request, wants_stream(request) ? follow_one : list_events);
}

void api_events(struct request *request)
{
    request_need_adoption(request, start_stream);
}
