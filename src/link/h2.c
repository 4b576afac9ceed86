/*
 * h2.c - a link over HTTP/2: TLS over TCP, and in it frames, each stream a CONNECT.
 *
 * Theory of operation: CONNECTING (dialling only) waits for TCP, SHAKING for TLS, RUNNING for the far side's first
 * SETTINGS, with which the link is up. After that a turn reads what is there, hands it to nghttp2, and sends what
 * nghttp2 has to say; it happens when the socket has an event or, once in the loop's turn, when a stream has
 * something to send (`turning`).
 */
#include "link/h2.h"

#include "base/sys.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#define READ_PER_TURN ((size_t)512 << 10)
#define SEND_PER_TURN ((size_t)512 << 10)
#define UNSENT_MOST   (128 << 10)    /* in the kernel: what waits there delays other streams */
#define CLOSED_THERE  NGHTTP2_CANCEL /* in a GOAWAY: not drained, closed */
#define DRAIN_PING    "drained?"
#define CREDIT        20000 /* frames that ask for nothing and carry nothing: for so many, and as many more as time */
#define CREDIT_SECOND 2000                           /* and what is sent bring back */
#define UNREAD_MOST   ((size_t)4 * LINK_STREAMS_MAX) /* frames that wait to be sent, besides those of bodies */

static struct h2_link *self(struct link *link)
{
    return container_of(link, struct h2_link, link);
}

static void turn_later(struct h2_link *h2)
{
    if (!h2->link.down)
        loop_defer(h2->link.core->loop, &h2->turning);
}

static void stop(struct h2_link *h2)
{
    struct loop *loop = h2->link.core->loop;

    loop_io_remove(loop, &h2->io);
    loop_timer_stop(loop, &h2->timer);
    loop_defer_cancel(loop, &h2->turning);
}

static void fail(struct h2_link *h2, enum link_reason reason, const char *text)
{
    stop(h2);
    link_down(&h2->link, reason, text);
}

/* Inside of nghttp2's callbacks nothing may be freed: the first reason counts, at the end of the turn. */
static void break_up(struct h2_link *h2, enum link_reason reason, const char *why)
{
    if (h2->over)
        return;
    h2->over = reason;
    h2->why = why;
}

/* --- for the core --- */

