/*
 * internal.h - what the files of capnweb share.
 *
 * Constructors (_new) return one reference, or NULL without memory. Blocks, payloads and promises may be NULL where
 * they are given back. Functions that consume a payload take that reference over, and NULL stands for one that
 * there was no memory for.
 */
#pragma once

#include "capnweb.h"
#include "id_table.h"

/* --- the queue of what is to be done --- */

struct cw_task {
    struct cw_task *next;
    bool queued;
    void (*run)(struct cw_task *task);
};

struct cw_queue {
    struct cw_task *first, *last;
};

void cw_queue_push(struct cw_queue *queue, struct cw_task *task);
struct cw_task *cw_queue_pop(struct cw_queue *queue); /* NULL: it is empty */

/* --- memory --- */

/* The memory of one message, or of what the application makes; counted. */
struct cw_block {
    struct capnweb_session *session;
    unsigned refs;
    size_t accounted; /* of it in session->held */
    struct arena arena;
};

enum cw_kind {
    CW_TARGET,
    CW_IMPORT,
    CW_READER, /* the end of a stream that is read */
    CW_SINK,   /* its other end, which the peer writes to: struct capnweb_reader, too */
    CW_PIPE,
    CW_PROMISE,
    CW_PAYLOAD
};

/* A counted reference. */
struct cw_ref {
    enum cw_kind kind;
    void *object;
};

/*
 * A value with what it refers to. While it is pending, some promises in it still wait to be replaced by their
 * values; `complete` runs when none is left, or at once.
 */
struct cw_payload {
    struct capnweb_session *session;
    unsigned refs;
    struct cw_payload *next_garbage;
    struct cw_block *block; /* NULL: the value lives in another payload, which is owned */
    struct capnweb_value value;
    struct held_text *text; /* of a result that came as JSON text: its expression, the value once it is asked for */
    bool text_has_arrays;
    struct cw_ref *owned;
    size_t owned_count, owned_cap;
    unsigned pending;
    unsigned chain;                   /* of the promises it waits for, the longest */
    unsigned depth;                   /* of the value */
    size_t weight;                    /* about its length as text, so that references cannot make it explode */
    struct capnweb_promise *rejected; /* the first promise in it that was */
    struct cw_task *complete;
};

struct cw_block *cw_block_new(struct capnweb_session *s, size_t size_hint);
void cw_block_unref(struct cw_block *block);
void cw_block_account(struct cw_block *block); /* after it has grown */

/* With a reference of its own on `block`, which may be NULL. */
struct cw_payload *cw_payload_new(struct capnweb_session *s, struct cw_block *block);
struct cw_payload *cw_payload_ref(struct cw_payload *payload);
void cw_payload_unref(struct cw_payload *payload);
void cw_payload_drop_objects(struct cw_payload *payload); /* all that it owns but other payloads */
/* Takes a reference on `object`. -1 without memory. */
int cw_payload_own(struct cw_payload *payload, enum cw_kind kind, void *object);
/* Takes references on all that a value made by the application refers to, and measures it. -1: too deep, memory. */
int cw_payload_collect(struct cw_payload *payload);
/* Instead of that, for what will not be sent: the streams in it end. */
void cw_discard(struct capnweb_session *s, const struct capnweb_value *value);
/* Puts the value of a promise at `slot`, at that depth of the payload's value, now or when it is there. */
int cw_payload_fill(struct cw_payload *payload, struct capnweb_value *slot, unsigned depth,
                    struct capnweb_promise *promise);
/* Takes the text over. False: it is nested too deeply, or there is no memory. */
bool cw_payload_take_text(struct cw_payload *payload, struct buf *json);
/* The value, of a text if that is what it came as. */
const struct capnweb_value *cw_payload_value(struct cw_payload *payload);
/* An error as payload; NULL without memory. */
struct cw_payload *cw_error_payload(struct capnweb_session *s, const char *name, const char *message);

/* --- promises --- */

enum cw_state { CW_PENDING, CW_RESOLVED, CW_REJECTED };

struct capnweb_promise {
    struct capnweb_session *session;
    unsigned refs;
    enum cw_state state;
    unsigned chain; /* how many promises wait for each other up to this one */
    int64_t export_id;
    struct cw_payload *payload; /* the result or the reason; NULL without memory for it */
    struct cw_queue waiters;
    struct cw_task announce; /* settled before it was sent */
};

