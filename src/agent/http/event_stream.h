/*
 * event_stream.h - an answer of server-sent events in the form of the upstream control server: each event is one
 * line "data: {...}", its kind the JSON member "type". Used by every route of /api/ that streams.
 *
 * Theory of operation. The stream holds its request. Whoever feeds it stops when `blocked` is set (the client does
 * not read) and goes on when on_drain comes; events sent all the same are queued, so that a terminal event is never
 * lost. A stream that has been silent for a while (15 s) gets a comment line, which every parser of such streams
 * skips. When the client goes away on_gone comes, once; what was sent after that is dropped. Nothing of this ends
 * what the stream tells about.
 */
#pragma once

#include "base/loop.h"
#include "request.h"

#define KEEP_ALIVE_COMMENT ": keep-alive\n\n"

struct agent;

/* How many milliseconds a stream may still be silent that said its last word then; 0: it is time for the comment.
 */
uint64_t keep_alive_left(const struct agent *agent, uint64_t spoke_ms);

/* Where events are written, one at a time for all streams of the agent. Large ones give their memory back. */
struct event_writer {
    struct buf buf;
    struct json_writer w;
    struct loop_deferred release;
};

struct event_stream {
    struct request *rq; /* NULL when not open */
    bool blocked;
    bool began;        /* the head of the answer has been sent */
    bool named;        /* each event has its type in a line "event: ..." before it, too */
    uint64_t spoke_ms; /* when the last of it was sent */
    struct loop_timer keep_alive;
    void (*on_drain)(struct event_stream *stream); /* may be NULL */
    void (*on_gone)(struct event_stream *stream);  /* may be NULL; not after event_stream_end() */
};

/* Sends the head of the answer and takes the request's callbacks and its `data` over. Set the callbacks before. */
void event_stream_begin(struct event_stream *stream, struct request *rq);
/* The same, but the head waits for the first event, though not longer than `ms`: a short answer is one piece. */
void event_stream_begin_within(struct event_stream *stream, struct request *rq, uint64_t ms);

/* {"type":"<type>", and the caller's members up to event_stream_send(). Valid on a stream whose client is gone,
 * too. */
struct json_writer *event_stream_event(struct event_stream *stream, const char *type);
/* Ends and sends the event. Without memory the connection is cut: a hole must not look like none. */
void event_stream_send(struct event_stream *stream);
/* The same with the member "timestamp" at the end. */
void event_stream_send_stamped(struct event_stream *stream);

/* Ends the answer and releases the request. Idempotent; also closes a stream whose client is gone. */
void event_stream_end(struct event_stream *stream);
/* Whether there is anybody to write to. */
bool event_stream_open(const struct event_stream *stream);
