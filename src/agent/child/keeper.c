#include "keeper.h"

#include "base/sys.h"
#include "child_start.h"
#include "net_count.h"
#include "no_network.h"
#include "procfs.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define REPORT_FD       61 /* beside CHILD_EXTRA_FD */
#define LOOK_MIN_MS     5
#define LOOK_MAX_MS     1000
#define MEMORY_PER_MS   ((int64_t)4 * 1024 * 1024) /* that a processor can fill */
#define PIDS_PER_MS     4
#define END_WITHIN_MS   5000 /* of what SIGKILL takes no effect on */
#define END_LOOK_MS     20
#define START_WITHIN_MS 10000
#define START_LOOK_MS   20
#define CPU_SLACK_S     2 /* the kernel's own limit is for each process, in seconds: it only stands behind ours */

struct keeper {
    const struct limits *limits;
    pid_t command;
    bool ended;
    struct keeper_report report;
    struct net_count network;
    unsigned processors;
    uint64_t look_at_ms; /* UINT64_MAX: never */
};

/* What the keeper says first. */
struct keeper_hello {
    pid_t pid; /* < 0: `err` */
    struct child_error err;
};

static uint64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* --- measuring --- */

static uint64_t cpu_us(pid_t pid)
{
    struct timespec ts;
    clockid_t clock;

    /* Its own to the nanosecond; what its children have left behind only in ticks. */
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
        return 0;
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000 + proc_children_cpu_us(pid);
}

static uint64_t reaped_cpu_us(struct rusage *ret)
{
    (void)getrusage(RUSAGE_CHILDREN, ret);
    return (uint64_t)(ret->ru_utime.tv_sec + ret->ru_stime.tv_sec) * 1000000 +
           (uint64_t)(ret->ru_utime.tv_usec + ret->ru_stime.tv_usec);
}

/*
 * Pages that several processes share count in each one's resident set: that sum is cheap and never too small. Only
 * when it is above the limit are the shares divided.
 */
static uint64_t memory_of(const struct pid_list *tree, uint64_t limit)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < tree->count; i++)
        sum += proc_resident_bytes(tree->pids[i]);
    if (sum <= limit)
        return sum;
    sum = 0;
    for (size_t i = 0; i < tree->count; i++)
        sum += proc_proportional_bytes(tree->pids[i]);
    return sum;
}

static uint64_t cpu_of(const struct pid_list *tree)
{
    struct rusage reaped;
    uint64_t sum = reaped_cpu_us(&reaped);

    /* Parents first: a child that ends meanwhile is missed until the next look, and never counted twice. */
    for (size_t i = 0; i < tree->count; i++)
        sum += cpu_us(tree->pids[i]);
    return sum;
}

/* Takes what is left of a limit: whether it is passed, and when that could be so at the earliest. */
static bool passes(int64_t left, int64_t per_ms, enum end_reason reason, struct keeper *k, int64_t *due_ms)
{
    if (left < 0) {
        k->report.usage.reason = reason;
        return true;
    }
    *due_ms = MIN(*due_ms, left / per_ms);
    return false;
}

static bool over_limit(struct keeper *k)
{
    const struct limits *limits = k->limits;
    struct pid_list tree = { 0 };
    int64_t due_ms = LOOK_MAX_MS;
    bool over = false;

    (void)proc_descendants(getpid(), NULL, &tree); /* without memory: what there is of it */
    if (limits->pids != LIMIT_NONE)
        over = passes(limits->pids - (int64_t)tree.count, PIDS_PER_MS, END_PIDS, k, &due_ms);
    if (!over && limits->memory != LIMIT_NONE)
        over = passes(limits->memory - (int64_t)memory_of(&tree, (uint64_t)limits->memory),
                      MEMORY_PER_MS * k->processors, END_MEMORY, k, &due_ms);
    if (!over && limits->cpu_ms != LIMIT_NONE)
        over = passes(limits->cpu_ms - (int64_t)(cpu_of(&tree) / 1000), k->processors, END_CPU, k, &due_ms);
    pid_list_free(&tree);
    k->look_at_ms = now_ms() + (uint64_t)MAX(due_ms, (int64_t)LOOK_MIN_MS);
    return over;
}

