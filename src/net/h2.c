/* h2.c - a connection of HTTP/2: frames in and out, deadlines, what a client may cost, and the end. */
#include "h2_internal.h"

#include <sys/socket.h>

#define WIRE           ((size_t)64 << 10) /* frames that are put together for one send */
#define BYTES_PER_TURN ((uint64_t)1 << 20)
#define ROUNDS         32 /* of handlers and sends in one turn of the loop */

#define CREDIT         2000
#define CREDIT_SECOND  100
#define COST_RESET     20

/* --- what a client may cost --- */

/*
 * Frames that ask for nothing (or take back what they asked for) cost credit; it comes back with time and with the
 * data that is sent, which a client has to acknowledge. Without any left it is expelled.
 */
static void spend(struct h2 *h2, int64_t cost)
{
    uint64_t now = h2_now(h2);

    h2->credit = MIN((int64_t)CREDIT, h2->credit + (int64_t)((now - h2->credit_ms) * CREDIT_SECOND / 1000));
    if (now - h2->credit_ms >= 1000 / CREDIT_SECOND)
        h2->credit_ms = now;
    h2->credit -= cost;
    if (h2->credit >= 0 || h2->expelled)
        return;
    h2->expelled = true;
    h2->conn->server->stats.refused_total++;
    nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int64_t cost_of(const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
        return COST_RESET;
    case NGHTTP2_DATA:
        return frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    case NGHTTP2_HEADERS:
        return 0;
    default:
        return 1;
    }
}

/* --- for the streams --- */

void h2_reset(struct h2_stream *stream, uint32_t code)
{
    nghttp2_submit_rst_stream(stream->h2->session, 0, stream->id, code);
    h2_wake(stream);
}

void h2_consume(struct h2_stream *stream, size_t n)
{
    nghttp2_session_consume(stream->h2->session, stream->id, n);
}

void h2_wake(struct h2_stream *stream)
{
    http_conn_wake(stream->h2->conn);
}

/* --- frames that come --- */

static struct h2_stream *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2 *h2 = data;
    struct h2_stream *stream;

    h2->header_ms = h2_now(h2);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = calloc(1, sizeof(*stream));
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->request = h2_request_new(h2->conn->server->head_limits.max_head);
    if (!stream->request) {
        free(stream);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    stream->h2 = h2;
    stream->id = frame->hd.stream_id;
    stream->progress_ms = h2_now(h2);
    buf_init(&stream->in, H2_WINDOW);
    stream->next = h2->streams;
    if (stream->next)
        stream->next->prev = stream;
    h2->streams = stream;
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

/* Trailers are checked by nghttp2 and passed on by nobody. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *data)
{
    struct h2_stream *stream = find(session, frame->hd.stream_id);
    struct str n = { (const char *)name, name_n }, v = { (const char *)value, value_n };

    (void)flags, (void)data;
    if (!stream || !stream->request)
        return 0;
    return h2_request_add(stream->request, n, v) < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* By default it would be left out of the request, which then means something else. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *data)
{
    (void)session, (void)frame, (void)name, (void)value, (void)flags, (void)data;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *data)
{
    struct h2_stream *stream = find(session, id);

    (void)flags, (void)data;
    if (stream)
        h2_stream_data(stream, (struct str){ (const char *)p, n });
    else
        nghttp2_session_consume(session, id, n);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2_stream *stream = find(session, frame->hd.stream_id);
    struct h2 *h2 = data;

    h2->active_ms = h2_now(h2);
    spend(h2, cost_of(frame));
    if (!stream || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    stream->input_ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2->header_ms = 0;
        if (stream->request && !h2->expelled)
            h2_stream_begin(stream);
        h2_request_free(TAKE_PTR(stream->request));
    }
    return 0;
}

/* Also when a head is refused half-way. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
    struct h2_stream *stream = find(session, id);
    struct h2 *h2 = data;

    h2->header_ms = 0;
    h2->active_ms = h2_now(h2);
    if (stream)
        h2_stream_free(stream, stream->answered && code == NGHTTP2_NO_ERROR);
    return 0;
}

/* --- frames that go --- */

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2_stream *stream = find(session, frame->hd.stream_id);
    struct h2 *h2 = data;

    if (frame->hd.type == NGHTTP2_DATA)
        h2->credit += 2;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        spend(h2, COST_RESET); /* whoever makes us reset streams gets as much work done for nothing */
    if (!stream || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    stream->answered = true;
    /* The response is made: what the client still wanted to send is of no use to anybody. */
    if (!stream->input_ended)
        nghttp2_submit_rst_stream(session, 0, stream->id, NGHTTP2_NO_ERROR);
    return 0;
}

/* Puts frames together: whether there are any. */
static bool fill(struct h2 *h2)
{
    while (h2->wire.len < WIRE) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h2->session, &p);

        if (n < 0 || (n > 0 && buf_append(&h2->wire, p, (size_t)n) < 0))
            http_conn_fail(h2->conn);
        if (n <= 0 || h2->conn->failed)
            break;
    }
    return h2->wire.len > 0 && !h2->conn->failed;
}

