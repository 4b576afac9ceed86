/*
 * output.h - the collected output of one command: a bounded list of chunks that is read into without copying, and
 * given back piece by piece while the answer is written, so that 50 MB of output cost 50 MB once.
 */
#pragma once

#include "agent/child/sink.h"
#include "base/arena.h"

struct output_chunk {
    struct output_chunk *next;
    size_t len, cap;
    size_t taken; /* of the first chunk: bytes that its reader is through with */
    char bytes[];
};

struct output {
    struct output_chunk *first, *last;
    size_t total;
};

void output_free(struct output *output); /* idempotent */

/* Room at the end, *room bytes; NULL without memory. */
char *output_reserve(struct output *output, size_t *room);
void output_commit(struct output *output, size_t n);
/* 0, or -1 without memory. */
int output_append(struct output *output, struct str text);

/* How session commands are shown: NUL bytes removed, then one newline at the end, if there is one. */
void output_trim(struct output *output);

/* Takes the first chunk out, or NULL. The caller frees it. */
struct output_chunk *output_shift(struct output *output);

/* Takes everything out as one text in the arena, without newlines and blanks at its end; "" without memory. */
struct str output_take_text(struct output *output, struct arena *arena);

/* The last byte, or -1. */
int output_last_byte(const struct output *output);
