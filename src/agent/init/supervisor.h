/*
 * supervisor.h - the command of the container, on the agent's own command line (`berm-agent CMD ARGS...`) or by
 * POST /berm/v1/supervise: started beside the server. If it exits 0 the server stays, unless exit_with_command; any
 * other end is the end of the agent too, with the same code (128 + signal).
 * Its output is the container's log: it inherits stdout and stderr. Its stdin is a pipe, for
 * command_input.h or to stay silent; with SANDBOX_RAW_CHILD_STDIO=1 inherited as well; /dev/null if
 * exit_with_command and nobody asked for one.
 */
#pragma once

struct agent;

/* Starts agent->command: NULL, or after having logged it, why not. */
const char *supervisor_launch(struct agent *agent);
/*
 * Puts SANDBOX_STARTED=true into the environment, then starts agent->command. If that fails, it says why in the log
 * and stops the loop with exit code 1.
 */
void supervisor_start(struct agent *agent);
/* Passes a signal on, if the command runs. */
void supervisor_forward(struct agent *agent, int signo);
