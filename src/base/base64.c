/*
 * base64.c - file contents and command output travel as base64, so this has to keep up with memcpy rather than with
 * a table look-up per character: on x86 with SSSE3 (asked for at run time) 12 bytes are turned into 16 characters
 * at a time and back, by the method of W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding using AVX2
 * Instructions" (2018); the rest and all other machines take the plain way.
 */
#include "base64.h"

#if (defined(__x86_64__) || defined(__i386__)) && !defined(BERM_NO_SIMD)
#include <cpuid.h>
#include <stdatomic.h>
#include <tmmintrin.h>
#define HAVE_SSSE3_PATH 1
#define SSSE3           __attribute__((target("ssse3")))
#endif

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The vector parts take whole blocks only and return how much of the input they took. */
#ifdef HAVE_SSSE3_PATH
SSSE3 static size_t encode_blocks(const unsigned char *in, size_t n, char *out)
{
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i shifts = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                         '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    size_t done = 0;

    /* A load reads 4 bytes more than it uses. */
    for (; n - done >= 16; done += 12, out += 16) {
        __m128i v = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(in + done)), spread);
        /* Sextets 1 and 3 by multiplying high, 0 and 2 by multiplying low, which shifts each by its own distance.
         */
        __m128i high = _mm_mulhi_epu16(_mm_and_si128(v, _mm_set1_epi32(0x0fc0fc00)), _mm_set1_epi32(0x04000040));
        __m128i low = _mm_mullo_epi16(_mm_and_si128(v, _mm_set1_epi32(0x003f03f0)), _mm_set1_epi32(0x01000010));
        __m128i sextets = _mm_or_si128(high, low);
        /* 13 for A-Z, 0 for a-z, 1 to 12 for the rest: the place in `shifts` of what is to be added. */
        __m128i upper = _mm_and_si128(_mm_cmpgt_epi8(_mm_set1_epi8(26), sextets), _mm_set1_epi8(13));
        __m128i range = _mm_or_si128(_mm_subs_epu8(sextets, _mm_set1_epi8(51)), upper);
        _mm_storeu_si128((__m128i *)(void *)out, _mm_add_epi8(sextets, _mm_shuffle_epi8(shifts, range)));
    }
    return done;
}

/* Stops before the first block that holds anything but the 64 characters. */
SSSE3 static size_t decode_blocks(const unsigned char *in, size_t n, unsigned char *out)
{
    /* A character is good if the bit sets of its two nibbles have nothing in common. */
    const __m128i low_sets = _mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a,
                                           0x1b, 0x1b, 0x1b, 0x1a);
    const __m128i high_sets = _mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10,
                                            0x10, 0x10, 0x10, 0x10);
    const __m128i shifts = _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i pack = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m128i slash = _mm_set1_epi8('/'); /* whose bits also are the mask: bit 5 does no harm in a shuffle */
    size_t done = 0;

    /* A store writes 4 bytes more than it makes; the 8 characters that stay behind have room for them. */
    for (; n - done >= 24; done += 16, out += 12) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in + done));
        __m128i high = _mm_and_si128(_mm_srli_epi32(v, 4), slash);
        __m128i low = _mm_and_si128(v, slash);
        __m128i bad = _mm_and_si128(_mm_shuffle_epi8(low_sets, low), _mm_shuffle_epi8(high_sets, high));
        if (_mm_movemask_epi8(_mm_cmpgt_epi8(bad, _mm_setzero_si128())))
            break;
        /* The high nibble tells what to add, but for '/', which shares its nibble with '+': the place before it. */
        v = _mm_add_epi8(v, _mm_shuffle_epi8(shifts, _mm_add_epi8(high, _mm_cmpeq_epi8(v, slash))));
        v = _mm_madd_epi16(_mm_maddubs_epi16(v, _mm_set1_epi32(0x01400140)), _mm_set1_epi32(0x00011000));
        _mm_storeu_si128((__m128i *)(void *)out, _mm_shuffle_epi8(v, pack));
    }
    return done;
}

/*
 * Not __builtin_cpu_supports(): it brings a constructor along that asks cpuid a dozen things, and a virtual
 * machine's host answers each in 7 us. That was 0.1 ms of every agent's start, used or not.
 */
static bool have_ssse3(void)
{
    static _Atomic(int) known; /* 0: not asked yet, 1: it has, -1: it has not */
    unsigned int eax, ebx, ecx, edx;
    int have = atomic_load_explicit(&known, memory_order_relaxed);

    if (have == 0) {
        __cpuid(1, eax, ebx, ecx, edx);
        have = ecx & bit_SSSE3 ? 1 : -1;
        atomic_store_explicit(&known, have, memory_order_relaxed);
    }
    return have > 0;
}
#else
static size_t encode_blocks(const unsigned char *in, size_t n, char *out)
{
    (void)in, (void)n, (void)out;
    return 0;
}

static size_t decode_blocks(const unsigned char *in, size_t n, unsigned char *out)
{
    (void)in, (void)n, (void)out;
    return 0;
}

static bool have_ssse3(void)
{
    return false;
}
#endif

static void encode_three(uint32_t bits, char out[4])
{
    out[0] = alphabet[bits >> 18 & 63];
    out[1] = alphabet[bits >> 12 & 63];
    out[2] = alphabet[bits >> 6 & 63];
    out[3] = alphabet[bits & 63];
}

size_t base64_encode(const void *in, size_t n, char *out)
{
    const unsigned char *p = in;
    size_t i = n >= 16 && have_ssse3() ? encode_blocks(p, n, out) : 0;
    char *o = out + i / 3 * 4;

    for (; n - i >= 3; i += 3, o += 4)
        encode_three((uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2], o);
    if (n - i == 2) {
        encode_three((uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8, o);
        o[3] = '=';
        o += 4;
    } else if (n - i == 1) {
        encode_three((uint32_t)p[i] << 16, o);
        o[2] = o[3] = '=';
        o += 4;
    }
    return (size_t)(o - out);
}

int base64_append(struct buf *out, const void *in, size_t n)
{
    char *room;

    if (n == 0)
        return 0;
    if (n > SIZE_MAX / 4 * 3 - 2) {
        errno = ENOBUFS;
        return -1;
    }
    room = buf_reserve(out, BASE64_ENCODED_SIZE(n));
    if (!room)
        return -1;
    buf_commit(out, base64_encode(in, n, room));
    return 0;
}

static int sextet(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct str in, void *out, size_t *ret_n)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t i = in.n >= 24 && have_ssse3() ? decode_blocks(p, in.n, out) : 0;
    unsigned char *o = (unsigned char *)out + i / 4 * 3;
    uint32_t bits = 0;
    unsigned held = 0; /* bits not yet written: 0, 6, 4 or 2 */

    for (; i < in.n && p[i] != '='; i++) {
        int value = sextet(p[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *o++ = (unsigned char)(bits >> held);
        }
    }
    for (; i < in.n; i++)
        if (p[i] != '=' && sextet(p[i]) < 0)
            return -1;
    *ret_n = (size_t)(o - (unsigned char *)out);
    return 0;
}
