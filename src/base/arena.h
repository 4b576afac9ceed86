/*
 * arena.h - memory that is freed all at once: what belongs to one request lives in one arena.
 */
#pragma once

#include "base.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t used;
    size_t max;
    size_t chunk; /* bytes of memory taken at a time; 4096 after arena_init(), smaller for the many and small */
    void *room;   /* the owner's memory, which was the first chunk; or NULL */
};

void arena_init(struct arena *a, size_t max_bytes);
/* The same, beginning with `room` (aligned for any type), which the arena borrows. */
void arena_init_in(struct arena *a, size_t max_bytes, void *room, size_t size);
void arena_free(struct arena *a); /* idempotent */

/* Aligned for any type, not zeroed. NULL past the limit or without memory. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_calloc(struct arena *a, size_t count, size_t size);

/* NUL-terminated copies. */
char *arena_strdup(struct arena *a, struct str s);
/* arena_join(a, STR("http://"), host): the parts, one behind the other. */
char *arena_concat(struct arena *a, const struct str *parts, size_t count);
#define arena_join(a, ...)                                                                                         \
    arena_concat((a), (const struct str[]){ __VA_ARGS__ }, ARRAY_SIZE(((const struct str[]){ __VA_ARGS__ })))
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