struct capnweb_promise *cw_promise_new(struct capnweb_session *s, unsigned chain);
/* Consumes the payload. Nothing happens to one that is settled. */
void cw_promise_settle(struct capnweb_promise *promise, bool ok, struct cw_payload *payload);
/* The same once no promise in it is pending, and rejected as the first of them that was. */
void cw_promise_settle_when_complete(struct capnweb_promise *promise, struct cw_payload *payload);
void cw_promise_reject(struct capnweb_promise *promise, const char *name, const char *message);
/* The value, of a settled one. */
const struct capnweb_value *cw_promise_value(const struct capnweb_promise *promise);

/* --- calls --- */

struct cw_path {
    const struct capnweb_key *keys;
    size_t count;
};

/*
 * Calls `path` of the object, or reads it when `args` is NULL; the result is a new promise. Consumes `args`. NULL
 * without memory. `block` is where the path lives.
 */
struct capnweb_promise *cw_apply(struct capnweb_session *s, struct cw_ref object, struct cw_block *block,
                                 struct cw_path path, struct cw_payload *args);
/*
 * Walks down a value. 1: an object is in the way, *ret and the rest of the path tell; 0: *ret_value; -1: there is
 * nothing to read a property of, and the path's rest begins with its name.
 */
int cw_follow(const struct capnweb_value *value, struct cw_path *path, struct cw_ref *ret,
              struct capnweb_value *ret_value);
bool cw_value_ref(const struct capnweb_value *value, struct cw_ref *ret);

/* The application's call and ours around it. */
struct cw_call {
    struct capnweb_call public;
    struct cw_task task;
    struct cw_ref object;
    struct cw_block *block;
    struct cw_payload *args;
    struct capnweb_promise *result;
};

void cw_call_settle(struct cw_call *call, bool ok, struct cw_payload *payload); /* frees the call */
void cw_call_reject(struct cw_call *call, const char *name, const char *message);

/* --- exports --- */

struct cw_export {
    int64_t id;
    struct cw_ref object; /* CW_TARGET, CW_PROMISE or CW_SINK; its object is NULL when we have no main */
    int64_t refs;         /* of the peer */
    bool pulled, auto_release;
};

struct cw_export *cw_export_get(struct capnweb_session *s, int64_t id); /* NULL: there is none */
/* Takes a reference on the object. -1: no memory, or too many. */
int cw_export_add(struct capnweb_session *s, int64_t id, struct cw_ref object);
int cw_export_drop(struct capnweb_session *s, int64_t id, int64_t count); /* -1: the session failed */
int cw_export_pull(struct capnweb_session *s, int64_t id);                /* the same */
void cw_export_settled(struct capnweb_session *s, int64_t id);

/* --- imports --- */

enum cw_import_kind {
    CW_MAIN,
    CW_STUB,
    CW_PROMISED, /* the peer settles it by itself */
    CW_CALL,
    CW_PIPE_END, /* struct capnweb_pipe */
    CW_WRITE     /* struct cw_write */
};

/* What each thing in the table begins with. */
struct cw_import {
    enum cw_import_kind kind;
    int64_t id;
};

struct capnweb_import {
    struct cw_import entry;
    struct capnweb_session *session;
    unsigned refs;        /* of the application and of payloads; the last one releases it at the peer */
    unsigned memory_refs; /* all refs together, the table, the task */
    int64_t remote_refs;  /* what to give back */
    bool in_table, pulled;
    struct capnweb_promise *result; /* of CW_CALL and CW_PROMISED */
    void (*done)(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data);
    void *data;
    struct cw_task task;
};

struct cw_write {
    struct cw_import entry;
    struct capnweb_pipe *pipe;
    size_t size;
    bool is_last; /* the close or abort */
};

struct cw_import *cw_import_get(struct capnweb_session *s, int64_t id); /* NULL: there is none */
/* Under entry->id. -1: no memory, too many, or the session has ended. */
int cw_import_add(struct capnweb_session *s, struct cw_import *entry);
/* The peer's object under that (negative) id, with one more reference for us; NULL: the session failed. */
struct capnweb_import *cw_import_object(struct capnweb_session *s, int64_t id, bool is_promise);
/* Sends a call; its args may hold no pending promise. NULL without memory, or when it cannot be sent. */
struct capnweb_import *cw_import_call(struct capnweb_session *s, int64_t target, struct cw_path path,
                                      const struct capnweb_value *args, size_t arg_count, bool is_read);
