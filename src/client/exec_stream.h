/*
 * exec_stream.h - the answer to a command: events `stdout` and `stderr` (base64), then one `exit` or `error`.
 *
 * The stream comes from the sandbox's own agent, which code in the sandbox may have taken over: whatever does not
 * fit the format ends it, and nothing after the terminal event is looked at.
 */
#pragma once

#include "client/berm.h"
#include "net/sse_parser.h"

#define EXEC_EVENT_MAX ((size_t)4 << 20) /* base64 of one event */

struct exec_stream {
    struct sse_parser parser;
    const struct berm_exec *exec; /* the sinks */
    struct buf bytes;             /* decoding space */
    struct berm_problem *problem; /* of the feed in progress */
    bool reported;                /* *problem is filled already, in more detail than the parser could */
    bool ended;                   /* the terminal event has come */
    bool failed;                  /* it was `error` */
    int exit_code;
    struct berm_problem failure;
};

void exec_stream_init(struct exec_stream *s, const struct berm_exec *exec);
void exec_stream_done(struct exec_stream *s);

/* 0, or -1 with *problem: malformed, or a sink failed. */
int exec_stream_feed(struct exec_stream *s, struct str piece, struct berm_problem *problem);

/* After the response's end: the command's status, or -1 with what the terminal event, or its absence, says. */
int exec_stream_result(const struct exec_stream *s, int *ret_exit_code, struct berm_problem *problem);
