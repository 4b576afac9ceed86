/*
 * buf.h - a bounded byte queue: append at the end, consume at the front.
 *
 * Every buffer is born with the most it may ever hold, so a peer that never stops sending cannot grow us. Memory is
 * taken on the first append and given back by buf_release_if_empty(), so an idle connection holds none.
 */
#pragma once

#include "base.h"

struct buf {
    char *data;   /* allocation, or NULL */
    size_t start; /* first byte that is not consumed */
    size_t len;   /* bytes held, from data + start */
    size_t cap;   /* size of the allocation */
    size_t max;   /* the most `len` may be */
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b); /* idempotent; the buffer may be used again */

static inline char *buf_head(const struct buf *b)
{
    return b->data + b->start;
}

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){ b->data ? b->data + b->start : "", b->len };
}

/* Room for `n` more bytes: a pointer to write at, followed by buf_commit(); NULL if `max` or memory forbids it. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* 0, or -1 with errno ENOBUFS (limit) or ENOMEM; on failure the buffer is unchanged. */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_append_str(struct buf *b, struct str s);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
void buf_release_if_empty(struct buf *b);

/* Hands the bytes over as a malloc'd NUL-terminated string (NULs inside are kept) and leaves the buffer empty. */
char *buf_steal(struct buf *b, size_t *ret_len);
