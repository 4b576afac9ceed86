/*
 * process_launch.h - what the routes that start a process have in common: the fields of their bodies, and the
 * errors that come instead of it.
 */
#pragma once

#include "process_start.h"

struct process_launch;

struct process_launch_kind {
    bool session_by_header; /* X-Session-Id and the query name a session, too */
    bool takes_time_limit;
    bool takes_id; /* processId, stdin, logLimit */
    bool early;    /* as in process_start.h */
    /* The answer may begin. If it does (true) `reply` comes, or `fail` in the place of an error. May be NULL. */
    bool (*accept)(struct request *rq);
    void (*reply)(struct request *rq, struct process *process);
    void (*fail)(struct request *rq, struct str command, int exit_code);
};

/* Decodes the body and starts what it says; `reply` is called once it is there. Anything else is answered here. */
void process_launch(struct request *rq, const struct process_launch_kind *kind);

/* {success, processId, pid, command, timestamp}, as a `reply`. */
void process_launch_reply(struct request *rq, struct process *process);
