/*
 * collector.h - a sink that keeps a command's output in memory up to a limit. Past the limit everything is dropped
 * and the rest is read and thrown away, so that the command is not blocked by us.
 */
#pragma once

#include "output.h"

struct collector {
    struct sink sink;
    struct output outputs[STREAM_COUNT];
    size_t limit;
    bool overflowed;                                  /* more than `limit`, or no memory for it */
    void (*on_overflow)(struct collector *collector); /* may be NULL */
};

void collector_init(struct collector *collector, size_t limit);
void collector_free(struct collector *collector);
