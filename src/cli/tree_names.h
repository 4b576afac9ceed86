/* tree_names.h - whether a name or link of an untrusted directory tree stays inside the tree. */
#pragma once

#include "base/base.h"

/* Relative, without a ".." part, not empty. */
bool tree_name_valid(const char *name);
/* "." and its like: the tree's own root. */
bool tree_name_is_root(const char *name);
/* Whether a symbolic link `name` -> `target` points to something inside, taken by its text alone. */
bool tree_link_valid(const char *name, const char *target);
