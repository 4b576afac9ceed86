#include "filter.h"

#include <linux/audit.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "no system call filter for this architecture"
#endif

#define X32_BIT       UINT32_C(0x40000000)
#define ERRNO_LEAF(e) (SECCOMP_RET_ERRNO | (uint32_t)(e))

#define NAMESPACE_FLAGS                                                                                            \
    (UINT32_C(0x80) /* CLONE_NEWTIME */ | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |            \
     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/*
 * A leaf of a decision tree: what the program does with the numbers from `first` up to the next row's `first`.
 * Either a SECCOMP_RET_* value or, with CHECK(), one of the blocks below that looks at an argument.
 */
struct row {
    uint32_t first;
    uint32_t leaf;
};

enum check {
    CHECK_SOCKET,
    CHECK_INET_TYPE,
    CHECK_TCP_PROTOCOL,
    CHECK_UDP_PROTOCOL,
    CHECK_NETLINK_PROTOCOL,
    CHECK_SOCKET_OF_WORKER,
    CHECK_WORKER_NETLINK,
    CHECK_SOCKET_OF_CHILD,
    CHECK_SOCKETPAIR,
    CHECK_CLONE,
    CHECK_UNSHARE,
    CHECK_IOCTL,
    CHECK_IOCTL_OF_CHILD,
    CHECK_IOCTL_TERMINAL,
    CHECK_IOCTL_BTRFS,
    CHECK_PERSONALITY,
    CHECK_PRCTL,
    CHECK_ARCH_PRCTL,
    CHECK_MKNOD,
    CHECK_MKNODAT,
    CHECK_SETSOCKOPT,
    CHECK_TCP_OPTION,
    CHECK_UDP_OPTION,
    CHECK_PRLIMIT,
    CHECK_COUNT
};

/* No SECCOMP_RET_* value lies here, so that one word holds either. */
#define CHECK(c)    (UINT32_C(0x00990000) | (uint32_t)(c))
#define IS_CHECK(l) (((l)&UINT32_C(0xffff0000)) == UINT32_C(0x00990000))
#define YES         SECCOMP_RET_ALLOW

/* --- the argument checks: which argument, masked how, and its tree --- */

/* clang-format off */
#define SOCKET_ROWS(netlink)                                                                                       \
    { 0, ERRNO_LEAF(EAFNOSUPPORT) },                                                                               \
    { AF_UNIX, YES },                                                                                              \
    { AF_INET, CHECK(CHECK_INET_TYPE) },                                                                           \
    { AF_INET + 1, ERRNO_LEAF(EAFNOSUPPORT) },                                                                     \
    { AF_INET6, CHECK(CHECK_INET_TYPE) },                                                                          \
    { AF_INET6 + 1, ERRNO_LEAF(EAFNOSUPPORT) },                                                                    \
    { AF_NETLINK, CHECK(netlink) },                                                                                \
    { AF_NETLINK + 1, ERRNO_LEAF(EAFNOSUPPORT) }
/* clang-format on */

static const struct row socket_rows[] = { SOCKET_ROWS(CHECK_NETLINK_PROTOCOL) };

static const struct row inet_type_rows[] = {
    { 0, ERRNO_LEAF(ESOCKTNOSUPPORT) },
    { SOCK_STREAM, CHECK(CHECK_TCP_PROTOCOL) },
    { SOCK_DGRAM, CHECK(CHECK_UDP_PROTOCOL) },
    { SOCK_RAW, ERRNO_LEAF(EPERM) },
    { SOCK_RAW + 1, ERRNO_LEAF(ESOCKTNOSUPPORT) },
};

/* TCP alone: SCTP, DCCP, MPTCP, SMC and L2TP are modules that a call would load. */
static const struct row tcp_rows[] = {
    { 0, YES },
    { 1, ERRNO_LEAF(EPROTONOSUPPORT) },
    { 6, YES },
    { 7, ERRNO_LEAF(EPROTONOSUPPORT) },
};

/* UDP, and the echo sockets that ping needs no right for. */
static const struct row udp_rows[] = {
    { 0, YES },  { 2, ERRNO_LEAF(EPROTONOSUPPORT) },  { 17, YES }, { 18, ERRNO_LEAF(EPROTONOSUPPORT) },
    { 58, YES }, { 59, ERRNO_LEAF(EPROTONOSUPPORT) },
};

static const struct row netlink_rows[] = {
    { 0, YES }, /* NETLINK_ROUTE */
    { 1, ERRNO_LEAF(EPROTONOSUPPORT) },
};

/* The worker sets up nft rules in the namespaces that it makes. */
static const struct row worker_socket_rows[] = { SOCKET_ROWS(CHECK_WORKER_NETLINK) };
static const struct row worker_netlink_rows[] = {
    { 0, YES }, /* NETLINK_ROUTE */
    { 1, ERRNO_LEAF(EPROTONOSUPPORT) },
    { NETLINK_NETFILTER, YES },
    { NETLINK_NETFILTER + 1, ERRNO_LEAF(EPROTONOSUPPORT) },
};
static const struct row child_socket_rows[] = {
    { 0, YES },
    { AF_NETLINK, CHECK(CHECK_NETLINK_PROTOCOL) },
    { AF_NETLINK + 1, YES },
};

static const struct row socketpair_rows[] = {
    { 0, ERRNO_LEAF(EAFNOSUPPORT) },
    { AF_UNIX, YES },
    { AF_UNIX + 1, ERRNO_LEAF(EAFNOSUPPORT) },
};

/* Terminal injection (TIOCSTI, TIOCLINUX), taking over the console, and line disciplines, which load modules. */
static const struct row ioctl_terminal_rows[] = {
    { 0, YES },
    { TIOCSTI, ERRNO_LEAF(EPERM) },
    { TIOCSTI + 1, YES },
    { TIOCLINUX, ERRNO_LEAF(EPERM) },
    { TIOCCONS, ERRNO_LEAF(EPERM) },
    { TIOCCONS + 1, YES },
    { TIOCSETD, ERRNO_LEAF(EPERM) },
    { TIOCSETD + 1, YES },
};

/*
 * What btrfs has beside copying by reference is refused as by a file system without it: whoever owns a directory of
 * a volume could make subvolumes there, which its limit does not count. The worker needs these calls, so that part
 * is the child's.
 */
#define TERMINAL_TYPE 0x54u
static const struct row ioctl_rows[] = {
    { 0, YES },
    { TERMINAL_TYPE << 8, CHECK(CHECK_IOCTL_TERMINAL) },
    { (TERMINAL_TYPE + 1) << 8, YES },
    { BTRFS_IOCTL_MAGIC << 8, CHECK(CHECK_IOCTL_BTRFS) },
    { (BTRFS_IOCTL_MAGIC + 1) << 8, YES },
};
static const struct row child_ioctl_rows[] = {
    { 0, YES },
    { BTRFS_IOCTL_MAGIC << 8, CHECK(CHECK_IOCTL_BTRFS) },
    { (BTRFS_IOCTL_MAGIC + 1) << 8, YES },
};
static const struct row ioctl_btrfs_rows[] = {
    { 0, ERRNO_LEAF(ENOTTY) },
    { FICLONE, YES },
    { FICLONE + 1, ERRNO_LEAF(ENOTTY) },
    { FICLONERANGE, YES },
    { FICLONERANGE + 1, ERRNO_LEAF(ENOTTY) },
    { FIDEDUPERANGE, YES },
    { FIDEDUPERANGE + 1, ERRNO_LEAF(ENOTTY) },
};

/* The native one, asking, and no address randomisation, which debuggers set for what they start. */
static const struct row personality_rows[] = {
    { 0, YES },          { 1, ERRNO_LEAF(EPERM) }, { 0x00040000, YES }, { 0x00040001, ERRNO_LEAF(EPERM) },
    { UINT32_MAX, YES },
};

/*
 * Left out, and answered like on a kernel without them: PR_SET_MM, machine check policy, IO flusher, syscall user
 * dispatch, core scheduling (which is the host's), memory merging (a side channel between tenants).
 */
static const struct row prctl_rows[] = {
    { 0, ERRNO_LEAF(EINVAL) },
    { PR_SET_PDEATHSIG, YES }, /* to PR_SET_DUMPABLE */
    { PR_SET_DUMPABLE + 1, ERRNO_LEAF(EINVAL) },
    { PR_GET_KEEPCAPS, YES }, /* and PR_SET_KEEPCAPS */
    { PR_SET_KEEPCAPS + 1, ERRNO_LEAF(EINVAL) },
    { PR_SET_NAME, YES }, /* and PR_GET_NAME */
    { PR_GET_NAME + 1, ERRNO_LEAF(EINVAL) },
    { PR_GET_SECCOMP, YES }, /* to PR_GET_TSC */
    { PR_SET_TSC, ERRNO_LEAF(EINVAL) },
    { PR_GET_SECUREBITS, YES }, /* to PR_GET_TIMERSLACK */
    { PR_GET_TIMERSLACK + 1, ERRNO_LEAF(EINVAL) },
    { PR_SET_CHILD_SUBREAPER, YES }, /* to PR_GET_THP_DISABLE: subreaper, no_new_privs, tid address */
    { PR_GET_THP_DISABLE + 1, ERRNO_LEAF(EINVAL) },
    { PR_CAP_AMBIENT, YES },
    { PR_CAP_AMBIENT + 1, ERRNO_LEAF(EINVAL) },
    { PR_GET_SPECULATION_CTRL, YES }, /* and PR_SET_SPECULATION_CTRL */
    { PR_SET_SPECULATION_CTRL + 1, ERRNO_LEAF(EINVAL) },
    { 65, YES }, /* PR_SET_MDWE, PR_GET_MDWE */
    { 67, ERRNO_LEAF(EINVAL) },
    { 0x53564d41, YES }, /* PR_SET_VMA: names of mappings */
    { 0x53564d42, ERRNO_LEAF(EINVAL) },
    { PR_SET_PTRACER, YES },
    { PR_SET_PTRACER + 1, ERRNO_LEAF(EINVAL) },
};

static const struct row arch_prctl_rows[] = {
    { 0, ERRNO_LEAF(EINVAL) },      { 0x1001, YES }, /* ARCH_SET_GS, SET_FS, GET_FS, GET_GS */
    { 0x1005, ERRNO_LEAF(EINVAL) }, { 0x1011, YES }, /* ARCH_GET_CPUID, SET_CPUID */
    { 0x1013, ERRNO_LEAF(EINVAL) }, { 0x1021, YES }, /* ARCH_GET_XCOMP_SUPP, GET_XCOMP_PERM, REQ_XCOMP_PERM */
    { 0x1024, ERRNO_LEAF(EINVAL) }, { 0x5001, YES }, /* shadow stacks */
    { 0x5006, ERRNO_LEAF(EINVAL) },
};

/* Plain files, fifos and sockets; no device, not even the 0:0 one that overlayfs takes for a deleted file. */
static const struct row mknod_rows[] = {
    { 0, YES }, /* and S_IFIFO, the next of the masked values */
    { S_IFIFO + 1, ERRNO_LEAF(EPERM) },
    { S_IFREG, YES },
    { S_IFREG + 1, ERRNO_LEAF(EPERM) },
    { S_IFSOCK, YES },
    { S_IFSOCK + 1, ERRNO_LEAF(EPERM) },
};

/*
 * Two options that change what a socket is: TCP_ULP loads protocols into it (TLS in the kernel, MPTCP, SMC),
 * UDP_ENCAP makes it take IPsec apart, one half of the page-cache writes of CVE-2026-43284. Answered as by a kernel
 * without them.
 */
static const struct row setsockopt_rows[] = {
    { 0, YES },
    { IPPROTO_TCP, CHECK(CHECK_TCP_OPTION) },
    { IPPROTO_TCP + 1, YES },
    { IPPROTO_UDP, CHECK(CHECK_UDP_OPTION) },
    { IPPROTO_UDP + 1, YES },
};
static const struct row tcp_option_rows[] = {
    { 0, YES },
    { TCP_ULP, ERRNO_LEAF(ENOPROTOOPT) },
    { TCP_ULP + 1, YES },
};
static const struct row udp_option_rows[] = {
    { 0, YES },
    { UDP_ENCAP, ERRNO_LEAF(ENOPROTOOPT) },
    { UDP_ENCAP + 1, YES },
};

/*
 * The agent has the user id of root's processes, so they could set its limits: a CPU limit ends in a SIGKILL that
 * even pid 1 takes. One's own limits are asked for with pid 0.
 */
static const struct row prlimit_rows[] = { { 0, YES }, { 1, ERRNO_LEAF(EPERM) }, { 2, YES } };

struct check_block {
    unsigned argument;
    uint32_t mask;    /* applied to the argument first; 0: none */
    uint32_t any_bit; /* instead of a tree: EPERM if one of these bits is set */
    const struct row *rows;
    size_t count;
};

#define TREE(arg, and, table)                                                                                      \
    {                                                                                                              \
        .argument = (arg), .mask = (and), .rows = (table), .count = ARRAY_SIZE(table)                              \
    }

/*
 * All of these arguments are ints or the kernel cuts them to 32 bits, so the low word is all there is to look at,
 * and rubbish in the high word must not make a difference.
 */
static const struct check_block checks[CHECK_COUNT] = {
    [CHECK_SOCKET] = TREE(0, 0, socket_rows),
    [CHECK_INET_TYPE] = TREE(1, 0xf, inet_type_rows),
    [CHECK_TCP_PROTOCOL] = TREE(2, 0, tcp_rows),
    [CHECK_UDP_PROTOCOL] = TREE(2, 0, udp_rows),
    [CHECK_NETLINK_PROTOCOL] = TREE(2, 0, netlink_rows),
    [CHECK_SOCKET_OF_WORKER] = TREE(0, 0, worker_socket_rows),
    [CHECK_WORKER_NETLINK] = TREE(2, 0, worker_netlink_rows),
    [CHECK_SOCKET_OF_CHILD] = TREE(0, 0, child_socket_rows),
    [CHECK_SOCKETPAIR] = TREE(0, 0, socketpair_rows),
    [CHECK_CLONE] = { .argument = 0, .any_bit = NAMESPACE_FLAGS & ~UINT32_C(0xff) },
    [CHECK_UNSHARE] = { .argument = 0, .any_bit = NAMESPACE_FLAGS },
    [CHECK_IOCTL] = TREE(1, 0xff00, ioctl_rows),
    [CHECK_IOCTL_OF_CHILD] = TREE(1, 0xff00, child_ioctl_rows),
    [CHECK_IOCTL_TERMINAL] = TREE(1, 0, ioctl_terminal_rows),
    [CHECK_IOCTL_BTRFS] = TREE(1, 0, ioctl_btrfs_rows),
    [CHECK_PERSONALITY] = TREE(0, 0, personality_rows),
    [CHECK_PRCTL] = TREE(0, 0, prctl_rows),
    [CHECK_ARCH_PRCTL] = TREE(0, 0, arch_prctl_rows),
    [CHECK_MKNOD] = TREE(1, S_IFMT, mknod_rows),
    [CHECK_MKNODAT] = TREE(2, S_IFMT, mknod_rows),
    [CHECK_SETSOCKOPT] = TREE(1, 0, setsockopt_rows),
    [CHECK_TCP_OPTION] = TREE(2, 0, tcp_option_rows),
    [CHECK_UDP_OPTION] = TREE(2, 0, udp_option_rows),
    [CHECK_PRLIMIT] = TREE(0, 0, prlimit_rows),
};

/* --- emitting the program --- */

static void emit(struct filter_program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->count < FILTER_PROGRAM_MAX)
        p->insn[p->count] = (struct sock_filter){ code, jt, jf, k };
    p->count++; /* past the end it only counts, which the end of compile() reports */
}

