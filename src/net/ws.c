/*
 * ws.c - the life of a WebSocket connection: reading, the order of events, deadlines, the end.
 *
 * drive() moves a connection on: it parses what was read, hands messages out, sends what is queued. Callbacks
 * run only inside of it, and on_close in the deferred call that frees the object. Like the HTTP server's
 * connections, it is lazy with epoll and timers: EPOLLIN is only taken out when unwanted input really arrives, and
 * the timer is not moved when a deadline moves back.
 */
#include "ws_internal.h"

#include "base/utf8.h"

#include <sys/socket.h>

#define READS_PER_TURN  4
#define EVENTS_PER_TURN 1024 /* pieces and control frames: one peer must not fill a turn of the loop */
#define DIRECT_READ     ((uint64_t)32 << 10) /* from here on, payload is read to where it belongs */
#define DROP_MAX        ((uint64_t)64 << 20)
#define KEEP_MESSAGE_MS 1000

static void on_event(struct loop_io *io, uint32_t events);
static void on_timer(struct loop_timer *timer);
static void on_deferred(struct loop_deferred *deferred);

void ws_config_default(struct ws_config *config)
{
    *config = (struct ws_config){
        .max_message = (size_t)16 << 20,
        .high_water = (size_t)256 << 10,
        .max_queue = (size_t)64 << 20,
        .ping_after_ms = 100000,
        .dead_after_ms = 120000,
        .close_timeout_ms = 5000,
    };
}

/* --- birth and end --- */

struct ws *ws_new(struct loop *loop, int fd, struct str rest, const struct ws_config *config,
                  const struct ws_callbacks *callbacks, void *data)
{
    struct ws *ws = calloc(1, sizeof(*ws));

    if (!ws)
        goto fail;
    ws->loop = loop;
    ws->config = *config;
    ws->callbacks = *callbacks;
    ws->data = data;
    ws->state = WS_OPEN;
    ws->close_code = WS_ABNORMAL;
    ws->alive_ms = loop_now_ms(loop);
    ws->deferred.callback = on_deferred;
    ws_parser_init(&ws->parser, true, config->max_message);
    buf_init(&ws->in, NET_SCRATCH);
    buf_init(&ws->message, config->max_message);
    loop_timer_init(&ws->timer, on_timer);
    if (buf_append_str(&ws->in, rest) < 0 || loop_io_add(loop, &ws->io, fd, EPOLLIN | EPOLLRDHUP, on_event) < 0)
        goto fail;
    ws_wake(ws);
    return ws;

fail:
    if (ws)
        buf_free(&ws->in);
    free(ws);
    close_fd(&fd);
    return NULL;
}

static void destroy(struct ws *ws)
{
    int fd = ws->io.fd;

    loop_io_remove(ws->loop, &ws->io);
    loop_timer_stop(ws->loop, &ws->timer);
    close_fd(&fd);
    if (!ws->aborted)
        ws->callbacks.on_close(ws, ws->close_code, (struct str){ ws->reason, ws->reason_n }, ws->data);
    loop_defer_cancel(ws->loop, &ws->deferred);
    outq_clear(&ws->out);
    buf_free(&ws->in);
    buf_free(&ws->message);
    free(ws);
}

static void set_end(struct ws *ws, int code, struct str reason)
{
    ws->close_code = code;
    ws->reason_n = (uint8_t)MIN(reason.n, sizeof(ws->reason));
    if (reason.n > 0)
        memcpy(ws->reason, reason.p, ws->reason_n);
}

void ws_lost(struct ws *ws, int code, const char *reason)
{
    if (ws->state == WS_OPEN || ws->state == WS_CLOSING)
        set_end(ws, code, str_from(reason));
    ws->state = WS_OVER;
    ws_wake(ws);
}

static void start_deadline(struct ws *ws)
{
    if (ws->deadline_ms == 0)
        ws->deadline_ms = loop_now_ms(ws->loop) + ws->config.close_timeout_ms;
}

