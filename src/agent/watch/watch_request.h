/* watch_request.h - what /api/watch and /api/watch/check have in common: the description of a watch in the body. */
#pragma once

#include "agent/http/request.h"
#include "watch.h"

/* The strings are the request's. False after having answered. */
bool watch_request_decode(struct request *rq, struct watch_spec *spec);
/* 500 WATCH_START_ERROR. */
void watch_request_failed(struct request *rq, const char *path, const char *reason);
