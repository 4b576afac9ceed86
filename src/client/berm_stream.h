/*
 * berm_stream.h - what arrives piece by piece: output of commands, processes and code, changes of files, events.
 *
 * A stream is one call in flight. Its descriptor goes into the caller's own poll, select or epoll: when it is
 * readable, berm_stream_next() has something to do, though not always something to give. Or let berm_stream_next()
 * wait. Any number of streams of one client can be open, each used by one thread at a time. Nothing is read ahead
 * without bound: what the caller does not take waits in the sandbox. Close all of a client's streams before it.
 * Included by berm.h.
 */
#pragma once

#include "berm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct berm_stream;

enum berm_item_kind {
    BERM_ITEM_NONE = 0, /* nothing yet */
    BERM_ITEM_STDOUT,   /* bytes of standard output */
    BERM_ITEM_STDERR,
    BERM_ITEM_EXIT,  /* the command or process has ended: exit_code */
    BERM_ITEM_EVENT, /* name and JSON text, as the HTTP API describes it */
    BERM_ITEM_DATA,  /* bytes of a file or archive */
    BERM_ITEM_END    /* the stream is complete; nothing comes after it */
};

struct berm_item {
    enum berm_item_kind kind;
    int exit_code;    /* of BERM_ITEM_EXIT: 128+n if signal n ended it, -1 if it is not known */
    const char *name; /* of BERM_ITEM_EVENT: "result", "create", "process_info"...; else NULL */
    const char *data; /* of events JSON text, which `size` does not need to be looked at for: a NUL follows it */
    size_t size;
};

/* Readable when berm_stream_next() has something to do. It stays the stream's own. */
int berm_stream_fd(const struct berm_stream *stream);

/*
 * 1 with *ret filled, which holds until the next call with this stream; 0 when nothing came within `timeout_ms`
 * (0: does not wait, -1: for as long as it takes); -1 with *problem, and the stream is over. A stream that was cut
 * off is a problem, never an end.
 */
int berm_stream_next(struct berm_stream *stream, int timeout_ms, struct berm_item *ret,
                     struct berm_problem *problem);

/* Gives up whatever it was for: a command without session is killed, code is interrupted. NULL is allowed. */
void berm_stream_close(struct berm_stream *stream);

/* ---- what can be streamed; *ret_stream is for berm_stream_close() ---- */

/*
 * The command's output, then its exit. Without input and sinks, which must not be set. `ret_usage`, if set, is
 * filled before the exit is given, and has to live until then.
 */
int berm_exec_stream(struct berm_client *client, const char *id, const struct berm_exec *exec,
                     struct berm_stream **ret_stream, struct berm_problem *problem);

/* A process's output from the given bytes on, then its exit. "process_info" and "truncated" come as events. */
int berm_process_follow(struct berm_client *client, const char *id, const char *process, uint64_t stdout_from,
                        uint64_t stderr_from, struct berm_stream **ret_stream, struct berm_problem *problem);

struct berm_code {
    const char *context; /* id of a context, see berm_context_create() */
    const char *code;
    int64_t timeout_ms; /* 0: none. Code that outlives it is interrupted: an "error" event */
};

/* Output as it comes; events "result", "error" {"ename","evalue","traceback"}, and last "execution_complete". */
int berm_code_run(struct berm_client *client, const char *id, const struct berm_code *code,
                  struct berm_stream **ret_stream, struct berm_problem *problem);

struct berm_watch {
    const char *path;           /* a directory or file */
    bool recursive;             /* below it as well */
    const char *const *include; /* patterns of names, NULL-terminated; NULL: all */
    const char *const *exclude; /* NULL: none. Not together with include */
};

/* Events "watching", then "event" {"eventType","path","isDirectory"}; "stopped" or "error" end it. */
int berm_watch(struct berm_client *client, const char *id, const struct berm_watch *watch,
               struct berm_stream **ret_stream, struct berm_problem *problem);

struct berm_port_wait {
    uint16_t port;
    const char *path;    /* NULL: a connection is enough; else HTTP GET of this path */
    const char *process; /* NULL; or give up when this process has ended */
    int64_t interval_ms; /* 0: 500 */
};

