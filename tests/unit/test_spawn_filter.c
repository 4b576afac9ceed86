/*
 * The system call filter, run through an interpreter of its own: what each call gets, that the two halves together
 * are the whole, and that no instruction is dead.
 */
#include "unit.h"

#include "spawn/filter.h"

#include <linux/audit.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

#define ERR(e) (SECCOMP_RET_ERRNO | (e))

static struct filter_program whole, worker, child;

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word;

    assert_true(offset + sizeof(word) <= sizeof(*data));
    memcpy(&word, (const char *)data + offset, sizeof(word));
    return word;
}

/* The classic BPF that filters may consist of; anything else, or running past the end, fails the test. */
static uint32_t run(const struct filter_program *p, const struct seccomp_data *data, bool *seen)
{
    uint32_t a = 0;

    for (size_t pc = 0;; pc++) {
        const struct sock_filter *f = &p->insn[pc];
        assert_true(pc < p->count);
        if (seen)
            seen[pc] = true;
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            a = load(data, f->k);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += f->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            pc += a & f->k ? f->jt : f->jf;
            break;
        case BPF_RET | BPF_K:
            return f->k;
        default:
            fail_msg("instruction %#x", f->code);
        }
    }
}

static uint32_t verdict(uint32_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    struct seccomp_data data = { .nr = (int)nr, .arch = NATIVE, .args = { a0, a1, a2 } };

    return run(&whole, &data, NULL);
}

static int compile_all(void **state)
{
    struct berm_error err = { 0 };

    (void)state;
    if (filter_compile(FILTER_WHOLE, &whole, &err) < 0 || filter_compile(FILTER_WORKER, &worker, &err) < 0 ||
        filter_compile(FILTER_CHILD, &child, &err) < 0)
        fail_msg("%s", err.message);
    return 0;
}

static void ordinary_calls_are_allowed(void **state)
{
    static const uint32_t calls[] = { SYS_read,         SYS_openat, SYS_execve, SYS_mmap,     SYS_futex,
                                      SYS_exit_group,   SYS_kill,   SYS_ptrace, SYS_chroot,   SYS_setuid,
                                      SYS_rt_sigreturn, SYS_statx,  SYS_wait4,  SYS_getrandom };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        assert_int_equal(verdict(calls[i], 0, 0, 0), SECCOMP_RET_ALLOW);
}

