/* main.c - berm-connector: how it is started, by bermd. */
#include "base/fault.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/standard_fds.h"
#include "base/sys.h"
#include "connector/connector.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static int read_number(const char *text, int *ret)
{
    uint64_t value;

    if (str_to_u64(str_from(text), &value) < 0 || value > INT32_MAX)
        return -1;
    *ret = (int)value;
    return 0;
}

/* -1: told. */
static int read_options(int argc, char **argv, struct connector *connector, int *ret_wire)
{
    static const struct option options[] = { { "wire", required_argument, NULL, 'w' },
                                             { "origin", required_argument, NULL, 'o' },
                                             { "program", required_argument, NULL, 'p' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    *ret_wire = -1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'o')
            connector->origin = optarg;
        else if (option == 'p')
            connector->program = optarg;
        else if (option != 'w' || read_number(optarg, ret_wire) < 0)
            return -1;
    }
    if (optind == argc && *ret_wire >= 3 && connector->origin)
        return 0;
    fprintf(stderr, "berm-connector: --wire N --origin URL [--program PATH], by bermd\n");
    return -1;
}

struct job {
    struct connector *connector;
    int wire;
};

static int work(void *data)
{
    struct job *job = data;

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    job->connector->loop = loop_new();
    if (job->connector->loop)
        return connector_serve(job->connector, job->wire);
    log_error("start_failed", "reason", strerror(errno));
    return 1;
}

/* Signals for the daemon's process group are not for us: it closes the wire. */
static void settle_signals(void)
{
    sigset_t blocked;

    reset_signal_actions();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

int main(int argc, char **argv)
{
    struct connector connector = { 0 };
    int wire;

    if (open_standard_fds() < 0)
        return 1;
    fault_setup();
    log_setup("berm-connector", LOG_LEVEL_INFO, false);
    if (read_options(argc, argv, &connector, &wire) < 0)
        return 2;
    if (wire > 3)
        close_range(3, (unsigned)wire - 1, 0);
    close_range((unsigned)wire + 1, ~0U, 0);
    settle_signals();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    connector.table =
        mmap(NULL, sizeof(*connector.table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (connector.table == MAP_FAILED) {
        log_error("start_failed", "reason", strerror(errno));
        return 1;
    }
    return keeper_run(work, &(struct job){ &connector, wire });
}
