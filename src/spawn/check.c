/*
 * check.c - each layer is tried, not looked up: a configuration option or a version says less than the call itself.
 * Everything happens in a child with mount and network namespaces of its own, and leaves nothing.
 */
#include "check.h"

#include "base/sys.h"
#include "caps.h"
#include "cgroup.h"
#include "filter.h"
#include "image.h"
#include "landlock.h"
#include "mounts.h"
#include "namespaces.h"
#include "range.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define DETAIL_SIZE 256

enum check_status { CHECK_OK, CHECK_DEGRADED, CHECK_MISSING };

typedef enum check_status probe_fn(char detail[DETAIL_SIZE]);

static enum check_status say(char detail[DETAIL_SIZE], enum check_status status, const char *text)
{
    snprintf(detail, DETAIL_SIZE, "%s", text);
    return status;
}

static enum check_status say_errno(char detail[DETAIL_SIZE], const char *what)
{
    snprintf(detail, DETAIL_SIZE, "%s: %s", what, strerror(errno));
    return CHECK_MISSING;
}

/* --- kernel and rights --- */

static enum check_status probe_kernel(char detail[DETAIL_SIZE])
{
    struct utsname uts;

    if (uname(&uts) < 0)
        return say_errno(detail, "uname");
    return say(detail, CHECK_OK, uts.release);
}

static enum check_status probe_privileges(char detail[DETAIL_SIZE])
{
    pid_t pid;
    int status;

    if (geteuid() != 0)
        return say(detail, CHECK_MISSING, "not root");
    /* In a child, for it cannot be undone. */
    pid = fork();
    if (pid == 0)
        _exit(caps_drop_to_worker() < 0);
    if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || status != 0)
        return say(detail, CHECK_MISSING, "root without the needed capabilities");
    return say(detail, CHECK_OK, "root with the needed capabilities");
}

static enum check_status probe_clone3(char detail[DETAIL_SIZE])
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    int status;

    if (pid == 0)
        _exit(unshare(CLONE_NEWCGROUP) < 0);
    if (pid < 0)
        return say_errno(detail, "clone3");
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || status != 0)
        return say(detail, CHECK_MISSING, "no cgroup namespaces");
    return say(detail, CHECK_OK, "mount, pid, uts, ipc and cgroup namespaces");
}

static enum check_status probe_userns(char detail[DETAIL_SIZE])
{
    _cleanup_close_ int fd = userns_new(RANGE_BASE);

    return fd < 0 ? say_errno(detail, "make one with 65536 ids") : say(detail, CHECK_OK, "65536 ids each");
}

static enum check_status probe_netns(char detail[DETAIL_SIZE])
{
    _cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int fd = home < 0 ? -EBADF : netns_new(home, NULL);

    return fd < 0 ? say_errno(detail, "make one") : say(detail, CHECK_OK, "loopback only");
}

static enum check_status probe_egress(char detail[DETAIL_SIZE])
{
    _cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct egress_sockets sockets = { -EBADF, -EBADF };
    _cleanup_close_ int fd = home < 0 ? -EBADF : netns_new(home, &sockets);

    egress_close(&sockets);
    return fd < 0 ? say_errno(detail, "make one with nft and tproxy") : say(detail, CHECK_OK, "nft with tproxy");
}

/* --- walls --- */

static enum check_status probe_seccomp(char detail[DETAIL_SIZE])
{
    static struct filter_program filter;
    struct berm_error err;
    pid_t pid;
    int status;

    if (filter_compile(FILTER_WHOLE, &filter, &err) < 0)
        return say(detail, CHECK_MISSING, err.message);
    pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_install(&filter) < 0)
            _exit(1);
        _exit(unshare(CLONE_NEWUSER) == 0 || errno != EPERM ? 2 : 0);
    }
    if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || status != 0)
        return say(detail, CHECK_MISSING, "the filter cannot be installed");
    snprintf(detail, DETAIL_SIZE, "allow-list of %u instructions", filter.count);
    return CHECK_OK;
}

static enum check_status probe_landlock(char detail[DETAIL_SIZE])
{
    unsigned abi = landlock_abi();

    snprintf(detail, DETAIL_SIZE, "ABI %u", abi);
    if (abi >= LANDLOCK_ABI_MIN)
        return CHECK_OK;
    return say(detail, CHECK_DEGRADED, "not in this kernel (needs Linux 5.19 and lsm=landlock): one wall less");
}

