/* watch_request.h - what /api/watch and /api/watch/check have in common: the description of a watch in the body. */
#pragma once

#include "agent/http/request.h"
#include "watch.h"

#define WATCH_ROOT "/workspace"

/* The strings are the request's. False after having answered. */
bool watch_request_decode(struct request *rq, struct watch_spec *spec);
/* 500 WATCH_START_ERROR. */
void watch_request_failed(struct request *rq, const char *path, const char *reason);
/*
 * "a/../b" as an absolute path without ".", ".." and double slashes, relative ones below WATCH_ROOT, in the
 * arena. NULL without memory.
 */
char *watch_request_resolve(struct arena *arena, struct str path);