static void dangerous_calls_are_refused(void **state)
{
    static const uint32_t calls[] = {
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_setns,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
        SYS_reboot,
        SYS_swapon,
        SYS_userfaultfd,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_open_by_handle_at,
        SYS_fsopen,
        SYS_move_mount,
        SYS_open_tree,
        SYS_mount_setattr,
        SYS_clock_settime,
        SYS_settimeofday,
        SYS_syslog,
        SYS_acct,
        SYS_quotactl,
        SYS_sethostname,
        SYS_name_to_handle_at,
        SYS_pidfd_getfd,
        SYS_memfd_secret,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        assert_int_equal(verdict(calls[i], 0, 0, 0), ERR(EPERM));
}

static void calls_nobody_has_heard_of_do_not_exist(void **state)
{
    (void)state;
    for (uint32_t nr = 480; nr < 2000; nr++)
        assert_int_equal(verdict(nr, 0, 0, 0), ERR(ENOSYS));
    assert_int_equal(verdict(UINT32_MAX, 0, 0, 0), ERR(ENOSYS));
    assert_int_equal(verdict(SYS_clone3, 0, 0, 0), ERR(ENOSYS));
}

static void foreign_call_tables_kill(void **state)
{
    static const uint32_t archs[] = { AUDIT_ARCH_I386, AUDIT_ARCH_ARM, 0, UINT32_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(archs); i++) {
        struct seccomp_data data = { .nr = SYS_getpid, .arch = archs[i] };
        assert_int_equal(run(&whole, &data, NULL), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(run(&worker, &data, NULL), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(run(&child, &data, NULL), SECCOMP_RET_KILL_PROCESS);
    }
    for (uint32_t nr = 0; nr < 600; nr++) /* x32 */
        assert_int_equal(verdict(nr | 0x40000000, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

static void sockets_are_unix_internet_or_routing(void **state)
{
    (void)state;
    for (uint32_t family = 0; family < 64; family++) {
        uint32_t got = verdict(SYS_socket, family, SOCK_DGRAM, 0);
        bool fine = family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
        assert_int_equal(got, fine ? SECCOMP_RET_ALLOW : ERR(EAFNOSUPPORT));
    }
    assert_int_equal(verdict(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 6), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_socket, AF_INET6, SOCK_DGRAM, 17), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_socket, AF_INET, SOCK_RAW, 1), ERR(EPERM));
    assert_int_equal(verdict(SYS_socket, AF_INET, SOCK_STREAM, 132), ERR(EPROTONOSUPPORT)); /* SCTP */
    assert_int_equal(verdict(SYS_socket, AF_INET, SOCK_STREAM, 262), ERR(EPROTONOSUPPORT)); /* MPTCP */
    assert_int_equal(verdict(SYS_socket, AF_INET, SOCK_SEQPACKET, 0), ERR(ESOCKTNOSUPPORT));
    for (uint32_t protocol = 1; protocol < 32; protocol++)
        assert_int_equal(verdict(SYS_socket, AF_NETLINK, SOCK_RAW, protocol), ERR(EPROTONOSUPPORT));
    assert_int_equal(verdict(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_socketpair, AF_INET, SOCK_STREAM, 0), ERR(EAFNOSUPPORT));
}

static void the_worker_alone_may_talk_to_the_packet_filter(void **state)
{
    struct seccomp_data data = { .nr = SYS_socket, .arch = NATIVE, .args = { AF_NETLINK, SOCK_RAW } };

    (void)state;
    for (uint32_t protocol = 1; protocol < 32; protocol++) {
        data.args[2] = protocol;
        assert_int_equal(run(&worker, &data, NULL),
                         protocol == NETLINK_NETFILTER ? SECCOMP_RET_ALLOW : ERR(EPROTONOSUPPORT));
        assert_int_equal(run(&child, &data, NULL), ERR(EPROTONOSUPPORT));
    }
}

static void rubbish_in_the_upper_half_of_an_argument_changes_nothing(void **state)
{
    const uint64_t rubbish = UINT64_C(0xdeadbeef) << 32;

    (void)state;
    assert_int_equal(verdict(SYS_socket, rubbish | AF_ALG, SOCK_SEQPACKET, 0), ERR(EAFNOSUPPORT));
    assert_int_equal(verdict(SYS_socket, rubbish | AF_INET, rubbish | SOCK_STREAM, rubbish), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_ioctl, 0, rubbish | TIOCSTI, 0), ERR(EPERM));
    assert_int_equal(verdict(SYS_clone, rubbish | CLONE_NEWUSER, 0, 0), ERR(EPERM));
}

static void no_new_namespaces(void **state)
{
    static const uint32_t flags[] = { CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        assert_int_equal(verdict(SYS_clone, flags[i] | 17, 0, 0), ERR(EPERM));
        assert_int_equal(verdict(SYS_unshare, flags[i], 0, 0), ERR(EPERM));
        assert_int_equal(verdict(SYS_unshare, flags[i] | CLONE_FILES, 0, 0), ERR(EPERM));
    }
    assert_int_equal(verdict(SYS_unshare, 0x80 /* CLONE_NEWTIME */, 0, 0), ERR(EPERM));
    assert_int_equal(verdict(SYS_unshare, CLONE_FILES | CLONE_FS, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_clone, CLONE_VM | CLONE_VFORK | 17, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS, 0, 0),
                     SECCOMP_RET_ALLOW);
}

static void terminals_cannot_be_injected_into(void **state)
{
    (void)state;
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCSTI, 0), ERR(EPERM));
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCLINUX, 0), ERR(EPERM));
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCSETD, 0), ERR(EPERM));
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCGWINSZ, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCSTI - 1, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_ioctl, 0, TIOCSTI + 1, 0), SECCOMP_RET_ALLOW);
}