static ssize_t send_wire(struct h2 *h2)
{
    struct http_conn *conn = h2->conn;
    struct iovec part = { buf_head(&h2->wire), h2->wire.len };

    return conn->channel ? conn->channel->ops->send(conn->channel, &part, 1)
                         : RETRY_EINTR(send(conn->io.fd, part.iov_base, part.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* Whether anything was sent. */
static bool send_frames(struct h2 *h2)
{
    struct http_conn *conn = h2->conn;
    uint64_t before = h2->wire_sent;

    while (!conn->blocked && !conn->yielded && fill(h2)) {
        ssize_t n = send_wire(h2);

        if (n < 0 && errno != EAGAIN) {
            http_conn_fail(conn);
            return false;
        }
        conn->blocked = n < (ssize_t)h2->wire.len;
        if (conn->blocked && (n > 0 || conn->write_deadline_ms == 0))
            conn->write_deadline_ms = h2_now(h2) + conn->server->limits.write_timeout_ms;
        if (n > 0) {
            buf_consume(&h2->wire, (size_t)n);
            h2->wire_sent += (uint64_t)n;
        }
        conn->yielded = h2->wire_sent - before > BYTES_PER_TURN;
    }
    buf_release_if_empty(&h2->wire);
    return h2->wire_sent != before;
}

/* --- driving --- */

static void read_frames(struct h2 *h2)
{
    struct http_conn *conn = h2->conn;
    ssize_t n = 0;

    if (conn->input.n > 0 && !h2->expelled)
        n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)conn->input.p, conn->input.n);
    conn->input = STR("");
    if (n < 0)
        http_conn_fail(conn); /* no memory, a flood, or not HTTP/2 at all */
}

/* What a handler is told may let any stream go on, but frees none: that happens where frames are sent. */
static void move_streams(struct h2 *h2, void (*move)(struct h2_stream *stream))
{
    for (struct h2_stream *stream = h2->streams, *next; stream && !h2->conn->failed; stream = next) {
        next = stream->next;
        move(stream);
    }
}

static void go_away(struct h2 *h2)
{
    if (h2->going_away)
        return;
    h2->going_away = true;
    nghttp2_submit_goaway(h2->session, 0, nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

/* Our last word is with the kernel. What still comes is dropped, so that the client gets to read it. */
static void finish(struct http_conn *conn)
{
    conn->server->mux->free(conn);
    http_conn_linger(conn);
}

static void drive(struct http_conn *conn)
{
    struct h2 *h2 = conn->mux;

    read_frames(h2);
    for (int round = 0; round < ROUNDS && !conn->failed; round++) {
        move_streams(h2, h2_stream_move);
        if (conn->server->draining)
            go_away(h2);
        if (!send_frames(h2) && !conn->failed)
            break;
        move_streams(h2, h2_stream_drained);
    }
    if (conn->failed || h2->wire.len > 0)
        return;
    if ((!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session)) ||
        (h2->going_away && !h2->streams && !nghttp2_session_want_write(h2->session)))
        finish(conn);
}

/* --- deadlines --- */

/* When this stream must have moved; 0: never. */
static uint64_t stream_deadline(const struct h2_stream *stream)
{
    const struct http_limits *limits = &stream->h2->conn->server->limits;

    if (h2_stream_has_output(stream))
        return stream->progress_ms + limits->write_timeout_ms; /* the client's window is shut */
    if (h2_stream_wants_body(stream) && !(stream->ex && stream->ex->unhurried))
        return stream->progress_ms + limits->body_timeout_ms;
    return 0;
}

static uint64_t deadline(const struct http_conn *conn)
{
    const struct http_limits *limits = &conn->server->limits;
    const struct h2 *h2 = conn->mux;
    uint64_t due = 0;

    if (h2->header_ms > 0)
        due = h2->header_ms + limits->head_timeout_ms;
    else if (!h2->streams)
        due = h2->active_ms + limits->idle_timeout_ms;
    for (const struct h2_stream *stream = h2->streams; stream; stream = stream->next) {
        uint64_t at = stream_deadline(stream);

        if (at > 0 && (due == 0 || at < due))
            due = at;
    }
    return due;
}

static void end_stream(struct h2_stream *stream)
{
    struct h2 *h2 = stream->h2;
    uint64_t due = stream_deadline(stream);

    if (due == 0 || due > h2_now(h2))
        return;
    h2->conn->server->stats.timeouts_total++;
    stream->progress_ms = h2_now(h2);
    if (stream->ex && !stream->ex->started)
        http_exchange_refuse(stream->ex, 408);
    else
        h2_reset(stream, NGHTTP2_CANCEL);
}

static void on_deadline(struct http_conn *conn)
{
    struct h2 *h2 = conn->mux;
    uint64_t now = h2_now(h2);

    move_streams(h2, end_stream);
    if (h2->header_ms > 0 && h2->header_ms + conn->server->limits.head_timeout_ms <= now) {
        conn->server->stats.timeouts_total++;
        http_conn_fail(conn); /* the rest of the head must come before anything else may */
    } else if (!h2->streams && h2->active_ms + conn->server->limits.idle_timeout_ms <= now) {
        go_away(h2);
    }
}

/* --- the object --- */

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    return callbacks;
}

static int new_session(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks = new_callbacks();
    nghttp2_option *option;
    int rc = -1;

    if (!callbacks)
        return -1;
    if (nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, 200);
        nghttp2_option_set_max_continuations(option, 8);
        rc = nghttp2_session_server_new2(&h2->session, callbacks, h2, option);
        nghttp2_option_del(option);
    }
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 ? 0 : -1;
}

