/*
 * landlock.h - the second wall behind the filter and the capabilities: inside the domain no device node can be
 * made, the mount tree cannot change, nothing outside can be traced, signalled or reached by an abstract socket.
 */
#pragma once

#include "base/base.h"

/* The ABI of this kernel, 0 when it has none. */
unsigned landlock_abi(void);

/* A ruleset for a sandbox whose root is `root_fd`; -1 with errno. Needs an ABI of at least 2. */
int landlock_ruleset_new(unsigned abi, int root_fd);

/* Enters the domain for good. Needs no_new_privs. */
int landlock_enter(int ruleset_fd);

#define LANDLOCK_ABI_MIN 2
