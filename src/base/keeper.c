#include "base/keeper.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/sys.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MOST_MS  2000
#define STEADY_MS      10000

static volatile sig_atomic_t worker_pid; /* 0: none */
static pid_t spare_pid;                  /* 0: none */

pid_t keeper_worker(void)
{
    return (pid_t)worker_pid;
}

static void pause_ms(uint32_t ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&pause, NULL);
}

/* -1: there is no process for it. */
static int begin_worker(int (*work)(void *data), void *data)
{
    pid_t pid = fork_bound();

    if (pid == 0)
        exit(work(data));
    worker_pid = MAX(pid, 0);
    return pid < 0 ? -1 : 0;
}

/*
 * True in the spare, once the keeper has died without a word. Its worker has had its SIGKILL by then, as the kernel
 * sends that before it tells anybody else, and gets the first pause to be gone. Without a spare it goes as well.
 */
static bool split_off_spare(void)
{
    int keeper = pidfd_open_pid(getpid());
    struct pollfd wait = { .fd = keeper, .events = POLLIN };
    pid_t pid = keeper < 0 ? -1 : fork();
    char name[16];

    if (pid == 0) {
        worker_pid = 0;
        prctl(PR_GET_NAME, name);
        prctl(PR_SET_NAME, KEEPER_SPARE_NAME);
        while (poll(&wait, 1, -1) <= 0)
            continue;
        prctl(PR_SET_NAME, name);
    }
    if (keeper >= 0)
        close(keeper);
    spare_pid = MAX(pid, 0);
    return pid == 0;
}

static void end_spare(void)
{
    if (!spare_pid)
        return;
    kill(spare_pid, SIGKILL);
    (void)RETRY_EINTR(waitpid(spare_pid, NULL, 0));
    spare_pid = 0;
}

/* How the worker ended, as waitpid(2) tells; -1: that could not be found out. */
static int wait_worker(void)
{
    int status;
    pid_t pid;

    for (;;) {
        if (!spare_pid && split_off_spare()) {
            log_error("keeper_died");
            return -1;
        }
        pid = RETRY_EINTR(waitpid(-1, &status, 0));
        if (pid < 0 || pid == (pid_t)worker_pid)
            break;
        if (pid == spare_pid) {
            pause_ms(PAUSE_FIRST_MS);
            spare_pid = 0;
        }
    }
    worker_pid = 0;
    return pid < 0 ? -1 : status;
}

int keeper_run(int (*work)(void *data), void *data)
{
    uint32_t pause = PAUSE_FIRST_MS;

    for (;;) {
        uint64_t began = clock_monotonic_ns();
        int status = begin_worker(work, data) < 0 ? -1 : wait_worker();

        if (status >= 0 && WIFEXITED(status)) {
            end_spare();
            return WEXITSTATUS(status);
        }
        if ((clock_monotonic_ns() - began) / 1000000 >= STEADY_MS)
            pause = PAUSE_FIRST_MS;
        log_error("worker_died", "status", log_num(status), "again_in_ms", log_num(pause));
        pause_ms(pause);
        pause = MIN(pause * 2, (uint32_t)PAUSE_MOST_MS);
    }
}