/* Consumes the payload. */
void cw_import_settle(struct capnweb_session *s, struct cw_import *entry, bool ok, struct cw_payload *payload);
void cw_import_lost(struct capnweb_session *s, struct cw_import *entry); /* at the session's end */

/* --- streams --- */

struct capnweb_reader *cw_reader_new(struct capnweb_session *s);
void cw_reader_ref(
    struct capnweb_reader *reader); /* of values: when the last goes and nobody reads, it is cancelled */
void cw_reader_unref(struct capnweb_reader *reader);
void cw_sink_ref(struct capnweb_reader *reader);
void cw_sink_unref(struct capnweb_reader *reader);
void cw_reader_call(struct capnweb_reader *reader, struct cw_call *call); /* write, close, abort */
bool cw_reader_claim(struct capnweb_reader *reader);                      /* false: it was before */
void cw_reader_lost(struct capnweb_reader *reader, const char *message);  /* the peer let go of it */

struct capnweb_pipe *cw_pipe_of(struct cw_import *entry);
void cw_pipe_ref(struct capnweb_pipe *pipe);
void cw_pipe_unref(struct capnweb_pipe *pipe);
bool cw_pipe_refer(struct capnweb_pipe *pipe, int64_t *ret_id); /* false: not open, or it was before */
/* Frees `write`; the reason is borrowed. */
void cw_pipe_acknowledged(struct capnweb_pipe *pipe, struct cw_write *write, bool ok, struct cw_payload *reason);
void cw_pipe_lost(struct capnweb_pipe *pipe, const char *message); /* the session or what refers to it */
/* Opens all pipes that a value refers to, or ends them when it could not be sent. */
void cw_open_pipes(const struct cw_payload *payload);
void cw_lose_pipes(const struct cw_payload *payload);

/* --- text --- */

/* A value in a message, after a comma if one is needed. On failure the writer fails. */
void cw_write_value(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                    unsigned depth);
void cw_write_path(struct json_writer *w, struct cw_path path);
void cw_write_bytes(struct json_writer *w, const void *p, size_t n);

/* Evaluates into payload->value. -1: the session failed. */
int cw_evaluate(struct capnweb_session *s, struct cw_payload *payload, const struct json *expression);
/* The same for a push: the promise of the result. */
struct capnweb_promise *cw_evaluate_push(struct capnweb_session *s, struct cw_payload *payload,
                                         const struct json *expression);

/* --- the session --- */

struct capnweb_session {
    unsigned refs;
    bool ended, freed, running, collecting;
    struct capnweb_transport transport;
    struct capnweb_limits limits;
    struct id_table exports, imports;
    int64_t next_in;       /* id of the next push, stream or pipe that comes */
    int64_t next_out;      /* id of the next one that we send */
    int64_t next_negative; /* id of the next object that we export */
    struct capnweb_import *main;
    struct cw_queue queue;
    struct cw_payload *garbage;
    struct buf out; /* the message being made */
    size_t held;
    char end_message[256];
};

void cw_session_ref(struct capnweb_session *s);
void cw_session_unref(struct capnweb_session *s);
void cw_enqueue(struct capnweb_session *s, struct cw_task *task);
/* Fails the session. Returns -1. */
int cw_fatal(struct capnweb_session *s, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int cw_out_of_memory(struct capnweb_session *s);
/* With the JSON text of what was wrong behind the message. */
int cw_fatal_json(struct capnweb_session *s, const char *name, const char *message, const struct json *json);
/*
 * A message: begin, write, finish; finish sends it and returns its length, or 0 when it could not be made, with the
 * ids taken for what is in it given back.
 */
struct cw_message {
    struct json_writer w;
    int64_t first_negative;
};
void cw_message_begin(struct capnweb_session *s, struct cw_message *message, const char *kind);
size_t cw_message_finish(struct capnweb_session *s, struct cw_message *message);
/* Instead, with the text as the last element of the message. */
size_t cw_message_finish_text(struct capnweb_session *s, struct cw_message *message, struct held_text *text);
void cw_send_release(struct capnweb_session *s, int64_t id, int64_t count);
void cw_send_pull(struct capnweb_session *s, int64_t id);
