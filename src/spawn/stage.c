#include "stage.h"

#include "base/sys.h"
#include "disk.h"
#include "mounts.h"
#include "namespaces.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define AGENT_MAX (64 << 20)

/*
 * The agent runs from a sealed copy in memory, so nothing that a sandbox does to /proc/1/exe can reach a file of
 * the host (CVE-2019-5736). Its mode lets it be executed but not read: the kernel then makes the process not
 * dumpable from its first instruction and asks for capabilities over the *initial* user namespace to trace it, so
 * that not even root of the sandbox can get at its memory or its descriptors.
 */
static int copy_agent(const char *path, struct berm_error *err)
{
    _cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int to = memfd_create("berm-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    char self[32];
    off_t at = 0;
    struct stat st;

    if (to < 0 && errno == EINVAL) /* before Linux 6.3 */
        to = memfd_create("berm-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (from < 0 || fstat(from, &st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the agent %s", path);
    if (to < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make a memory file for the agent");
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > AGENT_MAX)
        return berm_fail(err, BERM_E_SYSTEM, 0, "%s is no program", path);
    while (at < st.st_size)
        if (sendfile(to, from, &at, (size_t)(st.st_size - at)) <= 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "copy the agent");
    if (fchmod(to, 0111) < 0 ||
        fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "seal the agent");
    /* A descriptor that could write would make execve fail with ETXTBSY. */
    snprintf(self, sizeof(self), "/proc/self/fd/%d", to);
    return open(self, O_PATH | O_CLOEXEC);
}

/* A floating copy of a directory's mount: its ".." is itself, whatever becomes of the host's tree. */
static int take_directory(const char *path, unsigned attributes, struct berm_error *err)
{
    _cleanup_close_ int fd = mount_clone(AT_FDCWD, path, true);

    if (fd < 0 || (attributes && mount_add_flags(fd, attributes, true) < 0))
        return berm_fail(err, BERM_E_SYSTEM, errno, "take hold of %s", path);
    return TAKE_FD(fd);
}

static const char *const directories[] = { "proc", "disk", "img", "dev", "sys", "void", "lower", "root", "loop" };

static int make_root(int disk_mount, struct berm_error *err)
{
    static const struct mount_option options[] = { { "mode", "0700" }, { "size", "1m" }, { NULL, NULL } };
    _cleanup_close_ int root = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    _cleanup_close_ int proc = -EBADF;

    /* Attached over a directory that exists everywhere; only this namespace sees it. */
    if (root < 0 || mount_attach(root, AT_FDCWD, "/proc") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "mount the stage");
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        if (mkdirat(root, directories[i], 0700) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "make the stage");
    proc = mount_new("proc", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (proc < 0 || mount_attach(proc, root, "proc") < 0 || mount_attach(disk_mount, root, "disk") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "fill the stage");
    if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "enter the stage");
    return 0;
}

static int make_void(struct berm_error *err)
{
    static const struct mount_option options[] = { { "mode", "0555" }, { "nr_inodes", "8" }, { NULL, NULL } };
    const unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    _cleanup_close_ int mnt = mount_new("tmpfs", options, attributes);
    _cleanup_close_ int file = -EBADF;

    if (mnt < 0 || mkdirat(mnt, "dir", 0555) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the void");
    file = openat(mnt, "file", O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (file < 0 || mount_add_flags(mnt, MOUNT_ATTR_RDONLY, false) < 0 ||
        mount_attach(mnt, AT_FDCWD, STAGE_VOID) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the void");
    return 0;
}

int stage_void_clone(bool directory)
{
    return mount_clone(AT_FDCWD, directory ? STAGE_VOID "/dir" : STAGE_VOID "/file", false);
}

static int enter_namespaces(struct stage *stage, struct berm_error *err)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the mount tree private");
    stage->home_netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (stage->home_netns_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the network namespace");
    stage->home_ipcns_fd = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
    if (stage->home_ipcns_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the IPC namespace");
    return 0;
}

int stage_enter(const char *data, const struct disk_pool *pool, const char *images, const char *agent,
                struct stage *ret, struct berm_error *err)
{
    _cleanup_close_ int disk_mount = -EBADF;
    char run[PATH_MAX + 8];

    *ret = (struct stage){ -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF };
    if (enter_namespaces(ret, err) < 0)
        return -1;
    if (agent && (ret->agent_fd = copy_agent(agent, err)) < 0)
        return -1;
    snprintf(run, sizeof(run), "%s/run", data);
    if ((ret->run_fd = take_directory(run, 0, err)) < 0)
        return -1;
    if (images && (ret->images_fd = take_directory(images, MOUNT_ATTR_RDONLY, err)) < 0)
        return -1;
    disk_mount = disk_pool_mount(pool);
    if (disk_mount < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "mount the disk pool");
    if (make_root(disk_mount, err) < 0)
        return -1;
    ret->disk_fd = open(STAGE_DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->disk_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the disk pool");
    if (make_void(err) < 0 || devices_make_template(err) < 0 || sysfs_make_template(err) < 0)
        return -1;
    return 0;
}
