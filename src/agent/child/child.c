#include "child.h"

#include "agent/agent.h"
#include "child_start.h"
#include "keeper.h"
#include "metered.h"

#include <fcntl.h>
#include <sys/wait.h>

#define FD_LIMIT        65536
#define GRACE_TERM_MS   5000
#define GRACE_KILL_MS   1000
#define DROP_BUDGET     ((size_t)1024 * 1024)      /* the most that a pipe holds */
#define STDIN_QUEUE_MAX ((size_t)64 * 1024 * 1024) /* the writer is paused long before */

enum { STAGE_RUNNING, STAGE_TERMINATED, STAGE_KILLED };

/* --- the table --- */

static struct child **bucket_of(struct child_table *table, pid_t pid)
{
    return &table->buckets[(unsigned)pid % CHILD_BUCKETS];
}

static void table_add(struct child *child)
{
    struct child **bucket = bucket_of(&child->agent->children, child->pid);

    child->next = *bucket;
    *bucket = child;
    child->agent->children.used = true;
    child->agent->children.count++;
}

static struct child *table_find(struct child_table *table, pid_t pid)
{
    struct child *child = *bucket_of(table, pid);

    while (child && child->pid != pid)
        child = child->next;
    return child;
}

bool child_is_known(struct agent *agent, pid_t pid)
{
    return table_find(&agent->children, pid) != NULL;
}

/* After the exit: the pid may belong to somebody else from now on. */
static struct child *table_take(struct child_table *table, pid_t pid)
{
    for (struct child **at = bucket_of(table, pid); *at; at = &(*at)->next) {
        struct child *child = *at;
        if (child->pid == pid) {
            *at = child->next;
            table->count--;
            return child;
        }
    }
    return NULL;
}

/* Sessions and streams take descriptors; programs expect the limit that the sandbox was given. */
static void raise_fd_limit(struct child_table *table)
{
    struct rlimit raised;

    if (getrlimit(RLIMIT_NOFILE, &table->nofile) < 0)
        return;
    raised = table->nofile;
    raised.rlim_cur = MIN(raised.rlim_max, (rlim_t)FD_LIMIT);
    table->nofile_raised = raised.rlim_cur > table->nofile.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

int child_table_init(struct agent *agent)
{
    agent->children = (struct child_table){ .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC) };
    raise_fd_limit(&agent->children);
    return agent->children.null_fd < 0 ? -1 : 0;
}

/* --- the end --- */

static void free_child(struct loop_deferred *deferred)
{
    struct child *child = container_of(deferred, struct child, free_later);

    metered_free(child->metered);
    free(child);
}

static void close_stdin_now(struct child *child)
{
    if (child->stdin_fd < 0)
        return;
    loop_io_remove(child->agent->loop, &child->stdin_io);
    close_fd(&child->stdin_fd);
    buf_free(&child->stdin_queue);
}

static void maybe_end(struct child *child)
{
    if (child->ended || !child->exited || child->out[STREAM_STDOUT].fd >= 0 || child->out[STREAM_STDERR].fd >= 0)
        return;
    child->ended = true;
    loop_timer_stop(child->agent->loop, &child->timer);
    close_stdin_now(child);
    child->events->on_end(child, child->data);
    loop_defer(child->agent->loop, &child->free_later);
}

static void on_stream_end(struct stream *stream)
{
    struct child *child = container_of(stream - stream->index, struct child, out[0]);

    stream_close(stream);
    maybe_end(child);
}

static void on_reaped(struct child *child, int wait_status)
{
    child->exited = true;
    child->wait_status = child->metered ? metered_settle(child->metered) : wait_status;
    if (child->kill_stage == STAGE_RUNNING && !child->limit_covers_streams)
        loop_timer_stop(child->agent->loop, &child->timer);
    /* What it left in its pipes is there now: no need to wait for epoll to say so. */
    for (int i = 0; i < STREAM_COUNT; i++)
        if (child->out[i].fd >= 0 && stream_pump(&child->out[i], SCRATCH_SIZE, false) == STREAM_ENDED)
            stream_close(&child->out[i]);
    if (child->events->on_exit)
        child->events->on_exit(child, child->data);
    maybe_end(child);
}

void child_reap(struct agent *agent)
{
    int status;
    pid_t pid;

    while ((pid = (pid_t)RETRY_EINTR(waitpid(-1, &status, WNOHANG | WUNTRACED))) > 0) {
        struct child *child;
        if (WIFSTOPPED(status)) {
            child = table_find(&agent->children, pid);
            if (child && child->metered)
                metered_stopped(child->metered);
            continue;
        }
        child = table_take(&agent->children, pid);
        if (child)
            on_reaped(child, status);
    }
}

