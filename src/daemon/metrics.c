#include "daemon/metrics.h"

#include "base/loop.h"
#include "daemon/api/api.h"
#include "daemon/daemon.h"
#include "daemon/egress/egress.h"
#include "daemon/link/uplink.h"
#include "daemon/pool.h"

static const uint32_t bounds_us[METRICS_BUCKETS] = { 100,   250,    500,    1000,    2500,    5000,     10000,
                                                     25000, 100000, 250000, 1000000, 5000000, 30000000, 120000000 };

void histogram_add(struct histogram *histogram, uint64_t us)
{
    size_t i = 0;

    while (i < METRICS_BUCKETS && us > bounds_us[i])
        i++;
    histogram->counts[i]++;
    histogram->sum_us += us;
}

static int write_histogram(struct buf *out, const char *name, const char *labels, const struct histogram *histogram)
{
    uint64_t total = 0;
    int rc = 0;

    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        total += histogram->counts[i];
        rc |= buf_printf(out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, bounds_us[i] / 1e6,
                         (unsigned long long)total);
    }
    total += histogram->counts[METRICS_BUCKETS];
    rc |= buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %g\n%s_count{%s} %llu\n", name, labels,
                     (unsigned long long)total, name, labels, (double)histogram->sum_us / 1e6, name, labels,
                     (unsigned long long)total);
    return rc;
}

static bool route_was_used(const struct metrics *metrics, size_t route)
{
    for (size_t i = 0; i < METRICS_STATUS_MAX; i++)
        if (metrics->requests[route][i])
            return true;
    return false;
}

static int write_requests(const struct metrics *metrics, struct buf *out)
{
    static const char *const status_names[METRICS_STATUS_MAX] = { "aborted", "1xx", "2xx", "3xx", "4xx", "5xx" };
    char labels[96];
    int rc = buf_printf(out, "# HELP berm_http_requests_total Requests that ended, by route and status.\n"
                             "# TYPE berm_http_requests_total counter\n");

    for (size_t r = 0; r < api_route_count(); r++)
        for (size_t s = 0; s < METRICS_STATUS_MAX; s++)
            if (metrics->requests[r][s])
                rc |= buf_printf(out, "berm_http_requests_total{route=\"%s\",status=\"%s\"} %llu\n",
                                 api_route_name(r), status_names[s], (unsigned long long)metrics->requests[r][s]);
    rc |=
        buf_printf(out, "# HELP berm_http_request_seconds Time from the request's head to the end of the answer.\n"
                        "# TYPE berm_http_request_seconds histogram\n");
    for (size_t r = 0; r < api_route_count(); r++) {
        if (!route_was_used(metrics, r))
            continue;
        snprintf(labels, sizeof(labels), "route=\"%s\"", api_route_name(r));
        rc |= write_histogram(out, "berm_http_request_seconds", labels, &metrics->latency[r]);
    }
    return rc;
}

static int write_starts(const struct metrics *metrics, struct buf *out)
{
    int rc = buf_printf(out, "# HELP berm_sandbox_start_seconds Time to start a sandbox, by where it came from.\n"
                             "# TYPE berm_sandbox_start_seconds histogram\n");

    rc |= write_histogram(out, "berm_sandbox_start_seconds", "from=\"pool\"",
                          &metrics->start_latency[METRIC_START_WARM]);
    rc |= write_histogram(out, "berm_sandbox_start_seconds", "from=\"cold\"",
                          &metrics->start_latency[METRIC_START_COLD]);
    return rc | buf_printf(out,
                           "# HELP berm_sandbox_start_failures_total Starts that failed.\n"
                           "# TYPE berm_sandbox_start_failures_total counter\n"
                           "berm_sandbox_start_failures_total %llu\n",
                           (unsigned long long)metrics->start_failures);
}

static const char *const context_kinds[METRIC_CONTEXT_KINDS] = { "snapshot", "spare", "cold", "failed" };

static struct context_starts *starts_of(struct metrics *metrics, const char *image)
{
    size_t i = 0;

    while (i < METRICS_IMAGES_MAX - 1 && metrics->contexts[i].image[0] && strcmp(metrics->contexts[i].image, image))
        i++;
    if (!metrics->contexts[i].image[0])
        snprintf(metrics->contexts[i].image, sizeof(metrics->contexts[i].image), "%s",
                 i < METRICS_IMAGES_MAX - 1 ? image : "(others)");
    return &metrics->contexts[i];
}

