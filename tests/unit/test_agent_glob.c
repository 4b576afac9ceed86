/* The patterns of file watches. */
#include "agent/watch/glob.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct row {
    const char *pattern, *path;
    bool matches;
};

static const struct row rows[] = {
    /* whole components, at any depth */
    { "node_modules", "/workspace/node_modules", true },
    { "node_modules", "/workspace/a/node_modules/b/c.js", true },
    { "node_modules", "/workspace/node_modules2", false },
    { "node_modules", "/workspace/my_node_modules", false },
    { ".git", "/workspace/.git/HEAD", true },
    { ".git", "/workspace/.gitignore", false },
    { ".git", "/workspace/xgit", false },
    { "workspace", "/workspace/a", true },
    { "a/b", "/workspace/a/b", true },
    { "a/b", "/workspace/a/b/c", true },
    { "a/b", "/workspace/xa/b", false },
    { "/workspace/a", "/workspace/a/b", true },
    { "/a", "/workspace/a", false },
    { "/a", "/workspace//a", true },
    /* "*" stays within a component */
    { "*.ts", "/workspace/a/b.ts", true },
    { "*.ts", "/workspace/b.ts/c", true },
    { "*.ts", "/workspace/b.tsx", false },
    { "*.ts", "/workspace/.ts", true },
    { "a*c", "/w/abc", true },
    { "a*c", "/w/ac", true },
    { "a*c", "/w/ab/c", false },
    { "a*b*c", "/w/a-b-b-c", true },
    { "a*b*c", "/w/a-c-b", false },
    { "src/*/x", "/w/src/a/x", true },
    { "src/*/x", "/w/src/a/b/x", false },
    { "*", "/w", true },
    /* "**" does not */
    { "sub/**", "/w/sub/a", true },
    { "sub/**", "/w/sub/a/b/c", true },
    { "sub/**", "/w/sub", false },
    { "sub/**", "/w/sub/", true },
    { "**/x", "/w/a/b/x", true },
    { "**/x", "x", false },
    { "a/**/b", "/w/a/x/y/b", true },
    { "a/**/b", "/w/a/b", false },
    { "a**b", "/w/a/x/b", true },
    { "***", "/w", true },
    { "a***b", "/w/a/b", true },
    /* "?" is one character */
    { "?.txt", "/w/a.txt", true },
    { "?.txt", "/w/ab.txt", false },
    { "a?b", "/w/a/b", false },
    { "?", "/w\xc3\xbc/ab", false },
    { "?", "/\xc3\xbc/ab", true },
    { "??", "/\xff\xfe/abc", true },
    { "?", "/\xff\xfe/abc", false },
    /* everything else is meant literally */
    { "a.c", "/w/abc", false },
    { "a|b", "/w/a|b", true },
    { "a|b", "/w/a", false },
    { "(a)+$", "/w/(a)+$", true },
    { "a\\*", "/w/a\\xyz", true },
    { "\xc3\xbc*", "/w/\xc3\xbcml", true },
    { "a\nb", "/w/a\nb", true },
    { " ", "/w/ ", true },
};

static void patterns_match_as_the_reference_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (glob_matches(str_from(rows[i].pattern), str_from(rows[i].path)) != rows[i].matches)
            fail_msg("'%s' on '%s'", rows[i].pattern, rows[i].path);
}

static void unsupported_patterns_are_told(void **state)
{
    static const char *const bad[] = { "", " ", "\t\n", "[ab]", "a]", "{a", "b}" };
    char big[GLOB_PATTERN_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_non_null(glob_problem(str_from(bad[i])));
    assert_non_null(glob_problem((struct str){ "a\0b", 3 }));
    memset(big, 'a', sizeof(big));
    assert_non_null(glob_problem((struct str){ big, sizeof(big) }));
    assert_null(glob_problem((struct str){ big, GLOB_PATTERN_MAX }));
    assert_null(glob_problem(STR("**/*.t?")));
    assert_true(glob_matches((struct str){ big, GLOB_PATTERN_MAX }, (struct str){ big, GLOB_PATTERN_MAX }));
}

/* What takes a backtracking matcher exponential time. */
static void the_worst_pattern_takes_a_bounded_time(void **state)
{
    char pattern[GLOB_PATTERN_MAX], path[4096];
    uint64_t from = clock_monotonic_ns();

    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = i % 2 ? 'a' : '*';
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = 'b';
    assert_false(glob_matches((struct str){ pattern, sizeof(pattern) }, (struct str){ path, sizeof(path) }));
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = i % 3 < 2 ? '*' : 'a';
    assert_false(glob_matches((struct str){ pattern, sizeof(pattern) - 1 }, (struct str){ path, sizeof(path) }));
    assert_true(clock_monotonic_ns() - from < 60000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_the_reference_says),
        cmocka_unit_test(unsupported_patterns_are_told),
        cmocka_unit_test(the_worst_pattern_takes_a_bounded_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
