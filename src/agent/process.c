#include "process.h"

#include "agent.h"
#include "process_start.h"

#include <fcntl.h>
#include <sys/wait.h>

#define FD_LIMIT        65536
#define GRACE_TERM_MS   5000
#define GRACE_KILL_MS   1000
#define STDIN_QUEUE_MAX ((size_t)64 * 1024 * 1024) /* the writer is paused long before */

enum { STAGE_RUNNING, STAGE_TERMINATED, STAGE_KILLED };

/* --- the table --- */

static struct process **bucket_of(struct process_table *table, pid_t pid)
{
    return &table->buckets[(unsigned)pid % PROCESS_BUCKETS];
}

static void table_add(struct process *process)
{
    struct process **bucket = bucket_of(&process->agent->processes, process->pid);

    process->next = *bucket;
    *bucket = process;
    process->agent->processes.count++;
}

/* After the exit: the pid may belong to somebody else from now on. */
static struct process *table_take(struct process_table *table, pid_t pid)
{
    for (struct process **at = bucket_of(table, pid); *at; at = &(*at)->next) {
        struct process *process = *at;
        if (process->pid == pid) {
            *at = process->next;
            table->count--;
            return process;
        }
    }
    return NULL;
}

/* Sessions and streams take descriptors; programs expect the limit that the sandbox was given. */
static void raise_fd_limit(struct process_table *table)
{
    struct rlimit raised;

    if (getrlimit(RLIMIT_NOFILE, &table->nofile) < 0)
        return;
    raised = table->nofile;
    raised.rlim_cur = MIN(raised.rlim_max, (rlim_t)FD_LIMIT);
    table->nofile_raised = raised.rlim_cur > table->nofile.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

int process_table_init(struct agent *agent)
{
    agent->processes = (struct process_table){ .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC) };
    raise_fd_limit(&agent->processes);
    return agent->processes.null_fd < 0 ? -1 : 0;
}

/* --- the end --- */

static void free_process(struct loop_deferred *deferred)
{
    free(container_of(deferred, struct process, free_later));
}

static void close_stdin_now(struct process *process)
{
    if (process->stdin_fd < 0)
        return;
    loop_io_remove(process->agent->loop, &process->stdin_io);
    close_fd(&process->stdin_fd);
    buf_free(&process->stdin_queue);
}

static void maybe_end(struct process *process)
{
    if (process->ended || !process->exited || process->out[STREAM_STDOUT].fd >= 0 ||
        process->out[STREAM_STDERR].fd >= 0)
        return;
    process->ended = true;
    loop_timer_stop(process->agent->loop, &process->timer);
    close_stdin_now(process);
    process->events->on_end(process, process->data);
    loop_defer(process->agent->loop, &process->free_later);
}

static void on_stream_end(struct stream *stream)
{
    struct process *process = container_of(stream - stream->index, struct process, out[0]);

    stream_close(stream);
    maybe_end(process);
}

static void on_reaped(struct process *process, int wait_status)
{
    process->exited = true;
    process->wait_status = wait_status;
    if (process->kill_stage == STAGE_RUNNING && !process->limit_covers_streams)
        loop_timer_stop(process->agent->loop, &process->timer);
    /* What it left in its pipes is there now: no need to wait for epoll to say so. */
    for (int i = 0; i < STREAM_COUNT; i++)
        if (process->out[i].fd >= 0 && stream_pump(&process->out[i], SCRATCH_SIZE, false) == STREAM_ENDED)
            stream_close(&process->out[i]);
    maybe_end(process);
}

void process_reap(struct agent *agent)
{
    int status;
    pid_t pid;

    while ((pid = (pid_t)RETRY_EINTR(waitpid(-1, &status, WNOHANG))) > 0) {
        struct process *process = table_take(&agent->processes, pid);
        if (process)
            on_reaped(process, status);
    }
}