static void emit_tree(struct filter_program *p, const struct row *rows, size_t count);

static void emit_check(struct filter_program *p, const struct check_block *check)
{
    uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * check->argument);

    emit(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); /* the low word: both architectures are little endian */
    if (check->any_bit) {
        emit(p, BPF_JMP | BPF_JSET | BPF_K, check->any_bit, 0, 1);
        emit(p, BPF_RET | BPF_K, ERRNO_LEAF(EPERM), 0, 0);
        emit(p, BPF_RET | BPF_K, YES, 0, 0);
        return;
    }
    if (check->mask)
        emit(p, BPF_ALU | BPF_AND | BPF_K, check->mask, 0, 0);
    emit_tree(p, check->rows, check->count);
}

static void emit_leaf(struct filter_program *p, uint32_t leaf)
{
    if (IS_CHECK(leaf))
        emit_check(p, &checks[leaf & 0xffff]);
    else
        emit(p, BPF_RET | BPF_K, leaf, 0, 0);
}

/*
 * Branches over the accumulator. The upper half comes behind the lower one; a conditional jump reaches 255
 * instructions, so that a farther one goes over an unconditional jump, for which the lower half moves up by one.
 */
static void emit_tree(struct filter_program *p, const struct row *rows, size_t count)
{
    size_t half = count / 2;
    uint16_t at = p->count, distance;

    if (count == 1) {
        emit_leaf(p, rows[0].leaf);
        return;
    }
    emit(p, BPF_JMP | BPF_JGE | BPF_K, rows[half].first, 0, 0);
    emit_tree(p, rows, half);
    distance = (uint16_t)(p->count - at - 1);
    if (p->count >= FILTER_PROGRAM_MAX)
        return;
    if (distance <= UINT8_MAX) {
        p->insn[at].jt = (uint8_t)distance;
    } else {
        memmove(&p->insn[at + 2], &p->insn[at + 1], distance * sizeof(p->insn[0]));
        p->insn[at].jf = 1;
        p->insn[at + 1] = (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, distance };
        p->count++;
    }
    emit_tree(p, rows + half, count - half);
}

