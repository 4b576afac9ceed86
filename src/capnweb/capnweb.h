/*
 * capnweb.h - a session of Cap'n Web 0.8, the object-capability RPC of the upstream SDK: text messages in, text
 * messages out, no I/O of its own.
 *
 * Theory of operation. Each side has a table of exports, what the peer may refer to, and one of imports, what the
 * peer exports to us. A message evaluates to values (struct capnweb_value) that live in one block of memory per
 * message; what they refer to (objects, stubs, streams) is counted. A call whose target or arguments are promises
 * waits for these. Whatever follows from a message is put into a queue and done from there, so that nothing
 * recurses by the length of a chain that the peer makes, and no function here calls the application back but
 * capnweb_receive() and capnweb_run(). When the application's call has made work, `wake` tells: call capnweb_run()
 * soon.
 *
 * The peer is hostile. A message that breaks the protocol ends the session (abort, then `fail`); a call that is
 * only wrong is rejected. Everything that the peer can make us hold is counted against struct capnweb_limits.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/held_text.h"
#include "base/json.h"

struct capnweb_session;
struct capnweb_call;
struct capnweb_import;
struct capnweb_reader;
struct capnweb_pipe;
struct capnweb_promise;

/* --- values --- */

enum capnweb_type {
    CAPNWEB_UNDEFINED, /* zeroed memory is undefined */
    CAPNWEB_NULL,
    CAPNWEB_BOOL,
    CAPNWEB_INT,
    CAPNWEB_DOUBLE, /* NaN and infinities as well */
    CAPNWEB_STRING, /* UTF-8, may hold NUL bytes; what came from the peer is NUL-terminated */
    CAPNWEB_BYTES,
    CAPNWEB_BIGINT, /* decimal digits in `string`, perhaps behind a '-' */
    CAPNWEB_DATE,   /* milliseconds since the epoch in `number`; NaN: an invalid date */
    CAPNWEB_ARRAY,
    CAPNWEB_OBJECT,
    CAPNWEB_ERROR,
    CAPNWEB_TARGET,   /* an object of ours */
    CAPNWEB_STUB,     /* an object of the peer, or a function */
    CAPNWEB_WRITABLE, /* a WritableStream of the peer: a stub with write(chunk), close(), abort(reason) */
    CAPNWEB_SINK,     /* only in what we send: an object of ours with those methods, as a WritableStream */
    CAPNWEB_READER,   /* a ReadableStream of the peer */
    CAPNWEB_PIPE,     /* a ReadableStream that we give to the peer */
    CAPNWEB_PROMISE,  /* only in what we send: settled later */
    CAPNWEB_HEADERS,  /* `json`: [[name, value], ...] */
    CAPNWEB_REQUEST,  /* `fetch` */
    CAPNWEB_RESPONSE, /* `fetch`, `text` unused */
    CAPNWEB_BLOB,     /* `fetch`: `text` is the MIME type, `body` a reader or pipe */
    CAPNWEB_JSON      /* only in what we send: plain JSON, whose arrays are arrays */
};

struct capnweb_value {
    enum capnweb_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct str string;
        struct {
            struct capnweb_value *items;
            size_t count;
        } array;
        struct {
            struct capnweb_member *members;
            size_t count;
        } object;
        const struct json *json;
        struct capnweb_error_value *error;
        struct capnweb_fetch *fetch;
        struct capnweb_target *target;
        struct capnweb_import *import;
        struct capnweb_reader *reader;
        struct capnweb_pipe *pipe;
        struct capnweb_promise *promise;
    };
};

struct capnweb_member {
    struct str key;
    struct capnweb_value value;
};

struct capnweb_error_value {
    struct str name; /* "Error", "TypeError", ... */
    struct str message;
    struct str stack;           /* of the peer's; p is NULL when withheld; never sent */
    struct capnweb_value props; /* an object (own properties: code, details, cause), or undefined */
};

struct capnweb_fetch {
    struct str text;
    const struct json *init; /* as it came, "body" in it unevaluated; may be NULL */
    struct capnweb_value body;
};

#define CAPNWEB_TEXT(s)      ((struct capnweb_value){ .type = CAPNWEB_STRING, .string = (s) })
#define CAPNWEB_NUMBER(n)    ((struct capnweb_value){ .type = CAPNWEB_INT, .integer = (n) })
#define CAPNWEB_TRUTH(b)     ((struct capnweb_value){ .type = CAPNWEB_BOOL, .boolean = (b) })
#define CAPNWEB_NOTHING      ((struct capnweb_value){ .type = CAPNWEB_UNDEFINED })
#define CAPNWEB_THE_JSON(j)  ((struct capnweb_value){ .type = CAPNWEB_JSON, .json = (j) })
#define CAPNWEB_OF_TARGET(t) ((struct capnweb_value){ .type = CAPNWEB_TARGET, .target = (t) })
#define CAPNWEB_OF_SINK(t)   ((struct capnweb_value){ .type = CAPNWEB_SINK, .target = (t) })
#define CAPNWEB_OF_PIPE(p)   ((struct capnweb_value){ .type = CAPNWEB_PIPE, .pipe = (p) })