static void of_btrfs_only_copies_by_reference_are_allowed(void **state)
{
    static const uint32_t copies[] = { FICLONE, FICLONERANGE, FIDEDUPERANGE };
    static const uint32_t others[] = {
        BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_SUBVOL_CREATE_V2, BTRFS_IOC_SNAP_CREATE,     BTRFS_IOC_SNAP_CREATE_V2,
        BTRFS_IOC_SNAP_DESTROY,  BTRFS_IOC_SNAP_DESTROY_V2,  BTRFS_IOC_SUBVOL_SETFLAGS, BTRFS_IOC_QGROUP_LIMIT,
        BTRFS_IOC_QUOTA_CTL,     BTRFS_IOC_DEFRAG_RANGE,     BTRFS_IOC_INO_LOOKUP_USER, BTRFS_IOC_SYNC
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
        assert_int_equal(verdict(SYS_ioctl, 0, copies[i], 0), SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        assert_int_equal(verdict(SYS_ioctl, 0, others[i], 0), ERR(ENOTTY));
        assert_int_equal(verdict(SYS_ioctl, 0, UINT64_C(0x1234500000000) | others[i], 0), ERR(ENOTTY));
    }
    /* The numbers before and after theirs are other drivers'. */
    assert_int_equal(verdict(SYS_ioctl, 0, _IO(0x93, 1), 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_ioctl, 0, _IO(0x95, 1), 0), SECCOMP_RET_ALLOW);
}

static void only_plain_nodes_can_be_made(void **state)
{
    (void)state;
    assert_int_equal(verdict(SYS_mknodat, 0, 0, S_IFIFO | 0644), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_mknodat, 0, 0, 0644), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_mknodat, 0, 0, S_IFSOCK | 0600), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_mknodat, 0, 0, S_IFCHR | 0666), ERR(EPERM));
    assert_int_equal(verdict(SYS_mknodat, 0, 0, S_IFBLK | 0666), ERR(EPERM));
#ifdef SYS_mknod
    assert_int_equal(verdict(SYS_mknod, 0, S_IFCHR, 0), ERR(EPERM));
#endif
}