/* --- from rules to rows --- */

#define NUMBERS_MAX 1024 /* above every system call number there is */

static uint32_t verdict_leaf(enum filter_verdict verdict)
{
    static const uint32_t leaves[] = {
        [FILTER_ALLOW] = YES,
        [FILTER_EPERM] = ERRNO_LEAF(EPERM),
        [FILTER_ENOSYS] = ERRNO_LEAF(ENOSYS),
        [FILTER_BROKER] = SECCOMP_RET_USER_NOTIF,
        [FILTER_CHECK_SOCKET] = CHECK(CHECK_SOCKET),
        [FILTER_CHECK_SOCKET_OF_WORKER] = CHECK(CHECK_SOCKET_OF_WORKER),
        [FILTER_CHECK_SOCKET_OF_CHILD] = CHECK(CHECK_SOCKET_OF_CHILD),
        [FILTER_CHECK_SOCKETPAIR] = CHECK(CHECK_SOCKETPAIR),
        [FILTER_CHECK_CLONE] = CHECK(CHECK_CLONE),
        [FILTER_CHECK_UNSHARE] = CHECK(CHECK_UNSHARE),
        [FILTER_CHECK_IOCTL] = CHECK(CHECK_IOCTL),
        [FILTER_CHECK_PERSONALITY] = CHECK(CHECK_PERSONALITY),
        [FILTER_CHECK_PRCTL] = CHECK(CHECK_PRCTL),
        [FILTER_CHECK_ARCH_PRCTL] = CHECK(CHECK_ARCH_PRCTL),
        [FILTER_CHECK_MKNOD] = CHECK(CHECK_MKNOD),
        [FILTER_CHECK_MKNODAT] = CHECK(CHECK_MKNODAT),
        [FILTER_CHECK_SETSOCKOPT] = CHECK(CHECK_SETSOCKOPT),
        [FILTER_CHECK_PRLIMIT] = CHECK(CHECK_PRLIMIT),
    };

    return leaves[verdict];
}

