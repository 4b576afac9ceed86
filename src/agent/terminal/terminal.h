/*
 * terminal.h - the terminal of a session: a program on a pseudo-terminal that outlives the connections to it.
 *
 * Theory of operation. Output goes into a bounded log (byte_log.h), of which each viewer takes from its own place;
 * a new viewer begins with the last TERMINAL_REPLAY bytes. As long as nobody watches, the log forgets its oldest
 * bytes and the program is never held up. With viewers the program is held up by the fastest of them: the terminal
 * is not read while none can take more. So a single viewer loses nothing however slowly it reads, and one that does
 * not read stops no other; it falls behind, up to TERMINAL_LOG bytes, and goes on from its place when it reads
 * again. One that is overtaken is told and closed, for a terminal's output with a hole in it is rubbish; connecting
 * again gets the replay.
 *
 * The terminal is the controlling one of the program, so Ctrl-C, job control and SIGWINCH work, and its end is that
 * of the program (wait(2)), whoever else still holds the terminal: the kernel hangs it up. Each viewer then gets
 * what is left, the exit, and is closed; the session has no terminal any more, and the next connection makes a new
 * one. It ends with the session, too. A temporary one ends with its last viewer, and its session with it unless
 * that has been used for something else.
 */
#pragma once

#include "agent/child/pty.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "net/ws.h"

#define TERMINAL_REPLAY ((size_t)256 * 1024)
#define TERMINAL_LOG    ((size_t)16 * 1024 * 1024)

struct agent;
struct session;
struct terminal;

struct terminal_spec {
    const char *shell;
    char *const *envp;
    int cwd_fd;
    struct terminal_size size;
    bool temporary;
};

/* One connection. It is made by its route, which also waits with it until there is a terminal. */
struct terminal_viewer {
    struct terminal_viewer *prev, *next;
    struct agent *agent;
    struct ws *ws;
    struct terminal *terminal;  /* NULL: there is none yet, or the viewer is being closed */
    struct terminal_open *open; /* that it waits for, or NULL */
    uint64_t at;                /* offset of the next byte that it gets */
    bool blocked;               /* it does not read */
    bool leaving;               /* is being closed */
    bool paused;                /* is not read from, because the program does not read */
    bool has_size;              /* a size came before there was a terminal */
    struct terminal_size size;
    struct buf early; /* so did this input */
};

/* The terminal becomes that of the session. NULL with *err. */
struct terminal *terminal_start(struct session *session, const struct terminal_spec *spec, struct berm_error *err);
/* Ends the program and all that belongs to the terminal; viewers are told. The session has no terminal any more. */
void terminal_kill(struct terminal *terminal);

/* {sessionId, pid, startTime} of the session's terminal, which must have one. */
struct json_writer;
void terminal_put_record(const struct session *session, struct json_writer *w);

/* The viewer gets the replay and "ready", and everything from then on. */
void terminal_attach(struct terminal *terminal, struct terminal_viewer *viewer);
void terminal_detach(struct terminal_viewer *viewer); /* idempotent */

/* Keys of the viewer's. */
void terminal_input(struct terminal *terminal, struct terminal_viewer *viewer, struct str bytes);
void terminal_resize(struct terminal *terminal, struct terminal_size size);
/* The viewer reads again. */
void terminal_viewer_drained(struct terminal_viewer *viewer);

/* terminal_viewer.c */

/* {"type":"error","message":...}, and then a close with the message as its reason. */
void terminal_viewer_fail(struct terminal_viewer *viewer, int code, const char *message);
void terminal_viewer_close(struct terminal_viewer *viewer, int code, struct str reason);
/* Upgrades the request to a viewer. NULL after having answered. */
struct request;
struct terminal_viewer *terminal_viewer_new(struct request *rq);

/* terminal_open.c: the viewer has gone before its turn came. */
void terminal_open_forget(struct terminal_open *open);