int child_status_to_code(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int child_exit_code(const struct child *child)
{
    return child->timed_out ? 124 : child_status_to_code(child->wait_status);
}

const struct usage *child_usage(const struct child *child)
{
    return child->metered ? &child->metered->usage : NULL;
}

pid_t child_command_pid(const struct child *child)
{
    return child->metered ? child->metered->pid : child->pid;
}

/* --- signals and the time limit --- */

void child_signal_group(const struct child *child, int signo)
{
    if (child->metered) {
        metered_signal(child->metered, signo);
        return;
    }
    /*
     * Until the leader is reaped its group id is ours. Afterwards the number stays taken while the group has
     * members; if there is a process of that number again, the group had died out and the number means somebody
     * else.
     */
    if (child->exited && kill(child->pid, 0) == 0)
        return;
    kill(-child->pid, signo);
}

void child_drop_output(struct child *child)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (child->out[i].fd >= 0)
            (void)stream_pump(&child->out[i], DROP_BUDGET, true);
        stream_close(&child->out[i]);
    }
    maybe_end(child);
}

/* `signo` is what the first one sends. */
static void next_stage(struct child *child, int signo)
{
    struct loop *loop = child->agent->loop;

    switch (child->kill_stage++) {
    case STAGE_RUNNING:
        child_signal_group(child, signo);
        loop_timer_start(loop, &child->timer, child->grace_ms);
        break;
    case STAGE_TERMINATED:
        child_signal_group(child, SIGKILL);
        loop_timer_start(loop, &child->timer, GRACE_KILL_MS);
        break;
    case STAGE_KILLED:
        child_drop_output(child); /* whoever still holds the pipes has left the group */
        break;
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct child *child = container_of(timer, struct child, timer);

    if (child->kill_stage == STAGE_RUNNING)
        child->timed_out = true;
    next_stage(child, SIGTERM);
}

void child_set_time_limit(struct child *child, uint64_t ms)
{
    if (child->kill_stage == STAGE_RUNNING)
        loop_timer_start(child->agent->loop, &child->timer, ms);
}

void child_stop_by(struct child *child, int signo)
{
    if (child->kill_stage == STAGE_RUNNING && !child->ended)
        next_stage(child, signo);
}

void child_stop(struct child *child)
{
    child_stop_by(child, SIGTERM);
}

bool child_is_stopped(const struct child *child)
{
    return child->kill_stage != STAGE_RUNNING;
}

void child_kill_all(struct agent *agent)
{
    for (size_t i = 0; i < CHILD_BUCKETS; i++)
        for (struct child *child = agent->children.buckets[i]; child; child = child->next)
            child_signal_group(child, SIGKILL);
}

/* --- stdin --- */

static void flush_stdin(struct child *child)
{
    while (child->stdin_queue.len > 0) {
        ssize_t n = RETRY_EINTR(write(child->stdin_fd, buf_head(&child->stdin_queue), child->stdin_queue.len));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) { /* EPIPE: it does not read any more; the rest of its stdin goes nowhere, as in a shell */
            close_stdin_now(child);
            return;
        }
        buf_consume(&child->stdin_queue, (size_t)n);
    }
    buf_release_if_empty(&child->stdin_queue);
    if (child->stdin_closing)
        close_stdin_now(child);
    else
        loop_io_modify(child->agent->loop, &child->stdin_io, EPOLLET);
}

static void on_stdin_writable(struct loop_io *io, uint32_t events)
{
    struct child *child = container_of(io, struct child, stdin_io);
    bool waiting = child->stdin_queue.len > 0;

    if (events & EPOLLERR) /* the reading end is closed */
        close_stdin_now(child);
    else
        flush_stdin(child);
    if (waiting && child->stdin_queue.len == 0 && child->events->on_stdin_drain)
        child->events->on_stdin_drain(child, child->data);
}

bool child_write(struct child *child, const void *p, size_t n)
{
    if (child->stdin_fd < 0)
        return true;
    if (buf_append(&child->stdin_queue, p, n) < 0) {
        close_stdin_now(child);
        return true;
    }
    flush_stdin(child);
    if (child->stdin_fd < 0 || child->stdin_queue.len == 0)
        return true;
    loop_io_modify(child->agent->loop, &child->stdin_io, EPOLLOUT | EPOLLET);
    return false;
}

void child_close_stdin(struct child *child)
{
    if (child->stdin_fd < 0)
        return;
    child->stdin_closing = true;
    if (child->stdin_queue.len == 0)
        close_stdin_now(child);
}

