/*
 * transport.h - what a link is made of: a connection that carries streams. Two kinds exist: QUIC (quic.c, the only
 * file that includes ngtcp2) and HTTP/2 over TLS (h2.c, the only one that includes nghttp2). Everything runs on the
 * loop's thread.
 *
 * The roles: the *dialler* (behind NAT) connects to the *listener* (the edge), and only the listener opens streams:
 * all requests go from the edge to the daemon, the one that asks who it is included. So HTTP/2 does for it what it
 * was made for once TLS is there: the dialler plays the HTTP/2 server. A stream is a CONNECT whose body is the
 * bytes.
 *
 * The core (stream.c, core.c) owns struct stream: its socket towards bermd, the bytes read from there and not yet
 * acknowledged, the bytes from the network that bermd has not taken yet. A transport owns struct link's kind of
 * connection and only keeps numbers of streams. No function here calls back into the side that called it, except
 * where said.
 *
 * Flow control: a transport gives each stream a window of LINK_STREAM_WINDOW bytes and the whole link none that
 * a single slow stream could fill (LINK_WINDOW is what all may have together): what it delivers beyond what
 * stream_received() is told was consumed is a fault of the far side and ends the link.
 */
#pragma once

#include "base/base.h"
#include "base/link_wire.h"
#include "base/loop.h"

#include <sys/uio.h>

#define LINK_STREAM_WINDOW ((size_t)1 << 20)
#define LINK_WINDOW        ((size_t)64 << 20)
#define LINK_STREAMS_MAX   4096
#define LINK_ALPN_QUIC     "berm-link/1"
#define LINK_KEEP_ALIVE_MS 2000 /* a link that is silent for this long is asked */
#define LINK_SILENT_MAX_MS 5000 /* and is lost after this much silence */

struct link;
struct stream;

struct transport_ops {
    /* Begins a stream to the far side: sets its number by stream_set_id(). 0, or -1 if no more may be opened now.
     */
    int (*open)(struct link *link, struct stream *stream);
    /* There are bytes to send (stream_out), or the end is to be sent. The transport takes them when it can. */
    void (*wake)(struct link *link, struct stream *stream);
    /* bermd has taken `n` bytes: the far side may send as many more. */
    void (*consumed)(struct link *link, struct stream *stream, size_t n);
    void (*reset)(struct link *link, struct stream *stream);
    void (*drain)(struct link *link);
    /* Tells the far side if it still can, and forgets everything. The link is freed by the core after it. */
    void (*close)(struct link *link, enum link_reason reason);
};

struct link {
    const struct transport_ops *ops;
    struct core *core;
    uint32_t number; /* of the wire; 0 until link_up() */
    /* private to the core: its list, its streams, whether it drains */
    struct link *next;
    struct stream *streams;
    uint32_t stream_count;
    bool draining;
};

/* transport -> core */
void link_up(struct link *link, enum link_transport transport, const char *peer);
/* The last call for a link: the core frees its streams, calls ops->close() if `close`, and forgets it. */
void link_down(struct link *link, enum link_reason reason, const char *text);
void link_far_side_drains(struct link *link);

/* Dialler only: a stream that the far side has begun. NULL: refuse it (too many, no memory), the link goes on. */
struct stream *stream_opened(struct link *link, int64_t id);
struct stream *stream_find(const struct link *link, int64_t id);
void stream_set_id(struct stream *stream, int64_t id);
int64_t stream_id(const struct stream *stream);

/* Bytes from the network; `fin`: none come after them. Calls ops->consumed() for what the socket took at once. */
void stream_received(struct stream *stream, const void *p, size_t n, bool fin);
/* The bytes to send next, at most `max` parts; *fin: the end comes right behind them. They stay where they are
 * until stream_acked(). Returns how many parts. */
size_t stream_out(const struct stream *stream, struct iovec *parts, size_t max, bool *fin);
void stream_sent(struct stream *stream, size_t n, bool fin); /* stream_out() begins behind them from now on */
void stream_acked(struct stream *stream, size_t n);          /* the oldest `n` sent bytes are not needed any more */
/* The far side gave the stream up, or the transport has nothing more to do with it: its number means nothing now.
 */
void stream_reset_by_far_side(struct stream *stream);
void stream_closed(struct stream *stream);

/* What both kinds of transport are told. `authority`: PEM file, NULL for the system's. */
struct link_dial {
    const char *host; /* name or address; also the name that the certificate has to be for */
    uint16_t port;
    const char *authority;
};
struct link_listen {
    const char *certificate, *key; /* PEM files, read again on SIGHUP */
};
