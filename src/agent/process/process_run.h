/*
 * process_run.h - a process while it runs: what process.c, process_start.c and process_kill.c share, and nobody
 * else.
 */
#pragma once

#include "agent/session/fifo.h"
#include "process.h"

struct process_kill;

/* The end of a stream that has no newline yet. */
struct open_line {
    char *p; /* in a session: what waits for it, below SCRATCH_SIZE bytes */
    size_t n;
    bool ends_open; /* the last byte in the log is none */
};

struct process_run {
    struct process *process;
    uint64_t mark;    /* process_mark.h */
    struct sink sink; /* into the logs */
    struct open_line lines[STREAM_COUNT];
    struct child *child;    /* NULL once it has ended */
    struct fifo_pair *pair; /* of a session command, else its output comes by the child's pipes */
    struct loop_timer limit;
    uint64_t limit_ms;
    bool timed_out;
    bool arriving;   /* its shell has reported it, and it is not our child yet */
    int kill_signal; /* with `arriving`: the kill that waits for it; 0: none */
    int wait_status; /* once child is NULL */
    bool stopped;    /* the kill of one with limits, whose keeper does what process_kill.c does for the others */
    bool lost;       /* it was gone before we could wait for it */
    struct process_kill *kill;
    struct process_waiter *stdin_waiters;
    struct loop_deferred free_later;
};

/* What a record is made of. Strings are copied. */
struct process_record {
    struct str id; /* n == 0: one is made */
    struct str command;
    const char *session_id; /* NULL: none */
    uint64_t log_limit;     /* of each stream; 0: the table's */
    uint64_t mark;
};

/*
 * A record that runs as of now, in the table, with a `run` that has no child yet. NULL without memory. A listed one
 * of the same id is listed no longer.
 */
struct process *process_new(struct agent *agent, const struct process_record *record);

/* --- process_table.c --- */

/* Lists one that runs; one of the same id (`may_be_there`) is listed no longer. */
void process_table_add(struct process *process, bool may_be_there);
/* It has ended; unless somebody holds it, it is gone when it was not listed. */
void process_table_move_to_ended(struct process *process);
/* Takes out of memory, and forgets, what is too much. Not while a record is in use that nobody holds. */
void process_table_trim(struct agent *agent);

/* The events of the child of a run, its data being the run. */
extern const struct child_events process_child_events;

/* Ends the process if all of it has ended: the child, and the kill if there is one. */
void process_maybe_end(struct process_run *run);
/* Ends a process that has no child with status ERROR and a line of stderr. */
void process_fail(struct process *process, const char *reason);
/* Text of our own on its stderr, on a line of its own. */
void process_put_line(struct process_run *run, const char *text);
