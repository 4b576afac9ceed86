/* quic_stream.c - the streams of a QUIC connection, and what the library says about them. */
#include "link/quic.h"

/* --- their life --- */

static struct quic_stream *new_stream(struct quic_link *q, struct stream *stream)
{
    struct quic_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    *s = (struct quic_stream){ .owner = q, .stream = stream, .id = -1 };
    list_append(&q->streams, &s->all);
    return s;
}

static void free_stream(struct quic_stream *s)
{
    list_remove(&s->all);
    list_remove(&s->sending);
    s->owner->held -= s->held.bytes;
    blocks_clear(&s->held);
    free(s);
}

void quic_streams_free(struct quic_link *q)
{
    struct list *node;

    while ((node = list_shift(&q->streams)))
        free_stream(container_of(node, struct quic_stream, all));
}

/*
 * The core's stream ends before the library has forgotten its own, and the library sends bytes again from where
 * they lie also after a reset. So they stay until it has; a far side that never lets it has a limit.
 */
static struct stream *detach(struct quic_stream *s)
{
    struct stream *stream = s->stream;

    list_remove(&s->sending);
    stream_take_out(stream, &s->held);
    s->owner->held += s->held.bytes;
    s->stream = NULL;
    return stream;
}

/* --- what the core asks for --- */

int quic_open(struct link *link, struct stream *stream)
{
    struct quic_link *q = quic_link_of(link);
    struct quic_stream *s = new_stream(q, stream);

    if (!s)
        return -1;
    if (ngtcp2_conn_open_bidi_stream(q->conn, &s->id, s) != 0) {
        free_stream(s);
        return -1;
    }
    stream->transport = s;
    stream_set_id(stream, s->id);
    return 0;
}

void quic_wake(struct link *link, struct stream *stream)
{
    struct quic_link *q = quic_link_of(link);
    struct quic_stream *s = stream->transport;

    if (!list_linked(&s->sending))
        list_append(&q->sending, &s->sending);
    quic_link_touch(q);
}

void quic_consumed(struct link *link, struct stream *stream, size_t n)
{
    struct quic_link *q = quic_link_of(link);
    struct quic_stream *s = stream ? stream->transport : NULL;

    if (q->stopped)
        return;
    ngtcp2_conn_extend_max_offset(q->conn, n);
    if (s) /* without memory the far side waits, and with it whoever waits for it */
        ngtcp2_conn_extend_max_stream_offset(q->conn, s->id, n);
    quic_link_touch(q);
}

void quic_stop(struct link *link, struct stream *stream)
{
    struct quic_link *q = quic_link_of(link);
    struct quic_stream *s = stream->transport;

    s->stopped = true;
    ngtcp2_conn_shutdown_stream_read(q->conn, s->id, QUIC_STREAM_STOP);
    quic_link_touch(q);
}

void quic_reset(struct link *link, struct stream *stream)
{
    struct quic_link *q = quic_link_of(link);
    struct quic_stream *s = stream->transport;

    ngtcp2_conn_shutdown_stream(q->conn, s->id, QUIC_STREAM_RESET);
    detach(s);
    quic_link_touch(q);
}

void quic_drain(struct link *link)
{
    struct quic_link *q = quic_link_of(link);

    if (q->control < 0 && ngtcp2_conn_open_uni_stream(q->conn, &q->control, NULL) != 0)
        q->control = -1; /* it was counted at the handshake: no memory */
    quic_link_touch(q);
}

/* --- what the library says --- */

static bool is_control(int64_t id)
{
    return !ngtcp2_is_bidi_stream(id);
}

static int misfortune(struct quic_link *q, enum link_reason reason, const char *text)
{
    q->misfortune = reason;
    q->misfortune_text = text;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* The limits of the handshake let only a listener begin streams, besides the one for words. */
int quic_on_stream_open(ngtcp2_conn *conn, int64_t id, void *owner)
{
    struct quic_link *q = owner;
    struct quic_stream *s;

    if (is_control(id))
        return 0;
    s = new_stream(q, NULL);
    if (!s)
        return misfortune(q, LINK_NO_RESOURCES, "no memory for a stream");
    s->id = id;
    ngtcp2_conn_set_stream_user_data(conn, id, s);
    s->stream = stream_opened(&q->link, id);
    if (s->stream)
        s->stream->transport = s;
    else
        ngtcp2_conn_shutdown_stream(conn, id, QUIC_STREAM_RESET);
    return 0;
}

static int on_words(struct quic_link *q, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != QUIC_DRAIN)
            return misfortune(q, LINK_PROTOCOL, "the far side said a word that does not exist");
        link_far_side_drains(&q->link);
    }
    return 0;
}

int quic_on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *p, size_t n,
                        void *owner, void *stream)
{
    struct quic_link *q = owner;
    struct quic_stream *s = stream;

    (void)offset;
    if (is_control(id))
        return on_words(q, p, n);
    if (!s || !s->stream) { /* given up, and the far side does not know yet */
        ngtcp2_conn_extend_max_offset(conn, n);
        return 0;
    }
    if (stream_received(s->stream, p, n, flags & NGTCP2_STREAM_DATA_FLAG_FIN) < 0)
        return misfortune(q, LINK_NO_RESOURCES, "no memory for what was received");
    return 0;
}

int quic_on_stream_acked(ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t n, void *owner, void *stream)
{
    struct quic_link *q = owner;
    struct quic_stream *s = stream;

    (void)conn;
    (void)offset;
    if (is_control(id) && n > 0)
        link_drained(&q->link);
    else if (s && s->stream && n > 0)
        stream_acked(s->stream, n);
    return 0;
}

/* Also the answer to our having it stopped: then what we sent still counts. */
int quic_on_stream_reset(ngtcp2_conn *conn, int64_t id, uint64_t size, uint64_t code, void *owner, void *stream)
{
    struct quic_stream *s = stream;

    (void)size;
    (void)code;
    (void)owner;
    if (!s || !s->stream || s->stopped)
        return 0;
    ngtcp2_conn_shutdown_stream_write(conn, id, QUIC_STREAM_RESET);
    stream_closed(detach(s));
    return 0;
}

int quic_on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t code, void *owner, void *stream)
{
    struct quic_stream *s = stream;

    (void)flags;
    (void)code;
    (void)owner;
    if (is_control(id))
        return 0;
    if (!ngtcp2_conn_is_local_stream(conn, id))
        ngtcp2_conn_extend_max_streams_bidi(conn, 1);
    if (s && s->stream)
        stream_closed(s->stream);
    if (s)
        free_stream(s);
    return 0;
}

int quic_on_stream_window(ngtcp2_conn *conn, int64_t id, uint64_t max, void *owner, void *stream)
{
    struct quic_link *q = owner;
    struct quic_stream *s = stream;

    (void)conn;
    (void)id;
    (void)max;
    if (s && s->stream && !list_linked(&s->sending))
        list_append(&q->sending, &s->sending);
    return 0;
}

void quic_stream_unwanted(struct quic_stream *s)
{
    list_remove(&s->sending);
    if (s->stream)
        stream_unwanted(s->stream);
}
