/* procfs.h - what /proc tells about process trees. */
#pragma once

#include "base/base.h"

#include <sys/types.h>

struct pid_list {
    pid_t *pids;
    size_t count, cap;
};

void pid_list_free(struct pid_list *list);

/* Appends the direct children of `pid` (of all its threads). 0, or -1 without memory; a process that is gone has
 * none.
 */
int proc_children(pid_t pid, struct pid_list *list);

/*
 * Appends everything below `pid`, except the trees of `spared` direct children (may be NULL). Parents come before
 * their children. A tree that grows while it is read may be told in part.
 */
int proc_descendants(pid_t pid, const struct pid_list *spared, struct pid_list *list);

/* Whether this /proc has what the functions above read. */
bool proc_tells_children(void);

/* Each 0 or false of a process that is gone, or that may not be looked at. */
bool proc_is_zombie(pid_t pid);
uint64_t proc_children_cpu_us(pid_t pid);    /* of children that it has waited for, with theirs */
uint64_t proc_resident_bytes(pid_t pid);     /* with all that it shares with others */
uint64_t proc_proportional_bytes(pid_t pid); /* what is shared divided by those who share it; costs more to know */
