#include "capnweb_service.h"

#include <inttypes.h>

static unsigned alive;
static struct capnweb_call *open_call;

unsigned service_alive(void)
{
    return alive;
}

struct capnweb_call *service_take_open_call(void)
{
    return TAKE_PTR(open_call);
}

static struct capnweb_value *new_values(struct capnweb_call *call, size_t n)
{
    return arena_calloc(call->arena, n, sizeof(struct capnweb_value));
}

static struct capnweb_value object(struct capnweb_call *call, size_t n, struct capnweb_member **ret)
{
    *ret = arena_calloc(call->arena, n, sizeof(**ret));
    return (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { *ret, *ret ? n : 0 } };
}

static int64_t arg_int(const struct capnweb_call *call, size_t i, int64_t otherwise)
{
    const struct capnweb_value *arg = capnweb_arg(call, i);

    return arg && arg->type == CAPNWEB_INT ? arg->integer : otherwise;
}

static struct str arg_text(const struct capnweb_call *call, size_t i)
{
    const struct capnweb_value *arg = capnweb_arg(call, i);

    return arg && arg->type == CAPNWEB_STRING ? arg->string : STR("");
}

/* --- values --- */

static void do_ping(struct capnweb_call *call)
{
    capnweb_resolve(call, CAPNWEB_NOTHING);
}

static void do_echo(struct capnweb_call *call)
{
    capnweb_resolve(call, call->arg_count > 0 ? call->args[0] : CAPNWEB_NOTHING);
}