/* Negative: a call that this architecture does not have. */
static int rule_number(const struct filter_rule *rule)
{
    int number = seccomp_syscall_resolve_name(rule->name);

    return number == __NR_SCMP_ERROR && rule->number ? rule->number : number;
}

static size_t make_rows(const uint32_t leaves[NUMBERS_MAX], uint32_t fallback, struct row *rows)
{
    size_t count = 0;

    for (uint32_t i = 0; i < NUMBERS_MAX; i++)
        if (i == 0 || leaves[i] != leaves[i - 1])
            rows[count++] = (struct row){ i, leaves[i] };
    if (rows[count - 1].leaf != fallback)
        rows[count++] = (struct row){ NUMBERS_MAX, fallback };
    /* -1 is what a tracer puts in to skip a call. */
    rows[count++] = (struct row){ X32_BIT, SECCOMP_RET_KILL_PROCESS };
    rows[count++] = (struct row){ UINT32_MAX, ERRNO_LEAF(ENOSYS) };
    return count;
}

static uint32_t rule_leaf(const struct filter_rule *rule, enum filter_part part)
{
    if (part != FILTER_WHOLE && rule->verdict == FILTER_CHECK_SOCKET)
        return verdict_leaf(part == FILTER_WORKER ? FILTER_CHECK_SOCKET_OF_WORKER : FILTER_CHECK_SOCKET_OF_CHILD);
    if (part != FILTER_WHOLE && rule->verdict == FILTER_CHECK_IOCTL)
        return part == FILTER_WORKER ? CHECK(CHECK_IOCTL_TERMINAL) : CHECK(CHECK_IOCTL_OF_CHILD);
    /* An errno of the worker's filter, which its children inherit, would win over the notification. */
    if (rule->verdict == FILTER_BROKER && part != FILTER_CHILD)
        return part == FILTER_WORKER ? YES : ERRNO_LEAF(EPERM);
    if (part == FILTER_WORKER && rule->set_up)
        return YES;
    if (part == FILTER_CHILD && !rule->set_up && rule->verdict != FILTER_BROKER)
        return YES;
    return verdict_leaf(rule->verdict);
}

