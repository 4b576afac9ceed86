#include "command_log.h"

#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"

#include <arpa/inet.h>
#include <endian.h>

#define RECORD_HEAD 16
#define LAST_MS     2000

static size_t record_size(const struct buf *records)
{
    uint32_t length;

    memcpy(&length, buf_head(records) + 4, sizeof(length));
    return RECORD_HEAD + ntohl(length);
}

/* Gives the reader what it has not had, as far as it takes it at once. */
static void send_rest(struct command_log *log)
{
    struct str rest = { buf_head(&log->records) + log->records.len - log->unsent, log->unsent };

    if (!log->reader || log->blocked || log->unsent == 0)
        return;
    log->unsent = 0;
    log->blocked = !http_respond_write(log->reader->ex, rest.p, rest.n);
}

static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    (void)sink, (void)stream, (void) final;
    *room = SCRATCH_SIZE;
    return scratch;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct command_log *log = container_of(sink, struct command_log, sink);
    unsigned char head[RECORD_HEAD] = { (unsigned char)(stream + 1) };
    uint32_t length = htonl((uint32_t)n);
    uint64_t time = htobe64((uint64_t)clock_realtime_ns());

    memcpy(head + 4, &length, sizeof(length));
    memcpy(head + 8, &time, sizeof(time));
    while (log->records.len > 0 && log->records.len + RECORD_HEAD + n > COMMAND_LOG_BYTES) {
        buf_consume(&log->records, record_size(&log->records));
        log->unsent = MIN(log->unsent, log->records.len);
    }
    if (buf_append(&log->records, head, sizeof(head)) < 0)
        return;
    if (buf_append(&log->records, scratch, n) < 0) {
        /* Without memory: a record that says less than it is is worse. */
        log->records.len -= sizeof(head);
        return;
    }
    log->unsent += sizeof(head) + n;
    send_rest(log);
}

void command_log_end(struct command_log *log)
{
    if (!log->reader)
        return;
    log->blocked = false; /* the answer's queue holds the last bytes as well */
    send_rest(log);
    http_respond_end(log->reader->ex);
    log->reader = NULL;
}

/* --- the end of the agent --- */

bool command_log_settled(const struct command_log *log)
{
    return log->told || log->records.len == 0;
}

static void on_last(struct loop_timer *timer)
{
    loop_stop(container_of(timer, struct agent, log.last)->loop);
}

void command_log_leave(struct agent *agent)
{
    if (command_log_settled(&agent->log) || loop_timer_start(agent->loop, &agent->log.last, LAST_MS) < 0)
        loop_stop(agent->loop);
}

void handle_logs_told(struct request *rq)
{
    struct agent *agent = rq->agent;

    if (agent->supervised || !agent->keep_log) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "The log is not at its end");
        return;
    }
    agent->log.told = true;
    http_respond(rq->ex, 200, "application/json", STR("{\"ok\":true}"));
    if (loop_timer_armed(&agent->log.last)) /* a timer, as the answer is written at the end of this turn */
        (void)loop_timer_start(agent->loop, &agent->log.last, 0);
    shutdown_check(agent);
}

void command_log_init(struct command_log *log)
{
    *log = (struct command_log){ .sink = { reserve, commit } };
    buf_init(&log->records, COMMAND_LOG_BYTES);
    loop_timer_init(&log->last, on_last);
}

/* --- its reader --- */

static void on_drain(struct request *rq)
{
    struct command_log *log = &rq->agent->log;

    log->blocked = false;
    send_rest(log);
}

static void on_gone(struct request *rq, bool complete)
{
    (void)complete;
    if (rq->agent->log.reader == rq)
        rq->agent->log.reader = NULL;
}

void handle_logs(struct request *rq)
{
    static const struct http_field fields[] = { { "Content-Type", "application/vnd.berm.log" } };
    struct command_log *log = &rq->agent->log;

    if (log->reader) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "The log is being followed already");
        return;
    }
    rq->on_drain = on_drain;
    rq->on_gone = on_gone;
    log->reader = rq;
    log->blocked = false;
    log->unsent = log->records.len;
    http_respond_begin(rq->ex, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    send_rest(log);
    if (!rq->agent->supervised)
        command_log_end(log);
}
