/*
 * pipe.c - a stream that we give to the peer.
 *
 * Theory of operation: NEW until the message that refers to it is about to be sent, OPEN when the peer has been
 * told to make the pipe, STREAMING when that message is made, CLOSING when close or abort has been sent, OVER when
 * that or a rejected write came back. Each write is acknowledged; what is not is limited by the window.
 */
#include "internal.h"

enum pipe_state { PIPE_NEW, PIPE_OPEN, PIPE_STREAMING, PIPE_CLOSING, PIPE_OVER };

struct capnweb_pipe {
    struct cw_import entry;
    struct capnweb_session *session;
    unsigned refs;   /* one until on_end, one for each value it is in and each write under way */
    unsigned values; /* that it is in */
    enum pipe_state state;
    bool aborted, blocked;
    size_t in_flight;
    struct cw_payload *reason;
    const struct capnweb_pipe_ops *ops;
    void *data;
    struct cw_task ready, end;
};

static void unref(struct capnweb_pipe *pipe)
{
    struct capnweb_session *s = pipe->session;

    if (--pipe->refs > 0)
        return;
    cw_payload_unref(pipe->reason);
    free(pipe);
    cw_session_unref(s);
}

static void run_ready(struct cw_task *task)
{
    struct capnweb_pipe *pipe = container_of(task, struct capnweb_pipe, ready);

    if (pipe->state == PIPE_STREAMING)
        pipe->ops->on_ready(pipe, pipe->data);
    unref(pipe);
}

static void run_end(struct cw_task *task)
{
    struct capnweb_pipe *pipe = container_of(task, struct capnweb_pipe, end);

    pipe->ops->on_end(pipe, pipe->reason ? &pipe->reason->value : NULL, pipe->data);
    unref(pipe);
}

struct capnweb_pipe *capnweb_pipe_new(struct capnweb_session *session, const struct capnweb_pipe_ops *ops,
                                      void *data)
{
    struct capnweb_pipe *pipe = malloc(sizeof(*pipe));

    if (!pipe)
        return NULL;
    *pipe = (struct capnweb_pipe){ .entry.kind = CW_PIPE_END,
                                   .session = session,
                                   .refs = 1,
                                   .ops = ops,
                                   .data = data,
                                   .ready = { .run = run_ready },
                                   .end = { .run = run_end } };
    cw_session_ref(session);
    return pipe;
}

struct capnweb_pipe *cw_pipe_of(struct cw_import *entry)
{
    return container_of(entry, struct capnweb_pipe, entry);
}

/* Consumes the reason. */
static void finish(struct capnweb_pipe *pipe, struct cw_payload *reason)
{
    struct capnweb_session *s = pipe->session;
    enum pipe_state before = pipe->state;

    if (before == PIPE_OVER) {
        cw_payload_unref(reason);
        return;
    }
    pipe->state = PIPE_OVER;
    if (!pipe->reason)
        pipe->reason = reason;
    else
        cw_payload_unref(reason);
    if (before != PIPE_NEW && id_table_remove(&s->imports, pipe->entry.id))
        cw_send_release(s, pipe->entry.id, 1);
    cw_enqueue(s, &pipe->end);
}

void cw_pipe_ref(struct capnweb_pipe *pipe)
{
    pipe->refs++;
    pipe->values++;
}

/* The value that nobody asked for is gone. */
void cw_pipe_unref(struct capnweb_pipe *pipe)
{
    if (--pipe->values == 0 && (pipe->state == PIPE_NEW || pipe->state == PIPE_OPEN))
        finish(pipe, cw_error_payload(pipe->session, "Error", "the stream was not asked for"));
    unref(pipe);
}

void cw_pipe_lost(struct capnweb_pipe *pipe, const char *message)
{
    finish(pipe, cw_error_payload(pipe->session, "Error", message));
}

/* Sends ["pipe"]. -1: it cannot be sent. */
static int open_pipe(struct capnweb_pipe *pipe)
{
    struct capnweb_session *s = pipe->session;
    struct cw_message message;

    if (pipe->state != PIPE_NEW)
        return -1;
    pipe->entry.id = s->next_out;
    if (cw_import_add(s, &pipe->entry) < 0)
        return -1;
    cw_message_begin(s, &message, "pipe");
    if (cw_message_finish(s, &message) == 0) {
        id_table_remove(&s->imports, pipe->entry.id);
        return -1;
    }
    s->next_out++;
    pipe->state = PIPE_OPEN;
    return 0;
}

static struct capnweb_pipe *next_pipe(const struct cw_payload *payload, size_t *at)
{
    while (*at < payload->owned_count) {
        const struct cw_ref *r = &payload->owned[(*at)++];
        if (r->kind == CW_PIPE)
            return r->object;
    }
    return NULL;
}

void cw_open_pipes(const struct cw_payload *payload)
{
    struct capnweb_pipe *pipe;
    size_t at = 0;

    while ((pipe = next_pipe(payload, &at)))
        (void)open_pipe(pipe); /* failing, it cannot be referred to either */
}

