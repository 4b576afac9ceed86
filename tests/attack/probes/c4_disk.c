/* c4_disk.c - `C4-NAME LIMIT`: more disk than the quota, by plain bytes, by files that are deleted but open, by
 * inodes and by preallocation. Reached if LIMIT could be had. Runs in the working directory. */
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

static long fill(int fd, long long size)
{
    static char block[BLOCK];
    for (size_t i = 0; i < sizeof block; i++) /* nothing that compresses */
        block[i] = (char)(rand() >> 7);
    for (long long done = 0; done < size;) {
        ssize_t written = write(fd, block, sizeof block);
        if (written < 0)
            return -errno;
        done += written;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int new_file(const char *path)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        broken("%s: %s", path, errno_name(errno));
    return fd;
}

static void run_bytes(int argc, char **argv)
{
    long long size = number_argument(argc, argv, 0, "how many bytes are too many");
    int fd = new_file("berm-probe-fill");
    outcome(fill(fd, size), "%lld bytes", size);
    close(fd);
    unlink("berm-probe-fill");
}

static void run_deleted(int argc, char **argv)
{
    long long size = number_argument(argc, argv, 0, "how many bytes are too many");
    long result = 0;
    for (int i = 0; i < 16 && result == 0; i++) {
        int fd = new_file("berm-probe-deleted");
        unlink("berm-probe-deleted");
        result = fill(fd, size / 16);
    }
    outcome(result, "%lld bytes in deleted files", size);
}

static void run_allocated(int argc, char **argv)
{
    long long size = number_argument(argc, argv, 0, "how many bytes are too many");
    int fd = new_file("berm-probe-fill");
    outcome(sys_result(fallocate(fd, 0, 0, size)), "%lld bytes preallocated", size);
    close(fd);
    unlink("berm-probe-fill");
}

/* Small files whose content lies in the metadata, and hard links: what a byte quota must count too. */
static void run_inodes(int argc, char **argv)
{
    long long count = number_argument(argc, argv, 0, "how many files are too many");
    if (mkdir("berm-probe-inodes", 0700) < 0 || chdir("berm-probe-inodes") < 0)
        broken("mkdir: %s", errno_name(errno));
    long result = 0;
    long long made = 0;
    char name[32];
    static const char content[1500] = "x";
    for (; made < count && result == 0; made++) {
        snprintf(name, sizeof name, "%lld", made);
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, content, sizeof content) < 0)
            result = -errno;
        if (fd >= 0)
            close(fd);
    }
    outcome(result, "%lld files", count);
    for (long long i = 0; i < made; i++) {
        snprintf(name, sizeof name, "%lld", i);
        unlink(name);
    }
    if (chdir("..") == 0)
        rmdir("berm-probe-inodes");
}

/* Writes SIZE bytes in a file that stays: what is below the quota must succeed, whatever the memory limit is. */
static void run_within(int argc, char **argv)
{
    long long size = number_argument(argc, argv, 0, "how many bytes");
    int fd = new_file("berm-probe-within");
    long result = fill(fd, size);
    close(fd);
    fd = open("berm-probe-within", O_RDONLY | O_CLOEXEC);
    static char block[BLOCK];
    long long seen = 0;
    for (ssize_t n; fd >= 0 && (n = read(fd, block, sizeof block)) > 0;)
        seen += n;
    unlink("berm-probe-within");
    outcome(result < 0 ? result : seen >= size ? 0 : -EIO, "%lld bytes within the quota", size);
}

const struct probe probes_c4[] = {
    { "C4-bytes", "BYTES in one file", run_bytes },
    { "C4-deleted", "BYTES in files that are deleted but open", run_deleted },
    { "C4-allocated", "BYTES by fallocate", run_allocated },
    { "C4-inodes", "COUNT small files", run_inodes },
    { "C4-within", "BYTES written and read back, which must work", run_within },
    { 0 },
};
