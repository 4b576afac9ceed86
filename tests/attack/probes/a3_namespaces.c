/* a3_namespaces.c - making and entering namespaces, flag by flag, by each of the calls that can. */
#include "probe.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name; /* as below /proc/PID/ns */
    uint64_t flag;
} kinds[] = {
    { "mnt", 0x00020000 },  { "cgroup", 0x02000000 }, { "uts", 0x04000000 }, { "ipc", 0x08000000 },
    { "user", 0x10000000 }, { "pid", 0x20000000 },    { "net", 0x40000000 }, { "time", 0x00000080 },
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static long attempt_unshare(void *arg)
{
    return sys_result(syscall(SYS_unshare, *(uint64_t *)arg));
}

static long attempt_unshare_user_and(void *arg)
{
    return sys_result(syscall(SYS_unshare, *(uint64_t *)arg | CLONE_NEWUSER));
}

/* In the child of the clone nothing but leaving: the parent judges. */
static long reap(long pid)
{
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
    return pid;
}

static long attempt_clone(void *arg)
{
    return reap(sys_result(syscall(SYS_clone, *(uint64_t *)arg | SIGCHLD, 0, 0, 0, 0)));
}

static long attempt_clone3(void *arg)
{
    struct clone_args args = { .flags = *(uint64_t *)arg, .exit_signal = SIGCHLD };
    return reap(sys_result(syscall(SYS_clone3, &args, sizeof args)));
}

static void each_kind(const char *call, long (*attempt)(void *arg))
{
    for (size_t i = 0; i < KINDS; i++) {
        uint64_t flag = kinds[i].flag;
        outcome(try_in_child(attempt, &flag, 30), "%s %s", call, kinds[i].name);
    }
}

static void run_make(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    each_kind("unshare", attempt_unshare);
    each_kind("unshare user and", attempt_unshare_user_and);
    for (size_t i = 0; i < KINDS; i++) {
        uint64_t flag = kinds[i].flag;
        if (flag > 0xff) /* below lies the exit signal: clone cannot make a time namespace */
            outcome(try_in_child(attempt_clone, &flag, 30), "clone %s", kinds[i].name);
    }
    each_kind("clone3", attempt_clone3);
}

struct target {
    long pid;
    size_t kind;
};

static long attempt_setns(void *arg)
{
    const struct target *target = arg;
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/ns/%s", target->pid, kinds[target->kind].name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return sys_result(syscall(SYS_setns, fd, kinds[target->kind].flag));
}

static long attempt_setns_pidfd(void *arg)
{
    const struct target *target = arg;
    long fd = syscall(SYS_pidfd_open, target->pid, 0);
    if (fd < 0)
        return -errno;
    return sys_result(syscall(SYS_setns, fd, kinds[target->kind].flag));
}

static void run_enter(int argc, char **argv)
{
    long pid = (long)number_argument(argc, argv, 0, "a pid whose namespaces to enter");
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct target target = { pid, kind };
        outcome(try_in_child(attempt_setns, &target, 30), "setns %s", kinds[kind].name);
        outcome(try_in_child(attempt_setns_pidfd, &target, 30), "setns by pidfd %s", kinds[kind].name);
    }
}

const struct probe probes_a3[] = {
    { "A3-make", "making namespaces of each kind by unshare, clone and clone3", run_make },
    { "A3-enter", "entering the namespaces of PID", run_enter },
    { 0 },
};
