/*
 * call.c - a method call or property read on its way: it waits for its object, then for its arguments, then runs.
 */
#include "internal.h"

#include <stdarg.h>

static void run_call(struct cw_task *task);

static struct capnweb_promise *as_promise(struct cw_ref object)
{
    return object.kind == CW_PROMISE ? object.object : NULL;
}

static unsigned chain_of(struct cw_ref object, const struct cw_payload *args)
{
    const struct capnweb_promise *promise = as_promise(object);
    unsigned chain = promise && promise->state == CW_PENDING ? promise->chain : 0;

    return 1 + MAX(chain, args ? args->chain : 0);
}

/* Together with the arguments: both go when the call is answered. */
static int hold_object(struct cw_call *call, struct cw_ref object)
{
    call->object = object;
    return cw_payload_own(call->args, object.kind, object.object);
}

struct capnweb_promise *cw_apply(struct capnweb_session *s, struct cw_ref object, struct cw_block *block,
                                 struct cw_path path, struct cw_payload *args)
{
    bool is_read = !args;
    struct cw_call *call = calloc(1, sizeof(*call));
    struct capnweb_promise *result = cw_promise_new(s, chain_of(object, args));

    if (is_read)
        args = cw_payload_new(s, block);
    if (!call || !result || !args) {
        free(call);
        capnweb_promise_unref(result);
        cw_payload_unref(args);
        return NULL;
    }
    *call = (struct cw_call){ .task = { .run = run_call }, .block = block, .args = args, .result = result };
    call->public = (struct capnweb_call){
        .session = s, .is_read = is_read, .path = path.keys, .path_count = path.count, .arena = &block->arena
    };
    if (!is_read) {
        call->public.args = args->value.array.items;
        call->public.arg_count = args->value.array.count;
    }
    block->refs++;
    result->refs++;
    cw_session_ref(s);
    if (hold_object(call, object) < 0)
        cw_call_reject(call, "Error", "out of memory");
    else if (result->chain > s->limits.max_pipelined)
        cw_call_reject(call, "RangeError", "too many calls wait for each other");
    else
        cw_enqueue(s, &call->task);
    return result;
}

/* --- the end of a call --- */

void cw_call_settle(struct cw_call *call, bool ok, struct cw_payload *payload)
{
    struct capnweb_session *s = call->public.session;
    struct capnweb_promise *result = call->result;

    /* What came with the arguments is released before the peer gets the answer. */
    cw_payload_drop_objects(call->args);
    cw_payload_unref(call->args);
    cw_block_unref(call->block);
    free(call);
    cw_promise_settle(result, ok, payload);
    capnweb_promise_unref(result);
    if (s->freed)
        capnweb_run(s);
    cw_session_unref(s);
}

void cw_call_reject(struct cw_call *call, const char *name, const char *message)
{
    cw_call_settle(call, false, cw_error_payload(call->public.session, name, message));
}

/* The answer may point into arguments, and these into other results. */
static int keep_args(struct cw_payload *payload, struct cw_call *call)
{
    switch (payload->value.type) {
    case CAPNWEB_UNDEFINED:
    case CAPNWEB_NULL:
    case CAPNWEB_BOOL:
    case CAPNWEB_INT:
    case CAPNWEB_DOUBLE:
    case CAPNWEB_DATE:
        return 0;
    default:
        break;
    }
    for (size_t i = 0; i < call->args->owned_count; i++)
        if (call->args->owned[i].kind == CW_PAYLOAD)
            return cw_payload_own(payload, CW_PAYLOAD, call->args);
    return 0;
}

static void answer(struct capnweb_call *public, bool ok, struct capnweb_value value)
{
    struct cw_call *call = container_of(public, struct cw_call, public);
    struct cw_payload *payload;

    if (public->session->ended) {
        cw_discard(public->session, &value);
        cw_call_reject(call, "Error", public->session->end_message);
        return;
    }
    payload = cw_payload_new(public->session, call->block);
    if (!payload) {
        cw_discard(public->session, &value);
    } else {
        payload->value = value;
        cw_block_account(call->block);
        if (cw_payload_collect(payload) < 0 || keep_args(payload, call) < 0) {
            cw_discard(public->session, &value);
            cw_payload_unref(payload);
            payload = cw_error_payload(public->session, "RangeError", "the result is nested too deeply");
            ok = false;
        }
    }
    cw_call_settle(call, ok, payload);
}

void capnweb_resolve(struct capnweb_call *call, struct capnweb_value value)
{
    answer(call, true, value);
}

bool capnweb_resolve_text(struct capnweb_call *public, struct buf *json)
{
    struct cw_call *call = container_of(public, struct cw_call, public);
    struct cw_payload *payload = public->session->ended ? NULL : cw_payload_new(public->session, call->block);

    if (!payload || !cw_payload_take_text(payload, json)) {
        cw_payload_unref(payload);
        return false;
    }
    cw_call_settle(call, true, payload);
    return true;
}

void capnweb_reject(struct capnweb_call *call, struct capnweb_value reason)
{
    answer(call, false, reason);
}

void capnweb_reject_error(struct capnweb_call *call, const char *name, const char *format, ...)
{
    va_list args;
    char message[512];

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    cw_call_reject(container_of(call, struct cw_call, public), name, message);
}

bool capnweb_call_abandoned(const struct capnweb_call *call)
{
    return call->session->ended;
}

