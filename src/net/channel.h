/*
 * channel.h - what the bytes of a connection go through when that is not the socket itself: TLS. Private to
 * src/net.
 *
 * The server knows no more of TLS than this, so that programs without it (the agent) need not link it.
 */
#pragma once

#include "base/base.h"

#include <sys/uio.h>

struct channel;

enum channel_state {
    CHANNEL_READY,
    CHANNEL_WANTS_INPUT,  /* wait for the socket to be readable, and ask again */
    CHANNEL_WANTS_OUTPUT, /* likewise writable */
    CHANNEL_FOREIGN,      /* the peer speaks plain text; nothing has been read */
    CHANNEL_BROKEN,
};

struct channel_ops {
    enum channel_state (*handshake)(struct channel *channel);
    /*
     * As recv(2) and sendmsg(2) of a non-blocking socket. A read takes as many whole records as there is room for,
     * and part of one only if there is room for less.
     */
    ssize_t (*recv)(struct channel *channel, void *p, size_t n);
    ssize_t (*send)(struct channel *channel, const struct iovec *parts, size_t count);
    /* The rest of a record that was read in part: no event of the socket tells of it. */
    bool (*pending)(const struct channel *channel);
    /* Tells the peer that no more comes. */
    void (*end)(struct channel *channel);
    /* What was agreed on by ALPN. */
    bool (*is_h2)(const struct channel *channel);
    void (*free)(struct channel *channel); /* the socket stays open */
};

struct channel {
    const struct channel_ops *ops;
};

static inline void channel_free(struct channel *channel)
{
    if (channel)
        channel->ops->free(channel);
}