static void prctl_knows_harmless_options_only(void **state)
{
    static const uint32_t bad[] = { 0, PR_SET_MM, PR_MCE_KILL, 57, 59, 62, 67, 100, UINT32_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(verdict(SYS_prctl, bad[i], 0, 0), ERR(EINVAL));
    assert_int_equal(verdict(SYS_prctl, PR_SET_NAME, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_personality, 0xffffffff, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict(SYS_personality, 8, 0, 0), ERR(EPERM));
}

/* --- the two halves --- */

/* As the kernel ranks them: killing before errors before allowing. */
static uint32_t stricter(uint32_t a, uint32_t b)
{
    int32_t x = (int32_t)(a & SECCOMP_RET_ACTION_FULL), y = (int32_t)(b & SECCOMP_RET_ACTION_FULL);

    return y < x ? b : a; /* equal: the newer filter's, which is passed first */
}

static const uint64_t interesting[] = {
    0,
    100,
    101,
    32,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    15,
    16,
    17,
    18,
    21,
    26,
    27,
    31,
    36,
    43,
    47,
    48,
    52,
    54,
    58,
    59,
    65,
    67,
    80,
    0x80,
    132,
    0x1001,
    0x1005,
    0x1011,
    0x1013,
    0x1021,
    0x1024,
    0x5001,
    0x5006,
    TIOCSTI - 1,
    TIOCSTI,
    TIOCSTI + 1,
    FICLONE,
    FICLONE + 1,
    FICLONERANGE,
    FIDEDUPERANGE,
    BTRFS_IOC_SYNC,
    BTRFS_IOC_SUBVOL_CREATE,
    BTRFS_IOC_INO_LOOKUP,
    _IO(0x93, 1),
    _IO(0x95, 1),
    TIOCLINUX,
    TIOCCONS,
    TIOCCONS + 1,
    TIOCSETD,
    TIOCSETD + 1,
    S_IFIFO,
    S_IFIFO + 1,
    S_IFCHR,
    S_IFBLK,
    S_IFREG,
    S_IFLNK,
    S_IFSOCK,
    0xffff,
    0x40000,
    0x40001,
    CLONE_NEWUSER,
    CLONE_NEWNS,
    CLONE_VM,
    0x53564d41,
    0x53564d42,
    PR_SET_PTRACER,
    PR_SET_PTRACER + 1,
    NETLINK_NETFILTER,
    NETLINK_NETFILTER + 1,
    0xffffffff,
};

typedef void visit_fn(const struct seccomp_data *data, void *user);

static void each_argument(struct seccomp_data *data, visit_fn *visit, void *user)
{
    /* Only few calls look at more than one. */
    size_t seconds = data->nr == SYS_socket || data->nr == SYS_mknodat || data->nr == SYS_setsockopt ? 20 : 1;

    for (size_t i = 0; i < ARRAY_SIZE(interesting); i++)
        for (size_t j = 0; j < seconds; j++)
            for (size_t k = 0; k < ARRAY_SIZE(interesting); k++) {
                data->args[0] = interesting[i];
                data->args[1] = seconds > 1 ? interesting[j] : interesting[k];
                data->args[2] = interesting[k];
                visit(data, user);
            }
}

static void each_call(visit_fn *visit, void *user)
{
    static const uint32_t extra[] = { 0x40000000, 0x40000001, 0xfffffffe, 0xffffffff, 1023, 1024, 100000 };
    struct seccomp_data data = { .arch = NATIVE };

    for (uint32_t n = 0; n < 600 + ARRAY_SIZE(extra); n++) {
        data.nr = (int)(n < 600 ? n : extra[n - 600]);
        each_argument(&data, visit, user);
    }
    data.arch = AUDIT_ARCH_I386;
    visit(&data, user);
}

static void compare_halves(const struct seccomp_data *data, void *user)
{
    uint32_t both = stricter(run(&child, data, NULL), run(&worker, data, NULL));

    (void)user;
    if (data->arch == NATIVE && (data->nr == SYS_mount || data->nr == SYS_umount2)) {
        /* What the whole refuses, for it knows no broker. */
        assert_int_equal(both, SECCOMP_RET_USER_NOTIF);
        assert_int_equal(run(&whole, data, NULL), ERR(EPERM));
        return;
    }
    if (both != run(&whole, data, NULL))
        fail_msg("call %d (%#llx, %#llx, %#llx): %#x", data->nr, (unsigned long long)data->args[0],
                 (unsigned long long)data->args[1], (unsigned long long)data->args[2], both);
}

static void worker_and_child_filter_together_are_the_whole(void **state)
{
    (void)state;
    each_call(compare_halves, NULL);
}

struct coverage {
    const struct filter_program *program;
    bool seen[FILTER_PROGRAM_MAX];
};

static void cover(const struct seccomp_data *data, void *user)
{
    struct coverage *c = user;

    run(c->program, data, c->seen);
}

static void every_instruction_can_be_reached(void **state)
{
    const struct filter_program *programs[] = { &whole, &worker, &child };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        static struct coverage c;
        memset(&c, 0, sizeof(c));
        c.program = programs[i];
        each_call(cover, &c);
        for (size_t pc = 0; pc < c.program->count; pc++)
            if (!c.seen[pc])
                fail_msg("program %zu: instruction %zu of %u is dead", i, pc, c.program->count);
    }
}

static void the_part_installed_at_each_start_is_short(void **state)
{
    (void)state;
    assert_in_range(child.count, 1, 125);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_calls_are_allowed),
        cmocka_unit_test(dangerous_calls_are_refused),
        cmocka_unit_test(calls_nobody_has_heard_of_do_not_exist),
        cmocka_unit_test(foreign_call_tables_kill),
        cmocka_unit_test(sockets_are_unix_internet_or_routing),
        cmocka_unit_test(the_worker_alone_may_talk_to_the_packet_filter),
        cmocka_unit_test(rubbish_in_the_upper_half_of_an_argument_changes_nothing),
        cmocka_unit_test(no_new_namespaces),
        cmocka_unit_test(terminals_cannot_be_injected_into),
        cmocka_unit_test(of_btrfs_only_copies_by_reference_are_allowed),
        cmocka_unit_test(only_plain_nodes_can_be_made),
        cmocka_unit_test(prctl_knows_harmless_options_only),
        cmocka_unit_test(worker_and_child_filter_together_are_the_whole),
        cmocka_unit_test(every_instruction_can_be_reached),
        cmocka_unit_test(the_part_installed_at_each_start_is_short),
    };

    return cmocka_run_group_tests(tests, compile_all, NULL);
}
