/*
 * request.h - one HTTP request on its way through the agent, and how it is answered.
 *
 * A request is counted: the connection holds it until it is closed, and whatever works for it meanwhile holds it
 * too, so its arena (body, strings) outlives a client that has gone away. Answering such a request does nothing.
 * The shapes and codes are those of the upstream control server; agent_errors.def is the closed list of errors.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "net/server.h"

struct agent;
struct request;
struct route;

enum agent_code {
#define AGENT_ERR(name, status, suggestion) AGENT_E_##name,
#include "agent/agent_errors.def"
#undef AGENT_ERR
    AGENT_E_COUNT
};

struct request {
    struct agent *agent;
    struct http_exchange *ex; /* NULL once the client is gone or the exchange is over */
    const struct route *route;
    struct arena arena;
    const struct json *body; /* of routes that take JSON; NULL if there is none */
    struct http_field field; /* one more of a successful answer; without a name there is none */
    unsigned refs;
    /* What the handler wants to hear of; each may be NULL. */
    void (*on_piece)(struct request *rq, struct str piece);
    void (*on_body_end)(struct request *rq);
    void (*on_drain)(struct request *rq);
    void (*on_gone)(struct request *rq, bool complete); /* the exchange is over, `ex` is NULL already */
    void *data;
};

struct request *request_hold(struct request *rq);
void request_unhold(struct request *rq);
/* The end of work that took the body itself: it hears no more, what is left is read and dropped; and it unholds. */
void request_let_go(struct request *rq);

/* --- success --- */

/* {"success":true, ... ,"timestamp":"..."} with the members in between written by the caller to reply->w. */
struct reply {
    struct buf buf;
    struct json_writer w;
};

void reply_begin(struct reply *reply);
void reply_send(struct request *rq, struct reply *reply);           /* frees it */
void reply_send_unstamped(struct request *rq, struct reply *reply); /* without "timestamp" */
void json_pair_timestamp(struct json_writer *w);

/* --- errors --- */

struct context_item {
    const char *key;
    enum { CONTEXT_STRING, CONTEXT_INT, CONTEXT_NULL, CONTEXT_JSON, CONTEXT_INVALID } type;
    union {
        struct str string;
        int64_t integer;
        const struct json *json;
        struct { /* [{"field":..,"message":..,"code":..}] */
            const char *field, *message, *code;
        } invalid;
    };
};

#define CTX_STR(k, v)                                                                                              \
    {                                                                                                              \
        .key = (k), .type = CONTEXT_STRING, .string = str_from(v)                                                  \
    }
#define CTX_INT(k, v)                                                                                              \
    {                                                                                                              \
        .key = (k), .type = CONTEXT_INT, .integer = (v)                                                            \
    }
#define CTX_NULL(k)                                                                                                \
    {                                                                                                              \
        .key = (k), .type = CONTEXT_NULL                                                                           \
    }
#define CTX_JSON(k, v)                                                                                             \
    {                                                                                                              \
        .key = (k), .type = CONTEXT_JSON, .json = (v)                                                              \
    }
#define CTX_INVALID(k, f, m, c)                                                                                    \
    {                                                                                                              \
        .key = (k), .type = CONTEXT_INVALID, .invalid = {.field = (f), .message = (m), .code = (c) }               \
    }

/* Answers with the error layout. `context` may be NULL with count 0. The message may be of any length. */
void reply_error(struct request *rq, enum agent_code code, const struct context_item *context, size_t count,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same with the members "error" (the message) and "details" (the context) as well, which is what upstream's
 * code execution answers instead. */
void reply_error_with_details(struct request *rq, enum agent_code code, const struct context_item *context,
                              size_t count, const char *message);
/* 400 VALIDATION_FAILED with one entry in validationErrors. */
void reply_invalid(struct request *rq, const char *field, const char *message, const char *code);
/* The same out of a failed json_field_*(). */
void reply_invalid_field(struct request *rq, const struct berm_error *err);
/* 410; the load-bearing parts are "shell exited" and "exit code: N". */
void reply_session_terminated(struct request *rq, const char *session_id, int exit_code);

/* The body of an error as JSON text, also for what the HTTP server answers itself. -1 without memory. */
int error_body(struct buf *out, enum agent_code code, int status, const char *message,
               const struct context_item *context, size_t count);
enum agent_code agent_code_for_status(int status);

/* --- decoding --- */

/* Milliseconds: any JSON number; fractions are cut, negative ones are 0. *ret stays when absent. -1: a field error.
 */
int request_field_ms(const struct json *body, const char *key, int64_t *ret, struct berm_error *err);
/* A string without NUL; "" counts as absent. */
int request_field_text(const struct json *body, const char *key, const char **ret, struct berm_error *err);