void metrics_context_answered(struct metrics *metrics, const char *image, int status, struct str how)
{
    if (status >= 500)
        starts_of(metrics, image)->counts[METRIC_CONTEXT_FAILED]++;
    for (size_t kind = 0; status == 200 && kind < METRIC_CONTEXT_FAILED; kind++)
        if (str_is(how, context_kinds[kind]))
            starts_of(metrics, image)->counts[kind]++;
}

void metrics_contexts_told(struct metrics *metrics, const char *image, const struct json *counts)
{
    for (size_t kind = 0; kind < METRIC_CONTEXT_KINDS; kind++) {
        int64_t count = 0;

        if (json_field_int(counts, context_kinds[kind], 0, METRICS_TOLD_MAX, &count, NULL) == 0 && count > 0)
            starts_of(metrics, image)->counts[kind] += (uint64_t)count;
    }
}

static int write_contexts(const struct metrics *metrics, struct buf *out)
{
    int rc = buf_printf(
        out, "# HELP berm_context_starts_total Code contexts by image and by how their interpreters were come "
             "by, as the sandboxes' agents say.\n"
             "# TYPE berm_context_starts_total counter\n");

    for (size_t i = 0; i < METRICS_IMAGES_MAX && metrics->contexts[i].image[0]; i++)
        for (size_t kind = 0; kind < METRIC_CONTEXT_KINDS; kind++)
            rc |= buf_printf(out, "berm_context_starts_total{image=\"%s\",from=\"%s\"} %llu\n",
                             metrics->contexts[i].image, context_kinds[kind],
                             (unsigned long long)metrics->contexts[i].counts[kind]);
    return rc;
}

static int write_counter(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
                      (unsigned long long)value);
}

static int write_sandboxes(const struct daemon *daemon, struct buf *out)
{
    static const char *const state_names[] = { "creating", "running", "sleeping", "stopped" };
    uint64_t counts[ARRAY_SIZE(state_names)] = { 0 };
    const struct metrics *metrics = &daemon->metrics;
    int rc;

    for (struct list *node = daemon->registry.order.next; node != &daemon->registry.order; node = node->next) {
        const struct sandbox *sandbox = container_of(node, struct sandbox, order);

        if ((size_t)sandbox->state < ARRAY_SIZE(counts))
            counts[sandbox->state]++;
    }
    rc = buf_printf(out, "# HELP berm_sandboxes Sandboxes by state.\n# TYPE berm_sandboxes gauge\n");
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        rc |= buf_printf(out, "berm_sandboxes{state=\"%s\"} %llu\n", state_names[i], (unsigned long long)counts[i]);
    return rc | buf_printf(out,
                           "# HELP berm_sandbox_ends_total Ends of running sandboxes.\n"
                           "# TYPE berm_sandbox_ends_total counter\n"
                           "berm_sandbox_ends_total{how=\"slept\"} %llu\n"
                           "berm_sandbox_ends_total{how=\"died\"} %llu\n"
                           "berm_sandbox_ends_total{how=\"destroyed\"} %llu\n",
                           (unsigned long long)metrics->ends[METRIC_END_SLEPT],
                           (unsigned long long)metrics->ends[METRIC_END_DIED],
                           (unsigned long long)metrics->ends[METRIC_END_DESTROYED]);
}

static int write_pool(const struct daemon *daemon, struct buf *out)
{
    struct pool_stats stats;

    pool_get_stats(daemon->pool, &stats);
    return write_counter(out, "berm_pool_ready", "gauge", "Warm sandboxes ready to be claimed.", stats.ready) |
           write_counter(out, "berm_pool_starting", "gauge", "Warm sandboxes being started.", stats.starting) |
           write_counter(out, "berm_pool_target", "gauge", "Warm sandboxes that are to be kept.", stats.target) |
           write_counter(out, "berm_pool_failures_total", "counter", "Warm sandboxes that could not be started.",
                         daemon->metrics.pool_failures);
}

