/*
 * link_wire.h - the wire between bermd and berm-link: fixed-size structs over a SOCK_SEQPACKET unix socket, with at
 * most one descriptor passed beside each (SCM_RIGHTS). Same machine, same build: host byte order.
 *
 * A *link* is one authenticated, encrypted connection between a daemon behind NAT and an edge; it carries many
 * *streams*, which are pairs of byte streams with an end of their own in each direction. berm-link owns the
 * network, TLS and QUIC and knows nothing of HTTP routes, keys or names; bermd owns those and sees a stream as a
 * unix stream socket, on which it runs its HTTP server and client unchanged. So the code that parses what the
 * network sends, and the second TLS library, are in a process that has neither a secret of a sandbox nor a way to
 * one.
 *
 * Both sides check every message, as either may have been taken over by whoever it talks to: one of the wrong
 * size, type, or with a descriptor where none belongs, ends the connection between them.
 *
 * berm-link -> bermd
 *
 *  - UP: a link exists. Dialling: the edge is who its certificate says. Listening: nothing is known of the daemon
 *    yet, bermd asks it over a first stream.
 *  - DOWN: it does not any more, with the reason. Its streams are at their end or reset. The dialling side tries
 *    again by itself, under a new number; with number 0 it is one such try that has failed.
 *  - STREAM, dialling only: the edge has opened a stream; its socket is passed.
 *  - DRAINING: the far side opens no more streams and will close when those open have ended.
 *
 * bermd -> berm-link
 *
 *  - OPEN, listening only: a stream to the daemon, whose near end is the socket that is passed. It is closed if the
 *    link is not there any more, or may have no more streams.
 *  - CLOSE: end the link now (refused, misbehaved). DOWN follows.
 *  - DRAIN: open no more, tell the far side, close when the open ones have ended. Link 0: all, and after the last
 *    DOWN a dialler makes none again.
 *
 * End of a stream: shutdown(SHUT_WR) of either side ends that direction. A stream that is reset has its socket
 * closed with nothing more to read; what is carried says itself whether it was complete (HTTP framing does).
 */
#pragma once

#include "base.h"

#define LINK_WIRE_VERSION 1
#define LINK_TEXT         160

enum link_message_type {
    LINK_UP = 1,
    LINK_DOWN = 2,
    LINK_STREAM = 3,
    LINK_DRAINING = 4,
    LINK_OPEN = 16,
    LINK_CLOSE = 17,
    LINK_DRAIN = 18,
};

enum link_transport { LINK_QUIC = 1, LINK_H2 = 2 };

enum link_reason {
    LINK_CLOSED = 1,       /* by bermd here or there, or after draining */
    LINK_UNREACHABLE = 2,  /* no answer, refused, no route, name not found */
    LINK_UNTRUSTED = 3,    /* the edge's certificate is not one for its name, or not of the configured authority */
    LINK_LOST = 4,         /* silent for longer than the keep-alive allows, or broken by the network */
    LINK_PROTOCOL = 5,     /* the far side broke the protocol */
    LINK_NO_RESOURCES = 6, /* ours: memory, descriptors, limits */
};

struct link_message {
    uint16_t version; /* LINK_WIRE_VERSION */
    uint16_t type;
    uint32_t link;        /* from 1, never used twice by one process; 0 only in DRAIN, and in a DOWN of a dial */
    uint16_t transport;   /* UP */
    uint16_t reason;      /* DOWN */
    uint32_t retry_ms;    /* DOWN on the dialling side: when it is tried again */
    char text[LINK_TEXT]; /* UP: the peer's address; DOWN: words for a log. Printable ASCII, NUL to the end */
};
