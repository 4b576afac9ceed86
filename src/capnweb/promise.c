/* promise.c - results that may not be there yet. Whoever is to settle one holds a reference and does so once. */
#include "internal.h"

static void announce(struct cw_task *task)
{
    struct capnweb_promise *promise = container_of(task, struct capnweb_promise, announce);

    cw_export_settled(promise->session, promise->export_id);
    capnweb_promise_unref(promise);
}

struct capnweb_promise *cw_promise_new(struct capnweb_session *s, unsigned chain)
{
    struct capnweb_promise *promise = malloc(sizeof(*promise));

    if (!promise)
        return NULL;
    *promise = (struct capnweb_promise){ .session = s, .refs = 1, .chain = chain, .announce = { .run = announce } };
    cw_session_ref(s);
    return promise;
}

void capnweb_promise_unref(struct capnweb_promise *promise)
{
    struct capnweb_session *s;

    if (!promise || --promise->refs > 0)
        return;
    s = promise->session;
    cw_payload_unref(promise->payload);
    free(promise);
    cw_session_unref(s);
}

void cw_promise_settle(struct capnweb_promise *promise, bool ok, struct cw_payload *payload)
{
    struct capnweb_session *s = promise->session;
    struct cw_task *task;

    if (promise->state != CW_PENDING) {
        cw_payload_unref(payload);
        return;
    }
    promise->state = ok && payload ? CW_RESOLVED : CW_REJECTED;
    promise->payload = payload;
    promise->chain = 0;
    while ((task = cw_queue_pop(&promise->waiters)))
        cw_enqueue(s, task);
    if (promise->export_id != 0)
        cw_export_settled(s, promise->export_id);
}

void cw_promise_reject(struct capnweb_promise *promise, const char *name, const char *message)
{
    cw_promise_settle(promise, false, cw_error_payload(promise->session, name, message));
}

const struct capnweb_value *cw_promise_value(const struct capnweb_promise *promise)
{
    static const struct capnweb_value undefined = { .type = CAPNWEB_UNDEFINED };

    return promise->payload ? cw_payload_value(promise->payload) : &undefined;
}

/* --- waiting for a payload --- */

struct completion {
    struct cw_task task;
    struct capnweb_promise *promise;
    struct cw_payload *payload;
};

static void settle_with(struct capnweb_promise *promise, struct cw_payload *payload)
{
    if (payload->rejected) {
        cw_promise_settle(promise, false, cw_payload_ref(payload->rejected->payload));
        cw_payload_unref(payload);
    } else {
        cw_promise_settle(promise, true, payload);
    }
}

static void run_completion(struct cw_task *task)
{
    struct completion *completion = container_of(task, struct completion, task);

    settle_with(completion->promise, completion->payload);
    capnweb_promise_unref(completion->promise);
    free(completion);
}

void cw_promise_settle_when_complete(struct capnweb_promise *promise, struct cw_payload *payload)
{
    struct completion *completion;

    if (payload->pending == 0) {
        settle_with(promise, payload);
        return;
    }
    completion = malloc(sizeof(*completion));
    if (!completion) {
        cw_payload_unref(payload);
        cw_promise_reject(promise, "Error", "out of memory");
        return;
    }
    *completion = (struct completion){ { .run = run_completion }, promise, payload };
    promise->refs++;
    payload->complete = &completion->task;
}

/* --- the application's --- */

struct capnweb_promise *capnweb_promise_new(struct capnweb_session *session)
{
    struct cw_block *block = cw_block_new(session, 0);
    struct cw_payload *payload = block ? cw_payload_new(session, block) : NULL;
    struct capnweb_promise *promise = payload ? cw_promise_new(session, 0) : NULL;

    cw_block_unref(block);
    if (promise)
        promise->payload = payload;
    else
        cw_payload_unref(payload);
    return promise;
}

struct arena *capnweb_promise_arena(struct capnweb_promise *promise)
{
    return &promise->payload->block->arena;
}

void capnweb_promise_settle(struct capnweb_promise *promise, bool ok, struct capnweb_value value)
{
    struct capnweb_session *s = promise->session;
    struct cw_payload *payload = promise->payload;

    if (promise->state != CW_PENDING)
        return;
    cw_session_ref(s);
    payload->value = value;
    cw_block_account(payload->block);
    if (cw_payload_collect(payload) < 0) {
        ok = false;
        cw_discard(s, &value);
        payload->value = CAPNWEB_NOTHING;
    }
    cw_promise_settle(promise, ok, payload);
    if (s->freed)
        capnweb_run(s);
    cw_session_unref(s);
}
