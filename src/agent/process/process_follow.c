#include "process_follow.h"

#include "agent/agent.h"
#include "agent/child/limit.h"
#include "agent/http/event_stream.h"

#include <stdio.h>

#define PIECE       ((size_t)64 * 1024) /* of output in one event, before its escapes */
#define SPLIT_MAX   ((size_t)16 * 1024) /* lines that come together and are more than this stay together */
#define TURN_EVENTS 16                  /* pieces to one client before the others get their turn */

static const char *const stream_names[STREAM_COUNT] = { "stdout", "stderr" };

struct follower {
    struct event_stream stream;
    struct process_reader reader;
    enum follow_form form;
    uint64_t at[STREAM_COUNT];
    uint64_t bulk_until[STREAM_COUNT]; /* what was there when the client came */
    struct loop_deferred go_on;
};

static struct process *process_of(const struct follower *f)
{
    return f->reader.process;
}

static struct loop *loop_of(const struct follower *f)
{
    return process_of(f)->agent->loop;
}

static void free_follower(struct follower *f)
{
    loop_defer_cancel(loop_of(f), &f->go_on);
    event_stream_end(&f->stream);
    process_detach(&f->reader);
    free(f);
}

/* --- events --- */

static void put_id(struct follower *f, struct json_writer *w)
{
    if (f->form == FOLLOW_PROCESS)
        json_pair_cstring(w, "processId", process_of(f)->id);
}

static void put_output(struct follower *f, int stream, const char *p, size_t n)
{
    struct json_writer *w = event_stream_event(&f->stream, stream_names[stream]);

    json_pair_string(w, "data", (struct str){ p, n });
    put_id(f, w);
    f->at[stream] += n;
    if (f->form == FOLLOW_PROCESS)
        json_pair_int(w, "offset", (int64_t)f->at[stream]);
    event_stream_send_stamped(&f->stream);
}

static void put_truncated(struct follower *f, int stream, uint64_t bytes)
{
    struct json_writer *w = event_stream_event(&f->stream, "truncated");

    json_pair_cstring(w, "stream", stream_names[stream]);
    json_pair_int(w, "bytes", (int64_t)bytes);
    put_id(f, w);
    if (f->form == FOLLOW_PROCESS)
        json_pair_int(w, "offset", (int64_t)f->at[stream]);
    event_stream_send_stamped(&f->stream);
}

static void put_begin(struct follower *f)
{
    const struct process *process = process_of(f);
    struct json_writer *w = event_stream_event(&f->stream, f->form == FOLLOW_PROCESS ? "process_info" : "start");

    put_id(f, w);
    json_pair_string(w, "command", process->command);
    if (f->form == FOLLOW_CALL && process->session_id)
        json_pair_cstring(w, "sessionId", process->session_id);
    if (f->form == FOLLOW_CALL && process->pid > 0)
        json_pair_int(w, "pid", process->pid);
    if (f->form == FOLLOW_PROCESS)
        json_pair_cstring(w, "status", process_status_name(process->status));
    event_stream_send_stamped(&f->stream);
}

/* A client takes a missing code of a command for 0, so there is always one; a process that did not start has none.
 */
static void put_end(struct follower *f)
{
    const struct process *process = process_of(f);
    struct json_writer *w = event_stream_event(&f->stream, f->form == FOLLOW_PROCESS ? "exit" : "complete");
    char text[64];

    put_id(f, w);
    if (process->has_exit_code)
        json_pair_int(w, "exitCode", process->exit_code);
    else if (f->form != FOLLOW_PROCESS)
        json_pair_int(w, "exitCode", 1);
    if (f->form == FOLLOW_PROCESS) {
        if (process->has_exit_code)
            snprintf(text, sizeof(text), "Process %s with exit code %d", process_status_name(process->status),
                     process->exit_code);
        else
            snprintf(text, sizeof(text), "Process %s without an exit code", process_status_name(process->status));
        json_pair_cstring(w, "data", text);
    }
    if (process->usage)
        usage_put(w, process->usage);
    event_stream_send_stamped(&f->stream);
}

/* --- what of it goes into an event --- */

/*
 * How many of the `n` bytes go into one event. In a session the log holds whole lines, and only what is read in
 * pieces has to be cut; without one its end may be in the middle of a character.
 */
static size_t cut(const struct process *process, const char *p, size_t n, bool last)
{
    const char *newline;

    if (last && (process->by_lines || !process_running(process)))
        return n;
    newline = process->by_lines ? memrchr(p, '\n', n) : NULL;
    return newline ? (size_t)(newline - p) + 1 : n - utf8_incomplete_tail((struct str){ p, n });
}

