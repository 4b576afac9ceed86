/*
 * utf8.c - finds long runs of bytes that need no attention and copies them whole.
 *
 * ASCII is scanned 16 bytes at a time with SSE2, which every x86-64 has, and 8 at a time in a plain register
 * elsewhere (with BERM_NO_SIMD everywhere, for the tests) and at the end of the input. A run is copied right after
 * its scan, while it is still in the first-level cache; hence the limit on its length.
 */
#include "utf8.h"

#if defined(__SSE2__) && !defined(BERM_NO_SIMD)
#include <emmintrin.h>
#endif

#define RUN_MAX             ((size_t)32 * 1024)
#define REPLACEMENT         "\xef\xbf\xbd"
#define EVERY_BYTE(b)       (UINT64_C(0x0101010101010101) * (b))
#define INLINE_PER_CONSTANT static inline __attribute__((always_inline))

INLINE_PER_CONSTANT bool is_stop(unsigned char c, enum utf8_stop stop)
{
    if (stop == UTF8_STOP_JSON)
        return c < 0x20 || c == '"' || c == '\\';
    return stop == UTF8_STOP_NUL && c == 0;
}

/*
 * Non-zero if one of the 8 bytes is a stop byte or not ASCII: subtracting k from an ASCII byte sets its top bit
 * only if the byte is below k. A borrow may blame the byte above as well, so that this tells whether, not where.
 */
INLINE_PER_CONSTANT uint64_t word_has_stop(uint64_t x, enum utf8_stop stop)
{
    uint64_t quote = x ^ EVERY_BYTE('"');
    uint64_t backslash = x ^ EVERY_BYTE('\\');
    uint64_t found = x;

    if (stop == UTF8_STOP_NUL)
        found |= (x - EVERY_BYTE(1)) & ~x;
    if (stop == UTF8_STOP_JSON)
        found |= ((x - EVERY_BYTE(0x20)) & ~x) | ((quote - EVERY_BYTE(1)) & ~quote) |
                 ((backslash - EVERY_BYTE(1)) & ~backslash);
    return found & EVERY_BYTE(0x80);
}

#if defined(__SSE2__) && !defined(BERM_NO_SIMD)
INLINE_PER_CONSTANT unsigned vector_stops(const unsigned char *p, enum utf8_stop stop)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i found = v;

    if (stop == UTF8_STOP_NUL)
        found = _mm_or_si128(found, _mm_cmpeq_epi8(v, _mm_setzero_si128()));
    if (stop == UTF8_STOP_JSON) {
        found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    }
    return (unsigned)_mm_movemask_epi8(found);
}
#endif

INLINE_PER_CONSTANT size_t ascii_run(const unsigned char *p, size_t n, enum utf8_stop stop)
{
    size_t i = 0;

#if defined(__SSE2__) && !defined(BERM_NO_SIMD)
    for (; n - i >= 16; i += 16) {
        unsigned stops = vector_stops(p + i, stop);
        if (stops)
            return i + (size_t)__builtin_ctz(stops);
    }
#endif
    for (; n - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, sizeof(word));
        if (word_has_stop(word, stop))
            break;
    }
    while (i < n && p[i] < 0x80 && !is_stop(p[i], stop))
        i++;
    return i;
}

int utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char lead = p[0];
    unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t length;

    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        return -1;
    }
    for (size_t i = 1; i < length; i++) {
        if (i == n)
            return 0;
        if (p[i] < low || p[i] > high)
            return -(int)i;
        low = 0x80;
        high = 0xbf;
    }
    return (int)length;
}

INLINE_PER_CONSTANT size_t clean_run(const unsigned char *p, size_t n, enum utf8_stop stop)
{
    size_t i = 0;

    for (;;) {
        int length = 1;
        i += ascii_run(p + i, n - i, stop);
        while (i < n && p[i] >= 0x80 && (length = utf8_sequence(p + i, n - i)) > 0)
            i += (size_t)length;
        if (i == n || length <= 0 || is_stop(p[i], stop))
            return i;
    }
}

