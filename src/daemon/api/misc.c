/* misc.c - the daemon about itself: health, metrics, host, images, pool. */
#include "base/sys.h"
#include "daemon/api/api.h"
#include "daemon/pool.h"

#define METRICS_MAX (4 << 20)

/* --- health --- */

void api_health(struct request *request)
{
    struct daemon *daemon = request->daemon;
    struct berm_error err;
    struct json_writer *w;

    if (spawn_link_alive(daemon->spawn) && image_cache_resolve(daemon->images, daemon->config.image, &err)) {
        request_respond(request, 200, "application/json", STR("{\"ok\":true}"));
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_pair_bool(w, "ok", false);
    json_key(w, "errors");
    json_array_begin(w);
    if (!spawn_link_alive(daemon->spawn))
        json_cstring(w, "berm-spawn is gone");
    else
        json_cstring(w, err.message);
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 503, w);
}

void api_metrics(struct request *request)
{
    struct buf text;

    buf_init(&text, METRICS_MAX);
    if (metrics_write(request->daemon, &text) == 0)
        request_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
    else
        request_fail_with(request, BERM_E_SYSTEM, "the metrics are too large");
    buf_free(&text);
}

/* --- host --- */

static void write_features(struct json_writer *w, uint32_t features)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        { SPAWN_FEATURE_CGROUP_V2, "cgroupV2" },
        { SPAWN_FEATURE_CGROUP_KILL, "cgroupKill" },
        { SPAWN_FEATURE_LANDLOCK, "landlock" },
        { SPAWN_FEATURE_EROFS_FILE, "erofsFile" },
        { SPAWN_FEATURE_SIMPLE_QUOTA, "simpleQuota" },
        { SPAWN_FEATURE_DISK_QUOTA, "diskQuota" },
        { SPAWN_FEATURE_EGRESS, "egress" },
    };

    json_key(w, "features");
    json_object_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        json_pair_bool(w, names[i].name, features & names[i].bit);
    json_object_end(w);
}

static void write_host(struct request *request)
{
    const struct daemon *daemon = request->daemon;
    const struct spawn_limits *ceiling = &daemon->host.ceiling;
    struct json_writer *w;

    if (!daemon->host_known) {
        request_fail_with(request, BERM_E_SPAWNER_UNAVAILABLE, "berm-spawn has not told about the host");
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "version", BERM_VERSION);
    write_features(w, daemon->host.features);
    json_pair_int(w, "landlockAbi", daemon->host.landlock_abi);
    json_key(w, "ceiling");
    json_object_begin(w);
    json_pair_int(w, "memoryBytes", (int64_t)MIN(ceiling->memory_bytes, daemon->config.max_memory));
    json_pair_int(w, "cpuMillis", (int64_t)MIN(ceiling->cpu_millis, daemon->config.max_cpu));
    json_pair_int(w, "pids", (int64_t)MIN(ceiling->pids, daemon->config.max_pids));
    json_pair_int(w, "diskBytes", (int64_t)MIN(ceiling->disk_bytes, daemon->config.max_disk));
    json_pair_int(w, "nofile", (int64_t)daemon->config.max_nofile);
    json_object_end(w);
    json_pair_int(w, "sandboxes", daemon->host.sandboxes);
    json_pair_int(w, "readySlots", daemon->host.ready_slots);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static void on_hello(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct request *request = data;

    if (err->code == BERM_OK) {
        request->daemon->host = reply->hello;
        request->daemon->host_known = true;
    }
    write_host(request);
}

static void forget_hello(struct request *request)
{
    spawn_link_forget(request->daemon->spawn, request);
}

/* Asked anew each time: the numbers of sandboxes and ready slots change. */
void api_host(struct request *request)
{
    struct spawn_request hello = { .op = SPAWN_OP_HELLO };

    request->cleanup = forget_hello;
    if (spawn_link_send(request->daemon->spawn, &hello, on_hello, request, NULL) < 0)
        write_host(request);
}

/* --- images --- */

void api_images(struct request *request)
{
    const struct daemon *daemon = request->daemon;
    _cleanup_free_ struct image *images = NULL;
    struct json_writer *w = request_json(request);
    char created[25], digest[7 + 65];
    struct berm_error err;
    size_t count = 0;

    if (!w)
        return;
    if (image_list(image_cache_dir(daemon->images), &images, &count, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    json_object_begin(w);
    json_key(w, "images");
    json_array_begin(w);
    for (size_t i = 0; i < count; i++) {
        format_timestamp(images[i].created_ms, created);
        snprintf(digest, sizeof(digest), "sha256:%s", images[i].digest);
        json_object_begin(w);
        json_pair_cstring(w, "name", images[i].name[0] ? images[i].name : NULL);
        json_pair_cstring(w, "digest", digest);
        json_pair_int(w, "sizeBytes", (int64_t)images[i].size_bytes);
        json_pair_cstring(w, "createdAt", created);
        json_pair_bool(w, "default", !strcmp(images[i].name, daemon->config.image));
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* --- pool, in the bridge's shapes --- */

static void write_pool_stats(struct request *request)
{
    const struct daemon *daemon = request->daemon;
    struct pool_stats stats;
    struct json_writer *w = request_json(request);
    size_t assigned;

    if (!w)
        return;
    pool_get_stats(daemon->pool, &stats);
    assigned = daemon->registry.by_key.count - stats.ready - stats.starting;
    json_object_begin(w);
    json_pair_int(w, "warm", (int64_t)stats.ready);
    json_pair_int(w, "assigned", (int64_t)assigned);
    json_pair_int(w, "total", (int64_t)(stats.ready + assigned));
    json_key(w, "config");
    json_object_begin(w);
    json_pair_int(w, "warmTarget", stats.paused ? 0 : (int64_t)stats.target);
    json_pair_int(w, "refreshInterval", 0); /* refilled when something changes, not by the clock */
    json_pair_int(w, "maxInstances", (int64_t)daemon->config.max_sandboxes);
    json_pair_int(w, "scaleBatchSize", 1);
    json_object_end(w);
    json_pair_int(w, "maxInstances", (int64_t)daemon->config.max_sandboxes);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

void api_pool_stats(struct request *request)
{
    request_need_adoption(request, write_pool_stats);
}

static void prime(struct request *request)
{
    pool_prime(request->daemon->pool);
    request_respond(request, 200, "application/json", STR("{\"ok\":true}"));
}

void api_pool_prime(struct request *request)
{
    request_need_adoption(request, prime);
}

static void shut_down(struct request *request)
{
    pool_shutdown(request->daemon->pool);
    request_respond(request, 200, "application/json", STR("{\"ok\":true}"));
}

void api_pool_shutdown(struct request *request)
{
    request_need_adoption(request, shut_down);
}