static void put_lines(struct follower *f, int stream, const char *p, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(p, '\n', n);
        size_t line = newline ? (size_t)(newline - p) + 1 : n;
        put_output(f, stream, p, line);
        p += line;
        n -= line;
    }
}

static void skip_what_is_gone(struct follower *f, int stream)
{
    const struct byte_log *log = &process_of(f)->logs[stream];
    uint64_t missed = log->start - f->at[stream];

    f->at[stream] = log->start;
    put_truncated(f, stream, missed);
}

/* One event, or a few lines. False if there is nothing to send. */
static bool send_some(struct follower *f, int stream)
{
    static char room[PIECE];
    struct process *process = process_of(f);
    struct byte_log *log = &process->logs[stream];
    const char *p;
    size_t n;

    if (f->at[stream] < log->start)
        skip_what_is_gone(f, stream);
    if (f->at[stream] == log->end)
        return false;
    n = byte_log_read(log, f->at[stream], room, sizeof(room), &p);
    if (n == 0)
        return true; /* it cannot be read: now it is gone */
    n = cut(process, p, n, f->at[stream] + n == log->end);
    if (n == 0)
        return false;
    if (process->by_lines && n <= SPLIT_MAX && f->at[stream] >= f->bulk_until[stream])
        put_lines(f, stream, p, n);
    else
        put_output(f, stream, p, n);
    return true;
}

/* --- life --- */

static bool has_all(const struct follower *f)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        if (f->at[i] < process_of(f)->logs[i].end)
            return false;
    return true;
}

static void pump(struct follower *f)
{
    unsigned events = 0;
    bool more = true;

    while (more && !f->stream.blocked && events < TURN_EVENTS) {
        more = false;
        for (int i = 0; i < STREAM_COUNT && !f->stream.blocked; i++) {
            more = send_some(f, i) || more;
            events++;
        }
    }
    if (process_running(process_of(f)) || !has_all(f)) {
        if (more && !f->stream.blocked)
            loop_defer(loop_of(f), &f->go_on);
        return;
    }
    put_end(f);
    free_follower(f);
}

static void on_go_on(struct loop_deferred *deferred)
{
    pump(container_of(deferred, struct follower, go_on));
}

static void on_more(struct process_reader *reader)
{
    struct follower *f = container_of(reader, struct follower, reader);

    if (!f->stream.blocked)
        pump(f);
}

static void on_drain(struct event_stream *stream)
{
    pump(container_of(stream, struct follower, stream));
}

/* The process does not notice. One that is still to come finds out. */
static void on_gone(struct event_stream *stream)
{
    struct follower *f = container_of(stream, struct follower, stream);

    if (process_of(f))
        free_follower(f);
}

static struct follower *begin(struct request *rq)
{
    struct follower *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->stream.on_gone = on_gone;
    f->go_on.callback = on_go_on;
    event_stream_begin(&f->stream, rq);
    return f;
}

/* What has begun is in the request, which is nobody else's meanwhile. */
static struct follower *begun(struct request *rq)
{
    struct event_stream *stream = rq->data;

    return stream ? container_of(stream, struct follower, stream) : NULL;
}

bool process_follow_begin(struct request *rq)
{
    return begin(rq) != NULL;
}

enum follow_form process_follow_form(const struct request *rq)
{
    struct str form;

    return query_get(http_request(rq->ex)->query, "events", &form) && str_is(form, "named") ? FOLLOW_CALL
                                                                                            : FOLLOW_COMMAND;
}

void process_follow_fail(struct request *rq, struct str command, int exit_code)
{
    struct follower *f = begun(rq);
    struct json_writer *w;

    f->stream.named = rq->ex && process_follow_form(rq) == FOLLOW_CALL;
    w = event_stream_event(&f->stream, "start");
    json_pair_string(w, "command", command);
    event_stream_send_stamped(&f->stream);
    w = event_stream_event(&f->stream, "complete");
    json_pair_int(w, "exitCode", exit_code != 0 ? exit_code : 1);
    event_stream_send_stamped(&f->stream);
    event_stream_end(&f->stream);
    free(f);
}

void process_follow(struct request *rq, struct process *process, enum follow_form form,
                    const uint64_t from[STREAM_COUNT])
{
    struct follower *f = begun(rq) ? begun(rq) : begin(rq);

    if (!f) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    f->form = form;
    f->stream.named = form == FOLLOW_CALL;
    f->reader.on_more = on_more;
    f->stream.on_drain = on_drain;
    for (int i = 0; i < STREAM_COUNT; i++) {
        f->at[i] = MIN(from[i], process->logs[i].end);
        f->bulk_until[i] = process->logs[i].end;
    }
    process_attach(process, &f->reader);
    if (!event_stream_open(&f->stream)) {
        free_follower(f); /* the client left before there was a process */
        return;
    }
    put_begin(f);
    pump(f);
}
