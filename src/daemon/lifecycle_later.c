/* lifecycle_later.c - what the store is told behind what happens: starts that were put off, and times of last use.
 */
#include "base/log.h"
#include "daemon/lifecycle.h"

#define TOUCH_INTERVAL_MS 10000

void lifecycle_flush_touched(struct daemon *daemon)
{
    struct berm_error err = { 0 };
    struct list *node;
    int rc = 0;

    lifecycle_settle(daemon);
    while ((node = list_shift(&daemon->registry.dirty)) && rc == 0) {
        struct sandbox *sandbox = container_of(node, struct sandbox, dirty);

        if (sandbox->row.seq)
            rc = store_touch(daemon->store, sandbox->row.id, sandbox->row.last_used_ms, &err);
    }
    if (store_touch_flush(daemon->store, &err) < 0 || rc < 0)
        log_error("store.failed", "error", err.message);
}

static void on_touch_timer(struct loop_timer *timer)
{
    struct daemon *daemon = container_of(timer, struct daemon, touch_timer);

    lifecycle_flush_touched(daemon);
    loop_timer_start(daemon->loop, timer, TOUCH_INTERVAL_MS);
}

static void on_store_later(struct loop_deferred *deferred)
{
    lifecycle_settle(container_of(deferred, struct daemon, store_later));
}

void lifecycle_init(struct daemon *daemon)
{
    daemon->store_later.callback = on_store_later;
    loop_timer_init(&daemon->touch_timer, on_touch_timer);
    loop_timer_start(daemon->loop, &daemon->touch_timer, TOUCH_INTERVAL_MS);
}
