#include "collector.h"

static void overflow(struct collector *collector)
{
    if (collector->overflowed)
        return;
    collector->overflowed = true;
    collector_free(collector);
    if (collector->on_overflow)
        collector->on_overflow(collector);
}

static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct collector *collector = container_of(sink, struct collector, sink);
    char *at = NULL;

    (void) final;
    if (!collector->overflowed)
        at = output_reserve(&collector->outputs[stream], room);
    if (at)
        return at;
    overflow(collector);
    *room = SCRATCH_SIZE;
    return scratch;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct collector *collector = container_of(sink, struct collector, sink);

    if (collector->overflowed)
        return;
    output_commit(&collector->outputs[stream], n);
    if (collector->outputs[STREAM_STDOUT].total + collector->outputs[STREAM_STDERR].total > collector->limit)
        overflow(collector);
}

void collector_init(struct collector *collector, size_t limit)
{
    *collector = (struct collector){ .sink = { reserve, commit }, .limit = limit };
}

void collector_free(struct collector *collector)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        output_free(&collector->outputs[i]);
}
