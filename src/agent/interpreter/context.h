/*
 * context.h - code contexts: each is one interpreter process with a name, a queue of executions and an end.
 *
 * Theory of operation. A context is listed from the moment its interpreter is ready until it is deleted, also when
 * the interpreter has died meanwhile. Executions run one after the other in the order in which they were submitted.
 * What a running one prints and shows is told at once; its end is told exactly once. An execution that is cancelled
 * is told nothing any more: if it was waiting it never runs, if it was running it is interrupted and the context
 * goes on.
 *
 * Interpreters come from a small stock of spares where there is one: as many as the variables
 * PYTHON_/JAVASCRIPT_/TYPESCRIPT_POOL_MIN_SIZE ask for, and one of each kind for some minutes after a context of
 * that kind was made. (JavaScript and TypeScript share a program, so they share spares.) Spares whose environment
 * is not the sandbox's any more are dropped. What cannot be had from a spare comes from the image's snapshot, and
 * what cannot be had from there is started cold.
 */
#pragma once

#include "agent/child/env.h"
#include "kernel.h"

#define CONTEXT_SPARE "spare" /* of AGENT_CONTEXT_FIELD's words */

struct context;
struct code_execution;

struct code_execution_events {
    void (*on_output)(struct code_execution *execution, int stream, struct str text); /* valid UTF-8 */
    void (*on_result)(struct code_execution *execution, const struct json *result);   /* see kernel.h */
    /* One of these, last. The execution is not touched any more. */
    void (*on_complete)(struct code_execution *execution);
    /* `traceback` is an array of strings, or NULL. */
    void (*on_error)(struct code_execution *execution, struct str ename, struct str evalue,
                     const struct json *traceback);
};

/* Embedded by whoever submits it. */
struct code_execution {
    struct str code;    /* must live until the end */
    int64_t timeout_ms; /* <= 0: the sandbox's INTERPRETER_EXECUTION_TIMEOUT_MS, or none */
    const struct code_execution_events *events;
    /* private */
    struct context *context;
    struct code_execution *next;
    bool timed_out;
};

#define CONTEXT_ID_SIZE 37
#define CONTEXTS_MAX    1024

struct context {
    struct context *next; /* in the order of creation */
    struct interpreter *interpreter;
    char id[CONTEXT_ID_SIZE]; /* a random UUID */
    enum kernel_language language;
    char *cwd;
    char **envp;           /* until the interpreter is ready */
    struct kernel *kernel; /* NULL when it has died */
    const char *come_by;   /* how: AGENT_CONTEXT_FIELD has the words */
    bool ready;
    struct code_execution *first; /* the first one runs if `running` */
    bool running;
    struct loop_timer timeout;
    struct context_creation *creation;
    struct loop_deferred free_later;
};

struct context_creation {
    /* One of these, once. `missing`: the language is not there at all. */
    void (*on_created)(struct context_creation *creation, struct context *context);
    void (*on_failed)(struct context_creation *creation, bool missing, const char *reason);
};

struct interpreter {
    struct agent *agent;
    struct context *contexts;
    size_t count;         /* of contexts, also of those that are not listed yet */
    struct kernel *spare; /* prepared ones and ones that prepare themselves */
    bool used[KERNEL_PROGRAMS];
    bool snapshot_failed[KERNEL_PROGRAMS]; /* it does not fit this machine, or what is installed by now */
    struct loop_timer spare_timer;
    struct loop_timer top_up_timer;
    unsigned top_up_waits;
    /* How interpreters were come by, and how many died without being told to. */
    uint64_t started_cold;
    uint64_t started_snapshot;
    uint64_t taken_spare;
    uint64_t died;
    /* Contexts of WebSocket and RPC connections that bermd has not been told of. */
    struct {
        uint64_t snapshot, spare, cold, failed;
    } untold;
};

void interpreter_init(struct interpreter *interpreter, struct agent *agent);
/* The environment is there, or another one: starts the spares that it asks for, and ends those that had the old. */
void interpreter_warm(struct interpreter *interpreter);
size_t interpreter_spares(const struct interpreter *interpreter, enum kernel_program program);

/*
 * Makes a context; the callbacks come later, or from inside when it fails at once. `cwd` is absolute and is made if
 * it does not exist.
 */
void context_create(struct interpreter *interpreter, enum kernel_language language, const char *cwd,
                    const struct env *env, struct context_creation *creation);
/* Among those that are listed; NULL. */
struct context *context_find(const struct interpreter *interpreter, struct str id);
/* Executions that are left end with an error. */
void context_delete(struct context *context);

bool context_alive(const struct context *context);
/* The context must be alive. Callbacks come later, or from inside when it fails at once. */
void context_submit(struct context *context, struct code_execution *execution);
void code_execution_cancel(struct code_execution *execution);
/* True if there was something to interrupt. */
bool context_interrupt(struct context *context);
/* The taker of a running execution's events is full, respectively not any more. */
void code_execution_block(struct code_execution *execution);
void code_execution_unblock(struct code_execution *execution);
