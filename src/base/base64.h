/* base64.h - standard alphabet, padded, no line breaks (RFC 4648 section 4). */
#pragma once

#include "buf.h"

/* Bytes that `n` bytes encode to. */
#define BASE64_ENCODED_SIZE(n) ((((n) + 2) / 3) * 4)

/* `out` must hold BASE64_ENCODED_SIZE(n); no NUL is written. Returns the length. */
size_t base64_encode(const void *in, size_t n, char *out);
int base64_append(struct buf *out, const void *in, size_t n);

/*
 * Lenient about padding as upstream's decoder is: it may be missing, and the first '=' ends the data, though what
 * follows must still be of the alphabet or '='. Bits that make no whole byte are dropped. Anything else outside the
 * alphabet, white space too, is refused. `out` must hold n / 4 * 3 + 3. Returns 0 and the length, or -1.
 * `out` may be `in.p` itself, if the text and one byte behind it may be overwritten.
 */
int base64_decode(struct str in, void *out, size_t *ret_n);
