/* c3_cpu.c - more processor time than one's share. `C3-priority` tries to become more important; `C3-spin THREADS
 * MS` burns, and is judged from outside by what the kernel accounted. */
#include "probe.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long attempt_policy(void *arg)
{
    struct sched_param param = { .sched_priority = 1 };
    return sys_result(syscall(SYS_sched_setscheduler, 0, (long)(intptr_t)arg, &param));
}

static long attempt_deadline(void *arg)
{
    (void)arg;
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = { .size = 48, .policy = 6, .runtime = 10000000, .deadline = 20000000, .period = 20000000 };
    return sys_result(syscall(SYS_sched_setattr, 0, &attr, 0));
}

static long attempt_nice(void *arg)
{
    (void)arg;
    return sys_result(setpriority(PRIO_PROCESS, 0, -20));
}

static long attempt_ioprio(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_ioprio_set, 1, 0, 1 << 13 /* real-time class */));
}

static long attempt_rlimit(void *arg)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    return sys_result(setrlimit((int)(intptr_t)arg, &limit));
}

static void run_priority(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    outcome(try_in_child(attempt_policy, (void *)SCHED_FIFO, 30), "SCHED_FIFO");
    outcome(try_in_child(attempt_policy, (void *)SCHED_RR, 30), "SCHED_RR");
    outcome(try_in_child(attempt_deadline, NULL, 30), "SCHED_DEADLINE");
    outcome(try_in_child(attempt_nice, NULL, 30), "nice -20");
    outcome(try_in_child(attempt_ioprio, NULL, 30), "real-time I/O class");
    outcome(try_in_child(attempt_rlimit, (void *)RLIMIT_RTPRIO, 30), "RLIMIT_RTPRIO raised");
    outcome(try_in_child(attempt_rlimit, (void *)RLIMIT_NICE, 30), "RLIMIT_NICE raised");
}

static void run_spin(int argc, char **argv)
{
    long spinners = (long)number_argument(argc, argv, 0, "how many processes");
    long ms = (long)number_argument(argc, argv, 1, "for how many milliseconds");
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    bool child = false;
    for (long i = 1; i < spinners && !child; i++) {
        pid_t pid = fork();
        if (pid < 0)
            broken("fork: %s", errno_name(errno));
        child = pid == 0;
    }
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
    if (child)
        _exit(0);
    while (wait(NULL) > 0)
        ;
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    long used_ms =
        (self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000 +
        (self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) /
            1000;
    char text[32];
    snprintf(text, sizeof text, "%ld ms", used_ms);
    if (used_ms > ms + ms / 4)
        reached(text, "more than one CPU");
    else
        refused(text, "more than one CPU");
}

const struct probe probes_c3[] = {
    { "C3-priority", "real-time classes and better priorities", run_priority },
    { "C3-spin", "THREADS processes that burn for MS milliseconds; reached above one CPU", run_spin },
    { 0 },
};
