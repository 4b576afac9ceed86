#include "supervisor.h"

#include "agent/agent.h"
#include "base/log.h"

#include <fcntl.h>
#include <signal.h>

/*
 * The command is what counts, not what it has left behind with its pipes: that shall not keep the container alive.
 * What is in the pipes belongs to the log.
 */
static void on_exit_of_command(struct child *child, void *data)
{
    struct agent *agent = data;
    int code = child_exit_code(child);

    for (int i = 0; i < STREAM_COUNT; i++)
        while (child->out[i].fd >= 0 && stream_pump(&child->out[i], SCRATCH_SIZE, true) == STREAM_MORE)
            ;

    agent->supervised = NULL;
    command_input_end(agent);
    command_log_end(&agent->log);
    if (agent->shutdown.begun) {
        shutdown_check(agent);
        return;
    }
    if (code == 0 && !agent->exit_with_command) {
        log_info("command_ended", "exit_code", "0");
        return;
    }
    if (code != 0)
        log_error("command_failed", "exit_code", log_num(code));
    agent->exit_code = code;
    command_log_leave(agent);
}

static void on_stdin_drain(struct child *child, void *data)
{
    (void)child;
    command_input_drained(data);
}

static void ignore_end(struct child *child, void *data)
{
    (void)child, (void)data;
}

/* Of an image that is nothing but its command, it is what Docker has: nothing. */
static int standard_input(const struct agent *agent)
{
    const char *raw = env_get(&agent->env, "SANDBOX_RAW_CHILD_STDIO");

    if (agent->input.open)
        return CHILD_PIPE;
    if (agent->exit_with_command)
        return CHILD_NULL;
    return raw && strcmp(raw, "1") == 0 ? STDIN_FILENO : CHILD_PIPE;
}

const char *supervisor_launch(struct agent *agent)
{
    static const struct child_events events = { .on_exit = on_exit_of_command,
                                                .on_end = ignore_end,
                                                .on_stdin_drain = on_stdin_drain };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { CHILD_FAIL_RESOURCES, ENOMEM };
    struct env none = { 0 };
    struct arena arena;

    arena_init(&arena, SIZE_MAX);
    spec.file = agent->command[0];
    spec.argv = agent->command;
    spec.cwd = agent->command_dir;
    spec.fds[0] = standard_input(agent);
    spec.fds[1] = agent->keep_log ? CHILD_PIPE : STDOUT_FILENO;
    spec.fds[2] = agent->keep_log ? CHILD_PIPE : STDERR_FILENO;
    if (env_set(&agent->env, STR("SANDBOX_STARTED"), STR("true")) == 0)
        spec.envp = env_merge(&arena, &agent->env, &none);
    if (spec.envp)
        agent->supervised =
            child_spawn(agent, &spec, agent->keep_log ? &agent->log.sink : NULL, &events, agent, &err);
    arena_free(&arena);
    if (agent->supervised) {
        interpreter_warm(&agent->interpreter); /* with the variable, like everything from now on */
        return NULL;
    }
    log_error("command_not_started", "command", agent->command[0], "reason", child_failure_text(err.where), "error",
              strerror(err.errnum));
    return child_failure_text(err.where);
}

void supervisor_start(struct agent *agent)
{
    if (!agent->command[0] || agent->shutdown.begun || !supervisor_launch(agent))
        return;
    agent->exit_code = 1;
    loop_stop(agent->loop);
}

void supervisor_forward(struct agent *agent, int signo)
{
    if (agent->supervised)
        kill(agent->supervised->pid, signo);
}