static int submit_settings(struct h2 *h2)
{
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)h2->conn->server->head_limits.max_head },
        { NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
    };

    return nghttp2_submit_settings(h2->session, 0, settings, ARRAY_SIZE(settings)) < 0 ||
                   nghttp2_session_set_local_window_size(h2->session, 0, 0, H2_CONNECTION) < 0
               ? -1
               : 0;
}

static void free_h2(struct http_conn *conn)
{
    struct h2 *h2 = conn->mux;

    if (!h2)
        return;
    while (h2->streams)
        h2_stream_free(h2->streams, false);
    nghttp2_session_del(h2->session);
    buf_free(&h2->wire);
    free(h2);
    conn->mux = NULL;
}

static int start(struct http_conn *conn)
{
    struct h2 *h2 = calloc(1, sizeof(*h2));

    if (!h2)
        return -1;
    conn->mux = h2;
    h2->conn = conn;
    h2->credit = CREDIT;
    h2->active_ms = h2->credit_ms = h2_now(h2);
    buf_init(&h2->wire, 4 * WIRE);
    if (new_session(h2) == 0 && submit_settings(h2) == 0)
        return 0;
    free_h2(conn);
    return -1;
}

static const struct http_mux_ops h2_ops = {
    .start = start,
    .drive = drive,
    .deadline = deadline,
    .on_deadline = on_deadline,
    .free = free_h2,
    .head = h2_exchange_head,
    .reset = h2_exchange_reset,
    .upgrade = h2_exchange_upgrade,
};

void http_server_enable_h2(struct http_server *server)
{
    server->mux = &h2_ops;
}
