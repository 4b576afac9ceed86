/*
 * process_start.h - starting a process (process.h) for a request: in the shell of a session, or without one.
 *
 * In a session the command is forked from the session's shell and has its directory, variables, functions and
 * options; the session's lock is held until it is there. Without a session it is a bash of its own in a session of
 * its own. Either way nothing it does changes the session, and it has no stdin unless it is asked for.
 */
#pragma once

#include "command.h"
#include "fifo.h"
#include "process.h"
#include "session.h"

enum process_failure {
    PROCESS_FAIL_START,      /* no process: `reason`. A record with the status ERROR is left behind */
    PROCESS_FAIL_TERMINATED, /* the shell of the session had ended, with `exit_code` */
    PROCESS_FAIL_SESSION     /* the session has no shell: `reason` */
};

struct process_start {
    /* What to start. Strings are in the request's arena, which is held until one of the callbacks has returned. */
    struct request *rq;
    struct str id; /* n == 0: one is made */
    struct str command;
    const char *session_id; /* NULL: without a session */
    const char *cwd;        /* NULL: where the session is, or the default */
    struct env env;         /* the owner frees it */
    int64_t timeout_ms;     /* < 0, and always in a session: none */
    uint64_t log_limit;     /* 0: the default */
    bool with_stdin;

    /*
     * One of these comes, once, perhaps before process_start() returns; then the owner may free this. A process
     * that on_started gets may have ended already.
     */
    void (*on_started)(struct process_start *start, struct process *process);
    void (*on_failed)(struct process_start *start, enum process_failure failure, const char *reason, int exit_code);

    /* Private: on the way in a session. */
    struct session_op op;
    struct shell_job job;
    struct fifo_pair *pair;
    char in_path[FIFO_PATH_MAX];
    int in_fd;
};

void process_start(struct process_start *start);
