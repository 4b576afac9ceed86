/*
 * event_tail.h - the end of an event stream of the agent's that we have to end ourselves: one more event, where a
 * whole one has just been passed on. A stream that is cut within an event stays cut.
 */
#pragma once

#include "daemon/api/api.h"

struct event_tail {
    unsigned newlines; /* at the end of what has been written; 2: it ends with a whole event */
};

void event_tail_init(struct event_tail *tail);
/* Passes it on. */
void event_tail_write(struct event_tail *tail, struct request *request, struct str piece);
/* Ends the stream with {"type":"error",...}, or aborts it. */
void event_tail_fail(const struct event_tail *tail, struct request *request, const struct berm_error *err);
/* For request_is_stream(): the daemon stops. The call of the agent is closed before. */
void event_tail_stop(const struct event_tail *tail, struct request *request);