const struct capnweb_value *capnweb_arg(const struct capnweb_call *call, size_t i)
{
    return i < call->arg_count && call->args[i].type != CAPNWEB_UNDEFINED ? &call->args[i] : NULL;
}

/* --- finding the object --- */

static void reject_not_a_function(struct cw_call *call)
{
    char path[256];
    size_t n = 0;

    for (size_t i = 0; i < call->public.path_count && n < sizeof(path) - 1; i++) {
        const struct capnweb_key *key = &call->public.path[i];
        const char *dot = i > 0 ? "." : "";
        int more = key->is_index ? snprintf(path + n, sizeof(path) - n, "%s%lld", dot, (long long)key->index)
                                 : snprintf(path + n, sizeof(path) - n, "%s%.*s", dot, (int)MIN(key->name.n, 100),
                                            key->name.p);
        n = MIN(n + (size_t)MAX(more, 0), sizeof(path) - 1);
    }
    path[n] = '\0';
    capnweb_reject_error(&call->public, "TypeError", "'%s' is not a function.", path);
}

static void settle_read(struct cw_call *call, struct capnweb_promise *from, struct capnweb_value value)
{
    struct capnweb_session *s = call->public.session;
    struct cw_payload *payload;

    if (call->public.path_count == 0) {
        cw_call_settle(call, true, cw_payload_ref(from->payload));
        return;
    }
    payload = cw_payload_new(s, NULL);
    if (payload) {
        payload->value = value;
        payload->depth = from->payload->depth;
        payload->weight = from->payload->weight;
        if (cw_payload_own(payload, CW_PAYLOAD, from->payload) < 0) {
            cw_payload_unref(payload);
            payload = NULL;
        }
    }
    cw_call_settle(call, payload != NULL, payload);
}

/* The object is a promise that is settled. False: the call is over, or waits anew. */
static bool enter_promise(struct cw_call *call)
{
    struct capnweb_promise *promise = call->object.object;
    struct cw_path path = { call->public.path, call->public.path_count };
    struct capnweb_value value;
    struct cw_ref object;

    if (promise->state == CW_REJECTED) {
        cw_call_settle(call, false, cw_payload_ref(promise->payload));
        return false;
    }
    switch (cw_follow(cw_promise_value(promise), &path, &object, &value)) {
    case 1:
        if (call->public.is_read && path.count == 0) {
            settle_read(call, promise, value);
            return false;
        }
        call->public.path = path.keys;
        call->public.path_count = path.count;
        if (hold_object(call, object) == 0)
            return true;
        cw_call_reject(call, "Error", "out of memory");
        return false;
    case 0:
        if (call->public.is_read)
            settle_read(call, promise, value);
        else
            reject_not_a_function(call);
        return false;
    default:
        if (path.keys[0].is_index)
            capnweb_reject_error(&call->public, "TypeError", "Cannot read properties of undefined (reading '%lld')",
                                 (long long)path.keys[0].index);
        else
            capnweb_reject_error(&call->public, "TypeError", "Cannot read properties of undefined (reading '%.*s')",
                                 (int)MIN(path.keys[0].name.n, 100), path.keys[0].name.p);
        return false;
    }
}

static void on_forwarded(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data)
{
    (void)value;
    cw_call_settle(data, ok, cw_payload_ref(import->result->payload));
    capnweb_import_unref(import);
}

/* The peer calls its own object through us. */
static void forward(struct cw_call *call)
{
    struct capnweb_import *target = call->object.object;
    struct cw_path path = { call->public.path, call->public.path_count };
    struct capnweb_import *import = cw_import_call(call->public.session, target->entry.id, path, call->public.args,
                                                   call->public.arg_count, call->public.is_read);

    if (import)
        capnweb_pull(import, on_forwarded, call);
    else
        cw_call_reject(call, "Error", "the call could not be forwarded");
}

static void deliver(struct cw_call *call)
{
    struct capnweb_target *target = call->object.object;

    switch (call->object.kind) {
    case CW_TARGET:
        if (!target)
            cw_call_reject(call, "Error", "This connection has no main object.");
        else if (call->public.is_read && call->public.path_count == 0)
            cw_call_reject(call, "Error", "Can't dup an RpcTarget stub as a promise.");
        else
            target->ops->call(target, &call->public);
        break;
    case CW_IMPORT:
        forward(call);
        break;
    case CW_SINK:
        cw_reader_call(call->object.object, call);
        break;
    default:
        cw_call_reject(call, "TypeError", "this is a stream and has no methods");
    }
}

static void run_call(struct cw_task *task)
{
    struct cw_call *call = container_of(task, struct cw_call, task);
    struct capnweb_session *s = call->public.session;
    struct capnweb_promise *promise;

    while ((promise = as_promise(call->object))) {
        if (promise->state == CW_PENDING) {
            cw_queue_push(&promise->waiters, &call->task);
            return;
        }
        if (!enter_promise(call))
            return;
    }
    if (call->args->pending > 0) {
        call->args->complete = &call->task;
        return;
    }
    if (call->args->rejected)
        cw_call_settle(call, false, cw_payload_ref(call->args->rejected->payload));
    else if (s->ended)
        cw_call_reject(call, "Error", s->end_message);
    else if (s->held > s->limits.max_held)
        cw_call_reject(call, "RangeError", "too much waits for something in this session");
    else
        deliver(call);
}