void cw_lose_pipes(const struct cw_payload *payload)
{
    struct capnweb_pipe *pipe;
    size_t at = 0;

    while ((pipe = next_pipe(payload, &at)))
        cw_pipe_lost(pipe, "the stream could not be sent");
}

bool cw_pipe_refer(struct capnweb_pipe *pipe, int64_t *ret_id)
{
    if (pipe->state != PIPE_OPEN)
        return false;
    pipe->state = PIPE_STREAMING;
    *ret_id = pipe->entry.id;
    pipe->refs++;
    cw_enqueue(pipe->session, &pipe->ready);
    return true;
}

/* --- sending --- */

/* ["stream",["pipeline",id,[method],[chunk]]]; the chunk is `value`, or the bytes when that is NULL. */
static size_t send_stream(struct capnweb_pipe *pipe, const char *method, const struct capnweb_value *value,
                          struct str bytes, bool has_chunk)
{
    struct capnweb_session *s = pipe->session;
    struct capnweb_key key = { .name = str_from(method) };
    struct cw_message message;

    cw_message_begin(s, &message, "stream");
    json_array_begin(&message.w);
    json_cstring(&message.w, "pipeline");
    json_int(&message.w, pipe->entry.id);
    cw_write_path(&message.w, (struct cw_path){ &key, 1 });
    json_array_begin(&message.w);
    if (value)
        cw_write_value(s, &message.w, value, 1);
    else if (has_chunk)
        cw_write_bytes(&message.w, bytes.p, bytes.n);
    json_array_end(&message.w);
    json_array_end(&message.w);
    return cw_message_finish(s, &message);
}

static bool send_tracked(struct capnweb_pipe *pipe, const char *method, const struct capnweb_value *value,
                         struct str bytes, bool has_chunk)
{
    struct capnweb_session *s = pipe->session;
    struct cw_write *write = malloc(sizeof(*write));

    if (!write)
        return false;
    *write = (struct cw_write){ { CW_WRITE, s->next_out }, pipe, 0, pipe->state == PIPE_CLOSING };
    if (cw_import_add(s, &write->entry) < 0) {
        free(write);
        return false;
    }
    write->size = send_stream(pipe, method, value, bytes, has_chunk);
    if (write->size == 0) {
        id_table_remove(&s->imports, write->entry.id);
        free(write);
        return false;
    }
    s->next_out++;
    pipe->refs++;
    pipe->in_flight += write->size;
    return true;
}

bool capnweb_pipe_write(struct capnweb_pipe *pipe, const void *p, size_t n)
{
    if (pipe->state != PIPE_STREAMING)
        return false;
    if (!send_tracked(pipe, "write", NULL, (struct str){ p, n }, true)) {
        /* A hole must not look like none. */
        capnweb_pipe_abort(pipe, CAPNWEB_NOTHING);
        return false;
    }
    pipe->blocked = pipe->in_flight >= pipe->session->limits.window;
    return !pipe->blocked;
}

void capnweb_pipe_close(struct capnweb_pipe *pipe)
{
    if (pipe->state != PIPE_STREAMING)
        return;
    pipe->state = PIPE_CLOSING;
    if (!send_tracked(pipe, "close", NULL, (struct str){ NULL, 0 }, false))
        finish(pipe, cw_error_payload(pipe->session, "Error", "the stream could not be closed"));
}

void capnweb_pipe_abort(struct capnweb_pipe *pipe, struct capnweb_value reason)
{
    static const char text[] = "the stream was aborted";
    bool streaming = pipe->state == PIPE_STREAMING;

    if (pipe->state == PIPE_OVER || pipe->state == PIPE_CLOSING)
        return;
    pipe->reason = cw_error_payload(pipe->session, "Error", text);
    if (reason.type == CAPNWEB_UNDEFINED && pipe->reason)
        reason = pipe->reason->value;
    pipe->aborted = true;
    if (streaming)
        pipe->state = PIPE_CLOSING;
    if (!streaming || !send_tracked(pipe, "abort", &reason, (struct str){ NULL, 0 }, true))
        finish(pipe, NULL);
}

void cw_pipe_acknowledged(struct capnweb_pipe *pipe, struct cw_write *write, bool ok, struct cw_payload *reason)
{
    bool is_last = write->is_last;

    pipe->in_flight -= write->size;
    free(write);
    if (is_last) {
        finish(pipe, ok ? NULL : cw_payload_ref(reason));
    } else if (!ok && !pipe->aborted) {
        finish(pipe, reason ? cw_payload_ref(reason) : cw_error_payload(pipe->session, "Error", "canceled"));
    } else if (pipe->blocked && pipe->state == PIPE_STREAMING && pipe->in_flight < pipe->session->limits.window) {
        pipe->blocked = false;
        pipe->refs++;
        cw_enqueue(pipe->session, &pipe->ready);
    }
    unref(pipe);
}
