/*
 * outq.h - what waits to be written to a socket: runs of bytes and ranges of files, in order. Private to src/net.
 *
 * Bytes are handed to the kernel from the caller's memory where that is possible and copied only when the socket's
 * buffer is full. The queue itself has no limit: whoever fills it looks at `bytes` and stops in time.
 */
#pragma once

#include "base/base.h"
#include "base/held_text.h"

#include <sys/uio.h>

struct channel;
struct outq_item;

struct outq {
    struct outq_item *first, *last;
    size_t bytes;            /* in memory, not counting files */
    uint64_t sent;           /* handed to the kernel so far */
    struct channel *channel; /* what it goes through; NULL: the socket itself */
};

static inline bool outq_empty(const struct outq *q)
{
    return q->first == NULL;
}

/* Frees what is queued and closes its files. A zeroed queue is a valid empty one. */
void outq_clear(struct outq *q);

/* Copy `n` bytes to the end or to the front: 0, or -1 with ENOMEM and nothing changed. */
int outq_append(struct outq *q, const void *p, size_t n);
int outq_prepend(struct outq *q, const void *p, size_t n);

/* The same for a whole text, which is held and not copied. 0, or -1 with ENOMEM and nothing changed. */
int outq_append_text(struct outq *q, struct held_text *text);

/* Takes `fd` over, also when it fails. */
int outq_append_file(struct outq *q, int fd, uint64_t offset, uint64_t count);

/* Takes up to `n` bytes from the front, of files too: how many, or -1 as below. */
ssize_t outq_read(struct outq *q, void *to, size_t n);

/*
 * Writes the queue and then `extra` (at most OUTQ_EXTRA parts). 0: all is written. 1: the socket is full, or this
 * was enough for one turn of the loop; the rest of `extra` is queued. -1 with errno: the connection is lost, a file
 * was shorter than its range (EIO), or memory is out.
 */
#define OUTQ_EXTRA 4
int outq_send(struct outq *q, int sock, const struct iovec *extra, size_t extra_count);
