#include "kernel.h"

#include "agent/agent.h"
#include "kernel_sources.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SNAPSHOT_RESTORE "/usr/lib/berm/restore"
#define SNAPSHOT_PYTHON  "/usr/lib/berm/python.snapshot"

#define CHANNEL_AT       3 /* the channel's number in the kernel: node hides the low ones from its own children */
#define GATHER_MS        10
#define GATHER_LINE_MS   50    /* print() writes a line in two parts: they are told as one */
#define START_LIMIT_MS   60000 /* INTERPRETER_SPAWN_TIMEOUT_MS changes it */
#define PATIENCE_MS      5000
#define SIGNAL_AFTER_MS  50 /* node has that long to see the frame of an interrupt */
#define END_GRACE_MS     1000
#define EXIT_WAIT_MS     500 /* between the end of the channel and the exit status */
#define DRAIN_BUDGET     ((size_t)1024 * 1024)
#define RESULT_ARENA_MAX ((size_t)512 * 1024 * 1024) /* strings once more, and a struct for each value */

#define FOREIGN_FRAME    "the interpreter's channel was written to by something else"

struct program {
    const char *file;
    const char *const *argv; /* but for the boot text, which comes last */
    const char *boot;
    const char *source;
    size_t source_size;
};

/* -u: the output streams while code runs. Warnings of node's own would land in the middle of the user's output. */
static const char *const python_argv[] = { "python3", "-u", "-c" };
static const char *const node_argv[] = { "node", "--no-warnings", "-e" };
#define ARGV_COUNT 3

static const struct program programs[KERNEL_PROGRAMS] = {
    [KERNEL_PROGRAM_PYTHON] = { "python3", python_argv, (const char *)kernel_python_boot,
                                (const char *)kernel_python_source, sizeof(kernel_python_source) - 1 },
    [KERNEL_PROGRAM_NODE] = { "node", node_argv, (const char *)kernel_javascript_boot,
                              (const char *)kernel_javascript_source, sizeof(kernel_javascript_source) - 1 },
};

enum kernel_program kernel_program_of(enum kernel_language language)
{
    return language == KERNEL_PYTHON ? KERNEL_PROGRAM_PYTHON : KERNEL_PROGRAM_NODE;
}

const char *kernel_language_name(enum kernel_language language)
{
    static const char *const names[KERNEL_LANGUAGES] = { "python", "javascript", "typescript" };

    return names[language];
}

/* --- the end --- */

static void free_kernel(struct loop_deferred *deferred)
{
    struct kernel *kernel = container_of(deferred, struct kernel, free_later);

    buf_free(&kernel->output);
    free(kernel);
}

static void maybe_free(struct kernel *kernel)
{
    if (kernel->released && !kernel->child)
        loop_defer(kernel->agent->loop, &kernel->free_later);
}

static void end_process(struct kernel *kernel)
{
    channel_close(&kernel->channel);
    loop_timer_stop(kernel->agent->loop, &kernel->timer);
    loop_timer_stop(kernel->agent->loop, &kernel->flush_timer);
    if (kernel->child) {
        kernel->child->grace_ms = END_GRACE_MS;
        child_resume_output(kernel->child); /* into nothing */
        child_stop(kernel->child);
    }
}

/* Tells of the death once. `failure` stays as it is when it says something already. */
static void die(struct kernel *kernel, const char *failure)
{
    if (kernel->state == KERNEL_DEAD)
        return;
    kernel->state = KERNEL_DEAD;
    if (!kernel->failure[0])
        snprintf(kernel->failure, sizeof(kernel->failure), "%s", failure);
    end_process(kernel);
    if (!kernel->released)
        kernel->events->on_dead(kernel);
}

void kernel_free(struct kernel *kernel)
{
    kernel->released = true;
    kernel->state = KERNEL_DEAD;
    end_process(kernel);
    maybe_free(kernel);
}

/* --- output --- */

static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct kernel *kernel = container_of(sink, struct kernel, sink);

    (void)stream;
    if (kernel->blocked && !kernel->released && !final)
        return NULL;
    *room = SCRATCH_SIZE;
    return scratch;
}

