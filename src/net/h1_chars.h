/* h1_chars.h - character classes of RFC 9110 and RFC 3986, private to src/net. */
#pragma once

#include "base/base.h"

enum {
    H1_TOKEN = 1 << 0,  /* tchar */
    H1_VALUE = 1 << 1,  /* field-value: HTAB, SP, VCHAR, obs-text */
    H1_TARGET = 1 << 2, /* a request target: VCHAR without '"', '#', '<', '>' */
    H1_HOST = 1 << 3    /* a registered name or IPv4 address, without the sub-delims that RFC 3986 would allow */
};

extern const uint8_t h1_chars[256];

static inline bool h1_is(char c, unsigned classes)
{
    return (h1_chars[(uint8_t)c] & classes) != 0;
}

/* True if every byte of `s` is in the class; true for an empty `s`. */
static inline bool h1_all(struct str s, unsigned classes)
{
    for (size_t i = 0; i < s.n; i++)
        if (!h1_is(s.p[i], classes))
            return false;
    return true;
}

static inline bool h1_is_token(struct str s)
{
    return s.n > 0 && h1_all(s, H1_TOKEN);
}

static inline bool h1_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit, or -1. */
static inline int h1_hex(char c)
{
    if (h1_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* May this field be written by a caller? Not if it is malformed, nor if it would frame the message a second way. */
bool h1_field_allowed(struct str name, struct str value);
