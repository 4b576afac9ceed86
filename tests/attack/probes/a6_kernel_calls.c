/* a6_kernel_calls.c - calls that reach large or rarely audited parts of the kernel, or that change the host. Each
 * with arguments that do as little as possible: where success would change the host, the arguments are such that
 * the kernel's permission check comes first and its answer tells which it was. */
#include "probe.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/kexec.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

/* The kernel looked at the arguments: the call is reachable. */
static long past_filter(long result)
{
    return result == -EPERM || result == -ENOSYS || result == -EACCES || result <= TRY_SIGNAL ? result : 0;
}

static long attempt_bpf_map(void *arg)
{
    (void)arg;
    union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
    return sys_result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static long attempt_bpf_prog(void *arg)
{
    (void)arg;
    struct bpf_insn program[] = { { .code = 0xb7 }, { .code = 0x95 } }; /* r0 = 0; exit */
    union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                            .insns = (uintptr_t)program,
                            .insn_cnt = 2,
                            .license = (uintptr_t) "GPL" };
    return sys_result(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static long attempt_io_uring(void *arg)
{
    (void)arg;
    unsigned char params[120] = { 0 };
    return sys_result(syscall(SYS_io_uring_setup, 1, params));
}

static long attempt_io_uring_enter(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0)));
}

static long attempt_io_uring_register(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_io_uring_register, -1, 0, NULL, 0)));
}

static long attempt_userfaultfd(void *arg)
{
    return sys_result(syscall(SYS_userfaultfd, O_CLOEXEC | (int)(intptr_t)arg));
}

static long attempt_perf(void *arg)
{
    (void)arg;
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof attr,
                                    .config = PERF_COUNT_SW_CPU_CLOCK };
    return sys_result(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static long attempt_add_key(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_add_key, "user", "berm-probe", "x", 1, -1 /* thread keyring */));
}

static long attempt_keyctl(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session */, 0));
}

static long attempt_request_key(void *arg)
{
    (void)arg;
    long result = sys_result(syscall(SYS_request_key, "user", "berm-probe-none", NULL, 0));
    return result == -ENOKEY ? 0 : result;
}

static long attempt_personality(void *arg)
{
    return sys_result(syscall(SYS_personality, (long)(intptr_t)arg));
}

static long attempt_kexec(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_kexec_load, 0, 17 /* one segment too many */, NULL, 0)));
}

static long attempt_kexec_file(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_kexec_file_load, -1, -1, 0, NULL, 0)));
}

static long attempt_init_module(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_init_module, NULL, 0, "")));
}

static long attempt_finit_module(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_finit_module, -1, "", 0)));
}

static long attempt_delete_module(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_delete_module, "berm_probe_none", O_NONBLOCK)));
}

static long attempt_iopl(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_iopl, 3));
}

static long attempt_ioperm(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_ioperm, 0x80, 1, 1));
}

static long attempt_swapon(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_swapon, "/nonexistent-berm-probe", 0)));
}

static long attempt_swapoff(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_swapoff, "/nonexistent-berm-probe")));
}

static long attempt_acct(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_acct, "/nonexistent-berm-probe")));
}

static long attempt_quotactl(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_quotactl, 0x80000700 /* Q_GETQUOTA */, "/nonexistent", 0, NULL)));
}

static long attempt_reboot(void *arg)
{
    (void)arg; /* a command that does not exist: EINVAL if one may reboot */
    return past_filter(sys_result(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, 0x12345, NULL)));
}

static long attempt_clock_set(void *arg)
{
    (void)arg; /* not a time: EINVAL once permission is given */
    struct timespec bad = { .tv_sec = -1, .tv_nsec = -1 };
    return past_filter(sys_result(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad)));
}

static long attempt_settimeofday(void *arg)
{
    (void)arg;
    struct timeval bad = { .tv_sec = 0, .tv_usec = -1 };
    return past_filter(sys_result(syscall(SYS_settimeofday, &bad, NULL)));
}

static long attempt_adjtimex(void *arg)
{
    struct timex timex = { .modes = ADJ_STATUS };
    if (arg != NULL)
        return sys_result(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &timex));
    return sys_result(syscall(SYS_adjtimex, &timex));
}

static long attempt_sethostname(void *arg)
{
    (void)arg;
    char name[256] = { 0 };
    if (gethostname(name, sizeof name) < 0)
        return -errno;
    return sys_result(sethostname(name, strlen(name)));
}

