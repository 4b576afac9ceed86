/*
 * strikes.h - addresses that came with a wrong key: after a few within a minute they are not asked any more. Pure,
 * but for the clock that it is given. A table of fixed size: who has many addresses makes others be forgotten,
 * which costs us a question each and no more.
 */
#pragma once

#include "base/base.h"

#define STRIKES_MAX    5
#define STRIKES_FOR_MS 60000
#define STRIKES_SLOTS  256

struct strike {
    uint64_t address; /* a hash; 0: free */
    uint64_t since_ms;
    unsigned count;
};

struct strikes {
    struct strike slots[STRIKES_SLOTS];
};

/* `peer` is "192.0.2.1:4711" or "[2001:db8::1]:4711": the port does not count, and of IPv6 the first 64 bits do. */
bool strikes_out(const struct strikes *strikes, const char *peer, uint64_t now_ms);
void strikes_add(struct strikes *strikes, const char *peer, uint64_t now_ms);
