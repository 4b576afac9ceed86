/*
 * ws.h - a WebSocket connection (RFC 6455) on the loop, in the server's role, without extensions.
 *
 * Theory of operation: a `struct ws` owns a socket after the handshake. Whole messages come in by on_message and go
 * out by ws_send(). Both directions push back: ws_pause() stops reading, and ws_send() tells when more than
 * `high_water` is queued, with on_drain once the queue is below a quarter of it. A sender that does not care is cut
 * off at `max_queue`. Pings are answered here, and a peer that is silent for `ping_after_ms` is pinged; one that
 * stays silent until `dead_after_ms` is given up. A peer that takes what waits for it is not silent, and while we
 * do not read, nobody is judged. A peer that breaks the protocol gets a Close frame with the code for it (1002,
 * 1007, 1009), and what it still sends is dropped for a while, so that the frame can reach it. Everything happens
 * on the loop's thread, and no function calls a callback before it returns. A `struct ws` is valid until on_close
 * has returned, which comes exactly once, when the socket has been closed.
 */
#pragma once

#include "base/buf.h"
#include "base/held_text.h"
#include "base/loop.h"
#include "net/server.h"

struct ws;

enum ws_type { WS_TEXT = 1, WS_BINARY = 2 };

enum {
    WS_NORMAL = 1000,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005,  /* never on the wire: a Close frame without a code */
    WS_ABNORMAL = 1006, /* never on the wire: the connection was lost, or given up */
    WS_BAD_TEXT = 1007,
    WS_TOO_BIG = 1009,
    WS_INTERNAL = 1011,
    WS_TRY_AGAIN = 1013,
};

struct ws_config {
    size_t max_message; /* incoming, all fragments together; 16 MiB */
    size_t high_water;  /* queued outgoing bytes before back-pressure; 256 KiB */
    size_t
        max_queue; /* beyond it the connection is cut; one message into a drained queue is always taken; 64 MiB */
    uint32_t ping_after_ms;    /* 100 s; 0: neither pings nor judges */
    uint32_t dead_after_ms;    /* 120 s, counted like the former */
    uint32_t close_timeout_ms; /* from our Close frame, once it is sent, or the peer's to the end; 5 s */
};

void ws_config_default(struct ws_config *config);

struct ws_callbacks {
    /* `message` is good until the callback returns. Text is well-formed UTF-8. */
    void (*on_message)(struct ws *ws, enum ws_type type, struct str message, void *data);
    void (*on_drain)(struct ws *ws, void *data); /* may be NULL */
    /* The peer's code, ours if the peer broke the protocol, WS_ABNORMAL if there was none; for people, `reason`. */
    void (*on_close)(struct ws *ws, int code, struct str reason, void *data);
};

#define WS_ACCEPT_SIZE 28

/* What proves that a server has seen the key of 24 characters; not NUL-terminated. */
void ws_accept_key(struct str key, char ret[WS_ACCEPT_SIZE]);

/* Does the head ask for a WebSocket? */
bool ws_requested(const struct h1_head *head);

/*
 * Answers the upgrade request of `ex`, to be called in its on_request. NULL when the handshake is
 * not one of version 13 or cannot be answered: the exchange is then still to be answered (or lost). The exchange's
 * on_close comes as ever.
 */
struct ws *ws_accept(struct loop *loop, struct http_exchange *ex, const struct ws_config *config,
                     const struct ws_callbacks *callbacks, void *data);

/*
 * Queues one message, made of up to WS_PARTS parts (large ones go from the caller's memory to the socket at once).
 * false: over high_water, wait for on_drain. Once the connection is closing, messages are dropped and it is true.
 */
#define WS_PARTS 3
bool ws_send(struct ws *ws, enum ws_type type, struct str message);
bool ws_send_parts(struct ws *ws, enum ws_type type, const struct str *parts, size_t count);
/* The same for `before`, the text and `after`; the text is held until it is sent, and not copied. */
bool ws_send_text(struct ws *ws, enum ws_type type, struct str before, struct held_text *text, struct str after);
size_t ws_queued(const struct ws *ws);

/* Stops and restarts reading; up to one read's worth of messages waits meanwhile. */
void ws_pause(struct ws *ws);
void ws_resume(struct ws *ws);

/*
 * Starts the close handshake behind what is queued; messages that still come are dropped. `reason` is cut to what a
 * frame holds. on_close comes when the peer has answered, or at the deadline. Only the first call counts.
 */
void ws_close(struct ws *ws, int code, struct str reason);

/* Drops the connection without ceremony: no callback comes any more, and `ws` is gone. */
void ws_abort(struct ws *ws);
