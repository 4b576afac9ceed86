/*
 * b4_inodes.c - inodes that would mean something to another owner: set-id programs, file capabilities, devices,
 * trusted and security attributes, ACLs. `B4-special` tries those that must be refused; `B4-leave DIR` writes those
 * that a container root may write, for the runner to look at from the host's side.
 */
#include "probe.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static void make_file(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, mode) < 0)
        broken("%s: %s", path, errno_name(errno));
    close(fd);
}

static long set_attribute(const char *path, const char *name, const void *value, size_t size)
{
    return sys_result(setxattr(path, name, value, size, 0));
}

/* A version 2 capability has no owner: honoured by every user namespace. The kernel must turn it into version 3,
 * which only holds in ours; `rootid` 0 by hand must be refused or mapped. */
static long set_capability(const char *path, uint32_t revision)
{
    struct {
        uint32_t magic;
        uint32_t caps[4];
        uint32_t rootid;
    } value = { .magic = htole32(revision | VFS_CAP_FLAGS_EFFECTIVE), .caps = { 0xffffffff, 0, 0xffffffff, 0 } };
    return set_attribute(path, "security.capability", &value,
                         revision == VFS_CAP_REVISION_3 ? sizeof value : sizeof value - sizeof value.rootid);
}

static void run_special(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const char *file = "berm-probe-file";
    make_file(file, 0755);
    outcome(sys_result(mknod("berm-probe-chr", S_IFCHR | 0666, makedev(1, 1))), "character device");
    outcome(sys_result(mknod("berm-probe-blk", S_IFBLK | 0666, makedev(7, 0))), "block device");
    outcome(set_attribute(file, "trusted.berm", "x", 1), "trusted attribute");
    outcome(set_attribute(file, "trusted.overlay.opaque", "y", 1), "overlay's opaque mark");
    outcome(set_attribute(file, "security.berm", "x", 1), "security attribute");
    outcome(set_attribute(file, "security.selinux", "x", 1), "SELinux label");
    outcome(sys_result(chown(file, 65536, 65536)), "an owner beyond the id range");
    unlink(file);
    unlink("berm-probe-chr");
    unlink("berm-probe-blk");
}

static void run_leave(int argc, char **argv)
{
    if (argc < 1 || chdir(argv[0]) < 0)
        broken("cannot enter the directory");
    make_file("setuid", 06755);
    make_file("capability2", 0755);
    make_file("capability3", 0755);
    make_file("attribute", 0644);
    outcome(set_capability("capability2", VFS_CAP_REVISION_2), "file capability, version 2");
    outcome(set_capability("capability3", VFS_CAP_REVISION_3), "file capability, version 3");
    outcome(set_attribute("attribute", "user.berm", "x", 1), "user attribute");
    outcome(sys_result(mkfifo("fifo", 0666)), "fifo");
    outcome(sys_result(mknod("whiteout", S_IFCHR | 0666, 0)), "a whiteout");
    outcome(sys_result(symlink("/etc/shadow", "link")), "symbolic link to a host path");
    outcome(0, "set-id program");
}

/* What a file's capability holds for: version 3 names the owner of a user namespace, version 2 means every one. */
static bool capability_for_host_root(const char *path)
{
    struct {
        uint32_t magic;
        uint32_t caps[4];
        uint32_t rootid;
    } value = { 0 };
    if (lgetxattr(path, "security.capability", &value, sizeof value) < 0)
        return false;
    return (le32toh(value.magic) & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_3 || le32toh(value.rootid) == 0;
}

/* Run on the host over what B4-leave left: the inode itself must be nothing to anybody outside, whatever the mount
 * over it adds. */
static void run_inspect(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct stat file;
        if (lstat(argv[i], &file) < 0)
            broken("%s: %s", argv[i], errno_name(errno));
        const char *name = strrchr(argv[i], '/') + 1;
        bool device = S_ISBLK(file.st_mode) || (S_ISCHR(file.st_mode) && file.st_rdev != 0);
        if (device)
            reached("a device", "%s", name);
        else if (file.st_uid == 0 || file.st_gid == 0)
            reached("owned by the host's root", "%s", name);
        else if (capability_for_host_root(argv[i]))
            reached("a capability of the host's", "%s", name);
        else
            refused("owned by the sandbox's range", "%s", name);
    }
}

/* A set-id program of root's, started by somebody else, must gain nothing (no_new_privs, nosuid). The runner copies
 * this program, chmods it 6755 and starts the copy through `setpriv`-like argv of B4-as. */
static void run_euid(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (geteuid() != getuid() || getegid() != getgid())
        reached("euid differs", "rights by a set-id program");
    else
        refused("no_new_privs", "rights by a set-id program");
}

/* Becomes uid and gid 4242 and executes the rest of the arguments. */
static void run_as(int argc, char **argv)
{
    if (argc < 1)
        broken("a program to execute");
    if (setresgid(4242, 4242, 4242) < 0 || setresuid(4242, 4242, 4242) < 0)
        broken("setresuid: %s", errno_name(errno));
    execv(argv[0], argv);
    broken("%s: %s", argv[0], errno_name(errno));
}

const struct probe probes_b4[] = {
    { "B4-special", "devices, privileged attributes and foreign owners", run_special },
    { "B4-leave", "leaves what may be written, in DIR", run_leave },
    { "B4-inspect", "whether the FILES mean anything to the host", run_inspect },
    { "B4-euid", "whether a set-id bit gave us rights", run_euid },
    { "B4-as", "executes ARGS as uid 4242", run_as },
    { 0 },
};
