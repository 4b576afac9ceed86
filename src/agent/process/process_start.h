/*
 * process_start.h - starting a process (process.h) for a request: in the shell of a session, or without one.
 *
 * In a session the command is forked from the session's shell and has its directory, variables, functions and
 * options; the session's lock is held until it is there. Without a session it is a bash of its own in a session of
 * its own. Either way nothing it does changes the session, and it has no stdin unless it is asked for.
 */
#pragma once

#include "agent/exec/command.h"
#include "agent/session/fifo.h"
#include "agent/session/session.h"
#include "process.h"

enum process_failure {
    PROCESS_FAIL_START,      /* no process: `reason`. A record with the status ERROR is left behind */
    PROCESS_FAIL_TERMINATED, /* the shell of the session had ended, with `exit_code` */
    PROCESS_FAIL_SESSION     /* the session has no shell: `reason` */
};

struct process_start {
    /* What to start. Strings are in the request's arena, which is held until the last callback has returned. */
    struct request *rq;
    struct str id; /* n == 0: one is made */
    struct str command;
    const char *session_id;      /* NULL: without a session */
    const char *cwd;             /* NULL: where the session is, or the default */
    struct env env;              /* the owner frees it */
    int64_t timeout_ms;          /* < 0, and always in a session: none */
    uint64_t log_limit;          /* 0: the default */
    const struct limits *limits; /* NULL, and always in a session: none */
    bool with_stdin;
    bool early; /* on_started as soon as there is a pid, when nothing can be done with the process yet */

    /*
     * Of a session: its shell lives, was idle and has been given the command, so that there is nothing left to
     * refuse. Either of the others still comes. May be NULL.
     */
    void (*on_accepted)(struct process_start *start);
    /* One of these comes, once, perhaps before process_start() returns. The process may have ended already. */
    void (*on_started)(struct process_start *start, struct process *process);
    void (*on_failed)(struct process_start *start, enum process_failure failure, const char *reason, int exit_code);
    /* Then this, last: the owner may free it. */
    void (*on_finished)(struct process_start *start);

    /* Private: on the way in a session. */
    struct session_op op;
    struct shell_job job;
    struct fifo_pair *pair;
    struct process *process; /* that on_started has got early */
    char in_path[FIFO_PATH_MAX];
    int in_fd;
    uint64_t mark;
};

void process_start(struct process_start *start);
