/*
 * confine.h - taking away what a process that reads hostile bytes does not need. Private to src/image. For forked
 * children only: there is no way back.
 */
#pragma once

#include "base/base.h"

/* Keeps of root's capabilities those in the mask (1 << CAP_...), across an exec too, and sets no_new_privs. */
int confine_capabilities(uint64_t keep);

/*
 * For the child that unpacks: the root becomes `root_fd`; descriptors other than 0 to 2 and the `count` in `keep`
 * (ascending) are closed; memory, file sizes and descriptors are limited; namespaces of its own for mounts, network
 * and IPC; only the capabilities that setting owners and modes takes; and a system call filter without sockets,
 * processes, exec or executable memory, so that not even a library that somebody has put into the tree could be
 * loaded. -1 with errno, and *ret_step is what did not work.
 */
int confine_unpacker(int root_fd, const int *keep, size_t count, const char **ret_step);

/*
 * For a child that turns one stream into another: it keeps its descriptors in `keep` and can use them, memory and
 * its own exit, and nothing else. Files that it writes end at `file_size`. Works without privileges.
 */
int confine_stream(const int *keep, size_t count, uint64_t file_size, const char **ret_step);
