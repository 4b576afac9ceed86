/*
 * shell.h - the bash of a session: one long-lived process that runs the session's commands one after another.
 *
 * Theory of operation. bash reads its script from a pipe of which only the agent has the other end, through a link
 * named "bash" (fifo.h), because its messages begin with the name of the script. A pipe and not a FIFO: reading a
 * byte from that costs an update of its times, and bash reads byte by byte. Its stdin is /dev/null, its stdout the
 * control pipe on which it reports (shell_script.h), its stderr /dev/null. A job is one command; jobs run in the
 * order in which they were given. Each has a slot with a FIFO pair for its output. A report ends the job at the
 * head of the queue: by then everything its foreground wrote is in the FIFOs. A job can be abandoned: the command
 * runs on, its output is dropped, its slot stays until its report comes. The end of the shell is noticed by the
 * reaper; it ends all jobs. A shell that goes on without reporting is noticed too (shell_input.h) and killed.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/child/env.h"
#include "agent/child/sink.h"
#include "base/buf.h"
#include "base/error.h"

struct agent;
struct fifo_pair;
struct shell;
struct shell_slot;

struct shell_job {
    struct shell_slot *slot; /* private; NULL unless running */
    struct sink *sink;
    /* Exactly one of these comes, unless the job is abandoned before. The job is free for reuse then. */
    void (*on_done)(struct shell_job *job, int status);
    void (*on_no_directory)(struct shell_job *job);
    void (*on_shell_exit)(struct shell_job *job, int exit_code);
    /* A background command has a number, but is not our child yet; comes before on_done, or on_shell_exit. May be
     * NULL. */
    void (*on_started)(struct shell_job *job, pid_t pid);
    pid_t background_pid; /* with on_done of a background command: our child now; 0: it could not be started */
};

struct shell_command {
    struct str text;       /* without NUL */
    const char *cwd;       /* for this command, or NULL */
    const struct env *env; /* for this command, or NULL; names are identifiers */
    /*
     * Not NULL: the command is started in a background process that writes here (made, not open), and the job is
     * done then; the process goes on once the pair is opened. on_no_directory does not come: the process says so.
     */
    const struct fifo_pair *background;
    const char *in_path; /* of a background command: a FIFO, open for both ways, that is its stdin; or NULL */
    uint64_t mark;       /* of a background command: process_mark.h */
};

/* Called once when the shell is gone, before on_shell_exit of its jobs; it is freed afterwards. */
typedef void (*shell_exit_callback)(struct shell *shell, int exit_code, void *data);

/* `directory` must exist. NULL with *err. */
struct shell *shell_start(struct agent *agent, const struct env *env, const char *directory,
                          shell_exit_callback on_exit, void *data, struct berm_error *err);

/* 0, or -1 with *err: then nothing was given to the shell. */
int shell_run(struct shell *shell, struct shell_job *job, const struct shell_command *command,
              struct berm_error *err);
/* Whether it lives and does nothing, so that it begins at once with what it is given. */
bool shell_ready(const struct shell *shell);
/* No callback of the job comes any more; its sink is not used any more. */
void shell_abandon(struct shell_job *job);
/* The sink can take more. */
void shell_resume_output(struct shell_job *job);

/* Ends the shell (not its children): end of script, SIGTERM, after a second SIGKILL. on_exit follows. */
void shell_stop(struct shell *shell);
void shell_kill(struct shell *shell); /* at once */

pid_t shell_pid(const struct shell *shell);
/* A descriptor (O_PATH) of the directory it is in, or -1 with errno. */
int shell_open_cwd(const struct shell *shell);
