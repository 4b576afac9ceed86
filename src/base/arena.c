#include "arena.h"

#include <stdarg.h>
#include <stdio.h>

#define CHUNK_SIZE  4096
#define ARENA_ALIGN _Alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    _Alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){ .max = max_bytes, .chunk = CHUNK_SIZE };
}

void arena_init_in(struct arena *a, size_t max_bytes, void *room, size_t size)
{
    arena_init(a, max_bytes);
    a->room = room;
    a->chunks = room;
    *a->chunks = (struct arena_chunk){ .size = size - sizeof(struct arena_chunk) };
}

void arena_free(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks;

    while (chunk) {
        struct arena_chunk *next = chunk->next;
        if (chunk != a->room)
            free(chunk);
        chunk = next;
    }
    a->chunks = NULL;
    a->used = 0;
}

/* A big allocation gets a chunk of its own behind the first one, so that the first one's free end is not lost. */
static struct arena_chunk *add_chunk(struct arena *a, size_t n)
{
    size_t size = MAX(n, MAX(a->chunk, 2 * sizeof(struct arena_chunk)) - sizeof(struct arena_chunk));
    struct arena_chunk *chunk;

    if (n > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    chunk = malloc(sizeof(*chunk) + size);
    if (!chunk)
        return NULL;
    chunk->used = 0;
    chunk->size = size;
    if (a->chunks && size > a->chunk) {
        chunk->next = a->chunks->next;
        a->chunks->next = chunk;
    } else {
        chunk->next = a->chunks;
        a->chunks = chunk;
    }
    return chunk;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_chunk *chunk = a->chunks;
    void *p;

    if (n > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    n = (MAX(n, (size_t)1) + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (n > a->max || a->used > a->max - n)
        return NULL;
    if (!chunk || chunk->size - chunk->used < n) {
        chunk = add_chunk(a, n);
        if (!chunk)
            return NULL;
    }
    p = chunk->bytes + chunk->used;
    chunk->used += n;
    a->used += n;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;
    void *p;

    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

char *arena_concat(struct arena *a, const struct str *parts, size_t count)
{
    size_t n = 0;
    char *text, *at;

    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    at = text = arena_alloc(a, n + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    *at = '\0';
    return text;
}

char *arena_strdup(struct arena *a, struct str s)
{
    return arena_concat(a, &s, 1);
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return NULL;
    text = arena_alloc(a, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}