static void do_echo_all(struct capnweb_call *call)
{
    struct capnweb_value all = { .type = CAPNWEB_ARRAY };

    all.array.items = new_values(call, call->arg_count + 1);
    if (!all.array.items) {
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    all.array.count = call->arg_count;
    memcpy(all.array.items, call->args, call->arg_count * sizeof(*call->args));
    capnweb_resolve(call, all);
}

static void do_add(struct capnweb_call *call)
{
    capnweb_resolve(call, CAPNWEB_NUMBER((int64_t)((uint64_t)arg_int(call, 0, 0) + (uint64_t)arg_int(call, 1, 0))));
}

/* ["a", [{"x": <argument>}]] under "deep", to be reached by paths. */
static void do_nested(struct capnweb_call *call)
{
    struct capnweb_member *outer, *inner;
    struct capnweb_value result = object(call, 1, &outer), element = object(call, 1, &inner);
    struct capnweb_value *items = new_values(call, 1);

    if (!outer || !inner || !items) {
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    inner[0] = (struct capnweb_member){ STR("x"), call->arg_count > 0 ? call->args[0] : CAPNWEB_NOTHING };
    items[0] = element;
    outer[0] = (struct capnweb_member){ STR("deep"), { .type = CAPNWEB_ARRAY, .array = { items, 1 } } };
    capnweb_resolve(call, result);
}

/* fail(message, code?, details?) */
static void do_fail(struct capnweb_call *call)
{
    const struct capnweb_value *details = capnweb_arg(call, 2);

    capnweb_reject(call, capnweb_error(call->arena, "Error", arg_text(call, 0), arg_text(call, 1),
                                       details ? *details : CAPNWEB_NOTHING));
}

static void do_fail_with(struct capnweb_call *call)
{
    capnweb_reject(call, call->arg_count > 0 ? call->args[0] : CAPNWEB_NOTHING);
}

static void do_never(struct capnweb_call *call)
{
    if (open_call)
        capnweb_reject_error(call, "Error", "there is one already");
    else
        open_call = call;
}

/* --- objects --- */

struct counter {
    struct capnweb_target target;
    int64_t value;
};

static void counter_call(struct capnweb_target *target, struct capnweb_call *call)
{
    struct counter *counter = container_of(target, struct counter, target);
    struct str name = call->path_count == 1 ? call->path[0].name : STR("");

    if (call->is_read && str_is(name, "value")) {
        capnweb_resolve(call, CAPNWEB_NUMBER(counter->value));
    } else if (!call->is_read && str_is(name, "inc")) {
        counter->value = (int64_t)((uint64_t)counter->value + (uint64_t)arg_int(call, 0, 1));
        capnweb_resolve(call, CAPNWEB_NUMBER(counter->value));
    } else {
        capnweb_reject_error(call, "TypeError", "'%.*s' is not a function.", (int)MIN(name.n, 100), name.p);
    }
}

static void counter_dispose(struct capnweb_target *target)
{
    alive--;
    free(container_of(target, struct counter, target));
}

static void do_make_counter(struct capnweb_call *call)
{
    static const struct capnweb_ops ops = { counter_call, counter_dispose };
    struct counter *counter = calloc(1, sizeof(*counter));

    if (!counter) {
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    counter->target = (struct capnweb_target){ &ops, 1 };
    alive++;
    capnweb_resolve(call, CAPNWEB_OF_TARGET(&counter->target));
    capnweb_target_unref(&counter->target);
}

static void do_take(struct capnweb_call *call)
{
    struct capnweb_promise *promise = capnweb_promise_new(call->session);
    struct capnweb_member *members;
    struct capnweb_value result = object(call, 1, &members);
    const struct capnweb_value *arg = capnweb_arg(call, 0);

    if (!promise || !members) {
        capnweb_promise_unref(promise);
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    members[0] = (struct capnweb_member){ STR("p"), { .type = CAPNWEB_PROMISE, .promise = promise } };
    capnweb_promise_settle(promise, true,
                           CAPNWEB_TEXT(arg && arg->type == CAPNWEB_TARGET ? STR("svc") : STR("other")));
    capnweb_resolve(call, result);
    capnweb_promise_unref(promise);
}

/* --- callbacks: callMe(function, n) calls it n times, one after the other --- */

struct caller {
    struct capnweb_call *call;
    struct capnweb_import *function;
    int64_t done, wanted;
};

static void call_next(struct caller *caller);

static void caller_end(struct caller *caller, bool ok, struct capnweb_value value)
{
    struct capnweb_call *call = caller->call;

    alive--;
    capnweb_import_unref(caller->function);
    free(caller);
    value = capnweb_copy(call->arena, &value);
    if (ok)
        capnweb_resolve(call, value);
    else
        capnweb_reject(call, value);
}

static void on_called(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data)
{
    struct caller *caller = data;

    caller->done++;
    if (ok)
        call_next(caller);
    else
        caller_end(caller, false, *value);
    capnweb_import_unref(import);
}

static void call_next(struct caller *caller)
{
    struct capnweb_member members[2] = {
        { STR("text"), CAPNWEB_NOTHING },
        { STR("timestamp"), CAPNWEB_NUMBER(1) },
    };
    struct capnweb_value arg = { .type = CAPNWEB_OBJECT, .object = { members, 2 } };
    struct capnweb_import *result;
    char text[32];

    if (caller->done == caller->wanted) {
        caller_end(caller, true, CAPNWEB_TEXT(STR("done")));
        return;
    }
    snprintf(text, sizeof(text), "line%" PRId64, caller->done);
    members[0].value = CAPNWEB_TEXT(str_from(text));
    result = capnweb_call_start(caller->function, NULL, 0, &arg, 1);
    if (result)
        capnweb_pull(result, on_called, caller);
    else
        caller_end(caller, false, CAPNWEB_NOTHING);
}

static void do_call_me(struct capnweb_call *call)
{
    const struct capnweb_value *function = capnweb_arg(call, 0);
    struct caller *caller;

    if (!function || function->type != CAPNWEB_STUB) {
        capnweb_reject_error(call, "Error", "a function is needed");
        return;
    }
    caller = calloc(1, sizeof(*caller));
    if (!caller) {
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    alive++;
    *caller = (struct caller){ call, capnweb_import_ref(function->import), 0, MIN(arg_int(call, 1, 1), 1000000) };
    if (caller->wanted < 0)
        caller->wanted = 0;
    call_next(caller);
}

/* --- streams --- */

struct producer {
    int64_t done, wanted;
    size_t size; /* of a chunk; 0: "chunk<i>\n" */
    bool breaks;
};

static char filler[65536];

static void producer_ready(struct capnweb_pipe *pipe, void *data)
{
    struct producer *producer = data;
    bool room = true;

    while (room && producer->done < producer->wanted) {
        char text[32];
        size_t n = producer->size;
        if (n == 0)
            n = (size_t)snprintf(text, sizeof(text), "chunk%" PRId64 "\n", producer->done);
        producer->done++;
        room = capnweb_pipe_write(pipe, producer->size ? filler : text, n);
    }
    if (producer->done < producer->wanted)
        return;
    if (producer->breaks) {
        struct capnweb_error_value error = { STR("Error"), STR("source broke"), { NULL, 0 }, CAPNWEB_NOTHING };
        capnweb_pipe_abort(pipe, (struct capnweb_value){ .type = CAPNWEB_ERROR, .error = &error });
    } else {
        capnweb_pipe_close(pipe);
    }
}

static void producer_end(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data)
{
    (void)pipe;
    (void)reason;
    alive--;
    free(data);
}

static void resolve_stream(struct capnweb_call *call, size_t size, bool breaks)
{
    static const struct capnweb_pipe_ops ops = { producer_ready, producer_end };
    struct producer *producer = calloc(1, sizeof(*producer));
    struct capnweb_pipe *pipe;

    pipe = producer ? capnweb_pipe_new(call->session, &ops, producer) : NULL;
    if (!pipe) {
        free(producer);
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    *producer = (struct producer){ 0, arg_int(call, 0, 3), MIN(size, sizeof(filler)), breaks };
    alive++;
    capnweb_resolve(call, CAPNWEB_OF_PIPE(pipe));
}

/* stream(n, size?) */
static void do_stream(struct capnweb_call *call)
{
    resolve_stream(call, (size_t)MAX(arg_int(call, 1, 0), 0), false);
}

static void do_broken_stream(struct capnweb_call *call)
{
    resolve_stream(call, 0, true);
}

struct consumer {
    struct capnweb_call *call;
    struct str path;
    int64_t bytes, limit;
};

static void consumer_chunk(struct capnweb_reader *reader, const struct capnweb_value *chunk, void *data)
{
    struct consumer *consumer = data;

    consumer->bytes += chunk->type == CAPNWEB_BYTES ? (int64_t)chunk->string.n : 0;
    if (consumer->limit > 0 && consumer->bytes > consumer->limit) {
        struct capnweb_call *call = consumer->call;
        free(consumer);
        alive--;
        capnweb_reject_error(call, "Error", "refused");
        capnweb_reader_cancel(reader, "Error", "no thanks");
        return;
    }
    capnweb_reader_ack(reader);
}

static void consumer_abort(struct capnweb_reader *reader, const struct capnweb_value *reason, void *data)
{
    struct consumer *consumer = data;
    struct capnweb_call *call = consumer->call;

    (void)reader;
    free(consumer);
    alive--;
    capnweb_reject(call, capnweb_copy(call->arena, reason));
}

static void consumer_end(struct capnweb_reader *reader, void *data)
{
    struct consumer *consumer = data;
    struct capnweb_call *call = consumer->call;
    struct capnweb_member *members;
    struct capnweb_value result = object(call, 2, &members);

    (void)reader;
    if (!members) {
        consumer_abort(reader, &result, data);
        return;
    }
    members[0] = (struct capnweb_member){ STR("path"), CAPNWEB_TEXT(consumer->path) };
    members[1] = (struct capnweb_member){ STR("bytesWritten"), CAPNWEB_NUMBER(consumer->bytes) };
    free(consumer);
    alive--;
    capnweb_resolve(call, result);
}

/* consume(path, stream, session, limit?) */
static void do_consume(struct capnweb_call *call)
{
    static const struct capnweb_reader_ops ops = { consumer_chunk, consumer_end, consumer_abort };
    const struct capnweb_value *stream = capnweb_arg(call, 1);
    struct consumer *consumer;

    if (!stream || stream->type != CAPNWEB_READER) {
        capnweb_reject_error(call, "Error", "a stream is needed");
        return;
    }
    consumer = calloc(1, sizeof(*consumer));
    if (!consumer) {
        capnweb_reject(call, CAPNWEB_NOTHING);
        return;
    }
    alive++;
    *consumer = (struct consumer){ call, arg_text(call, 0), 0, arg_int(call, 3, 0) };
    capnweb_reader_start(stream->reader, &ops, consumer);
}

/* --- the table --- */

static const struct {
    const char *name;
    void (*run)(struct capnweb_call *call);
} methods[] = {
    { "ping", do_ping },
    { "echo", do_echo },
    { "echoAll", do_echo_all },
    { "add", do_add },
    { "nested", do_nested },
    { "fail", do_fail },
    { "failWith", do_fail_with },
    { "never", do_never },
    { "makeCounter", do_make_counter },
    { "take", do_take },
    { "callMe", do_call_me },
    { "stream", do_stream },
    { "brokenStream", do_broken_stream },
    { "consume", do_consume },
};

static void sub_call(struct capnweb_target *target, struct capnweb_call *call)
{
    struct str name = call->path_count > 0 ? call->path[call->path_count - 1].name : STR("");

    (void)target;
    for (size_t i = 0; i < ARRAY_SIZE(methods) && !call->is_read; i++) {
        if (str_is(name, methods[i].name)) {
            methods[i].run(call);
            return;
        }
    }
    capnweb_reject_error(call, "TypeError", "'%.*s' is not a function.", (int)MIN(name.n, 100), name.p);
}

static void main_call(struct capnweb_target *target, struct capnweb_call *call)
{
    static const struct capnweb_ops ops = { sub_call, NULL };
    static struct capnweb_target sub = { &ops, 1 };

    if (call->is_read && call->path_count == 1 && str_is(call->path[0].name, "sub"))
        capnweb_resolve(call, CAPNWEB_OF_TARGET(&sub));
    else
        sub_call(target, call);
}

struct capnweb_target *service_main(void)
{
    static const struct capnweb_ops ops = { main_call, NULL };
    static struct capnweb_target main = { &ops, 1 };

    return &main;
}
