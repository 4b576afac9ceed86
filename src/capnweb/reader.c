/*
 * reader.c - a stream that the peer writes to us.
 *
 * The peer's writes are calls; each is answered when the application has taken its chunk, and the peer's window is
 * what it has in flight. Writes may come before anybody reads: they wait, and count as what is held.
 */
#include "internal.h"

struct capnweb_reader {
    struct capnweb_session *session;
    unsigned refs;
    unsigned values; /* that it is in */
    bool claimed, started;
    bool closing;             /* the peer has closed it; what waits is still to be taken */
    bool over;                /* nothing comes any more */
    struct cw_payload *fault; /* why writes are rejected, once it is over by fault */
    struct cw_queue writes;
    struct cw_call *current; /* the application has its chunk */
    const struct capnweb_reader_ops *ops;
    void *data;
    struct cw_task task;
};

static void run_reader(struct cw_task *task);

static void wake(struct capnweb_reader *reader)
{
    if (!reader->started || reader->current || reader->task.queued)
        return;
    reader->refs++;
    cw_enqueue(reader->session, &reader->task);
}

struct capnweb_reader *cw_reader_new(struct capnweb_session *s)
{
    struct capnweb_reader *reader = malloc(sizeof(*reader));

    if (!reader)
        return NULL;
    *reader = (struct capnweb_reader){ .session = s, .refs = 1, .task = { .run = run_reader } };
    cw_session_ref(s);
    return reader;
}

void cw_sink_ref(struct capnweb_reader *reader)
{
    reader->refs++;
}

void cw_sink_unref(struct capnweb_reader *reader)
{
    struct capnweb_session *s = reader->session;

    if (--reader->refs > 0)
        return;
    cw_payload_unref(reader->fault);
    free(reader);
    cw_session_unref(s);
}

bool cw_reader_claim(struct capnweb_reader *reader)
{
    bool first = !reader->claimed;

    reader->claimed = true;
    return first;
}

/* --- the end by fault --- */

static void reject_writes(struct capnweb_reader *reader)
{
    struct cw_call *current = TAKE_PTR(reader->current);
    struct cw_task *task;

    if (current)
        cw_call_settle(current, false, cw_payload_ref(reader->fault));
    while ((task = cw_queue_pop(&reader->writes)))
        cw_call_settle(container_of(task, struct cw_call, task), false, cw_payload_ref(reader->fault));
}

/* Consumes the fault. */
static void fail(struct capnweb_reader *reader, struct cw_payload *fault)
{
    if (reader->over) {
        cw_payload_unref(fault);
        return;
    }
    reader->over = true;
    reader->fault = fault;
    cw_sink_ref(reader);
    reject_writes(reader);
    wake(reader);
    cw_sink_unref(reader);
}

void cw_reader_lost(struct capnweb_reader *reader, const char *message)
{
    bool can_be_read = reader->started || reader->values > 0;

    if (!reader->closing || !can_be_read || reader->session->ended)
        fail(reader, cw_error_payload(reader->session, "Error", message));
}

void cw_reader_ref(struct capnweb_reader *reader)
{
    reader->values++;
    reader->refs++;
}

void cw_reader_unref(struct capnweb_reader *reader)
{
    if (--reader->values == 0 && !reader->started)
        fail(reader, cw_error_payload(reader->session, "Error",
                                      "ReadableStream RPC stub was disposed without being consumed"));
    cw_sink_unref(reader);
}

/* --- the peer's calls --- */

static void resolve_nothing(struct cw_call *call)
{
    cw_call_settle(call, true, cw_payload_new(call->public.session, NULL));
}

static void abort_by_peer(struct capnweb_reader *reader, struct cw_call *call)
{
    struct cw_payload *fault = cw_payload_new(reader->session, NULL);

    if (fault && call->public.arg_count > 0) {
        fault->value = call->public.args[0];
        if (cw_payload_own(fault, CW_PAYLOAD, call->args) < 0)
            fault->value = CAPNWEB_NOTHING;
    }
    fail(reader, fault);
    resolve_nothing(call);
}

void cw_reader_call(struct capnweb_reader *reader, struct cw_call *call)
{
    const struct capnweb_call *public = &call->public;
    struct str method = public->path_count == 1 ? public->path[0].name : STR("");
    bool is_close = str_is(method, "close"), is_write = str_is(method, "write");

    if (public->is_read || !(is_close || is_write || str_is(method, "abort")))
        cw_call_reject(call, "Error", "a stream has the methods write, close and abort");
    else if (reader->over && reader->fault)
        cw_call_settle(call, false, cw_payload_ref(reader->fault));
    else if (reader->over || reader->closing)
        cw_call_reject(call, "TypeError", "the stream is closed");
    else if (!is_close && !is_write)
        abort_by_peer(reader, call);
    else {
        reader->closing = is_close;
        cw_queue_push(&reader->writes, &call->task);
        wake(reader);
    }
}

/* --- the application --- */

static void deliver_end(struct capnweb_reader *reader, struct cw_call *close)
{
    if (close) {
        reader->over = true;
        reader->ops->on_end(reader, reader->data);
        resolve_nothing(close);
    } else {
        static const struct capnweb_value unknown = { .type = CAPNWEB_UNDEFINED };
        reader->ops->on_abort(reader, reader->fault ? &reader->fault->value : &unknown, reader->data);
    }
    reader->started = false;
    cw_sink_unref(reader); /* of its start */
}

static void deliver(struct capnweb_reader *reader)
{
    static const struct capnweb_value undefined = { .type = CAPNWEB_UNDEFINED };
    struct cw_task *task;
    struct cw_call *call;

    if (!reader->started || reader->current)
        return;
    task = cw_queue_pop(&reader->writes);
    if (!task) {
        if (reader->over)
            deliver_end(reader, NULL);
        return;
    }
    call = container_of(task, struct cw_call, task);
    if (str_is(call->public.path[0].name, "close")) {
        deliver_end(reader, call);
        return;
    }
    reader->current = call;
    reader->ops->on_chunk(reader, call->public.arg_count > 0 ? &call->public.args[0] : &undefined, reader->data);
}

static void run_reader(struct cw_task *task)
{
    struct capnweb_reader *reader = container_of(task, struct capnweb_reader, task);

    deliver(reader);
    cw_sink_unref(reader);
}

void capnweb_reader_start(struct capnweb_reader *reader, const struct capnweb_reader_ops *ops, void *data)
{
    reader->ops = ops;
    reader->data = data;
    reader->started = true;
    cw_sink_ref(reader);
    wake(reader);
}

void capnweb_reader_ack(struct capnweb_reader *reader)
{
    struct cw_call *call = TAKE_PTR(reader->current);

    if (!call)
        return;
    cw_sink_ref(reader);
    resolve_nothing(call);
    wake(reader);
    cw_sink_unref(reader);
}

void capnweb_reader_cancel(struct capnweb_reader *reader, const char *name, const char *message)
{
    if (!reader->started)
        return;
    reader->started = false; /* no more callbacks */
    fail(reader, cw_error_payload(reader->session, name, message));
    cw_sink_unref(reader); /* of its start */
}
