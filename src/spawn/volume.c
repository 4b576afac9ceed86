/*
 * volume.c - volumes: subvolumes of the pool with a limit of their own, mounted into sandboxes on demand.
 *
 * A volume is called "v" and its number in 16 hexadecimal digits, so that nothing that is swept by the number of a
 * slot is ever one. Its files have the ids 0 to 65535; each mount of it maps them to those of its sandbox.
 *
 * Nothing here keeps a record. Which volumes ought to be there is the daemon's knowledge, which removes what it
 * does not know when it has found us; a mount lives in the mount namespace of its sandbox and goes with it.
 */
#include "worker.h"

#include "base/sys.h"
#include "disk.h"
#include "mounts.h"
#include "namespaces.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define VOLUMES_MAX        4096
#define MOUNTED_MAX        64 /* in a sandbox */
#define VOLUME_NAME_SIZE   24
#define VOLUME_NAME_DIGITS 16
#define VOLUME_MOUNT_FLAGS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) /* the pool has noatime */

static void volume_name(uint64_t number, char name[VOLUME_NAME_SIZE])
{
    snprintf(name, VOLUME_NAME_SIZE, "v%016llx", (unsigned long long)number);
}

static bool volume_number(const char *name, uint64_t *ret)
{
    uint8_t bytes[VOLUME_NAME_DIGITS / 2];

    if (name[0] != 'v' || strlen(name) != 1 + VOLUME_NAME_DIGITS ||
        hex_decode((struct str){ name + 1, VOLUME_NAME_DIGITS }, bytes, sizeof(bytes)) < 0)
        return false;
    *ret = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        *ret = *ret << 8 | bytes[i];
    return *ret != 0;
}

static void answer(struct worker *w, const struct spawn_request *r, const char *failed)
{
    struct spawn_reply reply = { 0 };
    struct berm_error err;

    if (failed) {
        berm_fail(&err, BERM_E_SYSTEM, errno, "%s", failed);
        worker_reply_error(w, r->op, r->serial, r->key, &err);
    } else {
        worker_reply(w, &reply, r->op, r->serial, r->key);
    }
}

static int each_volume(const struct worker *w, void (*each)(uint64_t number, void *data), void *data)
{
    int fd = openat(w->stage.disk_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    uint64_t number;

    if (!dir) {
        close_fd(&fd);
        return -1;
    }
    while ((entry = readdir(dir)))
        if (volume_number(entry->d_name, &number))
            each(number, data);
    closedir(dir);
    return 0;
}

static void count_one(uint64_t number, void *data)
{
    (void)number;
    ++*(size_t *)data;
}

static int open_volume(const struct worker *w, const char *name)
{
    return openat(w->stage.disk_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int limit_volume(const struct worker *w, const char *name, uint64_t bytes)
{
    _cleanup_close_ int fd = open_volume(w, name);

    return fd < 0 || fchmod(fd, 0755) < 0 ? -1 : disk_set_limit(fd, bytes);
}

/* One without a limit is nobody's: the daemon was never told of it and has it removed when it asks for the list. */
void volume_create(struct worker *w, const struct spawn_request *r)
{
    char name[VOLUME_NAME_SIZE];
    size_t count = 0;
    int saved;

    volume_name(r->key, name);
    if (each_volume(w, count_one, &count) < 0) {
        answer(w, r, "read the disk pool");
        return;
    }
    if (count >= VOLUMES_MAX) {
        errno = EDQUOT;
        answer(w, r, "number of volumes");
        return;
    }
    if (disk_subvolume_create(w->stage.disk_fd, name) < 0) {
        answer(w, r, "make a volume");
        return;
    }
    if (limit_volume(w, name, r->volume.disk_bytes) == 0) {
        answer(w, r, NULL);
        return;
    }
    saved = errno;
    disk_subvolume_destroy(w->stage.disk_fd, name);
    errno = saved;
    answer(w, r, "limit a volume");
}

void volume_delete(struct worker *w, const struct spawn_request *r)
{
    char name[VOLUME_NAME_SIZE];

    volume_name(r->key, name);
    answer(w, r, disk_subvolume_destroy(w->stage.disk_fd, name) < 0 ? "remove a volume" : NULL);
}

static void tell_one(uint64_t number, void *data)
{
    struct spawn_reply event = { .event = SPAWN_EVENT_VOLUME };

    worker_reply(data, &event, SPAWN_OP_EVENT, 0, number);
}

void volume_list(struct worker *w, const struct spawn_request *r)
{
    answer(w, r, each_volume(w, tell_one, w) < 0 ? "read the disk pool" : NULL);
}

/* --- mounting --- */

/* Told from memory: no file system is asked. */
static bool is_mount_root(int fd)
{
    struct statx st;

    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) == 0 &&
           st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/*
 * The directory that pid 1 has open, whatever that is called by now. Our descriptor of it is of the kind that only
 * names a place: opening and closing it asks nothing of a file system, which may be a sandbox's own (FUSE) and
 * never answer. That pid 1 can be signalled afterwards says that its number had not become somebody else's.
 */
static int open_target(const struct sandbox *s, int pidfd, uint32_t fd)
{
    _cleanup_close_ int target = -EBADF;
    char path[48];

    snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)s->pid, fd);
    target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0 || pidfd_signal(pidfd, 0) < 0)
        return -1;
    if (!is_mount_root(target))
        return TAKE_FD(target);
    errno = EBUSY; /* a daemon that died after the mount asks again */
    return -1;
}

