/* c1_forks.c - `C1-bomb LIMIT`: every process forks as fast as it can; reached if more than LIMIT live at once. */
#include "probe.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct counts {
    atomic_long alive, peak, refused, stop;
    atomic_int error;
};

static void bomb(struct counts *counts, long limit)
{
    while (!atomic_load(&counts->stop)) {
        pid_t pid = fork();
        if (pid < 0) {
            atomic_store(&counts->error, errno);
            if (atomic_fetch_add(&counts->refused, 1) > 1000)
                atomic_store(&counts->stop, 1);
            sched_yield();
            continue;
        }
        if (pid > 0)
            continue;
        long alive = atomic_fetch_add(&counts->alive, 1) + 1;
        if (alive > atomic_load(&counts->peak))
            atomic_store(&counts->peak, alive);
        if (alive > limit)
            atomic_store(&counts->stop, 1);
    }
}

static void run_bomb(int argc, char **argv)
{
    long limit = (long)number_argument(argc, argv, 0, "how many processes are too many");
    struct counts *counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED)
        broken("mmap: %s", errno_name(errno));
    pid_t root = fork();
    if (root < 0)
        broken("fork: %s", errno_name(errno));
    if (root == 0) {
        setsid();
        bomb(counts, limit);
        pause();
        _exit(0);
    }
    struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
    for (int i = 0; i < 2000 && !atomic_load(&counts->stop); i++)
        nanosleep(&tick, NULL);
    atomic_store(&counts->stop, 1);
    kill(-root, SIGKILL);
    while (wait(NULL) > 0)
        ;
    if (atomic_load(&counts->peak) > limit)
        reached("no limit", "more than %ld processes", limit);
    else
        refused(errno_name(atomic_load(&counts->error)), "more than %ld processes", limit);
}

const struct probe probes_c1[] = {
    { "C1-bomb", "a fork bomb; more than LIMIT processes", run_bomb },
    { 0 },
};