static int open_stream(struct link *link, struct stream *stream)
{
    static const nghttp2_nv fields[] = {
        { (uint8_t *)":method", (uint8_t *)"CONNECT", 7, 7, NGHTTP2_NV_FLAG_NONE },
        { (uint8_t *)":authority", (uint8_t *)"berm", 10, 4, NGHTTP2_NV_FLAG_NONE },
    };
    const nghttp2_data_provider body = { .read_callback = h2_read_stream };
    struct h2_link *h2 = self(link);
    int32_t id;

    if (h2->dialled || h2->far_side_drains ||
        link->stream_count >
            nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
        return -1;
    id = nghttp2_submit_request(h2->session, NULL, fields, ARRAY_SIZE(fields), &body, stream);
    if (id < 0)
        return -1;
    stream_set_id(stream, id);
    turn_later(h2);
    return 0;
}

static void wake(struct link *link, struct stream *stream)
{
    struct h2_link *h2 = self(link);

    nghttp2_session_resume_data(h2->session, (int32_t)stream_id(stream)); /* fails for one that does not wait */
    turn_later(h2);
}

static void consumed(struct link *link, struct stream *stream, size_t n)
{
    struct h2_link *h2 = self(link);

    if (stream)
        nghttp2_session_consume(h2->session, (int32_t)stream_id(stream), n);
    else
        nghttp2_session_consume_connection(h2->session, n);
    turn_later(h2);
}

static void stop_stream(struct link *link, struct stream *stream)
{
    nghttp2_submit_rst_stream(self(link)->session, 0, (int32_t)stream_id(stream), NGHTTP2_NO_ERROR);
    turn_later(self(link));
}

static void reset(struct link *link, struct stream *stream)
{
    struct h2_link *h2 = self(link);

    nghttp2_session_set_stream_user_data(h2->session, (int32_t)stream_id(stream), NULL);
    nghttp2_submit_rst_stream(h2->session, 0, (int32_t)stream_id(stream), NGHTTP2_CANCEL);
    turn_later(h2);
}

/*
 * The far side may be beginning a stream at this moment. So it is told first, and what its answer to a PING has
 * behind it, it began knowing. The listener has nothing to wait for, only it begins streams.
 */
static void drain(struct link *link)
{
    struct h2_link *h2 = self(link);

    if (h2->dialled) {
        nghttp2_submit_shutdown_notice(h2->session);
        nghttp2_submit_ping(h2->session, 0, (const uint8_t *)DRAIN_PING);
    } else {
        nghttp2_submit_goaway(h2->session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
        h2->drain_sent = true;
    }
    turn_later(h2);
}

static void send_frames(struct h2_link *h2);

static void close_link(struct link *link, enum link_reason reason)
{
    struct h2_link *h2 = self(link);

    if (h2->session) {
        nghttp2_session_terminate_session(h2->session,
                                          reason == LINK_PROTOCOL ? NGHTTP2_PROTOCOL_ERROR : CLOSED_THERE);
        send_frames(h2);
        tls_bye(&h2->tls);
    }
    stop(h2);
}

static void free_link(struct link *link)
{
    struct h2_link *h2 = self(link);

    stop(h2);
    nghttp2_session_del(h2->session);
    tls_fini(&h2->tls);
    free(h2);
}

static const struct transport_ops h2_ops = {
    .open = open_stream,
    .wake = wake,
    .consumed = consumed,
    .stop = stop_stream,
    .reset = reset,
    .drain = drain,
    .close = close_link,
    .free = free_link,
};

/* --- frames that come --- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *data)
{
    struct str n = { (const char *)name, name_n }, v = { (const char *)value, value_n };
    const struct h2_link *h2 = data;

    (void)session, (void)frame, (void)flags;
    if (h2->dialled && str_is(n, ":method") && !str_is(v, "CONNECT"))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!h2->dialled && str_is(n, ":status") && !str_is(v, "200"))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

static void accept_stream(struct h2_link *h2, int32_t id)
{
    static const nghttp2_nv fields[] = { { (uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE } };
    const nghttp2_data_provider body = { .read_callback = h2_read_stream };
    struct stream *stream = h2->up ? stream_opened(&h2->link, id) : NULL;

    if (!stream) {
        nghttp2_submit_rst_stream(h2->session, 0, id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    nghttp2_session_set_stream_user_data(h2->session, id, stream);
    if (nghttp2_submit_response(h2->session, id, fields, ARRAY_SIZE(fields), &body) == 0)
        return;
    nghttp2_submit_rst_stream(h2->session, 0, id, NGHTTP2_INTERNAL_ERROR);
}

/* --- link_up() --- */

static void come_up(struct h2_link *h2)
{
    char peer[INET6_ADDRSTRLEN + 8];
    struct link_address address = { .len = sizeof(address.v6) };

    if (h2->up)
        return;
    h2->up = true;
    loop_timer_start(h2->link.core->loop, &h2->timer, LINK_KEEP_ALIVE_MS);
    if (getpeername(h2->tls.fd, &address.any, &address.len) < 0)
        address = (struct link_address){ 0 };
    link_address_print(&address, peer, sizeof(peer));
    link_up(&h2->link, LINK_H2, peer);
}

/* What streams cost that are begun and taken back is the core's business. */
static bool asks_for_nothing(const nghttp2_frame *frame, const struct stream *stream)
{
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return false;
    case NGHTTP2_DATA:
        return frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    case NGHTTP2_RST_STREAM:
        return !stream;
    default:
        return true;
    }
}

static void spend(struct h2_link *h2)
{
    uint64_t now = loop_now_ms(h2->link.core->loop);

    h2->credit += (int64_t)((now - h2->credit_ms) * CREDIT_SECOND / 1000);
    h2->credit = MIN((int64_t)CREDIT, h2->credit) - 1;
    h2->credit_ms = now;
    if (h2->credit < 0)
        break_up(h2, LINK_PROTOCOL, "frames that ask for nothing come without end");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2_link *h2 = data;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (asks_for_nothing(frame, stream))
        spend(h2);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            come_up(h2);
        break;
    case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            accept_stream(h2, frame->hd.stream_id);
        stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK && memcmp(frame->ping.opaque_data, DRAIN_PING, 8) == 0 &&
            h2->link.draining && h2->dialled) {
            nghttp2_submit_goaway(session, 0, nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                                  NULL, 0);
            h2->drain_sent = true;
        }
        break;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code == CLOSED_THERE)
            break_up(h2, LINK_CLOSED, "closed by the far side");
        else if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            break_up(h2, LINK_PROTOCOL, nghttp2_http2_strerror(frame->goaway.error_code));
        if (!h2->far_side_drains && h2->up && !h2->over)
            link_far_side_drains(&h2->link);
        h2->far_side_drains = true;
        break;
    }
    if (stream && ends && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        stream_received(stream, NULL, 0, true) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *data)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)flags, (void)data;
    if (!stream)
        nghttp2_session_consume(session, id, n);
    else if (stream_received(stream, p, n, false) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)code, (void)data;
    if (stream)
        stream_closed(stream);
    return 0;
}

