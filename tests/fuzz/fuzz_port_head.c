/*
 * fuzz_port_head.c - any bytes as what listens on a port of the sandbox: where its redirect leads is a target that
 * stays in its line, on a port.
 */
#include "agent/ports/port_head.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct str location, struct str from)
{
    struct buf target;
    unsigned port = 8000;

    buf_init(&target, PORT_TARGET_MAX);
    if (port_head_follow(location, from, &port, &target) == 0) {
        assert(port >= 1 && port <= 65535);
        assert(target.len > 0 && buf_head(&target)[0] == '/');
        for (size_t i = 0; i < target.len; i++)
            assert(buf_head(&target)[i] > 0x20 && buf_head(&target)[i] < 0x7f);
    }
    buf_free(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = { (const char *)data, size }, location = { "", 0 };
    int status = port_head_parse(bytes, &location);

    assert(status >= -1 && status <= 999);
    assert(status <= 0 || location.n == 0 || (location.p >= bytes.p && location.p + location.n <= bytes.p + size));
    if (status > 0)
        check(location, STR("/a/b?c"));
    check(bytes, STR("/"));
    return 0;
}
