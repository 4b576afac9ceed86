/*
 * tree.h - whole directory trees, some of them unpacked from archives that nobody trusts. Private to src/image.
 */
#pragma once

#include "base/error.h"

/*
 * Removes `name` below `dirfd`, whatever it is; 0 as well when it is not there. Follows no link, crosses no mount
 * (EBUSY), and needs neither memory nor descriptors in proportion to the depth of the tree.
 */
int tree_remove(int dirfd, const char *name, struct berm_error *err);

/*
 * Makes the times in a tree that a recipe built independent of when it was built: everything modified at or after
 * `built_after` (Unix time) gets the time of the newest file that is older. The files of packages keep theirs,
 * because Python compares them.
 */
int tree_clamp_times(const char *path, int64_t built_after, struct berm_error *err);
