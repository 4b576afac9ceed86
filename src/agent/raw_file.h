/* raw_file.h - what the two routes of /berm/v1/file share. */
#pragma once

#include "request.h"

/* The absolute path of the query, in the arena; NULL after having answered. */
const char *raw_file_path(struct request *rq);
/* Answers that `operation` ("file.read", ...) has failed. */
void raw_file_failed(struct request *rq, const char *operation, const char *path, int errnum);
