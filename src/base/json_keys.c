/*
 * json_keys.c - duplicate keys.
 *
 * A few keys are compared with each other. Many go through a hash table; the hash is SipHash-1-3 with a key made
 * for this one object, for a client that could choose colliding keys would make the search quadratic.
 */
#include "json_keys.h"

#define FEW 12

struct slot {
    uint32_t tag;
    uint32_t number; /* of the member, from 1; 0: free */
};

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* Reads words in the byte order of the machine: the hash never leaves this function's callers. */
static uint64_t hash(struct str s, const uint64_t secret[2])
{
    uint64_t v[4] = { secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
                      secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573) };
    size_t left = s.n;
    uint64_t word;

    for (; left >= sizeof(word); left -= sizeof(word), s.p += sizeof(word)) {
        memcpy(&word, s.p, sizeof(word));
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, s.p, left);
    word ^= (uint64_t)s.n << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool few_have_duplicate(const struct json_member *members, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(members[i].key, members[j].key))
                return true;
    return false;
}

int json_keys_find_duplicate(const struct json_member *members, size_t count)
{
    _cleanup_free_ struct slot *slots = NULL;
    uint64_t secret[2];
    size_t size = 32;

    if (count <= FEW)
        return few_have_duplicate(members, count);
    if (count > UINT32_MAX / 4)
        return -1;
    while (size < 2 * count)
        size *= 2;
    slots = calloc(size, sizeof(*slots));
    if (!slots)
        return -1;
    random_bytes(secret, sizeof(secret));
    for (size_t i = 0; i < count; i++) {
        uint64_t h = hash(members[i].key, secret);
        uint32_t tag = (uint32_t)(h >> 32);
        size_t at = (size_t)h & (size - 1);

        for (; slots[at].number > 0; at = (at + 1) & (size - 1))
            if (slots[at].tag == tag && str_eq(members[slots[at].number - 1].key, members[i].key))
                return 1;
        slots[at] = (struct slot){ tag, (uint32_t)(i + 1) };
    }
    return 0;
}
