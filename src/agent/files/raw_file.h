/* raw_file.h - what the routes of raw bytes share. */
#pragma once

#include "agent/http/request.h"

/* The absolute path of the query, in the arena; NULL after having answered. */
const char *raw_file_path(struct request *rq);
/* Answers that `operation` ("file.read", ...) has failed. */
void raw_file_failed(struct request *rq, const char *operation, const char *path, int errnum);
/*
 * The body of a ROUTE_STREAM request becomes the file `path` (absolute), which errors call `shown`; `reply` answers
 * when all of it is there. Both last as long as the request.
 */
void raw_write_start(struct request *rq, const char *path, const char *shown,
                     void (*reply)(struct request *rq, const char *shown, uint64_t written));