/* A mount that is attached nowhere yet, with the ids of the sandbox. */
static int clone_volume(const struct sandbox *s, const struct spawn_volume_mount *wanted)
{
    _cleanup_close_ int userns = -EBADF;
    _cleanup_close_ int mount = -EBADF;
    char name[VOLUME_NAME_SIZE];

    volume_name(wanted->number, name);
    mount = mount_clone(s->worker->stage.disk_fd, name, false);
    if (mount < 0 || (userns = userns_new(range_uid_base(s->index))) < 0 || mount_idmap(mount, userns) < 0)
        return -1;
    if (mount_add_flags(mount, VOLUME_MOUNT_FLAGS | (wanted->read_only ? MOUNT_ATTR_RDONLY : 0), false) < 0)
        return -1;
    return TAKE_FD(mount);
}

/*
 * A mount can only be attached in the namespace one is in. There, no path is walked; and going on there would make
 * the next sandbox of what this one has mounted: better a restart.
 */
static int attach_inside(int pidfd, int mount, int target)
{
    _cleanup_close_ int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int rc, saved;

    if (home < 0 || setns(pidfd, CLONE_NEWNS) < 0)
        return -1;
    rc = mount_attach(mount, target, "");
    saved = errno;
    if (setns(home, CLONE_NEWNS) < 0)
        abort();
    errno = saved;
    return rc;
}

void volume_mount(struct worker *w, struct sandbox *s, const struct spawn_request *r)
{
    _cleanup_close_ int own_pidfd = -EBADF;
    _cleanup_close_ int target = -EBADF;
    _cleanup_close_ int mount = -EBADF;
    int pidfd;

    if (s->backend != SPAWN_BACKEND_NATIVE) {
        errno = EOPNOTSUPP;
        answer(w, r, "volumes in a sandbox of an OCI runtime");
        return;
    }
    if (s->volumes_mounted >= MOUNTED_MAX) {
        errno = EDQUOT;
        answer(w, r, "number of mounted volumes");
        return;
    }
    pidfd = control_borrow_pidfd(s, &own_pidfd);
    if (pidfd < 0 || (target = open_target(s, pidfd, r->volume_mount.fd)) < 0) {
        answer(w, r, "find where to mount");
        return;
    }
    if ((mount = clone_volume(s, &r->volume_mount)) < 0 || attach_inside(pidfd, mount, target) < 0) {
        answer(w, r, "mount the volume");
        return;
    }
    s->volumes_mounted++;
    answer(w, r, NULL);
}