/* Events as they come; "ready" is the good one, "process_exited" and "error" the others. */
int berm_port_wait(struct berm_client *client, const char *id, const struct berm_port_wait *wait,
                   struct berm_stream **ret_stream, struct berm_problem *problem);

/*
 * Life-cycle events from now on of one sandbox, or with `id` NULL of all: events "message"
 * {"sandbox","number","time","event", "reason","detail","generation"}.
 */
int berm_events_follow(struct berm_client *client, const char *id, struct berm_stream **ret_stream,
                       struct berm_problem *problem);

/* The workspace as an uncompressed tar: BERM_ITEM_DATA. `excludes`: patterns of GNU tar, comma-separated, or NULL.
 */
int berm_persist(struct berm_client *client, const char *id, const char *excludes, struct berm_stream **ret_stream,
                 struct berm_problem *problem);

/* A file, or `count` bytes of it from `offset` on (`count` 0: to its end): BERM_ITEM_DATA. `path` is absolute. */
int berm_file_stream(struct berm_client *client, const char *id, const char *path, uint64_t offset, uint64_t count,
                     struct berm_stream **ret_stream, struct berm_problem *problem);

/*
 * Sends one message of the Model Context Protocol. What comes back are events whose data are messages, none for a
 * notification. `session` NULL for "initialize"; the session's name is at berm_mcp_session() once the first event
 * has come.
 */
int berm_mcp_send(struct berm_client *client, const char *session, const char *version, const char *message,
                  struct berm_stream **ret_stream, struct berm_problem *problem);
/* "" if the answer named none. Lives as long as the stream. */
const char *berm_mcp_session(const struct berm_stream *stream);
/* Ends a session and what runs in it. */
int berm_mcp_end(struct berm_client *client, const char *session, struct berm_problem *problem);

/* ---- terminals ---- */

struct berm_terminal;

struct berm_terminal_options {
    const char *session; /* whose terminal, which outlives this connection; NULL: one of its own */
    const char *shell;   /* NULL: bash */
    uint16_t cols, rows; /* 0: 80 and 24 */
};

/* Blocks until the terminal is there, or it is known why not. `options` NULL: the defaults. */
int berm_terminal_open(struct berm_client *client, const char *id, const struct berm_terminal_options *options,
                       struct berm_terminal **ret_terminal, struct berm_problem *problem);
/*
 * The same without blocking: it begins, and berm_terminal_next() goes on with it, whenever the descriptor is
 * readable. Once anything has come ("ready", mostly), the terminal is open; until then writing is
 * BERM_PROBLEM_LOCAL with EAGAIN.
 */
int berm_terminal_start(struct berm_client *client, const char *id, const struct berm_terminal_options *options,
                        struct berm_terminal **ret_terminal, struct berm_problem *problem);
void berm_terminal_close(struct berm_terminal *terminal); /* NULL is allowed */
/*
 * As berm_stream_fd(); readable as well when what was written can go on. It tells of what has not been read
 * yet: before waiting, also right behind berm_terminal_open(), berm_terminal_next() has to have said that it has no
 * more.
 */
int berm_terminal_fd(const struct berm_terminal *terminal);
/*
 * As berm_stream_next(): what the terminal shows as BERM_ITEM_STDOUT, events "ready" (behind what a session's
 * terminal showed before) and "error", BERM_ITEM_EXIT when its program ended, BERM_ITEM_END.
 */
int berm_terminal_next(struct berm_terminal *terminal, int timeout_ms, struct berm_item *ret,
                       struct berm_problem *problem);
/* Keys. Does not block: up to 1 MiB waits to be sent; above that BERM_PROBLEM_LOCAL with EAGAIN, and nothing was
 * taken. */
int berm_terminal_write(struct berm_terminal *terminal, const void *bytes, size_t size,
                        struct berm_problem *problem);
int berm_terminal_resize(struct berm_terminal *terminal, uint16_t cols, uint16_t rows,
                         struct berm_problem *problem);

/* ---- any route that answers with events ---- */

/* `target` begins with "/"; `json` is a body or NULL. Each event is a BERM_ITEM_EVENT. */
int berm_request_stream(struct berm_client *client, const char *method, const char *target, const char *json,
                        struct berm_stream **ret_stream, struct berm_problem *problem);

#ifdef __cplusplus
}
#endif
