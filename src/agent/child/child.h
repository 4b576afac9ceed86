/*
 * child.h - the child processes of the agent: one kind underneath everything that runs in the sandbox (session
 * shells, sessionless commands, file(1), the command of the supervisor mode).
 *
 * Theory of operation. The agent reaps centrally: on SIGCHLD it calls waitpid(-1) until nothing is left, hands the
 * status to the process of that pid and drops those of orphans that pid 1 inherited. So no status can be stolen,
 * and as long as a process has not been reaped its pid cannot mean another one; no pidfd is needed for our own
 * children.
 *
 * A process leads its own session and process group. It ends (on_end) when it has exited *and* every stream it was
 * given is at its end, that is, when nobody holds its stdout or stderr any more. A time limit sends SIGTERM to the
 * group, SIGKILL after a grace if anything is left, and after one more second gives up on streams that processes
 * outside the group keep open.
 *
 * Start: vfork semantics (CLONE_VM | CLONE_VFORK) on a stack of its own, the child making system calls only; a
 * failure up to execve(2) comes back through the shared memory with its errno.
 */
#pragma once

#include "base/buf.h"
#include "base/loop.h"
#include "stream.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

struct agent;
struct child;
struct limits;
struct metered;
struct usage;

/* Values of child_spec.fds other than a descriptor. */
enum { CHILD_NULL = -1, /* /dev/null */ CHILD_PIPE = -2 /* stdin: child_write(); the others: the sink */ };

/* An extra descriptor of a child appears at this number unless another one is asked for. */
#define CHILD_EXTRA_FD 60 /* below 64, the least limit of open files that a sandbox can have */

struct child_spec {
    const char *file; /* without '/': searched in the PATH of `envp` */
    char *const *argv;
    char *const *envp;
    const char *cwd;             /* NULL: see cwd_fd */
    int cwd_fd;                  /* -1: the agent's own directory */
    int fds[3];                  /* stdin, stdout, stderr */
    int extra_fd;                /* -1: none */
    int extra_at;                /* the number that it gets; 0: CHILD_EXTRA_FD */
    bool terminal;               /* stdin is a terminal, which becomes the controlling one */
    const struct limits *limits; /* NULL: none, and no receipt. Needs a sink */
    int (*before_exec)(
        const void *arg); /* in the new process, last: system calls only; -1 with errno. May be NULL */
    const void *before_exec_arg;
    int (*run)(void *arg); /* instead of file, argv, envp: a forked copy of the agent runs this (with nothing but
                              fds open, in cwd_fd) and exits with its result */
    void *run_arg;
};

#define CHILD_SPEC_INIT                                                                                            \
    {                                                                                                              \
        .cwd_fd = -1, .fds = { CHILD_NULL, CHILD_NULL, CHILD_NULL }, .extra_fd = -1                                \
    }

enum child_failure { CHILD_FAIL_RESOURCES, CHILD_FAIL_CWD, CHILD_FAIL_EXEC, CHILD_FAIL_LIMITS };

struct child_error {
    enum child_failure where;
    int errnum;
};

struct child_events {
    /* The process is gone; what it had written has been delivered, what its own children write may still come. May
     * be NULL. */
    void (*on_exit)(struct child *child, void *data);
    /* Once, last, never from inside child_spawn(). The process is gone when it returns. */
    void (*on_end)(struct child *child, void *data);
    /* What child_write() held back has been written; may be NULL. */
    void (*on_stdin_drain)(struct child *child, void *data);
};

struct child {
    struct child *next; /* in its bucket */
    struct agent *agent;
    pid_t pid;
    bool exited;
    bool timed_out;
    bool ended;
    bool limit_covers_streams; /* the time limit also ends the wait for streams after the exit; else it does not */
    int wait_status;           /* once exited */
    struct stream out[STREAM_COUNT];
    int stdin_fd;
    struct loop_io stdin_io;
    struct buf stdin_queue;
    bool stdin_closing;
    struct loop_timer timer;
    uint32_t grace_ms;  /* between SIGTERM and SIGKILL; 5 s unless changed after the start */
    uint8_t kill_stage; /* 0: running; then TERM, KILL, and streams dropped */
    struct loop_deferred free_later;
    struct metered *metered; /* of one with limits; it leads its group by a keeper, and `pid` is that one's */
    const struct child_events *events;
    void *data;
};

#define CHILD_BUCKETS 64

struct child_table {
    struct child *buckets[CHILD_BUCKETS];
    int null_fd;
    size_t count;
    uint64_t starts;    /* ever, whether or not they succeeded */
    bool used;          /* there has been one */
    bool nofile_raised; /* the agent takes more descriptors than its children are given */
    struct rlimit nofile;
};

int child_table_init(struct agent *agent);

/* NULL with *err. `sink` takes stdout and stderr where they are pipes; it must live until on_end. */
struct child *child_spawn(struct agent *agent, const struct child_spec *spec, struct sink *sink,
                          const struct child_events *events, void *data, struct child_error *err);

/*
 * Takes over a child that somebody else has started for us and that we have not reaped: an orphan of a session's
 * shell. It has no streams here; `stdin_fd` (non-blocking, or -1) is taken over. NULL with errno, ECHILD if it is
 * no child of ours (any more).
 */
struct child *child_adopt(struct agent *agent, pid_t pid, int stdin_fd, const struct child_events *events,
                          void *data);

/* Whether that is a child that has been started or taken over, and has not ended. */
bool child_is_known(struct agent *agent, pid_t pid);

/* Starts the clock. 0 is "at once". */
void child_set_time_limit(struct child *child, uint64_t ms);
/* Begins with the steps that the time limit takes, now, or with another signal; timed_out stays as it is. */
void child_stop(struct child *child);
void child_stop_by(struct child *child, int signo);
/* Whether those steps have begun. */
bool child_is_stopped(const struct child *child);
/* To the whole group. Safe after the leader has been reaped: a group that is not ours any more gets nothing. */
void child_signal_group(const struct child *child, int signo);
/* Reads what is there now, and then no more: who still holds its pipes does not keep it from ending. */
void child_drop_output(struct child *child);
/* The sink can take more. */
void child_resume_output(struct child *child);

/* Queues bytes for stdin (a pipe): false when they are not all written, on_stdin_drain follows. */
bool child_write(struct child *child, const void *p, size_t n);
void child_close_stdin(struct child *child); /* after what is queued */

/* As a shell would tell it: the exit code, 128 + signal, or 124 after the time limit. */
int child_exit_code(const struct child *child);
int child_status_to_code(int wait_status);

/* What it has used, once it has exited; NULL of a child without limits. */
const struct usage *child_usage(const struct child *child);
/* The process that runs the command. */
pid_t child_command_pid(const struct child *child);

/* Collects every child that has exited. */
void child_reap(struct agent *agent);
/* SIGKILL to every group; for the agent's own end. */
void child_kill_all(struct agent *agent);

/* "permission denied: ..." for people: what was wrong with the start. */
const char *child_failure_text(enum child_failure where);
