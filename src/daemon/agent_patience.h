/*
 * agent_patience.h - how long whoever waits for an answer of the agent's goes on waiting.
 *
 * An answer may rightly take hours. But the agent is one loop, which a file system that never answers (a FUSE
 * server in the sandbox) holds up for ever, and with it everybody who asked it for anything. So after half of the
 * link's patience without the head of an answer the agent is asked for a sign of life, which it gives at once if it
 * can; if it has given none after the other half, nothing else will come either.
 */
#pragma once

#include "daemon/agent_link.h"

struct agent_patience {
    struct agent_link *link; /* borrowed */
    struct loop_timer timer;
    struct http_call *ping;
    bool missed; /* the last ping could not even be sent */
    void (*lost)(struct agent_patience *patience);
};

/* `lost` is called at most once, never from inside, and it is over then. */
void agent_patience_begin(struct agent_patience *patience, struct agent_link *link,
                          void (*lost)(struct agent_patience *patience));
/* An answer has begun, or nobody waits any more. Idempotent; also for one that is all zeros. */
void agent_patience_end(struct agent_patience *patience);
