/*
 * stats.c - GET /containers/X/stats: what berm-spawn reads in the container's cgroups, once or every second. As
 * Docker has it, a single answer takes a second, because it also says how it was before (`one-shot` says that as
 * zeros).
 */
#include "base/sys.h"
#include "daemon/docker/engine.h"

#define EVERY_MS 1000

struct sample {
    int64_t at_ms;
    uint64_t system_ns; /* what all processors together had to give since the boot */
    struct spawn_stat stat;
};

struct stats {
    struct request *request;
    char id[DOCKER_ID_HEX + 1];
    bool stream, begun, has_before;
    struct sample before;
    struct loop_timer timer;
};

static void clean_up(struct request *request)
{
    struct stats *stats = request->state;

    loop_timer_stop(request->daemon->loop, &stats->timer);
    spawn_link_forget(request->daemon->spawn, stats);
}

static struct container *container_of_stats(const struct stats *stats)
{
    struct container *container = container_find(docker_of(stats->request), str_from(stats->id));

    return container && container->phase == CONTAINER_RUNNING && container->sandbox ? container : NULL;
}

static void write_cpu(struct json_writer *w, const char *key, const struct sample *sample)
{
    json_key(w, key);
    json_object_begin(w);
    json_key(w, "cpu_usage");
    json_object_begin(w);
    json_pair_int(w, "total_usage", (int64_t)(sample->stat.cpu_usec * 1000));
    json_pair_int(w, "usage_in_kernelmode", 0);
    json_pair_int(w, "usage_in_usermode", 0);
    json_object_end(w);
    json_pair_int(w, "system_cpu_usage", (int64_t)sample->system_ns);
    json_pair_int(w, "online_cpus", sysconf(_SC_NPROCESSORS_ONLN));
    json_object_end(w);
}

static void write_memory(struct json_writer *w, const struct sample *now, const struct container *container)
{
    json_key(w, "memory_stats");
    json_object_begin(w);
    json_pair_int(w, "usage", (int64_t)now->stat.memory_bytes);
    json_pair_int(w, "max_usage", (int64_t)now->stat.memory_peak_bytes);
    json_pair_int(w, "limit", (int64_t)container->sandbox->row.limits.memory_bytes);
    json_pair_int(w, "failcnt", now->stat.oom_kills);
    json_pair_empty_object(w, "stats");
    json_object_end(w);
}

static void write_sample(struct json_writer *w, const struct container *container, const struct sample *now,
                         const struct sample *before)
{
    char name[DOCKER_NAME_MAX + 2];

    snprintf(name, sizeof(name), "/%s", container->name);
    json_object_begin(w);
    json_pair_cstring(w, "id", container->id);
    json_pair_cstring(w, "name", name);
    docker_pair_time(w, "read", now->at_ms);
    docker_pair_time(w, "preread", before->at_ms);
    json_key(w, "pids_stats");
    json_object_begin(w);
    json_pair_int(w, "current", now->stat.pids);
    json_pair_int(w, "limit", container->sandbox->row.limits.pids);
    json_object_end(w);
    write_cpu(w, "cpu_stats", now);
    write_cpu(w, "precpu_stats", before);
    write_memory(w, now, container);
    json_pair_empty_object(w, "networks");
    json_object_end(w);
}

static int append_sample(struct buf *text, const struct container *container, const struct sample *now,
                         const struct sample *before)
{
    struct json_writer w;

    json_writer_init(&w, text);
    write_sample(&w, container, now, before);
    return json_writer_finish(&w) == 0 ? buf_append(text, "\n", 1) : -1;
}

static void respond(struct stats *stats, const struct container *container, const struct sample *now)
{
    static const struct http_field fields[] = { { "Content-Type", "application/json" } };
    struct buf text;

    buf_init(&text, 16 * 1024);
    if (append_sample(&text, container, now, &stats->before) < 0) {
        http_exchange_abort(stats->request->exchange);
    } else {
        if (!stats->begun)
            request_begin(stats->request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
        stats->begun = true;
        request_write(stats->request, buf_str(&text));
    }
    buf_free(&text);
}

static void finish(struct stats *stats)
{
    if (stats->begun)
        request_end(stats->request);
    else
        docker_fail(stats->request, 409, "container %s is not running", stats->id);
}

/* --- sampling --- */

static void on_stat(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct stats *stats = data;
    const struct container *container = container_of_stats(stats);
    struct sample now = { .at_ms = clock_realtime_ms() };

    if (err->code != BERM_OK || !container) {
        finish(stats);
        return;
    }
    now.system_ns = clock_monotonic_ns() * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    now.stat = reply->stat;
    if (stats->has_before || stats->stream)
        respond(stats, container, &now);
    if (stats->has_before && !stats->stream) {
        request_end(stats->request);
        return;
    }
    stats->before = now;
    stats->has_before = true;
    loop_timer_start(stats->request->daemon->loop, &stats->timer, EVERY_MS);
}

static void ask(struct stats *stats)
{
    const struct container *container = container_of_stats(stats);
    struct spawn_request request = { .op = SPAWN_OP_STAT };
    struct berm_error err;

    if (container)
        request.key = container->sandbox->row.key;
    if (!container || spawn_link_send(stats->request->daemon->spawn, &request, on_stat, stats, &err) < 0)
        finish(stats);
}

/* A client that does not read gets no more before it has. */
static void on_timer(struct loop_timer *timer)
{
    struct stats *stats = container_of(timer, struct stats, timer);

    if (stats->begun && http_respond_queued(stats->request->exchange) > 0)
        loop_timer_start(stats->request->daemon->loop, &stats->timer, EVERY_MS);
    else
        ask(stats);
}

static bool query_says(struct request *request, const char *name, bool otherwise)
{
    const char *text = NULL;

    return request_query(request, name, &text) == 0 && text && text[0] ? docker_query_flag(request, name)
                                                                       : otherwise;
}

void docker_stats(struct request *request)
{
    const struct container *container = docker_container(request);
    struct stats *stats;

    if (!container)
        return;
    stats = arena_calloc(&request->arena, 1, sizeof(*stats));
    if (!stats) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    stats->request = request;
    memcpy(stats->id, container->id, sizeof(stats->id));
    stats->stream = query_says(request, "stream", true);
    stats->has_before = !stats->stream && docker_query_flag(request, "one-shot");
    loop_timer_init(&stats->timer, on_timer);
    request->state = stats;
    request->cleanup = clean_up;
    http_watch_disconnect(request->exchange);
    ask(stats);
}
