/* The pure parts of git/checkout. */
#include "agent/git/git_url.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void any_url_is_fine_but_empty_long_or_nul(void **state)
{
    static const char *const good[] = {
        "https://github.com/a/b.git", "git@host:a/b", "file:///srv/x", "/srv/x", "-x", "ssh://h/x", "x", "ext::sh"
    };
    char big[GIT_URL_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_null(git_url_problem(str_from(good[i])));
    assert_non_null(git_url_problem(STR("")));
    assert_non_null(git_url_problem(STR(" \t\n")));
    assert_non_null(git_url_problem((struct str){ "a\0b", 3 }));
    memset(big, 'a', sizeof(big));
    assert_null(git_url_problem((struct str){ big, GIT_URL_MAX }));
    assert_non_null(git_url_problem((struct str){ big, sizeof(big) }));
}

static void a_clone_is_named_after_the_last_part_of_the_url(void **state)
{
    static const char *const rows[][2] = {
        { "https://github.com/user/repo.git", "repo" },
        { "https://github.com/user/repo", "repo" },
        { "https://github.com/user/repo.git?x=/y#/z", "repo" },
        { "https://user:p@ss/word@host/a/b.git", "b" },
        { "https://github.com/user/repo/", "repo" },
        { "https://github.com/user/repo.git/", "repo" },
        { "https://github.com", "github.com" },
        { "https://github.com/", "github.com" },
        { "git@host:user/repo.git", "repo" },
        { "host:repo.git", "repo" },
        { "file:///srv/git/x.git", "x" },
        { "/srv/git/y.git", "y" },
        { "../z", "z" },
        { "..", "repository" },
        { "https://h/a/..", "repository" },
        { "https://h/a/.git", "repository" },
        { "https://h/.git.git", ".git" },
        { "://x/y", "y" },
        { "///", "repository" },
        { "::", "repository" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct str name = git_url_name(str_from(rows[i][0]));
        if (!str_is(name, rows[i][1]))
            fail_msg("%s -> %.*s", rows[i][0], (int)name.n, name.p);
    }
}

static void failures_are_classified_as_the_table_says(void **state)
{
    static const struct {
        int exit_code;
        const char *text;
        enum agent_code code;
    } rows[] = {
        { 124, "fatal: repository not found", AGENT_E_GIT_NETWORK_ERROR },
        { 128, "fatal: not a git repository", AGENT_E_GIT_OPERATION_FAILED },
        { 128, "not a git repository; repository not found", AGENT_E_GIT_OPERATION_FAILED },
        { 128, "ERROR: Repository Not Found.", AGENT_E_GIT_REPOSITORY_NOT_FOUND },
        { 128, "fatal: repository 'https://x/' not found", AGENT_E_GIT_OPERATION_FAILED },
        { 128, "Authentication failed", AGENT_E_GIT_OPERATION_FAILED },
        { 128, "Permission denied (publickey)", AGENT_E_GIT_OPERATION_FAILED },
        { 1, "Permission denied", AGENT_E_GIT_AUTH_FAILED },
        { 1, "Access Denied: not found", AGENT_E_GIT_AUTH_FAILED },
        { 1, "it does not exist", AGENT_E_GIT_REPOSITORY_NOT_FOUND },
        { 127, "git: command not found", AGENT_E_GIT_REPOSITORY_NOT_FOUND },
        { 1, "already exists", AGENT_E_GIT_CLONE_FAILED },
        { 1, "pathspec 'x'", AGENT_E_GIT_BRANCH_NOT_FOUND },
        { 1, "x did not match any file", AGENT_E_GIT_BRANCH_NOT_FOUND },
        { 1, "authentication required", AGENT_E_GIT_AUTH_FAILED },
        { 1, "bad credentials", AGENT_E_GIT_AUTH_FAILED },
        { 1, "", AGENT_E_GIT_CLONE_FAILED },
        { 137, "", AGENT_E_GIT_CLONE_FAILED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (git_classify(rows[i].exit_code, str_from(rows[i].text)) != rows[i].code)
            fail_msg("%d %s", rows[i].exit_code, rows[i].text);
}

static void credentials_are_kept_out(void **state)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "plain text", "plain text" },
        { "https://host/x", "https://host/x" },
        { "https://user:pass@host/x", "https://******@host/x" },
        { "HTTP://token@host", "HTTP://******@host" },
        { "a 'https://u:p@h/x' and \"http://v@i\" b", "a 'https://******@h/x' and \"http://******@i\" b" },
        { "https://u:p@ss@host/x", "https://******@host/x" },
        { "https://host/a@b", "https://******@b" },
        { "https://host/x user@mail", "https://host/x user@mail" },
        { "https://u:p@h,https://v:q@i", "https://******@h,https://******@i" },
        { "ssh://u:p@h", "ssh://u:p@h" },
        { "https://h/?a=1&token=abc&b=2", "https://h/?a=1&token=REDACTED&b=2" },
        { "?Token=x#y", "?Token=REDACTED#y" },
        { "&password=a b", "&password=REDACTED b" },
        { "?X-Amz-Signature=abc&x-amz-credential=d/e'", "?X-Amz-Signature=REDACTED&x-amz-credential=REDACTED'" },
        { "?tokens=x&mytoken=y", "?tokens=x&mytoken=y" },
        { "?token=", "?token=REDACTED" },
        { "https://u:p@h/?secret=1&X-Amz-Security-Token=2",
          "https://******@h/?secret=REDACTED&X-Amz-Security-Token=REDACTED" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct buf out;
        buf_init(&out, 4096);
        assert_int_equal(git_redact(&out, str_from(rows[i][0])), 0);
        if (!str_is(buf_str(&out), rows[i][1]))
            fail_msg("%s -> %.*s", rows[i][0], (int)out.len, buf_str(&out).p);
        buf_free(&out);
    }
}

static void a_chain_of_urls_takes_linear_time(void **state)
{
    static const char *const units[] = { "http://", "https://a", "?token=http://", "http://@" };
    size_t size = (size_t)1024 * 1024;
    char *text = malloc(size);
    uint64_t from = clock_monotonic_ns();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        struct buf out;
        size_t n = strlen(units[i]);
        for (size_t at = 0; at < size; at++)
            text[at] = units[i][at % n];
        buf_init(&out, size * 8);
        assert_int_equal(git_redact(&out, (struct str){ text, size }), 0);
        buf_free(&out);
    }
    assert_true(clock_monotonic_ns() - from < 60000000000u);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_url_is_fine_but_empty_long_or_nul),
        cmocka_unit_test(a_clone_is_named_after_the_last_part_of_the_url),
        cmocka_unit_test(failures_are_classified_as_the_table_says),
        cmocka_unit_test(credentials_are_kept_out),
        cmocka_unit_test(a_chain_of_urls_takes_linear_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
