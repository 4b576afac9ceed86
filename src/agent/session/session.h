/*
 * session.h - sessions: a name, a lock, and a shell that keeps state between commands.
 *
 * Theory of operation. Everything that names a session is an operation (struct session_op) and takes its turn in
 * the session's queue: the one at the head holds the lock until it calls session_release(). The first operation
 * that names an unknown session creates it. The shell itself is started when the first command needs it, so a
 * session that only ever touches files costs no process.
 *
 *   NEW   the name is known because an operation waits, the session is not there (any more)
 *   LIVE  created; its shell runs, or has not been needed yet, or has died and nobody has noticed (`dead`)
 *
 * A dead shell is told once: the next operation gets `terminated` instead of the lock, and the session is NEW again
 * (its state is gone). session/create is the exception, it simply replaces a dead session. The same holds for the
 * first operation that waited behind a delete.
 */
#pragma once

#include "agent/child/env.h"
#include "base/error.h"
#include "shell.h"

struct agent;
struct session;
struct terminal;

#define SESSIONLESS_ID "__DISABLE_SESSION__"

struct session_op {
    struct session *session; /* while queued or running */
    struct session_op *next;
    bool creates;            /* session/create: gets a NEW or dead session as it is */
    const char *initial_cwd; /* absolute, of a session that this operation creates by naming it; may be NULL */
    void (*run)(struct session_op *op);
    /* Instead of run: the session's shell had ended. The operation holds nothing then. */
    void (*terminated)(struct session_op *op, int exit_code);
};

struct session {
    struct session *next; /* in the order of creation */
    struct agent *agent;
    char *id;
    bool live;
    bool dead;
    int exit_code;  /* of the shell, once dead */
    bool tell_next; /* the next operation is told about the end that exit_code describes */
    struct env env;
    char *cwd;          /* where the shell starts; NULL: the agent's working directory */
    int64_t timeout_ms; /* of commands; < 0: none of its own */
    struct shell *shell;
    struct terminal *terminal; /* its terminal, while that runs (terminal.h) */
    struct session_op *holder, *head, **tail;
    bool pumping;
    void (*on_stopped)(struct session_op *op); /* of the holder that waits for the end of the shell */
};

struct session_table {
    struct session *first, **tail;
};

void session_table_init(struct session_table *table);

/* `op` runs when it is its turn, perhaps before this returns. 0, or -1 without memory (and nothing is queued). */
int session_submit(struct agent *agent, const char *id, struct session_op *op);
/* The holder is done. `op` is not touched any more. */
void session_release(struct session_op *op);

struct session *session_find(struct agent *agent, const char *id);
/* Whether session/list shows it. */
bool session_listed(const struct session *session);

/* --- for the holder --- */

/* Makes a session that is not there; takes `env` over; `cwd` is copied, relative to the workdir. Out of memory: -1.
 */
int session_establish(struct session *session, struct env *env, const char *cwd, int64_t timeout_ms);
/* Back to NEW. The shell must be gone. */
void session_discard(struct session *session);
/* The shell, started if need be; NULL with *err. */
struct shell *session_shell(struct session *session, struct berm_error *err);
/* Ends the session, then calls `on_stopped`, perhaps at once. What waits is told, as after any end. */
void session_stop(struct session *session, void (*on_stopped)(struct session_op *op));
/* What a shell of the session starts with, beyond the agent's own: into an empty `env`. -1 without memory. */
int session_environment(const struct session *session, struct env *env);
/* Forgets a session that has no shell and that nothing waits for or works in. */
void session_drop_unused(struct session *session);
/* A directory descriptor (O_PATH) that relative paths of the session start from, or -1 with errno. */
int session_open_cwd(struct session *session);

/* Where things start that name no directory: the agent's working directory if it is there, else $HOME, else "/". */
const char *session_default_directory(const struct agent *agent);
