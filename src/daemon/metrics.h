/*
 * metrics.h - counters and histograms, and their Prometheus text form.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "daemon/store.h"

#define METRICS_ROUTES_MAX 128
#define METRICS_BUCKETS    14
#define METRICS_IMAGES_MAX 32
#define METRICS_TOLD_MAX   1000 /* contexts of one kind that an agent may tell of at once */
#define METRICS_STATUS_MAX 6    /* by hundreds: 1xx to 5xx; index 0: the client went away before an answer */

struct daemon;

struct histogram {
    uint64_t counts[METRICS_BUCKETS + 1]; /* the last one: above all bounds */
    uint64_t sum_us;
};

enum metric_start { METRIC_START_WARM, METRIC_START_COLD, METRIC_START_KINDS };
enum metric_end { METRIC_END_SLEPT, METRIC_END_DIED, METRIC_END_DESTROYED, METRIC_END_KINDS };

enum metric_context {
    METRIC_CONTEXT_SNAPSHOT,
    METRIC_CONTEXT_SPARE,
    METRIC_CONTEXT_COLD,
    METRIC_CONTEXT_FAILED,
    METRIC_CONTEXT_KINDS
};

/* Code contexts that sandboxes of one image were asked for. */
struct context_starts {
    char image[IMAGE_NAME_BYTES];
    uint64_t counts[METRIC_CONTEXT_KINDS];
};

struct metrics {
    uint64_t requests[METRICS_ROUTES_MAX][METRICS_STATUS_MAX];
    struct histogram latency[METRICS_ROUTES_MAX];
    struct histogram start_latency[METRIC_START_KINDS];
    uint64_t ends[METRIC_END_KINDS];
    uint64_t bytes_out, bytes_in;
    uint64_t start_failures, spawner_restarts, adopted, pool_failures;
    int64_t started_ms;
    struct context_starts contexts[METRICS_IMAGES_MAX]; /* the last one: of all images that found no place */
};

void histogram_add(struct histogram *histogram, uint64_t us);
/*
 * One answer of an agent to the request for a context: with what it says about how it came by it. It can lie about
 * that, but one answer counts once, and not at all if it says what is no kind.
 */
void metrics_context_answered(struct metrics *metrics, const char *image, int status, struct str how);
/* The same of contexts that were asked for over a connection which passed through: {kind: number}. Of what is said
 * at once no more than a thousand of a kind count. */
void metrics_contexts_told(struct metrics *metrics, const char *image, const struct json *counts);
/* Appends everything; 0 or -1 when the buffer is full. */
int metrics_write(const struct daemon *daemon, struct buf *out);
