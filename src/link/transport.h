/*
 * transport.h - what a link is made of: a connection that carries streams. Two kinds exist: QUIC (quic*.c, which
 * alone include ngtcp2) and HTTP/2 over TLS (h2*.c, which alone include nghttp2). Everything runs on the loop's
 * thread.
 *
 * The roles: the *dialler* (behind NAT) connects to the *listener* (the edge), and only the listener opens streams:
 * all requests go from the edge to the daemon, the one that asks who it is included. So HTTP/2 does for it what it
 * was made for once TLS is there: the dialler plays the HTTP/2 server. A stream is a CONNECT whose body is the
 * bytes.
 *
 * The core (core.c, stream.c) owns struct stream: its socket towards bermd, the bytes read from there and not yet
 * acknowledged, the bytes from the network that bermd has not taken yet. A transport owns the connection, embeds
 * struct link in a struct of its own, and hangs the struct stream at the stream's number in its library ("user
 * data"); stream->transport is the way back. So nothing is looked up, and each side says when the other's pointer
 * is void:
 *  - the core forgets the number when the transport calls stream_closed();
 *  - the transport forgets the struct stream when the core calls ops->reset().
 *
 * Nobody calls back into whoever called: a function of the core does not call ops->... of the same link before it
 * has returned, but for ops->consumed(); a function in ops calls none of the core's at
 * all, but stream_set_id() inside ops->open(). What follows from a call is done in the loop's turn (loop_defer),
 * which also puts the bytes of many streams into one packet or one write.
 *
 * Flow control: a transport gives each stream a window of LINK_STREAM_WINDOW bytes and the whole link LINK_WINDOW,
 * which no single slow stream could fill, and gives more only for what ops->consumed() tells. What a peer sends
 * beyond that is its fault and ends the link.
 */
#pragma once

#include "base/base.h"
#include "base/link_wire.h"
#include "base/loop.h"
#include "link/giving.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define LINK_STREAM_WINDOW ((size_t)1 << 20)
#define LINK_WINDOW        ((size_t)64 << 20)
#define LINK_STREAMS_MAX   4096
#define LINK_ALPN_QUIC     "berm-link/1"
#define LINK_ALPN_H2       "berm-link-h2/1" /* not "h2": neither a browser nor another server gets in by mistake */
#define LINK_KEEP_ALIVE_MS 2000             /* a link that is silent for this long is asked */
#define LINK_SILENT_MAX_MS 5000             /* and is lost after this much silence */
#define LINK_HANDSHAKE_MS  5000             /* from the first byte to link_up() */

struct core;
struct link;
struct stream;

struct transport_ops {
    /* Begins a stream to the far side: stream_set_id(). 0, or -1 if no more may be opened now. */
    int (*open)(struct link *link, struct stream *stream);
    /* There are bytes to send (stream_out), or the end is to be sent. The transport takes them when it can. */
    void (*wake)(struct link *link, struct stream *stream);
    /*
     * bermd has taken `n` bytes, or they are dropped: the far side may send as many more. `stream` is NULL for one
     * that is closed or reset: then only of the link's window.
     */
    void (*consumed)(struct link *link, struct stream *stream, size_t n);
    /*
     * bermd takes nothing more, and all of its own with the end behind it has been sent: the far side should stop
     * (STOP_SENDING; RST_STREAM with NO_ERROR). What still comes is received and dropped until stream_closed().
     */
    void (*stop)(struct link *link, struct stream *stream);
    /* Gives the stream up in both directions; `stream` is void afterwards. */
    void (*reset)(struct link *link, struct stream *stream);
    /* Tells the far side that no more streams are begun here nor taken; link_drained() once it must know. */
    void (*drain)(struct link *link);
    /* Says goodbye if it can be said at once, and stops: no timers, no descriptors, no calls. ->free() follows. */
    void (*close)(struct link *link, enum link_reason reason);
    /* Called from the loop, never from inside the transport's own calls; also after link_down(). */
    void (*free)(struct link *link);
};

struct link_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

/* "192.0.2.1:443", "[2001:db8::1]:443"; "?" for one that is neither. */
void link_address_print(const struct link_address *address, char *out, size_t out_size);

