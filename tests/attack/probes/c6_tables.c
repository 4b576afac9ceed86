/* c6_tables.c - tables of limited size: descriptors, terminals, threads. */
#include "probe.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static long count_wanted;

/* The soft limit is the process's own to raise; the hard one is the sandbox's. */
static void raise_nofile(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max = 1 << 20;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static long attempt_fds(void *arg)
{
    (void)arg;
    raise_nofile();
    for (long i = 0; i < count_wanted; i++)
        if (eventfd(0, EFD_CLOEXEC) < 0)
            return -errno;
    return 0;
}

/* Descriptors in flight in unix sockets are in nobody's table. */
static long attempt_in_flight(void *arg)
{
    (void)arg;
    raise_nofile();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    int wanted = 8 << 20;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    for (long sent = 0; sent < count_wanted; sent += 64) {
        union {
            struct cmsghdr header;
            char space[CMSG_SPACE(64 * sizeof(int))];
        } control = { 0 };
        char byte = 0;
        struct iovec iov = { &byte, 1 };
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
        };
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(64 * sizeof(int));
        for (int i = 0; i < 64; i++)
            ((int *)CMSG_DATA(&control.header))[i] = pair[1];
        if (sendmsg(pair[0], &message, 0) < 0) {
            if (errno != EAGAIN)
                return -errno;
            if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        }
    }
    return 0;
}

static long attempt_terminals(void *arg)
{
    (void)arg;
    raise_nofile();
    for (long i = 0; i < count_wanted; i++)
        if (posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) < 0)
            return -errno;
    return 0;
}

static void *sleep_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static long attempt_threads(void *arg)
{
    (void)arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    for (long i = 0; i < count_wanted; i++) {
        pthread_t thread;
        int error = pthread_create(&thread, &attr, sleep_for_ever, NULL);
        if (error != 0)
            return -error;
    }
    return 0;
}

static long attempt_signals(void *arg)
{
    (void)arg;
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    union sigval value = { 0 };
    for (long i = 0; i < count_wanted; i++)
        if (sigqueue(getpid(), SIGRTMIN + 1, value) < 0)
            return -errno;
    return 0;
}

static void attempt_count(int argc, char **argv, long (*attempt)(void *arg), const char *what)
{
    count_wanted = (long)number_argument(argc, argv, 0, "how many are too many");
    outcome(try_in_child(attempt, NULL, 120), "%ld %s", count_wanted, what);
}

#define TABLE(function, attempt, what)                                                                             \
    static void function(int argc, char **argv)                                                                    \
    {                                                                                                              \
        attempt_count(argc, argv, attempt, what);                                                                  \
    }
TABLE(run_fds, attempt_fds, "descriptors")
TABLE(run_in_flight, attempt_in_flight, "descriptors in flight")
TABLE(run_terminals, attempt_terminals, "terminals")
TABLE(run_threads, attempt_threads, "threads")
TABLE(run_signals, attempt_signals, "queued signals")

const struct probe probes_c6[] = {
    { "C6-fds", "COUNT descriptors", run_fds },
    { "C6-in-flight", "COUNT descriptors in unix sockets", run_in_flight },
    { "C6-terminals", "COUNT terminals", run_terminals },
    { "C6-threads", "COUNT threads", run_threads },
    { "C6-signals", "COUNT queued signals", run_signals },
    { 0 },
};
