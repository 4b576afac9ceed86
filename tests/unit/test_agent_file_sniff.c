/* The fallback for file(1); each answer is what file 5.44 gives for the same bytes. */
#include "agent/files/file_sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UNKNOWN "application/octet-stream"

static const struct {
    struct str bytes;
    const char *type;
} rows[] = {
    { { "", 0 }, "inode/x-empty" },
    { { "a", 1 }, UNKNOWN },
    { { "text\n", 5 }, "text/plain" },
    { { "caf\xc3\xa9\n", 6 }, "text/plain" },
    { { "caf\xe9\n", 5 }, "text/plain" },
    { { "\x1b[31mred\n", 9 }, "text/plain" },
    { { "\xff\xfe"
        "a\0",
        4 },
      "text/plain" },
    { { "\xef\xbb\xbftext", 7 }, "text/plain" },
    { { "abc\x01", 4 }, UNKNOWN },
    { { "abc\0def", 7 }, UNKNOWN },
    { { "\x80\x81\x82\x83", 4 }, UNKNOWN },
    { { "#!/bin/bash\n", 12 }, "text/x-shellscript" },
    { { "#!/usr/bin/env sh\n", 18 }, "text/x-shellscript" },
    { { "#!/usr/bin/env python3\nx", 24 }, "text/x-script.python" },
    { { "#!/usr/bin/perl\n", 16 }, "text/x-perl" },
    { { "#!/usr/bin/node\n", 16 }, "application/javascript" },
    { { "{\"a\":1}", 7 }, "application/json" },
    { { "[1,2]", 5 }, "application/json" },
    { { "{not json}", 10 }, "text/plain" },
    { { "<?xml version=\"1.0\"?>", 21 }, "text/xml" },
    { { "<!DOCTYPE html>\n", 16 }, "text/html" },
    { { "<html><body>", 12 }, "text/html" },
    { { "%PDF-1.4\n", 9 }, "application/pdf" },
    { { "\x1f\x8b\x08\0\0", 5 }, "application/gzip" },
    { { "\x89PNG\r\n\x1a\n", 8 }, "image/png" },
    { { "\x7f"
        "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\x3e\0",
        20 },
      "application/x-executable" },
    { { "\x7f"
        "ELF\1\2\1\0\0\0\0\0\0\0\0\0\0\3\0\x3e",
        20 },
      "application/x-sharedlib" },
};

static void contents_have_the_names_of_file_1(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *type = file_sniff(rows[i].bytes, true);
        if (strcmp(type, rows[i].type) != 0)
            fail_msg("row %zu: %s, not %s", i, type, rows[i].type);
    }
}

static void a_character_cut_at_the_end_is_text_only_if_there_is_more(void **state)
{
    (void)state;
    assert_string_equal(file_sniff((struct str){ "text\xe2\x82", 6 }, false), "text/plain");
    assert_string_equal(file_sniff((struct str){ "text\xe2\x82", 6 }, true), UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_have_the_names_of_file_1),
        cmocka_unit_test(a_character_cut_at_the_end_is_text_only_if_there_is_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
