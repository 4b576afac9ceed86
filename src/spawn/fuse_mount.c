/* fuse_mount.c - mounting and unmounting FUSE in a sandbox; the two halves are explained in decision 0014. */
#include "fuse.h"
#include "mounts.h"
#include "range.h"

#include "base/sys.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* --- the caller --- */

static int open_namespace(const struct fuse_call *call, const char *name)
{
    char path[32];

    snprintf(path, sizeof(path), "ns/%s", name);
    return openat(call->proc_fd, path, O_RDONLY | O_CLOEXEC);
}

/* The second number of the first line of uid_map is who its root is; `Uid:` of status has the effective id second.
 * By the first of its ids a sandbox is known.
 */
static int check_is_root(const struct fuse_call *call, uint32_t *ret_index)
{
    char map[256], status[4096];
    unsigned inside, outside, count, real, effective;
    const char *line;

    if (read_small_file(call->proc_fd, "uid_map", map, sizeof(map)) < 0 ||
        read_small_file(call->proc_fd, "status", status, sizeof(status)) < 0)
        return errno;
    line = strstr(status, "\nUid:");
    if (!line || sscanf(line, "\nUid: %u %u", &real, &effective) != 2 ||
        sscanf(map, "%u %u %u", &inside, &outside, &count) != 3)
        return EPERM;
    if (inside != 0 || outside < RANGE_BASE || (outside - RANGE_BASE) % RANGE_IDS != 0 || effective != outside)
        return EPERM;
    *ret_index = (outside - RANGE_BASE) / RANGE_IDS;
    return 0;
}

/* The descriptor that the option "fd" names, which must be there once. */
static int take_device(const struct fuse_call *call)
{
    const char *option = call->options;
    uint64_t fd;

    while (strncmp(option, "fd=", 3) != 0) {
        option = strchr(option, ',');
        if (!option) {
            errno = EINVAL;
            return -1;
        }
        option++;
    }
    if (str_to_u64((struct str){ option + 3, strcspn(option + 3, ",") }, &fd) < 0 || fd > INT32_MAX) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_pidfd_getfd, call->pidfd, (int)fd, 0);
}

/* --- the half that makes the mount, in the caller's user namespace --- */

static bool is_number(const char *text)
{
    size_t n = strspn(text, "01234567890");

    return n > 0 && n <= 10 && !text[n];
}

static int put_option(int fs, int device, const char *key, const char *value)
{
    static const char *const numbers[] = { "rootmode", "user_id", "group_id", "max_read" };
    static const char *const words[] = { "default_permissions", "allow_other" };

    char number[16];

    if (value && strcmp(key, "fd") == 0) {
        /* The kernel takes its own reference, and checks that it is /dev/fuse. */
        snprintf(number, sizeof(number), "%d", device);
        return fsconfig(fs, FSCONFIG_SET_STRING, key, number, 0);
    }
    for (size_t i = 0; value && i < ARRAY_SIZE(numbers); i++)
        if (strcmp(key, numbers[i]) == 0 && is_number(value))
            return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
    for (size_t i = 0; !value && i < ARRAY_SIZE(words); i++)
        if (strcmp(key, words[i]) == 0)
            return fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
    errno = EINVAL;
    return -1;
}

static int put_options(int fs, int device, const struct fuse_call *call)
{
    char text[sizeof(call->options)];
    char *rest = text;

    memcpy(text, call->options, sizeof(text));
    while (rest && *rest) {
        char *key = strsep(&rest, ",");
        char *value = strchr(key, '=');
        if (value)
            *value++ = '\0';
        if (*key && put_option(fs, device, key, value) < 0)
            return -1;
    }
    return 0;
}

static unsigned attributes_of(uint64_t flags)
{
    unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

    if (flags & MS_RDONLY)
        attributes |= MOUNT_ATTR_RDONLY;
    if (flags & MS_NOEXEC)
        attributes |= MOUNT_ATTR_NOEXEC;
    if (flags & MS_NOATIME)
        attributes |= MOUNT_ATTR_NOATIME;
    return attributes;
}

