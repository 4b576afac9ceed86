/*
 * sink.h - where the output of a command goes, independent of where it comes from (the pipes of a process or the
 * FIFOs of a session's shell): the reader asks for room, reads straight into it and says how much came.
 */
#pragma once

#include "base/base.h"

enum { STREAM_STDOUT, STREAM_STDERR, STREAM_COUNT };

struct sink {
    /*
     * Room to read into, *room bytes. NULL: not now, and the sink's owner will resume the reader later. With
     * `final` the reader has only what is left in a pipe and nobody will resume it: room must be given.
     */
    char *(*reserve)(struct sink *sink, int stream, size_t *room, bool final);
    /* `n` > 0 bytes were read into the room. */
    void (*commit)(struct sink *sink, int stream, size_t n);
};

/* A shared place to read bytes that are passed on or dropped before the next read. */
#define SCRATCH_SIZE ((size_t)64 * 1024)
extern char scratch[SCRATCH_SIZE];
