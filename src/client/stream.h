/* stream.h - how a stream is begun and how its bytes become items; see berm_stream.h. */
#pragma once

#include "client/internal.h"
#include "net/sse_parser.h"

struct berm_stream;

/* How an event becomes an item: 0, or -1 with *problem. */
typedef int (*stream_take)(struct berm_stream *stream, const struct sse_event *event, struct berm_problem *problem);

enum stream_kind {
    STREAM_BYTES,
    STREAM_EVENTS,  /* each is an item */
    STREAM_EXEC,    /* stdout, stderr in base64; exit, error */
    STREAM_TYPED,   /* {"type": ...}: stdout, stderr, exit, and others */
    STREAM_MESSAGES /* of MCP: events, or one document that is one */
};

struct stream_request {
    enum stream_kind kind;
    const char *method;
    char *target;             /* taken over, freed also on failure; NULL: *problem is filled already */
    struct buf *body;         /* JSON, its bytes are taken over; NULL: none */
    const char *content_type; /* NULL: application/json */
    const char *session;      /* Session-Id, or NULL */
    const char *const *fields;
    const char *want_header;
    struct berm_usage *ret_usage; /* of STREAM_EXEC */
    bool must_exit;               /* an end without an item of kind EXIT is a problem */
};

int stream_open(struct berm_client *client, const struct stream_request *request, struct berm_stream **ret_stream,
                struct berm_problem *problem);
