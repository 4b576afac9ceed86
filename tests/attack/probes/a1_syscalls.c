/*
 * a1_syscalls.c - every system call number, each in a child of its own, with arguments that no call can use: all
 * bits set. A call that the kernel knows then answers EFAULT, EINVAL or EBADF; one that the filter refuses answers
 * the filter's error. The runner compares both with the published allow-list and with the same sweep outside.
 */
#include "probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* One call waits, for ever; any other is given as long as the busiest machine may take. */
enum { NUMBERS = 512, X32_BIT = 0x40000000, WAIT_SECONDS = 4, ANSWER_SECONDS = 60 };

struct call {
    long number;
    long args[6];
};

/* Calls for which all bits set means "no such operation", which the kernel too answers by ENOSYS; and vfork, which
 * must not come back twice. */
static void use_other_arguments(struct call *call)
{
    if (call->number == SYS_futex || call->number == SYS_modify_ldt)
        memset(call->args, 0, sizeof call->args);
}

static long attempt_call(void *arg)
{
    struct call *call = arg;
    long result = raw_syscall(call->number, call->args);
    if ((call->number == SYS_fork || call->number == SYS_vfork) && result == 0) {
        static const long none[6];
        raw_syscall(SYS_exit_group, none);
    }
    return result;
}

static void sweep(long bit)
{
    for (long number = 0; number < NUMBERS; number++) {
        struct call call = { .number = number | bit, .args = { -1, -1, -1, -1, -1, -1 } };
        use_other_arguments(&call);
        long result = try_in_child(attempt_call, &call, call.number == SYS_pause ? WAIT_SECONDS : ANSWER_SECONDS);
        if (result <= TRY_SIGNAL || result == TRY_BLOCKED || result > -4096)
            outcome(result, "%ld", number);
        else
            reached("a value", "%ld", number);
    }
}

static void run_native(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    sweep(0);
}

static void run_x32(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    sweep(X32_BIT);
}

static long attempt_getpid32(void *arg)
{
    (void)arg;
    return raw_syscall32(20, 0, 0, 0);
}

static long attempt_socket32(void *arg)
{
    (void)arg;
    return raw_syscall32(359, 16, 3,
                         6); /* AF_NETLINK, NETLINK_XFRM: hidden from a filter that reads x86-64 numbers */
}

static long attempt_socketcall(void *arg)
{
    (void)arg;
    return raw_syscall32(102, 1, 0, 0);
}

static void run_i386(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    outcome(try_in_child(attempt_getpid32, NULL, ANSWER_SECONDS), "getpid by int 0x80");
    outcome(try_in_child(attempt_socket32, NULL, ANSWER_SECONDS), "socket by int 0x80");
    long result = try_in_child(attempt_socketcall, NULL, ANSWER_SECONDS);
    outcome(result == -EFAULT ? 0 : result, "socketcall by int 0x80"); /* EFAULT: it went to read its arguments */
}

const struct probe probes_a1[] = {
    { "A1-native", "each system call number", run_native },
    { "A1-x32", "each system call number with the x32 bit", run_x32 },
    { "A1-i386", "the 32-bit entry", run_i386 },
    { 0 },
};