/* --- cgroups --- */

static enum check_status probe_cgroups(char detail[DETAIL_SIZE])
{
    struct cgroup_host host;
    struct berm_error err;
    const unsigned all = (1u << CGROUP_CONTROLLERS) - 1;

    if (cgroup_host_open("berm-check", "probe", &host, &err) < 0) {
        cgroup_host_remove("berm-check", "probe");
        return say(detail, CHECK_MISSING, err.message);
    }
    say(detail, CHECK_OK,
        host.v2_controllers == all ? "memory, pids and cpu in v2"
        : host.v2_controllers      ? "memory, pids and cpu, some in v2 and some in v1"
                                   : "memory, pids and cpu in v1");
    cgroup_host_close(&host);
    cgroup_host_remove("berm-check", "probe");
    return CHECK_OK;
}

static enum check_status probe_cgroup_kill(char detail[DETAIL_SIZE])
{
    struct cgroup_host host;
    bool v2, supported;

    if (cgroup_host_open("berm-check", "probe", &host, NULL) < 0)
        return say(detail, CHECK_DEGRADED, "no usable cgroups");
    v2 = host.v2_fd >= 0;
    supported = cgroup_kill_supported(&host, ".");
    cgroup_host_close(&host);
    cgroup_host_remove("berm-check", "probe");
    if (!v2)
        return say(detail, CHECK_DEGRADED, "no v2 hierarchy: sandboxes cannot be frozen");
    return say(detail, supported ? CHECK_OK : CHECK_DEGRADED,
               supported ? "kill and freeze" : "freeze; kill needs Linux 5.14");
}

/* --- file systems --- */

static enum check_status probe_overlay(char detail[DETAIL_SIZE])
{
    static const struct mount_option options[] = {
        { "lowerdir", "/proc/check/lower" },
        { "upperdir", "/proc/check/upper" },
        { "workdir", "/proc/check/work" },
        { "redirect_dir", "on" },
        { "metacopy", "off" },
        { NULL, NULL },
    };
    _cleanup_close_ int scratch = mount_new("tmpfs", NULL, 0);
    _cleanup_close_ int overlay = -EBADF;

    /* /proc is only a place that exists; the namespace is ours. */
    if (scratch < 0 || mkdirat(scratch, "check", 0700) < 0 || mkdirat(scratch, "check/lower", 0700) < 0 ||
        mkdirat(scratch, "check/upper", 0700) < 0 || mkdirat(scratch, "check/work", 0700) < 0 ||
        mount_attach(scratch, AT_FDCWD, "/proc") < 0)
        return say_errno(detail, "mount a tmpfs");
    overlay = mount_new("overlay", options, 0);
    if (overlay < 0)
        say_errno(detail, "mount an overlay");
    umount2("/proc", MNT_DETACH);
    return overlay < 0 ? CHECK_MISSING : say(detail, CHECK_OK, "with an upper layer of its own");
}

static enum check_status probe_idmap(char detail[DETAIL_SIZE])
{
    _cleanup_close_ int userns = userns_new(RANGE_BASE);
    _cleanup_close_ int mnt = mount_new("tmpfs", NULL, 0);
    _cleanup_close_ int clone = mnt < 0 ? -EBADF : mount_clone(mnt, "", false);

    if (clone < 0) { /* before Linux 6.15 only attached mounts can be cloned */
        if (mnt < 0 || mount_attach(mnt, AT_FDCWD, "/proc") < 0)
            return say_errno(detail, "mount a tmpfs");
        clone = mount_clone(AT_FDCWD, "/proc", false);
        umount2("/proc", MNT_DETACH);
    }
    if (userns < 0 || clone < 0 || mount_idmap(clone, userns) < 0)
        return say_errno(detail, "map a mount (needs Linux 5.19)");
    return say(detail, CHECK_OK, "images are shown with the sandbox's ids");
}

static enum check_status probe_fs(const char *name, char detail[DETAIL_SIZE])
{
    _cleanup_close_ int fd = fsopen(name, FSOPEN_CLOEXEC); /* loads the module */

    return fd < 0 ? say_errno(detail, name) : say(detail, CHECK_OK, "in this kernel");
}

static enum check_status probe_erofs(char detail[DETAIL_SIZE])
{
    enum check_status status = probe_fs("erofs", detail);

