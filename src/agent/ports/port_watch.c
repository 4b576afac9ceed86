/*
 * port_watch.c - POST /api/port-watch: tells when a port is ready, or that the process behind it has ended.
 *
 * Theory of operation. The kernel tells nobody of a new listening socket (sock_diag has a group for sockets that go
 * away, none for those that come), so it is looked for. While nobody listens a look is two refused connects, some
 * 40 microseconds that no program sees: it is done soon and, as time goes by, less often. Once something listens it
 * is asked in the rhythm that the client wants. The end of a process is told by the process itself.
 */
#include "agent/agent.h"
#include "agent/http/event_stream.h"
#include "agent/http/routes.h"
#include "port_probe.h"

#define FIRST_MS    2
#define EAGER_MS    25    /* the longest pause in the beginning */
#define EAGER_FOR   20000 /* how long the beginning is */
#define PATIENT_MS  100
#define INTERVAL_MS 500

struct port_watch {
    struct event_stream stream;
    struct agent *agent;
    struct port_probe probe;
    struct loop_timer pause;
    struct process *process; /* held; NULL: none was named */
    struct process_waiter waiter;
    struct buf target;
    const struct json *port; /* as sent */
    unsigned number;
    bool http;
    int64_t status_min, status_max;
    uint64_t interval_ms, pause_ms, started_ms;
};

static void finish(struct port_watch *pw)
{
    process_unwait(&pw->waiter);
    if (pw->process)
        process_unref(pw->process);
    port_probe_cancel(&pw->probe);
    loop_timer_stop(pw->agent->loop, &pw->pause);
    event_stream_end(&pw->stream);
    buf_free(&pw->target);
    free(pw);
}

static void on_gone(struct event_stream *stream)
{
    finish(container_of(stream, struct port_watch, stream));
}

static struct json_writer *event(struct port_watch *pw, const char *type)
{
    struct json_writer *w = event_stream_event(&pw->stream, type);

    json_key(w, "port");
    json_value(w, pw->port);
    return w;
}

static void end_with_error(struct port_watch *pw, const char *message)
{
    json_pair_cstring(event(pw, "error"), "error", message);
    event_stream_send(&pw->stream);
    finish(pw);
}

/* --- the process --- */

static void end_with_process(struct port_watch *pw)
{
    struct json_writer *w = event(pw, "process_exited");

    if (pw->process->has_exit_code)
        json_pair_int(w, "exitCode", pw->process->exit_code);
    event_stream_send(&pw->stream);
    finish(pw);
}

static void on_process_end(struct process_waiter *waiter)
{
    end_with_process(container_of(waiter, struct port_watch, waiter));
}

/* --- looking --- */

static void look(struct loop_timer *timer)
{
    struct port_watch *pw = container_of(timer, struct port_watch, pause);

    port_probe_start(&pw->probe, pw->number, pw->http, buf_str(&pw->target));
}

static void pause_for(struct port_watch *pw, uint64_t ms)
{
    if (loop_timer_start(pw->agent->loop, &pw->pause, ms) < 0)
        end_with_error(pw, "out of memory");
}

static void on_result(struct port_probe *probe, enum port_result result, int status)
{
    struct port_watch *pw = container_of(probe, struct port_watch, probe);
    bool eager = loop_now_ms(pw->agent->loop) - pw->started_ms < EAGER_FOR;

    if (result == PORT_OPEN && (!pw->http || (status >= pw->status_min && status <= pw->status_max))) {
        struct json_writer *w = event(pw, "ready");
        if (pw->http)
            json_pair_int(w, "statusCode", status);
        event_stream_send(&pw->stream);
        finish(pw);
        return;
    }
    if (result == PORT_CLOSED) {
        pw->pause_ms = MIN(pw->pause_ms * 2, (uint64_t)(eager ? EAGER_MS : PATIENT_MS));
        pause_for(pw, pw->pause_ms);
    } else {
        pause_for(pw, pw->interval_ms);
    }
}

/* --- decoding --- */

static int decode_number(const struct json *body, const char *key, int64_t *ret, struct berm_error *err)
{
    const struct json *value = json_get(body, key);

    if (!value || value->type == JSON_NULL)
        return 0;
    if (value->type == JSON_INT)
        *ret = value->integer;
    else if (value->type == JSON_DOUBLE && value->number > -9e15 && value->number < 9e15)
        *ret = (int64_t)value->number;
    else
        return berm_fail_field(err, key, "must be a number");
    return 0;
}

static int decode(struct port_watch *pw, const struct json *body, const char **ret_process, struct berm_error *err)
{
    struct str mode = STR("http"), path = STR("/");
    int64_t interval = INTERVAL_MS, number = 0;

    pw->status_min = 200;
    pw->status_max = 399;
    pw->port = json_get(body, "port");
    if (!pw->port || (pw->port->type != JSON_INT && pw->port->type != JSON_DOUBLE))
        return berm_fail_field(err, "port", "must be a number");
    if (decode_number(body, "port", &number, err) < 0 || json_field_string(body, "mode", &mode, err) < 0 ||
        json_field_string(body, "path", &path, err) < 0 ||
        decode_number(body, "statusMin", &pw->status_min, err) < 0 ||
        decode_number(body, "statusMax", &pw->status_max, err) < 0 ||
        decode_number(body, "interval", &interval, err) < 0 ||
        request_field_text(body, "processId", ret_process, err) < 0)
        return -1;
    pw->http = !str_is(mode, "tcp");
    pw->number = number >= 1 && number <= 65535 && pw->port->type == JSON_INT ? (unsigned)number : 0;
    pw->interval_ms = (uint64_t)MIN(MAX(interval, (int64_t)100), (int64_t)10000);
    if (port_head_target(path, &pw->target) < 0)
        return berm_fail_field(err, "path", "is too long");
    return 0;
}

static void begin(struct port_watch *pw, const char *process_id)
{
    struct process *process = process_id ? process_find(pw->agent, str_from(process_id)) : NULL;

    pw->process = process ? process_ref(process) : NULL;
    event(pw, "watching");
    event_stream_send(&pw->stream);
    if (pw->number == 0) {
        end_with_error(pw, "This is not a port: it must be a whole number from 1 to 65535");
    } else if (process_id && !process) {
        end_with_error(pw, "Process not found");
    } else if (process && !process_running(process)) {
        end_with_process(pw);
    } else {
        if (process)
            process_wait(process, &pw->waiter);
        look(&pw->pause);
    }
}

void handle_port_watch(struct request *rq)
{
    struct port_watch *pw = calloc(1, sizeof(*pw));
    const char *process_id = NULL;
    struct berm_error err;

    if (!pw) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    pw->agent = rq->agent;
    pw->pause_ms = FIRST_MS / 2;
    pw->started_ms = loop_now_ms(rq->agent->loop);
    pw->waiter.on_end = on_process_end;
    pw->stream.on_gone = on_gone;
    buf_init(&pw->target, PORT_TARGET_MAX);
    port_probe_init(&pw->probe, rq->agent->loop);
    pw->probe.on_result = on_result;
    loop_timer_init(&pw->pause, look);
    if (decode(pw, rq->body, &process_id, &err) < 0) {
        reply_invalid_field(rq, &err);
        finish(pw);
        return;
    }
    event_stream_begin(&pw->stream, rq);
    begin(pw, process_id);
}
