#include "glob.h"

#include "base/utf8.h"

#define WORDS (GLOB_PATTERN_MAX / 64 + 1)

/*
 * The places in the pattern where the match may stand: bit i is "everything before byte i has been matched". Places
 * are visited in ascending order, and a star only ever adds later ones, so one pass closes the set.
 */
struct places {
    uint64_t bits[WORDS];
};

const char *glob_problem(struct str pattern)
{
    if (is_blank(pattern))
        return "must not be blank";
    if (pattern.n > GLOB_PATTERN_MAX)
        return "must not be longer than 4096 bytes";
    for (size_t i = 0; i < pattern.n; i++)
        if (pattern.p[i] == 0 || strchr("[]{}", pattern.p[i]))
            return "uses syntax that is not supported: only *, ** and ? are";
    return NULL;
}

static size_t character_length(struct str text, size_t at)
{
    int n = utf8_sequence((const unsigned char *)text.p + at, text.n - at);

    return n > 0 ? (size_t)n : 1;
}

static void add(struct places *set, size_t at)
{
    set->bits[at / 64] |= (uint64_t)1 << (at % 64);
}

/* The run of stars at `at`; more than two are two. */
static size_t stars_at(struct str pattern, size_t at)
{
    size_t n = 0;

    while (at + n < pattern.n && pattern.p[at + n] == '*')
        n++;
    return n;
}

/* Where the match may stand after the character [c, c + n) of the path, when it stands at `at` before it. */
static void step_one(struct str pattern, size_t at, const char *c, size_t n, struct places *next)
{
    size_t stars = stars_at(pattern, at);
    size_t length;

    if (stars > 0) {
        if (stars > 1 || *c != '/')
            add(next, at);
        return;
    }
    length = character_length(pattern, at);
    if (pattern.p[at] == '?' ? *c != '/' : length == n && memcmp(pattern.p + at, c, n) == 0)
        add(next, at + length);
}

/* Stars may match nothing. True if the whole pattern has been matched. */
static bool close_over_stars(struct str pattern, struct places *set)
{
    for (size_t word = 0; word <= pattern.n / 64; word++) {
        uint64_t left = set->bits[word];
        while (left) {
            size_t at = word * 64 + (size_t)__builtin_ctzll(left);
            size_t stars = stars_at(pattern, at);
            left &= left - 1;
            if (stars > 0)
                add(set, at + stars);
            /* What was added in this word is later than `at`. */
            left |= set->bits[word] & ~((((uint64_t)1 << (at % 64)) << 1) - 1);
        }
    }
    return set->bits[pattern.n / 64] >> (pattern.n % 64) & 1;
}

static void step(struct str pattern, const struct places *now, const char *c, size_t n, struct places *next)
{
    memset(next->bits, 0, (pattern.n / 64 + 1) * sizeof(next->bits[0]));
    for (size_t word = 0; word <= pattern.n / 64; word++) {
        for (uint64_t left = now->bits[word]; left; left &= left - 1) {
            size_t at = word * 64 + (size_t)__builtin_ctzll(left);
            if (at < pattern.n)
                step_one(pattern, at, c, n, next);
        }
    }
}

bool glob_matches(struct str pattern, struct str path)
{
    struct places sets[2] = { 0 };
    unsigned now = 0;

    for (size_t i = 0;;) {
        bool whole, at_end = i == path.n;
        size_t n;
        if (i == 0 || path.p[i - 1] == '/')
            add(&sets[now], 0);
        whole = close_over_stars(pattern, &sets[now]);
        if (whole && (at_end || path.p[i] == '/'))
            return true;
        if (at_end)
            return false;
        n = character_length(path, i);
        step(pattern, &sets[now], path.p + i, n, &sets[!now]);
        now = !now;
        i += n;
    }
}
