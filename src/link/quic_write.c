/*
 * quic_write.c - from streams to packets. Packets that follow each other on the same way and are of one size make a
 * train, which is written with one system call. One quic_write() makes at most one train's worth of bytes, so that
 * acknowledgements are read and other links served between trains; what may still be sent then goes in the next
 * turn of the loop.
 */
#include "link/quic.h"

#define PARTS 8 /* of a stream in one packet */

/* One thread, and nothing is kept here between two calls. */
static uint8_t bytes[UDP_TRAIN_BYTES];

struct train {
    size_t start, end; /* in `bytes` */
    size_t size, count;
    struct link_address local, remote;
    uint8_t ecn;
};

static void send_train(struct quic_link *q, struct train *train)
{
    struct quic_port *port = q->port;

    if (train->end > train->start &&
        udp_send(&port->socket, &train->local, &train->remote, train->ecn, bytes + train->start,
                 train->end - train->start, train->size) < 0 &&
        port->no_way)
        port->no_way(port);
    train->start = train->end;
    train->count = 0;
}

/* --- what goes into a packet --- */

struct piece {
    struct quic_stream *stream; /* NULL: control or nothing */
    int64_t id;                 /* -1: nothing */
    ngtcp2_vec parts[PARTS];
    size_t count, bytes;
    bool fin;
};

static bool control_piece(struct quic_link *q, struct piece *piece)
{
    static const uint8_t word = QUIC_DRAIN;

    if (q->control < 0 || q->control_sent)
        return false;
    piece->id = q->control;
    piece->parts[0] = (ngtcp2_vec){ (uint8_t *)(uintptr_t)&word, sizeof(word) };
    piece->count = piece->bytes = 1;
    piece->fin = true;
    return true;
}

/* Streams take turns: the first of those that have something. */
static void next_piece(struct quic_link *q, struct piece *piece, bool blocked)
{
    struct iovec parts[PARTS];

    *piece = (struct piece){ .id = -1 };
    if (!q->up || blocked || control_piece(q, piece))
        return;
    while (!list_empty(&q->sending)) {
        struct quic_stream *s = container_of(q->sending.next, struct quic_stream, sending);

        piece->count = stream_out(s->stream, parts, PARTS, &piece->fin);
        if (piece->count > 0 || piece->fin) {
            piece->stream = s;
            piece->id = s->id;
            break;
        }
        list_remove(&s->sending);
    }
    for (size_t i = 0; i < piece->count; i++) {
        piece->parts[i] = (ngtcp2_vec){ parts[i].iov_base, parts[i].iov_len };
        piece->bytes += parts[i].iov_len;
    }
}

/* The library has put the first `n` bytes of it into a packet. */
static void taken(struct quic_link *q, const struct piece *piece, size_t n)
{
    struct quic_stream *s = piece->stream;

    if (!s) {
        q->control_sent = true;
        return;
    }
    stream_sent(s->stream, n, piece->fin && n == piece->bytes);
    list_remove(&s->sending);
    list_append(&q->sending, &s->sending);
}

/* The stream cannot be written to now: its window is full, or the far side does not want it. Returns whether the
 * link's window is what is full. */
static bool put_aside(struct quic_link *q, struct quic_stream *s, ngtcp2_ssize why)
{
    if (why == NGTCP2_ERR_STREAM_DATA_BLOCKED && ngtcp2_conn_get_max_data_left(q->conn) == 0)
        return true;
    if (s && why == NGTCP2_ERR_STREAM_SHUT_WR)
        quic_stream_unwanted(s);
    else if (s)
        list_remove(&s->sending); /* quic_on_stream_window() brings it back */
    else
        q->control_sent = true;
    return false;
}

/* One packet, of as many streams as fit. Its length; 0: nothing to send, or not now; or the library's error. */
static ngtcp2_ssize next_packet(struct quic_link *q, ngtcp2_path *path, ngtcp2_pkt_info *info, uint8_t *p,
                                ngtcp2_tstamp now)
{
    bool blocked = false;

    for (;;) {
        struct piece piece;
        ngtcp2_ssize n, sent;
        uint32_t flags;

        next_piece(q, &piece, blocked);
        flags =
            (piece.id >= 0 ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0) | (piece.fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
        n = ngtcp2_conn_writev_stream(q->conn, path, info, p, QUIC_PACKET_MAX, &sent, flags, piece.id, piece.parts,
                                      piece.count, now);
        if (sent >= 0 && piece.id >= 0)
            taken(q, &piece, (size_t)sent);
        if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED || n == NGTCP2_ERR_STREAM_SHUT_WR ||
            n == NGTCP2_ERR_STREAM_NOT_FOUND)
            blocked |= put_aside(q, piece.stream, n);
        else if (n != NGTCP2_ERR_WRITE_MORE)
            return n;
    }
}

/* --- from packets to trains --- */

/* A packet of `n` bytes lies behind the train. It joins it, or is the first of the next one. */
static void couple(struct quic_link *q, struct train *train, size_t n, const struct link_address *local,
                   const struct link_address *remote, uint8_t ecn)
{
    if (train->count > 0 && (n > train->size || ecn != train->ecn || !address_equal(remote, &train->remote, true) ||
                             !address_equal(local, &train->local, true)))
        send_train(q, train);
    if (train->count == 0) {
        train->size = n;
        train->local = *local;
        train->remote = *remote;
        train->ecn = ecn;
    }
    train->end += n;
    /* A shorter one is the last. */
    if (++train->count == UDP_TRAIN_PACKETS || n < train->size)
        send_train(q, train);
}

void quic_write(struct quic_link *q)
{
    ngtcp2_tstamp now = clock_monotonic_ns();
    struct train train = { 0 };
    ngtcp2_ssize n = 0;
    size_t room;

    if (q->stopped)
        return;
    room = MIN(ngtcp2_conn_get_send_quantum(q->conn), sizeof(bytes));
    room = MAX(room, (size_t)QUIC_PACKET_MAX);
    while (room - train.end >= QUIC_PACKET_MAX) {
        struct link_address local = { 0 }, remote = { 0 };
        ngtcp2_pkt_info info = { 0 };
        ngtcp2_path path;

        quic_path(&path, &local, &remote);
        n = next_packet(q, &path, &info, bytes + train.end, now);
        if (n <= 0)
            break;
        local.len = path.local.addrlen;
        remote.len = path.remote.addrlen;
        couple(q, &train, (size_t)n, &local, &remote, (uint8_t)info.ecn);
    }
    send_train(q, &train);
    if (n < 0) {
        quic_link_fail(q, (int)n);
        return;
    }
    ngtcp2_conn_update_pkt_tx_time(q->conn, now);
    quic_link_arm(q);
    if (n > 0)
        quic_link_touch(q);
}

void quic_write_close(struct quic_link *q, const ngtcp2_connection_close_error *why)
{
    struct link_address local = { 0 }, remote = { 0 };
    uint8_t packet[QUIC_PACKET_MAX]; /* another link may be in the middle of its train */
    ngtcp2_pkt_info info = { 0 };
    ngtcp2_path path;
    ngtcp2_ssize n;

    if (q->stopped)
        return;
    quic_path(&path, &local, &remote);
    n = ngtcp2_conn_write_connection_close(q->conn, &path, &info, packet, sizeof(packet), why,
                                           clock_monotonic_ns());
    if (n <= 0)
        return;
    local.len = path.local.addrlen;
    remote.len = path.remote.addrlen;
    udp_send(&q->port->socket, &local, &remote, (uint8_t)info.ecn, packet, (size_t)n, (size_t)n);
}
