/* fuzz_h1_connect.c - any bytes as the head of a CONNECT: what is taken names a host and a port and has no body. */
#include "net/h1.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h1_limits limits = { .max_head = 8192, .max_headers = 64 };
    struct h1_head head, other;
    ssize_t n = h1_parse_connect((const char *)data, size, &limits, &head);

    if (n <= 0)
        return 0;
    assert((size_t)n <= size && str_is(head.method, "CONNECT") && head.framing == H1_NO_BODY);
    assert(head.target.n >= 3 && memchr(head.target.p, ':', head.target.n));
    assert(h1_parse_request((const char *)data, size, &limits, &other) < 0);
    return 0;
}
