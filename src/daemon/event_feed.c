#include "daemon/event_feed.h"

#include "base/loop.h"
#include "daemon/daemon.h"

static struct store_event event_of(const struct sandbox *sandbox, const char *event, enum end_reason reason,
                                   const char *detail)
{
    const char *name = end_reason_name(reason);

    return (struct store_event){ .time_ms = clock_realtime_ms(),
                                 .event = event,
                                 .detail = detail,
                                 .reason = name ? name : "",
                                 .generation = sandbox->row.generation };
}

static void tell(struct daemon *daemon, const struct sandbox *sandbox, const struct store_event *event)
{
    struct list *head = &daemon->event_listeners, *next;

    for (struct list *node = head->next; node != head; node = next) {
        struct feed_listener *listener = container_of(node, struct feed_listener, node);

        next = node->next;
        listener->tell(listener, sandbox, event);
    }
}

int feed_commit(struct sandbox *sandbox, uint64_t pool_key, const char *event, enum end_reason reason,
                const char *detail, struct berm_error *err)
{
    struct store_event stored = event_of(sandbox, event, reason, detail);

    if (store_put_sandbox(sandbox->daemon->store, &sandbox->row, pool_key, &stored, err) < 0)
        return -1;
    stored.number = sandbox->row.event_count - 1;
    tell(sandbox->daemon, sandbox, &stored);
    return 0;
}

void feed_tell_gone(struct sandbox *sandbox, const char *event, enum end_reason reason, const char *detail)
{
    struct store_event told = event_of(sandbox, event, reason, detail);

    told.number = sandbox->row.event_count;
    tell(sandbox->daemon, sandbox, &told);
}

void feed_tell_daemon(struct daemon *daemon, const char *event, const char *detail)
{
    const struct store_event told = { .time_ms = clock_realtime_ms(),
                                      .event = event,
                                      .detail = detail,
                                      .reason = "",
                                      .number = daemon->event_number++ };

    tell(daemon, NULL, &told);
}

void feed_end(struct daemon *daemon)
{
    struct list *head = &daemon->event_listeners, *next;

    for (struct list *node = head->next; node != head; node = next) {
        struct feed_listener *listener = container_of(node, struct feed_listener, node);

        next = node->next;
        listener->end(listener);
    }
}
