/* fuzz_h1_request.c - any bytes as a sequence of requests with bodies. */
#include "fuzz_h1.h"

static ssize_t parse(const char *p, size_t n, struct h1_head *ret)
{
    return h1_parse_request(p, n, &limits, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_messages(parse, (const char *)data, size);
    return 0;
}