void child_resume_output(struct child *child)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_rearm(&child->out[i]);
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
static int make_ends(const struct child_spec *spec, struct ends *ends)
{
    for (int i = 0; i < 3; i++) {
        int fds[2];
        if (spec->fds[i] != CHILD_PIPE)
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

static int watch_ends(struct child *child, struct ends *ends, struct sink *sink)
{
    struct loop *loop = child->agent->loop;

    for (int i = 0; i < STREAM_COUNT; i++) {
        if (ends->ours[i + 1] < 0)
            continue;
        stream_open(&child->out[i], loop, TAKE_FD(ends->ours[i + 1]), i, sink, on_stream_end);
        if (stream_watch(&child->out[i]) < 0)
            return -1;
    }
    if (ends->ours[0] < 0)
        return 0;
    child->stdin_fd = TAKE_FD(ends->ours[0]);
    return loop_io_add(loop, &child->stdin_io, child->stdin_fd, EPOLLET, on_stdin_writable);
}

static struct child *new_child(struct agent *agent, const struct child_events *events, void *data)
{
    struct child *child = calloc(1, sizeof(*child));

    if (!child)
        return NULL;
    child->agent = agent;
    child->events = events;
    child->data = data;
    child->out[STREAM_STDOUT].fd = child->out[STREAM_STDERR].fd = -EBADF;
    child->stdin_fd = -EBADF;
    child->grace_ms = GRACE_TERM_MS;
    child->free_later.callback = free_child;
    buf_init(&child->stdin_queue, STDIN_QUEUE_MAX);
    loop_timer_init(&child->timer, on_timer);
    return child;
}

static void discard(struct child *child)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_close(&child->out[i]);
    close_stdin_now(child);
    metered_free(child->metered);
    free(child);
}

/* The process, or its keeper. */
static pid_t start(struct child *child, const struct child_spec *spec, const struct ends *ends,
                   struct child_error *err)
{
    struct child_table *table = &child->agent->children;
    const struct rlimit *nofile = table->nofile_raised ? &table->nofile : NULL;
    int fds[3], report_fd;
    pid_t command, pid;

    for (int i = 0; i < 3; i++)
        fds[i] = ends->childs[i] >= 0 ? ends->childs[i] : spec->fds[i] >= 0 ? spec->fds[i] : table->null_fd;
    table->starts++;
    if (!child->metered)
        return child_start(spec, fds, nofile, err);
    pid = keeper_start(spec, spec->limits, fds, nofile, &command, &report_fd, err);
    if (pid >= 0 && metered_begin(child->metered, command, report_fd) < 0) {
        kill(pid, SIGQUIT);
        *err = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
        return -1;
    }
    return pid;
}

struct child *child_spawn(struct agent *agent, const struct child_spec *spec, struct sink *sink,
                          const struct child_events *events, void *data, struct child_error *err)
{
    _cleanup_(close_ends) struct ends ends = { .ours = { -1, -1, -1 }, .childs = { -1, -1, -1 } };
    struct child *child = new_child(agent, events, data);

    *err = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
    if (!child)
        return NULL;
    if (spec->limits) {
        child->metered = metered_new(child, spec->limits, sink);
        if (!child->metered) {
            discard(child);
            return NULL;
        }
        sink = &child->metered->sink;
    }
    if (make_ends(spec, &ends) < 0 || watch_ends(child, &ends, sink) < 0) {
        err->errnum = errno;
        discard(child);
        return NULL;
    }
    child->pid = start(child, spec, &ends, err);
    if (child->pid < 0) {
        discard(child);
        return NULL;
    }
    table_add(child);
    return child;
}

struct child *child_adopt(struct agent *agent, pid_t pid, int stdin_fd, const struct child_events *events,
                          void *data)
{
    _cleanup_close_ int owned = stdin_fd;
    siginfo_t info;
    struct child *child;

    if (table_find(&agent->children, pid)) {
        errno = EEXIST;
        return NULL;
    }
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return NULL;
    child = new_child(agent, events, data);
    if (!child)
        return NULL;
    if (owned >= 0) {
        child->stdin_fd = TAKE_FD(owned);
        if (loop_io_add(agent->loop, &child->stdin_io, child->stdin_fd, EPOLLET, on_stdin_writable) < 0) {
            discard(child);
            return NULL;
        }
    }
    child->pid = pid;
    table_add(child);
    return child;
}

const char *child_failure_text(enum child_failure where)
{
    switch (where) {
    case CHILD_FAIL_CWD:
        return "cannot enter the working directory";
    case CHILD_FAIL_EXEC:
        return "cannot execute the program";
    case CHILD_FAIL_LIMITS:
        return "limits cannot be enforced here (limits.network needs seccomp filters)";
    case CHILD_FAIL_RESOURCES:
        break;
    }
    return "cannot start a process";
}
