/*
 * filter_table.c - the system calls of a sandbox. Three groups: allowed, allowed with a look at the arguments, and
 * refused with EPERM because programs know that answer from other containers. What is in none of them is ENOSYS.
 */
#include "filter.h"

/* The table is to be read by the group. */
/* clang-format off */
#define ALLOW(name)             { #name, FILTER_ALLOW }
#define ALLOW_NEW(name, number) { #name, FILTER_ALLOW, number }
#define DENY(name)              { #name, FILTER_EPERM }
#define DENY_NEW(name, number)  { #name, FILTER_EPERM, number }
#define BROKER(name)            { #name, FILTER_BROKER }
#define CHECK(name, check)      { #name, FILTER_CHECK_##check }

/* Needed to set a sandbox up. */
#define DENY_INSIDE(name)         { #name, FILTER_EPERM, .set_up = true }
#define CHECK_INSIDE(name, check) { #name, FILTER_CHECK_##check, .set_up = true }

const struct filter_rule filter_sandbox_rules[] = {
    /* files: descriptors */
    ALLOW(read), ALLOW(write), ALLOW(readv), ALLOW(writev), ALLOW(pread64), ALLOW(pwrite64), ALLOW(preadv),
    ALLOW(pwritev), ALLOW(preadv2), ALLOW(pwritev2), ALLOW(open), ALLOW(openat), ALLOW(openat2), ALLOW(creat),
    ALLOW(close), ALLOW(close_range), ALLOW(lseek), ALLOW(dup), ALLOW(dup2), ALLOW(dup3), ALLOW(fcntl),
    ALLOW(flock), ALLOW(pipe), ALLOW(pipe2), ALLOW(splice), ALLOW(tee), ALLOW(vmsplice), ALLOW(sendfile),
    ALLOW(copy_file_range), ALLOW(readahead), ALLOW(fadvise64), ALLOW(fallocate), ALLOW(ftruncate),
    ALLOW(truncate), ALLOW(fsync), ALLOW(fdatasync), ALLOW(sync), ALLOW(syncfs), ALLOW(sync_file_range),
    ALLOW(memfd_create), ALLOW_NEW(cachestat, 451),
    /* files: names and attributes */
    ALLOW(stat), ALLOW(fstat), ALLOW(lstat), ALLOW(newfstatat), ALLOW(statx), ALLOW(statfs), ALLOW(fstatfs),
    ALLOW(access), ALLOW(faccessat), ALLOW(faccessat2), ALLOW(chdir), ALLOW(fchdir), ALLOW(getcwd),
    ALLOW(chroot), ALLOW(mkdir), ALLOW(mkdirat), ALLOW(rmdir), ALLOW(unlink), ALLOW(unlinkat), ALLOW(rename),
    ALLOW(renameat), ALLOW(renameat2), ALLOW(link), ALLOW(linkat), ALLOW(symlink), ALLOW(symlinkat),
    ALLOW(readlink), ALLOW(readlinkat), ALLOW(chmod), ALLOW(fchmod), ALLOW(fchmodat), ALLOW_NEW(fchmodat2, 452),
    ALLOW(chown), ALLOW(fchown), ALLOW(lchown), ALLOW(fchownat), ALLOW(umask), ALLOW(utime), ALLOW(utimes),
    ALLOW(futimesat), ALLOW(utimensat), ALLOW(getdents), ALLOW(getdents64), ALLOW(setxattr), ALLOW(lsetxattr),
    ALLOW(fsetxattr), ALLOW(getxattr), ALLOW(lgetxattr), ALLOW(fgetxattr), ALLOW(listxattr), ALLOW(llistxattr),
    ALLOW(flistxattr), ALLOW(removexattr), ALLOW(lremovexattr), ALLOW(fremovexattr), ALLOW(inotify_init),
    ALLOW(inotify_init1), ALLOW(inotify_add_watch), ALLOW(inotify_rm_watch),
    /* waiting */
    ALLOW(poll), ALLOW(ppoll), ALLOW(select), ALLOW(pselect6), ALLOW(epoll_create), ALLOW(epoll_create1),
    ALLOW(epoll_ctl), ALLOW(epoll_wait), ALLOW(epoll_pwait), ALLOW(epoll_pwait2), ALLOW(eventfd),
    ALLOW(eventfd2), ALLOW(signalfd), ALLOW(signalfd4), ALLOW(timerfd_create), ALLOW(timerfd_settime),
    ALLOW(timerfd_gettime), ALLOW(pause), ALLOW(io_setup), ALLOW(io_destroy), ALLOW(io_submit), ALLOW(io_cancel),
    ALLOW(io_getevents), ALLOW(io_pgetevents),
    /* sockets that exist already */
    ALLOW(bind), ALLOW(connect), ALLOW(listen), ALLOW(accept), ALLOW(accept4), ALLOW(getsockname),
    ALLOW(getpeername), ALLOW(sendto), ALLOW(recvfrom), ALLOW(sendmsg), ALLOW(recvmsg), ALLOW(sendmmsg),
    ALLOW(recvmmsg), ALLOW(shutdown), ALLOW(getsockopt),
    /* memory */
    ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk), ALLOW(msync),
    ALLOW(mincore), ALLOW(mlock), ALLOW(mlock2), ALLOW(munlock), ALLOW(mlockall), ALLOW(munlockall),
    ALLOW(remap_file_pages), ALLOW(membarrier), ALLOW(pkey_alloc), ALLOW(pkey_free), ALLOW(pkey_mprotect),
    ALLOW(get_mempolicy), ALLOW(process_madvise), ALLOW_NEW(map_shadow_stack, 453), ALLOW_NEW(mseal, 462),
    /* processes */
    ALLOW(fork), ALLOW(vfork), ALLOW(execve), ALLOW(execveat), ALLOW(exit), ALLOW(exit_group), ALLOW(wait4),
    ALLOW(waitid), ALLOW(getpid), ALLOW(getppid), ALLOW(gettid), ALLOW(getpgid), ALLOW(getpgrp), ALLOW(getsid),
    ALLOW(setpgid), ALLOW(setsid), ALLOW(pidfd_open), ALLOW(pidfd_send_signal), ALLOW(set_tid_address),
    ALLOW(set_robust_list), ALLOW(get_robust_list), ALLOW(rseq), ALLOW(futex), ALLOW(futex_waitv),
    ALLOW_NEW(futex_wake, 454), ALLOW_NEW(futex_wait, 455), ALLOW_NEW(futex_requeue, 456),
    ALLOW(restart_syscall), ALLOW(getrusage), ALLOW(times), ALLOW(getrlimit), ALLOW(setrlimit),
    ALLOW(getpriority), ALLOW(setpriority), ALLOW(ioprio_get), ALLOW(ioprio_set), ALLOW(uname), ALLOW(sysinfo),
    ALLOW(getcpu), ALLOW(getrandom), ALLOW(ptrace), ALLOW(process_vm_readv), ALLOW(process_vm_writev),
    ALLOW(seccomp), ALLOW(landlock_create_ruleset), ALLOW(landlock_add_rule), ALLOW(landlock_restrict_self),
    /* scheduling; what would need CAP_SYS_NICE is refused by the kernel */
    ALLOW(sched_yield), ALLOW(sched_getaffinity), ALLOW(sched_setaffinity), ALLOW(sched_getparam),
    ALLOW(sched_setparam), ALLOW(sched_getscheduler), ALLOW(sched_setscheduler), ALLOW(sched_getattr),
    ALLOW(sched_setattr), ALLOW(sched_get_priority_max), ALLOW(sched_get_priority_min),
    ALLOW(sched_rr_get_interval),
    /* signals */
    ALLOW(kill), ALLOW(tkill), ALLOW(tgkill), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigpending),
    ALLOW(rt_sigqueueinfo), ALLOW(rt_tgsigqueueinfo), ALLOW(rt_sigreturn), ALLOW(rt_sigsuspend),
    ALLOW(rt_sigtimedwait), ALLOW(sigaltstack), ALLOW(alarm),
    /* users */
    ALLOW(getuid), ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid), ALLOW(getgroups), ALLOW(getresuid),
    ALLOW(getresgid), ALLOW(setuid), ALLOW(setgid), ALLOW(setreuid), ALLOW(setregid), ALLOW(setresuid),
    ALLOW(setresgid), ALLOW(setgroups), ALLOW(setfsuid), ALLOW(setfsgid), ALLOW(capget), ALLOW(capset),
    /* time */
    ALLOW(time), ALLOW(gettimeofday), ALLOW(clock_gettime), ALLOW(clock_getres), ALLOW(clock_nanosleep),
    ALLOW(nanosleep), ALLOW(getitimer), ALLOW(setitimer), ALLOW(timer_create), ALLOW(timer_settime),
    ALLOW(timer_gettime), ALLOW(timer_getoverrun), ALLOW(timer_delete),
    /* System V and POSIX objects; the ipc namespace is the sandbox's own */
    ALLOW(shmget), ALLOW(shmat), ALLOW(shmctl), ALLOW(shmdt), ALLOW(semget), ALLOW(semop), ALLOW(semtimedop),
    ALLOW(semctl), ALLOW(msgget), ALLOW(msgsnd), ALLOW(msgrcv), ALLOW(msgctl), ALLOW(mq_open), ALLOW(mq_unlink),
    ALLOW(mq_timedsend), ALLOW(mq_timedreceive), ALLOW(mq_notify), ALLOW(mq_getsetattr),

    /* allowed for some arguments */
    CHECK(socket, SOCKET), CHECK(socketpair, SOCKETPAIR), CHECK_INSIDE(clone, CLONE), CHECK_INSIDE(unshare, UNSHARE),
    CHECK(ioctl, IOCTL), CHECK(personality, PERSONALITY), CHECK(prctl, PRCTL), CHECK(arch_prctl, ARCH_PRCTL),
    CHECK_INSIDE(mknod, MKNOD), CHECK_INSIDE(mknodat, MKNODAT), CHECK(setsockopt, SETSOCKOPT),
    CHECK(prlimit64, PRLIMIT),

    /* Its flags are in memory, where no filter can look: libc falls back to clone on ENOSYS. */
    { "clone3", FILTER_ENOSYS, .set_up = true },

    /* namespaces and mounts */
    DENY_INSIDE(setns), BROKER(mount), BROKER(umount2), DENY_INSIDE(pivot_root), DENY_INSIDE(fsopen), DENY_INSIDE(fsconfig), DENY_INSIDE(fsmount),
    DENY(fspick), DENY_INSIDE(open_tree), DENY_INSIDE(move_mount), DENY_INSIDE(mount_setattr), DENY_NEW(open_tree_attr, 467),
    /* file handles reach files past every mount and mode */
    DENY(name_to_handle_at), DENY(open_by_handle_at),
    /* wide kernel surface that sandboxed code has no need of */
    DENY(bpf), DENY(io_uring_setup), DENY(io_uring_enter), DENY(io_uring_register), DENY(userfaultfd),
    DENY(perf_event_open), DENY(keyctl), DENY(add_key), DENY(request_key), DENY(memfd_secret), DENY(kcmp),
    DENY_INSIDE(pidfd_getfd), DENY(fanotify_init), DENY(fanotify_mark), DENY(lookup_dcookie), DENY(migrate_pages),
    DENY(move_pages), DENY(mbind), DENY(set_mempolicy), DENY(set_mempolicy_home_node), DENY(modify_ldt),
    DENY(vm86), DENY(vm86old),
    /* the host's clock, modules, disks, console and accounts */
    DENY(settimeofday), DENY(clock_settime), DENY(clock_adjtime), DENY(adjtimex), DENY(stime), DENY(init_module),
    DENY(finit_module), DENY(delete_module), DENY(kexec_load), DENY(kexec_file_load), DENY(reboot), DENY(swapon),
    DENY(swapoff), DENY(quotactl), DENY(quotactl_fd), DENY(acct), DENY(syslog), DENY(iopl), DENY(ioperm),
    DENY_INSIDE(sethostname), DENY(setdomainname), DENY(vhangup), DENY(nfsservctl), DENY(sysfs), DENY(ustat),
};
/* clang-format on */

const size_t filter_sandbox_rule_count = ARRAY_SIZE(filter_sandbox_rules);