/* --- frames that go --- */

static void send_frames(struct h2_link *h2)
{
    size_t budget = SEND_PER_TURN;
    int rc = 0;

    while (rc == 0 && budget > 0) {
        if (!h2_fill(h2))
            break_up(h2, LINK_NO_RESOURCES, "no more can be sent");
        if (h2->tls.out.len == 0)
            break;
        budget -= MIN(budget, h2->tls.out.len);
        rc = tls_send(&h2->tls);
    }
    h2->blocked = rc == 1;
    if (rc < 0)
        break_up(h2, LINK_LOST, "the connection broke");
    if (rc == 0 && budget == 0)
        turn_later(h2);
}

/* --- a turn --- */

static void take_frames(struct h2_link *h2, const uint8_t *p, size_t n)
{
    h2->heard_ms = loop_now_ms(h2->link.core->loop);
    h2->asked = false;
    if (nghttp2_session_mem_recv(h2->session, p, n) < 0)
        break_up(h2, LINK_PROTOCOL, "not the frames that belong there");
    else if (nghttp2_session_get_outbound_queue_size(h2->session) > UNREAD_MOST)
        break_up(h2, LINK_PROTOCOL, "what it makes us say is not read");
}

/* Some records together: bermd gets what they have for a stream by one call. */
static void read_frames(struct h2_link *h2)
{
    static uint8_t records[FRAME];
    size_t budget = READ_PER_TURN;
    ssize_t part = 1;

    while (budget > 0 && part > 0 && !h2->over) {
        size_t n = 0;
        bool ended;

        while (n + RECORD <= sizeof(records) && (part = tls_recv(&h2->tls, records + n, RECORD)) > 0)
            n += (size_t)part;
        ended = part == 0 || (part < 0 && errno != EAGAIN);
        if (n > 0)
            take_frames(h2, records, n);
        if (ended)
            break_up(h2, h2->far_side_drains ? LINK_CLOSED : LINK_LOST, "the far side ended the connection");
        budget -= MIN(budget, n);
    }
    if (part > 0 && tls_pending(&h2->tls))
        turn_later(h2);
}

static void turn(struct h2_link *h2, bool readable)
{
    if (readable || tls_pending(&h2->tls))
        read_frames(h2);
    if (!h2->blocked)
        send_frames(h2);
    if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
        break_up(h2, h2->far_side_drains || h2->link.draining ? LINK_CLOSED : LINK_PROTOCOL,
                 "nothing more is to be said");
    if (h2->over) {
        fail(h2, h2->over, h2->why);
        return;
    }
    if (h2->drain_sent) {
        h2->drain_sent = false;
        link_drained(&h2->link);
    }
    loop_io_modify(h2->link.core->loop, &h2->io, EPOLLIN | (h2->blocked ? EPOLLOUT : 0));
}

static void turn_deferred(struct loop_deferred *deferred)
{
    struct h2_link *h2 = container_of(deferred, struct h2_link, turning);

    turn(h2, false);
}

/* --- silence --- */

static void on_timer(struct loop_timer *timer)
{
    struct h2_link *h2 = container_of(timer, struct h2_link, timer);
    struct loop *loop = h2->link.core->loop;
    uint64_t silent = loop_now_ms(loop) - h2->heard_ms;

    if (!h2->up) {
        fail(h2, LINK_UNREACHABLE, h2->state == CONNECTING ? "no answer" : "the handshake takes too long");
        return;
    }
    if (silent >= LINK_SILENT_MAX_MS) {
        fail(h2, LINK_LOST, "no sign of life");
        return;
    }
    if (silent >= LINK_KEEP_ALIVE_MS && !h2->asked) {
        h2->asked = true;
        nghttp2_submit_ping(h2->session, 0, NULL);
        turn_later(h2);
    }
    loop_timer_start(loop, timer, (h2->asked ? LINK_SILENT_MAX_MS : LINK_KEEP_ALIVE_MS) - silent);
}