static long attempt_setdomainname(void *arg)
{
    (void)arg;
    return sys_result(setdomainname("(none)", 6));
}

static long attempt_klog(void *arg)
{
    char buf[64];
    return sys_result(klogctl((int)(intptr_t)arg, buf, sizeof buf));
}

static long attempt_vhangup(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_vhangup));
}

static long attempt_memfd_secret(void *arg)
{
    (void)arg;
    return sys_result(syscall(447, 0));
}

static long attempt_handle_at(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_open_by_handle_at, -1, NULL, 0)));
}

static long attempt_fanotify(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_fanotify_init, 0, O_RDONLY));
}

static long attempt_lookup_dcookie(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_lookup_dcookie, 0, NULL, 0)));
}

static long attempt_move_pages(void *arg)
{
    (void)arg;
    return past_filter(sys_result(syscall(SYS_move_pages, 1, 0, NULL, NULL, NULL, 0)));
}

static long attempt_modify_ldt(void *arg)
{
    (void)arg;
    char buf[16];
    return sys_result(syscall(SYS_modify_ldt, 0, buf, sizeof buf));
}

static long attempt_capbset(void *arg)
{
    (void)arg;
    return sys_result(prctl(PR_CAPBSET_READ, 21 /* SYS_ADMIN */, 0, 0, 0)) == 1 ? 0 : -EPERM;
}

static const struct {
    const char *name;
    long (*attempt)(void *arg);
    void *arg;
} rows[] = {
    { "bpf map", attempt_bpf_map, NULL },
    { "bpf program", attempt_bpf_prog, NULL },
    { "io_uring_setup", attempt_io_uring, NULL },
    { "io_uring_enter", attempt_io_uring_enter, NULL },
    { "io_uring_register", attempt_io_uring_register, NULL },
    { "userfaultfd", attempt_userfaultfd, NULL },
    { "userfaultfd user mode only", attempt_userfaultfd, (void *)1 },
    { "perf_event_open", attempt_perf, NULL },
    { "add_key", attempt_add_key, NULL },
    { "keyctl", attempt_keyctl, NULL },
    { "request_key", attempt_request_key, NULL },
    { "personality READ_IMPLIES_EXEC", attempt_personality, (void *)0x0400000 },
    { "personality MMAP_PAGE_ZERO", attempt_personality, (void *)0x0100000 },
    { "kexec_load", attempt_kexec, NULL },
    { "kexec_file_load", attempt_kexec_file, NULL },
    { "init_module", attempt_init_module, NULL },
    { "finit_module", attempt_finit_module, NULL },
    { "delete_module", attempt_delete_module, NULL },
    { "iopl", attempt_iopl, NULL },
    { "ioperm", attempt_ioperm, NULL },
    { "swapon", attempt_swapon, NULL },
    { "swapoff", attempt_swapoff, NULL },
    { "acct", attempt_acct, NULL },
    { "quotactl", attempt_quotactl, NULL },
    { "reboot", attempt_reboot, NULL },
    { "clock_settime", attempt_clock_set, NULL },
    { "settimeofday", attempt_settimeofday, NULL },
    { "adjtimex", attempt_adjtimex, NULL },
    { "clock_adjtime", attempt_adjtimex, (void *)1 },
    { "sethostname", attempt_sethostname, NULL },
    { "setdomainname", attempt_setdomainname, NULL },
    { "syslog read all", attempt_klog, (void *)3 },
    { "vhangup", attempt_vhangup, NULL },
    { "memfd_secret", attempt_memfd_secret, NULL },
    { "open_by_handle_at", attempt_handle_at, NULL },
    { "fanotify_init", attempt_fanotify, NULL },
    { "lookup_dcookie", attempt_lookup_dcookie, NULL },
    { "move_pages", attempt_move_pages, NULL },
    { "modify_ldt", attempt_modify_ldt, NULL },
    { "CAP_SYS_ADMIN in the bounding set", attempt_capbset, NULL },
};

static void run_calls(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        outcome(try_in_child(rows[i].attempt, rows[i].arg, 30), "%s", rows[i].name);
}

const struct probe probes_a6[] = {
    { "A6-calls", "rare and host-changing system calls", run_calls },
    { 0 },
};
