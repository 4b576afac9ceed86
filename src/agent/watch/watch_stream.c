/* watch_stream.c - POST /api/watch: one subscriber of a watch. */
#include "agent/agent.h"
#include "agent/http/event_stream.h"
#include "agent/http/routes.h"
#include "base/sys.h"
#include "watch_request.h"

#define WINDOW_MS     75
#define PENDING_MAX   1000
#define PENDING_BYTES ((size_t)4 * 1024 * 1024)

/* Equal events within a window are one: the place of the first, the time of the last. */
struct pending {
    struct hash_node hash;
    struct pending *next;
    enum watch_kind kind;
    bool directory;
    int64_t time_ms;
    size_t n;
    char path[];
};

struct watch_stream {
    struct event_stream stream;
    struct watch_user user;
    struct agent *agent;
    struct loop_timer window;
    struct hash_table by_key;
    struct pending *first, **tail;
    size_t bytes;
    bool lost;
};

static void clear_pending(struct watch_stream *ws)
{
    while (ws->first) {
        struct pending *pending = ws->first;
        ws->first = pending->next;
        free(pending);
    }
    ws->tail = &ws->first;
    ws->bytes = 0;
    hash_free(&ws->by_key);
}

static void finish(struct watch_stream *ws)
{
    watch_leave(&ws->user);
    loop_timer_stop(ws->agent->loop, &ws->window);
    event_stream_end(&ws->stream);
    clear_pending(ws);
    free(ws);
}

/* --- sending --- */

static void send_event(struct watch_stream *ws, const struct pending *pending)
{
    struct json_writer *w = event_stream_event(&ws->stream, "event");
    char stamp[25];

    format_timestamp(pending->time_ms, stamp);
    json_pair_cstring(w, "eventType", watch_kind_names[pending->kind]);
    json_pair_string(w, "path", (struct str){ pending->path, pending->n });
    json_pair_bool(w, "isDirectory", pending->directory);
    json_pair_cstring(w, "timestamp", stamp);
    event_stream_send(&ws->stream);
}

static void flush(struct watch_stream *ws)
{
    for (const struct pending *pending = ws->first; pending; pending = pending->next)
        send_event(ws, pending);
    clear_pending(ws);
    if (!ws->lost)
        return;
    ws->lost = false;
    json_pair_cstring(event_stream_event(&ws->stream, "resync"), "reason", "overflow");
    event_stream_send_stamped(&ws->stream);
}

static void on_window(struct loop_timer *timer)
{
    struct watch_stream *ws = container_of(timer, struct watch_stream, window);

    if (!ws->stream.blocked)
        flush(ws);
}

static void on_drain(struct event_stream *stream)
{
    struct watch_stream *ws = container_of(stream, struct watch_stream, stream);

    if (!loop_timer_armed(&ws->window))
        flush(ws);
}

static void on_gone(struct event_stream *stream)
{
    finish(container_of(stream, struct watch_stream, stream));
}

static void open_window(struct watch_stream *ws)
{
    if (!loop_timer_armed(&ws->window) && !ws->stream.blocked &&
        loop_timer_start(ws->agent->loop, &ws->window, WINDOW_MS) < 0)
        flush(ws);
}

/* --- what the watch tells --- */

static void on_ready(struct watch_user *user)
{
    struct watch_stream *ws = container_of(user, struct watch_stream, user);
    struct json_writer *w = event_stream_event(&ws->stream, "watching");

    json_pair_cstring(w, "path", watch_path(user->watch));
    json_pair_cstring(w, "watchId", watch_id(user->watch));
    event_stream_send(&ws->stream);
}

static struct pending *find_pending(const struct watch_stream *ws, const struct pending *like, struct str path)
{
    for (struct hash_node *node = hash_chain(&ws->by_key, like->hash.hash); node; node = node->next) {
        struct pending *pending = container_of(node, struct pending, hash);
        if (node->hash == like->hash.hash && pending->kind == like->kind && pending->directory == like->directory &&
            str_eq((struct str){ pending->path, pending->n }, path))
            return pending;
    }
    return NULL;
}

static bool add_pending(struct watch_stream *ws, const struct pending *like, struct str path)
{
    struct pending *pending;

    if (ws->by_key.count >= PENDING_MAX || ws->bytes + path.n > PENDING_BYTES)
        return false;
    pending = malloc(sizeof(*pending) + path.n);
    if (!pending)
        return false;
    *pending = *like;
    pending->n = path.n;
    memcpy(pending->path, path.p, path.n);
    if (hash_insert(&ws->by_key, &pending->hash, like->hash.hash) < 0) {
        free(pending);
        return false;
    }
    *ws->tail = pending;
    ws->tail = &pending->next;
    ws->bytes += path.n;
    return true;
}

static void on_event(struct watch_user *user, enum watch_kind kind, struct str path, bool directory)
{
    struct watch_stream *ws = container_of(user, struct watch_stream, user);
    struct pending like = { .kind = kind, .directory = directory, .time_ms = clock_realtime_ms() };
    struct pending *same;

    like.hash.hash = hash_text(path) ^ hash_number((uint64_t)kind * 2 + directory);
    same = find_pending(ws, &like, path);
    if (same)
        same->time_ms = like.time_ms;
    else if (!add_pending(ws, &like, path))
        ws->lost = true;
    open_window(ws);
}

static void on_lost(struct watch_user *user)
{
    struct watch_stream *ws = container_of(user, struct watch_stream, user);

    ws->lost = true;
    open_window(ws);
}

static void on_end(struct watch_user *user, const char *reason, bool failed)
{
    struct watch_stream *ws = container_of(user, struct watch_stream, user);

    flush(ws);
    json_pair_cstring(event_stream_event(&ws->stream, failed ? "error" : "stopped"), failed ? "error" : "reason",
                      reason);
    event_stream_send(&ws->stream);
    finish(ws);
}

/* --- the start --- */

void handle_watch(struct request *rq)
{
    struct watch_spec spec;
    struct watch_stream *ws;
    struct berm_error err;
    bool created;

    if (!watch_request_decode(rq, &spec))
        return;
    ws = calloc(1, sizeof(*ws));
    if (!ws) {
        watch_request_failed(rq, spec.path, "out of memory");
        return;
    }
    ws->agent = rq->agent;
    ws->tail = &ws->first;
    ws->user = (struct watch_user){
        .live = true, .on_ready = on_ready, .on_event = on_event, .on_lost = on_lost, .on_end = on_end
    };
    ws->stream.on_drain = on_drain;
    ws->stream.on_gone = on_gone;
    loop_timer_init(&ws->window, on_window);
    if (watch_join(rq->agent, &spec, &ws->user, &created, &err) < 0) {
        watch_request_failed(rq, spec.path, err.message);
        free(ws);
        return;
    }
    event_stream_begin(&ws->stream, rq);
    if (watch_is_ready(ws->user.watch))
        on_ready(&ws->user);
}
