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

static void clear_hierarchy(int dirfd, const char *groups, const char *name, bool last)
{
    char path[200];
    size_t end;

    snprintf(path, sizeof(path), "%s/%s/" OCI_INNER_GROUP, groups, name);
    if (!remove_group(dirfd, path))
        return;
    /* Ours stay, for they are busy or wanted: unlinkat() refuses what is not empty. */
    for (int level = last ? 3 : 1; level > 0; level--) {
        end = (size_t)(strrchr(path, '/') - path);
        path[end] = '\0';
        if (end == 0 || unlinkat(dirfd, path, AT_REMOVEDIR) < 0)
            return;
    }
}

void oci_remove_groups(const char *groups, const char *name, bool last)
{
    int root = open(CGROUP_MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = root < 0 ? NULL : fdopendir(root);
    struct dirent *entry;

    if (!dir) {
        close_fd(&root);
        return;
    }
    clear_hierarchy(root, groups, name, last); /* v2 alone is mounted here itself */
    while ((entry = readdir(dir))) {
        _cleanup_close_ int fd = -EBADF;
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
            continue;
        fd = openat(root, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            clear_hierarchy(fd, groups, name, last);
    }
    closedir(dir);
}
