/*
 * filter.h - the system call filters: an allow-list for sandboxes, compiled once into a binary decision tree over
 * the ranges of call numbers, and a deny-list for the worker itself.
 *
 * The tree matters for the start: at installation the kernel walks the program once for every system call, to find
 * those that are always allowed, and compiles it. Numbers are resolved with libseccomp; the program is our own
 * because libseccomp compares call by call and cannot merge neighbours into ranges.
 */
#pragma once

#include "base/error.h"

#include <linux/filter.h>

#define FILTER_PROGRAM_MAX 1024

struct filter_program {
    struct sock_filter insn[FILTER_PROGRAM_MAX];
    uint16_t count;
};

/* What a rule does. The argument checks are in filter.c. */
enum filter_verdict {
    FILTER_ALLOW,
    FILTER_EPERM,
    FILTER_ENOSYS,
    FILTER_BROKER, /* the broker decides (broker.h); EPERM in FILTER_WHOLE, which knows none */
    FILTER_CHECK_SOCKET,
    FILTER_CHECK_SOCKET_OF_WORKER, /* not in rules: what FILTER_WORKER has in place of the former, */
    FILTER_CHECK_SOCKET_OF_CHILD,  /* and what FILTER_CHILD takes away again */
    FILTER_CHECK_SOCKETPAIR,
    FILTER_CHECK_CLONE,
    FILTER_CHECK_UNSHARE,
    FILTER_CHECK_IOCTL,
    FILTER_CHECK_PERSONALITY,
    FILTER_CHECK_PRCTL,
    FILTER_CHECK_ARCH_PRCTL,
    FILTER_CHECK_MKNOD,
    FILTER_CHECK_MKNODAT,
    FILTER_CHECK_SETSOCKOPT,
    FILTER_CHECK_PRLIMIT
};

struct filter_rule {
    const char *name;
    enum filter_verdict verdict;
    int number;  /* for calls newer than libseccomp, whose numbers are the same everywhere; else 0 */
    bool set_up; /* the worker or a sandbox's child needs it, without the restriction */
};

extern const struct filter_rule filter_sandbox_rules[];
extern const size_t filter_sandbox_rule_count;

enum filter_part {
    FILTER_WHOLE,  /* what holds in a sandbox; what is not listed is ENOSYS, as on a kernel without the call */
    FILTER_WORKER, /* the whole, but that set-up calls are allowed */
    FILTER_CHILD   /* what FILTER_WORKER lacks for the whole */
};

int filter_compile(enum filter_part part, struct filter_program *ret, struct berm_error *err);

/* Installs it for the calling process, for good. Needs no_new_privs. 0 or -1 with errno. */
int filter_install(const struct filter_program *program);
/* The same with a listener for the calls that the broker decides about: its descriptor, or -1 with errno. */
int filter_install_listening(const struct filter_program *program);
