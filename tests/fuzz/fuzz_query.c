/*
 * fuzz_query.c - any bytes as the query of a request: what is found under a name is what a plain reading of the
 * text finds, lies within it, and decodes to no more than it was, without a NUL, in place as well.
 */
#include "net/h1.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Pair by pair and byte by byte. */
static bool find_plainly(struct str query, struct str name, struct str *ret)
{
    size_t at = 0;

    while (at < query.n) {
        size_t end = at, equals;
        while (end < query.n && query.p[end] != '&')
            end++;
        equals = at;
        while (equals < end && query.p[equals] != '=')
            equals++;
        if (str_eq((struct str){ query.p + at, equals - at }, name)) {
            size_t from = equals < end ? equals + 1 : end;
            *ret = (struct str){ query.p + from, end - from };
            return true;
        }
        at = end + 1;
    }
    return false;
}

static void check_decoding(struct str raw, int (*decode)(struct str in, char *out, size_t out_size))
{
    char *out = malloc(raw.n + 1), *same = malloc(raw.n + 1);
    int rc;

    assert(out && same);
    memcpy(same, raw.p, raw.n);
    rc = decode(raw, out, raw.n + 1);
    assert(decode((struct str){ same, raw.n }, same, raw.n + 1) == rc);
    if (rc >= 0) {
        assert(strlen(out) <= raw.n);
        assert(strcmp(out, same) == 0);
    }
    free(out);
    free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "session", "sessionId", "from", "path", "a", "" };
    struct str query = { (const char *)data, size };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct str value = { NULL, 0 }, expected = { NULL, 0 };
        bool found = query_get(query, names[i], &value);

        assert(found == find_plainly(query, str_from(names[i]), &expected));
        if (!found)
            continue;
        assert(value.p == expected.p && value.n == expected.n);
        check_decoding(value, percent_decode);
        check_decoding(value, query_decode);
    }
    return 0;
}
