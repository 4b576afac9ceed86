/*
 * tree.h - copying and removing whole trees, for moves between file systems. Runs in a forked copy of the agent, so
 * it may take its time.
 */
#pragma once

#include "base/base.h"

/* What failed: filled once, on failure. */
struct tree_error {
    int errnum;
    char what[64]; /* "read", "write", ... */
};

/*
 * Moves `from` (relative to `from_dir`) to `to` by copying: content, owner, mode, times, extended attributes,
 * links, also hard links within the tree. The copy is made under a temporary name beside `to` and renamed when it
 * is complete, so `to` is replaced as a whole or not at all; then the source is removed. 0, or -1 with *err.
 */
int tree_move(int from_dir, const char *from, int to_dir, const char *to, struct tree_error *err);