static void flush_output(struct kernel *kernel)
{
    loop_timer_stop(kernel->agent->loop, &kernel->flush_timer);
    kernel->awaits_line = false;
    if (kernel->output.len > 0 && !kernel->released)
        kernel->events->on_output(kernel, kernel->output_stream, buf_str(&kernel->output));
    buf_clear(&kernel->output);
}

static void on_flush_timer(struct loop_timer *timer)
{
    struct kernel *kernel = container_of(timer, struct kernel, flush_timer);
    bool whole = kernel->output.len > 0 && buf_head(&kernel->output)[kernel->output.len - 1] == '\n';

    if (whole || kernel->awaits_line || loop_timer_start(kernel->agent->loop, timer, GATHER_LINE_MS) < 0)
        flush_output(kernel);
    else
        kernel->awaits_line = true;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct kernel *kernel = container_of(sink, struct kernel, sink);

    if (kernel->released)
        return;
    if (kernel->output_stream != stream)
        flush_output(kernel);
    kernel->output_stream = stream;
    if (utf8_stream_part(&kernel->partial[stream], &kernel->output, (struct str){ scratch, n }, false) < 0)
        die(kernel, "out of memory for the output");
    else if (kernel->output.len >= SCRATCH_SIZE / 2 ||
             (!loop_timer_armed(&kernel->flush_timer) &&
              loop_timer_start(kernel->agent->loop, &kernel->flush_timer, GATHER_MS) < 0))
        flush_output(kernel);
}

/* What the code printed before a frame is taken before it, even if the taker is blocked: a pipe's worth at most. */
static void drain_output(struct kernel *kernel)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        if (kernel->child && kernel->child->out[i].fd >= 0)
            (void)stream_pump(&kernel->child->out[i], DRAIN_BUDGET, true);
}

/* What is left at an end, the bytes of a character that was not completed included. */
static void finish_output(struct kernel *kernel)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (kernel->partial[i].count == 0)
            continue;
        if (kernel->output_stream != i)
            flush_output(kernel);
        kernel->output_stream = i;
        (void)utf8_stream_end(&kernel->partial[i], &kernel->output);
    }
    flush_output(kernel);
}

void kernel_block(struct kernel *kernel)
{
    kernel->blocked = true;
    channel_pause(&kernel->channel);
}

static void on_process_gone(struct kernel *kernel)
{
    channel_drain(&kernel->channel);
    if (kernel->channel.paused || kernel->state == KERNEL_DEAD)
        return;
    drain_output(kernel);
    finish_output(kernel);
    if (WIFSIGNALED(kernel->wait_status))
        snprintf(kernel->failure, sizeof(kernel->failure), "the interpreter was killed by signal %d%s",
                 WTERMSIG(kernel->wait_status),
                 WTERMSIG(kernel->wait_status) == SIGKILL ? " (out of memory, or killed by somebody)" : "");
    else if (!kernel->failure[0])
        snprintf(kernel->failure, sizeof(kernel->failure), "the interpreter exited with code %d",
                 WEXITSTATUS(kernel->wait_status));
    die(kernel, "");
}

void kernel_unblock(struct kernel *kernel)
{
    if (!kernel->blocked)
        return;
    kernel->blocked = false;
    if (kernel->child)
        child_resume_output(kernel->child);
    channel_resume(&kernel->channel);
    if (kernel->exited && !kernel->channel.paused)
        on_process_gone(kernel);
}

/* --- frames --- */

static bool is_text(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);

    return value && value->type == JSON_STRING;
}

static void take_failure(struct kernel *kernel, const struct json *value)
{
    const char *message = NULL;

    if (json_field_cstring(value, "message", &message, NULL) == 0 && message)
        snprintf(kernel->failure, sizeof(kernel->failure), "%s", message);
    kernel->outdated = strstr(kernel->failure, "since the snapshot was made") != NULL;
    die(kernel, "the interpreter gave up");
}

