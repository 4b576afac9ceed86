/*
 * process_logs.c - GET /api/process/{id}/logs: all output that is kept, in one JSON document. It is written piece
 * by piece as the client takes it, so that 100 MB of logs are never in memory.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "process_request.h"

#define PIECE     ((size_t)64 * 1024)
#define WHOLE_MAX ((uint64_t)64 * 1024)
#define OUT_MAX   ((size_t)64 * 1024 * 1024)

/*
 * Upstream takes eight milliseconds for a start, so clients read the logs of a short command at once after it and
 * expect what it has written. As we are quicker than most commands, a process this young gets the time to come to
 * its end before its logs are read.
 */
#define SETTLE_MS 100

static const char *const keys[STREAM_COUNT] = { "stdout", "stderr" };

struct logs_request {
    struct request *rq;
    struct process *process;
    struct process_waiter waiter; /* while it settles */
    struct loop_timer timer;
    struct buf out;
    struct json_writer w;
    int stream; /* that is being written */
    bool open;  /* inside its string */
    uint64_t at[STREAM_COUNT], end[STREAM_COUNT], missed[STREAM_COUNT];
};

static void free_logs(struct logs_request *logs)
{
    loop_timer_stop(logs->rq->agent->loop, &logs->timer);
    process_unwait(&logs->waiter);
    buf_free(&logs->out);
    process_unref(logs->process);
    request_unhold(logs->rq);
    free(logs);
}

/* --- the document --- */

/* One piece of the current stream. False at its end. */
static bool put_piece(struct logs_request *logs)
{
    static char room[PIECE];
    struct byte_log *log = &logs->process->logs[logs->stream];
    uint64_t *at = &logs->at[logs->stream], end = logs->end[logs->stream];
    const char *p;
    size_t n;

    if (*at < log->start) { /* what is read is overtaken by what is written */
        logs->missed[logs->stream] += MIN(log->start, end) - *at;
        *at = MIN(log->start, end);
    }
    if (*at >= end)
        return false;
    n = byte_log_read(log, *at, room, (size_t)MIN(end - *at, (uint64_t)sizeof(room)), &p);
    json_string_part(&logs->w, (struct str){ p, n });
    *at += n;
    return true; /* n == 0: now it is gone, and the next call says so */
}

static void put_stream_end(struct logs_request *logs)
{
    json_string_end(&logs->w);
    logs->open = false;
    logs->stream++;
}

static void put_head(struct logs_request *logs)
{
    json_writer_init(&logs->w, &logs->out);
    json_object_begin(&logs->w);
    json_pair_bool(&logs->w, "success", true);
    json_pair_cstring(&logs->w, "processId", logs->process->id);
}

/* What only clients that know of it look for: where to go on reading, and what is not there any more. */
static void put_tail(struct logs_request *logs)
{
    json_pair_int(&logs->w, "stdoutOffset", (int64_t)logs->end[STREAM_STDOUT]);
    json_pair_int(&logs->w, "stderrOffset", (int64_t)logs->end[STREAM_STDERR]);
    if (logs->missed[STREAM_STDOUT] > 0)
        json_pair_int(&logs->w, "stdoutTruncated", (int64_t)logs->missed[STREAM_STDOUT]);
    if (logs->missed[STREAM_STDERR] > 0)
        json_pair_int(&logs->w, "stderrTruncated", (int64_t)logs->missed[STREAM_STDERR]);
    json_pair_timestamp(&logs->w);
    json_object_end(&logs->w);
}

/* False: the client takes no more at the moment. */
static bool emit(struct logs_request *logs, bool whole)
{
    bool more = true;

    if (!whole && logs->out.len >= PIECE) {
        more = http_respond_write(logs->rq->ex, buf_head(&logs->out), logs->out.len);
        buf_clear(&logs->out);
    }
    return more && !logs->w.failed;
}

/* True when all is in the document. */
static bool write_streams(struct logs_request *logs, bool whole)
{
    while (logs->stream < STREAM_COUNT) {
        if (!logs->open) {
            json_key(&logs->w, keys[logs->stream]);
            json_string_begin(&logs->w);
            logs->open = true;
        }
        while (put_piece(logs))
            if (!emit(logs, whole))
                return false;
        put_stream_end(logs);
    }
    put_tail(logs);
    return true;
}

static void send_whole(struct logs_request *logs)
{
    write_streams(logs, true);
    if (json_writer_finish(&logs->w) < 0)
        reply_error(logs->rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "The answer does not fit in memory");
    else
        http_respond(logs->rq->ex, 200, "application/json", buf_str(&logs->out));
    free_logs(logs);
}

static void go_on(struct request *rq)
{
    struct logs_request *logs = rq->data;
    bool complete = write_streams(logs, false);

    if (logs->w.failed) {
        http_exchange_abort(rq->ex); /* the text must not look complete */
        return;
    }
    if (!complete)
        return;
    rq->on_drain = NULL;
    http_respond_write(rq->ex, buf_head(&logs->out), logs->out.len);
    http_respond_end(rq->ex);
}

static void on_gone(struct request *rq, bool complete)
{
    (void)complete;
    free_logs(rq->data);
}

static void send_in_pieces(struct logs_request *logs)
{
    static const struct http_field json = { "Content-Type", "application/json" };
    struct request *rq = logs->rq;

    rq->data = logs;
    rq->on_drain = go_on;
    rq->on_gone = on_gone;
    http_respond_begin(rq->ex, 200, &json, 1, HTTP_CHUNKED);
    go_on(rq);
}

static void answer(struct logs_request *logs)
{
    uint64_t total = 0;

    process_unwait(&logs->waiter);
    loop_timer_stop(logs->rq->agent->loop, &logs->timer);
    for (int i = 0; i < STREAM_COUNT; i++) {
        logs->end[i] = logs->process->logs[i].end;
        logs->at[i] = MIN(logs->at[i], logs->end[i]);
        total += logs->end[i] - logs->at[i];
    }
    put_head(logs);
    if (!logs->rq->ex)
        free_logs(logs);
    else if (total <= WHOLE_MAX)
        send_whole(logs);
    else
        send_in_pieces(logs);
}

/* --- waiting a moment --- */

static void on_end(struct process_waiter *waiter)
{
    answer(container_of(waiter, struct logs_request, waiter));
}

static void on_timer(struct loop_timer *timer)
{
    answer(container_of(timer, struct logs_request, timer));
}

static bool settles(struct logs_request *logs)
{
    const struct process *process = logs->process;
    struct loop *loop = process->agent->loop;
    uint64_t age = loop_now_ms(loop) - process->start_tick_ms;

    return process_running(process) && age < SETTLE_MS &&
           loop_timer_start(loop, &logs->timer, SETTLE_MS - age) == 0;
}

void handle_process_logs(struct request *rq)
{
    struct process *process = process_requested(rq);
    struct logs_request *logs;
    uint64_t from[STREAM_COUNT];

    if (!process || !process_requested_offsets(rq, from))
        return;
    logs = calloc(1, sizeof(*logs));
    if (!logs) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    logs->rq = request_hold(rq);
    logs->process = process_ref(process);
    logs->waiter.on_end = on_end;
    memcpy(logs->at, from, sizeof(from));
    loop_timer_init(&logs->timer, on_timer);
    buf_init(&logs->out, OUT_MAX);
    if (settles(logs))
        process_wait(process, &logs->waiter);
    else
        answer(logs);
}