/* The member of an object; NULL when absent or undefined, or when `object` is NULL or no object. */
const struct capnweb_value *capnweb_get(const struct capnweb_value *object, const char *key);

/*
 * An error with `code` and `details` (an object, or undefined) as properties; both may be left out. The texts are
 * not copied. Without memory the value is undefined, which rejects as well.
 */
struct capnweb_value capnweb_error(struct arena *arena, const char *name, struct str message, struct str code,
                                   struct capnweb_value details);

/*
 * A value whose memory is in `arena`; what it refers to is the same. Undefined without memory, and in the place of
 * raw JSON and of what the Fetch API has.
 */
struct capnweb_value capnweb_copy(struct arena *arena, const struct capnweb_value *value);

/*
 * Writes a value as plain JSON: undefined members are left out and undefined elsewhere is null, bytes are base64,
 * dates are ISO 8601 or null, big integers are numbers; what is no data (stubs, streams, errors, ...) is null.
 */
void capnweb_write_json(struct json_writer *w, const struct capnweb_value *value);

/* --- objects of ours --- */

/* A step of a path: a property's name, or the index of an array's element. */
struct capnweb_key {
    bool is_index;
    int64_t index;
    struct str name;
};

struct capnweb_ops {
    /* A method is called, or a property read (call->is_read). Answered through the call, now or later. */
    void (*call)(struct capnweb_target *target, struct capnweb_call *call);
    /* The last reference is gone. It may not use the session. NULL: the object lives by itself. */
    void (*dispose)(struct capnweb_target *target);
};

struct capnweb_target {
    const struct capnweb_ops *ops;
    unsigned refs; /* the maker has one */
};

void capnweb_target_ref(struct capnweb_target *target);
void capnweb_target_unref(struct capnweb_target *target);

/*
 * Everything that a call brought lives until it is answered, in the same arena that the answer may be built in.
 * What the arguments refer to is released by the answer, except for what that holds and what was referenced
 * meanwhile. Answering a call whose session is over does nothing else. A call must be answered exactly once.
 */
struct capnweb_call {
    struct capnweb_session *session;
    bool is_read;
    const struct capnweb_key *path;
    size_t path_count;
    const struct capnweb_value *args;
    size_t arg_count;
    struct arena *arena;
    void *data; /* the application's */
};

/* NULL when missing or undefined. */
const struct capnweb_value *capnweb_arg(const struct capnweb_call *call, size_t i);
/* The value is made in call->arena, or is of the arguments, or lasts; capnweb_copy() for what is from elsewhere. */
void capnweb_resolve(struct capnweb_call *call, struct capnweb_value value);
/*
 * The same with JSON text that is well-formed and comes from ourselves. It is taken over, and where the transport
 * allows it, there is no copy of it on its way to the peer. False: it is nested too deeply, or there is no memory
 * or no room in the buffer; then nothing has happened.
 */
