/* child_start.h - the system calls that start a child; used by child.c only. */
#pragma once

#include "child.h"

/*
 * Starts what `spec` says with `fds` as stdin, stdout, stderr and, if not NULL, the limit of open files `nofile`.
 * The new pid, or -1 with *err. All descriptors of the agent are close-on-exec, so nothing else gets through.
 */
pid_t child_start(const struct child_spec *spec, const int fds[3], const struct rlimit *nofile,
                  struct child_error *err);
