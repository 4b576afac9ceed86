/*
 * sse_parser.h - reading server-sent events (WHATWG HTML, section "Server-sent events") from an untrusted peer.
 *
 * Bytes go in as they arrive, in pieces of any size; whole events come out. Nothing grows past the limit given at
 * the start: an event whose data is larger, or a line longer than that, ends the stream with an error. Comments and
 * the fields `id` and `retry` mean nothing here and are skipped.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define SSE_EVENT_NAME_MAX 63

struct sse_event {
    struct str name; /* "message" if the stream gave none */
    struct str data; /* lines joined by LF */
};

struct sse_parser {
    struct buf line; /* the part of a line that came in earlier pieces */
    struct buf data;
    size_t max;
    char name[SSE_EVENT_NAME_MAX + 1];
    size_t name_len;
    bool has_data;
    bool skip_lf; /* a CR ended the last line: a LF that follows belongs to it */
    bool started; /* a byte order mark can only come before this */
    /* Non-zero ends the feeding; the callback fills the error. The slices live until it returns. */
    int (*on_event)(void *data, const struct sse_event *event, struct berm_error *err);
    void *callback_data;
};

void sse_parser_init(struct sse_parser *p, size_t max,
                     int (*on_event)(void *data, const struct sse_event *event, struct berm_error *err),
                     void *data);
void sse_parser_free(struct sse_parser *p); /* idempotent */

/* 0, or -1 with PROTOCOL (or what the callback said). After a failure the parser takes no more. */
int sse_parser_feed(struct sse_parser *p, const void *bytes, size_t n, struct berm_error *err);
