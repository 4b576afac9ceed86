#include "image/confine.h"

#include "base/sanitized.h"
#include "image/unpack.h"

#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MEMORY_MAX (1ull << 30) /* xz and zstd windows, and the set of a layer's inodes */

static int set_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    uint32_t low = (uint32_t)keep, high = (uint32_t)(keep >> 32);
    struct __user_cap_data_struct data[2] = { { low, low, 0 }, { high, high, 0 } };
    if (syscall(SYS_capset, &header, data) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int confine_capabilities(uint64_t keep)
{
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!(keep & (1ull << cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
            return -1;
    return set_capabilities(keep);
}

static int close_others(const int *keep, size_t count)
{
    unsigned next = 3;
    for (size_t i = 0; i < count; i++) {
        unsigned fd = (unsigned)keep[i];
        if (fd < next)
            continue;
        if (fd > next && close_range(next, fd - 1, 0) < 0)
            return -1;
        next = fd + 1;
    }
    return close_range(next, ~0u, 0);
}

static int limit_resources(uint64_t file_size)
{
    const struct rlimit files = { 1024, 1024 };
    const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
    const struct rlimit size = { file_size, file_size };
    const struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_FSIZE, &size) < 0 ||
        setrlimit(RLIMIT_CORE, &none) < 0)
        return -1;
    /* A sanitizer reserves terabytes of address space. */
    return SANITIZED ? 0 : setrlimit(RLIMIT_AS, &memory);
}

/* What libarchive and the C library use between here and _exit, with descriptors that they have. */
static const int stream_calls[] = {
    SCMP_SYS(read),          SCMP_SYS(write),        SCMP_SYS(writev),
    SCMP_SYS(close),         SCMP_SYS(lseek),        SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),    SCMP_SYS(statx),        SCMP_SYS(munmap),
    SCMP_SYS(mremap),        SCMP_SYS(madvise),      SCMP_SYS(brk),
    SCMP_SYS(futex),         SCMP_SYS(getrandom),    SCMP_SYS(getpid),
    SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(exit_group),    SCMP_SYS(exit),         SCMP_SYS(restart_syscall),
#if SANITIZED
    SCMP_SYS(gettid),        SCMP_SYS(sigaltstack),  SCMP_SYS(rt_sigaction),
    SCMP_SYS(readlink),      SCMP_SYS(readlinkat),   SCMP_SYS(sched_yield),
    SCMP_SYS(prctl),         SCMP_SYS(getrlimit),    SCMP_SYS(prlimit64),
    SCMP_SYS(getuid),        SCMP_SYS(geteuid),      SCMP_SYS(rt_tgsigqueueinfo),
#endif
};

/* What the sink that fills a tree needs beyond that. */
static const int file_calls[] = {
    SCMP_SYS(pwrite64),  SCMP_SYS(fcntl),      SCMP_SYS(openat),    SCMP_SYS(openat2),   SCMP_SYS(mkdirat),
    SCMP_SYS(symlinkat), SCMP_SYS(linkat),     SCMP_SYS(unlinkat),  SCMP_SYS(renameat2), SCMP_SYS(fchown),
    SCMP_SYS(fchownat),  SCMP_SYS(fchmod),     SCMP_SYS(fchmodat),  SCMP_SYS(utimensat), SCMP_SYS(ftruncate),
    SCMP_SYS(fsetxattr), SCMP_SYS(getdents64), SCMP_SYS(fdatasync),
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
            return -1;
    return 0;
}

static int add_rules(scmp_filter_ctx filter, bool files)
{
    struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    struct scmp_arg_cmp fifo = SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO);

    if (allow(filter, stream_calls, ARRAY_SIZE(stream_calls)) < 0 ||
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable) < 0 ||
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable) < 0)
        return -1;
    if (files && (allow(filter, file_calls, ARRAY_SIZE(file_calls)) < 0 ||
                  seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1, fifo) < 0))
        return -1;
    return seccomp_load(filter);
}

static int filter_calls(bool files)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -1;
    int rc = add_rules(filter, files);
    seccomp_release(filter);
    return rc;
}

int confine_unpacker(int root_fd, const int *keep, size_t count, const char **ret_step)
{
    const uint64_t capabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
                                  1ull << CAP_FSETID | 1ull << CAP_SETFCAP;
    *ret_step = "namespaces of its own";
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0)
        return -1;
    *ret_step = "a root of its own";
    if (fchdir(root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return -1;
    *ret_step = "limits";
    umask(0);
    if (close_others(keep, count) < 0 || limit_resources(UNPACK_BYTES_MAX) < 0)
        return -1;
    *ret_step = "dropping capabilities";
    if (confine_capabilities(capabilities) < 0)
        return -1;
    *ret_step = "a system call filter";
    return filter_calls(true);
}

int confine_stream(const int *keep, size_t count, uint64_t file_size, const char **ret_step)
{
    *ret_step = "limits";
    if (close_others(keep, count) < 0 || limit_resources(file_size) < 0)
        return -1;
    /* The bounding set stays: nobody may exec here, and without root it could not be changed. */
    *ret_step = "dropping capabilities";
    if (set_capabilities(0) < 0)
        return -1;
    *ret_step = "a system call filter";
    return filter_calls(false);
}
