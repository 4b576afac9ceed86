/* process_tree.h - who is there, and who of them belongs to one process. */
#pragma once

#include "base/base.h"

#include <sys/types.h>

struct proc_entry {
    pid_t pid, parent, group, session;
    char state;
    uint64_t mark; /* process_mark.h; read of our own children only, among which every orphan is */
};

struct proc_snapshot {
    struct proc_entry *entries; /* by pid, ascending */
    size_t count, cap;
};

/* Reads /proc. 0, or -1 with errno; some may be missing that came or went meanwhile. */
int proc_snapshot_take(struct proc_snapshot *snapshot);
void proc_snapshot_free(struct proc_snapshot *snapshot);

/*
 * The tree of the `roots`: themselves, their descendants, the members of the session `session` (0: none), those
 * that carry `mark` (PROCESS_MARK_NONE: nobody), the members of groups that one of these leads, and their
 * descendants; without ourselves and zombies. Parents come before their children. A malloc'd array of indexes into
 * the snapshot with *ret_count, NULL without memory.
 */
struct proc_wanted {
    const pid_t *roots;
    size_t root_count;
    pid_t session;
    uint64_t mark;
};
size_t *proc_snapshot_tree(const struct proc_snapshot *snapshot, const struct proc_wanted *wanted,
                           size_t *ret_count);

/* One line of /proc/N/stat. False if it is none. */
bool proc_parse_stat(struct str line, struct proc_entry *ret);
