/* fuzz_file_sniff.c - any bytes as the beginning of a file. */
#include "agent/files/file_sniff.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = { (const char *)data, size };

    assert(strchr(file_sniff(bytes, true), '/'));
    assert(strchr(file_sniff(bytes, false), '/'));
    return 0;
}