/* Embedded in the transport's struct; link_init() fills it. */
struct link {
    const struct transport_ops *ops;
    struct core *core;
    uint32_t number; /* of the wire; 0 until link_up() */
    /* private to the core */
    struct link *next;
    struct stream *streams;
    uint32_t stream_count;
    bool down, draining, drained;
    struct link_address from; /* accepted */
    struct giving giving;     /* dialling */
    struct loop_deferred freeing, closing;
};

/* --- transport -> core: links --- */

/* A new link, not up yet. Until link_up() or link_down() it counts as a handshake. */
void link_init(struct link *link, struct core *core, const struct transport_ops *ops);
/* TLS is through. Dialling: the certificate is right, and the far side has said its first word (so it took us). */
void link_up(struct link *link, enum link_transport transport, const char *peer);
/* The last call for a link, before or after link_up(): its streams are gone with it. ops->free() follows. */
void link_down(struct link *link, enum link_reason reason, const char *text);
void link_far_side_drains(struct link *link);
/* After ops->drain(): whatever the far side begins now, it does knowing that it is refused. */
void link_drained(struct link *link);

/* --- transport -> core: streams --- */

/* Dialler only: a stream that the far side has begun. bermd gets it at once, or when its turn comes (giving.h).
 * NULL: refuse it (too many, no memory), the link goes on. */
struct stream *stream_opened(struct link *link, int64_t id);
void stream_set_id(struct stream *stream, int64_t id);
int64_t stream_id(const struct stream *stream);

/* Bytes from the network; `fin`: none come after them. Calls ops->consumed() for what the socket took at once.
 * -1: more than the window allows; nothing was taken, the link has to go. */
int stream_received(struct stream *stream, const void *p, size_t n, bool fin);
/*
 * The bytes to send next, at most `max` parts; *fin: the end comes right behind them. Returns how many parts; none
 * and *fin: only the end is to be sent. They do not move and stay until stream_acked().
 */
size_t stream_out(const struct stream *stream, struct iovec *parts, size_t max, bool *fin);
/* stream_out() begins behind them from now on. */
void stream_sent(struct stream *stream, size_t n, bool fin);
/* The oldest `n` sent bytes are not needed any more. */
void stream_acked(struct stream *stream, size_t n);
/* The stream is given up, but the transport's library still looks at what was sent: it takes all of `out` over,
 * before ops->reset() returns or stream_closed() is called. */
struct blocks;
void stream_take_out(struct stream *stream, struct blocks *ret);
/* The far side takes no more (STOP_SENDING); what it sends still counts. */
void stream_unwanted(struct stream *stream);
/*
 * The stream is over for the transport: both directions are through and acknowledged, or the far side has reset it,
 * or it cannot go on. `stream` is void for the transport afterwards. With its end received before, what came is
 * still delivered to bermd; without, it is dropped.
 */
void stream_closed(struct stream *stream);

/* --- core -> transport --- */

/* For QUIC and for TLS over TCP alike. See credentials.h. */
struct credentials;

struct link_target {
    struct link_address address;
    const char *host; /* name or address: what the certificate has to be for; lives as long as the core */
    struct credentials *credentials;
};

/*
 * One try to connect: a link which becomes link_up(), or link_down() within LINK_HANDSHAKE_MS. NULL with errno if
 * it cannot even begin. core->loop etc. are in core.h.
 */
struct link *h2_dial(struct core *core, const struct link_target *target);
struct link *quic_dial(struct core *core, const struct link_target *target);

/* An accepted connection; takes the descriptor. `peer` is its address. */
struct link *h2_accept(struct core *core, int fd, const struct link_address *peer, struct credentials *credentials);

/*
 * Serves a bound UDP socket, which it takes. The `credentials` at a handshake are those of core_credentials(core),
 * as SIGHUP replaces them. core_admit() before anything is allocated for a peer that may be nobody.
 */
struct quic_listener;
struct quic_listener *quic_listen(struct core *core, int fd);
void quic_listener_free(struct quic_listener *listener); /* its links are down already */
