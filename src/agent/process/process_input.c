/* process_input.c - routes of our own: bytes for a process's stdin, and signals. */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "base/base64.h"
#include "base/signal_name.h"
#include "process_kill.h"
#include "process_request.h"

/* --- stdin --- */

struct stdin_request {
    struct request *rq;
    struct process *process;
    struct process_waiter waiter;
};

static void on_taken(struct process_waiter *waiter)
{
    struct stdin_request *s = container_of(waiter, struct stdin_request, waiter);

    process_reply_done(s->rq, s->process);
    process_unref(s->process);
    request_unhold(s->rq);
    free(s);
}

/* The client hears of it when its bytes are in the pipe, so that it cannot send faster than they are read. */
static void reply_when_taken(struct request *rq, struct process *process)
{
    struct stdin_request *s = calloc(1, sizeof(*s));

    if (!s) {
        process_reply_done(rq, process); /* they are queued all the same */
        return;
    }
    s->rq = request_hold(rq);
    s->process = process_ref(process);
    s->waiter.on_end = on_taken;
    process_wait_stdin(process, &s->waiter);
}

/* -1 after having answered. */
static int decode_data(struct request *rq, struct str *ret)
{
    const char *encoding = NULL;
    struct berm_error err;
    char *bytes;

    *ret = STR("");
    if (json_field_string(rq->body, "data", ret, &err) < 0 ||
        json_field_cstring(rq->body, "encoding", &encoding, &err) < 0) {
        reply_invalid_field(rq, &err);
        return -1;
    }
    if (!encoding || strcmp(encoding, "utf-8") == 0)
        return 0;
    bytes = arena_alloc(&rq->arena, ret->n / 4 * 3 + 3);
    if (strcmp(encoding, "base64") == 0 && bytes && base64_decode(*ret, bytes, &ret->n) == 0) {
        ret->p = bytes;
        return 0;
    }
    reply_invalid(rq, "data", "must be text (encoding utf-8) or base64", "INVALID_ENCODING");
    return -1;
}

void handle_process_stdin(struct request *rq)
{
    struct process *process = process_requested(rq);
    struct berm_error err;
    struct str data;
    bool close = false, taken;

    if (!process)
        return;
    if (json_field_bool(rq->body, "close", &close, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    if (decode_data(rq, &data) < 0)
        return;
    if (!process_running(process)) {
        process_reply_ended(rq, process);
        return;
    }
    if (!process_has_stdin(process)) {
        reply_invalid(rq, "stdin", "is closed, or the process was not started with one", "NO_STDIN");
        return;
    }
    taken = data.n == 0 || process_write_stdin(process, data);
    if (close)
        process_close_stdin(process);
    if (taken)
        process_reply_done(rq, process);
    else
        reply_when_taken(rq, process);
}

/* --- signals --- */

void handle_process_signal(struct request *rq)
{
    struct process *process = process_requested(rq);
    const struct json *value = json_get(rq->body, "signal");
    struct reply reply;
    int signo = 0;

    if (!process)
        return;
    if (value && value->type == JSON_STRING)
        signo = signal_by_name(value->string);
    else if (value && value->type == JSON_INT && value->integer > 0 && value->integer <= 64)
        signo = (int)value->integer;
    if (signo == 0) {
        reply_invalid(rq, "signal", "must be the name or the number of a signal", "INVALID_SIGNAL");
        return;
    }
    if (!process_running(process)) {
        process_reply_ended(rq, process);
        return;
    }
    reply_begin(&reply);
    json_pair_cstring(&reply.w, "processId", process->id);
    json_pair_int(&reply.w, "signalled", (int64_t)process_signal(process, signo));
    reply_send(rq, &reply);
}
