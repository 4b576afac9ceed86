/*
 * glob.h - the include and exclude patterns of file watches.
 *
 * "**" stands for any characters, "*" for any but '/', "?" for one character but '/'; everything else is meant
 * literally. A pattern is looked for anywhere in a path, but only whole components count: what it matches begins at
 * the start or after a '/', and ends at the end or before a '/'. A character is a UTF-8 sequence; a byte that
 * begins none is one of its own.
 *
 * The matcher runs all possibilities side by side (a set of places in the pattern), so its time is bounded by
 * length of the pattern x length of the path whatever both are.
 */
#pragma once

#include "base/base.h"

#define GLOB_PATTERN_MAX 4096 /* bytes */

/* Why `pattern` cannot be used ("must not be blank", ...), or NULL if it can. */
const char *glob_problem(struct str pattern);

/* `pattern` has no problem. */
bool glob_matches(struct str pattern, struct str path);
