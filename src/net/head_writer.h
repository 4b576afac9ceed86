/* head_writer.h - putting a message head together; private to src/net. */
#pragma once

#include "base/base.h"

#define HEAD_WRITER_MAX  ((size_t)64 << 10)
#define HEAD_WRITER_ROOM ((size_t)1024) /* nearly all heads fit */

/* A failure (memory, or more than HEAD_WRITER_MAX bytes) sticks: a head with a part missing must never be sent. */
struct head_writer {
    char *data; /* `room`, or an allocation */
    size_t len, cap;
    bool failed;
    char room[HEAD_WRITER_ROOM];
};

/* It must stay where it is. */
static inline void head_writer_init(struct head_writer *w)
{
    w->data = w->room;
    w->len = 0;
    w->cap = sizeof(w->room);
    w->failed = false;
}

/* It can be filled anew. */
void head_writer_free(struct head_writer *w);
/* head_add() of what does not fit into the room at hand. */
void head_add_slowly(struct head_writer *w, struct str s);

static inline struct str head_str(const struct head_writer *w)
{
    return (struct str){ w->data, w->len };
}

/* Heads are put together from some thirty small parts. */
static inline void head_add(struct head_writer *w, struct str s)
{
    if (w->cap - w->len < s.n) {
        head_add_slowly(w, s);
        return;
    }
    if (s.n > 0)
        memcpy(w->data + w->len, s.p, s.n);
    w->len += s.n;
}

void head_add_number(struct head_writer *w, uint64_t value); /* decimal */
/* "name: value\r\n", neither of which is looked at: see h1_field_allowed(). */
void head_add_field(struct head_writer *w, struct str name, struct str value);
