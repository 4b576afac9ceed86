/*
 * event_feed.h - life-cycle events: committed with the row of their sandbox, then told to whoever listens. A
 * listener hears nothing that is not in the store, but for the end of a sandbox that is gone from it.
 */
#pragma once

#include "daemon/registry.h"

struct feed_listener {
    struct list node;
    /* May take itself out of the list, and nobody else. A sandbox that is gone is DESTROYED; NULL: the daemon's. */
    void (*tell)(struct feed_listener *listener, const struct sandbox *sandbox, const struct store_event *event);
    void (*end)(struct feed_listener *listener); /* the daemon stops; likewise */
};

/* Commits sandbox->row (and `pool_key`, see store_put_sandbox()) with an event of now, and tells. `reason` is
 * END_NONE for what is no end. */
int feed_commit(struct sandbox *sandbox, uint64_t pool_key, const char *event, enum end_reason reason,
                const char *detail, struct berm_error *err);
/* Ends all listeners: the daemon does not wait for them when it stops. */
void feed_end(struct daemon *daemon);
/* Tells of the daemon itself: in no store. */
void feed_tell_daemon(struct daemon *daemon, const char *event, const char *detail);
/* Tells of a sandbox whose row has been deleted. */
void feed_tell_gone(struct sandbox *sandbox, const char *event, enum end_reason reason, const char *detail);
