/* c5_storm.c - as much of the disk's time as can be had: `C5-storm PROCESSES SECONDS` writes and waits for the
 * disk. */
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Small pieces all over a file, each of which has to be on the disk before the next. */
static void storm(int number, long seconds)
{
    static char piece[4096];
    char name[32];
    struct timespec now, end;
    snprintf(name, sizeof name, "storm-%d", number);
    int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0)
        broken("open %s: %s", name, errno_name(errno));
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    unsigned at = (unsigned)number;
    do {
        at = at * 1103515245u + 12345u;
        if (pwrite(fd, piece, sizeof piece, (off_t)(at >> 8 & 0xfff) * 4096) < 0 || fsync(fd) < 0)
            broken("write %s: %s", name, errno_name(errno));
        sync();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec);
    unlink(name);
    _exit(0);
}

static void run_storm(int argc, char **argv)
{
    int processes = (int)number_argument(argc, argv, 0, "how many processes");
    long seconds = (long)number_argument(argc, argv, 1, "for how many seconds");
    int status, failed = 0;
    for (int i = 0; i < processes; i++)
        if (fork() == 0)
            storm(i, seconds);
    while (wait(&status) > 0)
        failed += status != 0;
    if (failed)
        broken("%d of %d writers failed", failed, processes);
    reached("written", "the disk");
}

const struct probe probes_c5[] = {
    { "C5-storm", "writes and syncs with PROCESSES for SECONDS", run_storm },
    { 0 },
};
