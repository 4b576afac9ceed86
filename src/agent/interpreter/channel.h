/*
 * channel.h - our end of the socket to a kernel: frames in and out.
 *
 * Reading stops while the channel is paused, so that a client that does not read its results holds up the kernel
 * and not our memory.
 */
#pragma once

#include "base/loop.h"
#include "frame.h"

struct channel {
    struct loop *loop;
    int fd; /* owned; -EBADF when closed */
    struct loop_io io;
    struct buf in;
    struct buf out;
    uint64_t reads; /* frames that came with the same one were there at the same time */
    bool paused;
    bool delivering;
    bool broken; /* the other end sent what is no frame */
    void (*on_frame)(struct channel *channel, const struct frame *frame);
    void (*on_close)(struct channel *channel); /* the other end is closed or broke the rules; not after
                                                  channel_close() */
};

/* Takes `fd` over (non-blocking); the callbacks are set already. 0, or -1 with errno and the fd closed. */
int channel_open(struct channel *channel, struct loop *loop, int fd);
void channel_close(struct channel *channel); /* idempotent; also from inside of a callback */

/* Queues a frame. 0, or -1 without memory or when it is too large. A lost connection is told by on_close only. */
int channel_send(struct channel *channel, char kind, struct str payload);

/* Delivers what is there, as far as callbacks do not pause it: for the frames that a dead process left. */
void channel_drain(struct channel *channel);

void channel_pause(struct channel *channel);
void channel_resume(struct channel *channel);