bool capnweb_resolve_text(struct capnweb_call *call, struct buf *json);
void capnweb_reject(struct capnweb_call *call, struct capnweb_value reason);
/* With an error of that class and a message that is copied. */
void capnweb_reject_error(struct capnweb_call *call, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Nobody waits for the answer any more: the session is over. */
bool capnweb_call_abandoned(const struct capnweb_call *call);

/* --- objects of the peer --- */

/* Counted. The last unref releases it at the peer. */
struct capnweb_import *capnweb_import_ref(struct capnweb_import *import);
void capnweb_import_unref(struct capnweb_import *import);

/* The peer's main object; borrowed from the session. */
struct capnweb_import *capnweb_main(struct capnweb_session *session);
/*
 * Calls a method; the result is a new reference, which may be called in turn before it is settled. Unref'ing it
 * before abandons the call. `args` NULL reads the property. NULL when the session is over, a limit is reached, or
 * the arguments cannot be sent.
 */
struct capnweb_import *capnweb_call_start(struct capnweb_import *target, const struct capnweb_key *path,
                                          size_t path_count, const struct capnweb_value *args, size_t arg_count);
/*
 * Asks for the result. `done` is called once, unless the last reference goes before; `value` is the result or the
 * reason and lives as long as the import.
 */
void capnweb_pull(struct capnweb_import *import,
                  void (*done)(struct capnweb_import *import, bool ok, const struct capnweb_value *value,
                               void *data),
                  void *data);

/* A promise of ours, for a result or an argument that is there before all of it is known. */
struct capnweb_promise *capnweb_promise_new(struct capnweb_session *session); /* NULL without memory */
struct arena *capnweb_promise_arena(struct capnweb_promise *promise);         /* for its value; until settled */
void capnweb_promise_settle(struct capnweb_promise *promise, bool ok, struct capnweb_value value);
void capnweb_promise_unref(struct capnweb_promise *promise);

/* --- streams from the peer --- */

struct capnweb_reader_ops {
    /* One chunk; the next one comes after capnweb_reader_ack(). The chunk lives until then. */
    void (*on_chunk)(struct capnweb_reader *reader, const struct capnweb_value *chunk, void *data);
    /* Exactly one of these, last. The end; or the peer gave up, or the session is over. */
    void (*on_end)(struct capnweb_reader *reader, void *data);
    void (*on_abort)(struct capnweb_reader *reader, const struct capnweb_value *reason, void *data);
};

/* Begins to read, once per reader; it stays alive until its end. */
void capnweb_reader_start(struct capnweb_reader *reader, const struct capnweb_reader_ops *ops, void *data);
void capnweb_reader_ack(struct capnweb_reader *reader);
/* No more is wanted: no callback comes any more, and the peer's writes are rejected with the reason. */
void capnweb_reader_cancel(struct capnweb_reader *reader, const char *name, const char *message);

/* --- streams to the peer --- */

struct capnweb_pipe_ops {
    /* The peer may read it, or takes more after a write returned false. */
    void (*on_ready)(struct capnweb_pipe *pipe, void *data);
    /* Exactly once, last. `reason` NULL: the peer has taken all to the end; else it was cancelled or aborted. */
    void (*on_end)(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data);
};

/*
 * A stream to put into one result or one call's arguments. Nothing may be written before on_ready. A pipe that
 * never reaches the peer (nobody asked for the result) gets its on_end, too. Valid until on_end; NULL without
 * memory.
 */
struct capnweb_pipe *capnweb_pipe_new(struct capnweb_session *session, const struct capnweb_pipe_ops *ops,
                                      void *data);
/* False: the window is full; it was sent all the same. Wait for on_ready. */
bool capnweb_pipe_write(struct capnweb_pipe *pipe, const void *p, size_t n);
void capnweb_pipe_close(struct capnweb_pipe *pipe);
void capnweb_pipe_abort(struct capnweb_pipe *pipe, struct capnweb_value reason);

/* --- the session --- */

struct capnweb_limits {
    size_t max_message;     /* of a message that comes; 32 MiB */
    size_t max_sent;        /* of one that we send; 256 MiB */
    size_t max_held;        /* of arguments, results and chunks that wait for something; 64 MiB */
    uint32_t max_entries;   /* of each table; 65536 */
    uint32_t max_depth;     /* of nested values; 64 is what the JavaScript side can produce */
    uint32_t max_pipelined; /* calls that wait for calls that wait for ...; 1024 */
    size_t window;          /* of a stream to the peer: characters sent and not acknowledged; 256 KiB */
};

void capnweb_limits_default(struct capnweb_limits *limits);

struct capnweb_transport {
    void (*send)(struct str message, void *data); /* to be copied; never calls back */
    /* The session has ended itself, the peer has been told: close (WebSocket: code 3000 and this reason). */
    void (*fail)(struct str reason, void *data);
    void (*wake)(void *data); /* never calls back: capnweb_run() comes later, by another way */
    void *data;
    /* As `send`, a message in three parts, of which the text may be held until it is sent; or NULL. */
    void (*send_text)(struct str before, struct held_text *text, struct str after, void *data);
};

/* `main`: what the peer can call at once, or NULL; the session takes a reference. NULL without memory. */
struct capnweb_session *capnweb_session_new(const struct capnweb_transport *transport,
                                            const struct capnweb_limits *limits, struct capnweb_target *main);
void capnweb_receive(struct capnweb_session *session, struct str message);
/* The peer has done what the transport does not allow: as a message that breaks the protocol. */
void capnweb_fail(struct capnweb_session *session, const char *name, const char *message);
void capnweb_run(struct capnweb_session *session);
/*
 * The connection is gone, or is closed on purpose: everything outstanding fails with an Error of this message,
 * whose callbacks come from the next capnweb_run(). Nothing is sent any more. Idempotent.
 */
void capnweb_end(struct capnweb_session *session, const char *message);
/* Ends it, runs it, and frees it; the transport is not used any more. Not from a callback. */
void capnweb_session_free(struct capnweb_session *session);

/* The transport's. */
void *capnweb_session_data(const struct capnweb_session *session);

/* What there is, the two main objects included: both 1 when all is released. */
struct capnweb_stats {
    uint32_t exports, imports;
    size_t held;
};
void capnweb_session_stats(const struct capnweb_session *session, struct capnweb_stats *ret);
