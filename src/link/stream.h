/*
 * stream.h - what the core does with its streams; the transports' part of them is in transport.h.
 *
 * Theory of operation: `out` is from bermd's socket to the network, `in` the other way. Each ends by itself: `out`
 * when bermd has shut its side, which the transport then tells (`out_ended` until `fin_sent`), `in` when the far
 * side's end has come and bermd was told (`in_ended`, then `in_shut`). When bermd takes nothing more while the far
 * side still sends, `in` is dropped (`in_dead`), and once all of bermd's own is sent the far side is asked to stop.
 *
 * A stream is `attached` while the transport may use its pointer. It goes when it is not and `in` is through.
 */
#pragma once

#include "link/blocks.h"
#include "link/transport.h"

struct stream {
    struct link *link;
    struct stream *prev, *next;
    void *transport; /* the transport's own part of it */
    int64_t id;      /* -1: none yet */
    struct loop_io io;
    int fd;              /* towards bermd; -1 while it waits */
    struct list waiting; /* giving.h */
    bool unanswered;     /* bermd has it, and its opener nothing of an answer yet */
    struct blocks out, in;
    bool attached;
    bool out_ended, fin_sent;
    bool in_ended, in_shut, in_dead;
    bool hung_up; /* bermd has closed its end, nothing more is to be learnt from the socket */
    bool stopping;
    bool broken; /* our resources: it cannot go on */
    struct loop_deferred settling;
};

/* Takes the descriptor, if there is one yet. NULL: no memory, or more than LINK_STREAMS_MAX. */
struct stream *stream_new(struct link *link, int fd);
/* Begins to read from bermd, once the transport knows it. */
void stream_start(struct stream *stream);
/* Both directions at once, for whoever is at either end. */
void stream_give_up(struct stream *stream);
/* With its socket; the transport does not know it, or is told before. */
void stream_free(struct stream *stream);
