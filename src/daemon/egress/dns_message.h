/*
 * dns_message.h - questions of a sandbox and our answers (RFC 1035), as far as the resolver of the egress path
 * needs them: one question of class IN in, addresses or a refusal out. Pure.
 *
 * Every answer is written from scratch; nothing that another server sent gets into a sandbox but addresses and
 * times.
 */
#pragma once

#include "daemon/egress/address.h"
#include "daemon/egress/client_hello.h"

#define DNS_UDP_MAX       512  /* without EDNS */
#define DNS_EDNS_MAX      1232 /* what we say and send with it */
#define DNS_MESSAGE_MAX   4096
#define DNS_ADDRESSES_MAX 32

enum { DNS_TYPE_A = 1, DNS_TYPE_AAAA = 28 };
enum {
    DNS_OK = 0,
    DNS_FORMAT_ERROR = 1,
    DNS_SERVER_FAILURE = 2,
    DNS_NO_NAME = 3,
    DNS_NOT_IMPLEMENTED = 4,
    DNS_REFUSED = 5
};

struct dns_question {
    uint16_t id;
    uint16_t type;
    bool recursion_desired;
    bool edns;
    uint16_t udp_size; /* what the client takes: DNS_UDP_MAX to DNS_EDNS_MAX */
    struct str name;   /* normalized, in `storage`; n == 0: not a host's name (the root, or odd bytes) */
    char storage[HOST_NAME_MAX_BYTES + 1];
    uint8_t wire[256 + 4]; /* the question as it came, to be repeated in the answer */
    size_t wire_size;
};

struct dns_address {
    struct ip ip;
    uint32_t ttl;
};

/*
 * 0; or a DNS_* code to answer with, where ret->id and the question (if one could be read) are set; or -1: say
 * nothing, as it is no question.
 */
int dns_parse_question(const uint8_t *p, size_t n, struct dns_question *ret);

/*
 * The answer with the addresses of the question's type among `addresses`; those that do not fit into `max` are
 * left out and the answer is marked as truncated. Returns its size, at most `max` (at least DNS_UDP_MAX).
 */
size_t dns_write_answer(const struct dns_question *question, int code, const struct dns_address *addresses,
                        size_t count, uint8_t *out, size_t max);
