/* str.c - the functions of base.h on bytes and text: comparing, copying, numbers, hexadecimal, randomness. */
#include "base.h"

#include <sys/random.h>

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool bytes_equal_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && !(s.p[i] >= '\t' && s.p[i] <= '\r'))
            return false;
    return true;
}

int str_copy(struct str s, char *out, size_t out_size)
{
    if (s.n >= out_size || (s.n > 0 && memchr(s.p, '\0', s.n)))
        return -1;
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return 0;
}

char *str_dup(struct str s)
{
    char *copy = malloc(s.n + 1);
    if (copy && str_copy(s, copy, s.n + 1) < 0) {
        free(copy);
        return NULL;
    }
    return copy;
}

int str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t value = 0;

    if (s.n == 0)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return -1;
    }
    *ret = value;
    return 0;
}

struct str u64_text(uint64_t value, char room[U64_TEXT])
{
    size_t at = U64_TEXT - 1;

    room[at] = '\0';
    do {
        room[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return (struct str){ room + at, U64_TEXT - 1 - at };
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t n)
{
    const volatile unsigned char *x = a;
    const volatile unsigned char *y = b;
    unsigned char difference = 0;

    for (size_t i = 0; i < n; i++)
        difference = (unsigned char)(difference | (x[i] ^ y[i]));
    return difference == 0;
}

void hex_encode(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int hex_decode(struct str s, void *out, size_t n)
{
    unsigned char *bytes = out;

    if (s.n != 2 * n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(s.p[2 * i]);
        int low = hex_value(s.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

void random_bytes(void *out, size_t n)
{
    char *p = out;

    while (n > 0) {
        ssize_t got = RETRY_EINTR(getrandom(p, n, 0));
        if (got <= 0)
            abort();
        p += got;
        n -= (size_t)got;
    }
}
