/*
 * call.h - one tools/call, or one look at resources, from its arguments to its answer.
 *
 * Theory of operation: a call makes one request of the HTTP API, or one after the other, over a connection to the
 * daemon's own server and with the caller's Authorization. So there is one implementation of everything, and what a
 * key may not do it may not do here either. Their answers become content for the model. If the client takes events,
 * the answer is a stream: progress of a command's output, comments while nothing happens, and the result last.
 * Whatever ends a call early (notifications/cancelled, DELETE of the session, the client gone, the daemon stopping)
 * closes that connection, on which the API ends what it does for it.
 */
#pragma once

#include "daemon/api/api.h"
#include "daemon/mcp/message.h"
#include "daemon/mcp/session.h"
#include "daemon/mcp/tools.h"
#include "net/client.h"

#define MCP_ANSWER_MAX ((size_t)8 << 20)   /* of an answer that is read whole */
#define MCP_TEXT_MAX   ((size_t)256 << 10) /* of a command's output, each stream */
#define MCP_EVENT_MAX  ((size_t)4 << 20)

/* Text that arrives in pieces; what is over the limit is counted only. */
struct mcp_text {
    struct buf buf;
    struct utf8_stream utf8;
    uint64_t dropped;
};

struct mcp_call {
    struct list node; /* in session->calls; not linked once it has ended */
    struct mcp *mcp;
    struct mcp_session *session; /* while linked */
    struct request *request;
    const struct mcp_tool *tool;         /* NULL: resources are looked at */
    const struct mcp_resource *resource; /* the one that is read */
    const char *generation;              /* of its sandbox, or NULL */
    const struct json *id, *token /* or NULL */, *args /* or NULL */;
    bool streams; /* the answer is a stream of events */

    struct http_call *http;
    const struct mcp_take *take;
    int status;
    bool has_events;
    struct sse_parser events;
    struct buf body;

    /* What the tools keep between events. */
    struct mcp_text out, errors;
    int64_t exit_code;
    bool ended; /* the stream's last event has come */
    bool retried;

    /* The answer: the result's array "content" is open, until the call ends. */
    struct json_writer answer;
    struct buf answer_buf;
    uint64_t progress;
    struct loop_timer beat;
};

/* Begins the answer of `request` and the work for it. */
void mcp_call_start(struct mcp *mcp, struct mcp_session *session, struct request *request,
                    const struct mcp_message *message);
/* The same in parts. NULL, or -1: answered. `array`: the member of the result that the content goes into. */
struct mcp_call *mcp_call_new(struct mcp *mcp, struct mcp_session *session, struct request *request,
                              const struct mcp_message *message);
int mcp_call_begin(struct mcp_call *call, const char *array);
/* Ends it without a result. */
void mcp_call_cancel(struct mcp_call *call);

/* --- for tools --- */

/* The next request. Whatever goes wrong ends the call. */
void mcp_call_fetch(struct mcp_call *call, const struct mcp_request *wanted, const struct mcp_take *take);
/* Adds a text or image (base64) to the content. */
void mcp_call_add_text(struct mcp_call *call, struct str text);
void mcp_call_add_media(struct mcp_call *call, const char *type, struct str base64, const char *mime);
/* Ends the call with its content, and `structured`, which is an object, or NULL. */
void mcp_call_finish(struct mcp_call *call, const struct json *structured, bool is_error);
/* Ends a look at resources; `next`: the cursor of the next page, or NULL. */
void mcp_call_finish_resources(struct mcp_call *call, const char *next);
/* Ends it with an error that the model is to see; a look at resources, with an error of the protocol. */
void mcp_call_fail(struct mcp_call *call, const char *code, const char *text);

/* What the API has answered to the wish for a file, in the request's arena. */
struct mcp_file {
    struct str content;
    const char *mime; /* NULL: not told */
    bool is_base64;
};

/* -1: it is no such answer, and the call has ended. */
int mcp_call_file(struct mcp_call *call, struct mcp_file *ret);

/* What has come on stdout and stderr. */
void mcp_call_add_output(struct mcp_call *call);

/* Appends to the text and tells the piece. */
int mcp_text_add(struct mcp_call *call, struct mcp_text *text, struct str bytes);

extern const struct mcp_take mcp_take_json, mcp_take_exec, mcp_take_file, mcp_take_empty;
void mcp_start_create(struct mcp_call *call);
void mcp_start_code(struct mcp_call *call);
