#include "daemon/link/strikes.h"

#include "base/hash.h"
#include "daemon/egress/address.h"

/* What cannot be read is all the same address. */
static uint64_t address_of(const char *peer)
{
    const char *colon = strrchr(peer, ':');
    struct str text = { peer, colon ? (size_t)(colon - peer) : 0 };
    struct ip ip;
    uint64_t hash;

    if (text.n > 2 && text.p[0] == '[')
        text = (struct str){ text.p + 1, text.n - 2 };
    if (ip_parse(text, &ip) < 0)
        memset(&ip, 0, sizeof(ip));
    hash = hash_text((struct str){ (const char *)ip.bytes, ip_is_v4(&ip) ? sizeof(ip.bytes) : 8 });
    return hash ? hash : 1;
}

bool strikes_out(const struct strikes *strikes, const char *peer, uint64_t now_ms)
{
    uint64_t address = address_of(peer);
    const struct strike *strike = &strikes->slots[address % STRIKES_SLOTS];

    return strike->address == address && strike->count >= STRIKES_MAX && now_ms - strike->since_ms < STRIKES_FOR_MS;
}

void strikes_add(struct strikes *strikes, const char *peer, uint64_t now_ms)
{
    uint64_t address = address_of(peer);
    struct strike *strike = &strikes->slots[address % STRIKES_SLOTS];

    if (strike->address != address || now_ms - strike->since_ms >= STRIKES_FOR_MS)
        *strike = (struct strike){ .address = address, .since_ms = now_ms };
    strike->count++;
}