static int collect_leaves(enum filter_part part, uint32_t leaves[NUMBERS_MAX], struct berm_error *err)
{
    for (size_t i = 0; i < filter_sandbox_rule_count; i++) {
        const struct filter_rule *rule = &filter_sandbox_rules[i];
        int number = rule_number(rule);
        if (number >= NUMBERS_MAX || number == __NR_SCMP_ERROR)
            return berm_fail(err, BERM_E_INTERNAL, 0, "no number for the system call %s", rule->name);
        if (number >= 0)
            leaves[number] = rule_leaf(rule, part);
    }
    return 0;
}

int filter_compile(enum filter_part part, struct filter_program *ret, struct berm_error *err)
{
    uint32_t fallback = part == FILTER_CHILD ? YES : ERRNO_LEAF(ENOSYS);
    uint32_t leaves[NUMBERS_MAX];
    struct row rows[NUMBERS_MAX + 3];

    for (size_t i = 0; i < NUMBERS_MAX; i++)
        leaves[i] = fallback;
    if (collect_leaves(part, leaves, err) < 0)
        return -1;
    ret->count = 0;
    emit(ret, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    emit(ret, BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    emit(ret, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    emit(ret, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    emit_tree(ret, rows, make_rows(leaves, fallback, rows));
    if (ret->count > FILTER_PROGRAM_MAX)
        return berm_fail(err, BERM_E_INTERNAL, 0, "the system call filter is too long");
    return 0;
}

static int install(const struct filter_program *program, unsigned flags)
{
    struct sock_fprog prog = {
        .len = program->count,
        .filter = (struct sock_filter *)(uintptr_t)program->insn,
    };

    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

int filter_install(const struct filter_program *program)
{
    return install(program, 0);
}

/* Since 5.19 a signal does not interrupt a call that is being worked on, so that nothing is mounted twice. */
#define WAIT_KILLABLE (1u << 5)

int filter_install_listening(const struct filter_program *program)
{
    int fd = install(program, SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE);

    return fd < 0 && errno == EINVAL ? install(program, SECCOMP_FILTER_FLAG_NEW_LISTENER) : fd;
}
