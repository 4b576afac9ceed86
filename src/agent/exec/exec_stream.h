/*
 * exec_stream.h - POST /berm/v1/exec: run a command and stream what it writes, byte for byte, as server-sent events
 * in the form of the bridge API, so that bermd can pass the stream through.
 *
 * Body: a JSON document; or, with Content-Type application/x-berm-exec, that document on one line and then stdin,
 * which may still be coming while the output streams. Back-pressure goes both ways: a client that does not read
 * stops the reading of the command's pipes, a command that does not read stops the reading of the body. A command
 * that is silent for a while (15 s) has comment lines in its stream.
 *
 * With "tty": {"id", "cols", "rows"} it has a terminal (exec_terminal.h): all that it writes is stdout.
 *
 * With "id", a name that no other command has at the time, a command without a session goes on when the connection
 * breaks after its input was complete: that is how the end of bermd looks from here. POST /berm/v1/exec/cancel
 * {"id"} ends it.
 *
 * Without a session the command is a process of its own (exec_stream.c); with one it runs in the session's shell
 * (exec_stream_session.c) as /api/execute would run it, except that the time limit is enforced there too.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/child/env.h"
#include "agent/child/limit.h"
#include "agent/child/procfs.h"
#include "agent/http/request.h"
#include "agent/session/session.h"
#include "exec_terminal.h"

struct exec_stream {
    struct request *rq;
    struct sink sink;
    bool begun; /* the head of the answer is on its way */
    struct loop_timer begin_timer;
    struct loop_timer keep_alive;
    uint64_t spoke_ms;     /* when the last of it was sent */
    bool blocked;          /* the client does not take more at the moment */
    bool stderr_open_line; /* the last byte of stderr was no newline */

    /* The request. Strings are in its arena. */
    struct buf document; /* while it arrives */
    bool with_stdin;     /* the document is the first line, stdin follows */
    bool decoded;
    bool body_ended;
    struct str command;      /* if argv is NULL */
    const struct json *argv; /* array of at least one string without NUL, or NULL */
    const char *session_id;
    const char *cwd;
    struct env env;
    int64_t timeout_ms; /* < 0: none */
    const char *id;     /* NULL: it has no name */
    struct exec_stream *next_named;
    bool keep_on_disconnect;
    bool limited; /* by `limits`: without a session */
    struct limits limits;

    struct child *child;            /* without a session */
    struct exec_terminal *terminal; /* of the child, or NULL */
    const char *terminal_id;        /* NULL: none is asked for */
    struct terminal_size terminal_size;

    struct session_op op; /* in a session */
    struct shell_job job;
    struct loop_timer timer;
    struct pid_list children_before; /* of the shell: what the time limit leaves alone */
    bool timed_out;
    uint8_t kill_stage;
};

/* The command runs. The head of the answer goes out with the first output, or by itself after a moment. */
void exec_stream_begin(struct exec_stream *e);
/* Sends the last event and frees everything. `e` is gone. */
void exec_stream_finish(struct exec_stream *e, int exit_code, const struct usage *usage); /* may be NULL */
/* A line on stderr that is ours; starts on a new line and ends with one. */
void exec_stream_put_stderr(struct exec_stream *e, struct str text);
void exec_stream_put_timeout(struct exec_stream *e);
/* After an answer that is no stream. */
void exec_stream_free(struct exec_stream *e);
/* The command as text for a shell, in the request's arena; n == 0 and p == NULL without memory. */
struct str exec_stream_text(struct exec_stream *e);
/* 500 COMMAND_EXECUTION_ERROR instead of a stream. */
void exec_stream_fail(struct exec_stream *e, const char *reason);

void exec_stream_start_in_session(struct exec_stream *e);
