/* fuzz_glob.c - a pattern and a path, held against the obvious matcher that tries every possibility (with a memory
 * of where it has been). Input: pattern, NUL, path. */
#include "agent/watch/glob.h"
#include "base/utf8.h"

#include <assert.h>

#define SIZE_LIMIT 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str pattern, path;
static uint8_t failed[SIZE_LIMIT + 1][SIZE_LIMIT + 1];

static size_t character(struct str text, size_t at)
{
    int n = utf8_sequence((const unsigned char *)text.p + at, text.n - at);

    return n > 0 ? (size_t)n : 1;
}

static bool try(size_t i, size_t j)
{
    bool is = false;

    if (i == pattern.n)
        return j == path.n || path.p[j] == '/';
    if (failed[i][j])
        return false;
    if (pattern.p[i] == '*') {
        bool two = i + 1 < pattern.n && pattern.p[i + 1] == '*';
        is = try(i + 1, j) || (j < path.n && (two || path.p[j] != '/') && try(i, j + character(path, j)));
    } else if (j < path.n) {
        size_t n = character(pattern, i), m = character(path, j);
        if (pattern.p[i] == '?' ? path.p[j] != '/' : n == m && memcmp(pattern.p + i, path.p + j, n) == 0)
            is = try(i + n, j + m);
    }
    failed[i][j] = !is;
    return is;
}

static bool matches(void)
{
    memset(failed, 0, sizeof(failed));
    for (size_t j = 0; j <= path.n; j += j < path.n ? character(path, j) : 1)
        if ((j == 0 || path.p[j - 1] == '/') && try(0, j))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;

    if (!end)
        return 0;
    pattern = (struct str){ (const char *)data, (size_t)(end - data) };
    path = (struct str){ (const char *)end + 1, size - pattern.n - 1 };
    if (glob_problem(pattern))
        return 0;
    if (pattern.n <= SIZE_LIMIT && path.n <= SIZE_LIMIT)
        assert(glob_matches(pattern, path) == matches());
    else
        (void)glob_matches(pattern, path);
    return 0;
}
