/* paths.h - paths that clients name: decoded once, normalised textually, held below /workspace. */
#pragma once

#include "base/arena.h"
#include "base/base.h"

#define WORKSPACE "/workspace"

/*
 * The absolute path without ".", ".." and double slashes; a relative one starts at `base`. ".." at the root stays
 * there. In the arena, NUL-terminated. NULL: it holds a NUL, is longer than 4096 bytes, or no memory.
 */
char *path_normalise(struct arena *arena, struct str path, const char *base);

/* The path of a URL's rest: every %XX decoded once, "%2F" like "/", then normalised from the root. */
char *path_from_url(struct arena *arena, struct str rest);

bool path_in_workspace(const char *path);

/* The path with everything but unreserved characters and "/" as %XX. */
char *path_encode(struct arena *arena, const char *path);