/* The peer broke the protocol. */
static void fail(struct ws *ws, int code)
{
    const char *reason = code == WS_TOO_BIG    ? "message too big"
                         : code == WS_BAD_TEXT ? "text is not UTF-8"
                         : code == WS_INTERNAL ? "out of memory"
                                               : "protocol error";

    set_end(ws, code, str_from(reason));
    if (ws->state == WS_OPEN)
        ws_queue_close(ws, code, str_from(reason));
    if (ws->state != WS_OVER)
        ws->state = WS_FAILING;
    start_deadline(ws);
}

static bool is_utf8_middle(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

void ws_close(struct ws *ws, int code, struct str reason)
{
    if (ws->state != WS_OPEN)
        return;
    if (reason.n > WS_REASON_MAX)
        for (reason.n = WS_REASON_MAX; reason.n > 0 && is_utf8_middle(reason.p[reason.n]);)
            reason.n--;
    ws_queue_close(ws, code, reason);
    if (ws->state == WS_OPEN)
        ws->state = WS_CLOSING;
    ws->paused = false; /* the answer has to be read */
    ws_wake(ws);
}

void ws_abort(struct ws *ws)
{
    ws->aborted = true;
    ws->state = WS_OVER;
    ws_wake(ws);
}

/* --- what comes in --- */

static void take_close(struct ws *ws, struct str payload)
{
    int code = payload.n < 2 ? WS_NO_CODE : (uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
    struct str reason = payload.n < 2 ? STR("") : (struct str){ payload.p + 2, payload.n - 2 };

    set_end(ws, code, reason);
    if (ws->state == WS_OPEN)
        ws_queue_close(ws, code, STR(""));
    if (ws->state != WS_OVER)
        ws->state = WS_FINISHING;
    start_deadline(ws);
}

static void give_message(struct ws *ws, enum ws_type type, struct str message)
{
    if (type == WS_TEXT && !utf8_valid(message))
        fail(ws, WS_BAD_TEXT);
    else if (ws->state == WS_OPEN)
        ws->callbacks.on_message(ws, type, message, ws->data);
}

/* A message that came in one piece is handed out from where it was read to. */
static void take_piece(struct ws *ws, const struct ws_event *event)
{
    struct buf *message = &ws->message;
    struct str piece = event->payload;

    if (ws->state != WS_OPEN)
        return;
    if (event->end && message->len == 0) {
        give_message(ws, (enum ws_type)event->opcode, piece);
        return;
    }
    if (piece.n > 0 && message->data && piece.p == buf_head(message) + message->len) {
        buf_commit(message, piece.n);
    } else if (buf_append_str(message, piece) < 0) {
        fail(ws, WS_INTERNAL);
        return;
    }
    if (event->end) {
        give_message(ws, (enum ws_type)event->opcode, buf_str(message));
        buf_clear(message);
    }
}

static void take_control(struct ws *ws, const struct ws_event *event)
{
    if (event->opcode == WS_OP_CLOSE)
        take_close(ws, event->payload);
    if (event->opcode != WS_OP_PING)
        return;
    ws->pong_due = true;
    ws->pong_n = (uint8_t)event->payload.n;
    if (event->payload.n > 0)
        memcpy(ws->pong, event->payload.p, event->payload.n);
}

static bool wants_input(const struct ws *ws)
{
    return !ws->paused && !ws->peer_ended && ws->state < WS_OVER;
}

/* Takes what it can use of `n` bytes: how many. */
static size_t feed(struct ws *ws, char *bytes, size_t n)
{
    size_t at = 0;

    for (unsigned i = 0; i < EVENTS_PER_TURN && (ws->state == WS_OPEN || ws->state == WS_CLOSING); i++) {
        struct ws_event event;
        ssize_t took;
        if (ws->paused)
            return at;
        took = ws_parse(&ws->parser, bytes + at, n - at, &event);
        if (took < 0)
            fail(ws, (int)-took);
        if (took < 0 || event.kind == WS_MORE)
            return n;
        at += (size_t)took;
        if (event.kind == WS_PIECE)
            take_piece(ws, &event);
        else
            take_control(ws, &event);
    }
    ws->yielded = ws->state == WS_OPEN || ws->state == WS_CLOSING;
    return ws->yielded ? at : n;
}

/* Bytes from the socket, or those that were kept: how many were used. */
static size_t take_input(struct ws *ws, char *bytes, size_t n)
{
    if (ws->state == WS_FAILING) {
        ws->dropped += n;
        if (ws->dropped > DROP_MAX)
            ws_lost(ws, WS_ABNORMAL, "");
    }
    return feed(ws, bytes, n);
}

static void take_kept(struct ws *ws)
{
    size_t before = ws->in.len;

    if (before > 0 && !ws->paused)
        buf_consume(&ws->in, take_input(ws, buf_head(&ws->in), before));
}

/* The rest of a large frame goes to where it belongs, everything else through the scratch buffer. */
static ssize_t read_some(struct ws *ws, bool *ret_short)
{
    uint64_t expected = ws->state == WS_OPEN && ws->in.len == 0 ? ws_parser_expects(&ws->parser) : 0;
    size_t kept = ws->in.len, room = NET_SCRATCH - kept;
    char *at = net_scratch;
    size_t used;
    ssize_t n;

    if (expected >= DIRECT_READ) {
        room = (size_t)MIN(expected, (uint64_t)NET_SCRATCH);
        at = buf_reserve(&ws->message, room);
        if (!at) {
            fail(ws, WS_INTERNAL);
            return -1;
        }
    }
    if (kept > 0)
        memcpy(at, buf_head(&ws->in), kept);
    n = RETRY_EINTR(recv(ws->io.fd, at + kept, room, 0));
    if (n <= 0)
        return n;
    *ret_short = (size_t)n < room;
    buf_clear(&ws->in);
    used = take_input(ws, at, kept + (size_t)n);
    if (ws->state != WS_OVER && buf_append(&ws->in, at + used, kept + (size_t)n - used) < 0)
        fail(ws, WS_INTERNAL);
    return n;
}

static void sign_of_life(struct ws *ws)
{
    ws->alive_ms = loop_now_ms(ws->loop);
    ws->pinged = false;
}

/* Whether the peer's end is a clean one is for its Close frame to say. */
static void on_end_of_input(struct ws *ws)
{
    ws->peer_ended = true;
    if (ws->state != WS_FINISHING)
        ws_lost(ws, WS_ABNORMAL, "the connection was lost");
}

static void read_input(struct ws *ws)
{
    for (int i = 0; i < READS_PER_TURN && wants_input(ws) && !ws->yielded; i++) {
        bool was_short = false;
        ssize_t n = read_some(ws, &was_short);
        if (n > 0) {
            sign_of_life(ws);
        } else if (n == 0) {
            on_end_of_input(ws);
        } else if (errno != EAGAIN) {
            ws_lost(ws, WS_ABNORMAL, "the connection was lost");
        }
        if (n <= 0 || was_short)
            return;
    }
}

/* --- moving on --- */

static uint64_t next_due(const struct ws *ws)
{
    uint64_t due = ws->deadline_ms;

    if (due == 0 && ws->config.ping_after_ms > 0)
        due = ws->alive_ms + (ws->pinged ? ws->config.dead_after_ms : ws->config.ping_after_ms);
    if (ws->message.data && ws->message.len == 0 && (due == 0 || ws->alive_ms + KEEP_MESSAGE_MS < due))
        due = ws->alive_ms + KEEP_MESSAGE_MS;
    return due;
}

static void arm_timer(struct ws *ws)
{
    uint64_t now = loop_now_ms(ws->loop);
    uint64_t due = next_due(ws);

    if (due == 0 || (loop_timer_armed(&ws->timer) && ws->timer.due_ms <= due))
        return;
    if (loop_timer_start(ws->loop, &ws->timer, due > now ? due - now : 0) < 0)
        ws_lost(ws, WS_ABNORMAL, "no memory for a timer");
}

static void update_events(struct ws *ws)
{
    uint32_t events = 0;

    if (wants_input(ws))
        ws->muted = false;
    if (!ws->muted && !ws->peer_ended)
        events |= EPOLLIN | EPOLLRDHUP;
    if (ws->blocked)
        events |= EPOLLOUT;
    if (loop_io_modify(ws->loop, &ws->io, events) < 0)
        ws_lost(ws, WS_ABNORMAL, "no memory for an event");
}

/* When both Closes are through, it is the server who ends the connection. */
static void finish(struct ws *ws)
{
    if (ws->state == WS_FINISHING && outq_empty(&ws->out))
        ws->state = WS_OVER;
    if (ws->state == WS_CLOSING && outq_empty(&ws->out))
        start_deadline(ws); /* the peer may take its time for what is before the Close frame */
    if (ws->state == WS_FAILING)
        buf_free(&ws->message);
    if (ws->state == WS_FAILING && outq_empty(&ws->out))
        shutdown(ws->io.fd, SHUT_WR); /* the peer may go; again and again does no harm */
}

/*
 * Moves on with what was kept and, if `readable`, with what the socket has.
 */
static void drive(struct ws *ws, bool readable)
{
    ws->driving = true;
    ws->yielded = false;
    take_kept(ws);
    if (readable && wants_input(ws))
        read_input(ws);
    if (ws->state != WS_OVER)
        ws_flush(ws);
    finish(ws);
    ws->driving = false;
    if (ws->state != WS_OVER) {
        buf_release_if_empty(&ws->in);
        arm_timer(ws);
        update_events(ws);
    }
    if (ws->state == WS_OVER || ws->yielded)
        ws_wake(ws);
}

void ws_wake(struct ws *ws)
{
    if (!ws->driving)
        loop_defer(ws->loop, &ws->deferred);
}

static void on_deferred(struct loop_deferred *deferred)
{
    struct ws *ws = container_of(deferred, struct ws, deferred);

    if (ws->state != WS_OVER)
        drive(ws, false);
    if (ws->state == WS_OVER)
        destroy(ws);
}

/* The end of a peer that we do not read from: it is noticed when something is written, or we read on. */
static void ignore_input(struct ws *ws, uint32_t events)
{
    ws->muted = true;
    if (events & (EPOLLHUP | EPOLLERR))
        ws_lost(ws, WS_ABNORMAL, "the connection was lost");
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct ws *ws = container_of(io, struct ws, io);
    bool readable = events & ~(uint32_t)EPOLLOUT;

    if (ws->state == WS_OVER)
        return;
    if (events & EPOLLOUT && ws->blocked) {
        ws->blocked = false;
        sign_of_life(ws); /* room in a socket that had none is the peer's doing */
    }
    if (readable && !wants_input(ws))
        ignore_input(ws, events);
    drive(ws, readable);
}

/* --- time --- */

static void judge_silence(struct ws *ws, uint64_t now)
{
    if (ws->paused)
        ws->alive_ms = now; /* its answers are not read */
    if (now >= ws->alive_ms + ws->config.dead_after_ms) {
        ws_lost(ws, WS_ABNORMAL, "the peer does not answer");
    } else if (!ws->pinged && ws->state == WS_OPEN && now >= ws->alive_ms + ws->config.ping_after_ms) {
        ws->pinged = true;
        ws_queue_frame(ws, WS_OP_PING, NULL, 0);
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct ws *ws = container_of(timer, struct ws, timer);
    uint64_t now = loop_now_ms(ws->loop);

    if (ws->deadline_ms > 0 && now >= ws->deadline_ms)
        ws_lost(ws, WS_ABNORMAL, "no answer to the Close frame");
    else if (ws->deadline_ms == 0 && ws->config.ping_after_ms > 0)
        judge_silence(ws, now);
    if (ws->message.len == 0 && now >= ws->alive_ms + KEEP_MESSAGE_MS)
        buf_free(&ws->message);
    if (ws->state != WS_OVER)
        drive(ws, false);
}

void ws_pause(struct ws *ws)
{
    ws->paused = ws->state == WS_OPEN;
}

void ws_resume(struct ws *ws)
{
    ws->paused = false;
    ws_wake(ws);
}
