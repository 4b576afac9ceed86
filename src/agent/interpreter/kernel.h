/*
 * kernel.h - one interpreter process: the driver program that runs the code of one context.
 *
 * Theory of operation. A kernel is a child (child.h) with a channel to it. It is started without knowing whose it
 * will be, prepares itself (imports), and then turns into the interpreter of the context that kernel_become() tells
 * it of, as soon as it is told; so a spare one can be made ahead of time. The program itself comes over the
 * channel: no file of the sandbox holds it, so nobody inside can have changed it, and it works with any image that
 * has the language.
 *
 *   STARTING -> PREPARED -> BECOMING -> IDLE <-> RUNNING;  any -> DEAD
 *
 * What user code prints arrives through pipes and is told as text; results and ends arrive as frames. Before a
 * frame is told, what the pipes hold is, so no result or end comes before what was printed before it. A kernel that
 * breaks the protocol is ended. DEAD is told exactly once, by on_dead; kernel_free() may be called in any state and
 * tells nothing.
 */
#pragma once

#include "agent/child/child.h"
#include "base/json.h"
#include "channel.h"

enum kernel_language { KERNEL_PYTHON, KERNEL_JAVASCRIPT, KERNEL_TYPESCRIPT, KERNEL_LANGUAGES };
enum kernel_program { KERNEL_PROGRAM_PYTHON, KERNEL_PROGRAM_NODE, KERNEL_PROGRAMS };
enum kernel_state { KERNEL_STARTING, KERNEL_PREPARED, KERNEL_BECOMING, KERNEL_IDLE, KERNEL_RUNNING, KERNEL_DEAD };

/* How a process comes to be an interpreter: from its program's beginning, or from the image's snapshot of one that
 * has imported everything (kernels/snapshot). */
enum kernel_origin { KERNEL_COLD, KERNEL_SNAPSHOT };

struct kernel;

struct kernel_events {
    void (*on_ready)(struct kernel *kernel);
    void (*on_output)(struct kernel *kernel, int stream, struct str text); /* valid UTF-8 */
    void (*on_result)(struct kernel *kernel, const struct json *result);   /* an object, only while RUNNING */
    void (*on_error)(struct kernel *kernel, const struct json *error);     /* an object with its three members */
    void (*on_done)(struct kernel *kernel);                                /* it is IDLE again */
    void (*on_dead)(struct kernel *kernel);                                /* `failure` says why */
};

struct kernel {
    struct agent *agent;
    enum kernel_program program;
    enum kernel_origin origin;
    enum kernel_state state;
    struct child *child; /* NULL once it has ended */
    struct channel channel;
    struct sink sink;
    struct utf8_stream partial[STREAM_COUNT];
    struct buf output; /* what is about to be told, all of one stream */
    int output_stream;
    uint64_t drained; /* the read of the channel before whose frames the pipes were last emptied */
    bool awaits_line; /* what is gathered does not end a line, and has been given some more time */
    struct loop_timer flush_timer;
    struct loop_timer timer; /* the limit of the start, or the patience after an interrupt */
    bool signalled;          /* the last interrupt has gone as far as a signal */
    bool told_to_become;     /* before it was PREPARED */
    bool prepared;           /* it has been PREPARED: what befalls it from then on is not its origin's fault, */
    bool outdated;           /* unless it says that what it was prepared with is not what is installed now */
    bool released;
    bool blocked;
    bool exited;
    int wait_status;
    char failure[256];
    const struct kernel_events *events;
    void *data; /* of whoever has it */
    struct kernel *next_spare;
    uint64_t env_hash; /* of a spare: the sandbox's environment that it was started with */
    struct loop_deferred free_later;
};

enum kernel_program kernel_program_of(enum kernel_language language);
const char *kernel_language_name(enum kernel_language language);

/*
 * Starts a process with the environment `envp`, in `cwd`. NULL with *err, its failure CHILD_FAIL_EXEC when there is
 * no such program.
 */
struct kernel *kernel_start(struct agent *agent, enum kernel_program program, enum kernel_origin origin,
                            char *const *envp, const char *cwd, const struct kernel_events *events, void *data,
                            struct child_error *err);

/* Whether the image has a snapshot for the program. That it fits this machine shows when it is started. */
bool kernel_has_snapshot(enum kernel_program program);

/* Of one that is DEAD: whether another one from the same snapshot would fare the same. */
bool kernel_is_snapshots_fault(const struct kernel *kernel);

/* STARTING or PREPARED, once. on_ready or on_dead follows. `envp` is the whole environment, NULL-terminated. 0, or
 * -1. */
int kernel_become(struct kernel *kernel, enum kernel_language language, char *const *envp, const char *cwd);
/* IDLE only. 0, or -1 without memory. */
int kernel_execute(struct kernel *kernel, struct str code);
/* Stops what runs, as Ctrl-C does; a kernel that is still RUNNING after the patience is ended. */
void kernel_interrupt(struct kernel *kernel);

/* Whoever takes what the kernel tells wants no more for now, respectively again. */
void kernel_block(struct kernel *kernel);
void kernel_unblock(struct kernel *kernel);

/* Ends the process and lets go of it; the memory goes when the process has. */
void kernel_free(struct kernel *kernel);