uint32_t utf8_code_point(const unsigned char *p, int length)
{
    static const unsigned char first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t c = p[0] & first_bits[length];

    for (int i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

size_t utf8_incomplete_tail(struct str s)
{
    const unsigned char *end = (const unsigned char *)s.p + s.n;

    for (size_t k = 1; k <= MIN(s.n, (size_t)3); k++)
        if ((end[-(ptrdiff_t)k] & 0xc0) != 0x80)
            return utf8_sequence(end - k, k) == 0 ? k : 0;
    return 0;
}

size_t utf8_clean_run(const void *p, size_t n, enum utf8_stop stop)
{
    if (n == 0)
        return 0;
    if (stop == UTF8_STOP_JSON)
        return clean_run(p, n, UTF8_STOP_JSON);
    if (stop == UTF8_STOP_NUL)
        return clean_run(p, n, UTF8_STOP_NUL);
    return clean_run(p, n, UTF8_STOP_NEVER);
}

bool utf8_valid(struct str s)
{
    return utf8_clean_run(s.p, s.n, UTF8_STOP_NEVER) == s.n;
}

static void advance(struct str *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* Takes the one sequence at the front of `in`: copied, replaced, or held back if its rest has yet to come. */
static int pass_sequence(struct utf8_stream *s, struct buf *out, struct str *in)
{
    const unsigned char *p = (const unsigned char *)in->p;
    int length = utf8_sequence(p, in->n);
    size_t taken = length == 0 ? in->n : (size_t)abs(length);

    advance(in, taken);
    if (length > 0)
        return buf_append(out, p, taken);
    if (length < 0)
        return buf_append_str(out, STR(REPLACEMENT));
    memcpy(s->pending, p, taken);
    s->count = (unsigned)taken;
    return 0;
}

/*
 * Judges the bytes held back together with the first ones of `in`. The former begin a character, so at least all of
 * them are taken now, and four bytes are enough to decide.
 */
static int resume_sequence(struct utf8_stream *s, struct buf *out, struct str *in)
{
    unsigned char bytes[4];
    size_t held = s->count;
    size_t more = MIN(in->n, sizeof(bytes) - held);
    struct str joined = { (const char *)bytes, held + more };

    memcpy(bytes, s->pending, held);
    memcpy(bytes + held, in->p, more);
    s->count = 0;
    if (pass_sequence(s, out, &joined) < 0)
        return -1;
    advance(in, more - joined.n);
    return 0;
}

int utf8_pass(struct utf8_stream *s, struct buf *out, struct str in, enum utf8_stop stop,
              int (*special)(struct buf *out, unsigned char byte))
{
    if (s->count > 0 && in.n > 0 && resume_sequence(s, out, &in) < 0)
        return -1;
    while (in.n > 0) {
        size_t run = utf8_clean_run(in.p, MIN(in.n, RUN_MAX), stop);
        if (buf_append(out, in.p, run) < 0)
            return -1;
        advance(&in, run);
        if (in.n == 0)
            break;
        if (is_stop((unsigned char)*in.p, stop)) {
            if (special && special(out, (unsigned char)*in.p) < 0)
                return -1;
            advance(&in, 1);
        } else if (pass_sequence(s, out, &in) < 0) {
            return -1;
        }
    }
    return 0;
}

int utf8_stream_part(struct utf8_stream *s, struct buf *out, struct str part, bool drop_nul)
{
    return utf8_pass(s, out, part, drop_nul ? UTF8_STOP_NUL : UTF8_STOP_NEVER, NULL);
}

int utf8_stream_end(struct utf8_stream *s, struct buf *out)
{
    bool held = s->count > 0;

    s->count = 0;
    return held ? buf_append_str(out, STR(REPLACEMENT)) : 0;
}

size_t utf8_utf16_units(struct str s)
{
    size_t units = 0;

    /* Every character has one byte that is no continuation; those of four bytes take two units. */
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        units += (c & 0xc0) != 0x80;
        units += c >= 0xf0;
    }
    return units;
}

int utf8_sanitize(struct buf *out, struct str in, bool drop_nul)
{
    struct utf8_stream s = { .count = 0 };

    if (utf8_stream_part(&s, out, in, drop_nul) < 0)
        return -1;
    return utf8_stream_end(&s, out);
}
