#include "link/giving.h"

#include "link/core.h"
#include "link/stream.h"

#include "base/sys.h"

#define MILLI         ((uint64_t)1000)
#define LOST_SECOND   1000
#define RESETS_SECOND 10000
#define RESETS_MAX    ((uint64_t)64 << 10)
#define TICK_MS       10

/* So many a second are so many thousandths in a millisecond. */
static void forgive(struct giving *giving, uint64_t now_ms)
{
    uint64_t ms = now_ms - giving->forgiven_ms;

    giving->lost_milli -= MIN(giving->lost_milli, ms * LOST_SECOND);
    giving->resets_milli -= MIN(giving->resets_milli, ms * RESETS_SECOND);
    giving->forgiven_ms = now_ms;
}

static bool has_room(const struct giving *giving)
{
    return giving->unanswered + giving->lost_milli / MILLI < LINK_STREAMS_MAX;
}

static int give(struct stream *stream)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -1;
    stream->fd = ends[0];
    stream->unanswered = true;
    stream->link->giving.unanswered++;
    stream_start(stream);
    core_tell_stream(stream->link, ends[1]);
    return 0;
}

static void on_tick(struct loop_timer *timer)
{
    struct giving *giving = container_of(timer, struct giving, timer);
    struct link *link = container_of(giving, struct link, giving);
    struct list *node;

    forgive(giving, loop_now_ms(link->core->loop));
    while (has_room(giving) && (node = list_shift(&giving->waiting))) {
        struct stream *stream = container_of(node, struct stream, waiting);

        if (give(stream) < 0)
            stream_give_up(stream);
    }
    if (!list_empty(&giving->waiting))
        loop_timer_start(link->core->loop, timer, TICK_MS);
}

void giving_init(struct giving *giving)
{
    *giving = (struct giving){ 0 };
    list_init(&giving->waiting);
    loop_timer_init(&giving->timer, on_tick);
}

void giving_stop(struct link *link)
{
    loop_timer_stop(link->core->loop, &link->giving.timer);
}

int giving_begin(struct stream *stream)
{
    struct link *link = stream->link;
    struct giving *giving = &link->giving;
    struct loop *loop = link->core->loop;

    forgive(giving, loop_now_ms(loop));
    if (list_empty(&giving->waiting) && has_room(giving))
        return give(stream);
    if (list_empty(&giving->waiting) && loop_timer_start(loop, &giving->timer, TICK_MS) < 0)
        return -1;
    list_append(&giving->waiting, &stream->waiting);
    return 0;
}

static bool settle_account(struct stream *stream)
{
    bool was = stream->unanswered;

    stream->unanswered = false;
    stream->link->giving.unanswered -= was;
    return was;
}

void giving_answered(struct stream *stream)
{
    settle_account(stream);
}

void giving_taken_back(struct stream *stream)
{
    struct giving *giving = &stream->link->giving;
    bool lost = settle_account(stream);

    if (!lost && !list_linked(&stream->waiting))
        return;
    list_remove(&stream->waiting);
    forgive(giving, loop_now_ms(stream->link->core->loop));
    giving->lost_milli += lost ? MILLI : 0;
    giving->resets_milli += MILLI;
    if (giving->resets_milli > RESETS_MAX * MILLI)
        core_flooded(stream->link);
}

void giving_end(struct stream *stream)
{
    settle_account(stream);
    list_remove(&stream->waiting);
}
