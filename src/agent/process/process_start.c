#include "process_start.h"

#include "agent/agent.h"
#include "process_kill.h"
#include "process_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static struct process *new_record(struct process_start *start)
{
    const struct process_record record = {
        .id = start->id,
        .command = start->command,
        .session_id = start->session_id,
        .log_limit = start->log_limit,
        .mark = start->mark,
    };

    return process_new(start->rq->agent, &record);
}

static void finish(struct process_start *start)
{
    struct request *rq = start->rq;

    start->on_finished(start);
    request_unhold(rq);
}

static void finish_started(struct process_start *start, struct process *process)
{
    start->on_started(start, process);
    finish(start);
}

static void finish_failed(struct process_start *start, enum process_failure failure, const char *reason,
                          int exit_code)
{
    start->on_failed(start, failure, reason, exit_code);
    finish(start);
}

/* `process` NULL: not even the record. */
static void fail_with_record(struct process_start *start, struct process *process, const char *reason)
{
    if (process)
        process_fail(process, reason);
    finish_failed(start, PROCESS_FAIL_START, reason, 0);
}

/* --- without a session --- */

static void start_alone(struct process_start *start)
{
    struct bash_spec bash = { .text = start->command,
                              .env = &start->env,
                              .cwd = start->cwd,
                              .stdin_fd = start->with_stdin ? CHILD_PIPE : CHILD_NULL,
                              .limits = start->limits,
                              .mark = start->mark };
    struct process *process = new_record(start);
    struct process_run *run;
    struct child_error err;

    if (!process) {
        fail_with_record(start, NULL, "out of memory");
        return;
    }
    run = process->run;
    run->child = command_spawn(start->rq, &bash, &run->sink, &process_child_events, run, &err);
    if (!run->child) {
        fail_with_record(start, process, command_spawn_failure(start->rq, &err, start->cwd));
        return;
    }
    process->pid = child_command_pid(run->child);
    if (start->timeout_ms >= 0) {
        run->limit_ms = (uint64_t)start->timeout_ms;
        if (loop_timer_start(process->agent->loop, &run->limit, run->limit_ms) < 0)
            process_kill(process, SIGKILL); /* it must not run without its limit */
    }
    finish_started(start, process);
}

/* --- in a session --- */

static void release(struct process_start *start)
{
    if (start->op.session)
        session_release(&start->op);
    if (start->pair)
        fifo_pair_free(TAKE_PTR(start->pair));
    if (start->in_path[0])
        unlink(start->in_path);
    close_fd(&start->in_fd);
}

static void fail_in_session(struct process_start *start, const char *reason)
{
    release(start);
    fail_with_record(start, new_record(start), reason);
}

/*
 * Its stdin is open by now, and ours is both ends of it. One that is only for writing tells when nobody reads any
 * more, and its end is the end of the process's input.
 */
static int take_stdin(struct process_start *start)
{
    int fd = start->in_fd >= 0 ? open(start->in_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW) : -1;

    close_fd(&start->in_fd);
    return fd;
}

/* The process is ours; it goes on once its pair is open. */
static void adopt(struct process_start *start, struct process *process, pid_t pid)
{
    struct process_run *run = process->run;

    process->pid = pid;
    run->pair = TAKE_PTR(start->pair);
    fifo_pair_set_sink(run->pair, &run->sink);
    run->child = child_adopt(process->agent, pid, take_stdin(start), &process_child_events, run);
    if (!run->child) {
        if (errno != ECHILD && errno != EEXIST)
            kill(pid, SIGKILL); /* without memory: it would wait for ever */
        fifo_pair_free(TAKE_PTR(run->pair));
        run->lost = true;
        process_maybe_end(run);
        return;
    }
    if (fifo_pair_open(run->pair) < 0 || fifo_pair_watch(run->pair) < 0) {
        process_put_line(run, "its output cannot be read: the FIFOs are gone");
        process_kill(process, SIGKILL);
    }
}

/* The process has been told of, and there is none: it ends as one that did not start. */
static void fail_early(struct process_start *start, const char *reason)
{
    struct process *process = TAKE_PTR(start->process);

    process->run->arriving = false;
    process_fail(process, reason);
    process_unref(process);
    finish(start);
}

static void on_started(struct shell_job *job, pid_t pid)
{
    struct process_start *start = container_of(job, struct process_start, job);
    struct process *process = new_record(start);

    if (!process)
        return; /* on_done tries again */
    process->pid = pid;
    process->run->arriving = true;
    start->process = process_ref(process);
    start->on_started(start, process);
}

