/* make_parents.h - directories that a path needs. */
#pragma once

#include "base/base.h"

/* Makes the missing directories above `path` (relative to `base`). 0, or -1 with errno. */
int make_parents(int base, const char *path);
/* Makes `path` itself and what is missing above it; fine if it is a directory already. 0, or -1 with errno. */
int make_directories(int base, const char *path);
