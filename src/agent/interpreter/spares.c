#include "spares.h"

#include "../agent.h"

#define KEEP_MS    ((uint64_t)5 * 60 * 1000) /* how long a spare waits that no variable asks for */
#define SPARES_MAX 16
#define ROOMY      ((size_t)512 * 1024 * 1024)

bool spares_env_fits(const struct env *env)
{
    static const char *const read_at_start[] = { "LD_", "PYTHON", "NODE_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_",
                                                 "LC_", "LANG",   "PATH",  "HOME",    "TZ",   "MPL" };

    for (size_t i = 0; env && i < env->count; i++)
        for (size_t k = 0; k < ARRAY_SIZE(read_at_start); k++)
            if (str_has_prefix(str_from(env->items[i]), str_from(read_at_start[k])))
                return false;
    return true;
}

/* Of the environment that snapshots are made in, and that they cannot change any more. */
static bool is_like_snapshot(const char *item)
{
    static const char *const never[] = { "LD_", "PYTHON", "MALLOC_", "GLIBC_", "OMP_", "OPENBLAS_", "MKL_", "MPL" };
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

struct kernel *spares_take(struct interpreter *interpreter, enum kernel_program program)
{
    struct kernel **best = find_best(interpreter, program);
    struct kernel *kernel = best ? *best : NULL;

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

static void on_dead(struct kernel *kernel)
{
    struct interpreter *interpreter = kernel->data;

    if (kernel->origin == KERNEL_SNAPSHOT)
        interpreter->snapshot_failed[kernel->program] = true;
    remove_spare(interpreter, kernel);
    kernel_free(kernel);
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

    bool useful =
        interpreter->used[program] && (interpreter->snapshot_failed[program] || !kernel_has_snapshot(program));

    return MAX(minimum(interpreter, program), (uint64_t)(useful && roomy));
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

void spares_after_use(struct interpreter *interpreter, enum kernel_program program)
{
    interpreter->used[program] = true;
    loop_timer_start(interpreter->agent->loop, &interpreter->spare_timer, KEEP_MS);
    top_up(interpreter, program);
}

void interpreter_warm(struct interpreter *interpreter)
{
    for (int program = 0; program < KERNEL_PROGRAMS; program++)
        top_up(interpreter, (enum kernel_program)program);
}

void interpreter_init(struct interpreter *interpreter, struct agent *agent)
{
    interpreter->agent = agent;
    loop_timer_init(&interpreter->spare_timer, on_spare_timer);
}