    if (status != CHECK_OK)
        return status;
    if (image_file_mounts_supported())
        return say(detail, CHECK_OK, "images are mounted straight from their file");
    return say(detail, CHECK_DEGRADED, "images need a loop device each (mounting files needs Linux 6.12)");
}

static enum check_status probe_btrfs(char detail[DETAIL_SIZE])
{
    return probe_fs("btrfs", detail);
}

static bool kernel_at_least(unsigned major, unsigned minor)
{
    struct utsname uts;
    unsigned have_major, have_minor;

    if (uname(&uts) < 0 || sscanf(uts.release, "%u.%u", &have_major, &have_minor) != 2)
        return false;
    return have_major > major || (have_major == major && have_minor >= minor);
}

/* Trying it would take a btrfs of its own. */
static enum check_status probe_quota(char detail[DETAIL_SIZE])
{
    if (kernel_at_least(6, 7))
        return say(detail, CHECK_OK, "simple quotas");
    return say(detail, CHECK_DEGRADED,
               "full quota groups, which make deleting dearer (simple ones need Linux 6.7)");
}

static enum check_status probe_mkfs(char detail[DETAIL_SIZE])
{
    static const char *const places[] = { "/usr/sbin/mkfs.btrfs", "/sbin/mkfs.btrfs", "/usr/bin/mkfs.btrfs",
                                          "/usr/local/sbin/mkfs.btrfs" };

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return say(detail, CHECK_OK, places[i]);
    return say(detail, CHECK_MISSING, "not found (Debian package btrfs-progs)");
}

static enum check_status probe_loop(char detail[DETAIL_SIZE])
{
    _cleanup_close_ int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        return say(detail, CHECK_OK, "/dev/loop-control");
    if (errno == ENOENT && access("/sys/class/misc/loop-control", F_OK) == 0)
        return say(detail, CHECK_OK, "the kernel has them, nodes are made");
    return say_errno(detail, "/dev/loop-control");
}

static enum check_status probe_memfd(char detail[DETAIL_SIZE])
{
    char policy[8] = "";

    if (read_small_file(AT_FDCWD, "/proc/sys/vm/memfd_noexec", policy, sizeof(policy)) > 0 && policy[0] == '2')
        return say(detail, CHECK_MISSING, "sysctl vm.memfd_noexec=2 forbids to run the agent from memory");
    return say(detail, CHECK_OK, "the agent runs from sealed memory");
}

/* --- the table --- */

struct check_row {
    const char *name;
    bool required;
    probe_fn *probe;
};

static const struct check_row check_table[] = {
    { "kernel", true, probe_kernel },
    { "privileges", true, probe_privileges },
    { "namespaces", true, probe_clone3 },
    { "user_namespace", true, probe_userns },
    { "network_namespace", true, probe_netns },
    { "egress", false, probe_egress },
    { "cgroup_limits", true, probe_cgroups },
    { "cgroup_kill", false, probe_cgroup_kill },
    { "seccomp", true, probe_seccomp },
    { "landlock", false, probe_landlock },
    { "overlay", true, probe_overlay },
    { "idmapped_mounts", true, probe_idmap },
    { "erofs", true, probe_erofs },
    { "btrfs", true, probe_btrfs },
    { "disk_quota", true, probe_quota },
    { "mkfs_btrfs", true, probe_mkfs },
    { "loop_devices", true, probe_loop },
    { "agent_memory", true, probe_memfd },
};

static int run_probes(void)
{
    static const char *const words[] = { "ok", "degraded", "missing" };
    bool fine = true;

    for (size_t i = 0; i < ARRAY_SIZE(check_table); i++) {
        const struct check_row *row = &check_table[i];
        char detail[DETAIL_SIZE] = "";
        enum check_status status = row->probe(detail);
        if (status == CHECK_MISSING && !row->required)
            status = CHECK_DEGRADED;
        fine = fine && status != CHECK_MISSING;
        printf("%s\t%s\t%s\n", row->name, words[status], detail);
    }
    fflush(stdout);
    return fine ? 0 : 1;
}

int check_host(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        /* Without root every probe that needs it says so itself. */
        if (unshare(CLONE_NEWNS | CLONE_NEWNET) == 0)
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        exit(run_probes());
    }
    if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || !WIFEXITED(status))
        return 1;
    return WEXITSTATUS(status);
}
