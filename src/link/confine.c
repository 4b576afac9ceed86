#include "link/confine.h"

#include "base/landlock_files.h"
#include "base/sanitized.h"

#include <linux/landlock.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static int set_limits(void)
{
    const struct rlimit none = { 0, 0 };
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return -1;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* --- files --- */

/*
 * The resolver's files are read again for every name; resolv.conf is often a link to where a service writes it.
 * Without urandom, c-ares would number its questions so that they can be guessed, and say nothing.
 */
static int allow_resolver(int ruleset, struct berm_error *err)
{
    _cleanup_free_ char *real = realpath("/etc/resolv.conf", NULL);

    if (landlock_files_allow(ruleset, "/etc", LANDLOCK_ACCESS_FS_READ_FILE, err) < 0 ||
        landlock_files_allow(ruleset, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE, err) < 0)
        return -1;
    return real ? landlock_files_allow_beside(ruleset, real, err) : 0;
}

static int confine_files(const struct link_options *options, struct berm_error *err)
{
    _cleanup_close_ int ruleset = landlock_files_new(false, err);
    int rc;

    if (ruleset == -2)
        return 0;
    if (ruleset < 0)
        return -1;
    rc = options->listens ? landlock_files_allow_certificate(ruleset, options->certificate, err) < 0 ||
                                landlock_files_allow_certificate(ruleset, options->key, err) < 0
                          : allow_resolver(ruleset, err) < 0;
    return rc ? -1 : landlock_files_enter(TAKE_FD(ruleset), err);
}

/* --- calls --- */

/* What our loop, the C library, GnuTLS and c-ares use once all is set up. */
static const int calls[] = {
    SCMP_SYS(read),           SCMP_SYS(readv),        SCMP_SYS(write),           SCMP_SYS(writev),
    SCMP_SYS(recvfrom),       SCMP_SYS(recvmsg),      SCMP_SYS(recvmmsg),        SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),        SCMP_SYS(sendmmsg),     SCMP_SYS(close),           SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),     SCMP_SYS(setsockopt),   SCMP_SYS(getsockname),     SCMP_SYS(getpeername),
    SCMP_SYS(epoll_ctl),      SCMP_SYS(epoll_wait),   SCMP_SYS(epoll_pwait),     SCMP_SYS(poll),
    SCMP_SYS(openat),         SCMP_SYS(lseek),        SCMP_SYS(fstat),           SCMP_SYS(newfstatat),
    SCMP_SYS(statx),          SCMP_SYS(fcntl),        SCMP_SYS(munmap),          SCMP_SYS(mremap),
    SCMP_SYS(madvise),        SCMP_SYS(brk),          SCMP_SYS(futex),           SCMP_SYS(getrandom),
    SCMP_SYS(getpid),         SCMP_SYS(gettid),       SCMP_SYS(getuid),          SCMP_SYS(geteuid),
    SCMP_SYS(getgid),         SCMP_SYS(getegid),      SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday),
    SCMP_SYS(getrusage),      SCMP_SYS(uname),        SCMP_SYS(sysinfo),         SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(tgkill),
    SCMP_SYS(exit),           SCMP_SYS(exit_group),
};

static int allow(scmp_filter_ctx filter, int call)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
}

static int allow_network(scmp_filter_ctx filter, bool listens)
{
    static const unsigned long families[] = { AF_INET, AF_INET6 };

    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)) < 0)
        return -1;
    if (listens)
        return allow(filter, SCMP_SYS(accept4));
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i])) < 0)
            return -1;
    return allow(filter, SCMP_SYS(connect));
}

static int add_rules(scmp_filter_ctx filter, bool listens)
{
    const struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (allow(filter, calls[i]) < 0)
            return -1;
    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable) < 0 ||
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable) < 0 ||
        allow_network(filter, listens) < 0)
        return -1;
    return seccomp_load(filter);
}

/*
 * Refused with EPERM, as a library that asks for more than it needs goes on without; but who tries to run another
 * program is not one of ours any more. A sanitizer asks for much that nobody else does, and is for tests.
 */
static int confine_calls(bool listens, struct berm_error *err)
{
    scmp_filter_ctx filter = SANITIZED ? NULL : seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc;

    if (SANITIZED)
        return 0;
    if (!filter)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "a system call filter");
    rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0) < 0 ||
         seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execveat), 0) < 0 ||
         add_rules(filter, listens) < 0;
    seccomp_release(filter);
    return rc ? berm_fail(err, BERM_E_SYSTEM, errno, "a system call filter") : 0;
}

int link_confine(const struct link_options *options, struct berm_error *err)
{
    if (set_limits() < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "limits");
    return confine_files(options, err) < 0 ? -1 : confine_calls(options->listens, err);
}
