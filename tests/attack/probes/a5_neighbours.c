/* a5_neighbours.c - reaching into another process: the agent from inside, any process of a user's in the control
 * run. */
#include "probe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long victim;

static long attempt_attach(void *arg)
{
    (void)arg;
    return sys_result(ptrace(PTRACE_ATTACH, victim, NULL, NULL));
}

static long attempt_seize(void *arg)
{
    (void)arg;
    return sys_result(ptrace(PTRACE_SEIZE, victim, NULL, NULL));
}

/* An address that is mapped in the victim cannot be known from here; EFAULT means that the permission check passed.
 */
static long past_permission(long result)
{
    return result == -EFAULT || result == -EIO || result == -EINVAL || result == -EISDIR ? 0 : result;
}

static long attempt_vm_read(void *arg)
{
    char buf[16];
    struct iovec local = { buf, sizeof buf }, remote = { arg, sizeof buf };
    return past_permission(sys_result(process_vm_readv((pid_t)victim, &local, 1, &remote, 1, 0)));
}

static long attempt_vm_write(void *arg)
{
    char buf[1] = { 0 };
    struct iovec local = { buf, sizeof buf }, remote = { arg, sizeof buf };
    return past_permission(sys_result(process_vm_writev((pid_t)victim, &local, 1, &remote, 1, 0)));
}

static long attempt_kcmp(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_kcmp, getpid(), victim, 0 /* KCMP_FILE */, 0, 0));
}

static long attempt_pidfd_getfd(void *arg)
{
    (void)arg;
    long pidfd = syscall(SYS_pidfd_open, victim, 0);
    if (pidfd < 0)
        return -errno;
    return sys_result(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}

static long attempt_madvise(void *arg)
{
    (void)arg;
    long pidfd = syscall(SYS_pidfd_open, victim, 0);
    if (pidfd < 0)
        return -errno;
    struct iovec range = { (void *)4096, 4096 };
    long result = sys_result(syscall(SYS_process_madvise, pidfd, &range, 1, 20 /* MADV_COLD */, 0));
    return result == -ENOMEM ? 0 : result;
}

static long attempt_rlimit(void *arg)
{
    (void)arg;
    struct rlimit limit;
    if (prlimit((pid_t)victim, RLIMIT_CORE, NULL, &limit) < 0)
        return -errno;
    return sys_result(prlimit((pid_t)victim, RLIMIT_CORE, &limit, NULL));
}

static long attempt_priority(void *arg)
{
    (void)arg;
    return sys_result(setpriority(PRIO_PROCESS, (id_t)victim, 0));
}

static void run_calls(int argc, char **argv)
{
    victim = (long)number_argument(argc, argv, 0, "the victim's pid");
    static const struct {
        const char *name;
        long (*attempt)(void *arg);
    } rows[] = {
        { "ptrace attach", attempt_attach },
        { "ptrace seize", attempt_seize },
        { "process_vm_readv", attempt_vm_read },
        { "process_vm_writev", attempt_vm_write },
        { "kcmp", attempt_kcmp },
        { "pidfd_getfd", attempt_pidfd_getfd },
        { "process_madvise", attempt_madvise },
        { "prlimit", attempt_rlimit },
        { "setpriority", attempt_priority },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        outcome(try_in_child(rows[i].attempt, (void *)4096, 30), "%s", rows[i].name);
}

static long attempt_open(void *arg)
{
    const char *file = arg;
    char path[96], byte;
    bool writing = file[0] == '>';
    snprintf(path, sizeof path, "/proc/%ld/%s", victim, file + (writing ? 1 : 0));
    int fd = open(path, (writing ? O_WRONLY : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ETXTBSY ? 0 : -errno; /* one may, but it runs */
    if (writing && (strcmp(file, ">oom_score_adj") == 0 || strcmp(file, ">timerslack_ns") == 0)) {
        char now[32]; /* anybody may open them: writing back what is there is the attempt */
        if (read_file(path, now, sizeof now) <= 0)
            return -EACCES;
        return sys_result(write(fd, now, strlen(now)));
    }
    if (writing || strcmp(file, "root") == 0 || strcmp(file, "cwd") == 0)
        return fd;
    return past_permission(sys_result(read(fd, &byte, 1)));
}

static long attempt_readlink(void *arg)
{
    char path[96], target[256];
    snprintf(path, sizeof path, "/proc/%ld/%s", victim, (const char *)arg);
    return sys_result(readlink(path, target, sizeof target));
}

static void run_proc(int argc, char **argv)
{
    victim = (long)number_argument(argc, argv, 0, "the victim's pid");
    static const char *const files[] = {
        "mem",           ">mem",     "environ", "auxv",        "maps",           "smaps",       "pagemap",
        "stack",         "syscall",  "root",    "cwd",         "fd/0",           "fd/3",        "exe",
        ">exe",          "fdinfo/0", "io",      "personality", ">oom_score_adj", ">clear_refs", "map_files",
        ">timerslack_ns"
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        outcome(try_in_child(attempt_open, (void *)files[i], 30), "%s%s", files[i][0] == '>' ? "write " : "read ",
                files[i] + (files[i][0] == '>' ? 1 : 0));
    static const char *const links[] = { "exe", "cwd", "root", "fd/0", "ns/mnt" };
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        outcome(try_in_child(attempt_readlink, (void *)links[i], 30), "readlink %s", links[i]);
}

/* Reached if the victim is gone (or stopped) after the signal; kill() returning 0 means nothing, for pid 1 ignores
 * what it does not handle. */
static bool victim_unharmed(void)
{
    char path[64], line[512];
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/proc/%ld/stat", victim);
        if (read_file(path, line, sizeof line) <= 0)
            return false;
        const char *state = strrchr(line, ')');
        if (state == NULL || strchr("ZXTt", state[2]) != NULL)
            return false;
        usleep(1000);
    }
    return true;
}

static void run_signals(int argc, char **argv)
{
    victim = (long)number_argument(argc, argv, 0, "the victim's pid");
    for (int signal = 1; signal <= 64; signal++) {
        if (signal == SIGCONT || (signal >= 32 && signal < 35)) /* harmless by definition; the C library's own */
            continue;
        long result = sys_result(syscall(SYS_kill, victim, signal));
        if (!victim_unharmed()) {
            reached("the victim is gone or stopped", "signal %d", signal);
            return;
        }
        refused(result < 0 ? errno_name((int)-result) : "ignored", "signal %d", signal);
    }
    syscall(SYS_tgkill, victim, victim, SIGKILL);
    syscall(SYS_kill, -1, 0);
    if (victim_unharmed())
        refused("ignored", "tgkill");
    else
        reached("the victim is gone", "tgkill");
}

const struct probe probes_a5[] = {
    { "A5-calls", "system calls that reach into process PID", run_calls },
    { "A5-proc", "what /proc gives of process PID", run_proc },
    { "A5-signals", "killing or stopping process PID", run_signals },
    { 0 },
};
