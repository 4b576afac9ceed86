#include "context.h"

#include "agent/agent.h"
#include "agent/files/make_parents.h"
#include "base/log.h"
#include "spares.h"

#include <fcntl.h>

static const char *const env_prefixes[KERNEL_LANGUAGES] = { "PYTHON", "JAVASCRIPT", "TYPESCRIPT" };

/* --- life --- */

static void make_id(char out[CONTEXT_ID_SIZE])
{
    unsigned char bytes[16];
    char hex[33];

    random_bytes(bytes, sizeof(bytes));
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    hex_encode(bytes, sizeof(bytes), hex);
    snprintf(out, CONTEXT_ID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static void free_env(struct context *context)
{
    for (char **at = context->envp; at && *at; at++)
        free(*at);
    free(context->envp);
    context->envp = NULL;
}

static void free_context(struct loop_deferred *deferred)
{
    struct context *context = container_of(deferred, struct context, free_later);

    free_env(context);
    free(context->cwd);
    free(context);
}

/* A copy of `base` with `over` laid over it. NULL without memory. */
static char **copy_env(const struct env *base, const struct env *over)
{
    struct arena arena;
    char **merged, **copy = NULL;
    size_t n = 0;

    arena_init(&arena, SIZE_MAX / 2);
    merged = env_merge(&arena, base, over);
    while (merged && merged[n])
        n++;
    copy = merged ? calloc(n + 1, sizeof(*copy)) : NULL;
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strdup(merged[i]);
        if (!copy[i]) {
            while (i > 0)
                free(copy[--i]);
            free(copy);
            copy = NULL;
        }
    }
    arena_free(&arena);
    return copy;
}

static struct context *new_context(struct interpreter *interpreter, enum kernel_language language, const char *cwd,
                                   const struct env *env)
{
    struct context *context = calloc(1, sizeof(*context));

    if (!context)
        return NULL;
    context->interpreter = interpreter;
    context->language = language;
    context->cwd = strdup(cwd);
    context->envp = copy_env(&interpreter->agent->env, env);
    context->free_later.callback = free_context;
    make_id(context->id);
    if (!context->cwd || !context->envp) {
        free_context(&context->free_later);
        return NULL;
    }
    return context;
}

static void link_context(struct context *context)
{
    struct context **at = &context->interpreter->contexts;

    while (*at)
        at = &(*at)->next;
    *at = context;
    context->interpreter->count++;
}

static void unlink_context(struct context *context)
{
    struct context **at = &context->interpreter->contexts;

    while (*at != context)
        at = &(*at)->next;
    *at = context->next;
    context->interpreter->count--;
}

static void drop_kernel(struct context *context)
{
    if (context->kernel)
        kernel_free(TAKE_PTR(context->kernel));
}

/* --- executions --- */

static struct code_execution *take_first(struct context *context)
{
    struct code_execution *execution = context->first;

    context->first = execution->next;
    context->running = false;
    execution->context = NULL;
    loop_timer_stop(context->interpreter->agent->loop, &context->timeout);
    return execution;
}

static void fail_execution(struct code_execution *execution, const char *ename, const char *evalue)
{
    execution->events->on_error(execution, str_from(ename), str_from(evalue), NULL);
}

static void fail_all(struct context *context, const char *ename, const char *evalue)
{
    while (context->first)
        fail_execution(take_first(context), ename, evalue);
}

static int64_t limit_of(const struct code_execution *execution, const struct env *env)
{
    const char *text = env_get(env, "INTERPRETER_EXECUTION_TIMEOUT_MS");
    uint64_t ms;

    if (execution->timeout_ms > 0)
        return execution->timeout_ms;
    return text && str_to_u64(str_from(text), &ms) == 0 && ms < INT64_MAX ? (int64_t)ms : 0;
}

static void start_next(struct context *context)
{
    struct agent *agent = context->interpreter->agent;

    while (context->first && context->kernel && context->kernel->state == KERNEL_IDLE) {
        int64_t limit = limit_of(context->first, &agent->env);
        if (kernel_execute(context->kernel, context->first->code) < 0) {
            fail_execution(take_first(context), "MemoryError", "the code does not fit in memory");
            continue;
        }
        context->running = true;
        context->first->timeout_ms = limit;
        if (limit > 0)
            loop_timer_start(agent->loop, &context->timeout, (uint64_t)limit);
    }
}

static void on_timeout(struct loop_timer *timer)
{
    struct context *context = container_of(timer, struct context, timeout);

    context->first->timed_out = true; /* from now on its output is dropped, so nobody's slowness holds it up */
    kernel_interrupt(context->kernel);
    kernel_unblock(context->kernel);
}

static void fail_timed_out(struct code_execution *execution)
{
    char text[80];

    snprintf(text, sizeof(text), "Execution timed out after %lldms", (long long)execution->timeout_ms);
    fail_execution(execution, "TimeoutError", text);
}

static void on_output(struct kernel *kernel, int stream, struct str text)
{
    struct context *context = kernel->data;

    if (context->running && !context->first->timed_out)
        context->first->events->on_output(context->first, stream, text);
}

static void on_result(struct kernel *kernel, const struct json *result)
{
    struct context *context = kernel->data;

    if (context->running && !context->first->timed_out)
        context->first->events->on_result(context->first, result);
}

static void on_error(struct kernel *kernel, const struct json *error)
{
    struct context *context = kernel->data;
    struct code_execution *execution;

    if (!context->running)
        return;
    execution = take_first(context);
    if (execution->timed_out)
        fail_timed_out(execution);
    else
        execution->events->on_error(execution, json_get(error, "ename")->string, json_get(error, "evalue")->string,
                                    json_get(error, "traceback"));
}

static void on_done(struct kernel *kernel)
{
    struct context *context = kernel->data;

    if (context->running) { /* else its error has been told, or it was cancelled */
        struct code_execution *execution = take_first(context);
        if (execution->timed_out)
            fail_timed_out(execution);
        else
            execution->events->on_complete(execution);
    }
    start_next(context);
}

/* --- creation --- */

static void creation_failed(struct context *context, bool missing, const char *reason)
{
    struct context_creation *creation = TAKE_PTR(context->creation);

    drop_kernel(context);
    unlink_context(context);
    creation->on_failed(creation, missing, reason);
    loop_defer(context->interpreter->agent->loop, &context->free_later);
}

static void become(struct context *context)
{
    if (kernel_become(context->kernel, context->language, context->envp, context->cwd) < 0)
        creation_failed(context, false, "out of memory");
}

static void on_ready(struct kernel *kernel)
{
    struct context *context = kernel->data;
    struct context_creation *creation = TAKE_PTR(context->creation);

    free_env(context);
    context->ready = true;
    creation->on_created(creation, context);
    spares_after_use(context->interpreter, kernel->program);
}

static void start(struct context *context, enum kernel_origin origin);

static enum kernel_origin fresh_origin(const struct context *context)
{
    bool snapshot = spares_snapshot_fits(context->interpreter, kernel_program_of(context->language), context->envp);

    return snapshot ? KERNEL_SNAPSHOT : KERNEL_COLD;
}

/* A spare that died is replaced by a fresh interpreter, and one from the snapshot by a cold one. */
static void start_again(struct context *context, const char *reason)
{
    enum kernel_program program = context->kernel->program;
    bool was_spare = strcmp(context->come_by, CONTEXT_SPARE) == 0;
    bool fault = kernel_is_snapshots_fault(context->kernel);

    drop_kernel(context);
    if (fault) {
        log_warn("snapshot_failed", "reason", reason);
        spares_snapshot_failed(context->interpreter, program);
    }
    start(context, was_spare ? fresh_origin(context) : KERNEL_COLD);
}

static void on_dead(struct kernel *kernel)
{
    struct context *context = kernel->data;
    struct interpreter *interpreter = context->interpreter;
    char reason[sizeof(kernel->failure) + 64];
    bool without_ipython =
        kernel->program == KERNEL_PROGRAM_PYTHON && strstr(kernel->failure, "cannot be imported");

    snprintf(reason, sizeof(reason), "%s", kernel->failure);
    if (!context->ready && (kernel->origin == KERNEL_SNAPSHOT || strcmp(context->come_by, CONTEXT_SPARE) == 0)) {
        start_again(context, reason);
        return;
    }
    if (!context->ready) {
        creation_failed(context, without_ipython, reason);
        return;
    }
    interpreter->died++;
    drop_kernel(context);
    if (context->running && context->first->timed_out)
        fail_timed_out(take_first(context));
    snprintf(reason + strlen(reason), sizeof(reason) - strlen(reason), "; the context has ended, create a new one");
    fail_all(context, "InterpreterDied", reason);
}

static const struct kernel_events events = {
    .on_ready = on_ready,
    .on_output = on_output,
    .on_result = on_result,
    .on_error = on_error,
    .on_done = on_done,
    .on_dead = on_dead,
};

static size_t live_count(const struct interpreter *interpreter, enum kernel_language language)
{
    size_t n = 0;

    for (const struct context *context = interpreter->contexts; context; context = context->next)
        n += context->language == language && context->kernel;
    return n;
}

static bool pool_is_full(const struct interpreter *interpreter, enum kernel_language language)
{
    char name[32];
    const char *text;
    uint64_t max;

    snprintf(name, sizeof(name), "%s_POOL_MAX_SIZE", env_prefixes[language]);
    text = env_get(&interpreter->agent->env, name);
    return text && str_to_u64(str_from(text), &max) == 0 && max > 0 && live_count(interpreter, language) >= max;
}

static void start(struct context *context, enum kernel_origin origin)
{
    struct interpreter *interpreter = context->interpreter;
    struct child_error err;
    char reason[192];

    context->kernel = kernel_start(interpreter->agent, kernel_program_of(context->language), origin, context->envp,
                                   context->cwd, &events, context, &err);
    if (context->kernel) {
        if (origin == KERNEL_SNAPSHOT)
            interpreter->started_snapshot++;
        else
            interpreter->started_cold++;
        context->come_by = origin == KERNEL_SNAPSHOT ? "snapshot" : "cold";
        become(context);
        return;
    }
    snprintf(reason, sizeof(reason), "%s: %s", child_failure_text(err.where), strerror(err.errnum));
    creation_failed(context, err.where == CHILD_FAIL_EXEC && err.errnum == ENOENT, reason);
}

void context_create(struct interpreter *interpreter, enum kernel_language language, const char *cwd,
                    const struct env *env, struct context_creation *creation)
{
    struct context *context;

    if (interpreter->count >= CONTEXTS_MAX || pool_is_full(interpreter, language)) {
        creation->on_failed(creation, false, "the largest number of interpreters has been reached");
        return;
    }
    context = new_context(interpreter, language, cwd, env);
    if (!context) {
        creation->on_failed(creation, false, "out of memory");
        return;
    }
    context->creation = creation;
    loop_timer_init(&context->timeout, on_timeout);
    link_context(context);
    if (make_directories(AT_FDCWD, cwd) < 0) {
        creation_failed(context, false, strerror(errno));
        return;
    }
    /* Some variables are read when the program starts. */
    context->kernel = spares_env_fits(env) ? spares_take(interpreter, kernel_program_of(language)) : NULL;
    if (!context->kernel) {
        start(context, fresh_origin(context));
        return;
    }
    interpreter->taken_spare++;
    context->come_by = CONTEXT_SPARE;
    context->kernel->events = &events;
    context->kernel->data = context;
    become(context);
}

/* --- the rest --- */

struct context *context_find(const struct interpreter *interpreter, struct str id)
{
    for (struct context *context = interpreter->contexts; context; context = context->next)
        if (context->ready && str_is(id, context->id))
            return context;
    return NULL;
}

bool context_alive(const struct context *context)
{
    return context->kernel != NULL;
}

void context_delete(struct context *context)
{
    drop_kernel(context);
    fail_all(context, "ContextDeleted", "the context was deleted");
    unlink_context(context);
    loop_defer(context->interpreter->agent->loop, &context->free_later);
}

void context_submit(struct context *context, struct code_execution *execution)
{
    struct code_execution **at = &context->first;

    while (*at)
        at = &(*at)->next;
    *at = execution;
    execution->next = NULL;
    execution->context = context;
    execution->timed_out = false;
    start_next(context);
}

bool context_interrupt(struct context *context)
{
    if (!context->running || !context->kernel)
        return false;
    kernel_interrupt(context->kernel);
    return true;
}

void code_execution_cancel(struct code_execution *execution)
{
    struct context *context = execution->context;
    struct code_execution **at;

    if (!context)
        return;
    if (context->running && context->first == execution) {
        take_first(context);
        kernel_interrupt(context->kernel);
        kernel_unblock(context->kernel);
        return;
    }
    for (at = &context->first; *at != execution; at = &(*at)->next)
        ;
    *at = execution->next;
    execution->context = NULL;
}

void code_execution_block(struct code_execution *execution)
{
    if (execution->context && execution->context->kernel)
        kernel_block(execution->context->kernel);
}

void code_execution_unblock(struct code_execution *execution)
{
    if (execution->context && execution->context->kernel)
        kernel_unblock(execution->context->kernel);
}
