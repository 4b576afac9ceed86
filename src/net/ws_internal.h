/* ws_internal.h - what the files of a WebSocket connection share; private to src/net. */
#pragma once

#include "outq.h"
#include "scratch.h"
#include "ws.h"
#include "ws_frame.h"

/*
 * OPEN. CLOSING: our Close is sent or queued, the peer's has not come. FAILING:
 * the peer broke the protocol; a Close is queued and input is dropped. FINISHING: both Closes are there and what is
 * queued goes out. OVER: to be destroyed by the deferred call.
 */
enum ws_state { WS_OPEN, WS_CLOSING, WS_FAILING, WS_FINISHING, WS_OVER };

struct ws {
    struct loop *loop;
    struct ws_config config;
    struct ws_callbacks callbacks;
    void *data;
    struct loop_io io;
    struct loop_timer timer; /* fires at or before whatever is due */
    struct loop_deferred deferred;
    struct ws_parser parser;
    struct outq out;
    struct buf in; /* read and not parsed: while paused, or when a turn's budget was used up */
    struct buf
        message;       /* of which the end has not come; its memory is kept for the next one until a quiet moment */
    uint64_t alive_ms; /* the peer's last sign of life */
    uint64_t deadline_ms; /* of the closing handshake; 0: none */
    uint64_t dropped;     /* FAILING: bytes */
    enum ws_state state;
    int close_code;
    uint8_t reason_n, pong_n;
    char reason[WS_REASON_MAX], pong[WS_CONTROL_MAX];
    bool blocked;    /* the socket took less than we had: waiting for EPOLLOUT */
    bool muted;      /* there is input that we do not want: not waiting for EPOLLIN */
    bool peer_ended; /* the peer sends no more */
    bool paused;
    bool want_drain; /* over high_water has been told */
    bool pong_due;
    bool pinged;
    bool yielded; /* the budget was used up: go on in the next turn */
    bool driving; /* inside drive(): calls need not wake it up */
    bool aborted; /* on_close is not wanted */
};

/* ws.c */

/* Takes the fd over, also when it fails. `rest` is what was read behind the handshake. */
struct ws *ws_new(struct loop *loop, int fd, struct str rest, const struct ws_config *config,
                  const struct ws_callbacks *callbacks, void *data);
/* Drives the connection behind the current batch of events, unless it is being driven. */
void ws_wake(struct ws *ws);
/* The end, without a Close frame. `code` and `reason` are for on_close, unless that is known already. */
void ws_lost(struct ws *ws, int code, const char *reason);

/* ws_send.c */
void ws_flush(struct ws *ws);
void ws_queue_frame(struct ws *ws, enum ws_opcode opcode, const struct str *parts, size_t count);
void ws_queue_close(struct ws *ws, int code, struct str reason);
