/*
 * fuzz_leak_guard.c - a word in a stream that comes in pieces: it is found if it is there, and, if there is one way
 * only to write it, exactly then; and what was let go before never ends in more than nothing of it. Input: the word
 * up to the first NUL, then pieces, each with its length.
 */
#include "daemon/egress/leak_guard.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    struct leak_guard guard = { 0 };
    struct str word = { (const char *)data, end ? (size_t)(end - data) : 0 };
    char *stream;
    size_t n = 0;

    if (!end || word.n == 0 || memchr(word.p, ' ', word.n) || memchr(word.p, '\t', word.n) ||
        leak_guard_add(&guard, word) < 0)
        return 0;
    stream = malloc(size);
    for (size_t at = word.n + 1; at < size;) {
        size_t length = MIN((size_t)data[at], size - at - 1);
        ssize_t held;
        char *found;

        memcpy(stream + n, data + at + 1, length);
        held = leak_guard_feed(&guard, (struct str){ stream + n, length });
        n += length;
        at += length + 1;
        found = memmem(stream, n, word.p, word.n);
        assert(held < 0 || !found);
        assert(held >= 0 || found || guard.count > 1);
        if (held < 0 || (guard.count > 1 && (size_t)held >= word.n))
            break;
        assert((size_t)held < word.n && (size_t)held <= n);
        assert(guard.count > 1 || memcmp(stream + n - held, word.p, (size_t)held) == 0);
        for (size_t more = (size_t)held + 1; more < word.n && more <= n; more++)
            assert(memcmp(stream + n - more, word.p, more) != 0);
    }
    free(stream);
    leak_guard_clear(&guard);
    return 0;
}
