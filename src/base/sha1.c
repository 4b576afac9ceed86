#include "sha1.h"

#define BLOCK 64

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_be32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* f and K of FIPS 180-4, sections 4.1.1 and 4.2.1. */
static uint32_t mix(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void add_block(uint32_t state[5], const uint8_t block[BLOCK])
{
    uint32_t w[80];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (unsigned t = 0; t < 80; t++)
        w[t] = t < 16 ? load_be32(block + 4 * t) : rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (unsigned t = 0; t < 80; t++) {
        uint32_t next = rotate(a, 5) + mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(struct str message, uint8_t ret[SHA1_SIZE])
{
    uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    uint8_t tail[2 * BLOCK] = { 0 };
    size_t whole = message.n / BLOCK * BLOCK, rest = message.n - whole;
    size_t tail_n = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)message.n * 8;

    for (size_t i = 0; i < whole; i += BLOCK)
        add_block(state, (const uint8_t *)message.p + i);
    if (rest > 0)
        memcpy(tail, message.p + whole, rest);
    tail[rest] = 0x80;
    store_be32(tail + tail_n - 8, (uint32_t)(bits >> 32));
    store_be32(tail + tail_n - 4, (uint32_t)bits);
    for (size_t i = 0; i < tail_n; i += BLOCK)
        add_block(state, tail + i);
    for (int i = 0; i < 5; i++)
        store_be32(ret + (size_t)4 * i, state[i]);
}
