#include "no_network.h"

#include "base/base.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#define X32_BIT  0x40000000U
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "no_network.c: which architecture is this?"
#endif

#define LOAD(what)      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, what))
#define IS(value, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), (t), (f))
#define ANSWER(action)  BPF_STMT(BPF_RET | BPF_K, (action))

/* The low half of the argument: the kernel looks at an int. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOAD_FIRST_ARGUMENT LOAD(args[0])
#else
#error "no_network.c: the low half is elsewhere"
#endif

/*
 * Refused are sockets of any family but AF_UNIX (and of the kernel's own netlink, which asks and does not carry),
 * and what would get one by another way: io_uring makes sockets without the call, ptrace and its like make a
 * process without the filter do it, pidfd_getfd takes it from one, the other calling conventions of the processor
 * have numbers of their own.
 */
static struct sock_filter program[] = {
    LOAD(arch),
    IS(OUR_ARCH, 1, 0),
    ANSWER(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
#ifdef X32_BIT
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
#endif
    IS(SYS_socket, 8, 0),
    IS(SYS_ptrace, 6, 0),
    IS(SYS_process_vm_writev, 5, 0),
    IS(SYS_pidfd_getfd, 4, 0),
    IS(SYS_io_uring_setup, 2, 0),
    IS(SYS_io_uring_enter, 1, 0),
    ANSWER(SECCOMP_RET_ALLOW),
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
    ANSWER(SECCOMP_RET_ERRNO | EPERM),
    LOAD_FIRST_ARGUMENT,
    IS(AF_UNIX, 2, 0),
    IS(AF_NETLINK, 1, 0),
    ANSWER(SECCOMP_RET_ERRNO | EACCES),
    ANSWER(SECCOMP_RET_ALLOW),
};

int no_network_enter(void)
{
    const struct sock_fprog filter = { .len = ARRAY_SIZE(program), .filter = program };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}