/* --- beginning --- */

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_on_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, h2_frame_length);
    return callbacks;
}

static int new_session(struct h2_link *h2)
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
        nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, 0); /* visitors who go away: giving.h */
        nghttp2_option_set_peer_max_concurrent_streams(option, 100);       /* until its SETTINGS have come */
        rc = h2->dialled ? nghttp2_session_server_new2(&h2->session, callbacks, h2, option)
                         : nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
        nghttp2_option_del(option);
    }
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 ? 0 : -1;
}

static int begin_session(struct h2_link *h2)
{
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->dialled ? LINK_STREAMS_MAX : 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LINK_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1024 },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };

    /* The last is a client's only. */
    return new_session(h2) < 0 ||
                   nghttp2_submit_settings(h2->session, 0, settings, ARRAY_SIZE(settings) - h2->dialled) < 0 ||
                   nghttp2_session_set_local_window_size(h2->session, 0, 0, LINK_WINDOW) < 0
               ? -1
               : 0;
}

static void shake(struct h2_link *h2)
{
    char text[LINK_TEXT];
    int rc = tls_handshake(&h2->tls);

    if (rc < 0) {
        enum link_reason reason = tls_failure(&h2->tls, text, sizeof(text));

        fail(h2, reason, text);
        return;
    }
    if (rc == 0) {
        loop_io_modify(h2->link.core->loop, &h2->io, EPOLLIN | (h2->tls.out.len > 0 ? EPOLLOUT : 0));
        return;
    }
    h2->state = RUNNING;
    if (begin_session(h2) < 0)
        fail(h2, LINK_NO_RESOURCES, "no memory");
    else
        turn(h2, true);
}

static void on_connected(struct h2_link *h2)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(h2->tls.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        fail(h2, LINK_UNREACHABLE, strerror(error));
        return;
    }
    h2->state = SHAKING;
    shake(h2);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct h2_link *h2 = container_of(io, struct h2_link, io);

    if (h2->state == CONNECTING) {
        on_connected(h2);
    } else if (h2->state == SHAKING) {
        shake(h2);
    } else {
        if (events & EPOLLOUT)
            h2->blocked = false;
        turn(h2, events & ~(uint32_t)EPOLLOUT);
    }
}

static void settle_socket(int fd)
{
    const int on = 1, unsent = UNSENT_MOST;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

/* Takes the socket, also when it fails. */
static struct link *begin(struct core *core, int fd, struct credentials *credentials, const char *host)
{
    struct h2_link *h2 = calloc(1, sizeof(*h2));

    if (!h2) {
        close_fd(&fd);
        return NULL;
    }
    if (tls_init(&h2->tls, fd, credentials, host) < 0) {
        free(h2);
        errno = ENOMEM;
        return NULL;
    }
    h2->dialled = host != NULL;
    h2->credit = CREDIT;
    h2->credit_ms = loop_now_ms(core->loop);
    h2->state = h2->dialled ? CONNECTING : SHAKING;
    h2->turning.callback = turn_deferred;
    loop_timer_init(&h2->timer, on_timer);
    if (loop_io_add(core->loop, &h2->io, fd, h2->dialled ? EPOLLOUT : EPOLLIN, on_socket) < 0 ||
        loop_timer_start(core->loop, &h2->timer, LINK_HANDSHAKE_MS) < 0) {
        loop_io_remove(core->loop, &h2->io);
        tls_fini(&h2->tls);
        free(h2);
        return NULL;
    }
    settle_socket(fd);
    link_init(&h2->link, core, &h2_ops);
    return &h2->link;
}

struct link *h2_dial(struct core *core, const struct link_target *target)
{
    _cleanup_close_ int fd = socket(target->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || (connect(fd, &target->address.any, target->address.len) < 0 && errno != EINPROGRESS))
        return NULL;
    return begin(core, TAKE_FD(fd), target->credentials, target->host);
}

struct link *h2_accept(struct core *core, int fd, const struct link_address *peer, struct credentials *credentials)
{
    struct link *link = begin(core, fd, credentials, NULL);

    if (link)
        link_from(link, peer);
    return link;
}