/* --- waiting --- */

/* False once there is nobody left. */
static bool reap(struct keeper *k)
{
    int status;
    pid_t pid;

    while ((pid = (pid_t)RETRY_EINTR(waitpid(-1, &status, WNOHANG))) > 0) {
        if (pid != k->command)
            continue;
        k->ended = true;
        k->report.wait_status = status;
    }
    return pid == 0;
}

static void signal_tree(int signo)
{
    struct pid_list tree = { 0 };

    (void)proc_descendants(getpid(), NULL, &tree);
    while (tree.count > 0)
        kill(tree.pids[--tree.count], signo);
    pid_list_free(&tree);
}

/* The next signal, or 0 when `until_ms` has come. */
static int next_signal(uint64_t until_ms)
{
    struct timespec wait;
    uint64_t now = now_ms(), ms = until_ms > now ? until_ms - now : 0;
    sigset_t all;
    int signo;

    sigfillset(&all);
    wait = (struct timespec){ .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
    signo = until_ms == UINT64_MAX ? sigwaitinfo(&all, NULL) : sigtimedwait(&all, NULL, &wait);
    return signo < 0 ? 0 : signo;
}

/* Until the command has ended, or has to. */
static void watch(struct keeper *k)
{
    while (reap(k) && !k->ended) {
        int signo = next_signal(k->look_at_ms);

        if (signo == SIGQUIT) {
            k->report.usage.reason = END_KILLED;
            return;
        }
        if (signo != 0 && signo != SIGCHLD && signo != SIGCONT)
            signal_tree(signo);
        if (now_ms() >= k->look_at_ms && over_limit(k))
            return;
    }
}

/* Children of the killed become ours, so each round reaches a generation more. */
static void end_all(struct keeper *k)
{
    uint64_t until_ms = now_ms() + END_WITHIN_MS;

    while (reap(k) && now_ms() < until_ms) {
        signal_tree(SIGKILL);
        (void)next_signal(now_ms() + END_LOOK_MS);
    }
}

static void settle(struct keeper *k)
{
    struct usage *usage = &k->report.usage;
    struct rusage reaped;

    usage->measured = true;
    usage->cpu_us = reaped_cpu_us(&reaped);
    usage->max_rss = (uint64_t)reaped.ru_maxrss * 1024;
    usage->io_bytes = (uint64_t)(reaped.ru_inblock + reaped.ru_oublock) * 512;
    usage->no_network = k->limits->no_network;
    if (!usage->no_network)
        usage->net_known = net_count_end(&k->network, &usage->net_bytes);
    if (!k->ended)
        k->report.wait_status = SIGKILL;
}

/* --- the start --- */

/* In the command, before it is executed: system calls only. */
static int enter_limits(const void *arg)
{
    const struct limits *limits = arg;
    struct rlimit cpu = { RLIM_INFINITY, RLIM_INFINITY };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (limits->cpu_ms / 1000 < INT32_MAX) {
        cpu.rlim_cur = cpu.rlim_max = (rlim_t)(limits->cpu_ms / 1000 + CPU_SLACK_S);
        if (setrlimit(RLIMIT_CPU, &cpu) < 0)
            return -1;
    }
    return limits->no_network ? no_network_enter() : 0;
}

/* Nothing of the agent's but what the command gets, and the pipe. */
static bool take_fds(struct child_spec *spec, const int fds[3], int report_fd)
{
    int high[2], places[2] = { REPORT_FD, CHILD_EXTRA_FD };

    high[0] = fcntl(report_fd, F_DUPFD_CLOEXEC, REPORT_FD + 1);
    high[1] = spec->extra_fd >= 0 ? fcntl(spec->extra_fd, F_DUPFD_CLOEXEC, REPORT_FD + 1) : -1;
    if (high[0] < 0 || (spec->extra_fd >= 0 && high[1] < 0))
        return false;
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            return false;
    for (int i = 0; i < 2; i++)
        if (high[i] >= 0 && dup3(high[i], places[i], O_CLOEXEC) < 0)
            return false;
    if (spec->extra_fd >= 0)
        spec->extra_fd = CHILD_EXTRA_FD;
    (void)syscall(SYS_close_range, 3U, (unsigned)(spec->extra_fd >= 0 ? CHILD_EXTRA_FD : REPORT_FD) - 1, 0);
    (void)syscall(SYS_close_range, REPORT_FD + 1U, ~0U, 0);
    return true;
}

/* The command has them now; its readers wait for the last copy to be closed. */
static void let_go_of_fds(const struct child_spec *spec)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; i < 3; i++)
        null >= 0 ? (void)dup2(null, i) : (void)close(i);
    if (null > STDERR_FILENO)
        close(null);
    if (spec->extra_fd >= 0)
        close(spec->extra_fd);
}