int process_status_to_code(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int process_exit_code(const struct process *process)
{
    return process->timed_out ? 124 : process_status_to_code(process->wait_status);
}

/* --- signals and the time limit --- */

void process_signal_group(const struct process *process, int signo)
{
    /*
     * Until the leader is reaped its group id is ours. Afterwards the number stays taken while the group has
     * members; if there is a process of that number again, the group had died out and the number means somebody
     * else.
     */
    if (process->exited && kill(process->pid, 0) == 0)
        return;
    kill(-process->pid, signo);
}

static void next_stage(struct process *process)
{
    struct loop *loop = process->agent->loop;

    switch (process->kill_stage++) {
    case STAGE_RUNNING:
        process_signal_group(process, SIGTERM);
        loop_timer_start(loop, &process->timer, process->grace_ms);
        break;
    case STAGE_TERMINATED:
        process_signal_group(process, SIGKILL);
        loop_timer_start(loop, &process->timer, GRACE_KILL_MS);
        break;
    case STAGE_KILLED:
        /* Whoever still holds the pipes has left the group. Its output is of no use to anybody any more. */
        for (int i = 0; i < STREAM_COUNT; i++)
            stream_close(&process->out[i]);
        maybe_end(process);
        break;
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct process *process = container_of(timer, struct process, timer);

    if (process->kill_stage == STAGE_RUNNING)
        process->timed_out = true;
    next_stage(process);
}

void process_set_time_limit(struct process *process, uint64_t ms)
{
    if (process->kill_stage == STAGE_RUNNING)
        loop_timer_start(process->agent->loop, &process->timer, ms);
}

void process_stop(struct process *process)
{
    if (process->kill_stage == STAGE_RUNNING && !process->ended)
        next_stage(process);
}

void process_kill_all(struct agent *agent)
{
    for (size_t i = 0; i < PROCESS_BUCKETS; i++)
        for (struct process *process = agent->processes.buckets[i]; process; process = process->next)
            process_signal_group(process, SIGKILL);
}

/* --- stdin --- */

static void flush_stdin(struct process *process)
{
    while (process->stdin_queue.len > 0) {
        ssize_t n =
            RETRY_EINTR(write(process->stdin_fd, buf_head(&process->stdin_queue), process->stdin_queue.len));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) { /* EPIPE: it does not read any more; the rest of its stdin goes nowhere, as in a shell */
            close_stdin_now(process);
            return;
        }
        buf_consume(&process->stdin_queue, (size_t)n);
    }
    buf_release_if_empty(&process->stdin_queue);
    if (process->stdin_closing)
        close_stdin_now(process);
    else
        loop_io_modify(process->agent->loop, &process->stdin_io, EPOLLET);
}

static void on_stdin_writable(struct loop_io *io, uint32_t events)
{
    struct process *process = container_of(io, struct process, stdin_io);
    bool waiting = process->stdin_queue.len > 0;

    if (events & EPOLLERR) /* the reading end is closed */
        close_stdin_now(process);
    else
        flush_stdin(process);
    if (waiting && process->stdin_queue.len == 0 && process->events->on_stdin_drain)
        process->events->on_stdin_drain(process, process->data);
}

bool process_write(struct process *process, const void *p, size_t n)
{
    if (process->stdin_fd < 0)
        return true;
    if (buf_append(&process->stdin_queue, p, n) < 0) {
        close_stdin_now(process);
        return true;
    }
    flush_stdin(process);
    if (process->stdin_fd < 0 || process->stdin_queue.len == 0)
        return true;
    loop_io_modify(process->agent->loop, &process->stdin_io, EPOLLOUT | EPOLLET);
    return false;
}

void process_close_stdin(struct process *process)
{
    if (process->stdin_fd < 0)
        return;
    process->stdin_closing = true;
    if (process->stdin_queue.len == 0)
        close_stdin_now(process);
}

void process_resume_output(struct process *process)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_rearm(&process->out[i]);
}

/* --- the start --- */

/* Our ends and the child's ends of its three descriptors. */
struct ends {
    int ours[3];
    int childs[3];
};

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < 3; i++) {
        close_fd(&ends->ours[i]);
        close_fd(&ends->childs[i]);
    }
}

/* Only our end may be non-blocking: the mode belongs to the end, and programs do not expect it of their stdout. */
static int make_ends(const struct process_spec *spec, struct ends *ends)
{
    for (int i = 0; i < 3; i++) {
        int fds[2];
        if (spec->fds[i] != PROCESS_PIPE)
            continue;
        if (pipe2(fds, O_CLOEXEC) < 0)
            return -1;
        ends->ours[i] = fds[i == 0 ? 1 : 0];
        ends->childs[i] = fds[i == 0 ? 0 : 1];
        if (fcntl(ends->ours[i], F_SETFL, O_NONBLOCK) < 0)
            return -1;
    }
    return 0;
}

static int watch_ends(struct process *process, struct ends *ends, struct sink *sink)
{
    struct loop *loop = process->agent->loop;

    for (int i = 0; i < STREAM_COUNT; i++) {
        if (ends->ours[i + 1] < 0)
            continue;
        stream_open(&process->out[i], loop, TAKE_FD(ends->ours[i + 1]), i, sink, on_stream_end);
        if (stream_watch(&process->out[i]) < 0)
            return -1;
    }
    if (ends->ours[0] < 0)
        return 0;
    process->stdin_fd = TAKE_FD(ends->ours[0]);
    return loop_io_add(loop, &process->stdin_io, process->stdin_fd, EPOLLET, on_stdin_writable);
}

static struct process *new_process(struct agent *agent, const struct process_events *events, void *data)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    process->agent = agent;
    process->events = events;
    process->data = data;
    process->out[STREAM_STDOUT].fd = process->out[STREAM_STDERR].fd = -EBADF;
    process->stdin_fd = -EBADF;
    process->grace_ms = GRACE_TERM_MS;
    process->free_later.callback = free_process;
    buf_init(&process->stdin_queue, STDIN_QUEUE_MAX);
    loop_timer_init(&process->timer, on_timer);
    return process;
}

static void discard(struct process *process)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_close(&process->out[i]);
    close_stdin_now(process);
    free(process);
}

struct process *process_spawn(struct agent *agent, const struct process_spec *spec, struct sink *sink,
                              const struct process_events *events, void *data, struct process_error *err)
{
    _cleanup_(close_ends) struct ends ends = { .ours = { -1, -1, -1 }, .childs = { -1, -1, -1 } };
    struct process *process = new_process(agent, events, data);
    int fds[3];

    *err = (struct process_error){ PROCESS_FAIL_RESOURCES, ENOMEM };
    if (!process)
        return NULL;
    if (make_ends(spec, &ends) < 0 || watch_ends(process, &ends, sink) < 0) {
        err->errnum = errno;
        discard(process);
        return NULL;
    }
    for (int i = 0; i < 3; i++)
        fds[i] = ends.childs[i] >= 0 ? ends.childs[i] : spec->fds[i] >= 0 ? spec->fds[i] : agent->processes.null_fd;
    process->pid = process_start(spec, fds, agent->processes.nofile_raised ? &agent->processes.nofile : NULL, err);
    if (process->pid < 0) {
        discard(process);
        return NULL;
    }
    table_add(process);
    return process;
}

const char *process_failure_text(enum process_failure where)
{
    switch (where) {
    case PROCESS_FAIL_CWD:
        return "cannot enter the working directory";
    case PROCESS_FAIL_EXEC:
        return "cannot execute the program";
    case PROCESS_FAIL_RESOURCES:
        break;
    }
    return "cannot start a process";
}
