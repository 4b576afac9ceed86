/*
 * fuzz_git_url.c - any bytes as a repository URL and as what git said: the name is a plain component that lies
 * within the URL, and a text that has been redacted has nothing left to redact.
 */
#include "agent/git/git_url.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size }, name = git_url_name(text);
    struct buf once, twice;

    (void)git_url_problem(text);
    (void)git_classify(128, text);
    (void)git_classify(1, text);
    assert(name.n > 0 && !memchr(name.p, '/', name.n) && !str_is(name, ".") && !str_is(name, ".."));
    assert(str_is(name, "repository") || (name.p >= text.p && name.p + name.n <= text.p + text.n));
    buf_init(&once, size * 9 + 64);
    buf_init(&twice, size * 16 + 64);
    assert(git_redact(&once, text) == 0);
    assert(git_redact(&twice, buf_str(&once)) == 0);
    assert(str_eq(buf_str(&once), buf_str(&twice)));
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