static void take_done(struct kernel *kernel)
{
    kernel->state = KERNEL_IDLE;
    loop_timer_stop(kernel->agent->loop, &kernel->timer);
    kernel->events->on_done(kernel);
}

/* It has been interrupted by a frame, and not by a signal yet. */
static bool is_asked_to_stop(const struct kernel *kernel)
{
    return kernel->state == KERNEL_RUNNING && kernel->child && loop_timer_armed(&kernel->timer) &&
           !kernel->signalled;
}

static void signal_interrupt(struct kernel *kernel)
{
    kernel->signalled = true;
    child_signal_group(kernel->child, SIGINT);
    if (kernel->program == KERNEL_PROGRAM_NODE)
        (void)channel_send(&kernel->channel, 'C', STR("{\"signal\":true}")); /* if that fails, patience runs out */
    loop_timer_start(kernel->agent->loop, &kernel->timer, PATIENCE_MS);
}

static bool take_error(struct kernel *kernel, const struct json *value)
{
    const struct json *traceback = json_get(value, "traceback");

    if (!is_text(value, "ename") || !is_text(value, "evalue") || !traceback || traceback->type != JSON_ARRAY)
        return false;
    kernel->events->on_error(kernel, value);
    return true;
}

/* False: the frame is not allowed now, or not at all. */
static bool take_frame(struct kernel *kernel, char kind, const struct json *value)
{
    switch (kind) {
    case 'P':
        if (kernel->state != KERNEL_STARTING)
            return false;
        kernel->prepared = true;
        kernel->state = kernel->told_to_become ? KERNEL_BECOMING : KERNEL_PREPARED;
        if (kernel->state == KERNEL_PREPARED)
            loop_timer_stop(kernel->agent->loop, &kernel->timer);
        return true;
    case 'R':
        if (kernel->state != KERNEL_BECOMING)
            return false;
        kernel->state = KERNEL_IDLE;
        loop_timer_stop(kernel->agent->loop, &kernel->timer);
        kernel->events->on_ready(kernel);
        return true;
    case 'F':
        if (kernel->state != KERNEL_STARTING && kernel->state != KERNEL_BECOMING)
            return false;
        take_failure(kernel, value);
        return true;
    case 'r':
        /* What a timer of an earlier cell shows comes too late for it and is not this one's. */
        if (kernel->state == KERNEL_RUNNING)
            kernel->events->on_result(kernel, value);
        return true;
    case 'e':
        return kernel->state == KERNEL_RUNNING && take_error(kernel, value);
    case 's':
        if (is_asked_to_stop(kernel))
            signal_interrupt(kernel);
        return kernel->state == KERNEL_RUNNING;
    case 'd':
        if (kernel->state != KERNEL_RUNNING)
            return false;
        take_done(kernel);
        return true;
    default:
        return false;
    }
}

static void on_frame(struct channel *channel, const struct frame *frame)
{
    struct kernel *kernel = container_of(channel, struct kernel, channel);
    const struct json *value;
    struct arena arena;

    if (kernel->drained != channel->reads) {
        kernel->drained = channel->reads;
        drain_output(kernel);
    }
    if (frame->kind == 'd' || frame->kind == 'e')
        finish_output(kernel);
    else
        flush_output(kernel);
    if (kernel->state == KERNEL_DEAD)
        return;
    arena_init(&arena, RESULT_ARENA_MAX);
    if (json_parse(&arena, frame->payload, JSON_MAX_DEPTH, &value, NULL) < 0 || value->type != JSON_OBJECT ||
        !take_frame(kernel, frame->kind, value))
        die(kernel, FOREIGN_FRAME);
    arena_free(&arena);
}

static void on_channel_close(struct channel *channel)
{
    struct kernel *kernel = container_of(channel, struct kernel, channel);

    if (channel->broken) {
        die(kernel, FOREIGN_FRAME);
        return;
    }
    /* The exit status says more, and comes at once; a process that only closed the channel is no interpreter. */
    if (kernel->exited)
        return;
    loop_timer_start(kernel->agent->loop, &kernel->timer, EXIT_WAIT_MS);
}

