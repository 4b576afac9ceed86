/* fuzz_dns_message.c - any bytes as a question; its answer fits and repeats it. */
#include "daemon/egress/dns_message.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[DNS_MESSAGE_MAX];
    struct dns_address addresses[DNS_ADDRESSES_MAX] = { 0 };
    struct dns_question q;
    int code = dns_parse_question(data, size, &q);
    size_t n;

    if (code < 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
        addresses[i].ip = ip_from_v4((uint8_t[]){ 1, 2, 3, (uint8_t)i });
    n = dns_write_answer(&q, code, addresses, code ? 0 : ARRAY_SIZE(addresses), out, q.udp_size);
    assert(n >= 12 && n <= q.udp_size);
    assert(out[0] == data[0] && out[1] == data[1] && (out[2] & 0x80));
    assert(memcmp(out + 12, q.wire, q.wire_size) == 0);
    return 0;
}
