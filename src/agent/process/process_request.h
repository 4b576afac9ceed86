/* process_request.h - what the routes below /api/process/{id} share. */
#pragma once

#include "agent/http/request.h"
#include "process.h"

/* The process that the path names, or NULL after having answered 404. */
struct process *process_requested(struct request *rq);
/* The offsets of the query: "from=<stdout>[,<stderr>]", 0 where it says nothing. False after having answered 400.
 */
bool process_requested_offsets(struct request *rq, uint64_t ret[STREAM_COUNT]);
/* {success, processId, timestamp} */
void process_reply_done(struct request *rq, const struct process *process);
/* 404: it has ended already. */
void process_reply_ended(struct request *rq, const struct process *process);
