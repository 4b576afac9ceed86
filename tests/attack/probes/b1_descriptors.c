/* b1_descriptors.c - what a start or an exec may leave behind: descriptors, a working directory, the runtime's own
 * program (CVE-2019-5736, CVE-2016-9962, CVE-2024-21626). */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Descriptors beyond the standard three: a directory or a file among them is a way out of the root. */
static void run_inherited(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        broken("/proc/self/fd: %s", errno_name(errno));
    unsigned inherited = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd <= 2 || fd == dirfd(dir))
            continue;
        char path[64], target[PATH_MAX] = "?";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        reached(target, "descriptor %d", fd);
        inherited++;
    }
    closedir(dir);
    if (inherited == 0)
        refused("closed", "an inherited descriptor");
}

/* The working directory must be below the root: getcwd says "(unreachable)" or ENOENT if it is not. */
static void run_cwd(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    char cwd[PATH_MAX];
    struct stat root, here;
    if (getcwd(cwd, sizeof cwd) == NULL || cwd[0] != '/') {
        reached(errno_name(errno), "a working directory outside the root");
        return;
    }
    if (stat("/", &root) < 0 || stat(cwd, &here) < 0)
        broken("stat: %s", errno_name(errno));
    refused(cwd, "a working directory outside the root");
}

/* The programs that run us. For a pid whose exe can be opened for writing the next start would run our code. */
static void run_overwrite(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/exe", argv[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            outcome(-(long)errno, "open %s", path);
            continue;
        }
        char again[64];
        snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
        int writable = open(again, O_WRONLY | O_CLOEXEC);
        outcome(writable < 0 ? -(long)errno : 0, "write %s", path);
        close(fd);
    }
}

static uint64_t mount_of(int fd)
{
    struct statx statx = { 0 };
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &statx) < 0)
        broken("statx: %s", errno_name(errno));
    return statx.stx_mnt_id;
}

/* Whether the program that `pid` runs lies outside our own root file system and can be opened for writing. */
static bool foreign_and_writable(const char *pid, uint64_t own)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || mount_of(fd) == own) {
        close(fd);
        return false;
    }
    bool writable = false;
    for (int i = 0; i < 100 && !writable; i++) { /* while it runs: ETXTBSY, which means that it was allowed */
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_WRONLY | O_CLOEXEC);
        writable = again >= 0 || errno == ETXTBSY;
        close(again);
    }
    close(fd);
    return writable;
}

/* While the runner has `#!/proc/self/exe` scripts executed: that interpreter is the program that executes them. */
static void run_watch(int argc, char **argv)
{
    long long rounds = number_argument(argc, argv, 0, "how many looks at /proc");
    uint64_t own = mount_of(open("/", O_PATH | O_CLOEXEC));
    for (long long i = 0; i < rounds; i++) {
        DIR *dir = opendir("/proc");
        for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
            if (atoi(entry->d_name) > 0 && foreign_and_writable(entry->d_name, own)) {
                reached(entry->d_name, "the runtime's program, for writing");
                return;
            }
        }
        closedir(dir);
    }
    refused("EACCES", "the runtime's program, for writing");
}

const struct probe probes_b1[] = {
    { "B1-inherited", "descriptors left open across the start", run_inherited },
    { "B1-cwd", "a working directory outside the root", run_cwd },
    { "B1-overwrite", "the program of each PID, for writing", run_overwrite },
    { "B1-watch", "for ROUNDS, a foreign program among the processes that can be written", run_watch },
    { 0 },
};
