/*
 * b2_swap.c - names that are something else at each look. `B2-swap DIRECTORY TARGET` makes DIRECTORY/NAME for the
 * names below, and exchanges what they name, as fast as it can, until it is killed: a file, a directory, a FIFO
 * that nobody serves, links upwards, to TARGET, into /proc and to itself. Whoever looks first and acts then, by the
 * name, acts on something else.
 */
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
#define COUNT (sizeof names / sizeof names[0])

static void make_all(int dir, const char *target)
{
    char up[512];
    snprintf(up, sizeof up, "../../../../../../../..%s", target);
    int file = openat(dir, "a", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (file < 0 || write(file, "plain", 5) != 5 || mkdirat(dir, "b", 0755) < 0 || mkfifoat(dir, "c", 0644) < 0 ||
        symlinkat(target, dir, "d") < 0 || symlinkat(up, dir, "e") < 0 || symlinkat("/proc/1/root", dir, "f") < 0 ||
        symlinkat("/proc/self/fd/3", dir, "g") < 0 || symlinkat("h", dir, "h") < 0)
        broken("what is to be exchanged: %s", errno_name(errno));
    close(file);
    int inner = openat(dir, "b/a", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (inner < 0)
        broken("a file in the directory: %s", errno_name(errno));
    close(inner);
}

static void run_swap(int argc, char **argv)
{
    if (argc < 2)
        broken("a directory and a target");
    int dir = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        broken("open %s: %s", argv[0], errno_name(errno));
    make_all(dir, argv[1]);
    reached("exchanging", "the names");
    fflush(stdout);
    /* What others have removed meanwhile is made again as the cheapest thing there is. */
    for (unsigned turn = 0;; turn++) {
        const char *one = names[turn % COUNT], *other = names[(turn / COUNT + turn + 1) % COUNT];
        if (one == other || syscall(SYS_renameat2, dir, one, dir, other, RENAME_EXCHANGE) == 0)
            continue;
        (void)!symlinkat(argv[1], dir, one);
        (void)!mkdirat(dir, other, 0755);
    }
}

const struct probe probes_b2[] = {
    { "B2-swap", "exchanges files, directories, FIFOs and links below DIRECTORY, those to TARGET among them",
      run_swap },
    { 0 },
};