static void arrive(struct process_start *start, struct process *process, pid_t pid)
{
    struct process_run *run = process->run;

    run->arriving = false;
    adopt(start, process, pid);
    if (run->kill_signal != 0)
        process_kill(process, run->kill_signal);
}

static void on_done(struct shell_job *job, int status)
{
    struct process_start *start = container_of(job, struct process_start, job);
    struct agent *agent = start->rq->agent;
    bool told = start->process != NULL;
    struct process *process;

    (void)status;
    if (job->background_pid <= 1) {
        fail_in_session(start, "the shell of the session cannot start a process");
        return;
    }
    process = told ? TAKE_PTR(start->process) : new_record(start);
    if (!process) {
        kill(job->background_pid, SIGKILL);
        release(start);
        fail_with_record(start, NULL, "out of memory");
        return;
    }
    if (!told)
        process_ref(process);
    arrive(start, process, job->background_pid);
    release(start);
    if (told)
        finish(start);
    else
        finish_started(start, process);
    process_unref(process);
    fifo_pair_make_spare(agent); /* after the answer */
}

static void on_shell_exit(struct shell_job *job, int exit_code)
{
    struct process_start *start = container_of(job, struct process_start, job);

    session_discard(start->op.session);
    release(start);
    if (start->process)
        fail_early(start, "the shell of the session exited");
    else
        finish_failed(start, PROCESS_FAIL_TERMINATED, NULL, exit_code);
}

static void on_terminated(struct session_op *op, int exit_code)
{
    struct process_start *start = container_of(op, struct process_start, op);

    release(start);
    finish_failed(start, PROCESS_FAIL_TERMINATED, NULL, exit_code);
}

/* Both ways, so that neither side waits for the other to open it. */
static int make_stdin(struct process_start *start)
{
    if (fifo_dir_make(start->rq->agent, S_IFIFO, start->in_path) < 0) {
        start->in_path[0] = '\0';
        return -1;
    }
    start->in_fd = open(start->in_path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    return start->in_fd < 0 ? -1 : 0;
}

static void run_in_session(struct session_op *op)
{
    struct process_start *start = container_of(op, struct process_start, op);
    struct shell_command command = {
        .text = start->command, .cwd = start->cwd, .env = &start->env, .mark = start->mark
    };
    struct berm_error err;
    struct shell *shell = session_shell(op->session, &err);
    bool ready;

    if (!shell) {
        session_discard(op->session);
        release(start);
        finish_failed(start, PROCESS_FAIL_SESSION, err.message, 0);
        return;
    }
    start->pair = fifo_pair_make(start->rq->agent);
    if (!start->pair || (start->with_stdin && make_stdin(start) < 0)) {
        fail_in_session(start, "cannot make the FIFOs for the command");
        return;
    }
    command.background = start->pair;
    command.in_path = start->with_stdin ? start->in_path : NULL;
    ready = start->on_accepted && shell_ready(shell);
    if (shell_run(shell, &start->job, &command, &err) < 0)
        fail_in_session(start, err.message);
    else if (ready)
        start->on_accepted(start);
}

/* As upstream does it: it is started, and has failed. */
static void start_failed(struct process_start *start, const char *reason)
{
    struct process *process = new_record(start);

    if (!process) {
        fail_with_record(start, NULL, "out of memory");
        return;
    }
    process_ref(process);
    process_fail(process, reason);
    finish_started(start, process);
    process_unref(process);
}

static void start_in_session(struct process_start *start)
{
    const char *problem = command_env_problem(start->rq, &start->env);

    if (problem) {
        start_failed(start, problem);
        return;
    }
    start->op.run = run_in_session;
    start->op.terminated = on_terminated;
    start->op.initial_cwd = start->cwd && start->cwd[0] == '/' ? start->cwd : NULL;
    start->job.on_done = on_done;
    start->job.on_started = start->early ? on_started : NULL;
    start->job.on_shell_exit = on_shell_exit;
    if (session_submit(start->rq->agent, start->session_id, &start->op) < 0)
        fail_with_record(start, NULL, "out of memory");
}

void process_start(struct process_start *start)
{
    struct process_table *table = &start->rq->agent->processes;

    request_hold(start->rq);
    start->mark = ++table->last_mark;
    start->in_fd = -EBADF;
    if (start->session_id)
        start_in_session(start);
    else
        start_alone(start);
}
