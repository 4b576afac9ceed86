#include "process_mark.h"

#include "base/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

/* A mark that cannot be had is no reason to fail. */
int process_mark_take(const void *mark)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_LOCKS, &limit) == 0) {
        limit.rlim_cur = (rlim_t) * (const uint64_t *)mark;
        (void)setrlimit(RLIMIT_LOCKS, &limit);
    }
    return 0;
}

uint64_t process_mark_parse(struct str limits)
{
    static const char name[] = "Max file locks ";
    const char *at = memmem(limits.p, limits.n, name, sizeof(name) - 1);
    const char *end = limits.p + limits.n;
    uint64_t mark;
    size_t n = 0;

    if (!at)
        return PROCESS_MARK_NONE;
    at += sizeof(name) - 1;
    while (at < end && *at == ' ')
        at++;
    while (at + n < end && at[n] >= '0' && at[n] <= '9')
        n++;
    if (str_to_u64((struct str){ at, n }, &mark) < 0 || mark < PROCESS_MARK_FIRST)
        return PROCESS_MARK_NONE;
    return mark;
}

uint64_t process_mark_of(pid_t pid)
{
    char path[32], text[2048];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
    n = read_small_file(AT_FDCWD, path, text, sizeof(text));
    return n > 0 ? process_mark_parse((struct str){ text, (size_t)n }) : PROCESS_MARK_NONE;
}