static int write_server(const struct daemon *daemon, struct buf *out)
{
    struct http_server_stats stats;

    http_server_stats(daemon->server, &stats);
    return write_counter(out, "berm_http_connections", "gauge", "Open client connections.",
                         stats.connections_open) |
           write_counter(out, "berm_http_connections_total", "counter", "Accepted connections.",
                         stats.connections_total) |
           write_counter(out, "berm_http_refused_total", "counter", "Requests refused for their framing or size.",
                         stats.refused_total) |
           write_counter(out, "berm_http_timeouts_total", "counter", "Connections ended by a deadline.",
                         stats.timeouts_total) |
           write_counter(out, "berm_http_sent_bytes_total", "counter", "Body bytes of answers.",
                         daemon->metrics.bytes_out) |
           write_counter(out, "berm_http_received_bytes_total", "counter", "Body bytes of requests.",
                         daemon->metrics.bytes_in);
}

static int write_egress(const struct daemon *daemon, struct buf *out)
{
    const struct egress_totals *totals = daemon->egress ? egress_service_totals(daemon->egress) : NULL;

    if (!totals)
        return 0;
    return write_counter(out, "berm_egress_connections", "gauge", "Open connections of sandboxes.", totals->open) |
           write_counter(out, "berm_egress_connections_total", "counter", "Connections that sandboxes made.",
                         totals->connections) |
           write_counter(out, "berm_egress_denied_total", "counter",
                         "Connections and requests that a policy refused.", totals->denied_connections) |
           write_counter(out, "berm_egress_failed_total", "counter", "Connections whose other end was not reached.",
                         totals->failed) |
           write_counter(out, "berm_egress_intercepted_total", "counter", "Connections whose TLS was intercepted.",
                         totals->intercepted) |
           write_counter(out, "berm_egress_credentialed_total", "counter", "Requests that got a credential.",
                         totals->credentialed) |
           write_counter(out, "berm_egress_questions_total", "counter", "DNS questions of sandboxes.",
                         totals->questions) |
           write_counter(out, "berm_egress_denied_questions_total", "counter",
                         "DNS questions that a policy refused.", totals->denied_questions) |
           write_counter(out, "berm_egress_sent_bytes_total", "counter",
                         "Bytes from sandboxes, of ended connections.", totals->bytes_out) |
           write_counter(out, "berm_egress_received_bytes_total", "counter",
                         "Bytes to sandboxes, of ended connections.", totals->bytes_in);
}

static int write_link(const struct daemon *daemon, struct buf *out)
{
    struct uplink_status status = { .state = "off" };

    if (daemon->uplink)
        uplink_get_status(daemon->uplink, &status);
    return write_counter(out, "berm_link_up", "gauge", "Whether the edge reaches this daemon.",
                         !strcmp(status.state, "up")) |
           write_counter(out, "berm_link_links_total", "counter", "Links to the edge that were made.",
                         status.links_total) |
           write_counter(out, "berm_link_streams", "gauge", "Open streams of the edge.", status.streams_open) |
           write_counter(out, "berm_link_streams_total", "counter", "Streams that the edge opened.",
                         status.streams_total);
}

int metrics_write(const struct daemon *daemon, struct buf *out)
{
    const struct metrics *metrics = &daemon->metrics;
    int rc = buf_printf(out, "# HELP berm_build_info The running version.\n# TYPE berm_build_info gauge\n"
                             "berm_build_info{version=\"" BERM_VERSION "\"} 1\n");

    rc |= write_requests(metrics, out);
    rc |= write_starts(metrics, out);
    rc |= write_contexts(metrics, out);
    rc |= write_sandboxes(daemon, out);
    rc |= write_pool(daemon, out);
    rc |= write_server(daemon, out);
    rc |= write_egress(daemon, out);
    rc |= write_link(daemon, out);
    rc |= write_counter(out, "berm_spawner_restarts_total", "counter", "Restarts of berm-spawn's worker.",
                        metrics->spawner_restarts);
    rc |= write_counter(out, "berm_adopted_total", "counter", "Sandboxes found running after a start.",
                        metrics->adopted);
    rc |= write_counter(out, "berm_start_time_ms", "gauge", "Unix time of the daemon's start in milliseconds.",
                        (uint64_t)metrics->started_ms);
    return rc ? -1 : 0;
}
