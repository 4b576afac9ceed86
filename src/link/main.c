/*
 * main.c - berm-link, the program that speaks TLS, QUIC and HTTP/2 with the other end of a link: the keeper.
 *
 * bermd starts it before it gives up its privileges and cannot start another one later. So the keeper does nothing
 * but fork the worker, and another one should it crash (base/keeper.h), which tells bermd what is gone. It ends
 * when the worker ends in order, that is when bermd has closed the wire, or when there is nothing to serve with.
 */
#include "base/fault.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/standard_fds.h"
#include "base/sys.h"
#include "link/options.h"
#include "link/worker.h"

#include <signal.h>
#include <sys/mman.h>

/* Certificates are the worker's. */
static void on_hangup(int signo)
{
    if (keeper_worker() > 0)
        kill(keeper_worker(), signo);
}

/*
 * Signals for the daemon's process group are not for us: it may still need its links to drain, and closes the wire
 * when it does not any more.
 */
static void settle_signals(void)
{
    struct sigaction hangup = { .sa_handler = on_hangup, .sa_flags = SA_RESTART };
    sigset_t blocked;

    reset_signal_actions();
    sigaction(SIGHUP, &hangup, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGQUIT);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Whatever else we were started with goes. */
static void close_others(const struct link_options *o)
{
    int keep[] = { o->wire, o->tcp, o->udp };
    unsigned next = 3;

    qsort(keep, ARRAY_SIZE(keep), sizeof(keep[0]), compare);
    for (size_t i = 0; i < ARRAY_SIZE(keep); i++) {
        unsigned fd = (unsigned)keep[i];

        if (keep[i] < (int)next)
            continue;
        if (fd > next)
            close_range(next, fd - 1, 0);
        next = fd + 1;
    }
    close_range(next, ~0U, 0);
}

struct job {
    const struct link_options *options;
    struct link_table *table;
};

static int work(void *data)
{
    const struct job *job = data;

    return worker_run(job->options, job->table);
}

int main(int argc, char **argv)
{
    struct link_options options;
    struct link_table *table;
    struct berm_error err;

    if (open_standard_fds() < 0)
        return 1;
    fault_setup();
    log_setup("berm-link", LOG_LEVEL_INFO, false);
    if (link_options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "berm-link: %s\n", err.message);
        return 2;
    }
    close_others(&options);
    settle_signals();
    table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED) {
        log_error("start_failed", "reason", strerror(errno));
        return 1;
    }
    return keeper_run(work, &(struct job){ &options, table });
}
