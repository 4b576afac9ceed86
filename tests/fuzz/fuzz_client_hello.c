/* fuzz_client_hello.c - any bytes as the beginning of a TLS connection. */
#include "daemon/egress/client_hello.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char storage[HOST_NAME_MAX_BYTES + 1], again[HOST_NAME_MAX_BYTES + 1];
    struct str name, shorter, same;
    ssize_t n = client_hello_parse((const char *)data, size, storage, &name);

    assert(n <= (ssize_t)size);
    if (n <= 0) {
        assert(name.n == 0 || n < 0);
        return 0;
    }
    /* More bytes change nothing, fewer are not enough, and the name is one. */
    for (size_t cut = 0; cut < (size_t)n; cut += 1 + cut / 8)
        assert(client_hello_parse((const char *)data, cut, again, &shorter) == 0);
    assert(client_hello_parse((const char *)data, (size_t)n, again, &same) == n && str_eq(name, same));
    if (name.n > 0) {
        struct str normal;
        assert(host_name_normalize(name, again, &normal) == 0 && str_eq(name, normal));
    }
    return 0;
}
