/* exec_stream_session.c - /berm/v1/exec in the shell of a session. */
#include "agent/agent.h"
#include "agent/session/shell_script.h"
#include "command.h"
#include "exec_stream.h"

#include <signal.h>

#define GRACE_MS 2000
#define KILL_MS  1000

static struct exec_stream *of_job(struct shell_job *job)
{
    return container_of(job, struct exec_stream, job);
}

static void finish(struct exec_stream *e, int exit_code)
{
    struct session_op *op = &e->op;

    if (e->timed_out) {
        exec_stream_put_timeout(e);
        exit_code = 124;
    }
    if (op->session)
        session_release(op);
    exec_stream_finish(e, exit_code, NULL);
}

static void on_done(struct shell_job *job, int status)
{
    finish(of_job(job), status);
}

static void on_no_directory(struct shell_job *job)
{
    struct exec_stream *e = of_job(job);
    struct buf text;

    buf_init(&text, SIZE_MAX / 4);
    if (buf_append_str(&text, STR("Failed to change directory to ")) == 0 &&
        shell_quote(&text, str_from(e->cwd)) == 0)
        exec_stream_put_stderr(e, buf_str(&text));
    buf_free(&text);
    finish(e, 1);
}

/* `exit N` ends the shell; to who runs one command at a time that is simply its exit code. */
static void on_shell_exit(struct shell_job *job, int exit_code)
{
    struct exec_stream *e = of_job(job);

    session_discard(e->op.session);
    finish(e, exit_code);
}

/* --- the time limit --- */

/* What the command has started in the foreground or left in the background; what was there before is spared. */
static void signal_command(struct exec_stream *e, int signo)
{
    struct pid_list list = { 0 };

    /* Some are better than none if memory runs out. Leaves first, so that no parent starts a successor. */
    (void)proc_descendants(shell_pid(e->op.session->shell), &e->children_before, &list);
    while (list.count > 0)
        kill(list.pids[--list.count], signo);
    pid_list_free(&list);
}

static void on_timer(struct loop_timer *timer)
{
    struct exec_stream *e = container_of(timer, struct exec_stream, timer);
    struct loop *loop = e->rq->agent->loop;

    e->timed_out = true;
    switch (e->kill_stage++) {
    case 0:
        signal_command(e, SIGTERM);
        loop_timer_start(loop, timer, GRACE_MS);
        break;
    case 1:
        signal_command(e, SIGKILL);
        loop_timer_start(loop, timer, KILL_MS);
        break;
    default:
        shell_kill(e->op.session->shell);
        break;
    }
}

/* --- the start --- */

static void on_terminated(struct session_op *op, int exit_code)
{
    struct exec_stream *e = container_of(op, struct exec_stream, op);

    reply_session_terminated(e->rq, e->session_id, exit_code);
    exec_stream_free(e);
}

static void release_and_fail(struct exec_stream *e, const char *reason)
{
    session_release(&e->op);
    exec_stream_fail(e, reason);
}

static void run(struct session_op *op)
{
    struct exec_stream *e = container_of(op, struct exec_stream, op);
    struct shell_command command = { .text = exec_stream_text(e), .cwd = e->cwd, .env = &e->env };
    struct berm_error err;
    struct shell *shell = session_shell(op->session, &err);

    if (!shell) {
        session_discard(op->session);
        release_and_fail(e, err.message);
        return;
    }
    if (!command.text.p) {
        release_and_fail(e, "out of memory");
        return;
    }
    if (e->timeout_ms >= 0 && proc_children(shell_pid(shell), &e->children_before) < 0) {
        release_and_fail(e, "out of memory");
        return;
    }
    if (shell_run(shell, &e->job, &command, &err) < 0) {
        release_and_fail(e, err.message);
        return;
    }
    if (e->timeout_ms >= 0 && loop_timer_start(e->rq->agent->loop, &e->timer, (uint64_t)e->timeout_ms) < 0) {
        shell_abandon(&e->job);
        release_and_fail(e, "out of memory");
        return;
    }
    exec_stream_begin(e);
}

void exec_stream_start_in_session(struct exec_stream *e)
{
    const char *problem = command_env_problem(e->rq, &e->env);

    if (problem) {
        exec_stream_fail(e, problem);
        return;
    }
    loop_timer_init(&e->timer, on_timer);
    e->op.run = run;
    e->op.terminated = on_terminated;
    e->op.initial_cwd = e->cwd && e->cwd[0] == '/' ? e->cwd : NULL;
    e->job.sink = &e->sink;
    e->job.on_done = on_done;
    e->job.on_no_directory = on_no_directory;
    e->job.on_shell_exit = on_shell_exit;
    if (session_submit(e->rq->agent, e->session_id, &e->op) < 0)
        exec_stream_fail(e, "out of memory");
}
