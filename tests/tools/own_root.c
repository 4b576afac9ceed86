/*
 * own_root.c - own-root COMMAND [ARG...]: runs a command whose "/" is the root of a mount namespace.
 *
 * In a chroot (as some build machines are) it is not: then no user namespace can be made and no mount tree made
 * private, and there are no sandboxes. This makes the tree that we see the root of a namespace of our own; outside
 * of a chroot it runs the command as it is.
 */
#include "base/base.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Which place "/" is: the same numbers are the same mount and directory. */
static int place_of_root(struct statx *ret)
{
    return statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, ret);
}

/* Entering a mount namespace, also one's own, leads to its real root. A child looks whether that is ours: 0, 1, -1.
 */
static int is_chroot(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct statx ours, real;
        int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (own < 0 || place_of_root(&ours) < 0 || setns(own, CLONE_NEWNS) < 0 || place_of_root(&real) < 0)
            _exit(2);
        _exit(ours.stx_mnt_id == real.stx_mnt_id && ours.stx_ino == real.stx_ino ? 0 : 1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        return -1;
    return WEXITSTATUS(status);
}

static int become_root(void)
{
    char directory[PATH_MAX];
    if (!getcwd(directory, sizeof(directory)) || unshare(CLONE_NEWNS) < 0)
        return -1;
    int tree = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (tree < 0 || own < 0 || setns(own, CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    if (move_mount(tree, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(tree) < 0 ||
        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir(directory);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: own-root COMMAND [ARG...]\n");
        return 2;
    }
    int elsewhere = is_chroot();
    if (elsewhere < 0 || (elsewhere && become_root() < 0)) {
        perror("own-root");
        return 126;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
