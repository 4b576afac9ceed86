/*
 * sse_guard.h - passes an agent's event stream on in whole events, so that when the agent breaks off in the middle
 * of one, a proper last event can follow what the client has got.
 *
 * It looks for the ends of events and for the names "exit" and "error" and changes no byte. Events that are larger
 * than the buffer are the agent's misbehaviour: the stream is broken then.
 */
#pragma once

#include "base/buf.h"

struct sse_guard {
    struct buf held; /* the beginning of an event whose end has not come */
    char line[16];   /* the first bytes of the line being scanned */
    size_t line_length;
    bool last;     /* the event being scanned is an exit or an error */
    bool terminal; /* such an event has passed: nothing may follow */
};

void sse_guard_init(struct sse_guard *guard, size_t max_event);
void sse_guard_free(struct sse_guard *guard);

/*
 * Takes a piece. Whole events go to `write` at once or in two parts, in order. 0, or -1 when an event is too large.
 * What comes after the terminal event is dropped.
 */
int sse_guard_feed(struct sse_guard *guard, struct str piece, void (*write)(void *data, struct str bytes),
                   void *data);
