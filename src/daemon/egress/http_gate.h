/*
 * http_gate.h - HTTP/1.1 from a sandbox to one server, perhaps inside TLS, request by request: each head is parsed
 * strictly and shown to a callback before the server sees it, and its body is framed by that same parse, so that
 * nothing can hide behind it (pipelined requests, smuggled ones, another Host on a kept connection).
 *
 * One exchange at a time: a request that comes early waits until the response before it has ended. After a 101 the
 * bytes pass unread, which is why a request that asks for an upgrade is shown with it. What the server sends goes
 * through a leak_guard.h: if one of its words is in there, the connection ends before the client has seen all of
 * it.
 */
#pragma once

#include "base/buf.h"
#include "daemon/egress/leak_guard.h"
#include "daemon/egress/stream.h"
#include "net/h1.h"

struct http_gate;

struct http_gate_events {
    /*
     * Appends to `out` what the server is to get as the request's head: the bytes `raw`, or others with the same
     * framing; if it leaves an upgrade out, it takes it out of `head`. NULL; or a static text that says why not,
     * which is answered with 403.
     */
    const char *(*on_request)(void *data, struct h1_head *head, struct str raw, struct buf *out);
    void (*on_leak)(void *data); /* the guard has found something; on_end will come */
    void (*on_end)(void *data);  /* once; the gate is freed after it */
    struct leak_guard *guard;    /* borrowed; on_request may change it */
    void *data;
};

/*
 * Takes over what is in the streams, which must not be in the loop. `early`: what the client has said already, at
 * most HTTP_GATE_HEAD_MAX. NULL without memory; then the streams are closed.
 */
#define HTTP_GATE_HEAD_MAX ((size_t)64 << 10)
struct http_gate *http_gate_start(struct loop *loop, const struct stream *client, const struct stream *server,
                                  struct str early, const struct http_gate_events *events);
/* on_end does not come. NULL is allowed. */
void http_gate_free(struct http_gate *gate);
/* A request or what came of its upgrade is under way. */
bool http_gate_is_busy(const struct http_gate *gate);
/* Written to the server and to the client so far. */
void http_gate_counts(const struct http_gate *gate, uint64_t *ret_out, uint64_t *ret_in);
/* The text of an answer that refuses a request and ends the connection. */
int http_refusal(struct buf *out, int status, const char *reason);
