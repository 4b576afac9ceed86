#include "event_stream.h"

#include "agent.h"

#define KEEP_ALIVE_MS 15000
#define EVENT_MAX     ((size_t)1024 * 1024 * 1024)

static void on_request_drain(struct request *rq)
{
    struct event_stream *stream = rq->data;

    stream->blocked = false;
    if (stream->on_drain)
        stream->on_drain(stream);
}

static void on_request_gone(struct request *rq, bool complete)
{
    struct event_stream *stream = rq->data;

    if (complete || !stream)
        return;
    loop_timer_stop(rq->agent->loop, &stream->keep_alive);
    stream->blocked = false;
    if (stream->on_gone)
        stream->on_gone(stream);
}

static void put(struct event_stream *stream, struct str bytes)
{
    stream->spoke = true;
    if (!http_respond_write(stream->rq->ex, bytes.p, bytes.n))
        stream->blocked = true;
}

static void on_keep_alive(struct loop_timer *timer)
{
    struct event_stream *stream = container_of(timer, struct event_stream, keep_alive);

    if (!stream->spoke && !stream->blocked)
        put(stream, STR(": keep-alive\n\n"));
    stream->spoke = false;
    /* Without memory for the timer there is no more of this; the stream itself goes on. */
    (void)loop_timer_start(stream->rq->agent->loop, timer, KEEP_ALIVE_MS);
}

void event_stream_begin(struct event_stream *stream, struct request *rq)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };

    stream->rq = request_hold(rq);
    stream->blocked = stream->spoke = false;
    loop_timer_init(&stream->keep_alive, on_keep_alive);
    rq->data = stream;
    rq->on_drain = on_request_drain;
    rq->on_gone = on_request_gone;
    if (!rq->ex)
        return;
    http_respond_begin(rq->ex, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    http_watch_disconnect(rq->ex);
    (void)loop_timer_start(rq->agent->loop, &stream->keep_alive, KEEP_ALIVE_MS);
}

struct json_writer *event_stream_event(struct event_stream *stream, const char *type)
{
    buf_init(&stream->event.buf, EVENT_MAX);
    json_writer_init(&stream->event.w, &stream->event.buf);
    stream->event.w.failed = buf_append_str(&stream->event.buf, STR("data: ")) < 0;
    json_object_begin(&stream->event.w);
    json_pair_cstring(&stream->event.w, "type", type);
    return &stream->event.w;
}

void event_stream_send(struct event_stream *stream)
{
    struct buf *event = &stream->event.buf;

    json_object_end(&stream->event.w);
    if (event_stream_open(stream)) {
        /* The writer escapes newlines, so the document is one line. */
        if (json_writer_finish(&stream->event.w) < 0 || buf_append_str(event, STR("\n\n")) < 0)
            http_exchange_abort(stream->rq->ex);
        else
            put(stream, buf_str(event));
    }
    buf_free(event);
}

void event_stream_send_stamped(struct event_stream *stream)
{
    json_pair_timestamp(&stream->event.w);
    event_stream_send(stream);
}

void event_stream_end(struct event_stream *stream)
{
    struct request *rq = TAKE_PTR(stream->rq);

    if (!rq)
        return;
    loop_timer_stop(rq->agent->loop, &stream->keep_alive);
    rq->on_drain = NULL;
    rq->on_gone = NULL;
    rq->data = NULL;
    if (rq->ex)
        http_respond_end(rq->ex);
    request_unhold(rq);
}

bool event_stream_open(const struct event_stream *stream)
{
    return stream->rq && stream->rq->ex;
}
