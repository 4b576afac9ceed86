/*
 * giving.h - which of the streams that the far side begins are given to bermd, and when (dialling only).
 *
 * A stream that its opener takes back costs bermd as much as one that is waited for, but does not count against the
 * limit of streams any more. So at most LINK_STREAMS_MAX may have been given and have no answer yet, or be lost
 * without one, of which LOST_SECOND are forgiven each second. Others wait here, where taking them back costs
 * nothing but frames. So visitors of an edge who go away never cost it its link, and those who stay are served at
 * that rate at least. More than RESETS_MAX of them, RESETS_SECOND of which are forgiven, are no visitors: the link
 * is closed.
 */
#pragma once

#include "base/list.h"
#include "base/loop.h"

struct link;
struct stream;

/* Embedded in struct link. */
struct giving {
    struct list waiting; /* streams that have no socket yet */
    uint32_t unanswered; /* given */
    uint64_t lost_milli, resets_milli, forgiven_ms;
    struct loop_timer timer; /* while any wait */
    bool flooded;
};

void giving_init(struct giving *giving);
void giving_stop(struct link *link);

/* Gives it to bermd, or has it wait. -1: no memory or descriptors. */
int giving_begin(struct stream *stream);
/* The first of bermd's answer, or its end, is sent. */
void giving_answered(struct stream *stream);
/* The far side has taken it back, answered or not. */
void giving_taken_back(struct stream *stream);
/* It goes: of what was not told above, nobody is to blame. */
void giving_end(struct stream *stream);
