/*
 * b5_proc_sys.c - what /proc and /sys say of the host, and what they let one change. For a file to write, the text
 * is the file's own present content wherever possible, so that a success changes nothing.
 */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const writable_paths[] = {
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/usermodehelper/bset",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/sem",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/pty/max",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/keys/maxkeys",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/mqueue/queues_max",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/net/ipv4/conf/lo/forwarding",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/core/bpf_jit_enable",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/mtrr",
    "/proc/scsi/scsi",
    "/proc/bus/pci",
    "/proc/acpi/wakeup",
    "/proc/timer_list",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/profiling",
    "/sys/kernel/kexec_crash_size",
    "/sys/power/state",
    "/sys/power/disk",
    "/sys/module/kernel/parameters/panic",
    "/sys/module/printk/parameters/time",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/pids/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs",
    "/sys/class/net/lo/mtu",
    "/sys/bus/pci/rescan",
    "/sys/devices/system/cpu/cpu1/online",
    "/sys/block/loop0/queue/scheduler",
};

/* Opening for writing is the attack; nothing is written. (What belongs to the process itself, like its uid_map, can
 * be opened by everybody; A3 is about that.) */
static void run_write(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof writable_paths / sizeof writable_paths[0]; i++) {
        int fd = open(writable_paths[i], O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        outcome(fd < 0 ? -(long)errno : 0, "write %s", writable_paths[i]);
        if (fd >= 0)
            close(fd);
    }
}

static long count_entries(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    long count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static const char *const telling_paths[] = {
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/kpagecgroup",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/proc/pagetypeinfo",
    "/proc/modules",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/config.gz",
    "/proc/scsi",
    "/proc/acpi",
    "/proc/bus",
    "/proc/irq",
    "/proc/interrupts",
    "/proc/driver",
    "/proc/dynamic_debug",
    "/proc/swaps",
    "/proc/partitions",
    "/proc/diskstats",
    "/proc/mdstat",
    "/proc/locks",
    "/proc/cmdline",
    "/proc/device-tree",
    "/proc/efi",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/kernel/notes",
    "/sys/kernel/btf",
    "/sys/kernel/slab",
    "/sys/kernel/vmcoreinfo",
    "/sys/kernel/boot_params",
    "/sys/class/dmi/id/product_uuid",
    "/sys/devices/virtual/dmi/id/product_name",
    "/sys/devices/virtual/powercap",
    "/sys/class/block",
    "/sys/block",
    "/sys/bus/pci/devices",
    "/sys/devices/pci0000:00",
    "/sys/hypervisor",
    "/sys/fs/btrfs",
    "/sys/fs/ext4",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/memory",
    "/sys/module",
};

/* Reached if the file (or directory) gives a single byte (or name). */
static void run_read(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    char buf[64];
    for (size_t i = 0; i < sizeof telling_paths / sizeof telling_paths[0]; i++) {
        struct stat stat_buf;
        if (stat(telling_paths[i], &stat_buf) < 0)
            outcome(-(long)errno, "look at %s", telling_paths[i]);
        else if (S_ISDIR(stat_buf.st_mode))
            outcome(count_entries(telling_paths[i]) > 0 ? 0 : -EACCES, "look at %s", telling_paths[i]);
        else if (read_file(telling_paths[i], buf, sizeof buf) > 0)
            reached("bytes", "look at %s", telling_paths[i]);
        else
            refused("empty or refused", "look at %s", telling_paths[i]);
    }
}

/* A kernel address in a text: sixteen hex digits that begin with ffff and are not a mask of zeros. */
static bool has_kernel_address(const char *path)
{
    static char buf[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool found = false;
    ssize_t length;
    while (!found && (length = read(fd, buf, sizeof buf - 1)) > 0) {
        buf[length] = '\0';
        const char *hit = buf;
        while (!found && (hit = strstr(hit, "ffff")) != NULL) {
            found = strspn(hit, "0123456789abcdef") == 16 && strcmp(hit, "ffffffffffffffff") != 0 &&
                    strncmp(hit, "ffffffffffffffff", 16) != 0;
            hit++;
        }
    }
    close(fd);
    return found;
}

static void leak(bool found, const char *what)
{
    if (found)
        reached("leaked", "%s", what);
    else
        refused("hidden", "%s", what);
}

static bool file_contains(const char *path, const char *needle)
{
    static char buf[262144];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    size_t used = 0;
    ssize_t length;
    while (used < sizeof buf - 1 && (length = read(fd, buf + used, sizeof buf - 1 - used)) > 0)
        used += (size_t)length;
    close(fd);
    buf[used] = '\0';
    return strstr(buf, needle) != NULL;
}

/* A process of that number may be one of the sandbox's own: the host's has another name than those. */
static bool is_host_process(const char *pid, const char *name)
{
    char path[64], comm[32];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    if (read_file(path, comm, sizeof comm) <= 0)
        return false;
    comm[strcspn(comm, "\n")] = '\0';
    return strcmp(comm, name) == 0;
}

/*
 * Arguments: a text that occurs in the host's mount table, the pid of a host process and its name, the host's name,
 * a text in the environment of the host's processes.
 */
static void run_leaks(int argc, char **argv)
{
    if (argc < 5)
        broken("arguments: a host mount, a host pid, its name, the host's name, an environment text of the host's");
    leak(file_contains("/proc/self/mountinfo", argv[0]), "the host's mounts in mountinfo");
    leak(file_contains("/proc/self/mounts", argv[0]), "the host's mounts in mounts");
    leak(file_contains("/proc/1/mountinfo", argv[0]), "the host's mounts by pid 1");
    char path[64];
    bool visible = is_host_process(argv[1], argv[2]);
    leak(visible, "a host process by its pid");
    snprintf(path, sizeof path, "/proc/%s/root", argv[1]);
    leak(visible && count_entries(path) > 0, "a host process's root");
    char name[256];
    leak(gethostname(name, sizeof name) == 0 && strcmp(name, argv[3]) == 0, "the host's name");
    leak(file_contains("/proc/1/environ", argv[4]), "the environment of pid 1");
    leak(file_contains("/proc/self/environ", argv[4]), "the host's environment in our own");
    leak(has_kernel_address("/proc/kallsyms"), "kernel addresses in kallsyms");
}

const struct probe probes_b5[] = {
    { "B5-write", "files of /proc and /sys that change the host", run_write },
    { "B5-read", "files of /proc and /sys that tell about the host", run_read },
    { "B5-leaks", "host MOUNT, PID, its COMM, NAME, ENVIRONMENT and kernel addresses", run_leaks },
    { 0 },
};
