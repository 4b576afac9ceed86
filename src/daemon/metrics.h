/*
 * metrics.h - counters and histograms, and their Prometheus text form.
 */
#pragma once

#include "base/buf.h"

#define METRICS_ROUTES_MAX 128
#define METRICS_BUCKETS    14
#define METRICS_STATUS_MAX 6 /* by hundreds: 1xx to 5xx; index 0: the client went away before an answer */

struct daemon;

struct histogram {
    uint64_t counts[METRICS_BUCKETS + 1]; /* the last one: above all bounds */
    uint64_t sum_us;
};

enum metric_start { METRIC_START_WARM, METRIC_START_COLD, METRIC_START_KINDS };
enum metric_end { METRIC_END_SLEPT, METRIC_END_DIED, METRIC_END_DESTROYED, METRIC_END_KINDS };

struct metrics {
    uint64_t requests[METRICS_ROUTES_MAX][METRICS_STATUS_MAX];
    struct histogram latency[METRICS_ROUTES_MAX];
    struct histogram start_latency[METRIC_START_KINDS];
    uint64_t ends[METRIC_END_KINDS];
    uint64_t bytes_out, bytes_in;
    uint64_t start_failures, spawner_restarts, adopted, pool_failures;
    int64_t started_ms;
};

void histogram_add(struct histogram *histogram, uint64_t us);
/* Appends everything; 0 or -1 when the buffer is full. */
int metrics_write(const struct daemon *daemon, struct buf *out);
