/*
 * stream.h - the reading end of one pipe or FIFO that carries a command's output into a sink.
 *
 * It is watched edge-triggered: a reader that has been told to wait (back-pressure) or whose writers are all gone
 * would otherwise keep epoll awake, for it reports EPOLLHUP whether one asks or not. What an edge-triggered watcher
 * leaves unread it must ask for again; stream_rearm() does, by changing the registration, which makes the kernel
 * look at the descriptor anew.
 */
#pragma once

#include "base/loop.h"
#include "sink.h"

struct stream {
    struct loop *loop;
    struct loop_io io;
    int fd;            /* owned; -EBADF when closed */
    int index;         /* STREAM_STDOUT or STREAM_STDERR */
    struct sink *sink; /* NULL: read and drop */
    bool enlarged;
    void (*on_end_of_file)(struct stream *stream); /* no writer is left, for the moment at least */
};

/* Takes `fd` over (non-blocking). Nothing is read before stream_watch(). */
void stream_open(struct stream *stream, struct loop *loop, int fd, int index, struct sink *sink,
                 void (*on_end_of_file)(struct stream *));
/* Reads from now on whenever there is something. 0, or -1 with errno. Idempotent. */
int stream_watch(struct stream *stream);
void stream_unwatch(struct stream *stream); /* idempotent */
void stream_close(struct stream *stream);   /* idempotent on an opened or zeroed-with-fd<0 stream */

enum stream_state {
    STREAM_EMPTY,   /* nothing to read now, there are writers */
    STREAM_ENDED,   /* nothing to read, no writers */
    STREAM_BLOCKED, /* the sink wants no more now */
    STREAM_MORE     /* `budget` is used up */
};

/* Reads what is there, at most `budget` bytes or a little more. Never calls on_end_of_file. */
enum stream_state stream_pump(struct stream *stream, size_t budget, bool final);

/* After the sink was full, or the sink was changed. Nothing happens to a stream that is not watched. */
void stream_rearm(struct stream *stream);
