/* fuzz_h1_response.c - any bytes as a sequence of responses; the first byte says what to. */
#include "fuzz_h1.h"

static struct str method;

static ssize_t parse(const char *p, size_t n, struct h1_head *ret)
{
    ssize_t rc = h1_parse_response(p, n, &limits, method, ret);

    if (rc > 0)
        assert(ret->status >= 100 && ret->status <= 599);
    if (rc > 0 && (ret->status < 200 || ret->status == 204 || ret->status == 304 || str_is(method, "HEAD")))
        assert(ret->framing == H1_NO_BODY);
    assert(rc >= -502);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = { "GET", "HEAD", "CONNECT", "POST" };

    if (size == 0)
        return 0;
    method = str_from(methods[data[0] % ARRAY_SIZE(methods)]);
    check_messages(parse, (const char *)data + 1, size - 1);
    return 0;
}