static void start_command(struct keeper *k, struct child_spec *spec, const int fds[3], const struct rlimit *nofile,
                          int report_fd)
{
    static const int standard[3] = { 0, 1, 2 };
    struct keeper_hello hello = { .pid = -1, .err = { CHILD_FAIL_RESOURCES, ENOMEM } };

    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (take_fds(spec, fds, report_fd)) {
        spec->before_exec = enter_limits;
        spec->before_exec_arg = k->limits;
        hello.pid = k->command = child_start(spec, standard, nofile, &hello.err);
    }
    let_go_of_fds(spec);
    (void)write_all(REPORT_FD, &hello, sizeof(hello));
    if (hello.pid < 0)
        _exit(1);
}

static void keep(const struct child_spec *given, const struct limits *limits, const int fds[3],
                 const struct rlimit *nofile, int report_fd)
{
    struct keeper k = { .limits = limits, .look_at_ms = UINT64_MAX };
    struct child_spec spec = *given;
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    k.processors = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    if (!limits->no_network)
        net_count_begin(&k.network);
    start_command(&k, &spec, fds, nofile, report_fd);
    if (limits->cpu_ms != LIMIT_NONE || limits->memory != LIMIT_NONE || limits->pids != LIMIT_NONE)
        k.look_at_ms = 0;
    watch(&k);
    end_all(&k);
    settle(&k);
    (void)write_all(REPORT_FD, &k.report, sizeof(k.report));
    _exit(0);
}

/*
 * The command may be quicker than its keeper, and stop it before it has spoken: no matter what, the agent does not
 * wait for good.
 */
static bool read_hello(int fd, pid_t keeper, struct keeper_hello *ret)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    uint64_t until_ms = now_ms() + START_WITHIN_MS;

    while (now_ms() < until_ms) {
        if (poll(&ready, 1, START_LOOK_MS) > 0)
            return read(fd, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
        kill(keeper, SIGCONT);
    }
    return false;
}

pid_t keeper_start(const struct child_spec *spec, const struct limits *limits, const int fds[3],
                   const struct rlimit *nofile, pid_t *ret_pid, int *ret_report_fd, struct child_error *err)
{
    _cleanup_close_ int theirs = -EBADF, ours = -EBADF;
    struct keeper_hello hello;
    int report[2];
    pid_t pid;

    *err = (struct child_error){ CHILD_FAIL_RESOURCES, 0 };
    if (pipe2(report, O_CLOEXEC) < 0) {
        err->errnum = errno;
        return -1;
    }
    ours = report[0];
    theirs = report[1];
    pid = fork();
    if (pid == 0)
        keep(spec, limits, fds, nofile, theirs);
    err->errnum = errno;
    close_fd(&theirs); /* so that its end is seen */
    if (pid < 0)
        return -1;
    if (!read_hello(ours, pid, &hello)) {
        kill(pid, SIGKILL); /* not reaped yet, and the command goes with it */
        err->errnum = ECHILD;
        return -1;
    }
    if (hello.pid < 0) {
        *err = hello.err;
        return -1;
    }
    (void)set_nonblocking(ours);
    *ret_pid = hello.pid;
    *ret_report_fd = TAKE_FD(ours);
    return pid;
}