/* --- the process --- */

static void on_kernel_exit(struct child *child, void *data)
{
    struct kernel *kernel = data;

    kernel->exited = true;
    kernel->wait_status = child->wait_status;
    if (!kernel->channel.paused)
        on_process_gone(kernel);
}

static void on_end(struct child *child, void *data)
{
    struct kernel *kernel = data;

    (void)child;
    kernel->child = NULL;
    maybe_free(kernel);
}

static const struct child_events child_events = { .on_exit = on_kernel_exit, .on_end = on_end };

static void on_timer(struct loop_timer *timer)
{
    struct kernel *kernel = container_of(timer, struct kernel, timer);

    if (kernel->channel.fd < 0) {
        die(kernel, "the interpreter closed its channel");
    } else if (kernel->state == KERNEL_RUNNING && kernel->child && !kernel->signalled) {
        signal_interrupt(kernel); /* code that does not yield: it sees no frame */
    } else if (kernel->state == KERNEL_RUNNING) {
        die(kernel, "the code did not stop when it was interrupted, so the interpreter was ended");
        if (kernel->child)
            child_signal_group(kernel->child, SIGKILL);
    } else {
        die(kernel, "the interpreter did not start in time");
    }
}

static void start_timer(struct kernel *kernel)
{
    const char *text = env_get(&kernel->agent->env, "INTERPRETER_SPAWN_TIMEOUT_MS");
    uint64_t ms;

    if (!text || str_to_u64(str_from(text), &ms) < 0 || ms == 0)
        ms = START_LIMIT_MS;
    loop_timer_start(kernel->agent->loop, &kernel->timer, ms);
}

/* A snapshot is only good for the text that it was made of. FNV-1a, as kernels/snapshot has it. */
static const char *source_hash(void)
{
    static char text[17];
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    if (text[0])
        return text;
    for (size_t i = 0; i < programs[KERNEL_PROGRAM_PYTHON].source_size; i++)
        value = (value ^ (unsigned char)programs[KERNEL_PROGRAM_PYTHON].source[i]) * UINT64_C(0x100000001b3);
    snprintf(text, sizeof(text), "%llx", (unsigned long long)value);
    return text;
}

bool kernel_has_snapshot(enum kernel_program program)
{
    return program == KERNEL_PROGRAM_PYTHON && access(SNAPSHOT_RESTORE, X_OK) == 0 &&
           access(SNAPSHOT_PYTHON, R_OK) == 0;
}

bool kernel_is_snapshots_fault(const struct kernel *kernel)
{
    return kernel->origin == KERNEL_SNAPSHOT && (!kernel->prepared || kernel->outdated);
}

static void choose_program(const struct kernel *kernel, struct child_spec *spec, const char *argv[ARGV_COUNT + 2])
{
    const struct program *program = &programs[kernel->program];

    if (kernel->origin == KERNEL_SNAPSHOT) {
        spec->file = SNAPSHOT_RESTORE;
        argv[0] = program->file;
        argv[1] = SNAPSHOT_PYTHON;
        argv[2] = source_hash();
        return;
    }
    spec->file = program->file;
    for (int i = 0; i < ARGV_COUNT; i++)
        argv[i] = program->argv[i];
    argv[ARGV_COUNT] = program->boot;
}

static struct child *spawn(struct kernel *kernel, int channel, char *const *envp, const char *cwd,
                           struct child_error *err)
{
    struct child_spec spec = CHILD_SPEC_INIT;
    const char *argv[ARGV_COUNT + 2] = { NULL };

    choose_program(kernel, &spec, argv);
    spec.argv = (char *const *)argv;
    spec.envp = envp;
    spec.cwd = cwd;
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    spec.extra_fd = channel;
    spec.extra_at = CHANNEL_AT;
    return child_spawn(kernel->agent, &spec, &kernel->sink, &child_events, kernel, err);
}

static struct kernel *new_kernel(struct agent *agent, enum kernel_program program)
{
    struct kernel *kernel = calloc(1, sizeof(*kernel));

