/*
 * ws_send.c - the outgoing side. Small frames are queued and go out together when the connection is driven next,
 * which is when the callback that sent them returns or behind the current batch of events; large ones go to the
 * socket at once, from the caller's memory, and only what does not fit is copied.
 */
#include "ws_internal.h"

#include <sys/uio.h>

#define DIRECT_WRITE     ((size_t)16 << 10)
#define FLUSHES_PER_TURN 16

static void send_queue(struct ws *ws, const struct iovec *extra, size_t extra_count)
{
    int rc = outq_send(&ws->out, ws->io.fd, extra, extra_count);

    ws->blocked = rc > 0;
    if (rc < 0)
        ws_lost(ws, WS_ABNORMAL, "the connection was lost");
}

static void queue(struct ws *ws, const void *p, size_t n)
{
    if (outq_append(&ws->out, p, n) < 0)
        ws_lost(ws, WS_ABNORMAL, "no memory for a message");
    ws_wake(ws);
}

/* --- frames --- */

static void write_direct(struct ws *ws, const struct iovec *parts, size_t count)
{
    send_queue(ws, parts, count);
    ws_wake(ws);
}

static size_t total(const struct str *parts, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    return n;
}

void ws_queue_frame(struct ws *ws, enum ws_opcode opcode, const struct str *parts, size_t count)
{
    uint8_t head[WS_HEAD_MAX];
    size_t n = total(parts, count);
    struct iovec iov[WS_PARTS + 1] = { { head, ws_frame_head(head, opcode, n, NULL) } };

    for (size_t i = 0; i < count; i++)
        iov[i + 1] = (struct iovec){ (void *)(uintptr_t)parts[i].p, parts[i].n };
    if (n >= DIRECT_WRITE && !ws->blocked) {
        write_direct(ws, iov, count + 1);
        return;
    }
    for (size_t i = 0; i < count + 1; i++)
        queue(ws, iov[i].iov_base, iov[i].iov_len);
}

void ws_queue_close(struct ws *ws, int code, struct str reason)
{
    uint8_t bytes[2] = { (uint8_t)(code >> 8), (uint8_t)code };
    struct str parts[2] = { { (const char *)bytes, sizeof(bytes) }, reason };

    ws_queue_frame(ws, WS_OP_CLOSE, parts, code == WS_NO_CODE ? 0 : 2);
}

/* --- messages --- */

/* False: nothing more is sent on this connection, or it has just been cut off. */
static bool may_queue(struct ws *ws, size_t n)
{
    if (ws->state != WS_OPEN)
        return false;
    if (ws->out.bytes <= ws->config.high_water || n + ws->out.bytes <= ws->config.max_queue)
        return true;
    ws_lost(ws, WS_ABNORMAL, "the peer does not take what it is sent");
    return false;
}

static bool has_room(struct ws *ws)
{
    if (ws->out.bytes > ws->config.high_water)
        ws->want_drain = true;
    return !ws->want_drain || ws->state != WS_OPEN;
}

bool ws_send_parts(struct ws *ws, enum ws_type type, const struct str *parts, size_t count)
{
    if (!may_queue(ws, total(parts, count)))
        return true;
    ws_queue_frame(ws, (enum ws_opcode)type, parts, count);
    return has_room(ws);
}

bool ws_send_text(struct ws *ws, enum ws_type type, struct str before, struct held_text *text, struct str after)
{
    const struct str parts[] = { before, buf_str(&text->bytes), after };
    size_t n = total(parts, ARRAY_SIZE(parts));
    uint8_t head[WS_HEAD_MAX];

    if (n < DIRECT_WRITE)
        return ws_send_parts(ws, type, parts, ARRAY_SIZE(parts));
    if (!may_queue(ws, n))
        return true;
    queue(ws, head, ws_frame_head(head, (enum ws_opcode)type, n, NULL));
    queue(ws, before.p, before.n);
    if (outq_append_text(&ws->out, text) < 0)
        ws_lost(ws, WS_ABNORMAL, "no memory for a message");
    queue(ws, after.p, after.n);
    if (!ws->blocked && ws->state != WS_OVER)
        write_direct(ws, NULL, 0);
    return has_room(ws);
}

bool ws_send(struct ws *ws, enum ws_type type, struct str message)
{
    return ws_send_parts(ws, type, &message, 1);
}

size_t ws_queued(const struct ws *ws)
{
    return ws->out.bytes;
}

/*
 * The latest ping is answered when there is room, so that a peer that pings and does not read fills no queue; RFC
 * 6455 allows to skip the ones before it.
 */
static void answer_ping(struct ws *ws)
{
    struct str payload = { ws->pong, ws->pong_n };

    if (!ws->pong_due || ws->state > WS_CLOSING || ws->out.bytes > ws->config.high_water)
        return;
    ws->pong_due = false;
    ws_queue_frame(ws, WS_OP_PONG, &payload, 1);
}

static void tell_drained(struct ws *ws)
{
    if (!ws->want_drain || ws->state != WS_OPEN || ws->out.bytes >= ws->config.high_water / 4)
        return;
    ws->want_drain = false;
    if (ws->callbacks.on_drain)
        ws->callbacks.on_drain(ws, ws->data);
}

void ws_flush(struct ws *ws)
{
    for (int i = 0; i < FLUSHES_PER_TURN && ws->state != WS_OVER; i++) {
        answer_ping(ws);
        if (!ws->blocked && !outq_empty(&ws->out))
            send_queue(ws, NULL, 0);
        tell_drained(ws); /* which may have queued more */
        if (ws->blocked || outq_empty(&ws->out))
            return;
    }
    ws->yielded = true;
}