static int make_mount(const struct fuse_call *call, int userns, int device)
{
    _cleanup_close_ int fs = -EBADF;

    if (setns(userns, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
        return -1;
    fs = fsopen("fuse", FSOPEN_CLOEXEC);
    if (fs < 0 || (call->source[0] && fsconfig(fs, FSCONFIG_SET_STRING, "source", call->source, 0) < 0) ||
        (call->type[4] && fsconfig(fs, FSCONFIG_SET_STRING, "subtype", call->type + 5, 0) < 0) ||
        (call->flags & MS_RDONLY && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0) ||
        put_options(fs, device, call) < 0)
        return -1;
    return mount_finish(fs, NULL, attributes_of(call->flags));
}

/* In a child, which sends the mount, or its errno as the message. The mount's descriptor, or -1 with errno. */
static int make_mount_apart(const struct fuse_call *call)
{
    _cleanup_close_ int userns = open_namespace(call, "user");
    _cleanup_close_ int device = userns < 0 ? -1 : take_device(call);
    int sockets[2], mount = -1, errnum = 0;
    size_t count = 0;
    ssize_t n;
    pid_t pid;

    if (userns < 0 || device < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        mount = make_mount(call, userns, device);
        errnum = mount < 0 ? errno : 0;
        _exit(send_fds(sockets[1], &errnum, sizeof(errnum), &mount, mount < 0 ? 0 : 1) < 0);
    }
    close(sockets[1]);
    n = pid < 0 ? -1 : recv_fds(sockets[0], &errnum, sizeof(errnum), &mount, 1, &count);
    close(sockets[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (n == (ssize_t)sizeof(errnum) && count == 1)
        return mount;
    errno = n == (ssize_t)sizeof(errnum) && errnum > 0 ? errnum : EIO;
    return -1;
}

/* --- the half that is host root, in the caller's mount namespace --- */

/* A link in the path could change where it leads after it has been looked at. */
static int open_target(const char *path)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };

    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static bool may_be_covered(int target)
{
    struct statfs fs;

    if (fstatfs(target, &fs) < 0)
        return false;
    return fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC || fs.f_type == FUSE_SUPER_MAGIC;
}

/* The number of its connection, or 0 with errno. Nothing of the file is asked for, so the server is not. */
static uint32_t connection_number(int mount)
{
    struct statx st;

    if (statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0)
        return 0;
    errno = EIO;
    return st.stx_dev_major == 0 ? st.stx_dev_minor : 0;
}

static int do_mount(const struct fuse_host *host, const struct fuse_call *call, uint32_t index, int mountns)
{
    _cleanup_close_ int mount = -EBADF;
    _cleanup_close_ int target = -EBADF;
    struct fuse_record record;
    uint32_t number;
    int errnum = fuse_record_read(host, index, &record);

    if (errnum)
        return errnum;
    mount = make_mount_apart(call);
    if (mount < 0)
        return errno;
    number = connection_number(mount);
    if (number == 0)
        return errno;
    errnum = fuse_record_add(host, &record, number);
    if (errnum)
        return errnum;
    if (setns(mountns, CLONE_NEWNS) < 0)
        return errno;
    target = open_target(call->target);
    if (target < 0)
        return errno == ELOOP ? EPERM : errno;
    if (!may_be_covered(target))
        return EPERM;
    return mount_attach(mount, target, "") < 0 ? errno : 0;
}

static int do_unmount(const struct fuse_call *call, int mountns)
{
    _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC); /* the host's */
    _cleanup_close_ int target = -EBADF;
    struct statfs fs;
    char path[32];

    if (proc < 0 || setns(mountns, CLONE_NEWNS) < 0)
        return errno;
    target = open_target(call->target);
    if (target < 0)
        return errno == ELOOP ? EPERM : errno;
    if (fstatfs(target, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC)
        return EPERM;
    /* Through the descriptor; whether it is the root of a mount, the kernel checks. */
    snprintf(path, sizeof(path), "self/fd/%d", target);
    if (fchdir(proc) < 0 || umount2(path, MNT_DETACH | ((int)call->flags & MNT_FORCE)) < 0)
        return errno;
    return 0;
}

int fuse_call_perform(const struct fuse_host *host, const struct fuse_call *call)
{
    _cleanup_close_ int mountns = open_namespace(call, "mnt");
    uint32_t index = 0;
    int errnum = check_is_root(call, &index);

    if (errnum)
        return errnum;
    if (mountns < 0)
        return errno;
    return call->unmount ? do_unmount(call, mountns) : do_mount(host, call, index, mountns);
}
