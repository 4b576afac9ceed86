/*
 * probe.h - what the attack probes share. One static program, `berm-probe NAME [ARGS]`, holds them all.
 *
 * A probe tries a number of *items*: each is one way to do something that a sandbox must not allow. It prints a
 * line per item, `reached|refused <TAB> item <TAB> what stopped it`, and the program exits 0 if any item was
 * reached, 1 if all were refused and 2 if the probe itself could not do its work. The same probe is run outside,
 * where it has to reach its items: a probe that fails everywhere proves nothing.
 *
 * Each attempt that may kill, block or change the process runs in a child (try_in_child).
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct probe {
    const char *name; /* "A2-sockets": the class of the catalogue, then what */
    const char *what;
    void (*run)(int argc, char **argv); /* argv[0] is the first argument after the name */
};

/* Each class's file gives one table, ended by a row without a name. */
extern const struct probe probes_a1[], probes_a2[], probes_a3[], probes_a4[], probes_a5[], probes_a6[], probes_a7[];
extern const struct probe probes_a9[], probes_b1[], probes_b2[], probes_b4[], probes_b5[], probes_b7[];
extern const struct probe probes_c1[], probes_c2[], probes_c3[], probes_c4[], probes_c5[], probes_c6[], probes_c8[];
extern const struct probe probes_d1[], probes_daemon_user[], probes_wire[];

/* Reports. `item` is a printf format so that tables can name their rows. */
void reached(const char *detail, const char *item, ...) __attribute__((format(printf, 2, 3)));
void refused(const char *why, const char *item, ...) __attribute__((format(printf, 2, 3)));
/* `result`: what a system call returned, or a negative errno. Negative is refused by that errno. */
void outcome(long result, const char *item, ...) __attribute__((format(printf, 2, 3)));
/* The probe cannot do its work (wrong arguments, no memory): exits 2. */
void broken(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

const char *errno_name(int error);

/* -1 and errno become a negative errno, anything else passes. */
static inline long sys_result(long result)
{
    return result < 0 ? -(long)errno : result;
}

/* How an attempt in a child ended: its result, or TRY_SIGNAL + the signal that killed it, or TRY_BLOCKED. */
#define TRY_SIGNAL  (-100000L)
#define TRY_BLOCKED (-200000L)

/* Runs `attempt` in a child of its own session and gives its result. After `seconds` the child is killed. */
long try_in_child(long (*attempt)(void *arg), void *arg, unsigned seconds);

/* A raw system call that touches neither errno nor thread state, and its 32-bit twin by `int 0x80`. */
long raw_syscall(long number, const long args[6]);
long raw_syscall32(long number, long arg1, long arg2, long arg3);

/* Reads at most size - 1 bytes; adds a NUL. -errno, or the length. */
long read_file(const char *path, char *buf, size_t size);
/* open(O_WRONLY) and write; -errno or what was written. */
long write_file(const char *path, const char *text);

/* The argument at `index` as a number; broken() if it is missing or none. */
long long number_argument(int argc, char **argv, int index, const char *name);
