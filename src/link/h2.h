/*
 * h2.h - what h2.c (a link's life and what comes) and h2_send.c (what goes) have in common. They are the only ones
 * that include nghttp2.
 */
#pragma once

#include "link/core.h"
#include "link/tls.h"

#include <nghttp2/nghttp2.h>

#define RECORD ((size_t)16 << 10)
#define FRAME  ((size_t)64 << 10) /* what one stream sends before others get their turn */

enum h2_state { CONNECTING, SHAKING, RUNNING };

struct h2_link {
    struct link link;
    struct tls tls;
    enum h2_state state;
    bool dialled, up;
    bool blocked; /* the socket is full */
    bool far_side_drains, drain_sent;
    enum link_reason over; /* why it has to go at the end of this turn, or 0 */
    const char *why;
    nghttp2_session *session;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_deferred turning;
    uint64_t heard_ms;
    bool asked;  /* by a PING since */
    size_t held; /* in the record that is put together */
    int64_t credit;
    uint64_t credit_ms;
};

/* Puts together what is to be sent, to tls.out. false: nghttp2 or TLS cannot go on. */
bool h2_fill(struct h2_link *h2);

/* For nghttp2. */
ssize_t h2_read_stream(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *data);
ssize_t h2_frame_length(nghttp2_session *session, uint8_t type, int32_t id, int32_t link_window,
                        int32_t stream_window, uint32_t most, void *data);
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                 nghttp2_data_source *source, void *data);
int h2_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data);
