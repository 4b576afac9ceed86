#include "event_stream.h"

#include "agent/agent.h"

#define EVENT_MAX   ((size_t)1024 * 1024 * 1024)
#define WRITER_KEEP ((size_t)4096)

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

static void send_head(struct event_stream *stream)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };

    if (stream->began)
        return;
    stream->began = true;
    stream->spoke_ms = loop_now_ms(stream->rq->agent->loop);
    http_respond_begin(stream->rq->ex, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
}

static void put(struct event_stream *stream, struct str bytes)
{
    send_head(stream);
    stream->spoke_ms = loop_now_ms(stream->rq->agent->loop);
    if (!http_respond_write(stream->rq->ex, bytes.p, bytes.n))
        stream->blocked = true;
}

uint64_t keep_alive_left(const struct agent *agent, uint64_t spoke_ms)
{
    uint64_t silent_ms = loop_now_ms(agent->loop) - spoke_ms;

    return silent_ms < agent->keep_alive_ms ? agent->keep_alive_ms - silent_ms : 0;
}

static void on_keep_alive(struct loop_timer *timer)
{
    struct event_stream *stream = container_of(timer, struct event_stream, keep_alive);
    struct agent *agent = stream->rq->agent;
    uint64_t left_ms = stream->began ? keep_alive_left(agent, stream->spoke_ms) : agent->keep_alive_ms;

    if (!stream->began)
        send_head(stream);
    else if (left_ms == 0 && !stream->blocked)
        put(stream, STR(KEEP_ALIVE_COMMENT));
    /* Without memory for the timer there is no more of this; the stream itself goes on. */
    (void)loop_timer_start(agent->loop, timer, left_ms > 0 ? left_ms : agent->keep_alive_ms);
}

void event_stream_begin_within(struct event_stream *stream, struct request *rq, uint64_t ms)
{
    stream->rq = request_hold(rq);
    stream->blocked = stream->began = false;
    loop_timer_init(&stream->keep_alive, on_keep_alive);
    rq->data = stream;
    rq->on_drain = on_request_drain;
    rq->on_gone = on_request_gone;
    if (!rq->ex)
        return;
    if (ms == 0 || loop_timer_start(rq->agent->loop, &stream->keep_alive, ms) < 0)
        on_keep_alive(&stream->keep_alive);
    http_watch_disconnect(rq->ex);
}

void event_stream_begin(struct event_stream *stream, struct request *rq)
{
    event_stream_begin_within(stream, rq, 0);
}

/* At the end of the turn: events in a row do not take and give back their memory each. */
static void release_writer(struct loop_deferred *deferred)
{
    struct event_writer *writer = container_of(deferred, struct event_writer, release);

    if (writer->buf.cap > WRITER_KEEP)
        buf_free(&writer->buf);
}

struct json_writer *event_stream_event(struct event_stream *stream, const char *type)
{
    struct event_writer *writer = &stream->rq->agent->events;

    if (writer->buf.max == 0) {
        buf_init(&writer->buf, EVENT_MAX);
        writer->release.callback = release_writer;
    }
    buf_clear(&writer->buf);
    json_writer_init(&writer->w, &writer->buf);
    if (stream->named)
        buf_printf(&writer->buf, "event: %s\n", type);
    writer->w.failed = buf_append_str(&writer->buf, STR("data: ")) < 0;
    json_object_begin(&writer->w);
    json_pair_cstring(&writer->w, "type", type);
    return &writer->w;
}

void event_stream_send(struct event_stream *stream)
{
    struct event_writer *writer = &stream->rq->agent->events;

    json_object_end(&writer->w);
    if (event_stream_open(stream)) {
        /* The writer escapes newlines, so the document is one line. */
        if (json_writer_finish(&writer->w) < 0 || buf_append_str(&writer->buf, STR("\n\n")) < 0)
            http_exchange_abort(stream->rq->ex);
        else
            put(stream, buf_str(&writer->buf));
    }
    loop_defer(stream->rq->agent->loop, &writer->release);
}

void event_stream_send_stamped(struct event_stream *stream)
{
    json_pair_timestamp(&stream->rq->agent->events.w);
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
    if (rq->ex && stream->began)
        http_respond_end(rq->ex);
    request_unhold(rq);
}

bool event_stream_open(const struct event_stream *stream)
{
    return stream->rq && stream->rq->ex;
}
