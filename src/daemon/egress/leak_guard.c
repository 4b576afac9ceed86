#include "daemon/egress/leak_guard.h"

#define WIDEST 3 /* bytes that one byte of a word becomes, at most */

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

static bool is_there(const struct leak_guard *guard, struct str text)
{
    for (size_t i = 0; i < guard->count; i++)
        if (str_eq(text, (struct str){ guard->words[i].bytes, guard->words[i].size }))
            return true;
    return false;
}

static struct leak_word *new_word(struct leak_guard *guard)
{
    struct leak_word *words =
        guard->count < LEAK_GUARD_WORDS_MAX ? reallocarray(guard->words, guard->count + 1, sizeof(*words)) : NULL;

    if (!words)
        return NULL;
    guard->words = words;
    return &words[guard->count];
}

static int add(struct leak_guard *guard, struct str text)
{
    struct leak_word *word;
    uint16_t length = 0;

    if (is_there(guard, text))
        return 0;
    if (text.n > UINT16_MAX || !(word = new_word(guard)))
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

/* --- as others write it --- */

static size_t in_url(char c, const char *digits, char *out)
{
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);

    out[0] = plain ? c : '%';
    out[1] = digits[(unsigned char)c >> 4];
    out[2] = digits[c & 15];
    return plain ? 1 : 3;
}

static size_t in_upper_url(char c, char *out)
{
    return in_url(c, "0123456789ABCDEF", out);
}

static size_t in_lower_url(char c, char *out)
{
    return in_url(c, "0123456789abcdef", out);
}

static size_t in_json(char c, char *out)
{
    bool plain = c != '/' && c != '"' && c != '\\';

    out[0] = plain ? c : '\\';
    out[1] = c;
    return plain ? 1 : 2;
}

static int add_written(struct leak_guard *guard, struct str text, size_t (*write)(char c, char *out))
{
    char *written = malloc(WIDEST * text.n);
    size_t n = 0;
    int rc;

    if (!written)
        return -1;
    for (size_t i = 0; i < text.n; i++)
        n += write(text.p[i], written + n);
    rc = add(guard, (struct str){ written, n });
    explicit_bzero(written, WIDEST * text.n);
    free(written);
    return rc;
}

int leak_guard_add(struct leak_guard *guard, struct str value)
{
    struct str text = longest_word(value);

    if (text.n == 0)
        return -1;
    if (add(guard, text) < 0 || add_written(guard, text, in_upper_url) < 0 ||
        add_written(guard, text, in_lower_url) < 0)
        return -1;
    return add_written(guard, text, in_json);
}

/* --- looking --- */

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
    free(guard->words);
    guard->words = NULL;
    guard->count = 0;
}