    if (!kernel)
        return NULL;
    kernel->agent = agent;
    kernel->program = program;
    kernel->sink = (struct sink){ reserve, commit };
    kernel->channel.fd = -EBADF;
    kernel->channel.on_frame = on_frame;
    kernel->channel.on_close = on_channel_close;
    kernel->free_later.callback = free_kernel;
    loop_timer_init(&kernel->timer, on_timer);
    loop_timer_init(&kernel->flush_timer, on_flush_timer);
    buf_init(&kernel->output, SCRATCH_SIZE * 4);
    return kernel;
}

/* A snapshot has its text already. */
static int send_source(struct kernel *kernel)
{
    const struct program *program = &programs[kernel->program];

    if (kernel->origin == KERNEL_SNAPSHOT)
        return 0;
    return channel_send(&kernel->channel, 'S', (struct str){ program->source, program->source_size });
}

struct kernel *kernel_start(struct agent *agent, enum kernel_program program, enum kernel_origin origin,
                            char *const *envp, const char *cwd, const struct kernel_events *events, void *data,
                            struct child_error *err)
{
    struct kernel *kernel = new_kernel(agent, program);
    _cleanup_close_ int theirs = -EBADF;
    int pair[2];

    *err = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
    if (!kernel)
        return NULL;
    kernel->origin = origin;
    kernel->events = events;
    kernel->data = data;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        err->errnum = errno;
        free(kernel);
        return NULL;
    }
    theirs = pair[1];
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0 || channel_open(&kernel->channel, agent->loop, pair[0]) < 0 ||
        send_source(kernel) < 0 || !(kernel->child = spawn(kernel, theirs, envp, cwd, err))) {
        kernel_free(kernel);
        return NULL;
    }
    start_timer(kernel);
    return kernel;
}

/* --- requests --- */

static int send_object(struct kernel *kernel, char kind, struct json_writer *w)
{
    json_object_end(w);
    return json_writer_finish(w) < 0 ? -1 : channel_send(&kernel->channel, kind, buf_str(w->out));
}

static void put_env(struct json_writer *w, char *const *envp)
{
    json_key(w, "env");
    json_object_begin(w);
    for (; *envp; envp++) {
        struct str name = env_item_name(*envp);
        json_key_str(w, name);
        json_cstring(w, *envp + name.n + 1);
    }
    json_object_end(w);
}

int kernel_become(struct kernel *kernel, enum kernel_language language, char *const *envp, const char *cwd)
{
    struct json_writer w;
    struct buf text;
    int rc;

    buf_init(&text, FRAME_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_cstring(&w, "language", kernel_language_name(language));
    json_pair_cstring(&w, "cwd", cwd);
    put_env(&w, envp);
    rc = send_object(kernel, 'I', &w);
    buf_free(&text);
    if (rc < 0)
        return -1;
    if (kernel->state == KERNEL_STARTING) {
        kernel->told_to_become = true;
        return 0;
    }
    kernel->state = KERNEL_BECOMING;
    start_timer(kernel);
    return 0;
}

int kernel_execute(struct kernel *kernel, struct str code)
{
    struct json_writer w;
    struct buf text;
    int rc;

    drain_output(kernel); /* what was printed since the last execution is nobody's */
    finish_output(kernel);
    buf_init(&text, FRAME_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_string(&w, "code", code);
    rc = send_object(kernel, 'X', &w);
    buf_free(&text);
    if (rc == 0)
        kernel->state = KERNEL_RUNNING;
    return rc;
}

void kernel_interrupt(struct kernel *kernel)
{
    if (kernel->state != KERNEL_RUNNING || !kernel->child || loop_timer_armed(&kernel->timer))
        return;
    kernel->signalled = false;
    if (kernel->program != KERNEL_PROGRAM_NODE || channel_send(&kernel->channel, 'C', STR("{}")) < 0 ||
        loop_timer_start(kernel->agent->loop, &kernel->timer, SIGNAL_AFTER_MS) < 0)
        signal_interrupt(kernel);
}
