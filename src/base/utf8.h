/*
 * utf8.h - well-formed UTF-8 (Unicode table 3-7: no overlongs, no surrogates, nothing past U+10FFFF).
 *
 * What is not well-formed is replaced as WHATWG decoders do it: one U+FFFD per maximal subpart, that is per longest
 * run of bytes that begins a valid character, or per single byte where none does.
 */
#pragma once

#include "buf.h"

bool utf8_valid(struct str s);
/* The length of well-formed text as JavaScript counts it. */
size_t utf8_utf16_units(struct str s);

/*
 * Appends `in` to `out` with each maximal ill-formed part replaced by U+FFFD. `drop_nul` removes NUL bytes. 0, or
 * -1 as buf_append(), with what fitted appended; this holds for all functions here that take a buffer.
 */
int utf8_sanitize(struct buf *out, struct str in, bool drop_nul);

/*
 * The same for text that arrives in pieces which may split a character: zero-initialised at the start, holds back
 * up to three bytes between pieces. utf8_stream_end() turns what is still held back into U+FFFD and resets.
 */
struct utf8_stream {
    unsigned char pending[3];
    unsigned count;
};

int utf8_stream_part(struct utf8_stream *s, struct buf *out, struct str part, bool drop_nul);
int utf8_stream_end(struct utf8_stream *s, struct buf *out);

/* --- what JSON and the functions above are built from --- */

/*
 * Judges the sequence at `p` (n >= 1): its length if it is well-formed, minus the length of the maximal subpart if
 * it is not, 0 if all `n` bytes are the beginning of a character whose rest is missing.
 */
int utf8_sequence(const unsigned char *p, size_t n);

/* The character at `p`, whose well-formed sequence is `length` bytes long. */
uint32_t utf8_code_point(const unsigned char *p, int length);

/* How many bytes at the end, at most three, are the beginning of a character whose rest is missing. */
size_t utf8_incomplete_tail(struct str s);

enum utf8_stop {
    UTF8_STOP_NEVER,
    UTF8_STOP_NUL,
    UTF8_STOP_JSON /* '"', '\\' and everything below 0x20 */
};

/* Length of the longest prefix that is well-formed and holds no byte of the class `stop`. */
size_t utf8_clean_run(const void *p, size_t n, enum utf8_stop stop);

/* Copies `in` as utf8_stream_part() does; each byte of the class `stop` is given to `special`, or dropped if NULL.
 */
int utf8_pass(struct utf8_stream *s, struct buf *out, struct str in, enum utf8_stop stop,
              int (*special)(struct buf *out, unsigned char byte));
