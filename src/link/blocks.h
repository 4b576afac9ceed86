/*
 * blocks.h - a queue of bytes that do not move until they are dropped: bytes are put at the end, taken (sent)
 * behind those taken before, and dropped (acknowledged) from the front. QUIC's library sends lost bytes again from
 * where they lie, so they can be in no buffer that grows. Empty, it holds no memory; a zeroed one is valid.
 */
#pragma once

#include "base/base.h"

#include <sys/uio.h>

struct block;

struct blocks {
    struct block *first, *last;
    size_t first_start; /* in `first`: what is before is dropped */
    struct block *next; /* with the first byte that is not taken; NULL: all are */
    size_t next_start;
    size_t bytes; /* all */
    size_t taken; /* of these */
};

/* As recv(2) of a non-blocking socket, at most `max` bytes; ENOMEM. */
ssize_t blocks_recv(struct blocks *b, int fd, size_t max);
/* 0, or -1 without memory and nothing changed. */
int blocks_append(struct blocks *b, const void *p, size_t n);
/* Where those lie that are not taken yet, from the oldest: how many parts. */
size_t blocks_next(const struct blocks *b, struct iovec *parts, size_t max);
void blocks_take(struct blocks *b, size_t n); /* at most what blocks_next() could give */
void blocks_drop(struct blocks *b, size_t n); /* at most `taken` */
void blocks_clear(struct blocks *b);
