#include "daemon/egress/leak_guard.h"

static struct str longest_word(struct str value)
{
    struct str best = { value.p, 0 };

    for (size_t start = 0, i = 0; i <= value.n; i++) {
        if (i < value.n && value.p[i] != ' ' && value.p[i] != '\t')
            continue;
        if (i - start > best.n)
            best = (struct str){ value.p + start, i - start };
        start = i + 1;
    }
    return best;
}

int leak_guard_add(struct leak_guard *guard, struct str value)
{
    struct str text = longest_word(value);
    struct leak_word *word = &guard->words[guard->count];
    uint16_t length = 0;

    for (size_t i = 0; i < guard->count; i++)
        if (str_eq(text, (struct str){ guard->words[i].bytes, guard->words[i].size }))
            return 0;
    if (guard->count == LEAK_GUARD_WORDS_MAX || text.n == 0 || text.n > UINT16_MAX)
        return -1;
    word->failure = malloc(text.n * sizeof(*word->failure) + text.n);
    if (!word->failure)
        return -1;
    word->bytes = (char *)(word->failure + text.n);
    word->size = (uint16_t)text.n;
    word->matched = 0;
    memcpy(word->bytes, text.p, text.n);
    word->failure[0] = 0;
    for (size_t i = 1; i < text.n; i++) {
        while (length > 0 && text.p[i] != text.p[length])
            length = word->failure[length - 1];
        length = (uint16_t)(length + (text.p[i] == text.p[length]));
        word->failure[i] = length;
    }
    guard->count++;
    return 0;
}

static bool feed(struct leak_word *word, struct str piece)
{
    uint16_t matched = word->matched;

    for (size_t i = 0; i < piece.n; i++) {
        if (matched == 0) { /* nearly always */
            const char *next = memchr(piece.p + i, word->bytes[0], piece.n - i);

            if (!next)
                break;
            i = (size_t)(next - piece.p);
        }
        while (matched > 0 && piece.p[i] != word->bytes[matched])
            matched = word->failure[matched - 1];
        if (piece.p[i] == word->bytes[matched] && ++matched == word->size)
            return true;
    }
    word->matched = matched;
    return false;
}

ssize_t leak_guard_feed(struct leak_guard *guard, struct str piece)
{
    ssize_t held = 0;

    for (size_t i = 0; i < guard->count; i++) {
        if (feed(&guard->words[i], piece))
            return -1;
        held = MAX(held, (ssize_t)guard->words[i].matched);
    }
    return held;
}

void leak_guard_restart(struct leak_guard *guard)
{
    for (size_t i = 0; i < guard->count; i++)
        guard->words[i].matched = 0;
}

void leak_guard_clear(struct leak_guard *guard)
{
    for (size_t i = 0; i < guard->count; i++) {
        explicit_bzero(guard->words[i].bytes, guard->words[i].size);
        free(guard->words[i].failure);
    }
    guard->count = 0;
}
