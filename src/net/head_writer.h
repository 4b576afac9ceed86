/* head_writer.h - putting a message head together; private to src/net. */
#pragma once

#include "base/buf.h"

/* A failure (memory, or more than HEAD_WRITER_MAX bytes) sticks: a head with a part missing must never be sent. */
struct head_writer {
    struct buf out;
    bool failed;
};

#define HEAD_WRITER_MAX ((size_t)64 << 10)

void head_writer_init(struct head_writer *w);
void head_writer_free(struct head_writer *w);
void head_add_slowly(struct head_writer *w, struct str s);

/* Heads are put together from some thirty small parts, and nearly all of them fit in what is allocated. */
static inline void head_add(struct head_writer *w, struct str s)
{
    if (w->out.cap - w->out.start - w->out.len < s.n || !w->out.data) {
        head_add_slowly(w, s);
        return;
    }
    if (s.n > 0)
        memcpy(buf_head(&w->out) + w->out.len, s.p, s.n);
    w->out.len += s.n;
}

void head_add_number(struct head_writer *w, uint64_t value);
void head_add_field(struct head_writer *w, const char *name, struct str value);
