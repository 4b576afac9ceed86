/*
 * h1_tool_io.h - how the programs behind h1.test.mjs are asked and answer; needs libc only.
 *
 * In: cases, each a little-endian 32-bit length, then that many bytes, the first of which says what the rest is:
 *   q  requests      r  responses to GET      h  responses to HEAD
 * Out, per case: a line per event, all bytes as hexadecimal digits, then an empty line:
 *   m METHOD TARGET  or  s STATUS      a head was accepted
 *   f NAME VALUE                       each of its fields, white space around the value removed
 *   b BYTES                            content of the body
 *   c                                  the message is complete
 *   end refused REASON | end more | end closed | end upgrade
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Each program's own. */
static void run_case(char kind, const char *p, size_t n);

static void print_hex(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", (unsigned char)p[i]);
}

static void print_pair(const char *what, const char *a, size_t a_len, const char *b, size_t b_len)
{
    printf("%s ", what);
    print_hex(a, a_len);
    putchar(' ');
    print_hex(b, b_len);
    putchar('\n');
}

static int run_cases(void)
{
    uint8_t length[4];

    while (fread(length, 1, sizeof(length), stdin) == sizeof(length)) {
        size_t n = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
        char *bytes = malloc(n);
        if (n == 0 || !bytes || fread(bytes, 1, n, stdin) != n)
            return 1;
        run_case(bytes[0], bytes + 1, n - 1);
        putchar('\n');
        free(bytes);
    }
    return 0;
}
