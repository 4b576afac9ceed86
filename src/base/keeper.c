#include "base/keeper.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/sys.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MOST_MS  2000
#define STEADY_MS      10000

static volatile sig_atomic_t worker_pid;

pid_t keeper_worker(void)
{
    return (pid_t)worker_pid;
}

/* How the worker ended, as waitpid(2) tells; -1: it could not even be forked. */
static int run_worker(int (*work)(void *data), void *data)
{
    pid_t pid = fork_bound();
    int status;

    if (pid < 0)
        return -1;
    if (pid == 0)
        exit(work(data));
    worker_pid = pid;
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
        return -1;
    worker_pid = 0;
    return status;
}

static void pause_ms(uint32_t ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&pause, NULL);
}

int keeper_run(int (*work)(void *data), void *data)
{
    uint32_t pause = PAUSE_FIRST_MS;

    for (;;) {
        uint64_t began = clock_monotonic_ns();
        int status = run_worker(work, data);

        if (status >= 0 && WIFEXITED(status))
            return WEXITSTATUS(status);
        if ((clock_monotonic_ns() - began) / 1000000 >= STEADY_MS)
            pause = PAUSE_FIRST_MS;
        log_error("worker_died", "status", log_num(status), "again_in_ms", log_num(pause));
        pause_ms(pause);
        pause = MIN(pause * 2, (uint32_t)PAUSE_MOST_MS);
    }
}
