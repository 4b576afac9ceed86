/*
 * process.h - the processes that clients see: one kind underneath exec/stream, background commands and whatever
 * else runs beside the requests that started it. A record with an id, a child (child.h) while it runs, and its kept
 * output (byte_log.h) that any number of readers follow.
 *
 * Theory of operation. A process is started by process_start.h and ended by process_kill.h; between them it goes
 *
 *   RUNNING -> COMPLETED (exit 0) | FAILED (any other exit) | KILLED (137, 143, or killed by us)
 *   ERROR   could not be started, or its session went away first; its stderr says why
 *
 * once and for good. Its end comes from wait(2) alone, never from a closed pipe. Without a session it has ended
 * when the child has exited and nobody holds its output any more; in a session, where others may go on writing,
 * when the child has exited and what is in its pipes has been read. While a kill is under way it ends with the
 * kill, that is, with the last of its tree.
 *
 * Output is never held back by a reader: it goes into the log, the readers are told, and each takes from the log at
 * its own pace. A reader that is overtaken by the bounded log finds `start` behind its offset and says so.
 *
 * Records of ended processes stay for the life of the agent, up to PROCESS_KEEP_COUNT of them; then the one that
 * ended first goes, unless somebody still holds it. Few are in memory, the others on disk (process_shelf.h) as long
 * as there is one to take them; without, PROCESS_KEEP_BYTES of ids and commands are the limit, too.
 */
#pragma once

#include "agent/child/child.h"
#include "byte_log.h"
#include "process_shelf.h"

#define PROCESS_KEEP_COUNT ((size_t)10000)
#define PROCESS_KEEP_BYTES ((size_t)16 * 1024 * 1024)
#define PROCESS_KEEP_NEAR  ((size_t)64) /* that stay in memory in any case */
#define PROCESS_NEAR_BYTES ((size_t)128 * 1024)
#define PROCESS_BUCKETS    256

struct process;
struct process_run;

enum process_status { PROCESS_RUNNING, PROCESS_COMPLETED, PROCESS_FAILED, PROCESS_KILLED, PROCESS_ERROR };

/* Told of every piece of output and of the end. Embedded by its owner. */
struct process_reader {
    struct process_reader *next, **prev;
    struct process *process; /* NULL while not attached */
    /* There is more in the logs, or the process has ended. Must not start or end processes. */
    void (*on_more)(struct process_reader *reader);
};

/* Told of the end only. */
struct process_waiter {
    struct process_waiter *next, **prev;
    struct process *process; /* NULL while not waiting */
    void (*on_end)(struct process_waiter *waiter);
};

struct process {
    struct process *next, **prev; /* in the list of those that run or of those that have ended */
    struct process *same_bucket;
    struct agent *agent;
    unsigned refs;
    char *id;
    char *session_id;   /* NULL: without a session */
    struct str command; /* as sent; NUL-terminated */
    pid_t pid;          /* 0: never started */
    enum process_status status;
    bool listed;   /* false once another one has taken its id */
    bool stays;    /* it has ended, and its output is too long for the shelf */
    bool by_lines; /* the form of session commands: no NUL bytes, and the last line ends with a newline */
    bool has_exit_code;
    int exit_code;
    int64_t start_ms, end_ms;       /* of the wall clock */
    uint64_t start_tick_ms;         /* of the loop's clock */
    struct shelf_place shelf_place; /* where it was on the shelf, and could go back */
    struct usage *usage;            /* NULL while it runs, and of one without limits */
    struct byte_log logs[STREAM_COUNT];
    struct process_reader *readers, *reader_cursor;
    struct process_waiter *waiters;
    struct process_run *run; /* NULL once it has ended */
};

struct process_list {
    struct process *first, **tail;
    size_t count;
};

struct process_table {
    struct process *buckets[PROCESS_BUCKETS]; /* by id, listed ones */
    struct process_list running, ended;
    size_t kept_bytes; /* ids and commands of the ended */
    struct process_shelf shelf;
    uint64_t log_limit;
    uint64_t last_mark; /* process_mark.h */
    struct byte_store store;
};

void process_table_init(struct agent *agent);
void process_table_free(struct agent *agent); /* at the agent's end: records only, see process_kill.h */

/* --- looking --- */

/* The listed process of that id, or NULL. What has exited by now is shown as ended. */
struct process *process_find(struct agent *agent, struct str id);
/* Notices exits that have happened, whether or not the loop has come to them, so that no answer is out of date. */
void process_refresh(struct agent *agent);

static inline bool process_running(const struct process *process)
{
    return process->run != NULL;
}

const char *process_status_name(enum process_status status);

struct process *process_ref(struct process *process);
void process_unref(struct process *process);

/* `reader` hears of what comes from now on. The process is held until process_detach() (idempotent). */
void process_attach(struct process *process, struct process_reader *reader);
void process_detach(struct process_reader *reader);

/*
 * on_end comes once, when the process ends, never from inside this call; the waiter is detached then. The process
 * must run, and is held until then or until process_unwait() (idempotent).
 */
void process_wait(struct process *process, struct process_waiter *waiter);
void process_unwait(struct process_waiter *waiter);

/* --- stdin, where the process was started with one --- */

bool process_has_stdin(const struct process *process);
/* As child_write() and child_close_stdin(). False: process_wait_stdin() tells when more can come. */
bool process_write_stdin(struct process *process, struct str bytes);
void process_close_stdin(struct process *process);
/* As process_wait(), for what was written to be taken, or to be of no use any more. */
void process_wait_stdin(struct process *process, struct process_waiter *waiter);
