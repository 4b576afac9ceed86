/*
 * process_mark.h - a number that all of a process's tree carries, so that a daemon is found which has left its
 * parents, its group and its session.
 *
 * Theory of operation. The kernel hands the soft limit of "file locks" down to every child and through every
 * execve, tells it in /proc, and has enforced it nowhere since Linux 2.4. So each process is started with a number
 * of its own there, and nothing but a program that sets this very limit takes it away; one that does so on purpose
 * is not found by it. Where the limit cannot be set the tree is what it would be without marks.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

#define PROCESS_MARK_NONE  UINT64_C(0)
#define PROCESS_MARK_FIRST (UINT64_C(1) << 40) /* nobody's limit by chance */

/* Marks the calling process; system calls only, for a child before its execve. `mark` is a uint64_t. Always 0. */
int process_mark_take(const void *mark);
/* The mark of a process; PROCESS_MARK_NONE if it has none or is gone. */
uint64_t process_mark_of(pid_t pid);
/* That of the text of /proc/N/limits. */
uint64_t process_mark_parse(struct str limits);
