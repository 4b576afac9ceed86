#include "daemon/api/sse_guard.h"

void sse_guard_init(struct sse_guard *guard, size_t max_event)
{
    *guard = (struct sse_guard){ 0 };
    buf_init(&guard->held, max_event);
}

void sse_guard_free(struct sse_guard *guard)
{
    buf_free(&guard->held);
}

static bool names_the_end(const struct sse_guard *guard)
{
    struct str line = { guard->line, guard->line_length };

    return line.n <= sizeof(guard->line) && (str_is(line, "event: exit") || str_is(line, "event: error"));
}

static void scan_line(struct sse_guard *guard, struct str part)
{
    if (guard->line_length < sizeof(guard->line))
        memcpy(guard->line + guard->line_length, part.p, MIN(part.n, sizeof(guard->line) - guard->line_length));
    guard->line_length += part.n;
}

/*
 * Where in `piece` the last whole event ends (a terminal one ends the search); 0 if none does. Each byte is looked
 * at once, however small the pieces are.
 */
static size_t scan(struct sse_guard *guard, struct str piece)
{
    size_t at = 0, end = 0;

    while (at < piece.n) {
        const char *newline = memchr(piece.p + at, '\n', piece.n - at);
        size_t n = newline ? (size_t)(newline - piece.p) - at : piece.n - at;
        bool empty;

        scan_line(guard, (struct str){ piece.p + at, n });
        if (!newline)
            break;
        at += n + 1;
        empty = guard->line_length == 0;
        guard->last |= names_the_end(guard);
        guard->line_length = 0;
        if (!empty)
            continue;
        end = at; /* an empty line ends an event */
        if (guard->last) {
            guard->terminal = true;
            break;
        }
    }
    return end;
}

int sse_guard_feed(struct sse_guard *guard, struct str piece, void (*write)(void *data, struct str bytes),
                   void *data)
{
    size_t end;

    if (guard->terminal)
        return 0;
    end = scan(guard, piece);
    if (end > 0) {
        if (guard->held.len > 0)
            write(data, buf_str(&guard->held));
        buf_clear(&guard->held);
        buf_release_if_empty(&guard->held);
        write(data, (struct str){ piece.p, end });
    }
    if (guard->terminal || end == piece.n)
        return 0;
    return buf_append(&guard->held, piece.p + end, piece.n - end);
}
