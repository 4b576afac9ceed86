#include "spares.h"

#include "agent/agent.h"

#define KEEP_MS    ((uint64_t)5 * 60 * 1000) /* how long a spare waits that no variable asks for */
#define DELAY_MS   20  /* between a context and the spare behind it, where one is made quickly */
#define WAITS_MAX  100 /* as often for the end of what runs */
#define SPARES_MAX 16
#define ROOMY      ((size_t)512 * 1024 * 1024)

bool spares_env_fits(const struct env *env)
{
    static const char *const read_at_start[] = { "LD_",  "GLIBC_",    "PYTHON", "NODE_", "MALLOC_", "OMP_",
                                                 "MKL_", "OPENBLAS_", "LC_",    "LANG",  "PATH",    "HOME",
                                                 "TZ",   "MPL",       "XDG_",   "UV_",   "OPENSSL_" };

    for (size_t i = 0; env && i < env->count; i++)
        for (size_t k = 0; k < ARRAY_SIZE(read_at_start); k++)
            if (str_has_prefix(str_from(env->items[i]), str_from(read_at_start[k])))
                return false;
    return true;
}

/* Of the environment that snapshots are made in, and that they cannot change any more. */
static bool is_like_snapshot(const char *item)
{
    static const char *const never[] = { "LD_",       "GLIBC_", "PYTHON", "MALLOC_", "OMP_",
                                         "OPENBLAS_", "MKL_",   "MPL",    "XDG_",    "OPENSSL_" };
    struct str text = str_from(item);

    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        if (str_has_prefix(text, str_from(never[i])))
            return false;
    if (str_has_prefix(text, STR("LC_")) || str_has_prefix(text, STR("LANGUAGE=")))
        return false;
    if (str_has_prefix(text, STR("LANG=")))
        return str_is(text, "LANG=C.UTF-8");
    return !str_has_prefix(text, STR("HOME=")) || str_is(text, "HOME=/root");
}

bool spares_snapshot_fits(const struct interpreter *interpreter, enum kernel_program program, char *const *envp)
{
    if (interpreter->snapshot_failed[program] || !kernel_has_snapshot(program))
        return false;
    for (; *envp; envp++)
        if (!is_like_snapshot(*envp))
            return false;
    return true;
}

static struct kernel **find_best(struct interpreter *interpreter, enum kernel_program program)
{
    struct kernel **best = NULL;

    for (struct kernel **at = &interpreter->spare; *at; at = &(*at)->next_spare)
        if ((*at)->program == program && (!best || (*at)->state > (*best)->state))
            best = at;
    return best;
}

static void remove_spare(struct interpreter *interpreter, const struct kernel *kernel)
{
    for (struct kernel **at = &interpreter->spare; *at; at = &(*at)->next_spare) {
        if (*at == kernel) {
            *at = kernel->next_spare;
            return;
        }
    }
}

/* FNV-1a: a spare is as good as what its program found at its start. */
static uint64_t hash_env(const struct env *env)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < env->count; i++) {
        const char *at = env->items[i];
        do /* the end of each item too */
            value = (value ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
        while (*at++);
    }
    return value;
}

static void drop_stale(struct interpreter *interpreter)
{
    uint64_t hash = hash_env(&interpreter->agent->env);

    for (struct kernel **at = &interpreter->spare; *at;) {
        struct kernel *kernel = *at;
        if (kernel->env_hash == hash) {
            at = &kernel->next_spare;
            continue;
        }
        *at = kernel->next_spare;
        kernel_free(kernel);
    }
}

struct kernel *spares_take(struct interpreter *interpreter, enum kernel_program program)
{
    struct kernel **best, *kernel;

    drop_stale(interpreter);
    best = find_best(interpreter, program);
    kernel = best ? *best : NULL;

    if (kernel)
        *best = kernel->next_spare;
    return kernel;
}

size_t interpreter_spares(const struct interpreter *interpreter, enum kernel_program program)
{
    size_t n = 0;

    for (const struct kernel *kernel = interpreter->spare; kernel; kernel = kernel->next_spare)
        n += kernel->program == program;
    return n;
}

void spares_snapshot_failed(struct interpreter *interpreter, enum kernel_program program)
{
    interpreter->snapshot_failed[program] = true;
    for (struct kernel **at = &interpreter->spare; *at;) {
        struct kernel *kernel = *at;
        if (kernel->program != program || kernel->origin != KERNEL_SNAPSHOT) {
            at = &kernel->next_spare;
            continue;
        }
        *at = kernel->next_spare;
        kernel_free(kernel);
    }
}

/* Not made anew: the next context does that, so nothing dies in circles. */
static void on_dead(struct kernel *kernel)
{
    struct interpreter *interpreter = kernel->data;
    enum kernel_program program = kernel->program;
    bool failed = kernel_is_snapshots_fault(kernel);

    remove_spare(interpreter, kernel);
    kernel_free(kernel);
    if (failed)
        spares_snapshot_failed(interpreter, program);
}

