/*
 * oci_groups.c - the cgroups that runc makes beside ours: one below each sandbox's, in every hierarchy of the host,
 * those too that we have no use for. Its `delete` takes the innermost away, if the processes have left it by then,
 * and leaves the directories above it.
 */
#include "oci.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define TRIES        100 /* of 10 ms: a dying process is still a member */

static bool remove_group(int dirfd, const char *path)
{
    const struct timespec pause = { .tv_nsec = 10000000 };

    for (int i = 0; i < TRIES; i++) {
        if (unlinkat(dirfd, path, AT_REMOVEDIR) == 0 || errno != EBUSY)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* In the hierarchies that we use too the group above stays: unlinkat() refuses what is not empty or still wanted.
 */
static void remove_sandbox(int dirfd, const char *groups, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s/" OCI_INNER_GROUP, groups, name);
    if (!remove_group(dirfd, path))
        return;
    snprintf(path, sizeof(path), "%s/%s", groups, name);
    unlinkat(dirfd, path, AT_REMOVEDIR);
}

static void remove_parents(int dirfd, const char *groups, const char *parent)
{
    if (unlinkat(dirfd, groups, AT_REMOVEDIR) == 0)
        unlinkat(dirfd, parent, AT_REMOVEDIR);
}

static void each_hierarchy(void (*callback)(int dirfd, const char *a, const char *b), const char *a, const char *b)
{
    int root = open(CGROUP_MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = root < 0 ? NULL : fdopendir(root);
    struct dirent *entry;

    if (!dir) {
        close_fd(&root);
        return;
    }
    callback(root, a, b); /* v2 alone is mounted here itself */
    while ((entry = readdir(dir))) {
        _cleanup_close_ int fd = -EBADF;
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
            continue;
        fd = openat(root, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            callback(fd, a, b);
    }
    closedir(dir);
}

void oci_remove_groups(const char *groups, const char *name)
{
    each_hierarchy(remove_sandbox, groups, name);
}

void oci_remove_own_groups(const char *parent, const char *id)
{
    char groups[100];

    snprintf(groups, sizeof(groups), "%s/%s", parent, id);
    each_hierarchy(remove_parents, groups, parent);
}
