#include "output.h"

#define FIRST_CHUNK ((size_t)1024)
#define LAST_CHUNK  ((size_t)1024 * 1024)

void output_free(struct output *output)
{
    struct output_chunk *chunk;

    while ((chunk = output_shift(output)))
        free(chunk);
}

struct output_chunk *output_shift(struct output *output)
{
    struct output_chunk *chunk = output->first;

    if (!chunk)
        return NULL;
    output->first = chunk->next;
    if (!output->first)
        output->last = NULL;
    output->total -= chunk->len;
    return chunk;
}

char *output_reserve(struct output *output, size_t *room)
{
    struct output_chunk *last = output->last;
    size_t size;

    if (last && last->len < last->cap) {
        *room = last->cap - last->len;
        return last->bytes + last->len;
    }
    size = last ? MIN((last->cap + sizeof(*last)) * 8, LAST_CHUNK) : FIRST_CHUNK;
    last = malloc(size);
    if (!last)
        return NULL;
    *last = (struct output_chunk){ .cap = size - sizeof(*last) };
    if (output->last)
        output->last->next = last;
    else
        output->first = last;
    output->last = last;
    *room = last->cap;
    return last->bytes;
}

void output_commit(struct output *output, size_t n)
{
    output->last->len += n;
    output->total += n;
}

int output_append(struct output *output, struct str text)
{
    while (text.n > 0) {
        size_t room;
        char *at = output_reserve(output, &room);
        if (!at)
            return -1;
        room = MIN(room, text.n);
        memcpy(at, text.p, room);
        output_commit(output, room);
        text.p += room;
        text.n -= room;
    }
    return 0;
}

static size_t remove_nuls(struct output_chunk *chunk)
{
    char *from = memchr(chunk->bytes, 0, chunk->len);
    char *end = chunk->bytes + chunk->len;
    char *to = from;
    size_t removed;

    if (!from)
        return 0;
    for (; from < end; from++)
        if (*from)
            *to++ = *from;
    removed = (size_t)(end - to);
    chunk->len -= removed;
    return removed;
}

void output_trim(struct output *output)
{
    struct output_chunk *last_filled = NULL;

    for (struct output_chunk *chunk = output->first; chunk; chunk = chunk->next) {
        output->total -= remove_nuls(chunk);
        if (chunk->len > 0)
            last_filled = chunk;
    }
    if (last_filled && last_filled->bytes[last_filled->len - 1] == '\n') {
        last_filled->len--;
        output->total--;
    }
}

int output_last_byte(const struct output *output)
{
    const struct output_chunk *last = output->last;

    return last && last->len > 0 ? (unsigned char)last->bytes[last->len - 1] : -1;
}

struct str output_take_text(struct output *output, struct arena *arena)
{
    char *text = arena_alloc(arena, output->total + 1);
    struct output_chunk *chunk;
    size_t n = 0;

    if (!text)
        return STR("");
    while ((chunk = output_shift(output))) {
        memcpy(text + n, chunk->bytes + chunk->taken, chunk->len - chunk->taken);
        n += chunk->len - chunk->taken;
        free(chunk);
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    return (struct str){ text, n };
}
