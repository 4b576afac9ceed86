/* stream.h - a connected socket, perhaps with TLS on it (tls_end.h), that is read and written without blocking. */
#pragma once

#include "base/loop.h"

struct ssl_st;

struct stream {
    struct loop_io io;  /* io.fd is the socket */
    struct ssl_st *tls; /* NULL: none; owned */
    bool wants_write;   /* TLS must write before it can read */
    bool ended;         /* it sends no more */
    bool broken;
};

/* > 0 bytes; 0: nothing now, or it has ended or broken: see the members. */
size_t stream_read(struct stream *stream, void *p, size_t n);
size_t stream_write(struct stream *stream, const void *p, size_t n);
/* Nothing more will be written: the peer learns it. */
void stream_shut(struct stream *stream);
/* Out of the loop, freed, closed. */
void stream_close(struct stream *stream, struct loop *loop);