static const struct kernel_events events = { .on_dead = on_dead };

static uint64_t minimum(const struct interpreter *interpreter, enum kernel_program program)
{
    static const char *const variables[KERNEL_PROGRAMS][2] = {
        [KERNEL_PROGRAM_PYTHON] = { "PYTHON_POOL_MIN_SIZE", NULL },
        [KERNEL_PROGRAM_NODE] = { "JAVASCRIPT_POOL_MIN_SIZE", "TYPESCRIPT_POOL_MIN_SIZE" },
    };
    uint64_t sum = 0;

    for (size_t i = 0; i < 2; i++) {
        const char *name = variables[program][i];
        const char *text = name ? env_get(&interpreter->agent->env, name) : NULL;
        uint64_t value;
        if (text && str_to_u64(str_from(text), &value) == 0)
            sum += MIN(value, (uint64_t)SPARES_MAX);
    }
    return MIN(sum, (uint64_t)SPARES_MAX);
}

/* An interpreter that nobody asked for must not take the memory that others need. */
static uint64_t wanted(const struct interpreter *interpreter, enum kernel_program program)
{
    bool roomy = interpreter->agent->output_limit >= ROOMY / 4; /* a quarter of what there is */

    return MAX(minimum(interpreter, program), (uint64_t)(interpreter->used[program] && roomy));
}

static char **borrow_env(struct arena *arena, const struct interpreter *interpreter)
{
    return env_merge(arena, &interpreter->agent->env, NULL);
}

/* Failures are ignored: the context that would have got the spare meets them and tells. */
static void top_up(struct interpreter *interpreter, enum kernel_program program)
{
    struct arena arena;
    char **envp;

    arena_init(&arena, SIZE_MAX / 2);
    envp = borrow_env(&arena, interpreter);
    while (envp && interpreter_spares(interpreter, program) < wanted(interpreter, program)) {
        enum kernel_origin origin =
            spares_snapshot_fits(interpreter, program, envp) ? KERNEL_SNAPSHOT : KERNEL_COLD;
        struct child_error err;
        struct kernel *kernel =
            kernel_start(interpreter->agent, program, origin, envp, "/", &events, interpreter, &err);
        if (!kernel)
            break;
        kernel->env_hash = hash_env(&interpreter->agent->env);
        kernel->next_spare = interpreter->spare;
        interpreter->spare = kernel;
    }
    arena_free(&arena);
}

static void shrink(struct interpreter *interpreter, enum kernel_program program)
{
    while (interpreter_spares(interpreter, program) > wanted(interpreter, program))
        kernel_free(spares_take(interpreter, program));
}

static void on_spare_timer(struct loop_timer *timer)
{
    struct interpreter *interpreter = container_of(timer, struct interpreter, spare_timer);

    for (int program = 0; program < KERNEL_PROGRAMS; program++) {
        interpreter->used[program] = false;
        shrink(interpreter, (enum kernel_program)program);
    }
}

static bool is_busy(const struct interpreter *interpreter)
{
    for (const struct context *context = interpreter->contexts; context; context = context->next)
        if (!context->ready || context->running)
            return true;
    return false;
}

/* Not beside what somebody waits for: a sandbox may have one CPU. But what never ends is not waited for. */
static void on_top_up_timer(struct loop_timer *timer)
{
    struct interpreter *interpreter = container_of(timer, struct interpreter, top_up_timer);

    if (interpreter->top_up_waits < WAITS_MAX && is_busy(interpreter) &&
        loop_timer_start(interpreter->agent->loop, timer, DELAY_MS) == 0) {
        interpreter->top_up_waits++;
        return;
    }
    for (int program = 0; program < KERNEL_PROGRAMS; program++)
        top_up(interpreter, (enum kernel_program)program);
}

/*
 * The first cell of the context that was just made is about to come. What starts from its program has to begin at
 * once to be there in time; a snapshot is mapped quickly, and not while that cell runs.
 */
void spares_after_use(struct interpreter *interpreter, enum kernel_program program)
{
    struct loop *loop = interpreter->agent->loop;
    bool quick = !interpreter->snapshot_failed[program] && kernel_has_snapshot(program);

    interpreter->used[program] = true;
    interpreter->top_up_waits = 0;
    loop_timer_start(loop, &interpreter->spare_timer, KEEP_MS);
    if (!quick || loop_timer_start(loop, &interpreter->top_up_timer, DELAY_MS) < 0)
        top_up(interpreter, program);
}

void interpreter_warm(struct interpreter *interpreter)
{
    drop_stale(interpreter);
    for (int program = 0; program < KERNEL_PROGRAMS; program++)
        top_up(interpreter, (enum kernel_program)program);
}

void interpreter_init(struct interpreter *interpreter, struct agent *agent)
{
    interpreter->agent = agent;
    loop_timer_init(&interpreter->spare_timer, on_spare_timer);
    loop_timer_init(&interpreter->top_up_timer, on_top_up_timer);
}
