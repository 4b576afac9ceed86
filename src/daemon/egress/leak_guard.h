/*
 * leak_guard.h - finds what we have put into a request in the answer to it. Pure.
 *
 * Bytes come in pieces, and a piece may end in the middle of one of the words: what might be the beginning of a
 * word must wait until the next piece tells. A word is looked for as it is, as it stands in a URL ("%2F") and as it
 * may stand in JSON ("\/"), since servers that show what they were asked do so. One that changes it in another way
 * (another case, another encoding, compression) is not found out.
 */
#pragma once

#include "base/base.h"

#define LEAK_GUARD_WORDS_MAX 64

struct leak_word {
    char *bytes;       /* malloc'd; then `size` numbers of the Knuth-Morris-Pratt failure function */
    uint16_t *failure; /* in the same allocation */
    uint16_t size, matched;
};

struct leak_guard {
    struct leak_word *words; /* malloc'd */
    size_t count;
};

/* The value of a field: of "Bearer abc" it is the longest word that must not come back. -1: no memory, too many. */
int leak_guard_add(struct leak_guard *guard, struct str value);
/* -1: one of them is there. Else how many of the last bytes, of this and former pieces, could be its beginning. */
ssize_t leak_guard_feed(struct leak_guard *guard, struct str piece);
/* The next piece follows on nothing. */
void leak_guard_restart(struct leak_guard *guard);
/* Forgets the words, which are wiped. A zeroed guard is a valid one without words. */
void leak_guard_clear(struct leak_guard *guard);
