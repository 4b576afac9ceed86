/*
 * daemon_user.c - what a taken-over bermd could do with nothing but its own rights: run on the host with its uid,
 * without capabilities. `X-daemon-user PID DISK IMAGE FILE`: a sandbox's pid 1, where the worker has
 * the sandboxes' disk, the file that it is in, a file that only root may read.
 */
#include "probe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static long open_path(const char *format, const char *argument, int flags)
{
    char path[512];
    snprintf(path, sizeof path, format, argument);
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static long attempt_ptrace(void *arg)
{
    return sys_result(ptrace(PTRACE_ATTACH, *(long *)arg, NULL, NULL));
}

static long attempt_signal(void *arg)
{
    return sys_result(kill((pid_t) * (long *)arg, 0));
}

static long attempt_module(void *arg)
{
    (void)arg;
    long result = sys_result(syscall(SYS_init_module, NULL, 0, ""));
    return result == -EPERM || result == -ENOSYS ? result : 0;
}

static long attempt_mount(void *arg)
{
    (void)arg;
    return sys_result(mount("none", "/tmp", "tmpfs", 0, NULL));
}

static long attempt_chroot(void *arg)
{
    (void)arg;
    return sys_result(chroot("/"));
}

static long attempt_setuid(void *arg)
{
    (void)arg;
    if (getuid() == 0)
        return 0;
    return sys_result(setuid(0));
}

static long attempt_setns(void *arg)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/ns/net", *(long *)arg);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : sys_result(syscall(SYS_setns, fd, 0));
}

static long attempt_raw_socket(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_socket, 17 /* AF_PACKET */, 3, 0));
}

static void run_daemon_user(int argc, char **argv)
{
    long pid = (long)number_argument(argc, argv, 0, "a sandbox's pid");
    if (argc < 4)
        broken("arguments: PID DISK IMAGE FILE");
    outcome(open_path("%s", argv[3], O_RDONLY), "a file of root's");
    outcome(open_path("%s", "/etc/shadow", O_RDONLY), "/etc/shadow");
    outcome(open_path("%s", argv[2], O_RDONLY), "the image of the disk");
    outcome(open_path("%s", argv[1], O_RDONLY | O_DIRECTORY), "the sandboxes' disk");
    outcome(open_path("/proc/%s/mem", argv[0], O_RDONLY), "a sandbox's memory");
    outcome(open_path("/proc/%s/root/", argv[0], O_RDONLY), "a sandbox's root");
    outcome(open_path("/proc/%s/environ", argv[0], O_RDONLY), "a sandbox's environment");
    outcome(open_path("/proc/%s/fd/3", argv[0], O_RDONLY), "a sandbox's descriptor");
    outcome(open_path("/dev/%s", "loop-control", O_RDONLY), "the loop devices");
    outcome(open_path("/sys/fs/cgroup/%s", "cgroup.procs", O_WRONLY), "the cgroup tree");
    outcome(open_path("/sys/fs/cgroup/%s", "memory/cgroup.procs", O_WRONLY), "the memory groups");
    outcome(open_path("/proc/sys/kernel/%s", "core_pattern", O_WRONLY), "core_pattern");
    outcome(try_in_child(attempt_ptrace, &pid, 30), "ptrace of a sandbox");
    outcome(try_in_child(attempt_signal, &pid, 30), "a signal to a sandbox");
    outcome(try_in_child(attempt_setns, &pid, 30), "entering a sandbox's network");
    outcome(try_in_child(attempt_module, NULL, 30), "loading a module");
    outcome(try_in_child(attempt_mount, NULL, 30), "a mount");
    outcome(try_in_child(attempt_chroot, NULL, 30), "chroot");
    outcome(try_in_child(attempt_setuid, NULL, 30), "becoming root");
    outcome(try_in_child(attempt_raw_socket, NULL, 30), "a packet socket");
}

const struct probe probes_daemon_user[] = {
    { "X-daemon-user", "the rights of a taken-over bermd: PID DISK IMAGE FILE", run_daemon_user },
    { 0 },
};
